//! Sockets of the simulated network under tokio's clock, which stands still while anything is to be done.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSliceMut};
use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;

use flexbond_transport::simnet::{Config, PACKET_OVERHEAD, Path, SimNet, SimSocket};
use flexbond_transport::{BindError, DatagramSocket, Received, Transmit};
use tokio::time::{Instant, sleep};

use crate::{Packet, address, next, receive, receive_into, send_to};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn host(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

fn bind(network: &SimNet, number: u8) -> SimSocket {
    network.bind((host(number), 5000).into()).unwrap()
}

/// Whether there is nothing to receive now.
async fn is_empty(socket: &SimSocket) -> bool {
    poll_fn(|cx| {
        let mut buffer = [0; 100];
        let poll = socket.poll_recv(
            cx,
            &mut [IoSliceMut::new(&mut buffer)],
            &mut [Received::default()],
        );
        Poll::Ready(poll.is_pending())
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn packets_arrive_after_their_delay() {
    let network = SimNet::new(0, Config::default().path(Path::default().delay(ms(30))));
    let (near, far) = (bind(&network, 1), bind(&network, 2));
    let start = Instant::now();
    send_to(&near, far.local_addr().unwrap(), b"later").await;
    assert!(is_empty(&far).await);
    assert_eq!(next(&far).await, b"later");
    assert_eq!((start.elapsed(), network.now()), (ms(30), ms(30)));

    // What is due earlier overtakes what the task that delivers waits for.
    send_to(&near, far.local_addr().unwrap(), b"later").await;
    network.update(|network| network.set_path(host(2), host(1), Path::default().delay(ms(10))));
    tokio::task::yield_now().await;
    send_to(&far, near.local_addr().unwrap(), b"sooner").await;
    assert_eq!(next(&near).await, b"sooner");
    assert_eq!(start.elapsed(), ms(40));
    assert_eq!(next(&far).await, b"later");
    assert_eq!(start.elapsed(), ms(60));
}

/// Two tasks that exchange packets over a bad network; what each received, and when.
async fn exchange(seed: u64) -> Vec<(u8, Duration, Packet)> {
    let path = Path::default()
        .loss(0.1)
        .duplication(0.1)
        .reordering(0.1, ms(7))
        .corruption(0.1)
        .delay(ms(3))
        .jitter(ms(9))
        .rate(100_000, 10_000);
    let network = SimNet::new(seed, Config::default().path(path));
    let (log, mut logged) = tokio::sync::mpsc::unbounded_channel();
    let start = Instant::now();
    for (here, there) in [(1, 2), (2, 1)] {
        let (socket, log) = (bind(&network, here), log.clone());
        tokio::spawn(async move {
            for number in 0..200 {
                send_to(&socket, (host(there), 5000).into(), &[number; 100]).await;
                if number % 3 == 0 {
                    sleep(ms(5)).await;
                }
            }
            loop {
                for packet in receive_any(&socket).await {
                    log.send((here, start.elapsed(), packet)).unwrap();
                }
            }
        });
    }
    drop(log);
    let mut all = Vec::new();
    while start.elapsed() < ms(60_000) {
        match tokio::time::timeout(ms(10_000), logged.recv()).await {
            Ok(Some(entry)) => all.push(entry),
            _ => break,
        }
    }
    all
}

async fn receive_any(socket: &SimSocket) -> Vec<Packet> {
    let (mut buffer, mut received) = ([0; 2000], [Received::default()]);
    poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut received))
        .await
        .unwrap();
    let [received] = received;
    let packet = |bytes: &[u8]| Packet {
        source: received.source,
        destination: received.destination,
        bytes: bytes.to_vec(),
    };
    received.packets(&buffer).map(packet).collect()
}

#[test]
fn a_seed_is_a_run() {
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(exchange(seed))
    };
    for seed in 0..5 {
        let first = run(seed);
        assert!(first.len() > 300, "seed {seed}: {} arrived", first.len());
        assert!(first == run(seed), "seed {seed} gave two runs");
        assert!(
            first != run(seed + 100),
            "seeds {seed} and {} gave one run",
            seed + 100
        );
    }
}

#[tokio::test(start_paused = true)]
async fn groups_are_heard_by_who_has_joined() {
    let network = SimNet::new(0, Config::default());
    let group = address("239.255.70.1:5000");
    let near = bind(&network, 1);
    let far = bind(&network, 2);
    let members = [2, 3, 3].map(|number| network.bind_multicast(host(number), group).unwrap());
    assert!(members.iter().all(|member| member.local_addr().unwrap() == group));
    assert_eq!(members[1].host(), host(3));
    send_to(&near, group, b"to all").await;
    for member in &members {
        let packet = receive(member, 1).await.remove(0);
        assert_eq!(
            (packet.source, packet.destination),
            (near.local_addr().unwrap(), Some(group.ip()))
        );
    }
    assert!(is_empty(&far).await && is_empty(&near).await);

    // What is sent to the port is not for the group; a socket of the port may join beside.
    send_to(&near, far.local_addr().unwrap(), b"to one").await;
    assert!(is_empty(&members[0]).await);
    far.join_multicast(group.ip()).unwrap();
    send_to(&near, group, b"to all").await;
    assert_eq!(receive(&far, 2).await.len(), 2);

    // A host hears the group until its last socket has left.
    drop(members);
    send_to(&near, group, b"to all").await;
    assert_eq!(next(&far).await, b"to all");
    far.leave_multicast(group.ip()).unwrap();
    send_to(&near, group, b"to nobody").await;
    assert!(is_empty(&far).await);
    assert_eq!(network.counters().unheard, 1);
    assert_eq!(
        far.join_multicast(host(1)).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[tokio::test(start_paused = true)]
async fn a_paused_host_waits() {
    let network = SimNet::new(0, Config::default());
    let (near, far) = (bind(&network, 1), bind(&network, 2));
    send_to(&near, far.local_addr().unwrap(), b"before").await;
    network.update(|network| network.pause(host(2)));
    send_to(&near, far.local_addr().unwrap(), b"meanwhile").await;
    assert!(is_empty(&far).await, "what has arrived waits too");
    let there = near.local_addr().unwrap();
    let refused = far.try_send(&[Transmit::new(there, b"refused")]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);

    let waiting = tokio::spawn(async move {
        send_to(&far, there, b"after").await;
        receive(&far, 2).await
    });
    sleep(ms(1000)).await;
    assert!(is_empty(&near).await);
    network.update(|network| network.resume(host(2)));
    assert_eq!(next(&near).await, b"after");
    let packets = waiting.await.unwrap();
    assert_eq!(
        (&packets[0].bytes[..], &packets[1].bytes[..]),
        (&b"before"[..], &b"meanwhile"[..])
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_drops_and_counts() {
    let room = 10 * (100 + PACKET_OVERHEAD);
    let network = SimNet::new(0, Config::default().recv_buffer(room));
    let (near, far) = (bind(&network, 1), bind(&network, 2));
    for number in 0..15 {
        send_to(&near, far.local_addr().unwrap(), &[number; 100]).await;
    }
    assert_eq!((far.recv_drops(), near.recv_drops()), (Some(5), Some(0)));
    assert_eq!(network.counters().unread, 5);
    let kept: Vec<_> = receive(&far, 10)
        .await
        .iter()
        .map(|packet| packet.bytes[0])
        .collect();
    assert_eq!(kept, (0..10).collect::<Vec<_>>());
    send_to(&near, far.local_addr().unwrap(), b"there is room again").await;
    assert_eq!(next(&far).await, b"there is room again");
}

#[tokio::test(start_paused = true)]
async fn packets_of_one_size_are_joined() {
    let network = SimNet::new(0, Config::default().segments(4));
    let (near, far, other) = (bind(&network, 1), bind(&network, 2), bind(&network, 3));
    let there = far.local_addr().unwrap();
    for (sender, contents) in [
        (&near, &b"aa"[..]),
        (&near, b"bb"),
        (&near, b"c"), // the last may be shorter
        (&near, b"d"),
        (&near, b"eee"),  // but not longer
        (&other, b"fff"), // nor from another
        (&other, b""),
        (&other, b""), // empty ones stay by themselves
        (&near, b"1"),
        (&near, b"2"),
        (&near, b"3"),
        (&near, b"4"),
        (&near, b"5"), // four at most
    ] {
        send_to(sender, there, contents).await;
    }
    let mut joined = Vec::new();
    while !is_empty_or_fill(&far, &mut joined).await {}
    let expected = [
        ("aabbc", 2),
        ("d", 1),
        ("eee", 3),
        ("fff", 3),
        ("", 0),
        ("", 0),
        ("1234", 1),
        ("5", 1),
    ];
    assert_eq!(joined, expected.map(|(text, size)| (text.to_owned(), size)));

    // As many as there is room for.
    let sent = [Transmit::new(there, b"aabbcc").segmented(2)];
    assert_eq!(near.try_send(&sent).unwrap(), 1);
    let (received, buffer) = receive_into(&far, 1, 5).await.remove(0);
    assert_eq!((received.len, &buffer[..4]), (4, &b"aabb"[..]));
}

/// Receives one buffer if there is one; whether there was none.
async fn is_empty_or_fill(socket: &SimSocket, filled: &mut Vec<(String, usize)>) -> bool {
    let (mut buffer, mut received) = ([0; 100], [Received::default()]);
    let poll =
        poll_fn(|cx| Poll::Ready(socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut received)));
    let empty = poll.await.is_pending();
    if !empty {
        let [received] = received;
        let text = String::from_utf8(buffer[..received.len].to_vec()).unwrap();
        filled.push((text, received.segment_size));
    }
    empty
}

#[tokio::test(start_paused = true)]
async fn addresses_are_bound_once_and_freed() {
    let network = SimNet::new(0, Config::default());
    let socket = bind(&network, 1);
    let again = network.bind((host(1), 5000).into()).unwrap_err();
    assert!(matches!(again, BindError::InUse { .. }));
    let others = [(); 3].map(|()| network.bind((host(1), 0).into()).unwrap().local_addr().unwrap());
    assert!(others.iter().all(|address| address.port() >= 49_152));
    for unusable in ["0.0.0.0:1", "[::]:1", "239.255.70.1:1"] {
        assert!(
            matches!(network.bind(address(unusable)), Err(BindError::Unusable { .. })),
            "{unusable}"
        );
    }
    for (host, group) in [
        ("10.0.0.1", "10.0.0.2:1"),
        ("10.0.0.1", "239.255.70.1:0"),
        ("::", "239.255.70.1:1"),
    ] {
        let result = network.bind_multicast(host.parse().unwrap(), address(group));
        assert!(
            matches!(result, Err(BindError::Unusable { .. })),
            "{host} {group}"
        );
    }
    drop(socket);
    let near = bind(&network, 1);
    send_to(&near, (host(7), 1).into(), b"to nobody").await;
    assert_eq!(network.counters().unlistened, 1);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_network() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let network = SimNet::new(0, Config::default());
    let socket = bind(&network, 1);
    assert_eq!(metrics.num_alive_tasks(), 1);
    drop(network);
    tokio::task::yield_now().await;
    send_to(&socket, socket.local_addr().unwrap(), b"still there").await;
    assert_eq!(next(&socket).await, b"still there");
    drop(socket);
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert_eq!(metrics.num_alive_tasks(), 0);
}
