//! Lies of those who are to prove who they are: PLAIN and CURVE.

use anyhow::{Context, Result, ensure};

use super::Outcome::Refused;
use super::{Dice, Lie, Stage, Tally, lie, tell_all};
use crate::soak::raw::{COMMAND, LONG, command, frame, greeting, message, ready};
use crate::soak::relay::Relay;
use crate::soak::slowloris::curve_server;
use crate::soak::stage::PATIENCE;

pub(super) fn attack(stage: &mut Stage<'_>, tally: &mut Tally) -> Result<()> {
    plain(stage, tally)?;
    curve(stage, tally)
}

fn plain(stage: &mut Stage<'_>, tally: &mut Tally) -> Result<()> {
    let who = ["--username", "ada", "--password", "lovelace"];
    let (server, address) = stage.bound(
        "ROUTER",
        &[&["--echo", "--monitor", "--plain-server"], &who[..]].concat(),
    )?;
    let endpoint = format!("tcp://{address}");
    let mut arguments = vec!["socket", "DEALER", "--connect", &*endpoint];
    arguments.extend(who);
    let mut other = stage.flexbond(&arguments)?;
    let after = |bytes: &[u8]| [&greeting(1, "PLAIN"), bytes].concat();
    let hello = |name: &[u8], password: &[u8]| {
        let data = [&[name.len() as u8], name, &[password.len() as u8], password].concat();
        command("HELLO", &data)
    };
    let lies = [
        lie(
            "nobody",
            [greeting(1, "NULL"), ready("DEALER", &[])].concat(),
            Refused("mechanism mismatch"),
        ),
        lie("a wrong password", after(&hello(b"ada", b"byron")), Refused("")),
        lie("a wrong name", after(&hello(b"ade", b"lovelace")), Refused("")),
        lie(
            "a beginning of the password",
            after(&hello(b"ada", b"love")),
            Refused(""),
        ),
        lie("no name and no password", after(&hello(b"", b"")), Refused("")),
        lie(
            "a name beyond its command",
            after(&command("HELLO", b"\xFFada")),
            Refused("malformed"),
        ),
        lie(
            "bytes after the password",
            after(&command("HELLO", b"\x03ada\x08lovelace!")),
            Refused("malformed"),
        ),
        lie(
            "INITIATE without HELLO",
            after(&command("INITIATE", b"")),
            Refused("malformed"),
        ),
        lie(
            "READY without HELLO",
            after(&ready("DEALER", &[])),
            Refused("malformed"),
        ),
        lie(
            "WELCOME from a client",
            after(&command("WELCOME", b"")),
            Refused("malformed"),
        ),
        lie(
            "a message without HELLO",
            after(&message(&[b"me"])),
            Refused("before the end of the handshake"),
        ),
        lie(
            "two HELLOs",
            after(&hello(b"ada", b"lovelace").repeat(2)),
            Refused("malformed"),
        ),
        lie(
            "a HELLO of 2^40 bytes",
            after(&[&[COMMAND | LONG][..], &(1_u64 << 40).to_be_bytes()].concat()),
            Refused("exceeds the limit"),
        ),
        lie(
            "a version without mechanisms",
            *b"\x01\0",
            Refused("no security mechanisms"),
        ),
    ];
    tell_all("PLAIN", &lies, &server, address, &mut other, tally)
}

fn curve(stage: &mut Stage<'_>, tally: &mut Tally) -> Result<()> {
    let (server, address, public) = curve_server(stage, "ROUTER", &["--echo", "--monitor"])?;
    // What one who knows the key says, all of it.
    let relay = Relay::to(address, true)?;
    let through = format!("tcp://{}", relay.address());
    let mut honest = stage.flexbond(&[
        "socket",
        "DEALER",
        "--connect",
        &through,
        "--curve-server-key",
        &public,
    ])?;
    honest.tell("[\"secret\"]")?;
    honest.says("secret", PATIENCE)?;
    honest.kill();
    let said = relay.said().into_iter().next().context("nothing was said")?;
    ensure!(
        !said.windows(6).any(|bytes| bytes == b"secret"),
        "it can be read on the way"
    );
    let before = server.usage()?;
    let endpoint = format!("tcp://{address}");
    let mut other = stage.flexbond(&[
        "socket",
        "DEALER",
        "--connect",
        &endpoint,
        "--curve-server-key",
        &public,
    ])?;
    let lies = curve_lies(&said)?;
    tell_all("CURVE", &lies, &server, address, &mut other, tally)?;
    other.kill();
    stage.settled("CURVE server that was lied to", &server, before)
}

/// The greeting is 64 bytes, HELLO 202 with its frame, INITIATE what follows.
fn curve_lies(said: &[u8]) -> Result<Vec<Lie>> {
    ensure!(
        said.len() > 64 + 202 + 259,
        "too little was said: {} bytes",
        said.len()
    );
    let hello = &said[64..64 + 202];
    let rest = &said[64 + 202..];
    ensure!(
        hello.starts_with(b"\x04\xc8\x05HELLO"),
        "no HELLO where it should be"
    );
    let after = |bytes: &[u8]| [&greeting(1, "CURVE"), bytes].concat();
    let mut dice = Dice(0x5EED);
    let changed = |at: usize| {
        let mut changed = hello.to_vec();
        changed[at] ^= 1;
        after(&changed)
    };
    Ok(vec![
        lie(
            "nobody",
            [greeting(1, "NULL"), ready("DEALER", &[])].concat(),
            Refused("mechanism mismatch"),
        ),
        lie(
            "PLAIN",
            [greeting(1, "PLAIN"), command("HELLO", b"\x01a\x01b")].concat(),
            Refused("mechanism mismatch"),
        ),
        lie(
            "a version without mechanisms",
            *b"\x01\0",
            Refused("no security mechanisms"),
        ),
        lie(
            "READY instead of HELLO",
            after(&ready("DEALER", &[])),
            Refused("malformed"),
        ),
        lie("INITIATE without HELLO", after(rest), Refused("malformed")),
        lie(
            "a message without HELLO",
            after(&frame(0, b"\x07MESSAGE12345678")),
            Refused("malformed"),
        ),
        lie("ERROR", after(&command("ERROR", b"\x03400")), Refused("400")),
        lie(
            "a HELLO that is cut",
            after(&command("HELLO", &hello[8..100])),
            Refused("malformed"),
        ),
        lie("a HELLO of another version", changed(8), Refused("")),
        lie("a HELLO with another key", changed(90), Refused("not authentic")),
        lie("a HELLO with another box", changed(150), Refused("not authentic")),
        lie(
            "a HELLO of chance",
            after(&command(
                "HELLO",
                &[&[1, 0][..], &[0; 72], &dice.bytes(120)].concat(),
            )),
            Refused("not authentic"),
        ),
        lie(
            "a HELLO with the key zero",
            after(&command(
                "HELLO",
                &[&[1, 0][..], &[0; 72 + 32], &dice.bytes(88)].concat(),
            )),
            Refused("not authentic"),
        ),
        lie("a whole conversation said again", said, Refused("not authentic")),
        lie("HELLO twice", after(&hello.repeat(2)), Refused("malformed")),
        lie(
            "an INITIATE of chance",
            after(&[hello, &command("INITIATE", &dice.bytes(300))].concat()),
            Refused("not authentic"),
        ),
        lie(
            "a HELLO of 2^40 bytes",
            after(&[&[COMMAND | LONG][..], &(1_u64 << 40).to_be_bytes()].concat()),
            Refused("exceeds the limit"),
        ),
    ])
}
