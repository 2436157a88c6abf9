//! Ranks and servers that die.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flexbond_session::mesh::{Mesh, MeshError, MeshOptions};
use futures_util::future::join_all;

use crate::{Place, all, pattern, ranks, ring, server, within};

/// Exchanges with everybody until something fails.
async fn until_it_fails(mesh: &Mesh, length: usize) -> MeshError {
    let (rank, size) = (mesh.rank(), mesh.size());
    for tag in 0.. {
        let body = pattern(rank, tag, length);
        let sends = join_all((0..size).map(|to| mesh.send(to, tag, &body)));
        let receives = join_all((0..size).map(|from| mesh.recv_bytes(from, tag)));
        let (sent, received) = tokio::join!(sends, receives);
        let failed = sent
            .into_iter()
            .find_map(Result::err)
            .or(received.into_iter().find_map(Result::err));
        if let Some(error) = failed {
            return error;
        }
    }
    unreachable!("the numbers do not end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_survivors_of_a_death_hear_the_same_and_go_on() {
    for place in Place::ALL {
        for (size, dead, length) in [(2, 1, 10), (4, 0, 100_000), (5, 3, 3_000_000)] {
            let (_server, mut meshes) = ranks(place, size, MeshOptions::new()).await;
            let tasks: Vec<_> = meshes
                .drain(..)
                .enumerate()
                .map(|(rank, mesh)| {
                    tokio::spawn(async move {
                        let working = until_it_fails(&mesh, length);
                        if rank == dead {
                            // In the middle of something.
                            let _ = tokio::time::timeout(Duration::from_millis(30), working).await;
                            return None;
                        }
                        Some((working.await, mesh))
                    })
                })
                .collect();
            let mut survivors = Vec::new();
            for task in tasks {
                let outcome = within("the end", task).await.expect("no panic");
                if let Some((error, mesh)) = outcome {
                    let failed = vec![dead];
                    assert_eq!(error, MeshError::PeerFailed { failed }, "{place:?}");
                    assert_eq!(mesh.failure(), Some(error));
                    survivors.push(mesh);
                }
            }
            all(&survivors, |mesh| async move {
                let rank = mesh.rank();
                let gone = mesh.send(rank, 0, b"").await;
                assert!(matches!(gone, Err(MeshError::PeerFailed { .. })));
                mesh.next_epoch().await.expect("an epoch");
                assert_eq!(mesh.rank(), rank - usize::from(rank > dead));
                ring(&mesh, 0, 100_000).await;
            })
            .await;
            assert!(
                survivors
                    .iter()
                    .all(|mesh| (mesh.size(), mesh.epoch()) == (size - 1, 2))
            );
        }
    }
}

#[tokio::test]
async fn a_death_ends_what_waits_for_others() {
    let (_server, mut meshes) = ranks(Place::Tcp, 3, MeshOptions::new().spin(Duration::from_millis(1))).await;
    let zero = Arc::clone(&meshes[0]);
    let waiting = tokio::spawn(async move { zero.recv_bytes(1, 0).await });
    let one = Arc::clone(&meshes[1]);
    let also = tokio::spawn(async move { one.send(0, 9, &vec![0; 64 << 20]).await });
    while meshes[1].stats().bytes_sent == 0 && meshes[0].stats().stalls == 0 {
        tokio::task::yield_now().await;
        if also.is_finished() {
            break;
        }
    }
    drop(meshes.pop());
    let failed = Err(MeshError::PeerFailed { failed: vec![2] });
    assert_eq!(within("the end", waiting).await.unwrap().map(drop), failed);
    assert!(matches!(
        within("the end", also).await.unwrap(),
        Ok(()) | Err(MeshError::PeerFailed { .. })
    ));
}

#[tokio::test]
async fn several_deaths_one_after_the_other() {
    let (_server, mut meshes) = ranks(Place::Ipc, 4, MeshOptions::new()).await;
    for left in [3, 2, 1] {
        drop(meshes.remove(0));
        all(&meshes, |mesh| async move {
            let error = mesh.recv_bytes(0, 0).await.unwrap_err();
            assert_eq!(error, MeshError::PeerFailed { failed: vec![0] });
            mesh.next_epoch().await.unwrap();
            ring(&mesh, 1, 1000).await;
        })
        .await;
        assert_eq!(meshes[0].size(), left);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_the_server_is_an_error_at_every_rank() {
    for place in Place::ALL {
        let (server, meshes) = ranks(place, 3, MeshOptions::new()).await;
        let tasks: Vec<_> = meshes
            .iter()
            .map(|mesh| {
                let mesh = Arc::clone(mesh);
                tokio::spawn(async move { until_it_fails(&mesh, 1000).await })
            })
            .collect();
        let begun = Instant::now();
        drop(server);
        for task in tasks {
            let error = within("the end", task).await.unwrap();
            assert_eq!(error, MeshError::ServerLost);
        }
        assert!(begun.elapsed() < Duration::from_secs(3));
        assert_eq!(meshes[0].next_epoch().await, Err(MeshError::ServerLost));
    }
}

#[tokio::test]
async fn a_rank_that_computes_for_long_is_not_dead() {
    let (_server, meshes) = ranks(Place::Tcp, 2, MeshOptions::new()).await;
    // On the thread of the runtime, and for longer than a silent rank may live.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        std::hint::spin_loop();
    }
    all(&meshes, |mesh| async move { ring(&mesh, 0, 1000).await }).await;
}

#[tokio::test]
async fn a_message_that_is_longer_than_the_peer_allows_ends_the_epoch() {
    let brisk = MeshOptions::new()
        .heartbeat(Duration::from_millis(20))
        .dead_after(Duration::from_millis(1000));
    let server = server(Place::Tcp, brisk.size(2)).await;
    let (zero, one) = tokio::try_join!(
        Mesh::join(server.endpoint(), MeshOptions::new().rank(0)),
        Mesh::join(server.endpoint(), MeshOptions::new().rank(1).max_message(100)),
    )
    .unwrap();
    zero.send(1, 0, &[0; 101]).await.unwrap();
    // Rank 1 cannot go on with this connection, and says so; the server lets the first to complain stay.
    let failed = MeshError::PeerFailed { failed: vec![0] };
    let (at_one, at_zero) = within("the verdict", async {
        tokio::join!(one.recv_bytes(0, 0), zero.recv_bytes(1, 0))
    })
    .await;
    assert_eq!(at_one, Err(failed));
    assert_eq!(at_zero, Err(MeshError::Expelled));
    assert_eq!(one.stats().malformed, 1);
}

#[tokio::test]
async fn a_connection_that_broke_before_another_death_is_told_again_in_the_next_epoch() {
    let dead_after = Duration::from_millis(600);
    let brisk = MeshOptions::new()
        .heartbeat(Duration::from_millis(20))
        .dead_after(dead_after);
    let server = server(Place::Tcp, brisk.size(3)).await;
    let (zero, one, two) = tokio::try_join!(
        Mesh::join(server.endpoint(), MeshOptions::new().rank(0).max_message(100)),
        Mesh::join(server.endpoint(), MeshOptions::new().rank(1)),
        Mesh::join(server.endpoint(), MeshOptions::new().rank(2)),
    )
    .unwrap();
    // Rank 0 cannot go on with its connection to rank 1, but before the server decides on that, rank 2 dies.
    one.send(0, 0, &[0; 101]).await.unwrap();
    let mut broken = Box::pin(zero.recv_bytes(1, 0));
    while zero.stats().malformed == 0 {
        let polled = tokio::time::timeout(Duration::from_millis(1), &mut broken).await;
        assert!(polled.is_err(), "{polled:?}");
    }
    drop(two);
    let failed = Err(MeshError::PeerFailed { failed: vec![2] });
    assert_eq!(within("the death", broken).await, failed);
    tokio::try_join!(zero.next_epoch(), one.next_epoch()).unwrap();
    assert_eq!((zero.size(), zero.epoch()), (2, 2));
    let failed = Err(MeshError::PeerFailed { failed: vec![1] });
    assert_eq!(within("the verdict", zero.recv_bytes(1, 0)).await, failed);
}
