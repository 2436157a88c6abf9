//! Ranks that die, leave or give up in the middle of operations: all survivors hear the same, and go on.

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;

use bytes::Bytes;
use flexbond_collectives::{
    CollectiveError, Communicator, Fabric, FabricError, LocalFabric, LocalOptions, Sum, Tuning,
};
use harness::{elements, leaving, on_fabric, run_all};
use proptest::prelude::*;

/// A fabric whose rank dies at one of its messages.
struct Mortal {
    inner: LocalFabric,
    // How many messages it lives for.
    life: AtomicI64,
}

impl Mortal {
    fn age(&self) {
        if self.life.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.inner.fail();
        }
    }
}

impl Fabric for Mortal {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn epoch(&self) -> u64 {
        self.inner.epoch()
    }

    async fn send(&self, to: usize, tag: u64, body: &[u8]) -> Result<(), FabricError> {
        self.age();
        self.inner.send(to, tag, body).await
    }

    async fn recv(&self, from: usize, tag: u64, into: &mut [u8]) -> Result<usize, FabricError> {
        let result = self.inner.recv(from, tag, into).await;
        self.age();
        result
    }

    async fn recv_bytes(&self, from: usize, tag: u64) -> Result<Bytes, FabricError> {
        let result = self.inner.recv_bytes(from, tag).await;
        self.age();
        result
    }

    async fn next_epoch(&self) -> Result<(), FabricError> {
        self.inner.next_epoch().await
    }
}

/// Ranks of which some die after so many messages.
fn mortals(size: usize, lives: &[(usize, i64)]) -> Vec<Mortal> {
    let fabrics = LocalOptions::new()
        .capacity(0)
        .build(size)
        .into_iter()
        .enumerate();
    fabrics
        .map(|(rank, inner)| {
            let life = lives.iter().find(|(mortal, _)| *mortal == rank);
            let life = AtomicI64::new(life.map_or(i64::MAX, |(_, life)| *life));
            Mortal { inner, life }
        })
        .collect()
}

/// Does operations until one fails. A dead rank's own error is that its fabric is closed.
async fn until_failure<F: Fabric>(communicator: &Communicator<F>, seed: u64) -> CollectiveError {
    let mut random = fastrand::Rng::with_seed(seed);
    let (rank, size) = (communicator.rank(), communicator.size());
    loop {
        let len = [0, 3, 700][random.usize(..3)];
        let root = random.usize(..size);
        let mut data = elements(rank, len);
        let mut all = vec![0; len * size];
        let result = match random.u32(..9) {
            0 => communicator.barrier().await,
            1 => communicator.broadcast(root, &mut data).await,
            2 => communicator.allreduce(&mut data, Sum).await,
            3 => communicator.reduce(root, &mut data, Sum).await,
            4 => communicator.allgather(&data, &mut all).await,
            5 => communicator.alltoall(&all.clone(), &mut all).await,
            6 => communicator.gather(root, &data, &mut all).await,
            7 => communicator.scan(&mut data, Sum).await,
            _ => communicator.allgather_value(&data).await.map(drop),
        };
        if let Err(error) = result {
            return error;
        }
    }
}

fn failed(error: &CollectiveError) -> Option<Vec<usize>> {
    match error {
        CollectiveError::PeerFailed { failed } => Some(failed.clone()),
        CollectiveError::Closed => None,
        other => panic!("not a failure: {other}"),
    }
}

