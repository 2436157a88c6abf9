//! The server of a mesh: where its ranks meet, and who says which of them live.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flexbond_transport::{ByteStream, Connection, Endpoint, EndpointError, Listener};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::channel::stream_of;
use super::error::ServeError;
use super::hello::{Hello, Purpose};
use super::line::{LineError, LineReader, LineWriter, drain, read_hello, write_all};
use super::notice::{Application, Message, Request};
use super::options::MeshOptions;
use super::registrar::{Effect, LineId, Registrar};
use super::thread;

/// The server of a mesh: where its ranks meet, and who says which of them live.
///
/// One per computation, in a process of its own or in that of a rank. It runs on a thread of its own, so that it hears
/// the ranks whatever the application does. No message between ranks passes through it.
///
/// Dropping it ends it at once, which every rank learns as [`MeshError::ServerLost`](super::MeshError::ServerLost);
/// [`finish`](Self::finish) waits until nobody needs it any more.
pub struct MeshServer {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    occupancy: watch::Receiver<Occupancy>,
    /// The thread ends when this is dropped.
    _stop: oneshot::Sender<()>,
}

/// What has happened at a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Ranks that live.
    pub ranks: usize,
    /// The epoch; zero before the first.
    pub epoch: u32,
    /// Connections that were turned away because they spoke another version, another protocol or nonsense, or were too
    /// slow to say what they want.
    pub foreign: u64,
    /// Connections that were turned away because too many were in their handshake already.
    pub crowded: u64,
}

struct Shared {
    desk: Mutex<Desk>,
    /// When something is due may have changed.
    changed: Notify,
    patience: Duration,
    foreign: AtomicU64,
    crowded: AtomicU64,
}

struct Desk {
    registrar: Registrar,
    lines: HashMap<LineId, Arc<Outbox>>,
    next_line: LineId,
    occupancy: watch::Sender<Occupancy>,
}

/// Whether anybody is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occupancy {
    /// Nobody has ever been.
    Vacant,
    /// Somebody is, or has not been told goodbye yet.
    Open,
    Left,
}

/// What waits to be written to a rank.
#[derive(Default)]
struct Outbox {
    state: Mutex<OutboxState>,
    changed: Notify,
}

#[derive(Default)]
struct OutboxState {
    pending: Vec<u8>,
    closing: bool,
}

/// Connections that may be in their handshake at once.
const MAX_HALF_OPEN: usize = 256;
/// Pause after an accept that failed, for the system may lack a resource.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl MeshServer {
    /// Listens at `endpoint` and serves from now on. Port 0 and the like let the system choose; see
    /// [`endpoint`](Self::endpoint).
    ///
    /// # Errors
    /// [`ServeError`]; nothing is bound then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    pub async fn bind<E>(endpoint: E, options: MeshOptions) -> Result<Self, ServeError>
    where
        E: TryInto<Endpoint, Error: Into<EndpointError>>,
    {
        let endpoint = endpoint.try_into().map_err(Into::into)?;
        options.validate()?;
        let (occupancy, watched) = watch::channel(Occupancy::Vacant);
        let registrar = Registrar::new(
            Instant::now(),
            fastrand::u64(1..),
            endpoint.scheme(),
            options.size.map(|size| size as u32),
            options.heartbeat,
            options.dead_after,
        );
        let shared = Arc::new(Shared {
            desk: Mutex::new(Desk {
                registrar,
                lines: HashMap::new(),
                next_line: 0,
                occupancy,
            }),
            changed: Notify::new(),
            patience: options.dead_after,
            foreign: AtomicU64::new(0),
            crowded: AtomicU64::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let (tell_bound, bound) = oneshot::channel();
        let server = Arc::clone(&shared);
        let run = async move {
            let link = options.link(&endpoint);
            match options.registry.bind(&endpoint, &link).await {
                Err(error) => drop(tell_bound.send(Err(error))),
                Ok(listener) => {
                    let _ = tell_bound.send(Ok(listener.local_endpoint().clone()));
                    tokio::select! {
                        biased;
                        _ = stopped => {}
                        () = accept(&server, listener) => {}
                        () = keep_time(&server) => {}
                    }
                }
            }
        };
        thread::run("flexbond-server", run).map_err(ServeError::Thread)?;
        // The thread tells, or has panicked.
        let endpoint = bound
            .await
            .map_err(|gone| ServeError::Thread(std::io::Error::other(gone)))??;
        Ok(MeshServer {
            endpoint,
            shared,
            occupancy: watched,
            _stop: stop,
        })
    }

    /// Where it listens: what ranks join, if they are on a machine for which it means the same.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What has happened so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        let desk = self.shared.desk.lock();
        ServerStats {
            ranks: desk.registrar.living(),
            epoch: desk.registrar.epoch(),
            foreign: self.shared.foreign.load(Ordering::Relaxed),
            crowded: self.shared.crowded.load(Ordering::Relaxed),
        }
    }

    /// Waits until no rank is in, because all that came have left or died, and ends. Where none has come yet, waits for
    /// the first one, however long that takes.
    ///
    /// # Cancel safety
    /// Dropping the future ends the server at once.
    pub async fn finish(mut self) {
        // The sender lives in `shared`.
        let _ = self
            .occupancy
            .wait_for(|occupancy| *occupancy == Occupancy::Left)
            .await;
    }
}

