//! Which algorithm serves which size: cost tables that a program can override.

use std::hash::{Hash, Hasher};

/// How a barrier is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BarrierAlgorithm {
    /// All tell rank 0, which tells all: 2·(n − 1) messages.
    Linear,
    /// ⌈log₂ n⌉ rounds in which everybody sends one message.
    Dissemination,
    /// Up a binomial tree to rank 0, which multicasts. Without a multicast: down the tree.
    Multicast,
}

/// How a broadcast is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BroadcastAlgorithm {
    /// Down a binomial tree, whole.
    Binomial,
    /// Scattered down a binomial tree, then gathered by all with doubling distances (van de Geijn).
    ScatterAllgather,
    /// From rank to rank in segments, all links busy at once.
    Chain,
    /// One multicast. Without a multicast: [`Binomial`](BroadcastAlgorithm::Binomial).
    Multicast,
}

/// How a gather or a scatter is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RootedAlgorithm {
    /// Over a binomial tree, in ⌈log₂ n⌉ rounds.
    Binomial,
    /// Directly between the root and each other rank.
    Linear,
}

/// How an allgather is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AllgatherAlgorithm {
    /// Exchanges at distances 1, 2, 4 …; where the number of ranks is no power of two, or counts differ,
    /// [`Bruck`](AllgatherAlgorithm::Bruck).
    RecursiveDoubling,
    /// ⌈log₂ n⌉ rounds for any number of ranks, without rotating the result.
    Bruck,
    /// n − 1 rounds between neighbours.
    Ring,
}

/// How a reduce is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReduceAlgorithm {
    /// Up a binomial tree, whole.
    Binomial,
    /// A reduce-scatter by recursive halving, then a gather to the root.
    Rabenseifner,
}

/// How an allreduce is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AllreduceAlgorithm {
    /// All send to rank 0, which combines and sends to all: the fewest messages, 2·(n − 1). For what fits into one
    /// message of 4 KiB; longer: [`RecursiveDoubling`](AllreduceAlgorithm::RecursiveDoubling).
    Linear,
    /// Whole values exchanged at distances 1, 2, 4 …
    RecursiveDoubling,
    /// A reduce-scatter by recursive halving, then an allgather by recursive doubling.
    Rabenseifner,
    /// A reduce-scatter and an allgather round the ring, in segments. Needs a commutative reduction; for others
    /// [`Rabenseifner`](AllreduceAlgorithm::Rabenseifner).
    Ring,
    /// A reduce to rank 0, which multicasts. Without a multicast:
    /// [`RecursiveDoubling`](AllreduceAlgorithm::RecursiveDoubling).
    Multicast,
}

/// How a reduce-scatter is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReduceScatterAlgorithm {
    /// An allreduce by recursive doubling, of which each rank keeps its block.
    RecursiveDoubling,
    /// An allreduce by Rabenseifner's algorithm, of which each rank keeps its block.
    Rabenseifner,
    /// n − 1 rounds between neighbours. Needs a commutative reduction; for others
    /// [`Rabenseifner`](ReduceScatterAlgorithm::Rabenseifner).
    Ring,
}

/// How an alltoall is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AlltoallAlgorithm {
    /// ⌈log₂ n⌉ rounds, in each of which half of the blocks travel.
    Bruck,
    /// Everything with everybody at once.
    Overlapped,
    /// n − 1 rounds, in each of which everybody has one partner to send to and one to receive from.
    Pairwise,
}

/// A cost table: the first of its rules that covers the number of ranks and the size in bytes says which algorithm.
///
/// ```
/// use flexbond_collectives::{BroadcastAlgorithm as Broadcast, Table};
///
/// let table = Table::always(Broadcast::Chain)
///     .up_to(7, usize::MAX, Broadcast::Binomial)
///     .up_to(usize::MAX, 12 << 10, Broadcast::Binomial);
/// assert_eq!(table.choose(4, 1 << 20), Broadcast::Binomial);
/// assert_eq!(table.choose(64, 1 << 20), Broadcast::Chain);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table<A> {
    rules: Vec<(usize, usize, A)>,
    otherwise: A,
}

impl<A: Copy> Table<A> {
    /// One algorithm for everything that no rule covers.
    #[must_use]
    pub const fn always(algorithm: A) -> Self {
        Table {
            rules: Vec::new(),
            otherwise: algorithm,
        }
    }

    /// Adds a rule, after those that are there: up to `ranks` ranks and up to `bytes` bytes, both included.
    #[must_use]
    pub fn up_to(mut self, ranks: usize, bytes: usize, algorithm: A) -> Self {
        self.rules.push((ranks, bytes, algorithm));
        self
    }

