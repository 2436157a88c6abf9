//! Every operation by every algorithm, for every number of ranks, root and kind of length, against the plain result.

mod harness;

use std::cell::Cell;

use flexbond_collectives::{
    AllgatherAlgorithm, AllreduceAlgorithm, AlltoallAlgorithm, BarrierAlgorithm, BroadcastAlgorithm, Custom,
    FixedTree, Max, MaxLoc, ReduceAlgorithm, ReduceScatterAlgorithm, Reduction, RootedAlgorithm, Sum, Table,
    Tuning,
};
use harness::{element, elements, on_local, on_ranks};
use proptest::prelude::*;

/// Lengths of slices of `u64`: none, one, fewer than ranks, odd, above a segment, above what goes in one message.
const LENGTHS: [usize; 6] = [0, 1, 5, 67, 300, 1301];
const SIZES: std::ops::RangeInclusive<usize> = 1..=17;

fn tuning(change: impl FnOnce(&mut Tuning)) -> Tuning {
    let mut tuning = Tuning::default();
    change(&mut tuning);
    tuning
}

/// Segments that travel behind their preamble, and such that travel alone.
fn both_segments(change: impl Fn(&mut Tuning)) -> [Tuning; 2] {
    [1 << 10, 5000].map(|segment| {
        tuning(|tuning| {
            tuning.segment = segment;
            change(tuning);
        })
    })
}

/// A fabric without a multicast, and one with it where that makes a difference.
fn without_and_with(multicast: bool) -> impl Iterator<Item = bool> {
    std::iter::once(false).chain(multicast.then_some(true))
}

/// Affine maps, one after the other: associative, not commutative.
fn chain() -> impl Reduction<[u64; 2]> + Copy {
    Custom::ordered(|[a, b]: [u64; 2], [c, d]: [u64; 2]| {
        [a.wrapping_mul(c), b.wrapping_mul(c).wrapping_add(d)]
    })
}

fn pairs(rank: usize, len: usize) -> Vec<[u64; 2]> {
    (0..len)
        .map(|at| [element(rank, at), element(rank, at + 7)])
        .collect()
}

/// What ranks `ranks` have, combined from left to right.
fn combined<T: Copy>(
    ranks: impl IntoIterator<Item = usize>,
    len: usize,
    of: impl Fn(usize, usize) -> Vec<T>,
    reduction: &impl Reduction<T>,
) -> Vec<T> {
    let mut ranks = ranks.into_iter().map(|rank| of(rank, len));
    let first = ranks.next().expect("there is a rank");
    ranks.fold(first, |left, right| {
        let pairs = left.into_iter().zip(right);
        pairs
            .map(|(left, right)| reduction.combine(left, right))
            .collect()
    })
}

const ALLREDUCES: [AllreduceAlgorithm; 5] = [
    AllreduceAlgorithm::Linear,
    AllreduceAlgorithm::RecursiveDoubling,
    AllreduceAlgorithm::Rabenseifner,
    AllreduceAlgorithm::Ring,
    AllreduceAlgorithm::Multicast,
];

#[test]
fn allreduce() {
    for size in SIZES {
        let sums = LENGTHS.map(|len| combined(0..size, len, elements, &Sum));
        let chains = LENGTHS.map(|len| combined(0..size, len, pairs, &chain()));
        for algorithm in ALLREDUCES {
            for tuning in both_segments(|tuning| {
                tuning.allreduce = Table::always(algorithm);
                tuning.multicast_allreduce = Table::always(algorithm);
            }) {
                for multicast in without_and_with(algorithm == AllreduceAlgorithm::Multicast) {
                    on_local(multicast, size, &tuning, async |communicator| {
                        for (at, len) in LENGTHS.into_iter().enumerate() {
                            let mut data = elements(communicator.rank(), len);
                            communicator.allreduce(&mut data, Sum).await.unwrap();
                            assert!(data == sums[at], "{algorithm:?} {size} {len}");

                            let mut data = pairs(communicator.rank(), len);
                            communicator.allreduce(&mut data, chain()).await.unwrap();
                            assert!(data == chains[at], "{algorithm:?} {size} {len}");
                        }
                    });
                }
            }
        }
    }
}

/// All roots, and the longest slice for the first and the last of them.
fn roots_and_lengths(size: usize) -> impl Iterator<Item = (usize, usize)> {
    let all = (0..size).flat_map(|root| (0..LENGTHS.len() - 1).map(move |at| (root, at)));
    all.chain([(0, LENGTHS.len() - 1), (size - 1, LENGTHS.len() - 1)])
}

