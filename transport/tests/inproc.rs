//! What only inproc does: connecting before anybody has bound, and its limits.
#![cfg(feature = "inproc")]

use std::future::{Future, poll_fn};
use std::task::{Context, Poll, Waker};

use flexbond_transport::{
    BindError, ConnectError, Endpoint, Inproc, Link, LinkOptions, Listener, Message, MessageChannel,
    Transport,
};

fn name() -> Endpoint {
    "inproc://name".parse().unwrap()
}

fn options(send: usize, recv: usize) -> LinkOptions {
    let mut options = LinkOptions::default();
    options.send_capacity = send;
    options.recv_capacity = recv;
    options
}

async fn connect(inproc: &Inproc, options: &LinkOptions) -> Result<MessageChannel, ConnectError> {
    let connection = inproc.connect(&name(), options).await?;
    assert_eq!(connection.peer, name());
    let Link::Messages(channel) = connection.link else {
        panic!("not a channel")
    };
    Ok(channel)
}

async fn accept(listener: &mut dyn Listener) -> MessageChannel {
    let connection = listener.accept().await.unwrap();
    assert_eq!(connection.peer, name());
    let Link::Messages(channel) = connection.link else {
        panic!("not a channel")
    };
    channel
}

fn has_connection(listener: &mut dyn Listener) -> bool {
    let mut accept = std::pin::pin!(listener.accept());
    accept
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_ready()
}

/// Pushes until the channel is full; returns how many messages it took.
fn fill(channel: &MessageChannel) -> usize {
    (0..)
        .take_while(|i| channel.tx.try_push(Message::from(i.to_string()), None).is_ok())
        .count()
}

async fn next(channel: &mut MessageChannel) -> Option<Message> {
    poll_fn(|cx| channel.rx.poll_fill(cx))
        .await
        .then(|| channel.rx.pop().unwrap())
}

#[tokio::test]
async fn messages_wait_for_somebody_to_bind() {
    let inproc = Inproc::new();
    let near = connect(&inproc, &options(3, 0)).await.unwrap();
    assert_eq!(
        fill(&near),
        3,
        "before it is accepted, a channel holds what the connector allows"
    );
    let mut listener = inproc.bind(&name(), &LinkOptions::default()).await.unwrap();
    let mut far = accept(&mut *listener).await;
    for i in 0..3 {
        assert_eq!(next(&mut far).await.unwrap()[0], *i.to_string().as_bytes());
    }
}

#[tokio::test]
async fn capacities_of_both_ends_add_up() {
    let inproc = Inproc::new();
    for bind_first in [true, false] {
        let (connector, binder) = (options(10, 200), options(3000, 40_000));
        let (near, mut listener);
        if bind_first {
            listener = inproc.bind(&name(), &binder).await.unwrap();
            near = connect(&inproc, &connector).await.unwrap();
        } else {
            near = connect(&inproc, &connector).await.unwrap();
            listener = inproc.bind(&name(), &binder).await.unwrap();
        }
        let far = accept(&mut *listener).await;
        assert_eq!(fill(&near), 40_010);
        assert_eq!(fill(&far), 3200);
    }
    let unbounded = options(usize::MAX, usize::MAX);
    let near = connect(&inproc, &unbounded).await.unwrap();
    let mut listener = inproc.bind(&name(), &unbounded).await.unwrap();
    let _far = accept(&mut *listener).await;
    assert_eq!(near.tx.room(), usize::MAX);
}

#[tokio::test]
async fn a_full_channel_goes_on_once_it_is_accepted() {
    let inproc = Inproc::new();
    let near = connect(&inproc, &options(1, 1)).await.unwrap();
    fill(&near);
    let waiting = tokio::spawn(async move {
        poll_fn(|cx| match near.tx.has_room_or_register(cx.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let mut listener = inproc.bind(&name(), &options(1, 1)).await.unwrap();
    let _far = accept(&mut *listener).await;
    waiting.await.unwrap();
}

#[tokio::test]
async fn a_connector_that_left_is_discarded_before_anybody_binds() {
    let inproc = Inproc::new();
    let gone = connect(&inproc, &LinkOptions::default()).await.unwrap();
    fill(&gone);
    let _stays = connect(&inproc, &LinkOptions::default()).await.unwrap();
    drop(gone);
    let mut listener = inproc.bind(&name(), &LinkOptions::default()).await.unwrap();
    let far = accept(&mut *listener).await;
    assert!(!far.tx.is_closed());
    assert!(!has_connection(&mut *listener));
}

#[tokio::test]
async fn what_was_sent_to_a_bound_name_is_delivered() {
    let inproc = Inproc::new();
    let mut listener = inproc.bind(&name(), &LinkOptions::default()).await.unwrap();
    let empty = connect(&inproc, &LinkOptions::default()).await.unwrap();
    let gone = connect(&inproc, &LinkOptions::default()).await.unwrap();
    gone.tx.try_push(Message::from("last words"), None).unwrap();
    drop((empty, gone));
    let mut far = accept(&mut *listener).await;
    assert_eq!(next(&mut far).await.unwrap()[0], *b"last words");
    assert_eq!(next(&mut far).await, None);
    assert!(
        !has_connection(&mut *listener),
        "the one that sent nothing is not shown"
    );
}

#[tokio::test]
async fn waiting_connections_are_bounded() {
    let inproc = Inproc::with_max_waiting(2);
    let first = connect(&inproc, &LinkOptions::default()).await.unwrap();
    let _second = connect(&inproc, &LinkOptions::default()).await.unwrap();
    let error = connect(&inproc, &LinkOptions::default()).await.unwrap_err();
    assert!(!error.is_permanent());
    assert_eq!(
        error.to_string(),
        "cannot connect to inproc://name: 2 connections wait to be accepted already"
    );
    drop(first);
    let _third = connect(&inproc, &LinkOptions::default()).await.unwrap();
    assert!(connect(&inproc, &LinkOptions::default()).await.is_err());
    let mut listener = inproc.bind(&name(), &LinkOptions::default()).await.unwrap();
    accept(&mut *listener).await;
    let _fourth = connect(&inproc, &LinkOptions::default()).await.unwrap();
}

#[tokio::test]
async fn who_waits_survives_the_binder() {
    let inproc = Inproc::new();
    let first = inproc.bind(&name(), &LinkOptions::default()).await.unwrap();
    let near = connect(&inproc, &LinkOptions::default()).await.unwrap();
    near.tx.try_push(Message::from("hello"), None).unwrap();
    drop(first);
    let mut second = inproc.bind(&name(), &LinkOptions::default()).await.unwrap();
    let mut far = accept(&mut *second).await;
    assert_eq!(next(&mut far).await.unwrap()[0], *b"hello");
}

#[tokio::test]
async fn spaces_of_names_are_apart() {
    let (one, other) = (Inproc::new(), Inproc::new());
    let _bound = one.bind(&name(), &LinkOptions::default()).await.unwrap();
    let mut listener = other.bind(&name(), &LinkOptions::default()).await.unwrap();
    let _near = connect(&one, &LinkOptions::default()).await.unwrap();
    assert!(!has_connection(&mut *listener));
    let error = one
        .clone()
        .bind(&name(), &LinkOptions::default())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, BindError::InUse { source: None, .. }));

    let shared: Endpoint = "inproc://shared by the process".parse().unwrap();
    let _bound = Inproc::process()
        .bind(&shared, &LinkOptions::default())
        .await
        .unwrap();
    assert!(
        Inproc::process()
            .bind(&shared, &LinkOptions::default())
            .await
            .is_err()
    );
}
