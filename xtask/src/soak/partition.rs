//! Networks that fall apart and heal: those who are cut off know, and go on when they can.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::crew;
use super::program::{Program, Reader};
use super::relay::Relay;
use super::stage::{PATIENCE, Stage};
use crate::netlab::{Access, Lab, NEEDS, access};
use crate::setup;

/// How often sockets say that they live, in seconds.
const HEARTBEAT: &str = "0.2";
/// How long a member may be silent before it is dead, in seconds.
const DEAD_AFTER: &str = "0.6";
/// Of `flexbond call`: no answer in time.
const TIMED_OUT: i32 = 3;

pub(super) fn run(stage: &mut Stage<'_>) -> Result<()> {
    let missing = setup::missing(&NEEDS);
    let has_lab = missing.is_empty() && access() == Access::Own;
    if !has_lab {
        stage.note("groups are not cut off: that takes a network lab, and with it root and iproute2, nftables and ethtool");
    }
    let mut rounds = 0;
    loop {
        pushing(stage)?;
        publishing(stage)?;
        calling(stage)?;
        if has_lab {
            grouped(stage)?;
        }
        rounds += 1;
        if !stage.clock.goes_on() {
            break;
        }
    }
    // Whoever does not notice, or does not go on, ends the case.
    stage.at_least(
        "whole rounds of PUSH/PULL, PUB/SUB, rpc and groups",
        f64::from(rounds),
        1.0,
    );
    Ok(())
}

/// What is pushed while a connection is known to be gone waits for the next one.
fn pushing(stage: &Stage<'_>) -> Result<()> {
    let (server, address) = stage.bound("PULL", &["--heartbeat", HEARTBEAT, "--monitor"])?;
    let relay = Relay::to(address, false)?;
    let endpoint = format!("tcp://{}", relay.address());
    let mut client = stage.flexbond(&[
        "socket",
        "PUSH",
        "--connect",
        &endpoint,
        "--heartbeat",
        HEARTBEAT,
        "--monitor",
    ])?;
    client.tell("[\"before\"]")?;
    server.says("before", PATIENCE)?;
    relay.cut(true);
    client.reports("disconnected", PATIENCE)?;
    server.reports("disconnected", PATIENCE)?;
    for number in 0..100 {
        client.tell(&format!("[\"{number}\"]"))?;
    }
    relay.cut(false);
    for number in 0..100 {
        let line = server.line(PATIENCE)?;
        ensure!(line == format!("[\"{number}\"]"), "{line} instead of {number}");
    }
    client.ends_with(0, PATIENCE)
}

/// A subscription is said again.
fn publishing(stage: &Stage<'_>) -> Result<()> {
    let (mut server, address) = stage.bound("XPUB", &["--heartbeat", HEARTBEAT, "--monitor"])?;
    let relay = Relay::to(address, false)?;
    let endpoint = format!("tcp://{}", relay.address());
    let client = stage.flexbond(&[
        "socket",
        "SUB",
        "--connect",
        &endpoint,
        "--heartbeat",
        HEARTBEAT,
        "--monitor",
        "--subscribe",
        "a",
    ])?;
    server.line(PATIENCE)?;
    relay.cut(true);
    client.reports("disconnected", PATIENCE)?;
    server.reports("disconnected", PATIENCE)?;
    relay.cut(false);
    // The end of the old one, and the beginning of the new.
    server.says("\\u0001", PATIENCE)?;
    server.tell("[\"a1\"]")?;
    client.says("a1", PATIENCE)?;
    Ok(())
}

/// A call across the gap ends in its time, and the next one is answered.
fn calling(stage: &Stage<'_>) -> Result<()> {
    let (_server, address) = stage.calculator("tcp://127.0.0.1:0")?;
    let relay = Relay::to(address, false)?;
    stage.call(relay.address(), "add", "{\"a\":1,\"b\":2}")?;
    relay.cut(true);
    let endpoint = format!("tcp://{}", relay.address());
    let mut call = stage.flexbond(&[
        "call",
        &endpoint,
        "add",
        "{\"a\":1,\"b\":2}",
        "--timeout",
        "0.5",
        "--connect-timeout",
        "0.5",
    ])?;
    call.ends_with(TIMED_OUT, PATIENCE)?;
    relay.cut(false);
    let answer = stage.call(relay.address(), "add", "{\"a\":1,\"b\":2}")?;
    ensure!(answer.trim() == "3", "1 and 2 are {answer}");
    Ok(())
}

/// A member that is cut off is dead for the others, and they are for it; when the network heals, it may come again.
fn grouped(stage: &Stage<'_>) -> Result<()> {
    let mut lab = Lab::new(3).context("no network lab")?;
    let listen = format!("udp://{}:0", lab.address(0));
    let coordinator = member(
        stage,
        &lab,
        0,
        &["group", "coordinate", &listen, "--dead-after", DEAD_AFTER],
    )?;
    let endpoint = crew::session_of(&coordinator.line(PATIENCE)?)?;
    let staying = member(stage, &lab, 1, &["group", "join", &endpoint, "--name", "staying"])?;
    staying.says("in the session", PATIENCE)?;
    let mut lost = member(stage, &lab, 2, &["group", "join", &endpoint, "--name", "lost"])?;
    lost.says("in the session", PATIENCE)?;
    coordinator.says("(lost)", PATIENCE)?;
    lab.partition(2)?;
    coordinator.says("dead", PATIENCE)?;
    staying.says("gone: ", PATIENCE)?;
    crew::are_orphans(std::slice::from_mut(&mut lost))?;
    lab.heal(2)?;
    let again = member(stage, &lab, 2, &["group", "join", &endpoint, "--name", "again"])?;
    again.says("in the session", PATIENCE)?;
    coordinator.says("(again)", PATIENCE)?;
    stage.clock.pass(Duration::from_millis(10))
}

fn member(stage: &Stage<'_>, lab: &Lab, host: usize, arguments: &[&str]) -> Result<Program> {
    let mut command: Command = lab.command(host, stage.flexbond_path());
    command.args(arguments);
    stage.start_in_group(command, Reader::Present)
}
