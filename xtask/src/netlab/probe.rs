//! The small programs that `check` runs on hosts: one sends numbered packets, one counts what arrives.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Nothing more comes after so long without a packet, once the sender has ended.
const QUIET: Duration = Duration::from_millis(80);
/// Bytes of a packet's number, at its start.
const NUMBER: usize = 8;
/// Highest number that is told apart from others.
const NUMBERS: usize = 1 << 20;
/// Packets that are sent in each millisecond. With large ones that is more than the rate limit that is checked, and
/// yet too little to overflow the receive buffers that systems have by default.
const PER_MILLISECOND: u64 = 10;
/// Most packets that are sent at once to make up for a pause of the sender.
const AT_ONCE: u64 = 40;

/// One of the programs; it prints one JSON object.
#[derive(clap::Subcommand)]
pub(super) enum Probe {
    /// Counts packets until its input ends and none is left.
    Receive {
        /// Where packets come to.
        port: u16,
        /// A group to join, through the interface with this host's address.
        group: Option<Ipv4Addr>,
    },
    /// Sends numbered packets.
    Send {
        /// Where to.
        to: SocketAddrV4,
        /// How many.
        packets: u64,
        /// Bytes of each.
        size: usize,
    },
}

impl Probe {
    /// Runs the program.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn run(&self) -> Result<()> {
        let result = match *self {
            Probe::Receive { port, group } => receive(port, group)?,
            Probe::Send { to, packets, size } => send(to, packets, size)?,
        };
        println!("{result}");
        Ok(())
    }
}

fn send(to: SocketAddrV4, packets: u64, size: usize) -> Result<Value> {
    ensure!(size >= NUMBER, "a packet has at least {NUMBER} bytes");
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut packet = vec![0; size];
    let begun = Instant::now();
    let mut sent = 0;
    while sent < packets {
        let due = (begun.elapsed().as_millis() as u64 + 1) * PER_MILLISECOND;
        let until = due.min(sent + AT_ONCE).min(packets);
        while sent < until {
            packet[..NUMBER].copy_from_slice(&sent.to_be_bytes());
            socket
                .send_to(&packet, to)
                .with_context(|| format!("packet {sent} cannot be sent to {to}"))?;
            sent += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(json!({ "sent": sent, "seconds": begun.elapsed().as_secs_f64() }))
}

fn receive(port: u16, group: Option<Ipv4Addr>) -> Result<Value> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    if let Some(group) = group {
        let own: Ipv4Addr = std::env::var("ADDR").context("ADDR is not set")?.parse()?;
        socket.join_multicast_v4(&group, &own)?;
    }
    socket.set_read_timeout(Some(QUIET))?;
    let before = full_buffers();
    println!("{}", json!({ "ready": true }));
    let has_ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&has_ended);
    thread::spawn(move || {
        // Whatever comes, and however it ends: that it ended is the message.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, Ordering::Release);
    });
    let mut tally = Tally::default();
    let mut packet = vec![0; 1 << 16];
    loop {
        let was_over = has_ended.load(Ordering::Acquire);
        match socket.recv(&mut packet) {
            Ok(len) => tally.add(&packet[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if was_over {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("cannot receive"),
        }
    }
    Ok(tally.result(full_buffers().saturating_sub(before)))
}

/// What arrived.
#[derive(Default)]
struct Tally {
    packets: u64,
    distinct: u64,
    bytes: u64,
    seen: Vec<bool>,
    span: Option<(Instant, Instant)>,
}

impl Tally {
    fn add(&mut self, packet: &[u8]) {
        let Some(number) = packet.first_chunk::<NUMBER>() else {
            return;
        };
        let Some(number) = usize::try_from(u64::from_be_bytes(*number))
            .ok()
            .filter(|&number| number < NUMBERS)
        else {
            return;
        };
        let now = Instant::now();
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
        self.packets += 1;
        self.bytes += packet.len() as u64;
        if number >= self.seen.len() {
            self.seen.resize(number + 1, false);
        }
        if !self.seen[number] {
            self.seen[number] = true;
            self.distinct += 1;
        }
    }

    /// `dropped` came to this host and found its receive buffer full.
    fn result(&self, dropped: u64) -> Value {
        json!({
            "packets": self.packets,
            "distinct": self.distinct,
            "bytes": self.bytes,
            "seconds": self.span.map_or(0.0, |(first, last)| (last - first).as_secs_f64()),
            "dropped": dropped,
        })
    }
}

/// UDP packets that found a full receive buffer on this host, since it exists.
fn full_buffers() -> u64 {
    buffer_drops(&fs::read_to_string("/proc/net/snmp").unwrap_or_default())
}

/// The same by the kernel's table, which has a line of names and one of numbers.
fn buffer_drops(snmp: &str) -> u64 {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (Some(names), Some(numbers)) = (lines.next(), lines.next()) else {
        return 0;
    };
    names
        .split(' ')
        .zip(numbers.split(' '))
        .find(|(name, _)| *name == "RcvbufErrors")
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_strangers_are_told_apart() {
        let mut tally = Tally::default();
        for number in [0_u64, 2, 2, u64::MAX] {
            tally.add(&number.to_be_bytes());
        }
        tally.add(b"short");
        let result = tally.result(7);
        assert_eq!(
            (
                &result["packets"],
                &result["distinct"],
                &result["bytes"],
                &result["dropped"]
            ),
            (&json!(3), &json!(2), &json!(24), &json!(7))
        );
    }

    #[test]
    fn full_buffers_are_found_in_the_table() {
        let table = "Icmp: A B\nIcmp: 1 2\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\n\
                     Udp: 10 0 3 9 4\nUdpLite: RcvbufErrors\nUdpLite: 8\n";
        assert_eq!(buffer_drops(table), 4);
        assert_eq!(buffer_drops(""), 0);
    }
}
