//! Which parties are reached through which other server.

use std::collections::BTreeMap;

use crate::federation::name::PartyId;

/// Which parties are reached through which other server. The others connect to this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routes {
    /// The servers' numbers by party, as in [`Way::Server`](super::Way::Server).
    pub(crate) parties: BTreeMap<PartyId, usize>,
}

impl Routes {
    /// The server by which a party is reached; none when it connects to this one.
    pub(super) fn server(&self, party: &PartyId) -> Option<usize> {
        self.parties.get(party).copied()
    }
}
