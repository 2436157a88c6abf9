//! Since when somebody takes part in a group: what is from before that is of a group that is over.

use std::collections::BTreeMap;

use flexbond_wire::group::Packet;

use crate::group::MemberId;

/// Which packet of each other one led into each group: at a member the coordinator's answer, at the coordinator the
/// member's request.
///
/// Groups come and go under the same numbers, and begin anew each time. A packet of an earlier one that comes late, or
/// that somebody held back, looks as if it were of this one, but for its own number, which is lower.
#[derive(Debug, Default)]
pub(super) struct Entrances(BTreeMap<(u16, MemberId), u64>);

impl Entrances {
    /// Packet `number` of `member` led into a group.
    pub(super) fn note(&mut self, channel: u16, member: MemberId, number: u64) {
        self.0.insert((channel, member), number);
    }

    /// Whether packet `number` of `member` is of an earlier group. None ever is where nobody had to enter.
    pub(super) fn precedes(&self, channel: u16, member: MemberId, number: u64) -> bool {
        self.0
            .get(&(channel, member))
            .is_some_and(|entrance| number < *entrance)
    }

    /// A group has ended, or this node has gone from it.
    pub(super) fn forget_group(&mut self, channel: u16) {
        self.0.retain(|(known, _), _| *known != channel);
    }

    /// Somebody is gone.
    pub(super) fn forget_member(&mut self, member: MemberId) {
        self.0.retain(|(_, known), _| *known != member);
    }
}

/// The group that a packet belongs to which means something to those alone who have entered it.
pub(super) fn group_of(packet: &Packet<'_>) -> Option<u16> {
    match packet {
        Packet::Data(data) => Some(data.channel),
        Packet::Status(status) => Some(status.channel),
        Packet::Sync(sync) => Some(sync.channel),
        Packet::Parity(parity) => Some(parity.channel),
        Packet::Arrive(arrive) => Some(arrive.channel),
        Packet::Release(release) => Some(release.channel),
        Packet::Abort(abort) => Some(abort.channel),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_from_before_the_last_entrance_is_of_an_earlier_group() {
        let [one, other] = [MemberId(1), MemberId(2)];
        let mut entrances = Entrances::default();
        assert!(!entrances.precedes(9, one, 0), "nobody had to enter");
        entrances.note(9, one, 50);
        entrances.note(9, other, 70);
        entrances.note(8, one, 90);
        assert!(entrances.precedes(9, one, 49) && !entrances.precedes(9, one, 50));
        assert!(entrances.precedes(9, other, 69) && entrances.precedes(8, one, 51));
        entrances.note(9, one, 100);
        assert!(entrances.precedes(9, one, 99));
        entrances.forget_member(one);
        assert!(!entrances.precedes(9, one, 0) && !entrances.precedes(8, one, 0));
        entrances.forget_group(9);
        assert!(!entrances.precedes(9, other, 0));
    }
}
