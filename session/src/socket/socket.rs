//! One socket of any pattern.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flexbond_transport::{Endpoint, EndpointError};
use flexbond_wire::zmtp::SocketType;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::core::{Core, Stop, StopWatch, deadline, shorten};
use super::dialer::{CurrentLane, Dialer};
use super::listener::listen;
use super::monitor::{Event, Monitor};
use super::security::{check_bound, check_reach};
use super::stats::{PeerStats, Stats};
use super::{BindError, ConnectError, LimitMeter, OptionError, Options, ReleaseError, SubscribeError};

/// One socket of any pattern: the common ground of [`Push`](super::Push), [`Req`](super::Req) and the others,
/// which offer only what their pattern can do. Use this one where the pattern is decided at run time.
///
/// A clone is another handle to the same socket. When the last handle is dropped, the socket closes in the
/// background: what is queued is still sent for at most [`Options::linger`]. [`close`](Self::close) waits for
/// that.
///
/// ```
/// use flexbond_session::socket::{Socket, SocketType};
///
/// # #[cfg(feature = "tcp")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pull = Socket::new(SocketType::Pull);
/// let endpoint = pull.bind("tcp://127.0.0.1:0").await?;
///
/// let push = Socket::new(SocketType::Push);
/// push.connect(&endpoint)?;
/// push.send("hello").await?;
/// assert_eq!(&pull.recv().await?[0], b"hello");
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tcp"))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct Socket {
    handle: Arc<SocketHandle>,
}

struct SocketHandle {
    core: Arc<Core>,
    endpoints: Mutex<Vec<Entry>>,
    /// Endpoints given up whose queues are still being drained.
    leaving: Mutex<Vec<watch::Sender<Stop>>>,
}

/// One endpoint that the socket is bound or connected to.
struct Entry {
    endpoint: Endpoint,
    bound: bool,
    stop: watch::Sender<Stop>,
    /// The lane of a connected endpoint, to be taken out of use at once.
    current: Option<CurrentLane>,
}

/// What was left when a socket was closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// Messages that were still queued at the end of linger, over all peers.
    pub undelivered: u64,
}

/// A text or value that names an endpoint.
pub trait IntoEndpoint {
    /// The endpoint.
    ///
    /// # Errors
    /// When the text is not an endpoint: what is wrong with it, and where.
    fn into_endpoint(self) -> Result<Endpoint, EndpointError>;
}

impl IntoEndpoint for Endpoint {
    fn into_endpoint(self) -> Result<Endpoint, EndpointError> {
        Ok(self)
    }
}

impl IntoEndpoint for &Endpoint {
    fn into_endpoint(self) -> Result<Endpoint, EndpointError> {
        Ok(self.clone())
    }
}

impl IntoEndpoint for &str {
    fn into_endpoint(self) -> Result<Endpoint, EndpointError> {
        self.parse()
    }
}

impl IntoEndpoint for &String {
    fn into_endpoint(self) -> Result<Endpoint, EndpointError> {
        self.parse()
    }
}

impl IntoEndpoint for String {
    fn into_endpoint(self) -> Result<Endpoint, EndpointError> {
        self.parse()
    }
}

impl Socket {
    /// A socket with default options.
    #[must_use]
    pub fn new(socket_type: SocketType) -> Self {
        let core = Core::new(socket_type, Options::default());
        Socket {
            handle: SocketHandle::new(core),
        }
    }

