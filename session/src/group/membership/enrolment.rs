//! A member's place in a session: how it gets in, and how it knows that the session is alive.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use flexbond_wire::group::{GoodbyeReason, RejectReason};

use super::Attention;
use super::roster::Nonce;
use crate::group::MemberId;

/// A member's place in a session.
#[derive(Debug)]
pub(crate) struct Enrolment {
    settings: EnrolmentSettings,
    nonce: Nonce,
    /// Those with which to begin again, the next one last.
    spare: Vec<Nonce>,
    attention: Attention,
    state: State,
    events: VecDeque<EnrolmentEvent>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct EnrolmentSettings {
    /// How long to ask to be admitted.
    pub(crate) join_timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) dead_after: Duration,
}

#[derive(Debug)]
enum State {
    /// Asks, with the cookie that it was given.
    Asking {
        cookie: Option<[u8; 32]>,
        until: Instant,
        ask_at: Instant,
        pause: Duration,
    },
    In {
        member: MemberId,
        /// The attended time at which the coordinator was last heard.
        heard: Duration,
        heartbeat_at: Instant,
    },
    /// Says good-bye until it is heard or has said it often enough.
    Leaving {
        left: u32,
        say_at: Instant,
    },
    Out,
}

/// What is to be said to the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Join { cookie: Option<[u8; 32]> },
    Heartbeat,
    Leave,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EnrolmentEvent {
    Joined(MemberId),
    /// The coordinator does not want this member; the text says why.
    Rejected(RejectReason, String),
    /// Nothing was heard for the time allowed.
    NoAnswer,
    /// The coordinator has not been heard for too long.
    CoordinatorDead,
    /// The coordinator sent this member away, or has closed the session.
    Dismissed(GoodbyeReason),
    /// This member has left, as it wanted to.
    Left,
}

impl Enrolment {
    /// Pauses between two questions.
    const FIRST_PAUSE: Duration = Duration::from_millis(20);
    const LONGEST_PAUSE: Duration = Duration::from_millis(250);
    /// How often and in what distance a member says that it leaves.
    const GOODBYES: u32 = 4;
    const GOODBYE_PAUSE: Duration = Duration::from_millis(20);

    /// The place of a member that asks with this nonce, and with one of the spare ones each time that it has to begin
    /// again. All of them are random.
    pub(crate) fn new(now: Instant, nonce: Nonce, spare: &[Nonce], settings: EnrolmentSettings) -> Self {
        Enrolment {
            attention: Attention::new(now, 2 * settings.heartbeat),
            nonce,
            spare: spare.iter().rev().copied().collect(),
            state: State::Asking {
                cookie: None,
                until: now + settings.join_timeout,
                ask_at: now,
                pause: Self::FIRST_PAUSE,
            },
            settings,
            events: VecDeque::new(),
        }
    }

