//! What one rank believes it is doing: the preamble that lets ranks see that they disagree.

use std::fmt;

use crate::element::{Element, ElementKind};
use crate::reduction::{Reduction, ReductionKind};

/// A collective operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Making a communicator at the start of an epoch.
    Setup,
    /// `barrier`
    Barrier,
    /// `broadcast`
    Broadcast,
    /// `broadcast_stream`
    BroadcastStream,
    /// `gather`
    Gather,
    /// `gatherv`
    Gatherv,
    /// `scatter`
    Scatter,
    /// `scatterv`
    Scatterv,
    /// `allgather`
    Allgather,
    /// `allgatherv`
    Allgatherv,
    /// `reduce`
    Reduce,
    /// `allreduce`
    Allreduce,
    /// `reduce_scatter`
    ReduceScatter,
    /// `scan`
    Scan,
    /// `exscan`
    Exscan,
    /// `alltoall`
    Alltoall,
    /// `alltoallv`
    Alltoallv,
    /// `split`
    Split,
    /// `agree`
    Agree,
    /// An operation that this version does not know.
    Unknown,
}

const CODES: [(Operation, &str); 20] = [
    (Operation::Setup, "setup"),
    (Operation::Barrier, "barrier"),
    (Operation::Broadcast, "broadcast"),
    (Operation::BroadcastStream, "broadcast_stream"),
    (Operation::Gather, "gather"),
    (Operation::Gatherv, "gatherv"),
    (Operation::Scatter, "scatter"),
    (Operation::Scatterv, "scatterv"),
    (Operation::Allgather, "allgather"),
    (Operation::Allgatherv, "allgatherv"),
    (Operation::Reduce, "reduce"),
    (Operation::Allreduce, "allreduce"),
    (Operation::ReduceScatter, "reduce_scatter"),
    (Operation::Scan, "scan"),
    (Operation::Exscan, "exscan"),
    (Operation::Alltoall, "alltoall"),
    (Operation::Alltoallv, "alltoallv"),
    (Operation::Split, "split"),
    (Operation::Agree, "agree"),
    (Operation::Unknown, "unknown operation"),
];

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(CODES[*self as usize].1)
    }
}

/// What one rank called: shown in errors when another rank called something else under the same number.
///
/// All ranks of an operation must agree on all of it. In the operations with counts of their own for each rank
/// (`gatherv`, `scatterv`, `alltoallv`) the length is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Call {
    /// The operation.
    pub operation: Operation,
    /// The type of the elements.
    pub element: ElementKind,
    /// The size of an element in bytes; 0 for values of varying size.
    pub element_size: u32,
    /// How many elements: those of the slice that all ranks have alike.
    pub length: u64,
    /// The root's rank in the communicator, for operations that have one.
    pub root: Option<u32>,
    /// How values are combined.
    pub reduction: ReductionKind,
    /// Whether the operands of the reduction may change places.
    pub is_commutative: bool,
    /// Which algorithm was chosen; it differs when the ranks' tuning does.
    pub algorithm: u8,
    /// What else must agree, as a checksum: the counts in `allgatherv`.
    pub checksum: u64,
}

impl Call {
    pub(crate) fn new(operation: Operation) -> Self {
        Call {
            operation,
            element: ElementKind::Nothing,
            element_size: 0,
            length: 0,
            root: None,
            reduction: ReductionKind::Nothing,
            is_commutative: true,
            algorithm: 0,
            checksum: 0,
        }
    }

    pub(crate) fn elements<T: Element>(mut self, length: usize) -> Self {
        self.element = ElementKind::of::<T>();
        // Saturates for elements of 4 GiB, which nobody has.
        self.element_size = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
        self.length = length as u64;
        self
    }

    pub(crate) fn value(mut self) -> Self {
        self.element = ElementKind::Value;
        self
    }

    pub(crate) fn root(mut self, root: usize) -> Self {
        // No rank is as high as the one that stands for none.
        self.root = Some(u32::try_from(root).unwrap_or(NO_ROOT - 1));
        self
    }