    /// A socket with the given options.
    ///
    /// # Errors
    /// The first option that is out of bounds.
    pub fn with_options(socket_type: SocketType, options: Options) -> Result<Self, OptionError> {
        options.validate()?;
        let core = Core::new(socket_type, options);
        Ok(Socket {
            handle: SocketHandle::new(core),
        })
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    /// The pattern.
    #[must_use]
    pub fn socket_type(&self) -> SocketType {
        self.core().socket_type
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.core().options
    }

    /// Listens at `endpoint` and returns the endpoint as bound, port 0 replaced by the real port.
    ///
    /// # Errors
    /// [`BindError`]; the socket is unchanged then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    pub async fn bind(&self, endpoint: impl IntoEndpoint) -> Result<Endpoint, BindError> {
        let endpoint = endpoint.into_endpoint()?;
        let core = self.core();
        if core.is_closed() {
            return Err(BindError::Closed);
        }
        if !check_reach(&core.options, &endpoint) {
            return Err(BindError::ClearText { endpoint });
        }
        let listener = core.registry().bind(&endpoint, &core.link_options).await?;
        let bound = listener.local_endpoint().clone();
        if !check_bound(&core.options, &bound) {
            return Err(BindError::ClearText { endpoint: bound });
        }
        let (stop, watch) = StopWatch::channel();
        let guard = core.guard();
        // Said and noted before the task can have anything to say.
        core.emit(&Event::Listening {
            endpoint: bound.clone(),
        });
        self.handle.endpoints.lock().push(Entry {
            endpoint: bound.clone(),
            bound: true,
            stop,
            current: None,
        });
        let task = listen(Arc::clone(core), listener, watch);
        tokio::spawn(async move {
            task.await;
            drop(guard);
        });
        Ok(bound)
    }

    /// Starts to connect to `endpoint` and returns at once; the connection is made, and made again whenever it is
    /// lost, in the background. Messages may be sent straight away (unless [`Options::immediate`] is set).
    ///
    /// # Errors
    /// [`ConnectError`] for what can never work; the socket is unchanged then. Everything else is reported to
    /// [`monitor`](Self::monitor) and tried again.
    pub fn connect(&self, endpoint: impl IntoEndpoint) -> Result<Endpoint, ConnectError> {
        let endpoint = endpoint.into_endpoint()?;
        let core = self.core();
        if core.is_closed() {
            return Err(ConnectError::Closed);
        }
        if !check_reach(&core.options, &endpoint) {
            return Err(ConnectError::ClearText { endpoint });
        }
        let runtime = Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let (dialer, first) = Dialer::new(core, endpoint.clone())?;
        let current = Some(dialer.current());
        let (stop, watch) = StopWatch::channel();
        let guard = core.guard();
        runtime.spawn(async move {
            dialer.run(first, watch).await;
            drop(guard);
        });
        let mut endpoints = self.handle.endpoints.lock();
        if core.is_closed() {
            // Closed by another handle meanwhile, which did not see this endpoint. Looked at under the lock, which
            // closing takes after it has said so.
            shorten(&stop, core.stop_deadline());
        }
        endpoints.push(Entry {
            endpoint: endpoint.clone(),
            bound: false,
            stop,
            current,
        });
        drop(endpoints);
        Ok(endpoint)
    }

    /// Stops listening at `endpoint`. Connections that were accepted there stay.
    ///
    /// # Errors
    /// [`ReleaseError`] when the socket is not bound there.
    pub async fn unbind(&self, endpoint: impl IntoEndpoint) -> Result<(), ReleaseError> {
        let endpoint = endpoint.into_endpoint()?;
        let entry = self.take_entry(&endpoint, true)?;
        entry.stop.send_replace(Stop::Drain(None));
        // The task drops its watch when the listener is gone.
        entry.stop.closed().await;
        Ok(())
    }

    /// Gives up the connection to `endpoint`. What is queued for it is still sent, for at most
    /// [`Options::linger`]; nothing more is queued.
    ///
    /// # Errors
    /// [`ReleaseError`] when the socket is not connected there.
    pub fn disconnect(&self, endpoint: impl IntoEndpoint) -> Result<(), ReleaseError> {
        let endpoint = endpoint.into_endpoint()?;
        let entry = self.take_entry(&endpoint, false)?;
        // In this order: a lane that becomes ready after the one is taken out by its task, before it by the other.
        shorten(&entry.stop, deadline(self.options().linger));
        let lane = entry.current.and_then(|current| current.lock().clone());
        if let Some(lane) = lane {
            self.core().pattern.detach(&lane);
        }
        self.handle.leave(entry.stop);
        Ok(())
    }

    fn take_entry(&self, endpoint: &Endpoint, bound: bool) -> Result<Entry, ReleaseError> {
        let mut endpoints = self.handle.endpoints.lock();
        match endpoints
            .iter()
            .position(|entry| entry.bound == bound && entry.endpoint == *endpoint)
        {
            Some(index) => Ok(endpoints.remove(index)),
            None => Err(ReleaseError::Unknown {
                endpoint: endpoint.clone(),
            }),
        }
    }

