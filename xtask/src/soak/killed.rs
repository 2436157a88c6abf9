//! `kill -9` in every role: who lives on does, and knows.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::crew;
use super::program::Program;
use super::stage::{PATIENCE, Stage};

/// Of `flexbond call`: no answer, because nobody is there.
const TIMED_OUT: i32 = 3;

/// Lets one role die, and looks at the others.
type Kill = fn(&Stage<'_>) -> Result<()>;

pub(super) fn run(stage: &mut Stage<'_>) -> Result<()> {
    let roles: [(&str, Kill); 9] = [
        ("puller", puller),
        ("pusher", pusher),
        ("replier", replier),
        ("publisher", publisher),
        ("subscriber", subscriber),
        ("group member", member),
        ("group coordinator", coordinator),
        ("rpc server and client", caller),
        ("recorder", recorder),
    ];
    let mut rounds = 0;
    loop {
        for (role, kill) in roles {
            kill(stage).with_context(|| format!("{role} killed"))?;
            stage.clock.check()?;
        }
        rounds += 1;
        if !stage.clock.goes_on() {
            break;
        }
    }
    // Whatever is lost by who lives ends the case.
    stage.at_least("whole rounds of 9 roles", f64::from(rounds), 1.0);
    Ok(())
}

/// A socket at an address that was somebody else's a moment ago.
fn successor(stage: &Stage<'_>, pattern: &str, address: SocketAddr, more: &[&str]) -> Result<Program> {
    let endpoint = format!("tcp://{address}");
    let mut arguments = vec!["socket", pattern, "--bind", &*endpoint, "--print-endpoint"];
    arguments.extend(more);
    let program = stage.flexbond(&arguments)?;
    program.address()?;
    Ok(program)
}

/// What comes after a puller's death goes to the other one; what comes when there is none waits for the next.
fn puller(stage: &Stage<'_>) -> Result<()> {
    let (mut server, address) = stage.bound("PUSH", &["--monitor", "--heartbeat", "0.2"])?;
    let endpoint = format!("tcp://{address}");
    let first = stage.flexbond(&["socket", "PULL", "--connect", &endpoint])?;
    server.reports("ready: ", PATIENCE)?;
    let second = stage.flexbond(&["socket", "PULL", "--connect", &endpoint])?;
    server.reports("ready: ", PATIENCE)?;
    first.kill();
    server.reports("disconnected", PATIENCE)?;
    for number in 0..100 {
        server.tell(&format!("[\"{number}\"]"))?;
    }
    in_order(&second, 0..100)?;
    second.kill();
    server.reports("disconnected", PATIENCE)?;
    for number in 100..200 {
        server.tell(&format!("[\"{number}\"]"))?;
    }
    let third = stage.flexbond(&["socket", "PULL", "--connect", &endpoint])?;
    in_order(&third, 100..200)?;
    server.ends_with(0, PATIENCE)
}

/// A pusher that dies leaves whole messages; others go on, and a server that dies is found again.
fn pusher(stage: &Stage<'_>) -> Result<()> {
    let (server, address) = stage.bound("PULL", &["--monitor"])?;
    let endpoint = format!("tcp://{address}");
    // Both are there before one dies: who dies in its handshake was never connected.
    let [mut dying, mut living] = [
        stage.flexbond(&["socket", "PUSH", "--connect", &endpoint, "--monitor"])?,
        stage.flexbond(&["socket", "PUSH", "--connect", &endpoint, "--monitor"])?,
    ];
    dying.reports("ready: ", PATIENCE)?;
    living.reports("ready: ", PATIENCE)?;
    let body = "y".repeat(1 << 20);
    for _ in 0..4 {
        dying.tell(&format!("[\"a\",\"{body}\",\"z\"]"))?;
    }
    let whole = format!("[\"a\", \"{body}\", \"z\"]");
    dying.kill();
    server.reports("disconnected", PATIENCE)?;
    living.tell("[\"alive\"]")?;
    loop {
        let line = server.line(PATIENCE)?;
        if line == "[\"alive\"]" {
            break;
        }
        ensure!(line == whole, "half a message: {} bytes", line.len());
    }
    server.kill();
    living.reports("disconnected", PATIENCE)?;
    for number in 0..50 {
        living.tell(&format!("[\"{number}\"]"))?;
    }
    let server = successor(stage, "PULL", address, &[])?;
    in_order(&server, 0..50)?;
    living.ends_with(0, PATIENCE)
}

/// Whoever asked one that died is told so, and is answered by the next; one who asked and died harms nobody.
fn replier(stage: &Stage<'_>) -> Result<()> {
    let (server, address) = stage.bound("REP", &[])?;
    let endpoint = format!("tcp://{address}");
    let mut asking = stage.flexbond(&["socket", "REQ", "--connect", &endpoint])?;
    asking.tell("[\"will you\"]")?;
    server.says("will you", PATIENCE)?;
    server.kill();
    asking.ends_with(1, PATIENCE)?;
    ensure!(
        asking.troubles().contains("lost"),
        "no reason: {}",
        asking.troubles()
    );

    let server = successor(stage, "REP", address, &["--echo"])?;
    let mut dying = stage.flexbond(&["socket", "REQ", "--connect", &endpoint])?;
    dying.tell("[\"last words\"]")?;
    server.says("last words", PATIENCE)?;
    dying.kill();
    let mut asking = stage.flexbond(&["socket", "REQ", "--connect", &endpoint])?;
    asking.tell("[\"and me\"]")?;
    asking.says("and me", PATIENCE)?;
    asking.ends_with(0, PATIENCE)
}

/// Subscriptions are said again to the next publisher.
fn publisher(stage: &Stage<'_>) -> Result<()> {
    let (server, address) = stage.bound("XPUB", &[])?;
    let endpoint = format!("tcp://{address}");
    let reading = stage.flexbond(&[
        "socket",
        "SUB",
        "--connect",
        &endpoint,
        "--subscribe",
        "a",
        "--subscribe",
        "b",
    ])?;
    for _ in 0..2 {
        server.line(PATIENCE)?;
    }
    server.kill();
    let mut server = successor(stage, "XPUB", address, &[])?;
    for _ in 0..2 {
        server.line(PATIENCE)?;
    }
    for text in ["a1", "c", "b2"] {
        server.tell(&format!("[\"{text}\"]"))?;
    }
    for text in ["a1", "b2"] {
        ensure!(
            reading.line(PATIENCE)? == format!("[\"{text}\"]"),
            "{text} is lost"
        );
    }
    Ok(())
}

/// The others miss nothing.
fn subscriber(stage: &Stage<'_>) -> Result<()> {
    let (mut server, address) = stage.bound("XPUB", &[])?;
    let endpoint = format!("tcp://{address}");
    let dying = stage.flexbond(&["socket", "SUB", "--connect", &endpoint])?;
    server.line(PATIENCE)?;
    let living = stage.flexbond(&["socket", "SUB", "--connect", &endpoint, "--subscribe", ""])?;
    // A second subscription to the same is not passed on: who stays says another one, too.
    let marker = stage.flexbond(&["socket", "SUB", "--connect", &endpoint, "--subscribe", "mark"])?;
    server.line(PATIENCE)?;
    let mut number = 0;
    loop {
        server.tell(&format!("[\"probe {number}\"]"))?;
        number += 1;
        if living.says("probe", Duration::from_millis(100)).is_ok() {
            break;
        }
        ensure!(number < 200, "no subscription");
    }
    let mut dying = Some(dying);
    for number in 0..500 {
        server.tell(&format!("[\"{number}\"]"))?;
        if number == 250 {
            dying.take().into_iter().for_each(Program::kill);
        }
    }
    living.says("[\"0\"]", PATIENCE)?;
    in_order(&living, 1..500)?;
    drop(marker);
    Ok(())
}

/// A member's death is told to all; the others go on together.
fn member(stage: &Stage<'_>) -> Result<()> {
    let (mut coordinator, endpoint) = crew::drill(stage, "3", &crew::SOON_DEAD)?;
    let mut members = Vec::new();
    for name in ["ada", "bob", "cy"] {
        members.push(crew::recruit(stage, &endpoint, name, &[])?);
    }
    coordinator.says("passing", PATIENCE)?;
    stage.clock.pass(Duration::from_millis(50))?;
    let Some(dying) = members.pop() else {
        return Ok(());
    };
    dying.kill();
    coordinator.says("dead", PATIENCE)?;
    for member in &members {
        member.says("gone: ", PATIENCE)?;
    }
    crew::dismiss(&mut coordinator, members)
}

/// The coordinator's death ends the session for all, with an error, and soon.
fn coordinator(stage: &Stage<'_>) -> Result<()> {
    let (coordinator, endpoint) = crew::coordinator(stage, &crew::SOON_DEAD)?;
    let mut members = [
        crew::member(stage, &endpoint, "ada")?,
        crew::member(stage, &endpoint, "bob")?,
    ];
    coordinator.kill();
    crew::are_orphans(&mut members)
}

/// A call that loses its server ends with an error; a caller that dies leaves nothing running.
fn caller(stage: &Stage<'_>) -> Result<()> {
    let (server, address) = stage.calculator("tcp://127.0.0.1:0")?;
    let endpoint = format!("tcp://{address}");
    let before = server.usage()?.descriptors;
    let dying = stage.flexbond(&["call", &endpoint, "sleep", "{\"ms\":60000}"])?;
    stage.clock.until("a call", PATIENCE, || {
        server.usage().is_ok_and(|usage| usage.descriptors > before)
    })?;
    dying.kill();
    stage.clock.until("its end", PATIENCE, || {
        server.usage().is_ok_and(|usage| usage.descriptors <= before)
    })?;
    let answer = stage.call(address, "add", "{\"a\":1,\"b\":2}")?;
    ensure!(answer.trim() == "3", "1 and 2 are {answer}");

    let mut losing = stage.flexbond(&["call", &endpoint, "sleep", "{\"ms\":60000}"])?;
    stage.clock.until("a call", PATIENCE, || {
        server.usage().is_ok_and(|usage| usage.descriptors > before)
    })?;
    server.kill();
    losing.ends_with(TIMED_OUT, PATIENCE)?;
    let (_server, address) = stage.calculator(&endpoint)?;
    let answer = stage.call(address, "add", "{\"a\":2,\"b\":2}")?;
    ensure!(answer.trim() == "4", "2 and 2 are {answer}");
    Ok(())
}

/// What a recorder had said to have is there.
fn recorder(stage: &Stage<'_>) -> Result<()> {
    let folder = stage.folder("recorder")?;
    let file = folder.join("killed.fbr");
    let file = file.to_string_lossy().into_owned();
    let (address, mut source) = source(stage, &["--count", "1000000"])?;
    let recorder = stage.flexbond(&["dump", &address, "--record", &file])?;
    stage.clock.until("a recording of some size", PATIENCE, || {
        std::fs::metadata(&*file).is_ok_and(|file| file.len() > 4 << 20)
    })?;
    recorder.kill();
    let kept = messages_in(stage, &file)?;
    ensure!(kept > 0, "nothing of it is readable");
    // And the next one goes on behind it.
    let mut recorder = stage.flexbond(&[
        "dump",
        &address,
        "--record",
        &file,
        "--append",
        "--cut-tail",
        "-n",
        "10",
    ])?;
    recorder.ends_with(0, PATIENCE)?;
    let more = messages_in(stage, &file)?;
    ensure!(more == kept + 10, "{kept} messages and 10 more are {more}");
    source.signal("INT")?;
    source.end(PATIENCE)?;
    Ok(())
}

/// A source of arrays, and its address.
pub(super) fn source(stage: &Stage<'_>, more: &[&str]) -> Result<(String, Program)> {
    // A port that is free now; nobody else wants it in the next moment.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let address = format!("tcp://127.0.0.1:{port}");
    let mut arguments = vec!["generate", "-a", &*address, "-s", "0.05"];
    arguments.extend(more);
    Ok((address.clone(), stage.flexbond(&arguments)?))
}

/// How many messages a recording has, in all its files.
pub(super) fn messages_in(stage: &Stage<'_>, file: &str) -> Result<u64> {
    let mut info = stage.flexbond(&["record", "info", "--json", file])?;
    info.end(PATIENCE)?;
    let lines = info.output.take();
    ensure!(
        !lines.is_empty(),
        "nothing is known of {file} {}",
        info.troubles()
    );
    let mut messages = 0;
    for line in &lines {
        let value: serde_json::Value =
            serde_json::from_str(line).with_context(|| format!("no JSON: {line} {}", info.troubles()))?;
        messages += value["messages"]
            .as_u64()
            .with_context(|| format!("no messages in {line}"))?;
    }
    Ok(messages)
}

/// These numbers and nothing else, one a line.
fn in_order(program: &Program, numbers: std::ops::Range<u32>) -> Result<()> {
    for number in numbers {
        let line = program.line(PATIENCE)?;
        ensure!(line == format!("[\"{number}\"]"), "{line} instead of {number}");
    }
    Ok(())
}
