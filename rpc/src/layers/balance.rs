//! One client of several servers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use flexbond_session::socket::IntoEndpoint;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tower::Service;
use tower::load::Load;

use super::deadline::of_whole;
use crate::client::{Call, Calling, Client, ClientError, Options};
use crate::error::CallError;
use crate::request::{Request, Response};

/// A client of several servers, any of which can answer: each call goes to the less busy one of two that are chosen by
/// chance from those that are connected, which is nearly as good as the least busy of all and keeps clients from all
/// choosing the same (Mitzenmacher, "The power of two choices in randomized load balancing", 2001). A server that is
/// gone has no calls until it is back; a slow one has fewer.
///
/// While none is connected, a call waits for the first one that is, as long as its time and
/// [`Options::wait_for_connection`] allow. A call whose server goes before it was sent goes to another. What may have run
/// is not made again here: that is up to [`Retry`](super::Retry) around it. Clones are cheap, and share connections.
///
/// A [`Client`] is a [`Load`] as well, so that tower's own balancer does with a list of services that changes; other
/// than this one, it may choose a server that is gone when two are.
///
/// ```
/// # #[cfg(feature = "inproc")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use flexbond_rpc::layers::Balanced;
/// use flexbond_rpc::{Call, Client, Failure, Methods, Server};
/// use tower::balance::p2c::Balance;
/// use tower::discover::ServiceList;
///
/// for endpoint in ["inproc://one", "inproc://two"] {
///     let methods = Methods::new().add("hello", async |name: String| Ok::<_, Failure>(format!("hello {name}")))?;
///     let server = Server::new(methods);
///     server.bind(endpoint).await?;
///     tokio::spawn(server.run());
/// }
/// let servers = Balanced::connect(["inproc://one", "inproc://two", "inproc://nobody"])?;
/// let hello: String = servers.method("hello").value("you").await?;
/// assert_eq!(hello, "hello you");
///
/// // The same by tower's:
/// let clients = [Client::connect("inproc://one")?, Client::connect("inproc://two")?];
/// let balance = Balance::new(ServiceList::new::<flexbond_rpc::Request>(clients));
/// let hello: String = Call::new(balance, "hello").value("tower").await?;
/// assert_eq!(hello, "hello tower");
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "inproc"))]
/// # fn main() {}
/// ```
pub struct Balanced {
    clients: Arc<[Client]>,
    /// Whether calls wait while none is connected.
    waits: bool,
    /// One that keeps a place for the next call.
    chosen: Option<Client>,
    /// Where the next call waits, while none has room.
    queue: Option<Queue>,
}

/// Who waits at all that are connected, for the first that has room.
struct Queue {
    /// Those that are connected, by their index.
    places: Vec<(usize, Client)>,
    /// Each is ready when its client comes or goes: one that comes has room, and a place at one that goes is no use.
    turns: FuturesUnordered<BoxFuture<'static, usize>>,
}

impl Queue {
    fn new(clients: &[Client]) -> Self {
        let mut queue = Queue {
            places: Vec::new(),
            turns: FuturesUnordered::new(),
        };
        (0..clients.len()).for_each(|index| queue.look(clients, index));
        queue
    }

    /// Waits at a client if it is connected, and for that to change.
    fn look(&mut self, clients: &[Client], index: usize) {
        let client = clients[index].clone();
        let is_up = client.is_connected();
        self.places.retain(|(place, _)| *place != index);
        if is_up {
            self.places.push((index, client.clone()));
        }
        self.turns.push(Box::pin(async move {
            client.turned(is_up).await;
            index
        }));
    }