    /// One that combines the elements of `data`.
    pub(crate) fn combination<T: Element, R: Reduction<T>>(
        operation: Operation,
        data: &[T],
        reduction: &R,
    ) -> Self {
        Call {
            reduction: reduction.kind(),
            is_commutative: reduction.is_commutative(),
            ..Call::new(operation).elements::<T>(data.len())
        }
    }

    pub(crate) fn algorithm(mut self, algorithm: u8) -> Self {
        self.algorithm = algorithm;
        self
    }

    pub(crate) fn checksum(mut self, counts: &[usize]) -> Self {
        self.checksum = counts.iter().fold(FNV_OFFSET, |hash, count| {
            (hash ^ *count as u64).wrapping_mul(FNV_PRIME)
        });
        self
    }
}

// FNV-1a, over whole words.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operation)?;
        if self.reduction != ReductionKind::Nothing {
            write!(f, " ({})", self.reduction)?;
        }
        match self.element {
            ElementKind::Nothing => {}
            ElementKind::Value => write!(f, " of a value")?,
            ElementKind::Other => write!(f, " of {} elements of {} bytes", self.length, self.element_size)?,
            kind => write!(f, " of {} {kind}", self.length)?,
        }
        if let Some(root) = self.root {
            write!(f, " with root {root}")?;
        }
        if self.algorithm != 0 {
            write!(f, " by algorithm {}", self.algorithm)?;
        }
        Ok(())
    }
}

/// The length of a preamble in bytes. A multiple of every element's alignment, so that what follows it is aligned when
/// the preamble is.
pub(crate) const PREAMBLE: usize = 32;
/// The length of a notice in bytes: a preamble, a rank, and the call of that rank.
pub(crate) const NOTICE: usize = PREAMBLE + 16 + PREAMBLE;

const MAGIC: u8 = 0xFB;
const VERSION: u8 = 1;
const NO_ROOT: u32 = u32::MAX;

const FLAG_ORDERED: u8 = 1;

/// Why a rank takes no further part in an operation, as told to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// `rank` called something else.
    Mismatch { rank: u32, call: Call },
    /// `rank` gave up: its future was dropped, or it had an error of its own.
    Abandoned { rank: u32 },
    /// `rank` of the fabric has left.
    Left { rank: u32 },
}

/// What the first bytes of a message say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A message of the operation that its sender believes in.
    Part(Call),
    /// Its sender, which believes in the call, goes no further.
    Notice(Call, Notice),
}

const STATE_PART: u8 = 0;
const STATE_MISMATCH: u8 = 1;
const STATE_ABANDONED: u8 = 2;
const STATE_LEFT: u8 = 3;

impl Call {
    /// ```text
    ///  0 u8 0xFB   1 u8 version   2 u8 state (0 part, 1 mismatch, 2 abandoned, 3 left)   3 u8 operation
    ///  4 u8 algorithm   5 u8 reduction   6 u8 element kind   7 u8 flags (bit 0: operands keep their order)
    ///  8 u32 element size   12 u32 root (all ones: none)   16 u64 length   24 u64 checksum     (little endian)
    /// ```
    pub(crate) fn encode(&self) -> [u8; PREAMBLE] {
        let mut out = [0; PREAMBLE];
        out[..8].copy_from_slice(&[
            MAGIC,
            VERSION,
            STATE_PART,
            self.operation as u8,
            self.algorithm,
            self.reduction.code(),
            self.element.code(),
            if self.is_commutative { 0 } else { FLAG_ORDERED },
        ]);
        out[8..12].copy_from_slice(&self.element_size.to_le_bytes());
        out[12..16].copy_from_slice(&self.root.unwrap_or(NO_ROOT).to_le_bytes());
        out[16..24].copy_from_slice(&self.length.to_le_bytes());
        out[24..].copy_from_slice(&self.checksum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; PREAMBLE]) -> Option<Self> {
        if bytes[0] != MAGIC || bytes[1] != VERSION {
            return None;
        }
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let operation = CODES
            .get(usize::from(bytes[3]))
            .map_or(Operation::Unknown, |(operation, _)| *operation);
        let root = u32_at(12);
        Some(Call {
            operation,
            element: ElementKind::from_code(bytes[6]),
            element_size: u32_at(8),
            length: u64_at(16),
            root: (root != NO_ROOT).then_some(root),
            reduction: ReductionKind::from_code(bytes[5]),
            is_commutative: bytes[7] & FLAG_ORDERED == 0,
            algorithm: bytes[4],
            checksum: u64_at(24),
        })
    }