    /// The algorithm for `bytes` bytes among `ranks` ranks.
    #[must_use]
    pub fn choose(&self, ranks: usize, bytes: usize) -> A {
        self.rules
            .iter()
            .find(|(most_ranks, most_bytes, _)| ranks <= *most_ranks && bytes <= *most_bytes)
            .map_or(self.otherwise, |(_, _, algorithm)| *algorithm)
    }
}

/// What a communicator chooses its algorithms by. All ranks must have the same; that is checked when the communicator
/// is made.
///
/// ```
/// use flexbond_collectives::{AllreduceAlgorithm, Table, Tuning};
///
/// let mut tuning = Tuning::default();
/// tuning.allreduce = Table::always(AllreduceAlgorithm::Ring);
/// tuning.segment = 256 << 10;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tuning {
    /// For barriers, where there is no multicast; bytes are 0. Default: linear from 3 to 16 ranks, else dissemination.
    pub barrier: Table<BarrierAlgorithm>,
    /// For broadcasts, where there is no multicast, by the slice's bytes. Default: binomial up to 7 ranks or 12 KiB,
    /// scatter and allgather up to 512 KiB, then the chain.
    pub broadcast: Table<BroadcastAlgorithm>,
    /// For gathers, by the bytes of one rank. Default: binomial up to 4 KiB, then linear.
    pub gather: Table<RootedAlgorithm>,
    /// For scatters, by the bytes of one rank. Default: binomial up to 4 KiB, then linear.
    pub scatter: Table<RootedAlgorithm>,
    /// For allgathers, by the bytes of all ranks together. Default: recursive doubling up to 512 KiB, then the ring.
    pub allgather: Table<AllgatherAlgorithm>,
    /// For reduces, by the slice's bytes. Default: binomial up to 8 KiB, then Rabenseifner's.
    pub reduce: Table<ReduceAlgorithm>,
    /// For allreduces, where there is no multicast, by the slice's bytes. Default: for 2 ranks recursive doubling up to
    /// 1 MiB; for 3 to 16 ranks linear up to 2 KiB, then recursive doubling up to 64 KiB (up to 4 ranks) or 16 KiB; for
    /// more recursive doubling up to 2 KiB. Then Rabenseifner's up to 512 KiB, and the ring.
    pub allreduce: Table<AllreduceAlgorithm>,
    /// For reduce-scatters, by the bytes of one rank's whole contribution. Default: recursive doubling up to 2 KiB, then
    /// the ring.
    pub reduce_scatter: Table<ReduceScatterAlgorithm>,
    /// For alltoalls, by the bytes of one block. Default: Bruck's up to 256 bytes, overlapped up to 32 KiB, then
    /// pairwise.
    pub alltoall: Table<AlltoallAlgorithm>,
    /// For barriers where there is a multicast. Default: as where there is none.
    pub multicast_barrier: Table<BarrierAlgorithm>,
    /// For broadcasts where there is a multicast. Default: multicast above 32 MiB from 8 ranks on, else as where there
    /// is none. This is where it was measured to win among ranks of one machine; between machines try lower limits.
    pub multicast_broadcast: Table<BroadcastAlgorithm>,
    /// For broadcasts in chunks where there is a multicast, each chunk of which is one then; bytes are 0. Default: as
    /// where there is none.
    pub multicast_stream: Table<BroadcastAlgorithm>,
    /// For allreduces where there is a multicast. Default: as where there is none.
    pub multicast_allreduce: Table<AllreduceAlgorithm>,
    /// The size of a segment in bytes: long transfers are cut, so that sending, receiving and combining overlap. At
    /// least 1 KiB is used. Default: 128 KiB.
    pub segment: usize,
    /// The most bytes of an encoded value, and of the values of all ranks together where one rank gets all. Default:
    /// 64 MiB.
    pub max_value: usize,
}

const ANY: usize = usize::MAX;