/// Every survivor in the communicator of all that live can use it.
async fn check_usable<F: Fabric>(communicator: &Communicator<F>, size: usize) {
    assert_eq!(communicator.size(), size);
    let mut count = [1_u64; 3];
    communicator.allreduce(&mut count, Sum).await.unwrap();
    assert_eq!(count, [size as u64; 3]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn survivors_hear_the_same_and_go_on(size in 2_usize..=9, victim: usize, life in 70_i64..300, seed: u64) {
        let victim = victim % size;
        let tuning = Tuning::default();
        on_fabric(seed, mortals(size, &[(victim, life)]), &tuning, async |communicator| {
            // A group, and several operations in flight, end with it too.
            let half = communicator.split(Some(communicator.rank() as u32 % 2), 0).await.unwrap().unwrap();
            let mut data = [0_u64; 2];
            let never = half.duplicate().await.unwrap();
            let error = {
                let pending = never.with_tag(9);
                let pending = pending.recv_bytes((never.rank() + 1) % never.size().max(2), 5);
                let (error, waited) =
                    futures_util::future::join(until_failure(&communicator, seed), pending).await;
                if never.size() > 1 {
                    assert_eq!(failed(&waited.unwrap_err()), failed(&error));
                }
                error
            };
            if communicator.rank() == victim {
                assert_eq!(failed(&error), None);
                return;
            }
            assert_eq!(failed(&error), Some(vec![victim]));
            assert_eq!(failed(&half.barrier().await.unwrap_err()), Some(vec![victim]));
            assert_eq!(failed(&communicator.allreduce(&mut data, Sum).await.unwrap_err()), Some(vec![victim]));
            let next = half.next_epoch().await.unwrap();
            let again = communicator.next_epoch().await.unwrap();
            assert_eq!((next.rank(), next.size()), (again.rank(), again.size()));
            check_usable(&next, size - 1).await;
        });
    }

    /// A second death while the survivors meet is survived as well.
    #[test]
    fn deaths_follow_each_other(size in 3_usize..=8, first in 50_i64..140, second in 50_i64..180, seed: u64) {
        on_fabric(seed, mortals(size, &[(0, first), (size - 1, second)]), &Tuning::default(), async |mut communicator| {
            let id = communicator.rank();
            loop {
                let error = until_failure(&communicator, seed).await;
                if matches!(error, CollectiveError::Closed) {
                    return;
                }
                match communicator.next_epoch().await {
                    Ok(next) => communicator = next,
                    Err(CollectiveError::Closed) if id == size - 1 || id == 0 => return,
                    Err(error) => panic!("rank {id}: {error}"),
                }
                if communicator.size() == size - 2 {
                    return check_usable(&communicator, size - 2).await;
                }
            }
        });
    }

    /// Whoever gets an answer gets the same one, whenever somebody dies.
    #[test]
    fn survivors_agree(size in 2_usize..=8, victim: usize, life in 45_i64..100, no: usize, seed: u64) {
        let victim = victim % size;
        let answers = on_fabric(seed, mortals(size, &[(victim, life)]), &Tuning::default(), async |mut communicator| {
            let id = communicator.rank();
            let mut answers = Vec::new();
            // Ranks say no now and then; each round is the same in the program of all.
            for round in 0..90 {
                let flag = round % 3 != 2 || id != no % size;
                match communicator.agree(flag).await {
                    Ok(agreement) => {
                        answers.push((agreement.value, communicator.epoch()));
                        if let Some(next) = agreement.next {
                            assert_eq!(agreement.failed, [victim]);
                            // Who is a round behind counts from here on with the others.
                            communicator = next;
                            check_usable(&communicator, size - 1).await;
                            return answers;
                        }
                    }
                    Err(CollectiveError::Closed) if id == victim => return Vec::new(),
                    Err(error) => panic!("{error}"),
                }
            }
            panic!("rank {id} has outlived all rounds")
        });
        let longest = answers.iter().max_by_key(|answers| answers.len()).unwrap();
        for (id, answers) in answers.iter().enumerate() {
            prop_assert_eq!(answers.as_slice(), &longest[..answers.len()], "rank {}", id);
        }
    }

    /// A rank gives up an operation: no other waits for ever, and the next operations succeed.
    #[test]
    fn who_gives_up_holds_up_nobody(size in 2_usize..=9, quitter: usize, polls in 0_usize..6, kind in 0_u32..6, seed: u64) {
        let quitter = quitter % size;
        on_fabric(seed, LocalFabric::new(size), &Tuning::default(), async |communicator| {
            let rank = communicator.rank();
            let mut data = elements(rank, 700);
            let mut all = vec![0; 700 * size];
            let result = {
                let mut operation: futures_util::future::BoxFuture<'_, _> = match kind {
                    0 => Box::pin(communicator.barrier()),
                    1 => Box::pin(communicator.allreduce(&mut data, Sum)),
                    2 => Box::pin(communicator.broadcast(0, &mut data)),
                    3 => Box::pin(communicator.allgather(&data, &mut all)),
                    4 => Box::pin(communicator.reduce(1, &mut data, Sum)),
                    _ => Box::pin(communicator.scan(&mut data, Sum)),
                };
                let mut left = if rank == quitter { polls } else { usize::MAX };
                // Polled so many times, then dropped.
                std::future::poll_fn(|cx| {
                    if left == 0 {
                        return Poll::Ready(None);
                    }
                    left -= 1;
                    match operation.as_mut().poll(cx) {
                        Poll::Pending if left == 0 => Poll::Ready(None),
                        poll => poll.map(Some),
                    }
                })
                .await
            };
            match result {
                None => assert_eq!(rank, quitter),
                Some(Ok(())) => {}
                Some(Err(CollectiveError::Abandoned { rank })) => assert_eq!(rank, quitter),
                Some(Err(other)) => panic!("{other}"),
            }
            check_usable(&communicator, size).await;
        });
    }
}

