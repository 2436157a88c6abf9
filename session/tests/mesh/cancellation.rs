//! Futures that are dropped at any moment.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use flexbond_session::mesh::MeshOptions;

use crate::{Place, pattern, ranks, within};

/// Polls a future so often, and drops it if it is not done by then.
async fn polled<F: Future + Unpin>(mut future: F, times: usize) -> Option<F::Output> {
    for _ in 0..times {
        let polled = poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut future).poll(cx))).await;
        match polled {
            Poll::Ready(output) => return Some(output),
            Poll::Pending => tokio::task::yield_now().await,
        }
    }
    None
}

#[tokio::test]
async fn a_message_whose_send_was_dropped_arrives_whole_or_not_at_all() {
    for place in Place::ALL {
        let (_server, meshes) = ranks(place, 2, MeshOptions::new()).await;
        let (zero, one) = (Arc::clone(&meshes[0]), Arc::clone(&meshes[1]));
        let sender = tokio::spawn(async move {
            for number in 0..40_u64 {
                let body = pattern(0, number, 3_000_000);
                let _ = polled(zero.send(1, 1, &body), 1 + number as usize % 3).await;
                // Tells that the one before will not come any more, if it has not come.
                zero.send(1, 1, &number.to_le_bytes()).await.unwrap();
            }
        });
        let mut arrived = 0;
        for number in 0..40_u64 {
            let mut body = within("a message", one.recv_bytes(0, 1)).await.unwrap();
            if body.len() != 8 {
                assert!(body == pattern(0, number, 3_000_000), "{place:?} {number}");
                arrived += 1;
                body = within("a message", one.recv_bytes(0, 1)).await.unwrap();
            }
            assert_eq!(body[..], number.to_le_bytes());
        }
        within("the sender", sender).await.unwrap();
        assert!(arrived > 0);
    }
}

#[tokio::test]
async fn a_dropped_receive_loses_nothing() {
    for place in Place::ALL {
        let (_server, meshes) = ranks(place, 2, MeshOptions::new()).await;
        let (zero, one) = (Arc::clone(&meshes[0]), Arc::clone(&meshes[1]));
        let sender = tokio::spawn(async move {
            for number in 0..40 {
                let body = pattern(0, number, 1_000_000);
                zero.send(1, number % 2, &body).await.unwrap();
            }
        });
        let mut into = vec![0; 1_000_000];
        for number in 0..40 {
            let mut attempts = 0;
            loop {
                attempts += 1;
                let outcome = match attempts % 2 {
                    0 => polled(one.recv(0, number % 2, &mut into), 1 + attempts % 3).await,
                    _ => polled(one.recv_bytes(0, number % 2), 1 + attempts % 3)
                        .await
                        .map(|body| {
                            body.map(|body| {
                                into.copy_from_slice(&body);
                                body.len()
                            })
                        }),
                };
                if let Some(outcome) = outcome {
                    assert_eq!(outcome, Ok(1_000_000));
                    break;
                }
                assert!(attempts < 1_000_000, "{place:?} {number}");
                tokio::task::yield_now().await;
            }
            assert!(into == pattern(0, number, 1_000_000), "{place:?} {number}");
        }
        within("the sender", sender).await.unwrap();
        assert_eq!(one.stats().unexpected_bytes, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_receive_hands_over_to_the_others() {
    let (_server, meshes) = ranks(Place::Tcp, 2, MeshOptions::new()).await;
    let one = Arc::clone(&meshes[1]);
    let other = tokio::spawn(async move { one.recv_bytes(0, 2).await });
    for _ in 0..50 {
        // It may be the one that the connection would wake.
        assert!(polled(meshes[1].recv_bytes(0, 1), 2).await.is_none());
    }
    meshes[0].send(1, 1, b"for nobody yet").await.unwrap();
    meshes[0].send(1, 2, b"for the other").await.unwrap();
    let received = within("the other", other).await.unwrap();
    assert_eq!(received.unwrap(), "for the other");
    assert_eq!(meshes[1].recv_bytes(0, 1).await.unwrap(), "for nobody yet");
}

#[tokio::test]
async fn a_notice_arrives_whatever_is_before_it() {
    for place in Place::ALL {
        let (_server, meshes) = ranks(place, 2, MeshOptions::new()).await;
        let (zero, one) = (&meshes[0], &meshes[1]);
        let expect = async |tag, body: &'static [u8]| {
            let received = within("a notice", one.recv_bytes(0, tag)).await.unwrap();
            assert_eq!(received, body, "{place:?}");
        };
        zero.post(1, 1, b"before there is a connection");
        expect(1, b"before there is a connection").await;
        let large = pattern(0, 2, 16 << 20);
        assert!(polled(zero.send(1, 2, &large), 1).await.is_none());
        zero.post(1, 3, b"behind the rest of a send that was dropped");
        expect(3, b"behind the rest of a send that was dropped").await;
        let mut sending = zero.send(1, 4, &large);
        assert!(polled(&mut sending, 1).await.is_none());
        zero.post(1, 5, b"behind a send");
        zero.post(1, 5, b"and behind another notice");
        let (sent, ()) = tokio::join!(within("a send", sending), async {
            expect(5, b"behind a send").await;
            expect(5, b"and behind another notice").await;
        });
        sent.unwrap();
        for tag in [2, 4] {
            let body = within("a large one", one.recv_bytes(0, tag)).await.unwrap();
            assert!(tag == 2 || body == large);
        }
    }
}

#[tokio::test]
async fn a_notice_goes_before_who_posts_it_leaves() {
    for place in Place::ALL {
        let (_server, mut meshes) = ranks(place, 2, MeshOptions::new()).await;
        let zero = Arc::into_inner(meshes.remove(0)).unwrap();
        zero.post(1, 1, b"the last word");
        let (body, ()) = tokio::join!(
            within("a notice", meshes[0].recv_bytes(0, 1)),
            within("leaving", zero.leave())
        );
        assert_eq!(body.unwrap(), "the last word", "{place:?}");
    }
}

#[tokio::test]
async fn a_notice_of_an_epoch_that_is_over_is_none_of_the_next() {
    let (_server, meshes) = ranks(Place::Tcp, 2, MeshOptions::new()).await;
    let large = pattern(0, 2, 16 << 20);
    assert!(polled(meshes[0].send(1, 1, &large), 1).await.is_none());
    meshes[0].post(1, 2, b"late");
    crate::all(&meshes, |mesh| async move { mesh.next_epoch().await.unwrap() }).await;
    meshes[0].send(1, 2, b"of this epoch").await.unwrap();
    let body = within("a message", meshes[1].recv_bytes(0, 2)).await.unwrap();
    assert_eq!(body, "of this epoch");
}