impl fmt::Debug for MeshServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshServer")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Desk {
    fn note_occupancy(&self) {
        let occupancy = match (self.registrar.has_admitted(), self.lines.is_empty()) {
            (false, _) => Occupancy::Vacant,
            (true, false) => Occupancy::Open,
            (true, true) => Occupancy::Left,
        };
        self.occupancy
            .send_if_modified(|known| std::mem::replace(known, occupancy) != occupancy);
    }
}

impl Shared {
    /// Changes what the registrar knows, and passes on what follows.
    fn with<T>(&self, change: impl FnOnce(&mut Registrar) -> T) -> T {
        let mut desk = self.desk.lock();
        let result = change(&mut desk.registrar);
        while let Some(effect) = desk.registrar.poll_effect() {
            let (Effect::Send(line, _) | Effect::Close(line)) = effect;
            let Some(outbox) = desk.lines.get(&line) else {
                continue;
            };
            let mut state = outbox.state.lock();
            match effect {
                Effect::Send(_, notice) => notice.encode(&mut state.pending),
                Effect::Close(_) => state.closing = true,
            }
            outbox.changed.notify_one();
        }
        desk.note_occupancy();
        drop(desk);
        self.changed.notify_one();
        result
    }

    fn open(&self) -> (LineId, Arc<Outbox>) {
        let mut desk = self.desk.lock();
        let line = desk.next_line;
        desk.next_line += 1;
        let outbox = Arc::<Outbox>::default();
        desk.lines.insert(line, Arc::clone(&outbox));
        (line, outbox)
    }

    fn close(&self, line: LineId) {
        self.with(|registrar| registrar.handle_closed(line));
        let mut desk = self.desk.lock();
        desk.lines.remove(&line);
        desk.note_occupancy();
    }
}

async fn keep_time(shared: &Shared) {
    loop {
        let due = shared.desk.lock().registrar.poll_timeout();
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {
                shared.with(|registrar| registrar.handle_timeout(Instant::now()));
            }
            () = shared.changed.notified() => {}
        }
    }
}

async fn accept(shared: &Arc<Shared>, mut listener: Box<dyn Listener>) {
    let half_open = Arc::new(Semaphore::new(MAX_HALF_OPEN));
    loop {
        match listener.accept().await {
            Ok(connection) => match Arc::clone(&half_open).try_acquire_owned() {
                Ok(permit) => {
                    tokio::spawn(serve(Arc::clone(shared), connection, permit));
                }
                Err(_) => {
                    shared.crowded.fetch_add(1, Ordering::Relaxed);
                }
            },
            Err(error) if error.is_fatal() => return,
            Err(error) => {
                tracing::debug!(%error, "a connection to the server of a mesh was not accepted");
                if error.needs_pause() {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve(shared: Arc<Shared>, connection: Connection, permit: OwnedSemaphorePermit) {
    let from = connection.peer.clone();
    let stream: Arc<dyn ByteStream> = stream_of(connection).into();
    let mut reader = LineReader::new(Arc::clone(&stream));
    let greeting = tokio::time::timeout(shared.patience, greet(&*stream, &mut reader));
    let application = match greeting.await {
        Ok(Ok(application)) => application,
        Ok(Err(error)) => {
            tracing::debug!(%from, %error, "a connection to the server of a mesh was refused");
            shared.foreign.fetch_add(1, Ordering::Relaxed);
            let _ = tokio::time::timeout(shared.patience, drain(&*stream)).await;
            return;
        }
        Err(_) => {
            shared.foreign.fetch_add(1, Ordering::Relaxed);
            return;
        }
    };
    drop(permit);
    let (line, outbox) = shared.open();
    shared.with(|registrar| registrar.handle_join(Instant::now(), line, application));
    if let Err(error) = exchange(&shared, line, &outbox, &mut reader, &stream).await {
        tracing::debug!(%from, %error, "a rank's connection to the server has ended");
    }
    shared.close(line);
}

async fn greet(stream: &dyn ByteStream, reader: &mut LineReader) -> Result<Application, LineError> {
    let theirs = read_hello(stream).await;
    let ours = Hello {
        purpose: Purpose::Control,
        rest: 0,
    };
    // Who speaks another version learns which one this is.
    if matches!(theirs, Ok(_) | Err(LineError::Version(_))) {
        write_all(stream, &ours.encode()).await?;
    }
    let theirs = theirs?;
    if theirs.purpose != Purpose::Control || theirs.rest != 0 {
        return Err(LineError::Foreign);
    }
    match reader.read().await? {
        Request::Join(application) => Ok(application),
        _ => Err(LineError::Malformed),
    }
}

async fn exchange(
    shared: &Shared,
    line: LineId,
    outbox: &Outbox,
    reader: &mut LineReader,
    stream: &Arc<dyn ByteStream>,
) -> Result<(), LineError> {
    let mut writer = LineWriter::new(Arc::clone(stream));
    loop {
        let closing = {
            let mut state = outbox.state.lock();
            writer.push_encoded(&mut state.pending);
            state.closing
        };
        if closing {
            let end = async {
                writer.flush().await?;
                drain(&**stream).await;
                Ok(())
            };
            return tokio::time::timeout(shared.patience, end).await.unwrap_or(Ok(()));
        }
        if writer.len() > LineWriter::LIMIT {
            return Err(LineError::Ended);
        }
        tokio::select! {
            request = reader.read::<Request>() => {
                let request = request?;
                shared.with(|registrar| registrar.handle_request(Instant::now(), line, &request));
            }
            written = writer.flush(), if !writer.is_flushed() => written?,
            () = outbox.changed.notified() => {}
        }
    }
}
