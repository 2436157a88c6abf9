//! Parties in one process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use flexbond_transport::Message;

use super::carrier::{Arrival, Carrier};
use super::name::PartyId;

/// How many packets wait for a party before those that send to it wait.
const CAPACITY: usize = 1024;

/// A network in memory, for tests and for jobs of several parties on one machine. Nothing is copied.
///
/// A clone is the same network.
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork {
    mailboxes: Arc<Mutex<Mailboxes>>,
}

/// One party's end of a [`MemoryNetwork`].
#[derive(Debug)]
pub struct MemoryCarrier {
    network: MemoryNetwork,
    party: PartyId,
    number: u64,
}

#[derive(Debug, Default)]
struct Mailboxes {
    /// Two may claim to be the same party: both get what is for it.
    by_party: BTreeMap<PartyId, Vec<Mailbox>>,
    last: u64,
}

#[derive(Debug, Default)]
struct Mailbox {
    number: u64,
    packets: VecDeque<Message>,
    lost: VecDeque<PartyId>,
    reader: Option<Waker>,
    writers: Vec<Waker>,
}

impl MemoryNetwork {
    /// A network that nobody has joined.
    #[must_use]
    pub fn new() -> Self {
        MemoryNetwork::default()
    }

    /// An end for this party.
    #[must_use]
    pub fn carrier(&self, party: PartyId) -> MemoryCarrier {
        let mut mailboxes = self.lock();
        mailboxes.last += 1;
        let number = mailboxes.last;
        mailboxes
            .by_party
            .entry(party.clone())
            .or_default()
            .push(Mailbox {
                number,
                ..Mailbox::default()
            });
        drop(mailboxes);
        MemoryCarrier {
            network: self.clone(),
            party,
            number,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Mailboxes> {
        // A panic elsewhere leaves nothing half done: every change is made in one go.
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Carrier for MemoryCarrier {
    fn poll_send(&mut self, cx: &mut Context<'_>, to: &PartyId, packet: &mut Option<Message>) -> Poll<()> {
        let mut mailboxes = self.network.lock();
        let Some(targets) = mailboxes.by_party.get_mut(to) else {
            *packet = None;
            return Poll::Ready(());
        };
        if let Some(full) = targets
            .iter_mut()
            .find(|mailbox| mailbox.packets.len() >= CAPACITY)
        {
            if !full.writers.iter().any(|waker| waker.will_wake(cx.waker())) {
                full.writers.push(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let Some(packet) = packet.take() else {
            return Poll::Ready(());
        };
        for mailbox in targets {
            mailbox.packets.push_back(packet.clone());
            if let Some(reader) = mailbox.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(())
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        let mut mailboxes = self.network.lock();
        let own = mailboxes.by_party.get_mut(&self.party);
        let Some(own) = own.and_then(|all| all.iter_mut().find(|mailbox| mailbox.number == self.number))
        else {
            return Poll::Pending;
        };
        if let Some(packet) = own.packets.pop_front() {
            own.writers.drain(..).for_each(Waker::wake);
            return Poll::Ready(Arrival::Packet(packet));
        }
        if let Some(lost) = own.lost.pop_front() {
            return Poll::Ready(Arrival::Lost(lost));
        }
        own.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_memory(&self) -> bool {
        true
    }
}

impl Drop for MemoryCarrier {
    fn drop(&mut self) {
        let mut mailboxes = self.network.lock();
        if let Some(own) = mailboxes.by_party.get_mut(&self.party) {
            for gone in own.extract_if(.., |mailbox| mailbox.number == self.number) {
                gone.writers.into_iter().for_each(Waker::wake);
            }
            if own.is_empty() {
                mailboxes.by_party.remove(&self.party);
            }
        }
        for mailbox in mailboxes.by_party.values_mut().flatten() {
            if !mailbox.lost.contains(&self.party) {
                mailbox.lost.push_back(self.party.clone());
            }
            if let Some(reader) = mailbox.reader.take() {
                reader.wake();
            }
        }
    }
}
