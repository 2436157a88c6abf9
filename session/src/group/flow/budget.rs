//! The memory that all flows into one member may hold together.

/// Bytes that all flows into one member may hold together: messages that are being put together, and whole ones that
/// nobody has received yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: u64,
    /// Used by what can be done without, as long as messages leave it.
    spare: u64,
    /// Whether somebody waits for room, and whether some was given back since.
    refused: bool,
    freed: bool,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Budget {
            limit,
            used: 0,
            spare: 0,
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

    /// Takes `bytes` for what can be done without, if messages leave them.
    pub(crate) fn take_spare(&mut self, bytes: u64) -> bool {
        let fits = self.has_spare(bytes);
        if fits {
            self.spare += bytes;
        }
        fits
    }

    /// Whether messages leave so many bytes.
    pub(crate) fn has_spare(&self, bytes: u64) -> bool {
        bytes <= self.left().saturating_sub(self.spare)
    }

    pub(crate) fn give_back_spare(&mut self, bytes: u64) {
        self.spare = self.spare.saturating_sub(bytes);
    }

    /// Whether messages need what is used by what can be done without.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.spare > self.left()
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

    #[cfg(test)]
    pub(crate) fn spare(&self) -> u64 {
        self.spare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_before_what_can_be_done_without() {
        let mut budget = Budget::new(100);
        assert!(budget.take(50) && budget.take_spare(40) && !budget.take_spare(11));
        assert!(!budget.is_overdrawn());
        assert!(budget.take(50), "as if nothing else were there");
        assert!(budget.is_overdrawn());
        budget.give_back_spare(40);
        assert!(!budget.is_overdrawn() && !budget.has_spare(1));
    }
}
