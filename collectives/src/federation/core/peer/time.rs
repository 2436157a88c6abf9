//! Messages of a peer's flows that have a time to live.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Burnt, Peer, Side};
use crate::federation::core::packet::FlowKey;

impl Peer {
    /// A message is not lent to the program any more. Whether it is still here.
    pub(crate) fn give_back(&mut self, now: Instant, key: &FlowKey, epoch: Option<u64>, offset: u64) -> bool {
        let number = self.inn.number(key);
        let Some((number, (_, flow))) = number.and_then(|number| Some((number, self.inn.at(number)?))) else {
            return false;
        };
        let is_here = flow.give_back(epoch, offset);
        // Its time may be over by now.
        if is_here && let Some(at) = flow.expires() {
            set_fuse(&mut self.fuses, &mut flow.fuse, at.max(now), Side::In, number);
        }
        is_here
    }

    pub(super) fn light_out(&mut self, id: u32) {
        if let Some((_, flow)) = self.out.at(id)
            && let Some(at) = flow.expires()
        {
            set_fuse(&mut self.fuses, &mut flow.fuse, at, Side::Out, id);
        }
    }

    pub(super) fn light_in(&mut self, number: u32) {
        if let Some((_, flow)) = self.inn.at(number)
            && let Some(at) = flow.last_expires()
        {
            set_fuse(&mut self.fuses, &mut flow.fuse, at, Side::In, number);
        }
    }

    /// When there is something to be done, or earlier.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let fuse = self.fuses.first().map(|(at, ..)| *at);
        self.link.poll_timeout().into_iter().chain(fuse).min()
    }

    /// Drops what has waited too long. Which flows have some of that.
    pub(crate) fn handle_timeout(&mut self, now: Instant, messages: u32) -> Vec<Burnt> {
        self.link.handle_timeout(now);
        let mut burnt = Vec::new();
        while let Some((at, side, number)) = self.fuses.pop_first() {
            if at > now {
                self.fuses.insert((at, side, number));
                break;
            }
            burnt.extend(match side {
                Side::Out => self.burn_out(now, number).map(Burnt::Out),
                Side::In => self.burn_in(now, number, messages).map(Burnt::In),
            });
        }
        burnt
    }

    fn burn_out(&mut self, now: Instant, id: u32) -> Option<FlowKey> {
        let count = self.with_out(id, |flow| {
            flow.fuse = None;
            flow.expire(now)
        })?;
        self.light_out(id);
        self.refund(id, 0);
        self.list(id);
        (count > 0).then(|| self.key_of(id)).flatten()
    }

    fn burn_in(&mut self, now: Instant, number: u32, messages: u32) -> Option<FlowKey> {
        let (key, flow) = self.inn.at(number)?;
        flow.fuse = None;
        let expired = flow.expire(now, messages);
        if let Some(at) = flow.expires() {
            set_fuse(&mut self.fuses, &mut flow.fuse, at, Side::In, number);
        }
        let (key, id) = (key.clone(), flow.id);
        // Without a number, this session has not opened the flow; then it is told with the answer to the opening.
        for (id, offset) in id
            .into_iter()
            .flat_map(|id| expired.iter().map(move |offset| (id, *offset)))
        {
            self.settle(id, offset, true);
        }
        (!expired.is_empty()).then_some(key)
    }
}

/// A flow is looked after at this time at the latest.
pub(super) fn set_fuse(
    fuses: &mut BTreeSet<(Instant, Side, u32)>,
    fuse: &mut Option<Instant>,
    at: Instant,
    side: Side,
    number: u32,
) {
    if fuse.is_some_and(|set| set <= at) {
        return;
    }
    if let Some(later) = fuse.replace(at) {
        fuses.remove(&(later, side, number));
    }
    fuses.insert((at, side, number));
}
