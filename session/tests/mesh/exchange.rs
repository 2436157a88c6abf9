//! Messages of all sizes and tags.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use flexbond_session::mesh::{MeshError, MeshOptions};
use futures_util::FutureExt;
use futures_util::future::{join_all, join3};

use crate::{Place, all, pattern, ranks, ring, within};

const SIZES: [usize; 14] = [
    0,
    1,
    23,
    24,
    1000,
    8191,
    8192,
    8193,
    32_743,
    32_744,
    32_768,
    100_000,
    1 << 20,
    4 << 20,
];

async fn rings(place: Place, size: usize, spin: Duration) {
    let (server, meshes) = ranks(place, size, MeshOptions::new().spin(spin)).await;
    all(&meshes, |mesh| async move {
        for (tag, length) in SIZES.into_iter().enumerate() {
            ring(&mesh, tag as u64, length).await;
        }
        ring(&mesh, 0, 5).await;
    })
    .await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_of_any_number_of_ranks_over_anything() {
    for place in Place::ALL {
        for size in [1, 2, 3, 8] {
            rings(place, size, Duration::ZERO).await;
        }
    }
}

#[tokio::test]
async fn a_ring_on_one_thread_that_spins() {
    for place in Place::ALL {
        for size in [2, 5] {
            rings(place, size, Duration::from_micros(200)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_on_two_threads_that_spin() {
    rings(Place::Tcp, 4, Duration::from_millis(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tags_at_once_in_any_order() {
    for place in Place::ALL {
        for spin in [Duration::ZERO, Duration::from_micros(100)] {
            let (_server, meshes) = ranks(place, 3, MeshOptions::new().spin(spin)).await;
            all(&meshes, |mesh| async move {
                let (rank, size) = (mesh.rank(), mesh.size());
                let length = |tag: u64| (tag as usize * 997) % 40_000;
                let bodies: Vec<_> = (0..60).map(|tag| pattern(rank, tag, length(tag))).collect();
                let sends = (0..60).flat_map(|tag| {
                    let (mesh, body) = (&mesh, &bodies[tag as usize]);
                    (0..size).map(move |to| async move {
                        mesh.send(to, tag, body).await.expect("sent");
                    })
                });
                let receives = (0..60).rev().flat_map(|tag| {
                    let mesh = &mesh;
                    (0..size).map(move |from| async move {
                        let body = mesh.recv_bytes(from, tag).await.expect("received");
                        assert!(body == pattern(from, tag, length(tag)), "{tag} from {from}");
                    })
                });
                within("all of them", async {
                    tokio::join!(join_all(sends), join_all(receives));
                })
                .await;
                let stats = mesh.stats();
                assert_eq!((stats.messages_received, stats.unexpected_bytes), (180, 0));
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receives_in_tasks_of_their_own_wake_each_other() {
    let (_server, meshes) = ranks(Place::Tcp, 2, MeshOptions::new()).await;
    let mut tasks = Vec::new();
    for tag in 0..20 {
        let mesh = Arc::clone(&meshes[1]);
        tasks.push(tokio::spawn(async move {
            let mut into = vec![0; 50_000];
            for round in 0..20 {
                let length = mesh.recv(0, tag, &mut into).await.expect("received");
                assert!(into[..length] == pattern(round, tag, 1000 * round + tag as usize));
            }
        }));
    }
    for round in 0..20 {
        for tag in (0..20).rev() {
            let body = pattern(round, tag, 1000 * round + tag as usize);
            within("a send", meshes[0].send(1, tag, &body))
                .await
                .expect("sent");
        }
    }
    for task in tasks {
        within("a receiver", task).await.expect("no panic");
    }
}

#[tokio::test]
async fn large_messages_both_ways_at_once() {
    for place in Place::ALL {
        let (_server, meshes) = ranks(place, 2, MeshOptions::new()).await;
        all(&meshes, |mesh| async move {
            for tag in 0..3 {
                ring(&mesh, tag, 20 << 20).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn mistakes_are_told_and_nothing_is_lost() {
    let options = MeshOptions::new().max_message(1000);
    let (_server, meshes) = ranks(Place::Tcp, 2, options).await;
    let (zero, one) = (&meshes[0], &meshes[1]);
    let nobody = MeshError::NoSuchRank { rank: 2, size: 2 };
    assert_eq!(zero.send(2, 0, b"").await, Err(nobody.clone()));
    assert_eq!(zero.recv(2, 0, &mut []).await, Err(nobody.clone()));
    assert_eq!(zero.recv_bytes(2, 0).await, Err(nobody));
    let too_long = MeshError::TooLong {
        length: 1001,
        limit: 1000,
    };
    assert_eq!(zero.send(1, 0, &[0; 1001]).await, Err(too_long));
    let mut small = [0; 4];
    let (sent, received) = tokio::join!(zero.send(1, 5, b"hello"), one.recv(0, 5, &mut small));
    sent.unwrap();
    assert_eq!(received, Err(MeshError::Truncated { length: 5, room: 4 }));
    zero.send(1, 6, b"after").await.unwrap();
    assert_eq!(one.recv_bytes(0, 6).await.unwrap(), "after");
    assert_eq!(one.recv_bytes(0, 5).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_rank_can_talk_to_itself() {
    let options = MeshOptions::new().unexpected_limit(1000);
    let (_server, meshes) = ranks(Place::Tcp, 1, options).await;
    let mesh = &meshes[0];
    mesh.send(0, 1, b"note").await.unwrap();
    let mut into = [0; 10];
    assert_eq!(mesh.recv(0, 1, &mut into).await, Ok(4));
    let bodies: Vec<_> = (0..10).map(|tag| pattern(0, tag, 600)).collect();
    let sends = async {
        for (tag, body) in bodies.iter().enumerate() {
            mesh.send(0, tag as u64, body).await.unwrap();
        }
    };
    let receives = async {
        for (tag, body) in bodies.iter().enumerate() {
            assert!(mesh.recv_bytes(0, tag as u64).await.unwrap() == body);
        }
    };
    within("room", async { tokio::join!(sends, receives) }).await;
}

#[tokio::test]
async fn what_nobody_asks_for_is_bounded_and_waits() {
    let options = MeshOptions::new().unexpected_limit(100_000);
    let (_server, meshes) = ranks(Place::Tcp, 2, options).await;
    let (zero, one) = (&meshes[0], &meshes[1]);
    let body = pattern(0, 1, 90_000);
    let sends = async {
        for _ in 0..3 {
            zero.send(1, 1, &body).await.unwrap();
        }
        zero.send(1, 2, b"last").await.unwrap();
    };
    let receives = async {
        let last = one.recv_bytes(0, 2);
        let others = async {
            while one.stats().stalls == 0 {
                tokio::task::yield_now().await;
            }
            assert!(one.stats().unexpected_bytes <= 100_000);
            for _ in 0..3 {
                assert!(one.recv_bytes(0, 1).await.unwrap() == body);
            }
        };
        let (last, ()) = tokio::join!(last, others);
        assert_eq!(last.unwrap(), "last");
    };
    within("all", async { tokio::join!(sends, receives) }).await;
}

#[tokio::test]
async fn small_messages_that_never_wait_leave_time_for_others() {
    let (_server, meshes) = ranks(Place::Tcp, 2, MeshOptions::new()).await;
    let (zero, one) = (&meshes[0], &meshes[1]);
    let mut others = 0;
    let exchange = async {
        for tag in 0..10_000 {
            zero.send(1, tag, b"x").await.unwrap();
            one.recv(0, tag, &mut [0]).await.unwrap();
        }
    };
    tokio::select! {
        biased;
        () = exchange => {}
        () = async { loop { others += 1; tokio::task::yield_now().await; } } => {}
    }
    assert!(others > 10, "{others}");
}

#[tokio::test]
async fn messages_keep_the_order_of_their_first_polls() {
    for place in Place::ALL {
        let (_server, meshes) = ranks(place, 2, MeshOptions::new()).await;
        let (zero, one) = (&meshes[0], &meshes[1]);
        // Both wait for the connection; the second one is woken first.
        let (mut first, mut second) = (zero.send(1, 1, b"first"), zero.send(1, 1, b"second"));
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        let received = async { (one.recv_bytes(0, 1).await, one.recv_bytes(0, 1).await) };
        let (second, first, received) = within("both", join3(second, first, received)).await;
        first.unwrap();
        second.unwrap();
        assert_eq!(received, (Ok("first".into()), Ok("second".into())), "{place:?}");
        // Those that receive, over a connection that is not there yet either.
        let (_server, others) = ranks(place, 2, MeshOptions::new()).await;
        let (mut first, mut second) = (others[1].recv_bytes(0, 1), others[1].recv_bytes(0, 1));
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        let sent = async { (others[0].send(1, 1, b"a").await, others[0].send(1, 1, b"b").await) };
        let (second, first, sent) = within("both", join3(second, first, sent)).await;
        assert_eq!(
            (first, second, sent),
            (Ok("a".into()), Ok("b".into()), (Ok(()), Ok(()))),
            "{place:?}"
        );
        // Whose future is dropped holds nobody up.
        let mut dropped = zero.send(1, 2, b"dropped");
        let _ = (&mut dropped).now_or_never();
        drop(dropped);
        within("a send", zero.send(1, 3, b"next")).await.unwrap();
        assert_eq!(within("it", one.recv_bytes(0, 3)).await.unwrap(), "next");
    }
}

#[tokio::test]
async fn messages_to_oneself_keep_their_order_too() {
    let options = MeshOptions::new().unexpected_limit(1000);
    let (_server, meshes) = ranks(Place::Tcp, 1, options).await;
    let mesh = &meshes[0];
    mesh.send(0, 1, &[0; 600]).await.unwrap();
    // There is room for the second one alone.
    let (mut first, mut second) = (mesh.send(0, 2, &[1; 600]), mesh.send(0, 2, &[2; 10]));
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    assert!(mesh.send(0, 3, b"of another tag").now_or_never().is_some());
    assert_eq!(within("room", mesh.recv_bytes(0, 1)).await.unwrap().len(), 600);
    let received = async { [mesh.recv_bytes(0, 2).await, mesh.recv_bytes(0, 2).await] };
    let (second, first, received) = within("both", join3(second, first, received)).await;
    first.unwrap();
    second.unwrap();
    assert_eq!(received.map(|body| body.unwrap().len()), [600, 10]);
    // Whose future is dropped holds nobody up.
    mesh.send(0, 2, &[0; 600]).await.unwrap();
    let mut dropped = mesh.send(0, 2, &[1; 600]);
    assert!((&mut dropped).now_or_never().is_none());
    let other = Arc::clone(mesh);
    let waiting = tokio::spawn(async move { other.send(0, 2, &[2; 10]).await });
    tokio::task::yield_now().await;
    drop(dropped);
    within("a send", waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn room_for_messages_to_oneself_is_noticed() {
    let options = MeshOptions::new().unexpected_limit(1000);
    let (_server, meshes) = ranks(Place::Tcp, 1, options).await;
    let mesh = &meshes[0];
    let send = |tag| {
        let mesh = Arc::clone(mesh);
        tokio::spawn(async move { mesh.send(0, tag, &[tag as u8; 800]).await })
    };
    // It waits, until what fills the store is thrown away ...
    mesh.send(0, 1, &[0; 800]).await.unwrap();
    let waiting = send(2);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    mesh.discard(1, 1..=1);
    within("a send", waiting).await.unwrap().unwrap();
    // ... or somebody waits for it ...
    let waiting = send(3);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert_eq!(
        within("a message", mesh.recv_bytes(0, 3)).await.unwrap(),
        [3; 800][..]
    );
    within("a send", waiting).await.unwrap().unwrap();
    assert_eq!(mesh.recv_bytes(0, 2).await.unwrap(), [2; 800][..]);
    // ... or an announcement was taken.
    for number in 1..16 {
        let announcing = mesh.announce(0, 4, NonZeroU32::new(number).unwrap(), 5);
        within("a send", announcing).await.unwrap();
    }
    let waiting = tokio::spawn({
        let mesh = Arc::clone(mesh);
        async move { mesh.send(0, 5, b"").await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let announced = MeshError::Announced { number: 1, length: 5 };
    assert_eq!(mesh.recv_bytes(0, 4).await, Err(announced));
    within("a send", waiting).await.unwrap().unwrap();
}
