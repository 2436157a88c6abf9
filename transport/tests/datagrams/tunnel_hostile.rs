//! Tunnels over tcp, and peers that are none, lie, or are too many.

use std::net::SocketAddr;
use std::time::Duration;

use flexbond_transport::{Tunnel, TunnelOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::tunnel::{Place, is_silent, local, until};
use crate::{DEADLINE, next, receive, receive_into, send_to};

/// What a tunnel says that listens at `port`.
fn hello(port: u16, instance: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..5].copy_from_slice(b"fbtn\x01");
    bytes[6..8].copy_from_slice(&port.to_be_bytes());
    bytes[16..].copy_from_slice(&instance.to_be_bytes());
    bytes
}

fn frame(contents: &[u8]) -> Vec<u8> {
    let mut bytes = (contents.len() as u32).to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(contents);
    bytes
}

/// Connects and says hello; the other end's hello was read.
async fn join(root: &Tunnel, port: u16) -> TcpStream {
    join_as(root, &hello(port, 77)).await.0
}

/// As above; also what the other end has said.
async fn join_as(root: &Tunnel, hello_of: &[u8; 24]) -> (TcpStream, [u8; 24]) {
    let mut stream = TcpStream::connect(local(root)).await.unwrap();
    stream.write_all(hello_of).await.unwrap();
    let mut answer = [0; 24];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..8], hello(local(root).port(), 0)[..8]);
    (stream, answer)
}

/// Reads to the end of a connection, which comes soon.
async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // It may end with an error, as it was closed while something was under way.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut bytes))
        .await
        .expect("it is not closed");
    bytes
}

/// Two tunnels that know each other, over which nothing that others do has an effect.
struct Witnesses {
    place: Place,
    root: Tunnel,
    member: Tunnel,
}

impl Witnesses {
    async fn with(change: impl FnOnce(TunnelOptions) -> TunnelOptions) -> Self {
        let mut place = Place::tcp().with(change);
        let root = place.bind().await;
        let member = place.member().await;
        let witnesses = Witnesses { place, root, member };
        witnesses.check().await;
        witnesses
    }

    async fn check(&self) {
        let Witnesses { root, member, .. } = self;
        send_to(member, local(root), b"all well?").await;
        let packet = receive(root, 1).await.remove(0);
        assert_eq!(
            (packet.source, &packet.bytes[..]),
            (local(member), &b"all well?"[..])
        );
        send_to(root, packet.source, b"all well").await;
        assert_eq!(next(member).await, b"all well");
    }
}