#[test]
fn reduce() {
    for size in SIZES {
        let sums = LENGTHS.map(|len| combined(0..size, len, elements, &Sum));
        let chains = LENGTHS.map(|len| combined(0..size, len, pairs, &chain()));
        for algorithm in [ReduceAlgorithm::Binomial, ReduceAlgorithm::Rabenseifner] {
            for tuning in both_segments(|tuning| tuning.reduce = Table::always(algorithm)) {
                on_ranks(size, &tuning, async |communicator| {
                    let rank = communicator.rank();
                    for (root, at) in roots_and_lengths(size) {
                        let mut data = elements(rank, LENGTHS[at]);
                        communicator.reduce(root, &mut data, Sum).await.unwrap();
                        assert!(
                            rank != root || data == sums[at],
                            "{algorithm:?} {size} {root} {at}"
                        );

                        let mut data = pairs(rank, LENGTHS[at]);
                        communicator.reduce(root, &mut data, chain()).await.unwrap();
                        assert!(
                            rank != root || data == chains[at],
                            "{algorithm:?} {size} {root} {at}"
                        );
                    }
                });
            }
        }
    }
}

#[test]
fn broadcast() {
    for size in SIZES {
        let from: Vec<_> = (0..size)
            .map(|root| LENGTHS.map(|len| elements(root, len)))
            .collect();
        for algorithm in [
            BroadcastAlgorithm::Binomial,
            BroadcastAlgorithm::ScatterAllgather,
            BroadcastAlgorithm::Chain,
            BroadcastAlgorithm::Multicast,
        ] {
            for tuning in both_segments(|tuning| {
                tuning.broadcast = Table::always(algorithm);
                tuning.multicast_broadcast = Table::always(algorithm);
            }) {
                for multicast in without_and_with(algorithm == BroadcastAlgorithm::Multicast) {
                    on_local(multicast, size, &tuning, async |communicator| {
                        for (root, at) in roots_and_lengths(size) {
                            let expected = &from[root][at];
                            let mut data = if communicator.rank() == root {
                                expected.clone()
                            } else {
                                vec![0; expected.len()]
                            };
                            communicator.broadcast(root, &mut data).await.unwrap();
                            assert!(data == *expected, "{algorithm:?} {size} {root} {at}");
                        }
                    });
                }
            }
        }
    }
}

#[test]
fn barrier() {
    for algorithm in [
        BarrierAlgorithm::Linear,
        BarrierAlgorithm::Dissemination,
        BarrierAlgorithm::Multicast,
    ] {
        let tuning = tuning(|tuning| {
            tuning.barrier = Table::always(algorithm);
            tuning.multicast_barrier = Table::always(algorithm);
        });
        for size in SIZES {
            for multicast in [false, true] {
                let entered = Cell::new(0);
                on_local(multicast, size, &tuning, async |communicator| {
                    for round in 1..=3 {
                        entered.set(entered.get() + 1);
                        communicator.barrier().await.unwrap();
                        assert!(entered.get() >= round * size, "{algorithm:?} {size}");
                    }
                });
            }
        }
    }
}

#[test]
fn gather_and_scatter() {
    for algorithm in [RootedAlgorithm::Binomial, RootedAlgorithm::Linear] {
        let tuning = tuning(|tuning| {
            tuning.gather = Table::always(algorithm);
            tuning.scatter = Table::always(algorithm);
        });
        for size in SIZES {
            on_ranks(size, &tuning, async |communicator| {
                let rank = communicator.rank();
                for (root, len) in (0..size).flat_map(|root| [0, 1, 67, 530].map(|len| (root, len))) {
                    let everything: Vec<u64> = (0..size).flat_map(|rank| elements(rank, len)).collect();
                    let mut all = vec![0; if rank == root { size * len } else { 0 }];
                    communicator
                        .gather(root, &elements(rank, len), &mut all)
                        .await
                        .unwrap();
                    if rank == root {
                        assert_eq!(all, everything, "{algorithm:?} {size} {root} {len}");
                    }
                    let mut mine = vec![0; len];
                    communicator.scatter(root, &all, &mut mine).await.unwrap();
                    assert_eq!(mine, elements(rank, len), "{algorithm:?} {size} {root} {len}");
                }
            });
        }
    }
}

