//! Sessions over real sockets on this machine.

use std::hash::RandomState;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_transport::{DatagramSocket, Interface, UdpOptions, UdpSocket};
use tokio::task::AbortHandle;

use super::{Driver, Shared};
use crate::group::MemberId;
use crate::group::node::{Node, NodeSettings};

const LIMIT: Duration = Duration::from_secs(30);

fn settings(multicast: Option<SocketAddr>) -> NodeSettings {
    NodeSettings {
        multicast,
        segment: 1400,
        window: 1024,
        recv_budget: 64 << 20,
        max_message: 16 << 20,
        heartbeat: Duration::from_millis(200),
        dead_after: Duration::from_secs(5),
        join_timeout: Duration::from_secs(10),
        max_members: 16,
        name: String::new(),
    }
}

fn options() -> UdpOptions {
    UdpOptions::default().interface(Interface::Address(Ipv4Addr::LOCALHOST.into()))
}

/// Runs a node on sockets of its own; returns where it is, too.
fn run(make: impl FnOnce() -> Node, group: Option<SocketAddr>) -> (Arc<Shared>, SocketAddr, AbortHandle) {
    let own = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &options()).expect("a socket");
    let address = own.local_addr().expect("an address");
    let group = group.map(|group| {
        let socket = UdpSocket::bind_multicast(group, &options()).expect("a group");
        Box::new(socket) as Box<dyn DatagramSocket>
    });
    let shared = Shared::new(make());
    let mut driver = Driver::new(Arc::clone(&shared), Box::new(own), group);
    let task = tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll(cx)).await });
    (shared, address, task.abort_handle())
}

/// A coordinator and `members`, all in.
async fn session(members: usize, group: Option<SocketAddr>) -> Vec<(Arc<Shared>, AbortHandle)> {
    let now = Instant::now();
    let (coordinator, address, task) = run(
        || Node::coordinator(now, fastrand::u64(1..), RandomState::new(), settings(group)),
        group,
    );
    let mut nodes = vec![(coordinator, task)];
    for _ in 0..members {
        let mut nonce = [0; 16];
        fastrand::Rng::new().fill(&mut nonce);
        let (node, _, task) = run(|| Node::member(now, address, nonce, settings(None)), group);
        nodes.push((node, task));
    }
    for (node, _) in &nodes {
        let all = node.wait(|node| (node.is_in() && node.others().count() == members).then_some(()));
        tokio::time::timeout(LIMIT, all).await.expect("all in");
    }
    nodes
}

async fn broadcast(members: usize, group: Option<SocketAddr>, count: usize, size: usize) -> Duration {
    let nodes = session(members, group).await;
    let began = Instant::now();
    let receivers: Vec<_> = nodes[1..]
        .iter()
        .map(|(node, _)| {
            let node = Arc::clone(node);
            tokio::spawn(async move {
                for index in 0..count {
                    let (from, body) = node.recv().await;
                    assert_eq!((from, body.len()), (MemberId(0), size));
                    assert!(body.iter().all(|byte| *byte == index as u8), "message {index}");
                }
            })
        })
        .collect();
    let sender = &nodes[0].0;
    let mut numbers = Vec::new();
    for index in 0..count {
        numbers.push(
            sender
                .push(Bytes::from(vec![index as u8; size]))
                .expect("it is in"),
        );
    }
    let last = numbers.pop().expect("one at least");
    let all = sender.wait(|node| (node.settled() > last).then_some(()));
    tokio::time::timeout(LIMIT, all).await.expect("all delivered");
    let took = began.elapsed();
    for receiver in receivers {
        tokio::time::timeout(LIMIT, receiver)
            .await
            .expect("all received")
            .expect("as they were sent");
    }
    nodes.iter().for_each(|(_, task)| task.abort());
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_to_all_by_unicast() {
    broadcast(3, None, 50, 100_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_to_all_by_multicast() {
    let group = SocketAddr::from(([239, 255, 77, fastrand::u8(1..)], fastrand::u16(20_000..30_000)));
    broadcast(3, Some(group), 50, 100_000).await;
}
