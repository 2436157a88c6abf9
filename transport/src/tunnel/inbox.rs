//! What comes in on all connections: those that have something are read in turn, and only while somebody receives.

use std::collections::{HashMap, VecDeque};
use std::io::IoSliceMut;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

use super::connection::Connection;
use super::inlet::{End, Inlet, Spare};
use super::woken::{Signal, Woken};
use crate::Received;

/// How many buffers a connection fills before others get their turn.
const TURN: usize = 4;

/// The receiving halves of all connections.
///
/// Each of them is polled with a waker of its own, which notes that it has something; so a connection on which nothing
/// happens costs nothing. Nothing is read ahead of who receives: what is not read waits at the peer.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct State {
    inlets: HashMap<u64, Entry>,
    /// Those that may have something, in the order in which they are looked at.
    turn: VecDeque<u64>,
    spare: Spare,
    closed: bool,
}

struct Entry {
    inlet: Inlet,
    signal: Arc<Signal>,
    waker: Waker,
}

/// What is to become of a connection that has been looked at.
enum Look {
    /// It may have more.
    Again,
    /// It has nothing, or is among the woken again.
    Asleep,
    Over(End),
}

impl Inbox {
    /// Receives from a connection, too.
    pub(super) fn insert(&self, id: u64, inlet: Inlet) {
        let signal = Signal::new(id, &self.woken);
        let entry = Entry {
            inlet,
            waker: Waker::from(Arc::clone(&signal)),
            signal: Arc::clone(&signal),
        };
        let mut state = self.state.lock();
        let refused = if state.closed {
            Some(entry)
        } else {
            state.inlets.insert(id, entry)
        };
        drop(state);
        drop(refused);
        // It is read for the first time, so that its waker is known.
        signal.wake_by_ref();
    }

    /// Receives from a connection no longer, whatever has come.
    pub(super) fn remove(&self, id: u64) {
        let entry = self.state.lock().inlets.remove(&id);
        drop(entry);
    }

    /// Receives no longer from any.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let entries = std::mem::take(&mut state.inlets);
        drop(state);
        drop(entries);
    }

    /// Fills buffers; returns how many. Calls `over` for each connection that has ended, and which is removed then.
    pub(super) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
        mut over: impl FnMut(Arc<Connection>, End),
    ) -> Poll<usize> {
        let room = buffers.len().min(received.len());
        if room == 0 {
            return Poll::Ready(0);
        }
        let mut ended = Vec::new();
        let mut filled = 0;
        let mut guard = self.state.lock();
        let state = &mut *guard;
        self.woken.append_to(&mut state.turn);
        // Who always has something, but no whole packet, must not keep this going for ever.
        let mut looks = 2 * state.turn.len().max(room);
        while filled < room && looks > 0 {
            looks -= 1;
            let Some(id) = state.turn.pop_front() else { break };
            let Some(entry) = state.inlets.get_mut(&id) else {
                continue;
            };
            let share = (filled + TURN).min(room);
            let buffers = &mut buffers[filled..share];
            let (count, look) = entry.look(buffers, &mut received[filled..share], &mut state.spare);
            filled += count;
            match look {
                Look::Again => state.turn.push_back(id),
                Look::Asleep => {}
                Look::Over(end) => ended.extend(state.inlets.remove(&id).map(|entry| (entry, end))),
            }
        }
        let more = !state.turn.is_empty();
        drop(guard);
        for (entry, end) in ended {
            over(entry.inlet.into_connection(), end);
        }
        if filled > 0 {
            return Poll::Ready(filled);
        }
        if self.woken.wait(cx.waker().clone()) || more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Entry {
    /// Fills buffers as far as there is something; returns how many.
    fn look(
        &mut self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
        spare: &mut Spare,
    ) -> (usize, Look) {
        let mut filled = 0;
        // Twice as often as there are buffers: a read may bring no more than part of a packet.
        for _ in 0..2 * TURN {
            if filled == buffers.len() {
                break;
            }
            match self.inlet.fill(&mut buffers[filled]) {
                Err(end) => return (filled, Look::Over(end)),
                Ok(Some(what)) => {
                    received[filled] = what;
                    filled += 1;
                    continue;
                }
                Ok(None) => {}
            }
            self.signal.clear();
            match self.inlet.poll_more(&mut Context::from_waker(&self.waker), spare) {
                Poll::Pending => return (filled, Look::Asleep),
                Poll::Ready(Err(end)) => return (filled, Look::Over(end)),
                // Woken meanwhile, it is on the list already.
                Poll::Ready(Ok(())) if self.signal.note() => {
                    return (filled, Look::Asleep);
                }
                Poll::Ready(Ok(())) => {}
            }
        }
        (filled, Look::Again)
    }
}
