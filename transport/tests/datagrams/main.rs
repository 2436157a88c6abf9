//! Datagram sockets: one suite over all of them, and what each does beyond.
#![cfg(any(feature = "udp", feature = "simnet", feature = "tunnel"))]

mod conformance;
#[cfg(feature = "simnet")]
mod simsocket;
#[cfg(feature = "tunnel")]
mod tunnel;
#[cfg(all(feature = "tunnel", feature = "tcp"))]
mod tunnel_hostile;
#[cfg(feature = "udp")]
mod udp;
#[cfg(feature = "udp")]
mod udp_multicast;

use std::future::poll_fn;
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use flexbond_transport::{DatagramSocket, Received, Transmit};
use tokio::time::timeout;

/// Longer than anything takes here.
const DEADLINE: Duration = Duration::from_secs(20);

/// A packet as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    source: SocketAddr,
    destination: Option<IpAddr>,
    bytes: Vec<u8>,
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Sends a batch, in as many calls as it takes.
async fn send(socket: &dyn DatagramSocket, mut batch: &[Transmit<'_>]) {
    while !batch.is_empty() {
        let taken = timeout(DEADLINE, poll_fn(|cx| socket.poll_send(cx, batch)));
        let taken = taken.await.expect("nothing could be sent").unwrap();
        assert!((1..=batch.len()).contains(&taken));
        batch = &batch[taken..];
    }
}

async fn send_to(socket: &dyn DatagramSocket, destination: SocketAddr, contents: &[u8]) {
    send(socket, &[Transmit::new(destination, contents)]).await;
}

/// Receives at least one packet, into buffers of `len` bytes: what was received, and the contents.
async fn receive_into(socket: &dyn DatagramSocket, count: usize, len: usize) -> Vec<(Received, Vec<u8>)> {
    let mut buffers = vec![vec![0; len]; count];
    let mut received = vec![Received::default(); count];
    let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
    let filled = timeout(
        DEADLINE,
        poll_fn(|cx| socket.poll_recv(cx, &mut slices, &mut received)),
    );
    let filled = filled.await.expect("nothing has arrived").unwrap();
    assert!((1..=count).contains(&filled));
    received.into_iter().zip(buffers).take(filled).collect()
}

/// Receives exactly `count` packets.
async fn receive(socket: &dyn DatagramSocket, count: usize) -> Vec<Packet> {
    let mut packets = Vec::new();
    while packets.len() < count {
        for (received, buffer) in receive_into(socket, 8, 65_536).await {
            packets.extend(received.packets(&buffer).map(|bytes| Packet {
                source: received.source,
                destination: received.destination,
                bytes: bytes.to_vec(),
            }));
        }
    }
    assert_eq!(packets.len(), count, "more has arrived than was to");
    packets
}

/// The contents of the next packet.
async fn next(socket: &dyn DatagramSocket) -> Vec<u8> {
    receive(socket, 1).await.remove(0).bytes
}