    /// Polls for a place at any; none when none is connected.
    fn poll_place(&mut self, clients: &[Client], cx: &mut Context<'_>) -> Poll<Option<Client>> {
        while let Poll::Ready(Some(index)) = self.turns.poll_next_unpin(cx) {
            self.look(clients, index);
        }
        // A client may have gone since: a place there is held until that is told.
        let mut is_any_up = false;
        let ready = self.places.iter_mut().position(|(_, client)| {
            let is_up = client.is_connected();
            is_any_up |= is_up;
            is_up && matches!(client.poll_ready(cx), Poll::Ready(Ok(())))
        });
        match ready {
            Some(ready) => Poll::Ready(Some(self.places.swap_remove(ready).1)),
            None if is_any_up => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

impl Balanced {
    /// A client of the servers at `endpoints`, with default options.
    ///
    /// # Errors
    /// [`ClientError`] for what can never be connected to, or when there is no endpoint.
    pub fn connect(endpoints: impl IntoIterator<Item = impl IntoEndpoint>) -> Result<Self, ClientError> {
        Self::with_options(endpoints, &Options::default())
    }

    /// The same with the given options.
    ///
    /// # Errors
    /// [`ClientError`] for what can never be connected to, an option that is out of bounds, or when there is no
    /// endpoint.
    pub fn with_options(
        endpoints: impl IntoIterator<Item = impl IntoEndpoint>,
        options: &Options,
    ) -> Result<Self, ClientError> {
        let endpoints = endpoints.into_iter();
        // No call is to wait for one of them while there are others.
        let single = options.clone().wait_for_connection(false);
        let clients: Result<Vec<_>, _> = endpoints
            .map(|endpoint| Client::with_options(endpoint, single.clone()))
            .collect();
        Ok(Balanced {
            waits: options.wait_for_connection,
            ..Self::new(clients?)?
        })
    }

    /// A client that calls by any of these. Where their [`Options::wait_for_connection`] is set, a call that one of them
    /// has already waits for that one.
    ///
    /// # Errors
    /// [`ClientError::NoEndpoint`] when there is none.
    pub fn new(clients: impl IntoIterator<Item = Client>) -> Result<Self, ClientError> {
        let clients: Arc<[Client]> = clients.into_iter().collect();
        if clients.is_empty() {
            return Err(ClientError::NoEndpoint);
        }
        Ok(Balanced {
            waits: clients[0].options().wait_for_connection,
            clients,
            chosen: None,
            queue: None,
        })
    }

    /// The clients of the single servers.
    #[must_use]
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// A call of `method`, to be put together: with the codec and the window of the first client.
    pub fn method(&self, method: impl AsRef<str>) -> Call<Balanced> {
        // There is one at least.
        self.clients[0].method(method).by(self.clone())
    }

    /// The less busy one of two by chance, among those that are connected.
    fn choose(clients: &[Client]) -> Option<&Client> {
        // As a rule all are connected, and two are looked at only.
        if clients.len() > 2 {
            let one = fastrand::usize(..clients.len());
            let other = (one + fastrand::usize(1..clients.len())) % clients.len();
            let (one, other) = (&clients[one], &clients[other]);
            if let (Some(load), Some(others)) = (one.connected_load(), other.connected_load()) {
                // Which of them is the first is by chance already.
                return Some(if load <= others { one } else { other });
            }
        }
        let mut pair: [Option<(&Client, usize)>; 2] = [None, None];
        let mut seen = 0;
        for client in clients {
            let Some(load) = client.connected_load() else {
                continue;
            };
            seen += 1;
            let place = match seen {
                1 | 2 => seen - 1,
                // Each pair is as likely as any other.
                _ => fastrand::usize(..seen),
            };
            if let Some(place) = pair.get_mut(place) {
                *place = Some((client, load));
            }
        }
        match pair {
            [Some((one, load)), Some((other, others))] => match load.cmp(&others) {
                std::cmp::Ordering::Less => Some(one),
                std::cmp::Ordering::Greater => Some(other),
                std::cmp::Ordering::Equal => Some([one, other][fastrand::usize(..2)]),
            },
            [one, _] => one.map(|(client, _)| client),
        }
    }

    /// Polls for a place at the one that is chosen or, if it has none, at any that has.
    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<Option<Client>> {
        if self.queue.is_none() {
            let Some(chosen) = Self::choose(&self.clients) else {
                return Poll::Ready(None);
            };
            let mut chosen = chosen.clone();
            if chosen.poll_ready(cx).is_ready() {
                return Poll::Ready(Some(chosen));
            }
        }
        let queue = self.queue.get_or_insert_with(|| Queue::new(&self.clients));
        let chosen = std::task::ready!(queue.poll_place(&self.clients, cx));
        self.queue = None;
        Poll::Ready(chosen)
    }
}

impl Service<Request> for Balanced {
    type Response = Response;
    type Error = CallError;
    type Future = Balancing;

    /// Ready when one of those that are connected has room for a call, or when none is connected: then the call waits
    /// for the first that is.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        // One that was lost since it was chosen is no choice any more.
        if self.chosen.as_ref().is_none_or(|chosen| !chosen.is_connected()) {
            self.chosen = std::task::ready!(self.poll_place(cx));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Balancing {
        let search = Search {
            clients: Arc::clone(&self.clients),
            waits: self.waits,
            begun: Instant::now(),
        };
        let Some(mut client) = self.chosen.take() else {
            return Balancing {
                chosen: None,
                again: None,
                later: Some(Box::pin(search.call(request))),
            };
        };
        let copy = self.waits.then(|| request.try_clone()).flatten();
        Balancing {
            chosen: Some(Service::call(&mut client, request)),
            again: copy.map(|copy| (search, copy)),
            later: None,
        }
    }
}

/// A call that looks for a server.
struct Search {
    clients: Arc<[Client]>,
    waits: bool,
    begun: Instant,
}

impl Search {
    /// Calls by the first that is connected; again by another, when it goes before the call was sent.
    async fn call(self, mut request: Request) -> Result<Response, CallError> {
        let clients = &self.clients;
        let named = request.timeout;
        let timeout = named.or(clients[0].options().timeout);
        loop {
            if self.waits && !self.is_any_up(timeout).await? {
                // There will never be a connection, and each of the clients says why.
                return clients[0].request(request).await;
            }
            let chosen = Balanced::choose(clients);
            let client = chosen.unwrap_or_else(|| &clients[fastrand::usize(..clients.len())]);
            if let Some(limit) = timeout {
                request.timeout = named;
                request.waited(limit, self.begun.elapsed());
            }
            let copy = self.waits.then(|| request.try_clone()).flatten();
            match (client.request(request).await, copy) {
                (Err(error), Some(copy)) if is_unsent(&error) => request = copy,
                (answer, _) => return answer.map_err(|error| of_whole(error, timeout)),
            }
        }
    }

    /// Whether one is connected in time. If not, there will never be one.
    async fn is_any_up(&self, timeout: Option<Duration>) -> Result<bool, CallError> {
        let up = async {
            let mut up: FuturesUnordered<_> = self.clients.iter().map(Client::up).collect();
            while let Some(is_up) = up.next().await {
                if is_up {
                    return true;
                }
            }
            false
        };
        let Some(timeout) = timeout else {
            return Ok(up.await);
        };
        let left = timeout.saturating_sub(self.begun.elapsed());
        tokio::time::timeout(left, up)
            .await
            .map_err(|_| CallError::DeadlineExceeded {
                timeout,
                unconnected: Some(format!(
                    "none of {} servers is there; the first: {}",
                    self.clients.len(),
                    self.clients[0].trouble().unwrap_or_default()
                )),
            })
    }
}

/// Whether a call was not sent for want of a connection.
fn is_unsent(error: &CallError) -> bool {
    matches!(
        error,
        CallError::Unconnected { .. } | CallError::Disconnected { sent: false, .. }
    )
}

/// A call by one of several servers. Dropping it cancels the call.
#[must_use = "a call whose future is dropped is cancelled"]
pub struct Balancing {
    /// The call by the one that was chosen.
    chosen: Option<Calling>,
    /// What is to be done if it is not sent.
    again: Option<(Search, Request)>,
    later: Option<BoxFuture<'static, Result<Response, CallError>>>,
}

impl Future for Balancing {
    type Output = Result<Response, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(chosen) = &mut self.chosen {
            let answer = std::task::ready!(Pin::new(chosen).poll(cx));
            match self.again.take() {
                Some((search, request)) if answer.as_ref().is_err_and(is_unsent) => {
                    self.chosen = None;
                    self.later = Some(Box::pin(search.call(request)));
                }
                _ => return Poll::Ready(answer),
            }
        }
        match &mut self.later {
            Some(later) => later.as_mut().poll(cx),
            None => Poll::Ready(Err(CallError::Closed)),
        }
    }
}

impl Load for Balanced {
    type Metric = usize;

    /// That of the least busy one.
    fn load(&self) -> usize {
        self.clients.iter().map(Load::load).min().unwrap_or_default()
    }
}

/// What a place is kept for stays with the original.
impl Clone for Balanced {
    fn clone(&self) -> Self {
        Balanced {
            clients: Arc::clone(&self.clients),
            waits: self.waits,
            chosen: None,
            queue: None,
        }
    }
}

impl fmt::Debug for Balanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clients.iter()).finish()
    }
}

impl fmt::Debug for Balancing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Balancing")
    }
}
