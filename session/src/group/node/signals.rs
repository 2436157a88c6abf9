//! How the rounds of barriers end: what the coordinator says of it, and to whom.

use std::time::Instant;

use flexbond_wire::group::{Abort, List, MAX_FAILED, Packet, Release};

use super::Node;
use crate::group::MemberId;
use crate::group::barrier::{Outcome, Signal};
use crate::group::flow::Target;

impl Node {
    /// Says what the hub of a barrier has to say.
    pub(super) fn send_signals(&mut self, now: Instant, channel: u16) {
        loop {
            let hosted = self.channels.hosted.get_mut(&channel);
            let Some(hub) = hosted.and_then(|hosted| hosted.hub.as_mut()) else {
                return;
            };
            let Some(signal) = hub.poll_signal() else {
                return;
            };
            let seats: Vec<_> = hub.seats().collect();
            self.send_signal(now, channel, &seats, &signal);
        }
    }

    /// Says once more how the last rounds ended: whoever has not heard it could not ask any more.
    pub(super) fn repeat_outcomes(&mut self, now: Instant) {
        let mut last = Vec::new();
        for (&channel, hosted) in &self.channels.hosted {
            if let Some(hub) = &hosted.hub
                && let Some((round, outcome)) = hub.last()
            {
                last.extend(hub.seats().map(|member| {
                    let to = Some(member);
                    let outcome = outcome.clone();
                    (channel, Signal { to, round, outcome })
                }));
            }
        }
        for (channel, signal) in last {
            self.send_signal(now, channel, &[], &signal);
        }
    }

    fn send_signal(&mut self, now: Instant, channel: u16, seats: &[MemberId], signal: &Signal) {
        let failed: Vec<u32>;
        let round = signal.round;
        let packet = match &signal.outcome {
            Outcome::Released => Packet::Release(Release { channel, round }),
            Outcome::Aborted(members) => {
                failed = members.iter().take(MAX_FAILED).map(|member| member.0).collect();
                Packet::Abort(Abort {
                    channel,
                    round,
                    failed: List::new(&failed),
                })
            }
        };
        let me = self.outbox.me();
        if signal.to.is_none_or(|to| to == me)
            && let Some(seat) = self.channels.seats.get_mut(&channel)
        {
            seat.handle_outcome(now, round, signal.outcome.clone());
            self.news = true;
        }
        match signal.to {
            Some(member) => {
                if let Some(to) = self.peers.address(member) {
                    self.outbox.push(to, Target::One(member), &packet);
                }
            }
            None => {
                let all = self
                    .peers
                    .some(self.settings.multicast, |member| seats.contains(&member));
                self.outbox.push_to_all(&all, &packet);
            }
        }
    }
}
