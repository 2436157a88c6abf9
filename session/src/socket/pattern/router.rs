//! ROUTER (RFC 28): every message to the peer that its first frame names.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use flexbond_transport::pipe::{PipeReceiver, PipeSender, PushError, pipe};
use flexbond_transport::{Frame, Message};
use flexbond_wire::zmtp::SocketType;
use parking_lot::Mutex;

use super::dealer::probe;
use super::{Batched, Pattern, Reach, Refusal, Unsent};
use crate::socket::fair_queue::FairQueue;
use crate::socket::lane::Lane;
use crate::socket::peer::Peer;
use crate::socket::route::unreachable;
use crate::socket::wakers::{WakerSet, forwarding_waker};
use crate::socket::{Options, RecvError, RouterNotify, SendErrorKind, SubscribeError};

pub(crate) struct Router {
    table: Mutex<Table>,
    queue: FairQueue,
    /// Where the messages of `router_notify` wait; made when the option is on.
    notices: Option<PipeSender<Message>>,
    waiters: Arc<WakerSet>,
    room: Waker,
    mandatory: bool,
    handover: bool,
    notify: RouterNotify,
    probe: bool,
    connect_routing_id: Bytes,
    /// The lane of notices and of messages for nobody.
    nobody: Arc<Lane>,
}

#[derive(Default)]
struct Table {
    by_id: HashMap<Bytes, Arc<Lane>>,
    last_automatic: u32,
}

impl Table {
    /// A routing id for a peer that brings none: a zero byte and a number (RFC 28).
    fn automatic(&mut self) -> Bytes {
        loop {
            self.last_automatic = self.last_automatic.wrapping_add(1);
            let [a, b, c, d] = self.last_automatic.to_be_bytes();
            let id = Bytes::copy_from_slice(&[0, a, b, c, d]);
            if !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }

    fn register(&mut self, id: Bytes, lane: &Arc<Lane>) {
        lane.set_alias(&id);
        self.by_id.insert(id, Arc::clone(lane));
    }

    fn forget(&mut self, lane: &Lane) {
        let id = lane.alias();
        if self
            .by_id
            .get(&*id)
            .is_some_and(|holder| holder.id() == lane.id())
        {
            self.by_id.remove(&*id);
        }
    }
}

impl Router {
    pub(crate) fn new(options: &Options) -> Self {
        let waiters = Arc::new(WakerSet::default());
        let queue = FairQueue::new();
        let nobody = Lane::direct(Peer::unknown(0, notices_endpoint()), pipe(1).0, Arc::default());
        let notices = (options.router_notify != RouterNotify::Off).then(|| {
            // Each notice follows a connection, so `max_peers` bounds how fast they come; a full queue drops some.
            let (tx, rx) = pipe(Options::capacity(options.recv_hwm));
            queue.add(Arc::clone(&nobody), rx);
            tx
        });
        Router {
            table: Mutex::new(Table {
                last_automatic: fastrand::u32(..),
                ..Table::default()
            }),
            queue,
            notices,
            room: forwarding_waker(Arc::clone(&waiters)),
            waiters,
            mandatory: options.router_mandatory,
            handover: options.router_handover,
            notify: options.router_notify,
            probe: options.probe_router,
            connect_routing_id: options.connect_routing_id.clone(),
            nobody,
        }
    }

    fn notice(&self, id: Frame) {
        if let Some(notices) = &self.notices {
            let _ = notices.try_push(Message::from([id, Frame::new()]), None);
        }
    }
}

/// The endpoint shown for what comes from the socket itself.
pub(super) fn notices_endpoint() -> flexbond_transport::Endpoint {
    "inproc://self".parse().expect("a valid endpoint")
}

impl Pattern for Router {
    /// With a `connect_routing_id` the peer can be written to before it is known.
    fn open(&self, lane: &Arc<Lane>) {
        let mut table = self.table.lock();
        if !self.connect_routing_id.is_empty() && !table.by_id.contains_key(&self.connect_routing_id) {
            table.register(self.connect_routing_id.clone(), lane);
        }
    }

    fn feed(&self, lane: &Arc<Lane>, rx: PipeReceiver<Message>) -> Option<PipeReceiver<Message>> {
        self.queue.add(Arc::clone(lane), rx);
        None
    }

