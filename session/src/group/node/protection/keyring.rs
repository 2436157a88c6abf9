//! The keys of a session's epochs, as far as a node has them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use flexbond_wire::group::{Envelope, EpochKey, Header, SenderKey};

use super::Refusal;
use crate::group::MemberId;

/// The keys of a session's epochs, as far as a node has them, and what opens the packets of each sender.
#[derive(Debug)]
pub(super) struct KeyRing {
    session: u64,
    me: MemberId,
    /// The newest epoch that is known here.
    epoch: u32,
    /// The first epoch whose packets are opened.
    since: Option<u32>,
    newest: Span,
    /// What was the newest before, the latest first.
    older: VecDeque<Span>,
    openers: BTreeMap<MemberId, Opener>,
    /// Which epoch each other is known to be in, or past, and since which packet of it.
    switched: BTreeMap<MemberId, (u32, u64)>,
    /// How long packets of an old key are opened.
    grace: Duration,
    /// How many packets of one sender in one epoch make a new epoch due.
    enough: u64,
    tired: bool,
}

/// Epochs with the same key.
#[derive(Debug)]
struct Span {
    first: u32,
    /// The newest that is known to have this key.
    last: u32,
    key: EpochKey,
    /// When it is forgotten, once there is a newer one.
    until: Option<Instant>,
}

/// What opens the packets of a sender in its newest epoch: to derive it takes longer than to use it.
#[derive(Debug)]
struct Opener {
    epoch: u32,
    /// Where the epoch's span begins. Nothing older is taken of this sender any more.
    floor: u32,
    /// The first packet that was opened.
    number: u64,
    /// The last one that can be of this epoch, as far as is known.
    last: u64,
    key: SenderKey,
}

impl KeyRing {
    /// Old keys that are kept.
    const MAX_OLDER: usize = 16;

    /// The ring of a node that begins with `key` in this epoch. It opens nothing before a view [begins](Self::begin).
    pub(super) fn new(session: u64, me: MemberId, epoch: u32, key: EpochKey, grace: Duration) -> Self {
        KeyRing {
            session,
            me,
            epoch,
            since: None,
            newest: Span {
                first: epoch,
                last: epoch,
                key,
                until: None,
            },
            older: VecDeque::new(),
            openers: BTreeMap::new(),
            switched: BTreeMap::new(),
            grace,
            enough: SenderKey::MAX_SEALED / 2,
            tired: false,
        }
    }

    /// A new epoch is due once a sender has sent so many packets in one.
    pub(super) fn tire_after(&mut self, packets: u64) {
        self.enough = packets;
    }

    /// Opens packets before the first view, too: the coordinator's own, there is nobody to take one from.
    pub(super) fn open_at_once(&mut self) {
        self.since = Some(self.epoch);
    }

    /// Whether a new epoch is due.
    pub(super) fn is_tired(&self) -> bool {
        self.tired
    }

    /// A view begins, and with it an epoch.
    pub(super) fn begin(&mut self, now: Instant, epoch: u32, key: EpochKey) {
        self.since.get_or_insert(epoch);
        self.epoch = epoch;
        self.tired = false;
        if key == self.newest.key {
            self.newest.last = epoch;
            return;
        }
        let newest = Span {
            first: epoch,
            last: epoch,
            key,
            until: None,
        };
        let mut before = std::mem::replace(&mut self.newest, newest);
        before.until = Some(now + self.grace);
        self.older.push_front(before);
        self.older.truncate(Self::MAX_OLDER);
        self.forget_openers();
    }

