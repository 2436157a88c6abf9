//! What every transport of whole messages does.

use std::future::poll_fn;
use std::task::Poll;

use flexbond_transport::pipe::PushError;
use flexbond_transport::{Connection, Link, Message, MessageChannel};

use crate::Place;

fn channel(connection: Connection) -> MessageChannel {
    match connection.link {
        Link::Messages(channel) => channel,
        other => panic!("expected messages, not {other:?}"),
    }
}

async fn next(channel: &mut MessageChannel) -> Option<Message> {
    poll_fn(|cx| channel.rx.poll_fill(cx))
        .await
        .then(|| channel.rx.pop().unwrap())
}

async fn send(channel: &MessageChannel, message: Message) {
    let mut message = Some(message);
    poll_fn(
        |cx| match channel.tx.try_push(message.take().unwrap(), Some(cx.waker())) {
            Ok(()) => Poll::Ready(()),
            Err(PushError::Full(back)) => {
                message = Some(back);
                Poll::Pending
            }
            Err(PushError::Closed(_)) => panic!("the peer is gone"),
        },
    )
    .await;
}

pub(crate) async fn messages_arrive_in_order_both_ways(place: Place) {
    const COUNT: usize = 10_000;
    let (near, far) = place.pair().await;
    let exchange = |mut channel: MessageChannel| async move {
        for i in 0..COUNT {
            send(&channel, Message::from([i.to_string(), "body".to_owned()])).await;
            if i % 3 == 2 {
                let got = next(&mut channel).await.unwrap();
                assert_eq!(got[0], *(i / 3).to_string().as_bytes());
            }
        }
        for i in COUNT / 3..COUNT {
            let got = next(&mut channel).await.unwrap();
            assert_eq!((got.len(), &got[0]), (2, i.to_string().as_bytes()));
        }
        channel
    };
    // Each side writes three times as fast as it reads, and neither reads while it waits to write.
    let (mut near, mut far) = (channel(near), channel(far));
    near.rx.set_capacity(COUNT);
    far.rx.set_capacity(COUNT);
    tokio::join!(exchange(near), exchange(far));
}

pub(crate) async fn large_payloads_are_not_copied(place: Place) {
    let (near, far) = place.pair().await;
    let (near, mut far) = (channel(near), channel(far));
    let payload = bytes::Bytes::from(vec![7; 1 << 20]);
    let at = payload.as_ptr();
    send(&near, Message::from(payload)).await;
    assert_eq!(next(&mut far).await.unwrap()[0].as_ptr(), at);
}

pub(crate) async fn a_full_channel_stalls_until_somebody_reads(place: Place) {
    let (near, far) = place.pair().await;
    let (near, mut far) = (channel(near), channel(far));
    let mut sent = 0;
    while near.tx.try_push(Message::from(sent.to_string()), None).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, place.options.send_capacity + place.options.recv_capacity);
    let sending = tokio::spawn(async move {
        send(&near, Message::from(sent.to_string())).await;
        near
    });
    tokio::task::yield_now().await;
    assert!(!sending.is_finished());
    for i in 0..=sent {
        assert_eq!(next(&mut far).await.unwrap()[0], *i.to_string().as_bytes());
    }
    sending.await.unwrap();
}

pub(crate) async fn a_dropped_channel_is_seen(place: Place) {
    let (near, far) = place.pair().await;
    let (near, mut far) = (channel(near), channel(far));
    send(&near, Message::from("last words")).await;
    drop(near);
    assert_eq!(next(&mut far).await.unwrap()[0], *b"last words");
    assert_eq!(next(&mut far).await, None);
    assert!(far.tx.is_closed());
}
