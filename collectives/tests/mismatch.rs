//! Ranks that call different things: an error that says so, and nobody waits for ever.

mod harness;

use std::future::{pending, poll_fn};
use std::task::Poll;

use bytes::Bytes;
use flexbond_collectives::{
    BroadcastAlgorithm, CollectiveError, Communicator, ElementKind, Fabric, FabricError, FixedTree,
    LocalFabric, Max, Operation, Sum, Table, Tuning,
};
use harness::{elements, leaving, on_fabric, on_ranks};
use proptest::prelude::*;

/// What two ranks of two get when rank 0 does the one and rank 1 the other.
fn pair(
    left: &impl AsyncFn(&Communicator<LocalFabric>) -> Result<(), CollectiveError>,
    right: &impl AsyncFn(&Communicator<LocalFabric>) -> Result<(), CollectiveError>,
) -> Vec<CollectiveError> {
    on_ranks(2, &Tuning::default(), async |communicator| {
        let result = if communicator.rank() == 0 {
            left(&communicator).await
        } else {
            right(&communicator).await
        };
        // The next operation is not disturbed.
        let mut sum = [1];
        communicator.allreduce(&mut sum, Sum).await.unwrap();
        assert_eq!(sum, [2]);
        result.expect_err("the ranks do not agree")
    })
}

fn mismatch(error: &CollectiveError) -> (usize, String, String) {
    match error {
        CollectiveError::Mismatch { rank, here, there } => (*rank, here.to_string(), there.to_string()),
        other => panic!("not a mismatch: {other}"),
    }
}

#[test]
fn another_operation() {
    let errors = pair(
        &async |communicator| communicator.barrier().await,
        &async |communicator| communicator.allreduce(&mut [0_f32; 3], Sum).await,
    );
    assert_eq!(
        errors[0].to_string(),
        "rank 1 called allreduce (sum) of 3 f32 by algorithm 1, this rank barrier by algorithm 1"
    );
    assert_eq!(mismatch(&errors[1]).0, 0);
}

#[test]
fn another_length() {
    for (short, long) in [(3, 4), (3, 700), (3, 100_000), (600, 100_000), (100_000, 100_001)] {
        let errors = pair(
            &async |communicator| communicator.allreduce(&mut elements(0, short), Sum).await,
            &async |communicator| communicator.allreduce(&mut elements(1, long), Sum).await,
        );
        let (rank, here, there) = mismatch(&errors[0]);
        assert_eq!(rank, 1);
        assert!(here.contains(&short.to_string()), "{here}");
        assert!(there.contains(&long.to_string()), "{there}");
        mismatch(&errors[1]);
    }
}

#[test]
fn another_type_of_the_same_size() {
    let errors = pair(
        &async |communicator| communicator.allreduce(&mut [0_i32; 3], Max).await,
        &async |communicator| communicator.allreduce(&mut [0_f32; 3], Max).await,
    );
    for error in &errors {
        mismatch(error);
    }
    let CollectiveError::Mismatch { here, there, .. } = &errors[0] else {
        unreachable!("checked above");
    };
    assert_eq!(
        (here.element, there.element),
        (ElementKind::I32, ElementKind::F32)
    );
    assert_eq!(here.operation, Operation::Allreduce);
}

#[test]
fn another_reduction_or_order() {
    let sum = async |communicator: &Communicator<LocalFabric>| communicator.allreduce(&mut [0.5], Sum).await;
    let errors = pair(&sum, &async |communicator| {
        communicator.allreduce(&mut [0.5], Max).await
    });
    assert_eq!(
        mismatch(&errors[0]).2,
        "allreduce (maximum) of 1 f64 by algorithm 1"
    );
    let errors = pair(&sum, &async |communicator| {
        communicator.allreduce(&mut [0.5], FixedTree(Sum)).await
    });
    mismatch(&errors[0]);
}

#[test]
fn another_root() {
    let mut tuning = Tuning::default();
    tuning.broadcast = Table::always(BroadcastAlgorithm::Chain);
    let results = on_ranks(4, &tuning, async |communicator| {
        let root = if communicator.rank() == 3 { 1 } else { 0 };
        let result = communicator.broadcast(root, &mut [1_u8; 10]).await;
        communicator.barrier().await.unwrap();
        result
    });
    let (rank, here, there) = mismatch(results[3].as_ref().unwrap_err());
    assert_eq!(rank, 2);
    assert!(here.contains("root 1") && there.contains("root 0"));
}

#[test]
fn other_counts() {
    let errors = pair(
        &async |communicator| communicator.allgatherv(&[1_u8], &[1, 2], &mut [0; 3]).await,
        &async |communicator| communicator.allgatherv(&[1_u8], &[2, 1], &mut [0; 3]).await,
    );
    errors.iter().for_each(|error| drop(mismatch(error)));

    let errors = on_ranks(2, &Tuning::default(), async |communicator| {
        let result = if communicator.rank() == 0 {
            communicator.gatherv(0, &[1_u8], &[1, 5], &mut [0; 6]).await
        } else {
            communicator.gatherv(0, &[1_u8; 3], &[], &mut []).await
        };
        communicator.barrier().await.unwrap();
        result
    });
    assert!(matches!(
        errors[0],
        Err(CollectiveError::Length {
            rank: 1,
            expected: 5,
            found: 3
        })
    ));
}