    pub(super) fn me(&self) -> MemberId {
        self.me
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn session(&self) -> u64 {
        self.session
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn newest(&self) -> &EpochKey {
        &self.newest.key
    }

    /// All keys, the newest first.
    #[cfg(test)]
    pub(super) fn keys(&self) -> Vec<EpochKey> {
        let spans = std::iter::once(&self.newest).chain(&self.older);
        spans.map(|span| span.key.clone()).collect()
    }

    /// What this node's own packets are sealed with.
    pub(super) fn sealing(&self) -> SenderKey {
        self.sealing_as(self.me)
    }

    /// What a member's packets are sealed with.
    pub(super) fn sealing_as(&self, member: MemberId) -> SenderKey {
        self.newest.key.sender_key(self.session, self.epoch, member.0)
    }

    /// A member seals in this epoch, or a newer one, since packet `number` of it: what has a higher number and is of an
    /// epoch before is somebody else's who has the old key.
    pub(super) fn note_switch(&mut self, member: MemberId, epoch: u32, number: u64) {
        let known = self.switched.get(&member);
        if known.is_some_and(|(newest, since)| *newest > epoch || *newest == epoch && *since <= number) {
            return;
        }
        self.switched.insert(member, (epoch, number));
        if let Some(opener) = self.openers.get_mut(&member)
            && opener.epoch < epoch
        {
            opener.last = number;
        }
    }

    /// Opens a packet where it is.
    pub(super) fn open(&mut self, envelope: &Envelope, datagram: &mut [u8]) -> Result<(), Refusal> {
        let Header {
            sender,
            epoch,
            number,
            session: _,
        } = envelope.header;
        let sender = MemberId(sender);
        let known = self.openers.get(&sender);
        if let Some(opener) = known
            && opener.epoch == epoch
            && number <= opener.last
        {
            let opened = opener.key.open_in_place(datagram, self.me.0);
            opened.map_err(|_| Refusal::Forged)?;
            // What was used in an epoch that is over matters no more.
            self.tired |= epoch == self.epoch && number.saturating_sub(opener.number) >= self.enough;
            return Ok(());
        }
        let (before, floor) = known.map_or((None, 0), |opener| (Some(opener.epoch), opener.floor));
        let switched = self.switched.get(&sender);
        let last = switched
            .filter(|(newest, _)| epoch < *newest)
            .map_or(u64::MAX, |(_, since)| *since);
        if number > last {
            return Err(Refusal::Forged);
        }
        let span = self.span(epoch).ok_or(Refusal::Unreadable)?;
        if span.first < floor {
            return Err(Refusal::Unreadable);
        }
        let key = span.key.sender_key(self.session, epoch, sender.0);
        if key.open_in_place(datagram, self.me.0).is_err() {
            // Between two views that this node knows, there may have been others with other keys.
            return Err(match epoch <= span.last {
                true => Refusal::Forged,
                false => Refusal::Unreadable,
            });
        }
        if before.is_none_or(|before| before < epoch) {
            let floor = span.first;
            let opener = Opener {
                epoch,
                floor,
                number,
                last,
                key,
            };
            self.openers.insert(sender, opener);
        }
        Ok(())
    }

    /// The newest span in which `epoch` may be.
    fn span(&self, epoch: u32) -> Option<&Span> {
        if self.since.is_none_or(|since| epoch < since) {
            return None;
        }
        let mut spans = std::iter::once(&self.newest).chain(&self.older);
        spans.find(|span| span.first <= epoch)
    }

    /// Somebody is gone.
    pub(super) fn forget(&mut self, member: MemberId) {
        self.openers.remove(&member);
        self.switched.remove(&member);
    }

    /// Drops what opens packets of keys that are not kept any more.
    fn forget_openers(&mut self) {
        let oldest = self.older.back().unwrap_or(&self.newest).first;
        self.openers.retain(|_, opener| opener.epoch >= oldest);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let before = self.older.len();
        self.older
            .retain(|span| span.until.is_none_or(|until| until > now));
        if self.older.len() < before {
            self.forget_openers();
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.older.iter().filter_map(|span| span.until).min()
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use flexbond_wire::group::{Audience, Heartbeat, Packet};

    use super::*;

    const SESSION: u64 = 7;
    const GRACE: Duration = Duration::from_millis(400);

    fn key(byte: u8) -> EpochKey {
        EpochKey::from_random([byte; 32])
    }

    fn ring(epoch: u32, byte: u8) -> KeyRing {
        KeyRing::new(SESSION, MemberId(1), epoch, key(byte), GRACE)
    }

    /// Whether the ring opens a packet of `sender` in `epoch`, sealed with the key made of `byte`.
    fn open(ring: &mut KeyRing, sender: u32, epoch: u32, byte: u8, number: u64) -> Result<(), Refusal> {
        let header = Header {
            session: SESSION,
            sender,
            epoch,
            number,
        };
        let heartbeat = Packet::Heartbeat(Heartbeat {
            sent_at: 1,
            echo: 2,
            echo_delay: 3,
            hears_multicast: false,
        });
        let key = key(byte).sender_key(SESSION, epoch, sender);
        let mut datagram = BytesMut::new();
        heartbeat
            .encode_sealed(&header, &key, Audience::All, &mut datagram)
            .expect("the right key");
        let envelope = Header::peek(&datagram).expect("just written");
        ring.open(&envelope, &mut datagram)
    }

    #[test]
    fn a_new_member_opens_nothing_from_before_its_first_view() {
        let now = Instant::now();
        let mut ring = ring(5, 1);
        assert_eq!(open(&mut ring, 2, 5, 1, 1), Err(Refusal::Unreadable));
        ring.begin(now, 6, key(1));
        assert_eq!(open(&mut ring, 2, 5, 1, 1), Err(Refusal::Unreadable));
        assert_eq!(open(&mut ring, 2, 6, 1, 2), Ok(()));
        assert_eq!(open(&mut ring, 2, 6, 2, 3), Err(Refusal::Forged));
    }

    #[test]
    fn an_old_key_opens_for_a_while_and_not_what_comes_after_it() {
        let now = Instant::now();
        let mut ring = ring(1, 1);
        ring.begin(now, 1, key(1));
        assert_eq!(open(&mut ring, 2, 1, 1, 1), Ok(()));
        ring.begin(now, 2, key(1));
        ring.begin(now, 4, key(2));
        // 3 may have had either key.
        assert_eq!(open(&mut ring, 2, 3, 2, 1), Err(Refusal::Unreadable));
        assert_eq!(open(&mut ring, 2, 3, 1, 1), Ok(()));
        assert_eq!(open(&mut ring, 2, 1, 1, 1), Ok(()), "in flight");
        assert_eq!(open(&mut ring, 3, 2, 1, 1), Ok(()));
        assert_eq!(open(&mut ring, 2, 4, 2, 1), Ok(()));
        assert_eq!(
            open(&mut ring, 2, 3, 1, 1),
            Err(Refusal::Unreadable),
            "it has the new key"
        );
        assert_eq!(open(&mut ring, 3, 2, 1, 1), Ok(()));
        let then = ring.poll_timeout().expect("the old key is forgotten");
        assert_eq!(then, now + GRACE);
        ring.handle_timeout(then);
        assert_eq!(open(&mut ring, 3, 2, 1, 1), Err(Refusal::Unreadable));
        assert_eq!(open(&mut ring, 3, 4, 2, 1), Ok(()));
        assert_eq!(ring.poll_timeout(), None);
    }

    #[test]
    fn what_others_begin_earlier_is_opened_if_the_key_is_the_same() {
        let now = Instant::now();
        let mut ring = ring(1, 1);
        ring.begin(now, 1, key(1));
        assert_eq!(open(&mut ring, 2, 9, 1, 1), Ok(()));
        assert_eq!(open(&mut ring, 2, 10, 2, 1), Err(Refusal::Unreadable));
        assert_eq!(open(&mut ring, 2, 1, 1, 1), Ok(()));
    }

    #[test]
    fn who_has_switched_says_nothing_more_with_an_old_key() {
        let now = Instant::now();
        let mut ring = ring(1, 1);
        ring.begin(now, 1, key(1));
        assert_eq!(open(&mut ring, 2, 1, 1, 10), Ok(()));
        ring.begin(now, 2, key(2));
        ring.begin(now, 3, key(3));
        for sender in [2, 3] {
            // Heard before, or not; and what says so may be said again, or come late.
            ring.note_switch(MemberId(sender), 3, 20);
            ring.note_switch(MemberId(sender), 3, 30);
            ring.note_switch(MemberId(sender), 2, 15);
            for (epoch, byte) in [(1, 1), (2, 2)] {
                assert_eq!(open(&mut ring, sender, epoch, byte, 20), Ok(()), "on its way");
                assert_eq!(open(&mut ring, sender, epoch, byte, 21), Err(Refusal::Forged));
            }
            assert_eq!(open(&mut ring, sender, 3, 3, 21), Ok(()));
        }
        assert_eq!(open(&mut ring, 4, 1, 1, 21), Ok(()), "it may not know yet");
        ring.forget(MemberId(4));
        ring.forget(MemberId(2));
        assert!(ring.switched.keys().eq([&MemberId(3)]));
    }

    #[test]
    fn few_keys_are_kept_and_none_of_who_is_gone() {
        let now = Instant::now();
        let mut ring = ring(0, 0);
        for epoch in 0..100 {
            ring.begin(now, epoch, key(epoch as u8));
            assert_eq!(open(&mut ring, 100 + epoch, epoch, epoch as u8, 1), Ok(()));
        }
        assert_eq!(ring.older.len(), KeyRing::MAX_OLDER);
        assert_eq!(ring.openers.len(), KeyRing::MAX_OLDER + 1);
        ring.forget(MemberId(199));
        assert_eq!(ring.openers.len(), KeyRing::MAX_OLDER);
    }

    #[test]
    fn a_sender_of_many_packets_makes_a_new_epoch_due() {
        let now = Instant::now();
        let mut ring = ring(0, 0);
        ring.begin(now, 0, key(0));
        ring.tire_after(10);
        for number in 100..110 {
            assert_eq!(open(&mut ring, 2, 0, 0, number), Ok(()));
            assert!(!ring.is_tired());
        }
        assert_eq!(open(&mut ring, 2, 0, 0, 110), Ok(()));
        assert!(ring.is_tired());
        ring.begin(now, 1, key(0));
        assert_eq!(open(&mut ring, 2, 0, 0, 111), Ok(()));
        assert!(!ring.is_tired());
    }
}
