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
    let is_host = role == "host";
    let role = if is_host {
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
    if is_host {
        // All hosts are told the same words, and each passes over those of the other side.
        for key in others(role) {
            words.take::<String>(key)?;
        }
    }
    match role {
        "send" => goodput::send(words),
        "receive" => goodput::receive(words),
        "ping" => ping_pong::ask(words),
        "pong" => ping_pong::answer(words),
        other => Err(format!("unknown role `{other}`").into()),
    }
}

/// The words that only the side opposite to `role` knows.
fn others(role: &str) -> &'static [&'static str] {
    match role {
        "send" => &["mode", "warmup_ms", "window_ms"],
        "receive" => &["segment", "segments", "settle_ms", "time_ms"],
        "pong" => &["size", "warmup", "rounds"],
        _ => &[],
    }
}
