//! Lies of a stream's source: headers and arrays that are none.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Dice, Stage, Tally};
use crate::soak::program::Program;
use crate::soak::raw::{Raw, greeting, message, ready};
use crate::soak::stage::PATIENCE;

pub(super) fn attack(stage: &mut Stage<'_>, tally: &mut Tally) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = format!("tcp://{}", listener.local_addr()?);
    let folder = stage.folder("streams")?;
    let file = folder.join("lies.fbr").to_string_lossy().into_owned();
    let dump = stage.flexbond(&["dump", "--json", &address])?;
    let mut shown = source(stage, &listener)?;
    let mut recorder = stage.flexbond(&["dump", "--record", &file, &address])?;
    let mut recorded = source(stage, &listener)?;
    let before = dump.usage()?;
    let mut sent = 0;
    for (number, (name, parts)) in lies().into_iter().enumerate() {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        recorded.send(&message(&parts))?;
        sent += 1;
        tally.note(
            "streams",
            name,
            told(&mut shown, &dump, &parts, number + 1_000_000),
        );
    }
    stage.settled("dump that was lied to", &dump, before)?;
    // Whatever it was, it is kept as it came.
    recorder.signal("INT")?;
    recorder.ends_with(0, PATIENCE)?;
    let kept = super::super::killed::messages_in(stage, &file)?;
    ensure!(kept == sent, "{sent} messages were recorded, {kept} are there");
    Ok(())
}

/// The next program that connects, past its handshake.
fn source(stage: &Stage<'_>, listener: &TcpListener) -> Result<Raw> {
    let mut accepted = None;
    stage.clock.until("a program to connect", PATIENCE, || {
        accepted = listener.accept().ok();
        accepted.is_some()
    })?;
    let (stream, _) = accepted.context("nobody connects")?;
    let mut raw = Raw::accepted(stream)?;
    raw.send(&[greeting(1, "NULL"), ready("PUSH", &[])].concat())?;
    raw.greeted()?;
    Ok(raw)
}

/// A lie is shown as something, and what comes after it is shown as it is.
fn told(raw: &mut Raw, dump: &Program, parts: &[&[u8]], frame: usize) -> Result<()> {
    dump.output.take();
    raw.send(&message(parts))?;
    let honest = format!("{{\"htype\":\"raw-1.0\",\"frame\":{frame}}}");
    raw.send(&message(&[honest.as_bytes(), b"data"]))?;
    let deadline = Instant::now() + PATIENCE;
    let mut lines = 0;
    while Instant::now() < deadline {
        let line = dump.line(Duration::from_secs(10))?;
        let value: serde_json::Value = serde_json::from_str(&line).context("a line that is no JSON")?;
        lines += 1;
        if value["header"]["frame"] == frame {
            ensure!(lines == 2, "{} lines show it", lines - 1);
            return Ok(());
        }
    }
    anyhow::bail!("what came after it is not shown")
}

fn lies() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let mut dice = Dice(0x57EA);
    let header = |text: &str| vec![text.as_bytes().to_vec(), vec![7; 64]];
    let array = |text: &str| {
        header(&format!(
            r#"{{"htype":"array-1.0","type":"float64","shape":[8],"frame":1{text}}}"#
        ))
    };
    let deep = format!(r#"{{"htype":"raw-1.0","frame":1,"x":{}"#, "[".repeat(100_000));
    vec![
        ("no header", vec![Vec::new()]),
        ("chance", vec![dice.bytes(300), dice.bytes(300)]),
        ("no object", header("[1, 2, 3]")),
        ("no htype", header(r#"{"frame": 1}"#)),
        (
            "an htype that there is not",
            header(r#"{"htype":"magic-9.9","frame":1}"#),
        ),
        ("an htype that is a number", header(r#"{"htype":17}"#)),
        (
            "a header that is cut",
            header(r#"{"htype":"array-1.0","type":"flo"#),
        ),
        ("a header without end", vec![deep.into_bytes()]),
        (
            "a type that there is not",
            header(r#"{"htype":"array-1.0","type":"float99","shape":[8]}"#),
        ),
        ("a shape larger than its data", array(r#","shape":[9]"#)),
        (
            "a shape larger than the world",
            header(r#"{"htype":"array-1.0","type":"float64","shape":[4294967295,4294967295,4294967295]}"#),
        ),
        (
            "a negative shape",
            header(r#"{"htype":"array-1.0","type":"float64","shape":[-8]}"#),
        ),
        (
            "10000 dimensions",
            header(&format!(
                r#"{{"htype":"array-1.0","type":"uint8","shape":[{}1]}}"#,
                "1,".repeat(10_000)
            )),
        ),
        (
            "compression that there is not",
            array(r#","encoding":"bs99-zip<""#),
        ),
        (
            "compression that says to be 2^62 bytes",
            vec![
                br#"{"htype":"array-1.0","type":"uint16","shape":[32],"frame":1,"encoding":"bs16-lz4<"}"#
                    .to_vec(),
                [
                    &(1_u64 << 62).to_be_bytes()[..],
                    &8192_u32.to_be_bytes(),
                    &[0xFF; 64],
                ]
                .concat(),
            ],
        ),
        (
            "a detector's header without its parts",
            header(r#"{"htype":"dheader-1.0","series":1,"header_detail":"all"}"#),
        ),
        (
            "bsread without its data header",
            header(r#"{"htype":"bsr_m-1.1","pulse_id":1,"hash":"0"}"#),
        ),
        (
            "CBOR of a length that is not there",
            vec![b"\xBB\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF".to_vec()],
        ),
        (
            "a frame number beyond all",
            header(r#"{"htype":"raw-1.0","frame":99999999999999999999999999}"#),
        ),
        ("a thousand parts", vec![Vec::new(); 1000]),
    ]
}
