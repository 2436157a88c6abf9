//! The limit: what bare UDP reaches, with segmentation offload on both sides, and how quick a round trip is.
//!
//! `peer-raw-udp ROLE key=value…` where ROLE is `send` or `receive` for goodput without any reliability, `ping` or
//! `pong` for round trips, or `host`: then host 0 sends (or pings) and the others receive (or answer), by the variables
//! that `cargo xtask netlab run` sets and `case=goodput` or `case=ping-pong`. Each prints a JSON object with what it
//! measured.

mod goodput;
mod ping_pong;
mod socket;

use peer_harness::{Result, Words, fail};

fn main() {
    std::panic::set_hook(Box::new(|panic| fail(&panic.to_string())));
    if let Err(error) = run() {
        fail(&error.to_string());
    }
}

fn run() -> Result<()> {
    let (role, mut words) = Words::read()?;
    let case = words.get("case", "goodput".to_owned())?;
    let role = if role == "host" {
        let is_first = words.need::<usize>("host", "HOST")? == 0;
        match (case.as_str(), is_first) {
            ("goodput", true) => "send",
            ("goodput", false) => "receive",
            ("ping-pong", true) => "ping",
            ("ping-pong", false) => "pong",
            (other, _) => return Err(format!("unknown case `{other}`").into()),
        }
    } else {
        role.as_str()
    };
    match role {
        "send" => goodput::send(words),
        "receive" => goodput::receive(words),
        "ping" => ping_pong::ask(words),
        "pong" => ping_pong::answer(words),
        other => Err(format!("unknown role `{other}`").into()),
    }
}
