//! Signs of life: when to ask for one, and when to give the peer up.

use std::time::{Duration, Instant};

use super::{Heartbeat, ProtocolError};

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

    /// Whether the answer to a PING should be here by now.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        !self.paused && self.answer_by.is_some_and(|deadline| deadline <= now)
    }

    /// The answer may take this much longer.
    pub(crate) fn postpone(&mut self, now: Instant, timeout: Duration) {
        self.answer_by = now.checked_add(timeout);
    }

    fn expires_at(&self) -> Option<Instant> {
        self.heard.checked_add(self.promised?)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let mut timers = [self.ping_at, None, None];
        if !self.paused {
            timers[1] = self.answer_by;
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
            if passed(self.answer_by) {
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
