//! A rank's part of the control protocol: hears who lives, and says that it does itself. Without I/O.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::notice::{Entry, Notice, Request};

/// What the rank has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Epoch {
        number: u32,
        members: Vec<Entry>,
    },
    /// These ranks of the epoch are dead.
    Failed {
        epoch: u32,
        ranks: Vec<u32>,
    },
    Left {
        id: u32,
    },
    /// This rank asks to be connected to.
    Knock {
        id: u32,
    },
    /// The server has let this rank go.
    Goodbye,
    /// There will be nothing more.
    Lost(Loss),
}

/// Why the rank is on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    Server,
    Expelled,
}

#[derive(Debug)]
pub(super) struct Attendant {
    heartbeat: Duration,
    dead_after: Duration,
    heard: Instant,
    next_beat: Instant,
    epoch: u32,
    /// Ids of the epoch by rank.
    members: Vec<u32>,
    /// The epoch has ended by a death.
    failed: bool,
    suspicions: Vec<(u32, Instant)>,
    is_over: bool,
    requests: VecDeque<Request>,
    events: VecDeque<Event>,
}

impl Attendant {
    /// What the server gets on top of `dead_after` to say who is dead, before this rank decides for itself.
    const VERDICT: Duration = Duration::from_millis(400);
    /// The server's numbers are not trusted to the point of never sleeping.
    const SHORTEST_BEAT: Duration = Duration::from_millis(1);

    /// Of a rank that was welcomed with these times.
    pub(super) fn new(now: Instant, heartbeat: Duration, dead_after: Duration) -> Self {
        let heartbeat = heartbeat.clamp(Self::SHORTEST_BEAT, Duration::from_secs(60 * 60));
        Attendant {
            heartbeat,
            dead_after: dead_after.clamp(heartbeat, Duration::from_secs(24 * 60 * 60)),
            heard: now,
            next_beat: now + heartbeat,
            epoch: 0,
            members: Vec::new(),
            failed: false,
            suspicions: Vec::new(),
            is_over: false,
            requests: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    pub(super) fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn advance(&mut self, epoch: u32) {
        self.requests.push_back(Request::Advance { epoch });
    }

    pub(super) fn knock(&mut self, id: u32) {
        self.requests.push_back(Request::Knock { id });
    }

    pub(super) fn leave(&mut self) {
        self.requests.push_back(Request::Leave);
    }

    /// The connection to this rank broke: the server is asked, and has until the deadline to answer.
    pub(super) fn suspect(&mut self, now: Instant, id: u32) {
        let known = self.suspicions.iter().any(|(other, _)| *other == id);
        if self.failed || known || !self.members.contains(&id) {
            return;
        }
        let epoch = self.epoch;
        self.requests.push_back(Request::Suspect { epoch, id });
        self.suspicions.push((id, now + self.dead_after + Self::VERDICT));
    }

    pub(super) fn handle_notice(&mut self, now: Instant, notice: Notice) {
        self.heard = now;
        match notice {
            Notice::Welcome { .. } | Notice::Refused(_) | Notice::Beat => {}
            Notice::Epoch { number, members } => {
                self.epoch = number;
                self.members = members.iter().map(|member| member.id).collect();
                self.failed = false;
                self.suspicions.clear();
                self.events.push_back(Event::Epoch { number, members });
            }
            Notice::Failed { epoch, ranks } => self.fail(epoch, ranks),
            Notice::Left { id } => {
                self.suspicions.retain(|(other, _)| *other != id);
                self.events.push_back(Event::Left { id });
            }
            Notice::Knock { id } => self.events.push_back(Event::Knock { id }),
            Notice::Goodbye => self.events.push_back(Event::Goodbye),
            Notice::Expelled => self.lose(Loss::Expelled),
        }
    }

    /// The connection to the server is gone.
    pub(super) fn handle_closed(&mut self) {
        self.lose(Loss::Server);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_beat {
            // Where this very process stood still, it has not listened either.
            let late = now - self.next_beat;
            if late > self.heartbeat {
                self.heard = (self.heard + late).min(now);
            }
            self.next_beat = now + self.heartbeat;
            self.requests.push_back(Request::Beat);
        }
        if now >= self.heard + self.dead_after {
            self.lose(Loss::Server);
        }
        let due = |(id, until): &(u32, Instant)| (now >= *until).then_some(*id);
        let mut ranks: Vec<u32> = self
            .suspicions
            .iter()
            .filter_map(due)
            .filter_map(|id| self.members.iter().position(|member| *member == id))
            .map(|rank| rank as u32)
            .collect();
        if !ranks.is_empty() {
            ranks.sort_unstable();
            self.fail(self.epoch, ranks);
        }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        let silent = self.heard + self.dead_after;
        let suspected = self.suspicions.iter().map(|(_, until)| *until).min();
        let due = self.next_beat.min(silent);
        suspected.map_or(due, |suspected| suspected.min(due))
    }

    fn fail(&mut self, epoch: u32, ranks: Vec<u32>) {
        if epoch == self.epoch && !self.failed {
            self.failed = true;
            self.suspicions.clear();
            self.events.push_back(Event::Failed { epoch, ranks });
        }
    }

    fn lose(&mut self, loss: Loss) {
        if !self.is_over {
            self.is_over = true;
            self.suspicions.clear();
            self.events.push_back(Event::Lost(loss));
        }
    }
}

#[cfg(test)]
mod tests;
