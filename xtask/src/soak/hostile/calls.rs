//! Lies to a server of calls: envelopes that are none.

use anyhow::{Context, Result, ensure};

use super::{Dice, Stage, Tally};
use crate::soak::raw::{Raw, message};

/// What a server answers to a message.
#[derive(Clone, Copy)]
enum Answer {
    /// An error of this kind.
    Error(&'static str),
    /// Nothing at all.
    Silence,
}

/// The codec of most lies.
const JSON: u8 = 2;
/// The number of the call in most lies.
const CALL: u64 = 7;

pub(super) fn attack(stage: &mut Stage<'_>, tally: &mut Tally) -> Result<()> {
    let (server, address) = stage.calculator("tcp://127.0.0.1:0")?;
    stage.call(address, "add", "{\"a\":1,\"b\":2}")?;
    let before = server.usage()?;
    for (name, parts, answer) in lies() {
        let mut raw = Raw::peer(address, "DEALER")?;
        tally.note("rpc", name, told(&mut raw, &parts, answer));
    }
    // Many begin calls and go away, and many streams have nobody who reads them.
    let mut peers = Vec::new();
    for number in 0..100 {
        let mut raw = Raw::peer(address, "DEALER")?;
        raw.send(&message(&[
            &header(1, JSON, number),
            b"sleep",
            b"{\"ms\":600000}",
        ]))?;
        raw.send(&message(&[
            &header(1, JSON, number + 1),
            b"count",
            b"{\"n\":1000000000}",
        ]))?;
        peers.push(raw);
    }
    let answer = stage.call(address, "add", "{\"a\":1,\"b\":2}")?;
    ensure!(answer.trim() == "3", "1 and 2 are {answer}");
    drop(peers);
    stage.settled("rpc server that was lied to", &server, before)
}

fn told(raw: &mut Raw, parts: &[Vec<u8>], answer: Answer) -> Result<()> {
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    raw.send(&message(&parts))?;
    if let Answer::Error(kind) = answer {
        let got = raw.message().context("no answer")?;
        let text: String = got.iter().map(|part| String::from_utf8_lossy(part)).collect();
        ensure!(text.contains(kind), "`{text}` instead of {kind}");
        ensure!(text.len() < 6000, "{} bytes answer it", text.len());
    }
    // It is served as any other; this also shows that nothing else came before.
    raw.send(&message(&[&header(1, JSON, 99), b"add", b"{\"a\":1,\"b\":2}"]))?;
    let got = raw.message().context("not served afterwards")?;
    let text: String = got.iter().map(|part| String::from_utf8_lossy(part)).collect();
    ensure!(
        text.ends_with('3') && text.contains(char::from(99)),
        "`{text}` instead of 3"
    );
    Ok(())
}

/// A header of this kind and codec.
fn header(kind: u8, codec: u8, call: u64) -> Vec<u8> {
    let mut bytes = vec![1, kind, codec, 0, 0, 0, 0, 0];
    bytes.extend(call.to_be_bytes());
    bytes.extend([0; 8]);
    bytes
}

fn lies() -> Vec<(&'static str, Vec<Vec<u8>>, Answer)> {
    use Answer::{Error, Silence};
    let mut dice = Dice(0x0CA1);
    let request = |at: usize, byte: u8| {
        let mut bytes = header(1, JSON, CALL);
        bytes[at] = byte;
        vec![bytes, b"echo".to_vec(), b"1".to_vec()]
    };
    let call = |method: &[u8], body: &[u8]| vec![header(1, JSON, CALL), method.to_vec(), body.to_vec()];
    let deep = "[".repeat(200_000);
    vec![
        ("an empty message", vec![Vec::new()], Error("malformed")),
        (
            "chance",
            vec![[&[0xFF][..], &dice.bytes(50)].concat()],
            Error("malformed"),
        ),
        (
            "a header that is cut",
            vec![header(1, JSON, CALL)[..23].to_vec()],
            Error("malformed"),
        ),
        ("a header alone", vec![header(1, JSON, CALL)], Error("malformed")),
        ("another version", request(0, 2), Error("malformed")),
        ("a kind that there is not", request(1, 200), Error("malformed")),
        ("a kind that only servers say", request(1, 2), Error("malformed")),
        ("a codec that there is not", request(2, 9), Error("malformed")),
        ("a flag that there is not", request(3, 0x80), Error("malformed")),
        (
            "a method's name of 300 bytes",
            call(&[b'x'; 300], b"1"),
            Error("malformed"),
        ),
        (
            "a method's name that is no text",
            call(b"\xFF\xFE", b"1"),
            Error("malformed"),
        ),
        (
            "a method that there is not",
            call(b"reboot", b"{}"),
            Error("unknown_method"),
        ),
        (
            "arguments that are none",
            call(b"add", b"\xC1\xFF{["),
            Error("bad_arguments"),
        ),
        (
            "arguments without end",
            call(b"add", deep.as_bytes()),
            Error("bad_arguments"),
        ),
        (
            "an array larger than the world",
            call(
                b"add",
                br#"{"a":{"dtype":"<f8","shape":[4294967295,4294967295],"data":{"$buffer":0}},"b":1}"#,
            ),
            Error("bad_arguments"),
        ),
        (
            "a buffer that there is not",
            call(
                b"add",
                br#"{"a":{"dtype":"<f8","shape":[2],"data":{"$buffer":9}},"b":1}"#,
            ),
            Error("bad_arguments"),
        ),
        (
            "a cancel of no call",
            vec![header(7, 0, CALL), Vec::new(), Vec::new()],
            Silence,
        ),
        (
            "credit for no stream",
            vec![header(6, 0, CALL), Vec::new(), Vec::new()],
            Silence,
        ),
        (
            "an item of no stream",
            vec![header(4, 0, CALL), Vec::new(), b"1".to_vec()],
            Silence,
        ),
        (
            "2000 buffers",
            [call(b"echo", b"1"), vec![Vec::new(); 2000]].concat(),
            Error("malformed"),
        ),
    ]
}
