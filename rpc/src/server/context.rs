//! What a handler can know of who calls.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flexbond_session::socket::Peer;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Who calls, and until when. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    connection: Connection,
    deadline: Option<Instant>,
}

impl Context {
    pub(crate) fn new(connection: Connection, deadline: Option<Instant>) -> Self {
        Context { connection, deadline }
    }

    /// The connection that the call came by.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// How long the caller still waits; none for ever. Pass it on to the calls that this one makes.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }
}

/// One connection of a server, with what its handlers keep for it. A clone is the same connection.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    peer: Peer,
    state: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Connection {
    pub(crate) fn new(peer: Peer) -> Self {
        Connection(Arc::new(Inner {
            peer,
            state: Mutex::default(),
        }))
    }

    /// The other end: its address, its routing id, the user that its credentials proved it to be and, over tls, whose
    /// certificate it showed.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// What the handlers keep of type `T` for this connection, made by `make` when it is first asked for. It lives as
    /// long as the connection and the calls that came by it.
    pub fn state<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let key = TypeId::of::<T>();
        if let Some(state) = self.find(key) {
            return state;
        }
        // Made without the lock: it may take its time, or ask for other state.
        let made: Arc<dyn Any + Send + Sync> = Arc::new(make());
        self.0.state.lock().entry(key).or_insert(made);
        match self.find(key) {
            Some(state) => state,
            None => unreachable!("just inserted, and nothing is ever removed"),
        }
    }

    fn find<T: Send + Sync + 'static>(&self, key: TypeId) -> Option<Arc<T>> {
        let state = self.0.state.lock().get(&key).cloned()?;
        state.downcast().ok()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.0.peer).finish()
    }
}
