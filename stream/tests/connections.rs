//! Who is connected, and what a second receiver takes away, over real sockets.
#![cfg(feature = "inproc")]

use std::time::Duration;

use flexbond_stream::{
    Attach, ConnectOptions, ConnectionEvent, ConnectionWatch, Header, Mode, Stream, StreamMessage, Warning,
};
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(10);

async fn bound(address: &str) -> Stream {
    let options = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
    Stream::connect(address, options).await.unwrap()
}

async fn client(address: &str) -> Stream {
    Stream::connect(address, ConnectOptions::new()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn fault_10_the_connection_counter_is_exact() {
    let address = "inproc://connections-fault-10";
    let stream = bound(address).await;
    let before = client(address).await;
    // Watched only now: who is there is there, and its going is no step below zero.
    let mut early = ConnectionWatch::new(&stream, LIMIT);
    let mut clients = early.clients();
    if clients == 0 {
        assert_eq!(early.next().await, Some(ConnectionEvent::Joined { clients: 1 }));
        clients = early.clients();
    }
    assert_eq!(clients, 1);
    before.disconnect().await;
    assert_eq!(early.next().await, Some(ConnectionEvent::Left { clients: 0 }));
    for _ in 0..5 {
        let (a, b) = (client(address).await, client(address).await);
        for clients in [1, 2] {
            assert_eq!(early.next().await, Some(ConnectionEvent::Joined { clients }));
        }
        a.disconnect().await;
        b.disconnect().await;
        for clients in [1, 0] {
            assert_eq!(early.next().await, Some(ConnectionEvent::Left { clients }));
        }
    }
    early.resync(&stream);
    assert_eq!(early.clients(), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_for_a_while_is_told_once() {
    let address = "inproc://connections-nobody";
    let stream = bound(address).await;
    let mut watch = ConnectionWatch::new(&stream, LIMIT);
    let start = Instant::now();
    assert_eq!(
        watch.next().await,
        Some(ConnectionEvent::Abandoned { alone: LIMIT })
    );
    assert_eq!(start.elapsed(), LIMIT);
    assert!(tokio::time::timeout(10 * LIMIT, watch.next()).await.is_err());

    let visitor = client(address).await;
    assert_eq!(watch.next().await, Some(ConnectionEvent::Joined { clients: 1 }));
    assert!(tokio::time::timeout(10 * LIMIT, watch.next()).await.is_err());
    visitor.disconnect().await;
    assert_eq!(watch.next().await, Some(ConnectionEvent::Left { clients: 0 }));
    assert!(matches!(
        watch.next().await,
        Some(ConnectionEvent::Abandoned { .. })
    ));

    stream.disconnect().await;
    assert_eq!(watch.next().await, None);
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_second_receiver_of_a_pushing_source_is_noticed() {
    let address = "inproc://connections-shared";
    let mut source = bound(address).await;
    let (mut first, mut second) = (client(address).await, client(address).await);
    let send = async |source: &mut Stream, frame: u64| {
        let header = Header::new("").with("frame", frame).with("source", "camera");
        source.send(StreamMessage::raw(header, [])).await.unwrap();
    };
    for frame in 0..200 {
        send(&mut source, frame).await;
        // The source takes turns; both receive as fast as it sends.
        tokio::select! {
            received = first.receive() => drop(received.unwrap()),
            received = second.receive() => drop(received.unwrap()),
        }
    }
    for receiver in [&mut first, &mut second] {
        let Some(Warning::SharedSource(shared)) = receiver.statistics_mut().poll_warning() else {
            panic!("{}", receiver.statistics().snapshot(std::time::Instant::now()));
        };
        assert_eq!((shared.pattern.received, shared.pattern.of), (1, 2));
        assert_eq!(shared.source, "camera");
        assert!(shared.to_string().contains("another PULL receiver"));
        assert!((90..=110).contains(&receiver.statistics().totals().lost_frames));
    }
}