#[test]
fn who_leaves_is_missed_only_when_needed() {
    leaving(1, LocalFabric::new(3), &Tuning::default(), async |communicator| {
        let mut data = [communicator.rank() as u64];
        match communicator.rank() {
            2 => return communicator.send(0, 1, &data).await.unwrap(),
            0 => {
                // What was sent before it left still comes.
                assert_eq!(communicator.recv(2, 1, &mut data).await.unwrap(), 1);
                assert_eq!(data, [2]);
                communicator.send(1, 1, &data).await.unwrap();
            }
            _ => drop(communicator.recv(0, 1, &mut data).await.unwrap()),
        }
        // Only rank 1 has to do with it in an allreduce of three; rank 0 is told.
        let error = communicator.allreduce(&mut data, Sum).await.unwrap_err();
        assert!(matches!(error, CollectiveError::PeerLeft { rank: 2 }), "{error}");
        check_usable(&communicator.next_epoch().await.unwrap(), 2).await;
    });
}

#[test]
fn a_dropped_wait_for_the_next_epoch_is_gone_on_with() {
    for size in [2, 3, 5] {
        for polls in 0..40 {
            let fabrics = LocalOptions::new().capacity(0).build(size);
            on_fabric(polls, fabrics, &Tuning::default(), async |communicator| {
                if communicator.rank() == 0 {
                    let mut dropped = Box::pin(communicator.next_epoch());
                    let mut left = polls;
                    std::future::poll_fn(|cx| {
                        if left == 0 || dropped.as_mut().poll(cx).is_ready() {
                            return Poll::Ready(());
                        }
                        left -= 1;
                        // Soon, and again and again: it may be dropped at any moment of the meeting.
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    })
                    .await;
                    drop(dropped);
                }
                let next = communicator.next_epoch().await.unwrap();
                assert_eq!(next.epoch(), communicator.epoch() + 1);
                check_usable(&next, size).await;
            });
        }
    }
}

#[test]
fn a_communicator_of_the_past_says_so() {
    on_fabric(1, LocalFabric::new(2), &Tuning::default(), async |communicator| {
        let next = communicator.next_epoch().await.unwrap();
        assert_eq!(next.epoch(), communicator.epoch() + 1);
        assert!(matches!(
            communicator.barrier().await,
            Err(CollectiveError::StaleEpoch { .. })
        ));
        check_usable(&next, 2).await;
    });
}

#[test]
fn agreement_works_on_a_communicator_whose_ranks_have_failed() {
    let values = on_fabric(
        3,
        mortals(4, &[(1, 30)]),
        &Tuning::default(),
        async |communicator| {
            let error = until_failure(&communicator, 5).await;
            if communicator.rank() == 1 {
                return None;
            }
            let agreement = communicator.agree(failed(&error).is_none()).await.unwrap();
            assert_eq!(agreement.failed, [1]);
            check_usable(&agreement.next.unwrap(), 3).await;
            Some(agreement.value)
        },
    );
    assert_eq!(values, [Some(false), None, Some(false), Some(false)]);
}

#[test]
fn ranks_of_different_tuning_do_not_start() {
    let fabrics = LocalFabric::new(3).into_iter().enumerate();
    let results = run_all(
        1,
        fabrics
            .map(|(rank, fabric)| {
                Box::pin(async move {
                    let mut tuning = Tuning::default();
                    tuning.segment += rank / 2;
                    Communicator::with_tuning(Arc::new(fabric), tuning).await
                }) as std::pin::Pin<Box<dyn Future<Output = _>>>
            })
            .collect(),
    );
    let others: Vec<_> = results
        .into_iter()
        .map(|result| match result {
            Err(CollectiveError::OtherTuning { rank }) => rank,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(others, [2, 2, 0]);
}
