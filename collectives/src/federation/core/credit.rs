//! What a message server has allowed to be sent, and which message waits for more.

/// The account of one session. All amounts are in [`cost`](super::packet::cost).
#[derive(Debug)]
pub(crate) struct Credit {
    /// What may be sent altogether; `u64::MAX` where nobody counts.
    total: u64,
    /// What was sent, and what is still to come of messages that have begun.
    spent: u64,
    claim: Option<Claim>,
}

/// A flow whose next message needs more than there is. It is the first to get what comes.
#[derive(Debug)]
struct Claim {
    flow: u32,
    wanted: u64,
    /// What there was when it was made: other flows go on with the rest of that. So small messages pass a large one that
    /// waits, and do not keep it waiting.
    total: u64,
}

/// Why nothing may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starved {
    /// So much is needed altogether; the server has to be asked.
    Ask(u64),
    /// It was asked already.
    Wait,
}

impl Credit {
    pub(crate) fn new(total: u64) -> Self {
        Credit {
            total,
            spent: 0,
            claim: None,
        }
    }

    /// Whether anybody counts: message servers do.
    pub(crate) fn is_kept(&self) -> bool {
        self.total != u64::MAX
    }

    /// Whether a message waits for more.
    pub(crate) fn is_short(&self) -> bool {
        self.claim.is_some()
    }

    /// Whether it is this flow's message that waits, and others behind it.
    pub(crate) fn is_claimed_by(&self, flow: u32) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.flow == flow)
    }

    /// So much may be sent altogether. Whether that is more than before.
    pub(crate) fn grant(&mut self, total: u64) -> bool {
        // The server counts to the end: nothing it says switches that off.
        let total = total.min(u64::MAX - 1);
        let is_more = self.is_kept() && total > self.total;
        if is_more {
            self.total = total;
        }
        is_more
    }

    /// Takes what the next message, or piece of one, of this flow costs.
    pub(crate) fn spend(&mut self, flow: u32, cost: u64) -> Result<(), Starved> {
        if !self.is_kept() || cost == 0 {
            return Ok(());
        }
        let limit = match &self.claim {
            Some(claim) if claim.flow != flow => claim.total,
            _ => self.total,
        };
        let needed = self.spent.saturating_add(cost);
        if needed <= limit {
            self.spent = needed;
            self.release(flow);
            return Ok(());
        }
        let base = match &self.claim {
            Some(claim) if claim.flow != flow => return Err(Starved::Wait),
            Some(claim) => claim.total,
            None => self.total,
        };
        let wanted = base.saturating_add(cost).min(u64::MAX - 1);
        if self.claim.as_ref().is_some_and(|claim| claim.wanted >= wanted) {
            return Err(Starved::Wait);
        }
        self.claim = Some(Claim {
            flow,
            wanted,
            total: base,
        });
        Err(Starved::Ask(wanted))
    }

    /// The flow goes before the one that waits, which has to ask anew.
    pub(crate) fn give_way(&mut self, flow: u32) {
        self.claim.take_if(|claim| claim.flow != flow);
    }

    /// What was taken for the rest of a message that will not come.
    pub(crate) fn refund(&mut self, cost: u64) {
        self.spent = self.spent.saturating_sub(cost);
    }

    /// The flow has nothing that waits for credit.
    pub(crate) fn release(&mut self, flow: u32) {
        self.claim.take_if(|claim| claim.flow == flow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_count_lets_everything_through() {
        let mut credit = Credit::new(u64::MAX);
        assert!(!credit.grant(5) && !credit.is_kept());
        for _ in 0..3 {
            assert_eq!(credit.spend(0, u64::MAX), Ok(()));
        }
    }

    #[test]
    fn small_messages_pass_a_large_one_and_do_not_keep_it_waiting() {
        let mut credit = Credit::new(1000);
        assert_eq!(credit.spend(0, 300), Ok(()));
        assert_eq!(credit.spend(1, 5000), Err(Starved::Ask(6000)));
        assert_eq!(credit.spend(1, 5000), Err(Starved::Wait), "it was asked");
        assert_eq!(credit.spend(0, 500), Ok(()));
        assert_eq!(credit.spend(0, 300), Err(Starved::Wait), "another was first");
        assert!(!credit.grant(900), "less is no news");
        assert!(credit.grant(3000));
        assert_eq!(credit.spend(0, 300), Err(Starved::Wait));
        assert!(credit.grant(6000));
        assert_eq!(credit.spend(0, 300), Err(Starved::Wait), "the other is first");
        assert_eq!(credit.spend(1, 5000), Ok(()));
        assert!(!credit.is_short());
        assert_eq!(credit.spend(0, 200), Ok(()));
        assert_eq!(credit.spend(0, 1), Err(Starved::Ask(6001)));
        credit.release(0);
        assert_eq!(credit.spend(2, 2), Err(Starved::Ask(6002)));
        credit.refund(500);
        assert_eq!(credit.spend(2, 2), Ok(()));
    }

    #[test]
    fn absurd_numbers_do_not_overflow() {
        let mut credit = Credit::new(10);
        assert_eq!(credit.spend(0, u64::MAX), Err(Starved::Ask(u64::MAX - 1)));
        assert!(credit.grant(u64::MAX) && credit.is_kept());
        credit.refund(u64::MAX);
        assert_eq!(credit.spend(0, u64::MAX - 1), Ok(()));
        assert_eq!(credit.spend(0, u64::MAX), Err(Starved::Ask(u64::MAX - 1)));
    }
}
