//! Who may take part in which job.

use std::collections::{BTreeMap, BTreeSet};

use crate::federation::name::{JobId, PartyId};

/// Who may take part. It may be replaced while the server runs; what has begun goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    /// The parties that may take part, and the jobs that each may join: all if none are given. None: every party may.
    pub(crate) parties: Option<BTreeMap<PartyId, BTreeSet<JobId>>>,
    /// Other servers by the identity that they prove, and the parties that each speaks for.
    pub(crate) servers: BTreeMap<String, BTreeSet<PartyId>>,
    /// Jobs whose members are given here.
    pub(crate) jobs: BTreeMap<JobId, BTreeSet<PartyId>>,
    /// Whether a job that is not among these may be begun by the first party that names it.
    pub(crate) open_jobs: bool,
}

impl Access {
    /// Every party may take part in every job.
    #[cfg(test)]
    pub(crate) fn open() -> Self {
        Access {
            open_jobs: true,
            ..Access::default()
        }
    }

    /// Whether a connection that has proved to be `identity` may say that a packet is from `from`; none has proved nothing,
    /// and need not.
    pub(super) fn may_speak(&self, identity: Option<&str>, from: &PartyId) -> bool {
        identity.is_none_or(|identity| match self.servers.get(identity) {
            // The name of a server is none of a party.
            Some(parties) => parties.contains(from),
            None => from == identity,
        })
    }

    /// Whether a party may take part in a job at all.
    pub(super) fn may_join(&self, party: &PartyId, job: &JobId) -> bool {
        let is_allowed = self.parties.as_ref().is_none_or(|parties| {
            parties
                .get(party)
                .is_some_and(|jobs| jobs.is_empty() || jobs.contains(job))
        });
        let is_listed = match self.jobs.get(job) {
            Some(members) => members.contains(party),
            None => self.open_jobs,
        };
        is_allowed && is_listed
    }

    /// Whether a job may have these members.
    pub(super) fn may_have(&self, job: &JobId, members: &[PartyId]) -> bool {
        match self.jobs.get(job) {
            Some(listed) => listed.iter().eq(members),
            None => self.open_jobs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(name: &str) -> PartyId {
        PartyId::new(name).unwrap()
    }

    fn job(name: &str) -> JobId {
        JobId::new(name).unwrap()
    }

    #[test]
    fn a_party_speaks_for_itself_and_a_server_for_its_parties() {
        let access = Access {
            servers: [("hub".to_owned(), [party("b")].into())].into(),
            ..Access::open()
        };
        assert!(access.may_speak(Some("a"), &party("a")));
        assert!(!access.may_speak(Some("a"), &party("b")));
        assert!(access.may_speak(Some("hub"), &party("b")));
        assert!(!access.may_speak(Some("hub"), &party("a")));
        assert!(!access.may_speak(Some("hub"), &party("hub")));
        assert!(access.may_speak(None, &party("a")));
    }

    #[test]
    fn jobs_are_listed_or_open() {
        let mut access = Access {
            parties: Some(
                [
                    (party("a"), BTreeSet::new()),
                    (party("b"), [job("listed")].into()),
                ]
                .into(),
            ),
            jobs: [(job("listed"), [party("a"), party("b")].into())].into(),
            open_jobs: true,
            ..Access::default()
        };
        assert!(access.may_join(&party("a"), &job("other")));
        assert!(!access.may_join(&party("b"), &job("other")));
        assert!(access.may_join(&party("b"), &job("listed")));
        assert!(!access.may_join(&party("c"), &job("listed")));
        assert!(access.may_have(&job("listed"), &[party("a"), party("b")]));
        assert!(!access.may_have(&job("listed"), &[party("a"), party("c")]));
        assert!(access.may_have(&job("other"), &[party("a"), party("c")]));
        access.open_jobs = false;
        assert!(!access.may_join(&party("a"), &job("other")));
    }
}
