//! Lies of ZMTP: greetings, READY, frames, commands.

use anyhow::Result;

use super::Outcome::{Borne, Cut, Refused};
use super::{Lie, Stage, Tally, lie, opening, tell_all};
use crate::soak::raw::{COMMAND, LONG, MORE, command, frame, greeting, property, ready};

pub(super) fn attack(stage: &mut Stage<'_>, tally: &mut Tally) -> Result<()> {
    let (server, address) = stage.bound("ROUTER", &["--echo", "--monitor", "--max-size", "64K"])?;
    let before = server.usage()?;
    let mut other = stage.flexbond(&["socket", "DEALER", "--connect", &format!("tcp://{address}")])?;
    let lies: Vec<Lie> = [greetings(), readies(), frames(), commands()]
        .into_iter()
        .flatten()
        .collect();
    tell_all("ZMTP", &lies, &server, address, &mut other, tally)?;
    other.kill();
    stage.settled("ROUTER that was lied to", &server, before)
}

fn greetings() -> Vec<Lie> {
    vec![
        lie(
            "HTTP",
            *b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            Refused("malformed"),
        ),
        lie(
            "TLS",
            *b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            Refused("malformed"),
        ),
        lie("zeros", [0; 200], Refused("malformed")),
        lie("ones", [0xFF; 200], Refused("mechanism mismatch")),
        lie("PLAIN", greeting(1, "PLAIN"), Refused("mechanism mismatch")),
        lie("CURVE", greeting(1, "CURVE"), Refused("mechanism mismatch")),
        lie(
            "a mechanism nobody has",
            greeting(1, "MAGIC"),
            Refused("mechanism mismatch"),
        ),
        lie(
            "an identity of 2^62 bytes, as of 1.0",
            *b"\xFF\x40\0\0\0\0\0\0\0\0",
            Refused("routing id longer"),
        ),
        lie(
            "an identity of 2^62 bytes, as of 2.0",
            *b"\xFF\0\0\0\0\0\0\0\x01\x7F\x01\x05\x02\x40\0\0\0\0\0\0\0",
            Refused("routing id longer"),
        ),
        lie(
            "a version that is to come",
            [
                [&greeting(9, "NULL")[..10], &[200, 9], &greeting(9, "NULL")[12..]].concat(),
                ready("DEALER", &[]),
            ]
            .concat(),
            Borne,
        ),
    ]
}

fn readies() -> Vec<Lie> {
    let after = |bytes: Vec<u8>| [greeting(1, "NULL"), bytes].concat();
    let overlong = [b"\x0bSocket-Type".as_slice(), &[0xFF; 4], b"DEALER"].concat();
    vec![
        lie(
            "a message before READY",
            after(frame(0, b"hello")),
            Refused("before the end of the handshake"),
        ),
        lie(
            "a type that does not go with ours",
            after(ready("PUB", &[])),
            Refused("cannot talk to a PUB"),
        ),
        lie(
            "a type that there is not",
            after(ready("NOPE", &[])),
            Refused("cannot talk to a NOPE"),
        ),
        lie(
            "a value beyond the command",
            after(command("READY", &overlong)),
            Refused("property longer"),
        ),
        lie(
            "a name beyond the command",
            after(command("READY", b"\xFFSocket")),
            Refused("malformed"),
        ),
        lie(
            "a routing id of 256 bytes",
            after(ready("DEALER", &[("Identity", &[7; 256])])),
            Refused("routing id longer"),
        ),
        lie(
            "two types",
            after(ready("DEALER", &[("socket-type", b"PUSH")])),
            Refused("property given twice"),
        ),
        lie(
            "a READY of 2^62 bytes",
            after(b"\x06\x40\0\0\0\0\0\0\0".to_vec()),
            Refused("exceeds the limit"),
        ),
        lie(
            "a READY of 60 kB of properties",
            after(command(
                "READY",
                &(0..4000_u32)
                    .flat_map(|i| property(&format!("X-{i}"), b"12345"))
                    .collect::<Vec<u8>>(),
            )),
            Refused(""),
        ),
        lie("ERROR", after(command("ERROR", b"\x05sorry")), Refused("sorry")),
        lie(
            "ERROR cut short",
            after(command("ERROR", b"\xFFs")),
            Refused("reported an error"),
        ),
        lie(
            "HELLO of another mechanism",
            after(command("HELLO", b"\0\0")),
            Refused("malformed"),
        ),
    ]
}

fn frames() -> Vec<Lie> {
    let after = |bytes: &[u8]| [&opening(), bytes].concat();
    let long = |length: u64| [&[LONG][..], &length.to_be_bytes()].concat();
    vec![
        lie(
            "a frame of 64 KiB and one byte",
            after(&long((64 << 10) + 1)),
            Cut("exceeds the limit"),
        ),
        lie(
            "a frame of 2^31 bytes",
            after(&long(1 << 31)),
            Cut("exceeds the limit"),
        ),
        lie(
            "a frame of 2^63 bytes",
            after(&long(1 << 63)),
            Cut("exceeds the limit"),
        ),
        lie(
            "a frame of 2^64 - 1 bytes",
            after(&long(u64::MAX)),
            Cut("exceeds the limit"),
        ),
        lie(
            "parts without end",
            after(&frame(MORE, b"").repeat(100_000)),
            Cut("frames"),
        ),
        lie(
            "parts that are together too large",
            after(&[frame(MORE, &[1; 40_000]), frame(0, &[2; 40_000])].concat()),
            Cut("exceeds the limit"),
        ),
    ]
}

fn commands() -> Vec<Lie> {
    let after = |bytes: &[u8]| [&opening(), bytes].concat();
    vec![
        lie(
            "PING without a time",
            after(&command("PING", b"\0")),
            Cut("PING without"),
        ),
        lie(
            "an empty command",
            after(&frame(COMMAND, b"")),
            Cut("empty command"),
        ),
        lie(
            "a command's name beyond it",
            after(&frame(COMMAND, b"\xFFPING")),
            Cut("malformed"),
        ),
        lie(
            "a command nobody knows",
            after(&command("NEWS", b"from the future")),
            Borne,
        ),
        lie("READY once more", after(&ready("PUB", &[])), Borne),
        lie(
            "SUBSCRIBE to what publishes nothing",
            after(&command("SUBSCRIBE", b"topic")),
            Borne,
        ),
        lie(
            "PONG that nobody asked for",
            after(&command("PONG", b"context")),
            Borne,
        ),
        lie(
            "a command of 2^40 bytes",
            after(&[&[COMMAND | LONG][..], &(1_u64 << 40).to_be_bytes()].concat()),
            Cut("exceeds the limit"),
        ),
        lie(
            "ERROR once all is well",
            after(&command("ERROR", b"\x03no!")),
            Cut("no!"),
        ),
    ]
}