#[test]
fn gatherv_and_scatterv() {
    for size in SIZES {
        on_ranks(size, &Tuning::default(), async |communicator| {
            let rank = communicator.rank();
            let counts: Vec<usize> = (0..size).map(|rank| [0, 3, 600, 1][rank % 4]).collect();
            for root in 0..size {
                let everything: Vec<u64> = (0..size).flat_map(|rank| elements(rank, counts[rank])).collect();
                let mut all = vec![0; everything.len()];
                let mut mine = elements(rank, counts[rank]);
                if rank == root {
                    communicator
                        .gatherv(root, &mine, &counts, &mut all)
                        .await
                        .unwrap();
                    assert_eq!(all, everything);
                    mine.fill(0);
                    communicator
                        .scatterv(root, &all, &counts, &mut mine)
                        .await
                        .unwrap();
                } else {
                    communicator.gatherv(root, &mine, &[], &mut []).await.unwrap();
                    mine.fill(0);
                    communicator.scatterv(root, &[], &[], &mut mine).await.unwrap();
                }
                assert_eq!(mine, elements(rank, counts[rank]));
            }
        });
    }
}

#[test]
fn allgather() {
    for algorithm in [
        AllgatherAlgorithm::RecursiveDoubling,
        AllgatherAlgorithm::Bruck,
        AllgatherAlgorithm::Ring,
    ] {
        let tuning = tuning(|tuning| tuning.allgather = Table::always(algorithm));
        for size in SIZES {
            on_ranks(size, &tuning, async |communicator| {
                let rank = communicator.rank();
                for len in LENGTHS {
                    let mut all = vec![0; size * len];
                    communicator
                        .allgather(&elements(rank, len), &mut all)
                        .await
                        .unwrap();
                    let everything: Vec<u64> = (0..size).flat_map(|rank| elements(rank, len)).collect();
                    assert_eq!(all, everything, "{algorithm:?} {size} {len}");

                    let counts: Vec<usize> = (0..size).map(|rank| [len, 0, 2][rank % 3]).collect();
                    let everything: Vec<u64> =
                        (0..size).flat_map(|rank| elements(rank, counts[rank])).collect();
                    let mut all = vec![0; everything.len()];
                    let mine = elements(rank, counts[rank]);
                    communicator.allgatherv(&mine, &counts, &mut all).await.unwrap();
                    assert_eq!(all, everything, "{algorithm:?} {size} {len}");
                }
            });
        }
    }
}

#[test]
fn alltoall() {
    for algorithm in [
        AlltoallAlgorithm::Bruck,
        AlltoallAlgorithm::Overlapped,
        AlltoallAlgorithm::Pairwise,
    ] {
        let tuning = tuning(|tuning| tuning.alltoall = Table::always(algorithm));
        for size in SIZES {
            on_ranks(size, &tuning, async |communicator| {
                let rank = communicator.rank();
                // What rank `from` has for rank `to`.
                let part = |from: usize, to: usize, len: usize| elements(from * 100 + to, len);
                for len in [0, 1, 3, 67, 600] {
                    let give: Vec<u64> = (0..size).flat_map(|to| part(rank, to, len)).collect();
                    let expected: Vec<u64> = (0..size).flat_map(|from| part(from, rank, len)).collect();
                    let mut take = vec![0; give.len()];
                    communicator.alltoall(&give, &mut take).await.unwrap();
                    assert_eq!(take, expected, "{algorithm:?} {size} {len}");

                    let count = |from: usize, to: usize| (from * 3 + to) % 4 * len / 3;
                    let give_counts: Vec<usize> = (0..size).map(|to| count(rank, to)).collect();
                    let take_counts: Vec<usize> = (0..size).map(|from| count(from, rank)).collect();
                    let give: Vec<u64> = (0..size).flat_map(|to| part(rank, to, give_counts[to])).collect();
                    let expected: Vec<u64> = (0..size)
                        .flat_map(|from| part(from, rank, take_counts[from]))
                        .collect();
                    let mut take = vec![0; expected.len()];
                    communicator
                        .alltoallv(&give, &give_counts, &mut take, &take_counts)
                        .await
                        .unwrap();
                    assert_eq!(take, expected, "{size} {len}");
                }
            });
        }
    }
}