    pub(crate) fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Whether this member asks to be admitted.
    pub(crate) fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking { .. })
    }

    /// The coordinator wants to see that this address is ours. The first time, it is shown at once; a cookie in place of
    /// another one is shown when it is time to ask again. Anybody may have sent it, and it is answered with more bytes
    /// than it has.
    pub(crate) fn handle_retry(&mut self, now: Instant, nonce: Nonce, given: [u8; 32]) {
        if let State::Asking { cookie, ask_at, .. } = &mut self.state
            && nonce == self.nonce
            && cookie.replace(given).is_none()
        {
            *ask_at = now;
        }
    }

    /// The coordinator admits us as `member`, and says how the session is run.
    pub(crate) fn handle_accept(
        &mut self,
        now: Instant,
        nonce: Nonce,
        member: MemberId,
        heartbeat: Duration,
        dead_after: Duration,
    ) {
        if nonce != self.nonce || !matches!(self.state, State::Asking { .. }) {
            return;
        }
        self.settings.heartbeat = heartbeat.max(Duration::from_millis(1));
        self.settings.dead_after = dead_after.max(2 * self.settings.heartbeat);
        self.attention = Attention::new(now, 2 * self.settings.heartbeat);
        self.state = State::In {
            member,
            heard: Duration::ZERO,
            heartbeat_at: now,
        };
        self.events.push_back(EnrolmentEvent::Joined(member));
    }

    /// The coordinator does not admit us. Where it has, and thinks us dead by now because we have never heard of it, we
    /// begin again as somebody new.
    pub(crate) fn handle_reject(&mut self, now: Instant, nonce: Nonce, why: RejectReason, text: String) {
        let State::Asking {
            cookie,
            ask_at,
            pause,
            ..
        } = &mut self.state
        else {
            return;
        };
        if nonce != self.nonce {
            return;
        }
        if why == RejectReason::Spent
            && let Some(next) = self.spare.pop()
        {
            self.nonce = next;
            (*cookie, *ask_at, *pause) = (None, now, Self::FIRST_PAUSE);
            return;
        }
        self.end(EnrolmentEvent::Rejected(why, text));
    }

    /// The coordinator says that we are out.
    pub(crate) fn handle_goodbye(&mut self, why: GoodbyeReason) {
        match self.state {
            State::In { .. } => self.end(EnrolmentEvent::Dismissed(why)),
            State::Leaving { .. } => self.end(EnrolmentEvent::Left),
            State::Asking { .. } | State::Out => {}
        }
    }

    /// Something authentic was heard of the coordinator.
    pub(crate) fn handle_heard(&mut self, now: Instant) {
        let at = self.attention.look(now);
        if let State::In { heard, .. } = &mut self.state {
            *heard = at;
        }
    }

    /// Leaves the session.
    pub(crate) fn leave(&mut self, now: Instant) {
        match self.state {
            State::In { .. } => {
                self.state = State::Leaving {
                    left: Self::GOODBYES,
                    say_at: now,
                }
            }
            State::Asking { .. } => self.end(EnrolmentEvent::Left),
            State::Leaving { .. } | State::Out => {}
        }
    }

    fn end(&mut self, event: EnrolmentEvent) {
        self.state = State::Out;
        self.events.push_back(event);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let at = self.attention.look(now);
        match self.state {
            State::Asking { until, .. } if now >= until => self.end(EnrolmentEvent::NoAnswer),
            State::In { heard, .. } if at >= heard + self.settings.dead_after => {
                self.end(EnrolmentEvent::CoordinatorDead);
            }
            State::Leaving { left: 0, say_at } if now >= say_at => self.end(EnrolmentEvent::Left),
            _ => {}
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Asking { until, ask_at, .. } => Some(until.min(ask_at)),
            State::In {
                heard, heartbeat_at, ..
            } => Some(heartbeat_at.min(self.attention.instant(heard + self.settings.dead_after))),
            State::Leaving { say_at, .. } => Some(say_at),
            State::Out => None,
        }
    }

    /// What is to be said to the coordinator now.
    pub(crate) fn poll_said(&mut self, now: Instant) -> Option<Said> {
        match &mut self.state {
            State::Asking {
                cookie,
                ask_at,
                pause,
                ..
            } if *ask_at <= now => {
                *ask_at = now + *pause;
                *pause = (2 * *pause).min(Self::LONGEST_PAUSE);
                Some(Said::Join { cookie: *cookie })
            }
            State::In { heartbeat_at, .. } if *heartbeat_at <= now => {
                *heartbeat_at = now + self.settings.heartbeat;
                Some(Said::Heartbeat)
            }
            State::Leaving { left, say_at } if *say_at <= now && *left > 0 => {
                *left -= 1;
                *say_at = now + Self::GOODBYE_PAUSE;
                Some(Said::Leave)
            }
            _ => None,
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<EnrolmentEvent> {
        self.events.pop_front()
    }

    /// Who this member is, while it is in.
    pub(crate) fn member(&self) -> Option<MemberId> {
        match self.state {
            State::In { member, .. } => Some(member),
            _ => None,
        }
    }
}
