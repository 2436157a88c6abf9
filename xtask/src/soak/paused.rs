//! SIGSTOP, and SIGCONT later.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::crew;
use super::stage::{PATIENCE, Stage};

/// Messages that are pushed to one who stands still; more than its connection takes.
const MESSAGES: u64 = 3000;

pub(super) fn run(stage: &mut Stage<'_>) -> Result<()> {
    let mut rounds = 0;
    loop {
        pulling(stage)?;
        replying(stage)?;
        grouped(stage)?;
        coordinating(stage)?;
        rounds += 1;
        if !stage.clock.goes_on() {
            break;
        }
    }
    // A message or an answer that is lost ends the case.
    stage.at_least(
        "whole rounds of PULL, REP, member and coordinator",
        f64::from(rounds),
        1.0,
    );
    Ok(())
}

/// A puller stands still; everything arrives when it goes on, once and in order.
fn pulling(stage: &Stage<'_>) -> Result<()> {
    let (server, address) = stage.bound("PULL", &[])?;
    let mut client = stage.flexbond(&["socket", "PUSH", "--connect", &format!("tcp://{address}")])?;
    client.tell("[\"first\"]")?;
    server.line(PATIENCE)?;
    server.signal("STOP")?;
    let input = client.take_input().context("no input")?;
    let writing = std::thread::spawn(move || {
        use std::io::Write;
        let mut input = std::io::BufWriter::new(input);
        (0..MESSAGES).try_for_each(|number| writeln!(input, "[\"{number}\",\"{}\"]", "x".repeat(4000)))
    });
    stage.clock.pass(Duration::from_millis(600))?;
    server.signal("CONT")?;
    for number in 0..MESSAGES {
        let line = server.line(PATIENCE)?;
        ensure!(
            line.starts_with(&format!("[\"{number}\",")),
            "message {number} is missing; {} came instead",
            line.chars().take(30).collect::<String>()
        );
    }
    let written = writing.join();
    ensure!(
        written.is_ok_and(|written| written.is_ok()),
        "PUSH stopped to read its input"
    );
    client.ends_with(0, PATIENCE)
}

/// A replier stands still; who asked has the answer when it goes on.
fn replying(stage: &Stage<'_>) -> Result<()> {
    let (server, address) = stage.bound("REP", &["--echo"])?;
    let endpoint = format!("tcp://{address}");
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = stage.flexbond(&["socket", "REQ", "--connect", &endpoint])?;
        client.tell("[\"first\"]")?;
        client.says("first", PATIENCE)?;
        clients.push(client);
    }
    server.signal("STOP")?;
    for (index, client) in clients.iter_mut().enumerate() {
        client.tell(&format!("[\"{index}\"]"))?;
    }
    stage.clock.pass(Duration::from_millis(400))?;
    server.signal("CONT")?;
    for (index, client) in clients.iter_mut().enumerate() {
        client.says(&format!("[\"{index}\"]"), PATIENCE)?;
        client.ends_with(0, PATIENCE)?;
    }
    Ok(())
}

/// A member stands still for too long: it is dead for the others, who go on, and learns it when it wakes.
fn grouped(stage: &Stage<'_>) -> Result<()> {
    let (coordinator, endpoint) = crew::coordinator(stage, &crew::SOON_DEAD)?;
    let mut still = crew::member(stage, &endpoint, "still")?;
    let other = crew::member(stage, &endpoint, "other")?;
    coordinator.says("other", PATIENCE)?;
    still.signal("STOP")?;
    coordinator.says("dead", PATIENCE)?;
    other.says("gone: ", PATIENCE)?;
    still.signal("CONT")?;
    // The session has gone on without it.
    still.ends_with(1, PATIENCE)?;
    let _third = crew::member(stage, &endpoint, "third")?;
    other.says("joined: ", PATIENCE)?;
    Ok(())
}

/// The coordinator stands still for too long: its members end, each with an error.
fn coordinating(stage: &Stage<'_>) -> Result<()> {
    let (coordinator, endpoint) = crew::coordinator(stage, &crew::SOON_DEAD)?;
    let mut members = [
        crew::member(stage, &endpoint, "ada")?,
        crew::member(stage, &endpoint, "bob")?,
    ];
    coordinator.signal("STOP")?;
    crew::are_orphans(&mut members)?;
    coordinator.signal("CONT")?;
    // It finds itself alone, and lives.
    coordinator.says("gone: ", PATIENCE)?;
    coordinator.says("gone: ", PATIENCE)?;
    Ok(())
}
