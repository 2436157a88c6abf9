//! Communicators over real connections.

use std::time::Duration;

use flexbond_collectives::{CollectiveError, Communicator, Launch, MeshFabric, Sum};
use flexbond_session::mesh::{MeshOptions, MeshServer};
use futures_util::FutureExt;
use futures_util::future::{join_all, try_join_all};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it does not take that long")
}

async fn ranks(size: usize, options: MeshOptions) -> Result<(MeshServer, Vec<Communicator<MeshFabric>>)> {
    let server = MeshServer::bind("tcp://127.0.0.1:0", options.clone().size(size)).await?;
    let join = |rank| {
        let (endpoint, options) = (server.endpoint().clone(), options.clone().rank(rank));
        async move {
            let fabric = MeshFabric::join(endpoint, options).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Communicator::new(fabric).await?)
        }
    };
    let ranks = soon(try_join_all((0..size).map(join))).await?;
    Ok((server, ranks))
}

#[tokio::test]
async fn sums_of_all_sizes_are_right_at_all_ranks() -> Result<()> {
    for size in [2, 3, 5] {
        let (_server, ranks) = ranks(size, MeshOptions::new()).await?;
        for len in [0, 1, 7, 1000, 100_000] {
            let sums = ranks.iter().map(|rank| async move {
                let mut data: Vec<u64> = (0..len as u64).map(|at| at + rank.rank() as u64).collect();
                rank.allreduce(&mut data, Sum).await.map(|()| data)
            });
            let extra: u64 = (0..size as u64).sum();
            for sums in soon(try_join_all(sums)).await? {
                let right = sums
                    .iter()
                    .enumerate()
                    .all(|(at, sum)| *sum == at as u64 * size as u64 + extra);
                assert!(right && sums.len() == len, "{size} ranks, {len} numbers");
            }
        }
        soon(try_join_all(ranks.iter().map(Communicator::barrier))).await?;
        soon(join_all(ranks.into_iter().map(Communicator::leave))).await;
    }
    Ok(())
}

#[tokio::test]
async fn who_dies_is_named_to_all_and_the_others_go_on() -> Result<()> {
    let (_server, mut ranks) = ranks(4, MeshOptions::new().dead_after(Duration::from_secs(1))).await?;
    drop(ranks.remove(2));
    let ended = soon(join_all(ranks.iter().map(async |rank| {
        let mut data = vec![1_u32; 50_000];
        rank.allreduce(&mut data, Sum).await
    })))
    .await;
    for end in ended {
        assert!(
            matches!(&end, Err(CollectiveError::PeerFailed { failed }) if *failed == [2]),
            "{end:?}"
        );
    }
    let next = soon(try_join_all(ranks.iter().map(Communicator::next_epoch))).await?;
    let sums = soon(try_join_all(next.iter().map(async |rank| {
        let mut data = [rank.rank() as u32];
        rank.allreduce(&mut data, Sum).await.map(|()| data[0])
    })))
    .await?;
    assert_eq!(sums, [3; 3]);
    Ok(())
}

#[tokio::test]
async fn launched_ranks_meet_where_they_are_told() -> Result<()> {
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let join = |rank: usize| async move {
        let launch = Launch::from_lookup(|name| match name {
            "RANK" => Some(rank.to_string()),
            "WORLD_SIZE" => Some("3".to_owned()),
            "MASTER_ADDR" => Some("127.0.0.1".to_owned()),
            "MASTER_PORT" => Some(free.to_string()),
            _ => None,
        })?;
        let fabric = MeshFabric::launch(&launch, MeshOptions::new()).await?;
        let communicator = Communicator::new(fabric).await?;
        let all = communicator.allgather_value(&rank).await?;
        communicator.leave().await;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(all)
    };
    for all in soon(try_join_all((0..3).map(join))).await? {
        assert_eq!(all, [0, 1, 2]);
    }
    Ok(())
}

#[tokio::test]
async fn what_is_left_of_an_operation_does_not_stop_the_next() -> Result<()> {
    let (_server, ranks) = ranks(2, MeshOptions::new().unexpected_limit(1 << 20)).await?;
    let at_zero = async {
        let mut data = vec![7_u8; 32 << 20];
        ranks[0].broadcast(0, &mut data).await?;
        ranks[0].barrier().await
    };
    let at_one = async {
        let mut data = vec![0_u8; 32 << 20];
        assert!(ranks[1].broadcast(0, &mut data).now_or_never().is_none());
        ranks[1].barrier().await
    };
    soon(async { tokio::try_join!(at_zero, at_one) }).await?;
    Ok(())
}

#[tokio::test]
async fn an_operation_that_is_given_up_in_the_middle_ends_everywhere() -> Result<()> {
    let (_server, ranks) = ranks(2, MeshOptions::new()).await?;
    let mut data = vec![7_u8; 64 << 20];
    let mut dropped = Box::pin(ranks[0].broadcast(0, &mut data));
    // More than the system takes: the rest of a segment is still to be written when it is dropped.
    assert!((&mut dropped).now_or_never().is_none());
    drop(dropped);
    let mut data = vec![0_u8; 64 << 20];
    let ended = soon(ranks[1].broadcast(0, &mut data)).await;
    assert!(
        matches!(ended, Err(CollectiveError::Abandoned { rank: 0 })),
        "{ended:?}"
    );
    soon(try_join_all(ranks.iter().map(Communicator::barrier))).await?;
    Ok(())
}
