//! Events: what a monitor tells of a socket's connections, from the first to the last.
#![cfg(feature = "inproc")]

mod harness;

use flexbond_session::socket::{Event, SocketType};
use harness::{peers, socket, within};

#[tokio::test]
async fn the_first_connection_is_reported_like_all_later_ones() {
    let pull = socket(SocketType::Pull);
    within("bind", pull.bind("inproc://first")).await.unwrap();
    let push = socket(SocketType::Push);
    let mut monitor = push.monitor();
    push.connect("inproc://first").unwrap();
    let first = within("an event", monitor.recv()).await;
    assert!(matches!(first, Some(Event::Connected { .. })), "{first:?}");
    let second = within("an event", monitor.recv()).await;
    assert!(matches!(second, Some(Event::Ready { .. })), "{second:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listening_comes_before_accepted() {
    // Whoever connected first is accepted at once, perhaps by another thread.
    for n in 0..200 {
        let name = format!("inproc://listening-{n}");
        let push = socket(SocketType::Push);
        push.connect(&name).unwrap();
        let pull = socket(SocketType::Pull);
        let mut monitor = pull.monitor();
        within("bind", pull.bind(&name)).await.unwrap();
        let first = within("an event", monitor.recv()).await;
        assert!(matches!(first, Some(Event::Listening { .. })), "{n}: {first:?}");
        let second = within("an event", monitor.recv()).await;
        assert!(matches!(second, Some(Event::Accepted { .. })), "{n}: {second:?}");
    }
}

#[tokio::test]
async fn the_last_event_of_a_dropped_socket_is_closed() {
    let pull = socket(SocketType::Pull);
    within("bind", pull.bind("inproc://dropped")).await.unwrap();
    let push = socket(SocketType::Push);
    push.connect("inproc://dropped").unwrap();
    peers(&pull, 1).await;
    let mut monitor = pull.monitor();
    drop(pull);
    let mut last = None;
    while let Some(event) = within("an event", monitor.recv()).await {
        last = Some(event);
    }
    assert!(matches!(last, Some(Event::Closed)), "{last:?}");
}

#[tokio::test]
async fn a_monitor_of_a_closed_socket_ends_at_once() {
    let pull = socket(SocketType::Pull);
    within("close", pull.close()).await;
    let mut monitor = pull.monitor();
    while within("the end", monitor.recv()).await.is_some() {}
}