    /// The notice of a rank that made this call.
    pub(crate) fn encode_notice(&self, notice: Notice) -> [u8; NOTICE] {
        let mut out = [0; NOTICE];
        out[..PREAMBLE].copy_from_slice(&self.encode());
        let (state, rank, call) = match notice {
            Notice::Mismatch { rank, call } => (STATE_MISMATCH, rank, call),
            Notice::Abandoned { rank } => (STATE_ABANDONED, rank, *self),
            Notice::Left { rank } => (STATE_LEFT, rank, *self),
        };
        out[2] = state;
        out[PREAMBLE..PREAMBLE + 4].copy_from_slice(&rank.to_le_bytes());
        out[PREAMBLE + 16..].copy_from_slice(&call.encode());
        out
    }
}

impl Opening {
    /// Reads the beginning of a message; `None` when that is no preamble of this version.
    pub(crate) fn decode(message: &[u8]) -> Option<Self> {
        let call = Call::decode(message.first_chunk()?)?;
        let notice = match message[2] {
            STATE_PART => return Some(Opening::Part(call)),
            state if message.len() == NOTICE => {
                let rank = u32::from_le_bytes(*message[PREAMBLE..].first_chunk()?);
                match state {
                    STATE_MISMATCH => Notice::Mismatch {
                        rank,
                        call: Call::decode(message[PREAMBLE + 16..].first_chunk()?)?,
                    },
                    STATE_ABANDONED => Notice::Abandoned { rank },
                    STATE_LEFT => Notice::Left { rank },
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some(Opening::Notice(call, notice))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reduction::{FixedTree, Sum};

    fn sample() -> Call {
        Call::combination(Operation::Allreduce, &[0_f32; 1000], &FixedTree(Sum))
            .root(3)
            .algorithm(2)
            .checksum(&[1, 2])
    }

    #[test]
    fn preambles_and_notices_go_there_and_back() {
        for (operation, _) in CODES {
            let call = Call {
                operation,
                ..sample()
            };
            assert_eq!(Opening::decode(&call.encode()), Some(Opening::Part(call)));
            for notice in [
                Notice::Mismatch {
                    rank: 7,
                    call: Call::new(Operation::Barrier),
                },
                Notice::Abandoned { rank: 9 },
                Notice::Left { rank: 0 },
            ] {
                let decoded = Opening::decode(&call.encode_notice(notice));
                assert_eq!(decoded, Some(Opening::Notice(call, notice)));
            }
        }
    }

    #[test]
    fn the_format_does_not_change_unseen() {
        let expected = [
            0xFB, 1, 0, 11, 2, 1, 11, 1, 4, 0, 0, 0, 3, 0, 0, 0, 0xE8, 3, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(sample().encode()[..24], expected);
    }

    #[test]
    fn a_call_says_what_it_is() {
        assert_eq!(
            sample().to_string(),
            "allreduce (sum) of 1000 f32 with root 3 by algorithm 2"
        );
        assert_eq!(Call::new(Operation::Barrier).to_string(), "barrier");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..120), real: bool) {
            if real && bytes.len() > 3 {
                bytes[..2].copy_from_slice(&[MAGIC, VERSION]);
                bytes[2] %= 5;
            }
            let _ = Opening::decode(&bytes);
        }
    }
}