#[test]
fn reduce_scatter() {
    for size in SIZES {
        let lens = [0, 1, 67, 700];
        let sums = lens.map(|len| combined(0..size, size * len, elements, &Sum));
        let chains = lens.map(|len| combined(0..size, size * len, pairs, &chain()));
        for algorithm in [
            ReduceScatterAlgorithm::RecursiveDoubling,
            ReduceScatterAlgorithm::Rabenseifner,
            ReduceScatterAlgorithm::Ring,
        ] {
            for tuning in both_segments(|tuning| tuning.reduce_scatter = Table::always(algorithm)) {
                // The longest for some numbers of ranks only: it is long.
                let lens = if [1, 2, 5, 8, 13].contains(&size) {
                    &lens[..]
                } else {
                    &lens[..3]
                };
                on_ranks(size, &tuning, async |communicator| {
                    let rank = communicator.rank();
                    for (at, len) in lens.iter().copied().enumerate() {
                        let mut block = vec![0; len];
                        let data = elements(rank, size * len);
                        communicator.reduce_scatter(&data, &mut block, Sum).await.unwrap();
                        assert!(
                            block == sums[at][rank * len..][..len],
                            "{algorithm:?} {size} {len}"
                        );

                        let mut block = vec![[0; 2]; len];
                        let data = pairs(rank, size * len);
                        communicator
                            .reduce_scatter(&data, &mut block, chain())
                            .await
                            .unwrap();
                        assert!(
                            block == chains[at][rank * len..][..len],
                            "{algorithm:?} {size} {len}"
                        );
                    }
                });
            }
        }
    }
}

#[test]
fn scan_and_exscan() {
    for size in SIZES {
        on_ranks(size, &Tuning::default(), async |communicator| {
            let rank = communicator.rank();
            for len in LENGTHS {
                let mut data = pairs(rank, len);
                communicator.scan(&mut data, chain()).await.unwrap();
                assert_eq!(data, combined(0..=rank, len, pairs, &chain()), "{size} {len}");

                let mut data = pairs(rank, len);
                communicator.exscan(&mut data, chain()).await.unwrap();
                let before = if rank == 0 { 0..1 } else { 0..rank };
                assert_eq!(data, combined(before, len, pairs, &chain()), "{size} {len}");
            }
        });
    }
}

#[test]
fn the_location_of_the_largest_is_found() {
    let found = on_ranks(9, &Tuning::default(), async |communicator| {
        let rank = communicator.rank() as i64;
        let mut data = [[rank * 7 % 9, rank], [3, rank]];
        communicator.allreduce(&mut data, MaxLoc).await.unwrap();
        data
    });
    assert_eq!(found, [[[8, 5], [3, 0]]; 9]);
}

/// Floats whose sum depends on the brackets.
fn floats(rank: usize, len: usize) -> Vec<f32> {
    let float = |at| (element(rank, at) >> 40) as f32 * 10_f32.powi((element(rank, at) % 9) as i32 - 4);
    (0..len).map(float).collect()
}

/// The brackets that the docs of `FixedTree` describe.
fn fixed_tree(size: usize, len: usize) -> Vec<f32> {
    fn add(left: Vec<f32>, right: Vec<f32>) -> Vec<f32> {
        left.into_iter()
            .zip(right)
            .map(|(left, right)| left + right)
            .collect()
    }
    let folded = size - (1 << size.ilog2());
    let mut values: Vec<Vec<f32>> = (0..folded)
        .map(|pair| add(floats(2 * pair, len), floats(2 * pair + 1, len)))
        .chain((2 * folded..size).map(|rank| floats(rank, len)))
        .collect();
    while values.len() > 1 {
        let mut pairs = values.into_iter();
        values = Vec::new();
        while let (Some(left), Some(right)) = (pairs.next(), pairs.next()) {
            values.push(add(left, right));
        }
    }
    values.remove(0)
}

fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|float| float.to_bits()).collect()
}

#[test]
fn a_fixed_tree_gives_the_same_bits_by_every_way() {
    let ways = ALLREDUCES.into_iter().zip([
        (ReduceAlgorithm::Binomial, ReduceScatterAlgorithm::Ring),
        (
            ReduceAlgorithm::Binomial,
            ReduceScatterAlgorithm::RecursiveDoubling,
        ),
        (
            ReduceAlgorithm::Rabenseifner,
            ReduceScatterAlgorithm::Rabenseifner,
        ),
        (ReduceAlgorithm::Binomial, ReduceScatterAlgorithm::Ring),
        (ReduceAlgorithm::Rabenseifner, ReduceScatterAlgorithm::Ring),
    ]);
    let wholes: Vec<Vec<u32>> = SIZES.map(|size| bits(&fixed_tree(size, size * 40))).collect();
    for (allreduce, (reduce, reduce_scatter)) in ways {
        for tuning in both_segments(|tuning| {
            tuning.allreduce = Table::always(allreduce);
            tuning.multicast_allreduce = Table::always(allreduce);
            tuning.reduce = Table::always(reduce);
            tuning.reduce_scatter = Table::always(reduce_scatter);
        }) {
            for size in SIZES {
                on_local(true, size, &tuning, async |communicator| {
                    let rank = communicator.rank();
                    let whole = &wholes[size - 1];
                    // An element's result does not depend on how many others there are.
                    for len in [1, 37, size * 40] {
                        let mut data = floats(rank, len);
                        communicator.allreduce(&mut data, FixedTree(Sum)).await.unwrap();
                        assert_eq!(bits(&data), whole[..len], "{allreduce:?} {size}");

                        let root = len % size;
                        let mut data = floats(rank, len);
                        communicator
                            .reduce(root, &mut data, FixedTree(Sum))
                            .await
                            .unwrap();
                        assert!(rank != root || bits(&data) == whole[..len], "{reduce:?} {size}");
                    }
                    let mut block = vec![0.0; 40];
                    let data = floats(rank, size * 40);
                    communicator
                        .reduce_scatter(&data, &mut block, FixedTree(Sum))
                        .await
                        .unwrap();
                    assert_eq!(
                        bits(&block),
                        whole[rank * 40..][..40],
                        "{reduce_scatter:?} {size}"
                    );
                });
            }
        }
    }
}

