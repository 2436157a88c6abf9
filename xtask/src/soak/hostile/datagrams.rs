//! Lies to a group: datagrams that are none of the session's, or somebody else's.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Dice, Stage, Tally};
use crate::soak::crew;
use crate::soak::program::Program;
use crate::soak::stage::PATIENCE;

/// How long answers are listened for.
const LISTEN: Duration = Duration::from_millis(30);
/// Handshakes that are begun and never ended.
const HALF: usize = 2000;
/// MiB that these may cost.
const COST: f64 = 4.0;
/// Bytes of a datagram's header.
const HEADER: usize = 28;

pub(super) fn attack(stage: &mut Stage<'_>, tally: &mut Tally) -> Result<()> {
    session(stage, tally, &[], "groups")?;
    let folder = stage.folder("group")?;
    let key = folder.join("key");
    stage.private(&key, "a key that nobody else has, of some length\n")?;
    let key = key.to_string_lossy().into_owned();
    session(stage, tally, &["--key-file", &key], "groups with a key")
}

fn session(stage: &mut Stage<'_>, tally: &mut Tally, key: &[&str], of: &str) -> Result<()> {
    let (mut coordinator, endpoint) = crew::drill(stage, "2", key)?;
    let address: SocketAddr = endpoint.trim_start_matches("udp://").parse()?;
    let mut members = Vec::new();
    for name in ["ada", "bob"] {
        members.push(crew::recruit(stage, &endpoint, name, key)?);
    }
    coordinator.says("passing", PATIENCE)?;
    let join = first_words(stage, key)?;
    let before = coordinator.usage()?;

    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    for (name, datagrams) in lies(&join) {
        tally.note(of, name, unanswered(&socket, address, &datagrams));
        coordinator.usage()?;
    }
    // Each from a port of its own: the answer is no larger than the question, and nothing of it is remembered.
    let mut asked = 0;
    let mut answered = 0;
    for _ in 0..HALF / 100 {
        let sockets: Vec<UdpSocket> = (0..100)
            .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<std::io::Result<_>>()?;
        for socket in &sockets {
            asked += socket.send_to(&join, address)?;
        }
        stage.clock.pass(LISTEN)?;
        for socket in &sockets {
            socket.set_nonblocking(true)?;
            answered += heard(socket, LISTEN)?;
        }
    }
    tally.note(of, "handshakes begun and never ended", {
        let grown = coordinator.usage()?.resident - before.resident;
        let cheap = answered <= asked && grown < COST;
        cheap
            .then_some(())
            .with_context(|| format!("{answered} bytes answer {asked}; it has grown by {grown:.1} MiB"))
    });
    alive(&mut coordinator, members)
}

/// All are still there, and have passed barriers together.
fn alive(coordinator: &mut Program, members: Vec<Program>) -> Result<()> {
    let said = coordinator.output.take().join("\n");
    ensure!(
        !said.contains("gone") && !said.contains("dead"),
        "a member was lost: {said}"
    );
    crew::dismiss(coordinator, members)
}

/// What a member says first, to whoever listens.
fn first_words(stage: &Stage<'_>, key: &[&str]) -> Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let endpoint = format!("udp://{}", socket.local_addr()?);
    let mut arguments = vec!["group", "join", &endpoint, "--name", "eve"];
    arguments.extend(key);
    let member = stage.flexbond(&arguments)?;
    let mut bytes = vec![0; 1 << 16];
    let (count, _) = socket.recv_from(&mut bytes).context("a member says nothing")?;
    member.kill();
    bytes.truncate(count);
    ensure!(count >= 1200, "a JOIN of {count} bytes");
    Ok(bytes)
}

/// Nobody answers a lie.
fn unanswered(socket: &UdpSocket, address: SocketAddr, datagrams: &[Vec<u8>]) -> Result<()> {
    for datagram in datagrams {
        socket.send_to(datagram, address)?;
    }
    let heard = heard(socket, LISTEN)?;
    ensure!(heard == 0, "{heard} bytes answer it");
    Ok(())
}

/// How many bytes come until nothing more does.
fn heard(socket: &UdpSocket, patience: Duration) -> Result<usize> {
    socket.set_read_timeout(Some(patience))?;
    let mut bytes = vec![0; 1 << 16];
    let mut total = 0;
    let deadline = Instant::now() + PATIENCE;
    while let Ok((count, _)) = socket.recv_from(&mut bytes) {
        total += count;
        ensure!(Instant::now() < deadline, "answers without end: {total} bytes");
    }
    Ok(total)
}

fn lies(join: &[u8]) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let mut dice = Dice(0x6120);
    let one = |bytes: Vec<u8>| vec![bytes];
    let header = |version: u8, kind: u8, session: u64, sender: u32| {
        let mut bytes = vec![0x46, 0x42, version, kind];
        bytes.extend(session.to_be_bytes());
        bytes.extend(sender.to_be_bytes());
        bytes.extend(0_u32.to_be_bytes());
        bytes.extend(1_u64.to_be_bytes());
        bytes
    };
    let mut damaged = join.to_vec();
    damaged[40] ^= 1;
    let mut padded = join[..join.len() - 4].to_vec();
    if let Some(last) = padded.last_mut() {
        *last = 1;
    }
    vec![
        ("nothing", one(Vec::new())),
        ("a byte", one(vec![0x46])),
        (
            "a header that is cut",
            (0..HEADER).map(|len| join[..len].to_vec()).collect(),
        ),
        (
            "another protocol",
            one(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01".to_vec()),
        ),
        (
            "a version that there is not",
            one(checked(header(9, 1, 0, u32::MAX))),
        ),
        (
            "a kind that there is not",
            one(checked(header(1, 250, 0, u32::MAX))),
        ),
        ("a JOIN with a wrong checksum", one(damaged)),
        ("a JOIN that is too short", one(checked(join[..100].to_vec()))),
        ("a JOIN with padding of its own", one(checked(padded))),
        (
            "all kinds in the name of the coordinator",
            (0..40).map(|kind| checked(header(1, kind, 1, 0))).collect(),
        ),
        (
            "all kinds in the name of members",
            (0..40)
                .map(|kind| checked([header(1, kind, 1, 1), vec![0xFF; 60]].concat()))
                .collect(),
        ),
        (
            "sealed ones that nobody sealed",
            (0..40)
                .map(|kind| [header(0x81, kind, 1, 1), dice.bytes(100)].concat())
                .collect(),
        ),
        (
            "the largest that there are",
            (0..20).map(|_| vec![0xFF; 65_507]).collect(),
        ),
        (
            "chance behind the right magic",
            (0..2000)
                .map(|_| [&[0x46, 0x42, 1][..], &dice.bytes(200)].concat())
                .collect(),
        ),
    ]
}

/// With the checksum that plain datagrams have: CRC-32C of all before it.
fn checked(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut crc = u32::MAX;
    for &byte in &bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 * (crc & 1));
        }
    }
    bytes.extend((!crc).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value of CRC-32C.
        assert_eq!(checked(b"123456789".to_vec())[9..], 0xE306_9283_u32.to_be_bytes());
    }
}