#[test]
fn a_wrong_argument_is_told_to_the_others() {
    let errors = pair(
        &async |communicator| communicator.allgather(&[1, 2], &mut [0; 3]).await,
        &async |communicator| communicator.allgather(&[1, 2], &mut [0; 4]).await,
    );
    assert!(matches!(
        errors[0],
        CollectiveError::Argument {
            what: "all",
            expected: 4,
            found: 3
        }
    ));
    assert!(matches!(errors[1], CollectiveError::Abandoned { rank: 0 }));

    let errors = pair(
        &async |communicator| communicator.broadcast(2, &mut [0_u8]).await,
        &async |communicator| communicator.broadcast(0, &mut [0_u8]).await,
    );
    assert!(matches!(
        errors[0],
        CollectiveError::NoSuchRank { rank: 2, size: 2 }
    ));
    mismatch(&errors[1]);
}

/// A fabric of this process, but for one thing.
struct Odd {
    inner: LocalFabric,
    oddity: Oddity,
}

enum Oddity {
    /// Notices are about a rank that there is not.
    Forges,
    /// Operations have stalled when they have been polled a hundred times.
    Watches,
}

fn forging(inner: LocalFabric) -> Odd {
    let oddity = Oddity::Forges;
    Odd { inner, oddity }
}

fn watchful(inner: LocalFabric) -> Odd {
    let oddity = Oddity::Watches;
    Odd { inner, oddity }
}

impl Fabric for Odd {
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
        self.inner.send(to, tag, body).await
    }

    fn post(&self, to: usize, tag: u64, notice: &[u8]) {
        let mut notice = notice.to_vec();
        if let Oddity::Forges = self.oddity {
            // The rank is behind the first of two calls, in sixteen bytes of its own.
            let at = (notice.len() - 16) / 2;
            notice[at..at + 4].fill(0xff);
        }
        self.inner.post(to, tag, &notice);
    }

    async fn recv(&self, from: usize, tag: u64, into: &mut [u8]) -> Result<usize, FabricError> {
        self.inner.recv(from, tag, into).await
    }

    async fn recv_bytes(&self, from: usize, tag: u64) -> Result<Bytes, FabricError> {
        self.inner.recv_bytes(from, tag).await
    }

    async fn next_epoch(&self) -> Result<(), FabricError> {
        self.inner.next_epoch().await
    }

    async fn stalled(&self) {
        match self.oddity {
            Oddity::Forges => pending().await,
            Oddity::Watches => polls(100).await,
        }
    }
}

#[test]
fn a_notice_about_a_rank_that_there_is_not_is_none() {
    let fabrics = LocalFabric::new(2).into_iter().map(forging).collect();
    let errors = on_fabric(0, fabrics, &Tuning::default(), async |communicator| {
        let barrier = communicator.barrier();
        match communicator.rank() {
            0 => barrier.await.err(),
            // Dropped, so that the other is told.
            _ => None,
        }
    });
    assert!(
        matches!(errors[0], Some(CollectiveError::Length { rank: 1, .. })),
        "{errors:?}"
    );
}

/// Ready when it has been polled more than `count` times.
async fn polls(count: usize) {
    let mut polls = 0;
    poll_fn(|cx| {
        polls += 1;
        if polls > count {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn who_has_done_its_part_and_left_is_not_missed_by_those_in_doubt() {
    for seed in 0..50 {
        let fabrics = LocalFabric::new(3).into_iter().map(watchful).collect();
        leaving(seed, fabrics, &Tuning::default(), async |communicator| {
            let rank = communicator.rank();
            if rank == 2 {
                // By then rank 1 has left, and the operation has stalled at rank 0.
                polls(5000).await;
            }
            let mut all = [0; 3];
            let gathered = communicator.gather(0, &[rank as u64], &mut all).await;
            gathered.unwrap_or_else(|error| panic!("rank {rank}, seed {seed}: {error}"));
            if rank == 0 {
                assert_eq!(all, [0, 1, 2], "seed {seed}");
            }
        });
    }
}

/// Operations in which every rank waits for another.
const KINDS: u32 = 7;

async fn one_of_many<F: Fabric>(
    communicator: &Communicator<F>,
    kind: u32,
    len: usize,
) -> Result<(), CollectiveError> {
    let mut data = elements(communicator.rank(), len);
    let mut all = vec![0; len * communicator.size()];
    match kind {
        0 => communicator.barrier().await,
        1 => communicator.allreduce(&mut data, Sum).await,
        2 => communicator.allgather(&data, &mut all).await,
        3 => communicator.alltoall(&all.clone(), &mut all).await,
        4 => communicator.agree(true).await.map(drop),
        5 => communicator.allgather_value(&data).await.map(drop),
        _ => communicator.allreduce_value(data, |left, _| left).await.map(drop),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Over a fabric that tells when an operation has stalled nobody hangs, whatever one rank calls instead.
    #[test]
    fn nobody_waits_for_ever(
        size in 2_usize..=9,
        odd: usize,
        kinds in (0_u32..KINDS, 0_u32..KINDS),
        lens in prop::sample::select(vec![(1, 3), (3, 300), (300, 3), (9000, 3), (3, 90_000), (700, 701)]),
        seed: u64,
    ) {
        let odd = odd % size;
        let fabrics = LocalFabric::new(size).into_iter().map(watchful).collect();
        let results = on_fabric(seed, fabrics, &Tuning::default(), async |communicator| {
            let is_odd = communicator.rank() == odd;
            let (kind, len) = if is_odd { (kinds.1, lens.1) } else { (kinds.0, lens.0) };
            one_of_many(&communicator, kind, len).await
        });
        let sized = |kind| (1..4).contains(&kind);
        if kinds.0 != kinds.1 || sized(kinds.0) {
            prop_assert!(
                results.iter().any(|result| matches!(result, Err(CollectiveError::Mismatch { .. }))),
                "{:?}", results
            );
        } else {
            prop_assert!(results.iter().all(Result::is_ok), "{:?}", results);
        }
    }
}