#[test]
fn all_ranks_get_the_same_bits_without_a_fixed_tree_too() {
    for algorithm in ALLREDUCES {
        let tuning = tuning(|tuning| tuning.allreduce = Table::always(algorithm));
        for size in [2, 3, 6, 8, 13] {
            let run = |_| {
                on_ranks(size, &tuning, async |communicator| {
                    let mut data = floats(communicator.rank(), 200);
                    communicator.allreduce(&mut data, Sum).await.unwrap();
                    bits(&data)
                })
            };
            let [first, again] = [0, 1].map(run);
            assert!(first.iter().all(|data| *data == first[0]), "{algorithm:?} {size}");
            assert_eq!(first, again);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Several operations at once, awaited in an order of each rank's own.
    #[test]
    fn several_in_flight(
        size in 1_usize..=9,
        lens in prop::collection::vec(0_usize..700, 1..8),
        capacity in prop_oneof![Just(0), Just(5000), Just(1 << 20)],
        multicast: bool,
        seed: u64,
    ) {
        let fabrics = flexbond_collectives::LocalOptions::new().capacity(capacity).multicast(multicast).build(size);
        harness::on_fabric(seed, fabrics, &Tuning::default(), async |communicator| {
            let rank = communicator.rank();
            let mut sums: Vec<Vec<u64>> = lens.iter().map(|len| elements(rank, *len)).collect();
            let mut shared: Vec<Vec<u64>> = lens.iter().map(|len| elements(rank, *len)).collect();
            let mut highest = vec![[rank as u64]; lens.len()];
            let mut pending: Vec<futures_util::future::BoxFuture<'_, _>> = Vec::new();
            for (at, ((sum, shared), highest)) in sums.iter_mut().zip(&mut shared).zip(&mut highest).enumerate() {
                pending.push(Box::pin(communicator.allreduce(sum, Sum)));
                pending.push(Box::pin(communicator.broadcast(at % size, shared)));
                pending.push(Box::pin(communicator.barrier()));
                pending.push(Box::pin(communicator.allreduce(highest, Max)));
            }
            // Dropping the order of the calls: they have their numbers already.
            fastrand::Rng::with_seed(seed ^ rank as u64).shuffle(&mut pending);
            for result in futures_util::future::join_all(pending).await {
                result.unwrap();
            }
            for (at, len) in lens.iter().enumerate() {
                assert_eq!(sums[at], combined(0..size, *len, elements, &Sum));
                assert_eq!(shared[at], elements(at % size, *len));
                assert_eq!(highest[at], [size as u64 - 1]);
            }
        });
    }

    /// Whatever the tables say, the result is the same.
    #[test]
    fn any_tuning(
        size in 1_usize..=17,
        len in 0_usize..2000,
        segment in 0_usize..20_000,
        algorithm in prop::sample::select(ALLREDUCES.to_vec()),
        seed: u64,
    ) {
        let tuning = tuning(|tuning| {
            tuning.segment = segment;
            tuning.allreduce = Table::always(AllreduceAlgorithm::Ring).up_to(8, 4000, algorithm).up_to(usize::MAX, 9000, algorithm);
        });
        let fabrics = flexbond_collectives::LocalFabric::new(size);
        harness::on_fabric(seed, fabrics, &tuning, async |communicator| {
            let mut data = elements(communicator.rank(), len);
            communicator.allreduce(&mut data, Sum).await.unwrap();
            assert_eq!(data, combined(0..size, len, elements, &Sum));
        });
    }
}
