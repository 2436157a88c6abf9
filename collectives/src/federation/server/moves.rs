//! Parties that another configuration gives another way.

use std::collections::BTreeSet;

use super::config::{ServerConfig, ServerEntry};
use crate::federation::name::PartyId;

/// Where a party is.
enum Place<'a> {
    /// It connects to this server.
    Here,
    /// It is reached by another one.
    With(&'a str, &'a ServerEntry),
}

/// The parties that are elsewhere by `after` than by `before`. Who is nowhere has not moved.
pub(super) fn moved(before: &ServerConfig, after: &ServerConfig) -> BTreeSet<PartyId> {
    let entries = before.servers.values().chain(after.servers.values());
    let parties = entries.flat_map(|server| &server.parties);
    let has_moved = |party: &&PartyId| {
        let places = place(before, party).zip(place(after, party));
        places.is_some_and(|(before, after)| !is_same(&before, &after))
    };
    parties.filter(has_moved).cloned().collect()
}

fn place<'a>(config: &'a ServerConfig, party: &PartyId) -> Option<Place<'a>> {
    let mut servers = config.servers.iter();
    if let Some((name, server)) = servers.find(|(_, server)| server.parties.contains(party)) {
        return Some(Place::With(name, server));
    }
    let is_open = config.parties.is_empty() && !config.knows_its_peers();
    (is_open || config.parties.contains_key(party)).then_some(Place::Here)
}

/// A server may have another name, or listen elsewhere.
fn is_same(one: &Place<'_>, two: &Place<'_>) -> bool {
    match (one, two) {
        (Place::Here, Place::Here) => true,
        (Place::With(name, one), Place::With(other, two)) => {
            name == other
                || (one.connect.is_some() && one.connect == two.connect)
                || (one.key.is_some() && one.key == two.key)
        }
        _ => false,
    }
}
