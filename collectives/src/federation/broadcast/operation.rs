//! What the messages of a broadcast channel belong to.

use bytes::Bytes;

/// What a message belongs to: the first byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Broadcast = 1,
    Scatter = 2,
    Gather = 3,
    Allreduce = 4,
    Sync = 5,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Operation::Broadcast => "broadcast",
            Operation::Scatter => "scatter",
            Operation::Gather => "gather",
            Operation::Allreduce => "allreduce",
            Operation::Sync => "sync",
        }
    }

    /// What receives it with its buffers, if it may have some.
    pub(super) fn with_buffers(self) -> Option<&'static str> {
        match self {
            Operation::Broadcast => Some("recv_broadcast_with"),
            Operation::Scatter => Some("recv_scatter_with"),
            Operation::Gather => Some("gather_with"),
            Operation::Allreduce | Operation::Sync => None,
        }
    }

    /// What the first part of a message says.
    pub(super) fn of(part: Option<&Bytes>) -> Option<Self> {
        let all = [
            Operation::Broadcast,
            Operation::Scatter,
            Operation::Gather,
            Operation::Allreduce,
            Operation::Sync,
        ];
        let [number] = part?[..] else {
            return None;
        };
        all.into_iter().find(|operation| *operation as u8 == number)
    }
}
