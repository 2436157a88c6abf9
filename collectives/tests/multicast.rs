//! Communicators over real connections and multicast on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flexbond_collectives::{
    AllreduceAlgorithm, BarrierAlgorithm, BroadcastAlgorithm, CollectiveError, Communicator, Fabric,
    FabricError, Launch, MeshFabric, MulticastOptions, Sum, Table, Tuning,
};
use flexbond_session::mesh::{MeshOptions, MeshServer};
use futures_util::FutureExt;
use futures_util::future::{join, join_all, try_join_all};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Long enough for a multicast.
const LONG: usize = 1 << 20;

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it does not take that long")
}

/// An address that no other test of this run is likely to have.
fn group() -> SocketAddr {
    SocketAddr::from(([239, 255, 78, fastrand::u8(1..)], fastrand::u16(20_000..30_000)))
}

fn body(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251 + seed) as u8).collect()
}

struct Ranks {
    _server: MeshServer,
    fabrics: Vec<Arc<MeshFabric>>,
}

/// The fabrics of `size` ranks; `options` may differ by rank.
async fn fabrics(
    size: usize,
    mesh: MeshOptions,
    options: impl Fn(usize) -> MulticastOptions,
) -> Result<Ranks> {
    let server = MeshServer::bind("tcp://127.0.0.1:0", mesh.clone().size(size)).await?;
    let join = |rank| {
        let (endpoint, mesh, options) = (server.endpoint().clone(), mesh.clone().rank(rank), options(rank));
        async move {
            let fabric = MeshFabric::join(endpoint, mesh).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Arc::new(fabric.with_multicast(options).await))
        }
    };
    let fabrics = soon(try_join_all((0..size).map(join))).await?;
    Ok(Ranks {
        _server: server,
        fabrics,
    })
}

/// As [`fabrics`], with multicast that works.
async fn multicasting(size: usize, mesh: MeshOptions) -> Result<Ranks> {
    let group = group();
    let ranks = fabrics(size, mesh, |_| MulticastOptions::new(group)).await?;
    for fabric in &ranks.fabrics {
        assert!(fabric.has_multicast(), "{:?}", fabric.multicast_refusal());
    }
    Ok(ranks)
}

/// Everything that can be multicast is.
fn tuning() -> Tuning {
    let mut tuning = Tuning::default();
    tuning.multicast_barrier = Table::always(BarrierAlgorithm::Multicast);
    tuning.multicast_broadcast = Table::always(BroadcastAlgorithm::Multicast);
    tuning.multicast_stream = Table::always(BroadcastAlgorithm::Multicast);
    tuning.multicast_allreduce = Table::always(AllreduceAlgorithm::Multicast);
    tuning
}

async fn communicators(fabrics: &[Arc<MeshFabric>]) -> Result<Vec<Communicator<MeshFabric>>> {
    let make = |fabric: &Arc<MeshFabric>| Communicator::with_tuning(Arc::clone(fabric), tuning());
    Ok(soon(try_join_all(fabrics.iter().map(make))).await?)
}

async fn results_are_right(size: usize) -> Result<()> {
    let ranks = multicasting(size, MeshOptions::new()).await?;
    let communicators = communicators(&ranks.fabrics).await?;
    soon(try_join_all(communicators.iter().map(async |communicator| {
        let rank = communicator.rank();
        for root in 0..size {
            for len in [0, 1, 5000, 70_000, LONG + 3] {
                let expected = body(root, len);
                let mut data = if rank == root {
                    expected.clone()
                } else {
                    vec![0; len]
                };
                communicator.broadcast(root, &mut data).await?;
                assert!(data == expected, "{size} ranks, {len} bytes from {root}");
            }
            let value = (rank == root).then(|| body(root, 100_000));
            let value = communicator.broadcast_value(root, value).await?;
            assert!(value == body(root, 100_000));
            if rank == root {
                let mut sink = communicator.broadcast_sink()?;
                for chunk in [1, 200_000, 10] {
                    sink.send(&body(chunk, chunk)).await?;
                }
                sink.finish().await?;
            } else {
                let mut stream = communicator.broadcast_stream(root)?;
                for chunk in [1, 200_000, 10] {
                    assert!(stream.next().await?.as_deref() == Some(&body(chunk, chunk)[..]));
                }
                assert_eq!(stream.next().await?, None);
            }
        }
        for len in [1, 1000, 50_000] {
            let mut data = vec![rank as u64 + 1; len];
            communicator.allreduce(&mut data, Sum).await?;
            let sum = (size * (size + 1) / 2) as u64;
            assert!(data.iter().all(|found| *found == sum) && data.len() == len);
            communicator.barrier().await?;
        }
        // Several at once, each from another root.
        let mut many: Vec<_> = (0..size)
            .map(|root| {
                if rank == root {
                    body(root, LONG)
                } else {
                    vec![0; LONG]
                }
            })
            .collect();
        let broadcasts = many.iter_mut().enumerate();
        try_join_all(broadcasts.map(|(root, data)| communicator.broadcast(root, data))).await?;
        assert!(
            many.iter()
                .enumerate()
                .all(|(root, data)| *data == body(root, LONG))
        );
        Ok::<_, CollectiveError>(())
    })))
    .await?;
    drop(communicators);
    let fabrics = ranks.fabrics.into_iter().filter_map(Arc::into_inner);
    soon(join_all(fabrics.map(MeshFabric::leave))).await;
    Ok(())
}

