//! What a member asked of the coordinator about groups, until it is answered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flexbond_wire::group::{ChannelKind, ChannelRefusal};

/// What a member asked of the coordinator, until it is answered. Repeated until then, so that it may be lost.
#[derive(Debug, Default)]
pub(super) struct Requests {
    last: u32,
    open: BTreeMap<u32, Request>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Join(ChannelKind),
    Leave,
}

#[derive(Debug)]
struct Request {
    channel: u16,
    ask: Ask,
    /// How long to ask.
    until: Instant,
    /// When to ask again.
    at: Instant,
    pause: Duration,
    /// Why it was not granted so far.
    refusal: Option<ChannelRefusal>,
    /// The answer: the first round of a barrier, or why not; `Err(None)` if there was none.
    answer: Option<Result<u64, Option<ChannelRefusal>>>,
    /// Whether somebody will take the answer.
    wanted: bool,
}

/// Whether a request was made after another one; their numbers begin again after the last (RFC 1982).
pub(super) fn is_later(request: u32, other: u32) -> bool {
    request.wrapping_sub(other).cast_signed() > 0
}

impl Requests {
    /// As if so many requests had been made.
    #[cfg(test)]
    pub(super) fn advance(&mut self, last: u32) {
        self.last = last;
    }

    /// Pauses between asking again, the first and the longest.
    const FIRST_PAUSE: Duration = Duration::from_millis(5);
    const LONGEST_PAUSE: Duration = Duration::from_millis(100);

    /// Begins to ask; returns the request's number.
    pub(super) fn add(&mut self, now: Instant, channel: u16, ask: Ask, until: Instant) -> u32 {
        // A new word on a group takes the place of one that nobody waits for.
        self.open
            .retain(|_, request| request.wanted || request.channel != channel);
        self.last = self.last.wrapping_add(1);
        let request = Request {
            channel,
            ask,
            until,
            at: now,
            pause: Self::FIRST_PAUSE,
            refusal: None,
            answer: None,
            wanted: true,
        };
        self.open.insert(self.last, request);
        self.last
    }

    /// Nobody will take the answer. What was asked to leave is asked until it is answered all the same.
    pub(super) fn forget(&mut self, number: u32) {
        if let Some(request) = self.open.get_mut(&number) {
            request.wanted = false;
            if request.answer.is_some() || request.ask != Ask::Leave {
                self.open.remove(&number);
            }
        }
    }

    /// Whether it is asked to join a group.
    pub(super) fn is_open(&self, channel: u16) -> bool {
        self.open
            .values()
            .any(|request| request.channel == channel && request.ask != Ask::Leave)
    }

    /// Takes an answer that is there.
    pub(super) fn take(&mut self, number: u32) -> Option<Result<u64, Option<ChannelRefusal>>> {
        let answer = self.open.get(&number)?.answer?;
        self.open.remove(&number);
        Some(answer)
    }

    /// The coordinator has answered; returns what was asked if it is granted, and the first round.
    pub(super) fn handle_reply(
        &mut self,
        now: Instant,
        number: u32,
        channel: u16,
        answer: Result<u64, ChannelRefusal>,
    ) -> Option<(Ask, u64)> {
        let request = self.open.get_mut(&number)?;
        if request.answer.is_some() || request.channel != channel {
            return None;
        }
        let ask = request.ask;
        match answer {
            Err(ChannelRefusal::Unknown) if now < request.until => {
                // The group may be made yet.
                request.refusal = Some(ChannelRefusal::Unknown);
                return None;
            }
            answer => request.answer = Some(answer.map_err(Some)),
        }
        if !request.wanted {
            self.open.remove(&number);
        }
        answer.ok().map(|first| (ask, first))
    }

    /// What is to be asked now: the request's number, the group, and what. `ended` is set if one was asked for long
    /// enough.
    pub(super) fn poll(&mut self, now: Instant, ended: &mut bool) -> Option<(u32, u16, Ask)> {
        let mut due = None;
        self.open.retain(|&number, request| {
            if request.answer.is_some() {
                return true;
            }
            if now >= request.until {
                request.answer = Some(Err(request.refusal));
                *ended = true;
                return request.wanted;
            }
            if due.is_none() && request.at <= now {
                request.at = now + request.pause;
                request.pause = (2 * request.pause).min(Self::LONGEST_PAUSE);
                due = Some((number, request.channel, request.ask));
            }
            true
        });
        due
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.open
            .values()
            .filter(|request| request.answer.is_none())
            .map(|request| request.at.min(request.until))
            .min()
    }
}
