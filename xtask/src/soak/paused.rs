//! SIGSTOP, and SIGCONT later.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::stage::{PATIENCE, Stage};

/// Messages that are pushed to one who stands still; more than its connection takes.
const MESSAGES: u64 = 3000;
/// How long a member may stand still before it is dead, in seconds.
const DEAD_AFTER: &str = "0.5";

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
    let coordinator = stage.flexbond(&[
        "group",
        "coordinate",
        "udp://127.0.0.1:0",
        "--dead-after",
        DEAD_AFTER,
    ])?;
    let endpoint = session_of(&coordinator.line(PATIENCE)?)?;
    let mut still = stage.flexbond(&["group", "join", &endpoint, "--name", "still"])?;
    still.says("in the session", PATIENCE)?;
    let other = stage.flexbond(&["group", "join", &endpoint, "--name", "other"])?;
    other.says("in the session", PATIENCE)?;
    coordinator.says("other", PATIENCE)?;
    still.signal("STOP")?;
    coordinator.says("dead", PATIENCE)?;
    other.says("gone: ", PATIENCE)?;
    still.signal("CONT")?;
    // The session has gone on without it.
    still.ends_with(1, PATIENCE)?;
    let third = stage.flexbond(&["group", "join", &endpoint, "--name", "third"])?;
    third.says("in the session", PATIENCE)?;
    other.says("joined: ", PATIENCE)?;
    Ok(())
}

/// The coordinator stands still for too long: its members end, each with an error.
fn coordinating(stage: &Stage<'_>) -> Result<()> {
    let coordinator = stage.flexbond(&[
        "group",
        "coordinate",
        "udp://127.0.0.1:0",
        "--dead-after",
        DEAD_AFTER,
    ])?;
    let endpoint = session_of(&coordinator.line(PATIENCE)?)?;
    let mut members = Vec::new();
    for name in ["ada", "bob"] {
        let member = stage.flexbond(&["group", "join", &endpoint, "--name", name])?;
        member.says("in the session", PATIENCE)?;
        members.push(member);
    }
    coordinator.signal("STOP")?;
    for member in &mut members {
        member.ends_with(1, PATIENCE)?;
        let said = member.troubles();
        ensure!(said.contains("the coordinator is dead"), "no reason: {said}");
    }
    coordinator.signal("CONT")?;
    // It finds itself alone, and lives.
    coordinator.says("gone: ", PATIENCE)?;
    coordinator.says("gone: ", PATIENCE)?;
    Ok(())
}

/// The endpoint in `session at udp://127.0.0.1:4711`.
pub(super) fn session_of(line: &str) -> Result<String> {
    let endpoint = line.rsplit(' ').next().filter(|word| word.contains("://"));
    endpoint
        .map(str::to_owned)
        .with_context(|| format!("no endpoint in `{line}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_of_a_session_is_its_last_word() {
        assert_eq!(
            session_of("session at udp://127.0.0.1:4711").unwrap(),
            "udp://127.0.0.1:4711"
        );
        assert!(session_of("nothing").is_err());
    }
}