    fn ready(&self, lane: &Arc<Lane>) -> Result<(), Refusal> {
        let mut table = self.table.lock();
        let announced = lane.peer().routing_id().clone();
        let known = lane.alias();
        // The name given at connect, or an automatic one, stays over reconnects.
        let id = if !known.is_empty() && (known == self.connect_routing_id || announced.is_empty()) {
            known.into_bytes()
        } else if announced.is_empty() {
            table.automatic()
        } else {
            announced
        };
        if let Some(holder) = table.by_id.get(&id)
            && holder.id() != lane.id()
        {
            if !self.handover {
                return Err(Refusal::new("its routing id is in use"));
            }
            holder.end("its routing id was taken over by a newer connection");
        }
        table.forget(lane);
        table.register(id, lane);
        drop(table);
        if self.probe {
            probe(lane);
        }
        if matches!(self.notify, RouterNotify::Connect | RouterNotify::Both) {
            self.notice(lane.alias());
        }
        self.waiters.wake_all();
        Ok(())
    }

    fn lost(&self, lane: &Arc<Lane>) {
        if matches!(self.notify, RouterNotify::Disconnect | RouterNotify::Both) {
            let alias = lane.alias();
            // A name that was handed over meanwhile still has its peer.
            let holds = self
                .table
                .lock()
                .by_id
                .get(&*alias)
                .is_some_and(|holder| holder.id() == lane.id());
            if holds {
                self.notice(alias);
            }
        }
    }

    fn detach(&self, lane: &Arc<Lane>) {
        self.table.lock().forget(lane);
        self.waiters.wake_all();
    }

    fn try_send(&self, message: &mut Message) -> Result<Reach, Unsent> {
        if message.len() < 2 {
            return Err(Unsent::Failed(SendErrorKind::Incomplete(true)));
        }
        let table = self.table.lock();
        let Some(lane) = table.by_id.get(&message[0]) else {
            if self.mandatory {
                let id = Bytes::copy_from_slice(&message[0]);
                return Err(Unsent::Failed(SendErrorKind::Unreachable(id)));
            }
            self.nobody.counters.dropped.add(1);
            return Ok(Reach::Nobody);
        };
        let Some(id) = message.pop_front() else {
            return Ok(Reach::Nobody);
        };
        let size = message.size();
        match lane.try_push(message, self.mandatory.then_some(&self.room)) {
            Ok(()) => lane.counters.sent(1, size),
            Err(PushError::Full(())) if self.mandatory => {
                message.push_front(id);
                return Err(Unsent::Full);
            }
            Err(PushError::Closed(())) if self.mandatory => {
                let kind = SendErrorKind::Unreachable(id.clone().into_bytes());
                message.push_front(id);
                return Err(Unsent::Failed(kind));
            }
            Err(PushError::Full(()) | PushError::Closed(())) => lane.drop_messages(1),
        }
        Ok(Reach::Some)
    }

    fn try_recv(&self, from: Option<&mut Option<Peer>>) -> Result<Option<Message>, RecvError> {
        let received = self.queue.try_recv_with(|lane, place| {
            if let Some(from) = from {
                *from = Some(lane.peer_at(place));
            }
            // Notices carry the routing id already.
            (lane.id() != self.nobody.id()).then(|| lane.alias_at(place))
        });
        Ok(received.map(|(alias, mut message)| {
            if let Some(alias) = alias {
                message.push_front(alias);
            }
            message
        }))
    }

    fn try_send_by(
        &self,
        lane: &Arc<Lane>,
        message: &mut Message,
        waker: Option<&Waker>,
    ) -> Result<(), Unsent> {
        let size = message.size();
        // Who holds it may count.
        let _counts = self.table.lock();
        match lane.try_push(message, waker) {
            Ok(()) => {
                lane.counters.sent(1, size);
                Ok(())
            }
            Err(PushError::Full(())) => Err(Unsent::Full),
            Err(PushError::Closed(())) => Err(unreachable(lane)),
        }
    }

    fn recv_batch(&self, messages: &mut Vec<Message>, limit: usize) -> Result<Option<Batched>, RecvError> {
        Ok(self.queue.recv_batch(messages, limit))
    }

    fn send_waiters(&self) -> Option<&WakerSet> {
        Some(&self.waiters)
    }

    fn recv_waiters(&self) -> Option<&WakerSet> {
        Some(self.queue.waiters())
    }

    fn subscribe(&self, _topic: &[u8], _on: bool) -> Result<(), SubscribeError> {
        Err(SubscribeError::Unsupported(SocketType::Router))
    }

    fn dropped(&self) -> u64 {
        self.nobody.counters.dropped.get()
    }

    fn sources(&self) -> usize {
        // One of them is the socket's own.
        self.queue.sources() - usize::from(self.notices.is_some())
    }

    fn close(&self) {
        self.queue.clear();
        self.waiters.wake_all();
    }
}
