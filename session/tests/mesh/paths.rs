//! Paths between ranks that lead nowhere, while both reach the server.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use flexbond_session::mesh::{Mesh, MeshError, MeshOptions, MeshServer};
use flexbond_session::{Endpoint, async_trait};
use flexbond_transport::{
    BindError, ByteStream, ConnectError, Connection, Keepalive, Link, LinkOptions, Listener, Reached,
    Registry, Tcp, Transport,
};

use crate::{Place, server, within};

/// Tcp in a network that swallows whatever passes between ranks, from some moment on. Nobody is told.
struct Swallowing {
    tcp: Tcp,
    server: Endpoint,
    path: Arc<Path>,
}

#[derive(Default)]
struct Path {
    is_cut: AtomicBool,
    /// The system knows that there is no way, and says so at once.
    is_unreachable: AtomicBool,
    /// The other application has to shake hands, and does not.
    is_silent: AtomicBool,
    /// How many connections it carries.
    streams: AtomicUsize,
    /// Who reads from those that the system gives up when it is cut.
    readers: Mutex<Vec<Waker>>,
}

impl Path {
    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.readers.lock().unwrap().drain(..).for_each(Waker::wake);
    }
}

/// One end of a connection between ranks.
struct Swallowed {
    stream: Box<dyn ByteStream>,
    path: Arc<Path>,
    /// The system has been told how long what was sent may go without an answer.
    is_limited: AtomicBool,
}

impl Swallowed {
    fn is_cut(&self) -> bool {
        self.path.is_cut.load(Ordering::SeqCst)
    }
}

