//! Communicators of some of the ranks, tags of the program's, and messages between two ranks.

mod harness;

use std::sync::Arc;

use flexbond_collectives::{CollectiveError, Communicator, Fabric, LocalFabric, Max, Sum, Tuning};
use futures_util::FutureExt;
use harness::{elements, on_fabric, on_ranks};

#[test]
fn a_split_orders_by_key_and_then_by_rank() {
    for size in 1..=12 {
        on_ranks(size, &Tuning::default(), async |communicator| {
            let rank = communicator.rank();
            let color = (rank % 4 != 3).then_some(rank as u32 % 4);
            let group = communicator.split(color, -((rank / 8) as i32)).await.unwrap();
            let Some(group) = group else {
                assert_eq!(rank % 4, 3);
                return;
            };
            let mut expected: Vec<usize> = (0..size).filter(|other| other % 4 == rank % 4).collect();
            expected.sort_by_key(|other| (-((other / 8) as i32), *other));
            let found: Vec<usize> = (0..group.size())
                .map(|rank| group.fabric_rank(rank).unwrap())
                .collect();
            assert_eq!(found, expected);
            assert_eq!(group.fabric_rank(group.rank()), Some(rank));
            assert_eq!(group.fabric_rank(group.size()), None);
            let mut sum = [rank as u64];
            group.allreduce(&mut sum, Sum).await.unwrap();
            assert_eq!(sum[0] as usize, expected.iter().sum::<usize>());
        });
    }
}

#[test]
fn groups_of_groups_do_not_mix() {
    for size in [2, 5, 8] {
        on_ranks(size, &Tuning::default(), async |communicator| {
            let rank = communicator.rank();
            let copy = communicator.duplicate().await.unwrap();
            let half = copy.split(Some(rank as u32 % 2), 0).await.unwrap().unwrap();
            let quarter = half
                .split(Some(half.rank() as u32 % 2), 0)
                .await
                .unwrap()
                .unwrap();
            let all = [&communicator, &copy, &half, &quarter];
            // The same in all of them at once; each rank begins with another.
            let mut data = [[0_u64; 300]; 4];
            let mut pending = Vec::new();
            for (group, data) in all.iter().zip(&mut data) {
                data.fill(rank as u64 + group.size() as u64);
                pending.push(group.allreduce(data, Max));
            }
            pending.rotate_left(rank % 4);
            for result in futures_util::future::join_all(pending).await {
                result.unwrap();
            }
            for (group, data) in all.iter().zip(data) {
                let highest = (0..group.size())
                    .filter_map(|rank| group.fabric_rank(rank))
                    .max()
                    .unwrap();
                assert_eq!(data, [highest as u64 + group.size() as u64; 300]);
            }
        });
    }
}

#[test]
fn splits_at_once_do_not_mix() {
    on_ranks(6, &Tuning::default(), async |communicator| {
        let rank = communicator.rank();
        let left = communicator
            .split(Some(rank as u32 / 3), 0)
            .await
            .unwrap()
            .unwrap();
        let right = communicator
            .split(Some(rank as u32 % 2), 0)
            .await
            .unwrap()
            .unwrap();
        let (left, right) = futures_util::future::join(left.duplicate(), right.duplicate()).await;
        let (left, right) = (left.unwrap(), right.unwrap());
        let (mut a, mut b) = ([rank as u64], [rank as u64]);
        let (first, second) =
            futures_util::future::join(left.allreduce(&mut a, Sum), right.allreduce(&mut b, Sum)).await;
        first.unwrap();
        second.unwrap();
        assert_eq!(a[0], if rank < 3 { 3 } else { 12 });
        assert_eq!(b[0], if rank % 2 == 0 { 6 } else { 9 });
    });
}

#[test]
fn tags_bring_operations_together_that_begin_in_any_order() {
    on_ranks(5, &Tuning::default(), async |communicator| {
        let rank = communicator.rank();
        let tags: Vec<u32> = (0..6).map(|at| (at + rank as u32) % 6).collect();
        let sums = tags.iter().map(|tag| {
            let communicator = communicator.with_tag(*tag);
            async move {
                let mut sum = [*tag as u64; 700];
                communicator.allreduce(&mut sum, Sum).await.unwrap();
                assert_eq!(sum, [5 * *tag as u64; 700]);
            }
        });
        futures_util::future::join_all(sums).await;
    });
}

#[test]
fn messages_between_two_ranks() {
    on_ranks(3, &Tuning::default(), async |communicator| {
        let rank = communicator.rank();
        let (next, previous) = ((rank + 1) % 3, (rank + 2) % 3);
        let mut buffer = vec![0; 2000];
        for len in [0, 1, 2000] {
            let give = elements(rank, len);
            let (sent, received) = futures_util::future::join(
                communicator.send(next, 1, &give),
                communicator.recv(previous, 1, &mut buffer),
            )
            .await;
            sent.unwrap();
            assert_eq!(received.unwrap(), len);
            assert_eq!(buffer[..len], elements(previous, len));
        }
        if rank < 2 {
            let other = 1 - rank;
            let mut take = [0_u64; 4];
            let count = communicator
                .swap(other, 2, &elements(rank, rank + 1), &mut take)
                .await
                .unwrap();
            assert_eq!(take[..count], elements(other, other + 1));
            let text = communicator
                .swap_value(other, 2, &format!("of {rank}"))
                .await
                .unwrap();
            assert_eq!(text, format!("of {other}"));
        }
        communicator.barrier().await.unwrap();
    });
}