#[tokio::test]
async fn results_are_right_for_two() -> Result<()> {
    results_are_right(2).await
}

#[tokio::test]
async fn results_are_right_for_three() -> Result<()> {
    results_are_right(3).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_right_for_five() -> Result<()> {
    results_are_right(5).await
}

#[tokio::test]
async fn messages_of_a_tag_keep_their_order_however_they_go() -> Result<()> {
    let ranks = multicasting(3, MeshOptions::new()).await?;
    let sender = async {
        for round in 0..3 {
            for to in [1, 2] {
                ranks.fabrics[0].send(to, 7, &[round]).await?;
            }
            ranks.fabrics[0].multicast(7, &body(round as usize, LONG)).await?;
            ranks.fabrics[0].multicast(7, &[round; 5]).await?;
        }
        Ok::<_, FabricError>(())
    };
    let receiver = async |fabric: &MeshFabric| {
        let mut buffer = vec![0; LONG];
        for round in 0..3 {
            assert_eq!(fabric.recv(0, 7, &mut buffer).await?, 1);
            assert_eq!(buffer[0], round);
            assert!(fabric.recv_bytes(0, 7).await? == body(round as usize, LONG));
            assert_eq!(fabric.recv(0, 7, &mut buffer).await?, 5);
        }
        Ok::<_, FabricError>(())
    };
    let receivers = join(receiver(&ranks.fabrics[1]), receiver(&ranks.fabrics[2]));
    let (sent, (one, two)) = soon(join(sender, receivers)).await;
    sent.and(one).and(two)?;
    Ok(())
}

#[tokio::test]
async fn one_tag_does_not_wait_for_another() -> Result<()> {
    let ranks = multicasting(3, MeshOptions::new()).await?;
    let (first, second) = (body(1, LONG), body(2, LONG));
    let [zero, one, two] = [0, 1, 2].map(|rank| &ranks.fabrics[rank]);
    let both = join(zero.multicast(1, &first), zero.multicast(2, &second));
    // In the other order, and one after the other.
    let receive = async |fabric: &MeshFabric| {
        assert!(fabric.recv_bytes(0, 2).await? == body(2, LONG));
        assert!(fabric.recv_bytes(0, 1).await? == body(1, LONG));
        Ok::<_, FabricError>(())
    };
    let ((a, b), (c, d)) = soon(join(both, join(receive(one), receive(two)))).await;
    a.and(b).and(c).and(d)?;
    Ok(())
}

#[tokio::test]
async fn a_receive_that_is_dropped_or_too_short_loses_nothing() -> Result<()> {
    let ranks = multicasting(3, MeshOptions::new()).await?;
    let sent = body(3, 12 * LONG);
    let [zero, one, two] = [0, 1, 2].map(|rank| &ranks.fabrics[rank]);
    let receive = async |fabric: &MeshFabric, seed| {
        let mut short = vec![0; LONG];
        let truncated = fabric.recv(0, 1, &mut short).await;
        assert!(
            matches!(truncated, Err(FabricError::Truncated { len, .. }) if len == 12 * LONG),
            "{truncated:?}"
        );
        let mut random = fastrand::Rng::with_seed(seed);
        let mut into = vec![0; 12 * LONG];
        for _ in 0..20 {
            let mut done = None;
            {
                let mut receiving = std::pin::pin!(fabric.recv(0, 1, &mut into));
                for _ in 0..random.usize(..20) {
                    done = receiving.as_mut().now_or_never();
                    if done.is_some() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            if let Some(received) = done {
                return received.map(|len| (len, into));
            }
        }
        let truncated = fabric.recv(0, 1, &mut short).await;
        assert!(
            matches!(truncated, Err(FabricError::Truncated { .. })),
            "seed {seed}"
        );
        fabric.recv(0, 1, &mut into).await.map(|len| (len, into))
    };
    for seed in 0..3 {
        let receives = join(receive(one, seed), receive(two, 99 - seed));
        let (done, (one, two)) = soon(join(zero.multicast(1, &sent), receives)).await;
        done?;
        for (len, received) in [one?, two?] {
            assert!(len == sent.len() && received == sent, "seed {seed}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_multicast_that_is_dropped_holds_up_nothing() -> Result<()> {
    let ranks = multicasting(3, MeshOptions::new()).await?;
    let long = body(4, 8 * LONG);
    let [zero, one, two] = [0, 1, 2].map(|rank| &ranks.fabrics[rank]);
    for polls in [1, 2, 3, 5, 10, 20, 50] {
        let sender = async {
            {
                let mut sending = std::pin::pin!(zero.multicast(1, &long));
                for _ in 0..polls {
                    if sending.as_mut().now_or_never().is_some() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            zero.multicast(1, b"after").await
        };
        let receive = async |fabric: &MeshFabric| {
            // Whether what was dropped arrives is open.
            let first = fabric.recv_bytes(0, 1).await?;
            if first.len() == long.len() {
                assert!(first == long);
                assert_eq!(fabric.recv_bytes(0, 1).await?, &b"after"[..]);
            } else {
                assert_eq!(first, &b"after"[..]);
            }
            Ok::<_, FabricError>(())
        };
        let (sent, (one, two)) = soon(join(sender, join(receive(one), receive(two)))).await;
        sent.and(one).and(two)?;
    }
    // Nor is anything left of what the ranks have told each other about it.
    let is_clean = |fabric: &Arc<MeshFabric>| fabric.mesh().stats().unexpected_bytes == 0;
    soon(async {
        loop {
            for from in 0..3 {
                for to in (0..3).filter(|to| *to != from) {
                    let sending = ranks.fabrics[from].send(to, 2, b"what was sent before has come");
                    let (sent, received) = join(sending, ranks.fabrics[to].recv_bytes(from, 2)).await;
                    sent.and(received.map(drop))?;
                }
            }
            if ranks.fabrics.iter().all(is_clean) {
                return Ok::<_, FabricError>(());
            }
        }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn what_nobody_will_ask_for_is_thrown_away() -> Result<()> {
    let ranks = multicasting(3, MeshOptions::new()).await?;
    let sent = body(5, LONG);
    let [zero, one, two] = [0, 1, 2].map(|rank| &ranks.fabrics[rank]);
    let receive = async {
        // With this the announcement has come.
        assert_eq!(one.recv_bytes(0, 2).await?, &b"x"[..]);
        one.discard(one.epoch(), 1..=1);
        Ok::<_, FabricError>(())
    };
    let send = async {
        let (multicast, sent) = join(zero.multicast(1, &sent), zero.send(1, 2, b"x")).await;
        multicast.and(sent)
    };
    let (sent, (one, two)) = soon(join(send, join(receive, two.recv_bytes(0, 1)))).await;
    sent.and(one)?;
    assert_eq!(two?.len(), LONG);
    Ok(())
}

#[tokio::test]
async fn an_operation_that_a_receiver_gives_up_does_not_hold_up_the_others() -> Result<()> {
    let ranks = multicasting(3, MeshOptions::new()).await?;
    let communicators = communicators(&ranks.fabrics).await?;
    let run = communicators.iter().map(async |communicator| {
        for round in 0..5 {
            let mut data = body(round, LONG);
            let broadcast = communicator.broadcast(0, &mut data);
            if communicator.rank() == 1 {
                // Before it is announced, most often.
                assert!(broadcast.now_or_never().is_none());
            } else {
                broadcast.await?;
            }
            communicator.barrier().await?;
        }
        Ok::<_, CollectiveError>(())
    });
    soon(try_join_all(run)).await?;
    Ok(())
}

#[tokio::test]
async fn without_the_coordinator_messages_go_from_rank_to_rank() -> Result<()> {
    let mut ranks = multicasting(4, MeshOptions::new()).await?;
    let zero = Arc::into_inner(ranks.fabrics.remove(0)).expect("nobody else has it");
    let [one, two, three] = [0, 1, 2].map(|at| &ranks.fabrics[at]);
    let sent = body(6, 20 * LONG);
    // The first may be on its way when the coordinator leaves.
    let send = async {
        let results = [one.multicast(1, &sent).await, one.multicast(1, &sent).await];
        for result in results {
            assert!(
                matches!(result, Err(FabricError::PeerLeft { rank: 0 })),
                "{result:?}"
            );
        }
    };
    let receive = async |fabric: &MeshFabric| {
        for _ in 0..2 {
            assert!(fabric.recv_bytes(1, 1).await? == sent);
        }
        Ok::<_, FabricError>(())
    };
    let leave = async {
        tokio::task::yield_now().await;
        zero.leave().await;
    };
    let (((), ()), (two, three)) = soon(join(join(send, leave), join(receive(two), receive(three)))).await;
    two.and(three)?;
    Ok(())
}

#[tokio::test]
async fn who_dies_in_the_middle_is_named_to_all_and_the_others_multicast_again() -> Result<()> {
    let dead_after = Duration::from_secs(1);
    let ranks = multicasting(4, MeshOptions::new().dead_after(dead_after)).await?;
    let mut communicators = communicators(&ranks.fabrics).await?;
    let Ranks { _server, fabrics } = ranks;
    drop(fabrics);
    let victim = communicators.remove(2);
    let died = async {
        let mut data = vec![0_u8; 64 * LONG];
        let mut polls = 30;
        while polls > 0 {
            // Dropped when something has come, and not all.
            let mut receiving = std::pin::pin!(victim.broadcast(0, &mut data));
            while polls > 0 && receiving.as_mut().now_or_never().is_none() {
                polls -= 1;
                tokio::task::yield_now().await;
            }
        }
        // Its last words would be that it has given up, but it has none.
        drop(victim);
        Instant::now()
    };
    let others = join_all(communicators.iter().map(async |communicator| {
        let mut data = vec![communicator.rank() as u8; 64 * LONG];
        loop {
            match communicator.broadcast(0, &mut data).await {
                // It says that it gives up, and dies only then.
                Ok(()) | Err(CollectiveError::Abandoned { .. }) => {}
                ended => return (ended, Instant::now()),
            }
        }
    }));
    let (died, ended) = soon(join(died, others)).await;
    for (ended, at) in ended {
        assert!(
            matches!(&ended, Err(CollectiveError::PeerFailed { failed }) if *failed == [2]),
            "{ended:?}"
        );
        let took = at.saturating_duration_since(died);
        assert!(took <= dead_after + Duration::from_millis(500), "{took:?}");
    }
    let next = soon(try_join_all(communicators.iter().map(Communicator::next_epoch))).await?;
    assert!(
        next.iter()
            .all(|communicator| communicator.fabric().has_multicast())
    );
    soon(try_join_all(next.iter().map(async |communicator| {
        let mut data = if communicator.rank() == 1 {
            body(1, LONG)
        } else {
            vec![0; LONG]
        };
        communicator.broadcast(1, &mut data).await?;
        assert!(data == body(1, LONG));
        Ok::<_, CollectiveError>(())
    })))
    .await?;
    Ok(())
}

#[tokio::test]
async fn where_it_does_not_work_for_one_nobody_multicasts() -> Result<()> {
    for cause in [0, 2] {
        let group = group();
        let ranks = fabrics(3, MeshOptions::new(), |rank| {
            let options = MulticastOptions::new(group).patience(Duration::from_millis(500));
            match rank == cause {
                // Addresses for documentation are nobody's.
                true => options.interface([192, 0, 2, 1].into()),
                false => options,
            }
        });
        let ranks = ranks.await?;
        for fabric in &ranks.fabrics {
            assert!(!fabric.has_multicast());
            assert!(fabric.multicast_refusal().is_some());
        }
        let communicators = communicators(&ranks.fabrics).await?;
        soon(try_join_all(communicators.iter().map(async |communicator| {
            let mut data = vec![communicator.rank() as u8; LONG];
            communicator.broadcast(1, &mut data).await?;
            assert!(data.iter().all(|byte| *byte == 1));
            Ok::<_, CollectiveError>(())
        })))
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn two_programs_may_use_one_address() -> Result<()> {
    let group = group();
    let one = || fabrics(3, MeshOptions::new(), |_| MulticastOptions::new(group));
    let (one, other) = join(one(), one()).await;
    let both = [one?, other?];
    for (at, ranks) in both.iter().enumerate() {
        assert!(ranks.fabrics.iter().all(|fabric| fabric.has_multicast()));
        let sent = body(at, LONG);
        let [zero, one, two] = [0, 1, 2].map(|rank| &ranks.fabrics[rank]);
        let receives = join(one.recv_bytes(0, 1), two.recv_bytes(0, 1));
        let (done, (one, two)) = soon(join(zero.multicast(1, &sent), receives)).await;
        done?;
        assert!(one? == sent && two? == sent);
    }
    Ok(())
}

#[tokio::test]
async fn launched_ranks_multicast_where_they_are_told() -> Result<()> {
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let group = group();
    let join = |rank: usize| async move {
        let launch = Launch::from_lookup(|name| match name {
            "RANK" => Some(rank.to_string()),
            "WORLD_SIZE" => Some("3".to_owned()),
            "FLEXBOND_ENDPOINT" => Some(format!("tcp://127.0.0.1:{free}")),
            "FLEXBOND_MULTICAST" => Some(group.to_string()),
            _ => None,
        })?;
        let fabric = MeshFabric::launch(&launch, MeshOptions::new()).await?;
        let communicator = Communicator::new(fabric).await?;
        let has_multicast = communicator.fabric().has_multicast();
        communicator.leave().await;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(has_multicast)
    };
    assert_eq!(soon(try_join_all((0..3).map(join))).await?, [true; 3]);
    Ok(())
}