impl Drop for Swallowed {
    fn drop(&mut self) {
        self.path.streams.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ByteStream for Swallowed {
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let is_limited = self.is_limited.load(Ordering::SeqCst);
        if is_limited {
            self.path.readers.lock().unwrap().push(cx.waker().clone());
        }
        match self.is_cut() {
            true if is_limited => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            true => Poll::Pending,
            false => self.stream.poll_read(cx, buffer),
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.is_cut() {
            true => Poll::Pending,
            false => self.stream.poll_write(cx, slices),
        }
    }

    fn set_keepalive(&self, keepalive: &Keepalive) -> io::Result<()> {
        self.is_limited
            .store(keepalive.unacknowledged.is_some(), Ordering::SeqCst);
        Ok(())
    }

    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }
}

#[async_trait]
impl Transport for Swallowing {
    async fn bind(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Box<dyn Listener>, BindError> {
        self.tcp.bind(endpoint, options).await
    }

    async fn connect(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Connection, ConnectError> {
        if *endpoint == self.server {
            return self.tcp.connect(endpoint, options).await;
        }
        let path = &self.path;
        if path.is_unreachable.load(Ordering::SeqCst) {
            let source = io::ErrorKind::NetworkUnreachable.into();
            let endpoint = endpoint.clone();
            return Err(ConnectError::Io { endpoint, source });
        }
        if path.is_cut.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let mut connection = self.tcp.connect(endpoint, options).await?;
        if let Link::Stream(stream) = connection.link {
            path.streams.fetch_add(1, Ordering::SeqCst);
            let path = Arc::clone(path);
            let is_limited = AtomicBool::new(false);
            connection.link = Link::Stream(Box::new(Swallowed {
                stream,
                path,
                is_limited,
            }));
        }
        Ok(connection)
    }

    async fn reach(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Reached, ConnectError> {
        let path = Arc::clone(&self.path);
        let is_cut = path.is_cut.load(Ordering::SeqCst);
        if *endpoint == self.server || is_cut || !path.is_silent.load(Ordering::SeqCst) {
            return self.connect(endpoint, options).await.map(Reached::complete);
        }
        let limit = options.keepalive.and_then(|keepalive| keepalive.unacknowledged);
        let endpoint = endpoint.clone();
        path.streams.fetch_add(1, Ordering::SeqCst);
        Ok(Reached::unfinished(async move {
            poll_fn(|cx| {
                path.readers.lock().unwrap().push(cx.waker().clone());
                match path.is_cut.load(Ordering::SeqCst) && limit.is_some() {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
            .await;
            let source = io::ErrorKind::TimedOut.into();
            Err(ConnectError::Io { endpoint, source })
        }))
    }
}

/// Two ranks, the path between them, and their server.
async fn pair(dead_after: Duration, is_cut: bool) -> (MeshServer, Arc<Path>, Vec<Mesh>) {
    let brisk = MeshOptions::new()
        .heartbeat(Duration::from_millis(20))
        .dead_after(dead_after);
    let server = server(Place::Tcp, brisk.size(2)).await;
    let path = Arc::new(Path::default());
    if is_cut {
        path.cut();
    }
    let registry = Registry::empty();
    let swallowing = Swallowing {
        tcp: Tcp::new(),
        server: server.endpoint().clone(),
        path: Arc::clone(&path),
    };
    registry.register("tcp", Arc::new(swallowing)).unwrap();
    let ranks = [0, 1].map(|rank| {
        let options = MeshOptions::new().rank(rank).registry(registry.clone());
        Mesh::join(server.endpoint(), options)
    });
    let meshes = within("all ranks", futures_util::future::try_join_all(ranks))
        .await
        .unwrap();
    (server, path, meshes)
}

/// One of the two has gone on without the other, which knows that it is out.
fn assert_agreed(ended: &[MeshError]) {
    let failed = |error: &&MeshError| matches!(error, MeshError::PeerFailed { .. });
    assert_eq!(ended.iter().filter(failed).count(), 1, "{ended:?}");
    let expelled = ended.iter().filter(|error| **error == MeshError::Expelled);
    assert_eq!(expelled.count(), 1, "{ended:?}");
}

#[tokio::test]
async fn a_path_that_dies_with_something_under_way_is_given_up_in_time() {
    let dead_after = Duration::from_millis(500);
    let (_server, path, meshes) = pair(dead_after, false).await;
    let body = vec![1; 1 << 20];
    let exchange = async |mesh: &Mesh| loop {
        let peer = 1 - mesh.rank();
        let exchanged = tokio::try_join!(mesh.send(peer, 0, &body), mesh.recv_bytes(peer, 0));
        if let Err(error) = exchanged {
            return error;
        }
        if mesh.stats().messages_received > 3 {
            path.cut();
        }
    };
    let ends = meshes.iter().map(exchange);
    let ended = within("the verdict", futures_util::future::join_all(ends)).await;
    // Within which time is for the network lab to see, where nothing else runs.
    assert_agreed(&ended);
}

/// Goes on with a send to a rank that receives nothing, until there are so many connections.
async fn until_connected(
    path: &Path,
    connections: usize,
    sending: impl Future<Output = Result<(), MeshError>>,
) {
    let connected = async {
        while path.streams.load(Ordering::SeqCst) < connections {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        sent = sending => panic!("it has ended: {sent:?}"),
        () = within("the connections", connected) => {}
    }
}

/// Goes on with such a send until the path is watched.
async fn until_watched(path: &Path, sending: impl Future<Output = Result<(), MeshError>>) {
    // The connection of the messages, and another one.
    until_connected(path, 2, sending).await;
}

#[tokio::test]
async fn who_waits_for_a_rank_that_computes_waits_on() {
    // Long enough that a busy machine does not count as a dead server.
    let dead_after = Duration::from_millis(600);
    let (_server, path, meshes) = pair(dead_after, false).await;
    // More than the connection holds, and it does not poll anything.
    let body = vec![1; 32 << 20];
    let mut sending = std::pin::pin!(meshes[0].send(1, 0, &body));
    until_watched(&path, &mut sending).await;
    let waits = tokio::time::timeout(4 * dead_after, &mut sending).await;
    assert!(waits.is_err(), "{waits:?}");
    // There is one connection more, and none for each time that it was doubted.
    assert_eq!(path.streams.load(Ordering::SeqCst), 2);
    let (sent, received) = within("the message", async {
        tokio::join!(sending, meshes[1].recv_bytes(0, 0))
    })
    .await;
    assert_eq!((sent, received.map(|body| body.len())), (Ok(()), Ok(32 << 20)));
}

#[tokio::test]
async fn a_path_that_dies_while_the_other_rank_computes_is_found_out_too() {
    let dead_after = Duration::from_millis(300);
    let (_server, path, meshes) = pair(dead_after, false).await;
    let body = vec![1; 32 << 20];
    let mut sending = std::pin::pin!(meshes[0].send(1, 0, &body));
    until_watched(&path, &mut sending).await;
    path.cut();
    let failed = vec![1];
    assert_eq!(
        within("the verdict", sending).await,
        Err(MeshError::PeerFailed { failed })
    );
    assert_eq!(
        within("the verdict", meshes[1].ended()).await,
        MeshError::Expelled
    );
}

#[tokio::test]
async fn a_path_that_the_system_knows_to_be_gone_is_given_up_too() {
    let (_server, path, meshes) = pair(Duration::from_millis(300), false).await;
    let body = vec![1; 32 << 20];
    let mut sending = std::pin::pin!(meshes[0].send(1, 0, &body));
    until_connected(&path, 1, &mut sending).await;
    path.is_unreachable.store(true, Ordering::SeqCst);
    let failed = vec![1];
    assert_eq!(
        within("the verdict", sending).await,
        Err(MeshError::PeerFailed { failed })
    );
}

#[tokio::test]
async fn a_handshake_is_waited_for_as_long_as_the_path_is_there() {
    let dead_after = Duration::from_millis(500);
    let (_server, path, meshes) = pair(dead_after, false).await;
    path.is_silent.store(true, Ordering::SeqCst);
    let mut receiving = std::pin::pin!(meshes[0].recv_bytes(1, 0));
    let waits = tokio::time::timeout(3 * dead_after, &mut receiving).await;
    assert!(waits.is_err(), "{waits:?}");
    // One for messages, and one that watches.
    assert_eq!(path.streams.load(Ordering::SeqCst), 2);
    path.cut();
    let failed = vec![1];
    assert_eq!(
        within("the verdict", receiving).await,
        Err(MeshError::PeerFailed { failed })
    );
}

#[tokio::test]
async fn who_computes_while_it_connects_blames_nobody() {
    let dead_after = Duration::from_millis(500);
    let brisk = MeshOptions::new()
        .heartbeat(Duration::from_millis(20))
        .dead_after(dead_after);
    let server = server(Place::Tcp, brisk.size(2)).await;
    let at = server.endpoint().clone();
    let other = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async move {
            let one = Mesh::join(&at, MeshOptions::new().rank(1)).await.unwrap();
            within("a message", one.recv_bytes(0, 0)).await.unwrap()
        })
    });
    let zero = within(
        "a rank",
        Mesh::join(server.endpoint(), MeshOptions::new().rank(0)),
    )
    .await
    .unwrap();
    let mut sending = std::pin::pin!(zero.send(1, 0, b"late"));
    let once = poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).is_pending()));
    assert!(once.await, "there is no connection yet");
    // It has called, and does not say who it is before the other one has given that up.
    tokio::task::yield_now().await;
    std::thread::sleep(2 * dead_after);
    within("a message", sending).await.unwrap();
    assert_eq!(
        within("the end", tokio::task::spawn_blocking(|| other.join()))
            .await
            .unwrap()
            .unwrap(),
        "late"
    );
}

#[tokio::test]
async fn a_rank_that_does_not_answer_is_given_up_in_time() {
    let dead_after = Duration::from_millis(500);
    let (_server, _, meshes) = pair(dead_after, true).await;
    let begun = Instant::now();
    let waits = meshes.iter().map(|mesh| mesh.recv_bytes(1 - mesh.rank(), 0));
    let ended = within("the verdict", futures_util::future::join_all(waits)).await;
    let ended: Vec<MeshError> = ended.into_iter().filter_map(Result::err).collect();
    // Who could not connect stays, and the other one is gone.
    assert_agreed(&ended);
    // As long to reach it, and as long for the server to decide.
    assert!(begun.elapsed() >= dead_after, "{:?}", begun.elapsed());
}