impl Default for Tuning {
    fn default() -> Self {
        let barrier = Table::always(BarrierAlgorithm::Dissemination)
            .up_to(2, ANY, BarrierAlgorithm::Dissemination)
            .up_to(16, ANY, BarrierAlgorithm::Linear);
        let broadcast = Table::always(BroadcastAlgorithm::Chain)
            .up_to(7, ANY, BroadcastAlgorithm::Binomial)
            .up_to(ANY, 12 << 10, BroadcastAlgorithm::Binomial)
            .up_to(ANY, 512 << 10, BroadcastAlgorithm::ScatterAllgather);
        let allreduce = Table::always(AllreduceAlgorithm::Ring)
            .up_to(2, 1 << 20, AllreduceAlgorithm::RecursiveDoubling)
            .up_to(16, 2 << 10, AllreduceAlgorithm::Linear)
            .up_to(4, 64 << 10, AllreduceAlgorithm::RecursiveDoubling)
            .up_to(16, 16 << 10, AllreduceAlgorithm::RecursiveDoubling)
            .up_to(ANY, 2 << 10, AllreduceAlgorithm::RecursiveDoubling)
            .up_to(ANY, 512 << 10, AllreduceAlgorithm::Rabenseifner);
        Tuning {
            multicast_barrier: barrier.clone(),
            barrier,
            multicast_broadcast: broadcast
                .clone()
                .up_to(ANY, 32 << 20, BroadcastAlgorithm::Chain)
                .up_to(ANY, ANY, BroadcastAlgorithm::Multicast),
            multicast_stream: Table::always(BroadcastAlgorithm::Chain).up_to(
                7,
                ANY,
                BroadcastAlgorithm::Binomial,
            ),
            broadcast,
            gather: Table::always(RootedAlgorithm::Linear).up_to(ANY, 4 << 10, RootedAlgorithm::Binomial),
            scatter: Table::always(RootedAlgorithm::Linear).up_to(ANY, 4 << 10, RootedAlgorithm::Binomial),
            allgather: Table::always(AllgatherAlgorithm::Ring).up_to(
                ANY,
                512 << 10,
                AllgatherAlgorithm::RecursiveDoubling,
            ),
            reduce: Table::always(ReduceAlgorithm::Rabenseifner).up_to(
                ANY,
                8 << 10,
                ReduceAlgorithm::Binomial,
            ),
            multicast_allreduce: allreduce.clone(),
            allreduce,
            reduce_scatter: Table::always(ReduceScatterAlgorithm::Ring).up_to(
                ANY,
                2 << 10,
                ReduceScatterAlgorithm::RecursiveDoubling,
            ),
            alltoall: Table::always(AlltoallAlgorithm::Pairwise)
                .up_to(ANY, 256, AlltoallAlgorithm::Bruck)
                .up_to(ANY, 32 << 10, AlltoallAlgorithm::Overlapped),
            segment: 128 << 10,
            max_value: 64 << 20,
        }
    }
}

impl Tuning {
    /// The segment in elements of `size` bytes, at least one.
    pub(crate) fn segment_of(&self, size: usize) -> usize {
        (self.segment.max(1 << 10) / size).max(1)
    }

    /// A number that is the same for the same tuning, in every build.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// FNV-1a: the standard library's hasher may change between releases.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_table_is_that_of_the_docs() {
        let tuning = Tuning::default();
        assert_eq!(tuning.barrier.choose(2, 0), BarrierAlgorithm::Dissemination);
        assert_eq!(tuning.barrier.choose(16, 0), BarrierAlgorithm::Linear);
        assert_eq!(tuning.barrier.choose(17, 0), BarrierAlgorithm::Dissemination);
        for (ranks, bytes, algorithm) in [
            (2, 8, AllreduceAlgorithm::RecursiveDoubling),
            (2, 1 << 20, AllreduceAlgorithm::RecursiveDoubling),
            (8, 2048, AllreduceAlgorithm::Linear),
            (8, 2049, AllreduceAlgorithm::RecursiveDoubling),
            (4, 64 << 10, AllreduceAlgorithm::RecursiveDoubling),
            (8, 64 << 10, AllreduceAlgorithm::Rabenseifner),
            (17, 2048, AllreduceAlgorithm::RecursiveDoubling),
            (17, 2049, AllreduceAlgorithm::Rabenseifner),
            (8, 1 << 20, AllreduceAlgorithm::Ring),
        ] {
            assert_eq!(
                tuning.allreduce.choose(ranks, bytes),
                algorithm,
                "{ranks} {bytes}"
            );
        }
        assert_eq!(tuning.broadcast.choose(8, 1 << 20), BroadcastAlgorithm::Chain);
        assert_eq!(tuning.alltoall.choose(8, 257), AlltoallAlgorithm::Overlapped);
        for ranks in [2, 7, 8, 64] {
            for bytes in [0, 1 << 10, 1 << 20, 32 << 20] {
                let broadcast = tuning.broadcast.choose(ranks, bytes);
                assert_eq!(tuning.multicast_broadcast.choose(ranks, bytes), broadcast);
            }
            let long = tuning.multicast_broadcast.choose(ranks, (32 << 20) + 1);
            assert_eq!(long == BroadcastAlgorithm::Multicast, ranks >= 8);
            let stream = tuning.broadcast.choose(ranks, usize::MAX);
            assert_eq!(tuning.multicast_stream.choose(ranks, 0), stream);
        }
    }

    #[test]
    fn fingerprints_tell_tunings_apart() {
        let mut other = Tuning::default();
        assert_eq!(other.fingerprint(), Tuning::default().fingerprint());
        other.allreduce = other.allreduce.up_to(3, 3, AllreduceAlgorithm::Ring);
        assert_ne!(other.fingerprint(), Tuning::default().fingerprint());
    }
}
