//! Signs of life: when to ask for one, and when to give the peer up.

use std::time::{Duration, Instant};

use super::{Heartbeat, ProtocolError, Transmit};

/// The timers of an established connection.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// When the peer was last heard.
    heard: Instant,
    /// When to send the next PING.
    ping_at: Option<Instant>,
    /// When the peer is given up unless it is heard before; armed by a PING.
    answer_by: Option<Instant>,
    /// How long the peer promised, in its last PING, never to stay silent.
    promised: Option<Duration>,
    /// Before this, silence means nothing: the peer has not heard us either.
    excused_until: Option<Instant>,
    /// Nobody reads what the peer sends, so its silence means nothing.
    paused: bool,
}

impl Pulse {
    pub(crate) fn new(now: Instant) -> Self {
        Pulse {
            heard: now,
            ping_at: None,
            answer_by: None,
            promised: None,
            excused_until: None,
            paused: false,
        }
    }

    /// Starts to send PINGs.
    pub(crate) fn start(&mut self, now: Instant, heartbeat: &Heartbeat) {
        self.ping_at = now.checked_add(heartbeat.interval);
    }

    /// Any byte from the peer is life.
    #[inline]
    pub(crate) fn handle_read(&mut self, now: Instant) {
        self.heard = now;
        self.answer_by = None;
        self.excused_until = None;
    }

    /// The peer's PING came with this time to live, in tenths of a second; zero takes a promise back.
    pub(crate) fn handle_ping(&mut self, ttl: u16) {
        self.promised = (ttl > 0).then(|| Duration::from_millis(100) * u32::from(ttl));
    }

    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    /// The peer gets its full time again: what it sent meanwhile could not be seen.
    pub(crate) fn resume(&mut self, now: Instant) {
        if self.paused {
            self.paused = false;
            self.handle_read(now);
        }
    }

    /// How long the peer may be silent; none if for ever.
    pub(crate) fn patience(&self, heartbeat: Option<&Heartbeat>) -> Option<Duration> {
        heartbeat.map(|heartbeat| heartbeat.timeout).max(self.promised)
    }

    /// The peer may be silent for this much longer.
    pub(crate) fn excuse(&mut self, now: Instant, more: Duration) {
        self.excused_until = self.excused_until.max(now.checked_add(more));
    }

    fn answer_by(&self) -> Option<Instant> {
        Some(self.answer_by?.max(self.excused_until.unwrap_or(self.heard)))
    }

    fn expires_at(&self) -> Option<Instant> {
        let expires = self.heard.checked_add(self.promised?)?;
        Some(expires.max(self.excused_until.unwrap_or(self.heard)))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let mut timers = [self.ping_at, None, None];
        if !self.paused {
            timers[1] = self.answer_by();
            timers[2] = self.expires_at();
        }
        timers.into_iter().flatten().min()
    }

    /// Whether a PING is due.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        heartbeat: Option<&Heartbeat>,
    ) -> Result<bool, ProtocolError> {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if !self.paused {
            if passed(self.answer_by()) {
                return Err(ProtocolError::HeartbeatTimeout);
            }
            if passed(self.expires_at()) {
                return Err(ProtocolError::TtlExpired);
            }
        }
        let Some(heartbeat) = heartbeat.filter(|_| passed(self.ping_at)) else {
            return Ok(false);
        };
        self.ping_at = now.checked_add(heartbeat.interval);
        if self.answer_by.is_none() && !self.paused {
            self.answer_by = now.checked_add(heartbeat.timeout);
        }
        Ok(true)
    }
}

/// Our bytes that the system does not take. As long as they wait, so do the PINGs behind them; and the system takes none
/// because the peer does not read, which its program may have reasons for, or because it is gone.
#[derive(Debug)]
pub(crate) struct Stall {
    waiting: bool,
    sent: u64,
    /// When more than before was last seen to be sent.
    moved: Instant,
}

impl Stall {
    pub(crate) fn new(now: Instant) -> Self {
        Stall {
            waiting: false,
            sent: 0,
            moved: now,
        }
    }

