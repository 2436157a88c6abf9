//! Parties that are to be reached by another way than before.

use std::collections::BTreeSet;

use super::relay::Relay;
use crate::federation::name::{JobId, PartyId};

impl Relay {
    /// Whether these parties may be reached by another way from now on. If so, their jobs that are over are forgotten.
    ///
    /// # Errors
    /// One that has been here in a job that goes on, and the job. What this server knows of it, and holds for it, would be
    /// told by two servers then: messages would come twice, or not at all.
    pub(crate) fn let_move(&mut self, parties: &BTreeSet<PartyId>) -> Result<(), (PartyId, JobId)> {
        let mut over = Vec::new();
        for (index, job) in self.jobs.iter().filter(|(_, job)| job.aborted.is_none()) {
            let is_over = self.is_over(index);
            let moved = job.members.iter().enumerate();
            for (member, id) in moved.filter(|(_, id)| parties.contains(*id)) {
                if is_over {
                    over.push(index);
                } else if self.has_been_here(index, member) {
                    return Err((id.clone(), job.id.clone()));
                }
            }
        }
        over.dedup();
        over.into_iter().for_each(|index| self.forget_job(index));
        Ok(())
    }

    /// Whether a party has said something in a job, also before a restart.
    fn has_been_here(&self, index: usize, member: usize) -> bool {
        let job = &self.jobs[index];
        let own = job.halves.iter().filter(|((party, _), _)| *party == member);
        let mut own = own.map(|(_, half)| &self.halves[*half]);
        job.parties[member].incarnation().is_some()
            || own.any(|half| half.is_ready || half.has_left || !half.sources.is_empty())
    }
}