    /// The endpoints that the socket listens at, as bound, oldest first.
    #[must_use]
    pub fn bound(&self) -> Vec<Endpoint> {
        let endpoints = self.handle.endpoints.lock();
        endpoints
            .iter()
            // A listener that ended for good has dropped its watch.
            .filter(|entry| entry.bound && !entry.stop.is_closed())
            .map(|entry| entry.endpoint.clone())
            .collect()
    }

    /// A stream of what happens to the socket's connections from now on.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        self.core().watchers.add()
    }

    /// What has passed through the socket.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core().stats()
    }

    /// What reads how often peers met each limit, wherever the socket is; [`stats`](Self::stats) has it, too.
    #[must_use]
    pub fn limit_meter(&self) -> LimitMeter {
        self.core().watchers.limits()
    }

    /// What has passed between the socket and each of its peers, by age.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStats> {
        self.core().peers()
    }

    /// Subscribes to everything that begins with `topic`; the empty topic is everything.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing changed.
    pub fn subscribe(&self, topic: impl AsRef<[u8]>) -> Result<(), SubscribeError> {
        self.change_subscription(topic.as_ref(), true)
    }

    /// Ends one subscription to `topic`. A topic that was subscribed to twice is still received.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing changed.
    pub fn unsubscribe(&self, topic: impl AsRef<[u8]>) -> Result<(), SubscribeError> {
        self.change_subscription(topic.as_ref(), false)
    }

    fn change_subscription(&self, topic: &[u8], on: bool) -> Result<(), SubscribeError> {
        if self.core().is_closed() {
            return Err(SubscribeError::Closed);
        }
        self.core().pattern.subscribe(topic, on)
    }

    /// Closes the socket, for all of its handles, and waits until what is queued was handed to the system, for at
    /// most [`Options::linger`]. Messages not yet received are dropped.
    ///
    /// Messages handed to the system reach a peer that lives, but nobody confirms it: a peer may die with them.
    ///
    /// # Cancel safety
    /// Once polled, the socket closes in the background even if the future is dropped.
    pub async fn close(&self) -> Closed {
        self.close_within(self.options().linger).await
    }

    /// As [`close`](Self::close), with another linger: zero drops what is queued, `None` waits for ever.
    ///
    /// # Cancel safety
    /// Once polled, the socket closes in the background even if the future is dropped.
    pub async fn close_within(&self, linger: Option<Duration>) -> Closed {
        self.handle.begin_close(linger);
        self.core().ended().await;
        Closed {
            undelivered: self.core().undelivered.get(),
        }
    }
}

impl AsRef<Socket> for Socket {
    fn as_ref(&self) -> &Socket {
        self
    }
}

impl SocketHandle {
    fn new(core: Arc<Core>) -> Arc<Self> {
        Arc::new(SocketHandle {
            core,
            endpoints: Mutex::default(),
            leaving: Mutex::default(),
        })
    }

    /// Keeps the stop of an endpoint that is being drained, so that closing can shorten it.
    fn leave(&self, stop: watch::Sender<Stop>) {
        let mut leaving = self.leaving.lock();
        leaving.retain(|stop| !stop.is_closed());
        if self.core.is_closed() {
            shorten(&stop, self.core.stop_deadline());
        }
        leaving.push(stop);
    }

    fn begin_close(&self, linger: Option<Duration>) {
        self.core.begin_close(linger);
        let until = deadline(linger);
        let mut leaving = self.leaving.lock();
        leaving.extend(self.endpoints.lock().drain(..).map(|entry| entry.stop));
        leaving.retain(|stop| !stop.is_closed());
        leaving.iter().for_each(|stop| shorten(stop, until));
    }
}

impl Drop for SocketHandle {
    fn drop(&mut self) {
        if !self.core.is_closed() {
            self.begin_close(self.core.options.linger);
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("socket_type", &self.socket_type())
            .field("bound", &self.bound())
            .finish_non_exhaustive()
    }
}
