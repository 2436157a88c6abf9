//! The memory that all flows into one member may hold together.

/// Bytes that all flows into one member may hold together: messages that are being put together, and whole ones that
/// nobody has received yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: u64,
    /// Whether somebody waits for room, and whether some was given back since.
    refused: bool,
    freed: bool,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Budget {
            limit,
            used: 0,
            refused: false,
            freed: false,
        }
    }

    /// Takes `bytes`, if they are there.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let fits = bytes <= self.left();
        if fits {
            self.used += bytes;
        } else {
            self.refused = true;
        }
        fits
    }

    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
        self.freed |= self.refused;
    }

    /// Whether somebody who waits for room may go on.
    pub(crate) fn may_resume(&self) -> bool {
        self.freed
    }

    /// As [`may_resume`](Self::may_resume), once.
    pub(crate) fn take_resumption(&mut self) -> bool {
        let freed = std::mem::take(&mut self.freed);
        self.refused &= !freed;
        freed
    }

    pub(crate) fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used
    }
}
