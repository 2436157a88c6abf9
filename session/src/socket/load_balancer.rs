//! Sending to many peers, one message to each in turn.

use std::sync::Arc;
use std::task::Waker;

use flexbond_transport::Message;
use flexbond_transport::pipe::PushError;
use parking_lot::Mutex;

use super::lane::Lane;
use super::wakers::{WakerSet, forwarding_waker};

/// The outbound queues of all peers, filled in turn; full ones are passed over.
#[derive(Debug)]
pub(crate) struct LoadBalancer {
    state: Mutex<State>,
    waiters: Arc<WakerSet>,
    room: Waker,
    conflate: bool,
}

#[derive(Debug, Default)]
struct State {
    lanes: Vec<Arc<Lane>>,
    next: usize,
}

impl LoadBalancer {
    pub(crate) fn new(conflate: bool) -> Self {
        let waiters = Arc::new(WakerSet::default());
        LoadBalancer {
            state: Mutex::default(),
            room: forwarding_waker(Arc::clone(&waiters)),
            waiters,
            conflate,
        }
    }

    /// Lets a peer take its turn. Adding it twice changes nothing.
    pub(crate) fn add(&self, lane: &Arc<Lane>) {
        let mut state = self.state.lock();
        if !state.lanes.iter().any(|known| known.id() == lane.id()) {
            state.lanes.push(Arc::clone(lane));
        }
        drop(state);
        self.waiters.wake_all();
    }

    pub(crate) fn remove(&self, lane: &Lane) {
        let mut state = self.state.lock();
        if let Some(index) = state.lanes.iter().position(|known| known.id() == lane.id()) {
            state.lanes.remove(index);
            if state.next > index {
                state.next -= 1;
            }
        }
    }

    /// Queues the message for the next peer that has room; hands it back if none has.
    pub(crate) fn try_send(&self, mut message: Message) -> Result<Arc<Lane>, Message> {
        let mut state = self.state.lock();
        let mut untried = state.lanes.len();
        while untried > 0 {
            untried -= 1;
            if state.next >= state.lanes.len() {
                state.next = 0;
            }
            let next = state.next;
            let lane = &state.lanes[next];
            let size = message.size();
            let pushed = if self.conflate {
                lane.tx()
                    .push_replacing(message)
                    .map(|dropped| lane.count_replaced(dropped))
            } else {
                lane.tx().try_push(message, Some(&self.room))
            };
            match pushed {
                Ok(()) => {
                    lane.counters.sent(size);
                    let lane = Arc::clone(lane);
                    state.next += 1;
                    return Ok(lane);
                }
                Err(PushError::Full(back)) => {
                    message = back;
                    state.next += 1;
                }
                Err(PushError::Closed(back)) => {
                    message = back;
                    state.lanes.remove(next);
                }
            }
        }
        Err(message)
    }

    /// Who to tell when [`try_send`](Self::try_send) may succeed again.
    pub(crate) fn waiters(&self) -> &WakerSet {
        &self.waiters
    }
}

#[cfg(test)]
mod tests {
    use flexbond_transport::pipe::{PipeReceiver, pipe};

    use super::*;
    use crate::socket::Peer;

    fn lane(id: u64, capacity: usize) -> (Arc<Lane>, PipeReceiver<Message>) {
        let (tx, rx) = pipe(capacity);
        (
            Lane::new(
                Peer::unknown(id, "inproc://test".parse().unwrap()),
                tx,
                Arc::default(),
            ),
            rx,
        )
    }

    #[test]
    fn peers_take_turns_and_full_ones_are_passed_over() {
        let balancer = LoadBalancer::new(false);
        let lanes: Vec<_> = [1, 2, 9]
            .iter()
            .enumerate()
            .map(|(id, &room)| lane(id as u64, room))
            .collect();
        for (lane, _) in &lanes {
            balancer.add(lane);
        }
        let order: Vec<_> =
            std::iter::from_fn(|| balancer.try_send(Message::from("x")).ok().map(|lane| lane.id())).collect();
        assert_eq!(order, [0, 1, 2, 1, 2, 2, 2, 2, 2, 2, 2, 2]);
    }

    #[test]
    fn a_closed_peer_leaves_and_the_others_go_on() {
        let balancer = LoadBalancer::new(false);
        let (gone, rx) = lane(0, 1);
        let (stays, _rx) = lane(1, 8);
        balancer.add(&gone);
        balancer.add(&stays);
        drop(rx);
        assert_eq!(balancer.try_send(Message::from("x")).unwrap().id(), 1);
        balancer.remove(&stays);
        assert_eq!(
            balancer.try_send(Message::from("x")).unwrap_err(),
            Message::from("x")
        );
    }
}
