//! What is still to be said to members of broadcast groups that are over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::requests::is_later;
use crate::group::MemberId;

/// Whom to tell that a broadcast group is over, because they had not confirmed everything: again and again, until they
/// have heard it. One notice for each member and group at most, however often groups of that number come and go: who
/// joins the next one has heard of the end of the one before.
#[derive(Debug, Default)]
pub(super) struct Notices(BTreeMap<(u16, MemberId), Notice>);

#[derive(Debug)]
struct Notice {
    /// The request by which the member came in.
    request: u32,
    /// Below which segment it must have everything in order to lack nothing.
    end: u64,
    /// When to say it, and how long to wait then.
    at: Instant,
    pause: Duration,
}

/// What is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) channel: u16,
    pub(super) member: MemberId,
    pub(super) request: u32,
    pub(super) end: u64,
}

impl Notices {
    /// Pauses between saying it again, the first and the longest.
    const FIRST_PAUSE: Duration = Duration::from_millis(10);
    const LONGEST_PAUSE: Duration = Duration::from_millis(500);

    /// A group is over for a member that came in by this request.
    pub(super) fn add(&mut self, now: Instant, said: Said) {
        let notice = Notice {
            request: said.request,
            end: said.end,
            at: now,
            pause: Self::FIRST_PAUSE,
        };
        self.0.insert((said.channel, said.member), notice);
    }

    /// A member has said something about a group in this request, which tells that it knows of the end of what it came
    /// into by the same one or an earlier one.
    pub(super) fn confirm(&mut self, channel: u16, member: MemberId, request: u32) {
        let key = (channel, member);
        if let Some(notice) = self.0.get(&key)
            && !is_later(notice.request, request)
        {
            self.0.remove(&key);
        }
    }

    /// Somebody is gone.
    pub(super) fn forget_member(&mut self, member: MemberId) {
        self.0.retain(|(_, known), _| *known != member);
    }

    /// What is to be said now.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Said> {
        let (&(channel, member), notice) = self.0.iter_mut().find(|(_, notice)| notice.at <= now)?;
        notice.at = now + notice.pause;
        notice.pause = (2 * notice.pause).min(Self::LONGEST_PAUSE);
        Some(Said {
            channel,
            member,
            request: notice.request,
            end: notice.end,
        })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().map(|notice| notice.at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_heard_is_told_less_and_less_often_until_it_has() {
        let (mut now, mut notices) = (Instant::now(), Notices::default());
        let said = Said {
            channel: 5,
            member: MemberId(3),
            request: 7,
            end: 100,
        };
        notices.add(now, said);
        for pause in [10, 20, 40, 80, 160, 320, 500, 500] {
            assert_eq!(notices.poll(now), Some(said));
            assert_eq!(notices.poll(now), None);
            now += Duration::from_millis(pause);
            assert_eq!(notices.poll_timeout(), Some(now));
        }
        notices.confirm(5, MemberId(3), 6);
        notices.confirm(5, MemberId(4), 7);
        notices.confirm(6, MemberId(3), 7);
        assert_eq!(notices.poll(now), Some(said), "that was something else");
        notices.confirm(5, MemberId(3), 7);
        assert_eq!((notices.poll_timeout(), notices.poll(now)), (None, None));
        for request in [8, u32::MAX / 2] {
            notices.add(now, said);
            notices.confirm(5, MemberId(3), request);
            assert_eq!(notices.poll_timeout(), None, "it joins the next one, or has gone");
        }
        notices.add(now, said);
        notices.forget_member(MemberId(3));
        assert_eq!(notices.poll_timeout(), None);
    }
}