#[tokio::test]
async fn who_is_no_tunnel_is_turned_away() {
    let witnesses = Witnesses::with(|options| options).await;
    let mut wrong_version = hello(5000, 7);
    wrong_version[4] = 2;
    let mut place = hello(5000, 7);
    place[15] = 1;
    let cases = [
        &b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"[..],
        b"x",
        &[0xff; 100_000],
        &wrong_version,
        &place,
        &hello(0, 7),
    ];
    for (index, case) in cases.into_iter().enumerate() {
        let mut stream = TcpStream::connect(local(&witnesses.root)).await.unwrap();
        // It may be closed before all of it has been taken.
        let _ = stream.write_all(case).await;
        assert!(read_to_end(&mut stream).await.len() <= 24);
        until(&[&witnesses.root], |counters| {
            counters[0].rejected == index as u64 + 1
        })
        .await;
        witnesses.check().await;
    }
    let counters = witnesses.root.counters();
    assert_eq!(
        (counters.accepted, counters.connections, counters.garbled),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn what_is_no_packet_closes_one_connection() {
    let witnesses = Witnesses::with(|options| options).await;
    let mut huge = vec![0, 1, 0, 0, 0, 0];
    huge.extend([0; 1000]);
    for (index, garbage) in [
        &[0xff; 1000][..],
        &huge,
        &[0, 0, 0, 65, 0, 1],
        &[0, 0, 0, 1, 0, 1],
    ]
    .iter()
    .enumerate()
    {
        let mut stream = join(&witnesses.root, 5000).await;
        stream.write_all(&frame(b"a good one")).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let packet = receive(&witnesses.root, 1).await.remove(0);
        assert_eq!(packet.source, SocketAddr::from(([127, 0, 0, 1], 5000)));
        assert_eq!(packet.bytes, b"a good one");
        until(&[&witnesses.root], |counters| {
            counters[0].garbled == index as u64 + 1
        })
        .await;
        assert!(read_to_end(&mut stream).await.is_empty());
        witnesses.check().await;
    }
    assert_eq!(witnesses.root.counters().connections, 1);
}

#[tokio::test]
async fn what_comes_byte_by_byte_arrives() {
    let witnesses = Witnesses::with(|options| options).await;
    let mut stream = TcpStream::connect(local(&witnesses.root)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut bytes = hello(5000, 7).to_vec();
    bytes.extend(frame(b"slowly"));
    bytes.extend(frame(b""));
    let sending = async {
        for byte in bytes {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let ((), packets) = tokio::join!(sending, receive(&witnesses.root, 2));
    assert_eq!(
        (&packets[0].bytes[..], &packets[1].bytes[..]),
        (&b"slowly"[..], &b""[..])
    );
    witnesses.check().await;
}

/// Whoever claims another's port is heard, but gets nothing that is for the other.
#[tokio::test]
async fn who_claims_the_port_of_another_gets_nothing() {
    let witnesses = Witnesses::with(|options| options).await;
    let mut liar = join(&witnesses.root, local(&witnesses.member).port()).await;
    liar.write_all(&frame(b"it is me")).await.unwrap();
    let packet = receive(&witnesses.root, 1).await.remove(0);
    assert_eq!(packet.source, local(&witnesses.member));
    for _ in 0..10 {
        witnesses.check().await;
    }
    // Nor by saying all that the other says.
    let (_, said) = join_as(&witnesses.member, &hello(5000, 7)).await;
    let (mut better_liar, _) = join_as(&witnesses.root, &said).await;
    better_liar.write_all(&frame(b"it is really me")).await.unwrap();
    let packet = receive(&witnesses.root, 1).await.remove(0);
    assert_eq!(packet.source, local(&witnesses.member));
    for _ in 0..10 {
        witnesses.check().await;
    }
    // At the other end, which has made its connection: that comes before all others, whatever is said.
    let (_, said) = join_as(&witnesses.root, &hello(5001, 7)).await;
    let (mut liar_there, _) = join_as(&witnesses.member, &said).await;
    liar_there.write_all(&frame(b"I am the root")).await.unwrap();
    assert_eq!(
        receive(&witnesses.member, 1).await[0].source,
        local(&witnesses.root)
    );
    for _ in 0..10 {
        witnesses.check().await;
    }
    drop(witnesses);
    for liar in [&mut liar, &mut better_liar, &mut liar_there] {
        assert!(read_to_end(liar).await.is_empty());
    }
}

/// The host of an address is that of the connection, whatever is said.
#[tokio::test]
async fn nobody_claims_another_host() {
    let witnesses = Witnesses::with(|options| options).await;
    let socket = TcpSocket::new_v4().unwrap();
    if socket.bind(([127, 0, 0, 2], 0).into()).is_err() {
        eprintln!("NOT TESTED: this system has one loopback address");
        return;
    }
    let mut stream = socket.connect(local(&witnesses.root)).await.unwrap();
    let port = local(&witnesses.member).port();
    stream.write_all(&hello(port, 7)).await.unwrap();
    stream.write_all(&frame(b"it is me")).await.unwrap();
    let packet = receive(&witnesses.root, 1).await.remove(0);
    assert_eq!(packet.source, SocketAddr::from(([127, 0, 0, 2], port)));
    witnesses.check().await;
    // It is answered on its own connection.
    send_to(&witnesses.root, packet.source, b"who are you?").await;
    let mut answer = [0; 24 + 6 + 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[24..], frame(b"who are you?"));
}

#[tokio::test]
async fn there_are_only_so_many_connections() {
    let witnesses =
        Witnesses::with(|options| options.max_connections(2).max_backoff(Duration::from_millis(20))).await;
    let second = join(&witnesses.root, 5000).await;
    until(&[&witnesses.root], |counters| counters[0].connections == 2).await;
    let third = witnesses.place.member().await;
    send_to(&third, local(&witnesses.root), b"may I?").await;
    until(&[&third], |counters| counters[0].dropped_unreachable == 1).await;
    assert!(witnesses.root.counters().refused >= 1);
    witnesses.check().await;
    // Nor does the root make more.
    send_to(&witnesses.root, local(&third), b"you may not").await;
    assert_eq!(witnesses.root.counters().dropped_unreachable, 1);

    drop(second);
    until(&[&witnesses.root], |counters| counters[0].connections == 1).await;
    let admitted = async {
        loop {
            send_to(&third, local(&witnesses.root), b"may I now?").await;
            let waiting = receive_into(&witnesses.root, 1, 100);
            if timeout(Duration::from_millis(5), waiting).await.is_ok() {
                return;
            }
        }
    };
    timeout(DEADLINE, admitted).await.expect("there is room again");
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let witnesses =
        Witnesses::with(|options| options.max_half_open(1).handshake_timeout(Duration::from_secs(1))).await;
    let mut silent = TcpStream::connect(local(&witnesses.root)).await.unwrap();
    until(&[&witnesses.root], |counters| counters[0].connections == 2).await;
    let mut more = TcpStream::connect(local(&witnesses.root)).await.unwrap();
    assert!(
        read_to_end(&mut more).await.is_empty(),
        "there may be one of them"
    );
    assert_eq!(witnesses.root.counters().refused, 1);
    witnesses.check().await;
    read_to_end(&mut silent).await;
    until(&[&witnesses.root], |counters| counters[0].rejected == 1).await;
    assert_eq!(witnesses.root.counters().connections, 1);
    join(&witnesses.root, 5000).await;
}

/// Part of a packet on each of many connections: they neither disturb others nor come out as anything.
#[tokio::test]
async fn parts_of_packets_wait() {
    let witnesses = Witnesses::with(|options| options).await;
    let mut streams = Vec::new();
    for port in 5000..5050 {
        let mut stream = join(&witnesses.root, port).await;
        let whole = frame(&vec![port as u8; 50_000]);
        stream.write_all(&whole[..whole.len() - 1]).await.unwrap();
        streams.push(stream);
    }
    witnesses.check().await;
    for (index, stream) in streams.iter_mut().enumerate() {
        let port = 5000 + index as u16;
        stream.write_all(&[port as u8]).await.unwrap();
        let packet = receive(&witnesses.root, 1).await.remove(0);
        assert_eq!(
            (packet.source.port(), packet.bytes),
            (port, vec![port as u8; 50_000])
        );
    }
    drop(streams);
    until(&[&witnesses.root], |counters| counters[0].connections == 1).await;
}

/// What waits for a peer that sends nothing more is still sent to it.
#[tokio::test]
async fn who_has_finished_still_gets_what_waits() {
    let witnesses = Witnesses::with(|options| options.max_queued(1 << 20)).await;
    let mut peer = join(&witnesses.root, 5000).await;
    peer.write_all(&frame(b"the last")).await.unwrap();
    let there = receive(&witnesses.root, 1).await.remove(0).source;
    let mut sent = 0;
    // Until the queue is full, and so are the system's buffers.
    while witnesses.root.counters().dropped_full == 0 {
        send_to(&witnesses.root, there, &[7; 60_000]).await;
        sent += 1;
    }
    peer.shutdown().await.unwrap();
    for _ in 0..200 {
        assert!(is_silent(&witnesses.root).await);
        tokio::task::yield_now().await;
    }
    let received = read_to_end(&mut peer).await;
    assert_eq!(received.len(), (sent - 1) * (6 + 60_000));
    until(&[&witnesses.root], |counters| counters[0].connections == 1).await;
    assert_eq!(witnesses.root.counters().dropped_closed, 0);
}

/// What waits for a connection that cannot be made is sent on one that the peer has made meanwhile.
#[tokio::test]
async fn what_waits_takes_the_connection_that_there_is() {
    let witnesses = Witnesses::with(|options| options.handshake_timeout(Duration::from_millis(500))).await;
    // It takes connections, and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = mute.local_addr().unwrap();
    send_to(&witnesses.root, there, b"are you there?").await;
    send_to(&witnesses.root, there, b"please answer").await;
    let mut peer = join(&witnesses.root, there.port()).await;
    let expected = [frame(b"are you there?"), frame(b"please answer")].concat();
    let mut received = vec![0; expected.len()];
    timeout(DEADLINE, peer.read_exact(&mut received))
        .await
        .expect("nothing comes")
        .unwrap();
    assert_eq!(received, expected);
    let counters = witnesses.root.counters();
    assert_eq!((counters.dial_failures, counters.dropped_unreachable), (1, 0));
}
