//! flexbond's streams as a peer: what programs of their own do not show.
//!
//! - `peer-flexbond-stream frame kind=counts|zeros|noise element=2|4 side=PIXELS pixels=FILE part=FILE` makes a square
//!   frame and its compressed part;
//! - `peer-flexbond-stream decode element=2|4 pixels=FILE part=FILE seconds=S` decompresses the part again and again into
//!   the same memory, on one thread, and compares the first one with the pixels;
//! - `peer-flexbond-stream record file=FILE size=BYTES messages=N sync=never|close` records without any socket;
//! - `peer-flexbond-stream stall address=ENDPOINT seconds=S` receives for so long from the first message on, and then stays
//!   connected and receives nothing.

mod decode;
mod frame;
mod record;
mod stall;

use peer_harness::{Result, Words, fail};

fn main() {
    std::panic::set_hook(Box::new(|panic| fail(&panic.to_string())));
    if let Err(error) = run() {
        fail(&error.to_string());
    }
}

fn run() -> Result<()> {
    let (role, words) = Words::read()?;
    match role.as_str() {
        "frame" => frame::run(words),
        "decode" => decode::run(words),
        "record" => record::run(words),
        "stall" => stall::run(words),
        other => Err(format!("unknown role `{other}`").into()),
    }
}