    /// How long the silence of a peer of this `patience` is excused from now on: no longer than it takes nothing for
    /// `limit`, and once more when all has left.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        transmit: &Transmit,
        limit: Option<Duration>,
        patience: Duration,
    ) -> Option<Duration> {
        let waiting = !transmit.is_empty();
        let has_waited = std::mem::replace(&mut self.waiting, waiting);
        if !waiting || !has_waited || transmit.sent() > self.sent {
            self.sent = transmit.sent();
            self.moved = now;
        }
        match limit {
            _ if !waiting => has_waited.then_some(patience),
            None => Some(patience),
            Some(limit) => {
                let stalled = now.saturating_duration_since(self.moved);
                limit.checked_sub(stalled).map(|left| left.min(patience))
            }
        }
    }
}

/// PONGs in the transmit queue: a peer that sends PINGs and does not read must not fill our memory.
#[derive(Debug, Default)]
pub(crate) struct Pongs {
    queued: u32,
    /// Where in the transmit queue the last one ends.
    last: u64,
}

impl Pongs {
    const LIMIT: u32 = 64;

    /// Whether one more may be queued, when so many bytes were ever sent. If not, the peer has dozens of answers to read
    /// already; one more would tell it nothing.
    pub(crate) fn has_room(&mut self, sent: u64) -> bool {
        if sent >= self.last {
            self.queued = 0;
        }
        self.queued < Self::LIMIT
    }

    /// One was queued that ends here.
    pub(crate) fn handle_queued(&mut self, end: u64) {
        self.last = end;
        self.queued += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn started() -> (Pulse, Heartbeat, Instant) {
        let now = Instant::now();
        let mut heartbeat = Heartbeat::new(SECOND);
        heartbeat.timeout = 3 * SECOND;
        let mut pulse = Pulse::new(now);
        pulse.start(now, &heartbeat);
        (pulse, heartbeat, now)
    }

    #[test]
    fn silence_after_a_ping_is_death() {
        let (mut pulse, heartbeat, now) = started();
        assert_eq!(pulse.poll_timeout(), Some(now + SECOND));
        for second in 1..4 {
            let sent = pulse.handle_timeout(now + second * SECOND, Some(&heartbeat));
            assert_eq!(sent, Ok(true));
        }
        // The first PING went out at 1 s.
        assert_eq!(
            pulse.handle_timeout(now + 4 * SECOND, Some(&heartbeat)),
            Err(ProtocolError::HeartbeatTimeout)
        );
    }

    #[test]
    fn any_traffic_is_life() {
        let (mut pulse, heartbeat, mut now) = started();
        for _ in 0..100 {
            now += SECOND;
            assert_eq!(pulse.handle_timeout(now, Some(&heartbeat)), Ok(true));
            pulse.handle_read(now + SECOND / 2);
        }
    }

    #[test]
    fn a_promise_must_be_kept() {
        let now = Instant::now();
        let mut pulse = Pulse::new(now);
        assert_eq!(pulse.poll_timeout(), None);
        pulse.handle_ping(20);
        assert_eq!(pulse.poll_timeout(), Some(now + 2 * SECOND));
        pulse.handle_read(now + SECOND);
        assert_eq!(pulse.handle_timeout(now + 2 * SECOND, None), Ok(false));
        assert_eq!(
            pulse.handle_timeout(now + 3 * SECOND, None),
            Err(ProtocolError::TtlExpired)
        );
        pulse.handle_ping(0);
        assert_eq!(pulse.poll_timeout(), None);
    }

    #[test]
    fn a_pause_stops_the_clock_of_death_and_not_the_pings() {
        let (mut pulse, heartbeat, now) = started();
        pulse.handle_ping(5);
        pulse.pause();
        for second in 1..60 {
            let sent = pulse.handle_timeout(now + second * SECOND, Some(&heartbeat));
            assert_eq!(sent, Ok(true));
        }
        let later = now + 60 * SECOND;
        pulse.resume(later);
        assert_eq!(pulse.poll_timeout(), Some(later));
        assert_eq!(pulse.handle_timeout(later, Some(&heartbeat)), Ok(true));
        assert_eq!(pulse.poll_timeout(), Some(later + SECOND / 2));
        assert_eq!(
            pulse.handle_timeout(later + SECOND, Some(&heartbeat)),
            Err(ProtocolError::TtlExpired)
        );
    }
}
