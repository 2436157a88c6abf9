//! What parties may send, as there is room for it.

use super::event::RelayEvent;
use super::quota::{Class, ScopeId};
use super::relay::Relay;
use crate::federation::core::packet::Item;

/// What a party has at hand without asking, when there is room enough: at first, and once it sends.
const AT_FIRST: u64 = 64 << 10;
const AT_HAND: u64 = 4 << 20;
/// Less is not worth an item.
const LEAST: u64 = 512;

impl Relay {
    /// Gives a party more before it has to ask, so that small messages do not wait for an answer.
    pub(super) fn top_up(&mut self, index: usize) {
        let half = &mut self.halves[index];
        let account = &mut half.account;
        let most = if account.spent == 0 { AT_FIRST } else { AT_HAND };
        let left = account.left();
        // Who is away asks when it is there again.
        if account.is_waiting() || account.is_suspended() || left > most / 2 {
            return;
        }
        let more = self.quota.at_hand(account, most - left);
        if more >= left.max(LEAST) && self.quota.top_up(account, more) {
            let total = account.granted;
            half.link.push(Item::Credit { total }, Vec::new());
        }
    }

    /// A party needs more for its next message, or has to wait until there is room.
    pub(super) fn want(&mut self, index: usize, total: u64) {
        let most = self.limits.of_pair(self.ledger.is_durable());
        let account = &mut self.halves[index].account;
        if total.saturating_sub(account.granted) > most {
            // It gets nothing; what it says beside that is heard.
            self.note_wrong(index, "it wants more than there can be");
            return;
        }
        if total > account.granted {
            // Little by little would be many answers.
            account.wanted = account.wanted.max(total).max(account.granted + LEAST);
            self.serve_half(index);
        }
    }

    /// Grants what a party wants, or lets it wait behind those who came before.
    pub(super) fn serve_half(&mut self, index: usize) {
        let class = self.class(index);
        let account = &mut self.halves[index].account;
        if account.wanted <= account.granted || account.is_waiting() || account.is_suspended() {
            return;
        }
        let behind = self.quota.is_behind(account, class);
        if let Err(scope) = behind.map_or_else(|| self.try_grant(index, class), Err) {
            let half = &mut self.halves[index];
            self.quota.wait(index, &mut half.account, scope, class);
            self.tell_full(index, scope);
        }
    }

    /// A party has to wait for room.
    pub(super) fn tell_full(&mut self, index: usize, scope: ScopeId) {
        let half = &self.halves[index];
        let (job, party) = (self.jobs[half.job].id.clone(), half.party.clone());
        let quota = self.quota.kind(scope);
        self.tell(RelayEvent::Full { job, party, quota });
    }

    /// A party whose message is under way and not kept whole must be able to go on.
    fn class(&self, index: usize) -> Class {
        if self.halves[index].streaming.is_empty() {
            Class::Whole
        } else {
            Class::Stream
        }
    }

    fn try_grant(&mut self, index: usize, class: Class) -> Result<(), ScopeId> {
        let half = &mut self.halves[index];
        let need = half.account.wanted.saturating_sub(half.account.granted);
        self.quota.grant(&mut half.account, need, class)?;
        let total = half.account.granted;
        half.link.push(Item::Credit { total }, Vec::new());
        self.wake(index);
        Ok(())
    }

    /// Grants what there is room for by now, in the order in which it was asked for.
    pub(super) fn serve(&mut self) {
        while let Some(scope) = self.quota.next_freed() {
            for class in [Class::Stream, Class::Whole] {
                while let Some(index) = self.quota.first(scope, class) {
                    let current = self.class(index);
                    match self.try_grant(index, current) {
                        Ok(()) => self.quota.leave_queue(&mut self.halves[index].account),
                        Err(lacking) if lacking == scope && current == class => break,
                        Err(lacking) => {
                            let account = &mut self.halves[index].account;
                            self.quota.wait(index, account, lacking, current);
                        }
                    }
                }
            }
        }
    }
}