#[test]
fn messages_that_do_not_fit_are_told() {
    on_ranks(2, &Tuning::default(), async |communicator| {
        if communicator.rank() == 0 {
            communicator.send(1, 1, &[1_u64; 3]).await.unwrap();
            communicator.send(1, 1, &[1_u8; 7]).await.unwrap();
            communicator.send(1, 1, &[9_u64; 2]).await.unwrap();
        } else {
            let mut take = [0_u64; 2];
            let length = async |expected: usize, found: usize, take: &mut [u64]| {
                let error = communicator.recv(0, 1, take).await.unwrap_err();
                let CollectiveError::Length {
                    rank: 0,
                    expected: room,
                    found: len,
                } = error
                else {
                    panic!("{error}");
                };
                assert_eq!((room, len), (expected, found));
            };
            length(16, 24, &mut take).await;
            // It waits for a receive with more room.
            assert_eq!(communicator.recv(0, 1, &mut [0_u64; 3]).await.unwrap(), 3);
            length(16, 7, &mut take).await;
            assert_eq!(communicator.recv(0, 1, &mut take).await.unwrap(), 2);
            assert_eq!(take, [9, 9]);
        }
        for nobody in [communicator.rank(), 2] {
            let error = communicator.send(nobody, 1, &[0_u8]).await.unwrap_err();
            assert!(matches!(error, CollectiveError::NoSuchRank { size: 2, .. }));
        }
    });
}

#[test]
fn a_fabric_can_be_shared_with_the_program() {
    let fabrics = LocalFabric::new(1);
    let fabric = Arc::new(fabrics.into_iter().next().unwrap());
    let shared = Arc::clone(&fabric);
    let results = harness::run_all(
        1,
        vec![Box::pin(async move {
            let communicator = Communicator::with_tuning(shared, Tuning::default())
                .await
                .unwrap();
            communicator.barrier().await.unwrap();
            communicator.fabric().rank()
        })],
    );
    assert_eq!((results, fabric.size()), (vec![0], 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ranks_may_be_on_threads_of_their_own() {
    let ranks: Vec<_> = LocalFabric::new(5)
        .into_iter()
        .map(|fabric| {
            tokio::spawn(async move {
                let communicator = Communicator::new(fabric).await.unwrap();
                let rank = communicator.rank();
                for round in 0..100 {
                    let mut data = vec![rank as u64 + round; 1 + 60 * (round as usize % 12)];
                    communicator.allreduce(&mut data, Sum).await.unwrap();
                    assert!(data.iter().all(|sum| *sum == 10 + 5 * round));
                    let mut all = [0; 5];
                    let (first, second) = futures_util::future::join(
                        communicator.allgather(&[rank], &mut all),
                        communicator.barrier(),
                    )
                    .await;
                    first.unwrap();
                    second.unwrap();
                    assert_eq!(all, [0, 1, 2, 3, 4]);
                }
            })
        })
        .collect();
    for rank in ranks {
        rank.await.unwrap();
    }
}

#[test]
fn what_is_thrown_away_is_not_received() {
    let [a, b] = LocalFabric::new(2).try_into().unwrap();
    for tag in [4, 5, 6] {
        a.send(1, tag, b"left over").now_or_never().unwrap().unwrap();
    }
    b.discard(b.epoch() + 1, 0..=9);
    a.discard(a.epoch(), 0..=9);
    b.discard(b.epoch(), 5..=5);
    assert!(b.recv_bytes(0, 5).now_or_never().is_none());
    for tag in [4, 6] {
        assert_eq!(b.recv_bytes(0, tag).now_or_never().unwrap().unwrap(), "left over");
    }
}

/// Every future can be spawned: this need not run, it has to compile.
#[test]
fn futures_can_be_sent_between_threads() {
    fn is_send(_: &impl Send) {}
    on_fabric(1, LocalFabric::new(1), &Tuning::default(), async |communicator| {
        is_send(&communicator.next_epoch());
        is_send(&communicator.agree(true));
        is_send(&communicator.duplicate());
        is_send(&communicator.scatter_value(0, Some(vec![String::new()])));
        is_send(&communicator.allreduce_value(1, |left, _| left));
        is_send(&communicator.reduce_scatter(&[0], &mut [0], Sum));
        is_send(&communicator.alltoall(&[0], &mut [0]));
        is_send(&communicator.swap_value(0, 0, &0));
        is_send(&communicator.broadcast_sink().unwrap().send(b""));
    });
}
