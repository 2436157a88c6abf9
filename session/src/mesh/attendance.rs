//! A rank's connection to the server, on a thread of its own.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flexbond_transport::{ByteStream, ConnectError, Connection, Endpoint, LinkOptions};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::attendant::{Attendant, Event};
use super::channel::stream_of;
use super::error::JoinError;
use super::hello::{Hello, Purpose, VERSION};
use super::hub::{Hub, Order};
use super::line::{LineError, LineReader, LineWriter, read_hello, write_all};
use super::mesh::Mesh;
use super::notice::{Application, Notice, Request};
use super::options::MeshOptions;
use super::stalls::Stalls;
use super::thread;

/// The application's side of joining.
pub(super) struct Steps {
    /// The server as it was reached.
    pub(super) reached: oneshot::Receiver<Result<Endpoint, JoinError>>,
    /// Where this rank listens.
    pub(super) listening: oneshot::Sender<Endpoint>,
    /// This rank, which is gone when nobody takes it from here.
    pub(super) welcomed: oneshot::Receiver<Result<Mesh, JoinError>>,
    /// Why the last attempt to connect failed.
    pub(super) failure: Arc<Mutex<Option<ConnectError>>>,
}

/// The thread's side of joining. It ends when the application has dropped the other.
struct Apply {
    server: Endpoint,
    options: MeshOptions,
    /// The application's.
    runtime: Handle,
    reached: oneshot::Sender<Result<Endpoint, JoinError>>,
    listening: oneshot::Receiver<Endpoint>,
    welcomed: oneshot::Sender<Result<Mesh, JoinError>>,
    failure: Arc<Mutex<Option<ConnectError>>>,
}

/// The pauses between attempts to reach the server, which may not be there yet.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Starts the thread.
pub(super) fn start(server: Endpoint, options: MeshOptions, runtime: Handle) -> io::Result<Steps> {
    let (tell_reached, reached) = oneshot::channel();
    let (tell_listening, listening) = oneshot::channel();
    let (tell_welcomed, welcomed) = oneshot::channel();
    let failure = Arc::<Mutex<Option<ConnectError>>>::default();
    let apply = Apply {
        server,
        options,
        runtime,
        reached: tell_reached,
        listening,
        welcomed: tell_welcomed,
        failure: Arc::clone(&failure),
    };
    thread::run("flexbond-mesh", apply.run())?;
    Ok(Steps {
        reached,
        listening: tell_listening,
        welcomed,
        failure,
    })
}

impl Apply {
    async fn run(self) {
        let Apply {
            server,
            options,
            runtime,
            mut reached,
            listening,
            mut welcomed,
            failure,
        } = self;
        let found = tokio::select! {
            biased;
            () = reached.closed() => return,
            found = reach(&server, &options, &failure) => found,
        };
        let (stream, peer) = match found {
            Ok(found) => found,
            Err(error) => return drop(reached.send(Err(error))),
        };
        if reached.send(Ok(peer)).is_err() {
            return;
        }
        let Ok(endpoint) = listening.await else {
            return;
        };
        let stream: Arc<dyn ByteStream> = stream.into();
        let mut reader = LineReader::new(Arc::clone(&stream));
        let mut writer = LineWriter::new(stream);
        let application = Application {
            size: options.size.map(|size| size as u32),
            rank: options.rank.map(|rank| rank as u32),
            name: options.name.clone(),
            endpoint: endpoint.to_string(),
        };
        writer.push(&Request::Join(application));
        let answer = tokio::select! {
            biased;
            () = welcomed.closed() => return,
            answer = async {
                writer.flush().await?;
                reader.read().await
            } => answer,
        };
        let (hub, attendant) = match answer {
            Ok(Notice::Welcome {
                session,
                id,
                heartbeat,
                dead_after,
            }) => {
                let mut options = options;
                // The server's times are everybody's.
                (options.heartbeat, options.dead_after) = (heartbeat, dead_after);
                let attendant = Attendant::new(Instant::now(), heartbeat, dead_after);
                (
                    Arc::new(Hub::new(session, id, &server, options, runtime)),
                    attendant,
                )
            }
            Ok(Notice::Refused(refusal)) => {
                return drop(welcomed.send(Err(JoinError::Refused(refusal))));
            }
            Ok(_) => return drop(welcomed.send(Err(JoinError::Foreign { endpoint: server }))),
            Err(_) => return drop(welcomed.send(Err(JoinError::Lost))),
        };
        if welcomed.send(Ok(Mesh::new(Arc::clone(&hub)))).is_ok() {
            attend(&hub, attendant, reader, writer).await;
        }
    }
}

/// Connects to the server, again and again where that may help.
async fn reach(
    server: &Endpoint,
    options: &MeshOptions,
    failure: &Mutex<Option<ConnectError>>,
) -> Result<(Box<dyn ByteStream>, Endpoint), JoinError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match options.registry.connect(server, &LinkOptions::default()).await {
            Ok(connection) => match greet(connection).await {
                Ok(found) => {
                    *failure.lock() = None;
                    return Ok(found);
                }
                Err(LineError::Version(theirs)) => {
                    return Err(JoinError::Version {
                        theirs,
                        ours: VERSION,
                    });
                }
                Err(LineError::Foreign) => {
                    let endpoint = server.clone();
                    return Err(JoinError::Foreign { endpoint });
                }
                // Not the system's: with TLS 1.3 a server that refuses this end's certificate says so only when
                // this end first reads.
                Err(LineError::Io(source)) if source.get_ref().is_some() => {
                    let endpoint = server.clone();
                    *failure.lock() = Some(ConnectError::Io { endpoint, source });
                }
                // It may be too busy, or about to end in favour of another.
                Err(_) => *failure.lock() = None,
            },
            Err(error) if error.is_permanent() => return Err(JoinError::Connect(error)),
            Err(error) => *failure.lock() = Some(error),
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

async fn greet(connection: Connection) -> Result<(Box<dyn ByteStream>, Endpoint), LineError> {
    let peer = connection.peer.clone();
    let stream = stream_of(connection);
    let ours = Hello {
        purpose: Purpose::Control,
        rest: 0,
    };
    write_all(&*stream, &ours.encode()).await?;
    let theirs = read_hello(&*stream).await?;
    if theirs.purpose != Purpose::Control || theirs.rest != 0 {
        return Err(LineError::Foreign);
    }
    Ok((stream, peer))
}

/// Moves messages between the server, the protocol and the application until one of them is gone.
async fn attend(hub: &Arc<Hub>, mut attendant: Attendant, mut reader: LineReader, mut writer: LineWriter) {
    let mut stalls = Stalls::new(hub.options.dead_after / 2);
    let mut next_look = Instant::now();
    loop {
        while let Some(order) = hub.orders.pop() {
            match order {
                Order::Advance(epoch) => attendant.advance(epoch),
                Order::Suspect(id) => attendant.suspect(Instant::now(), id),
                Order::Knock(id) => attendant.knock(id),
                Order::Leave => attendant.leave(),
                Order::Stop => return,
            }
        }
        while let Some(request) = attendant.poll_request() {
            writer.push(&request);
        }
        let mut is_over = false;
        while let Some(event) = attendant.poll_event() {
            is_over |= matches!(event, Event::Lost(_));
            hub.handle_event(event);
        }
        if is_over {
            return;
        }
        if writer.len() > LineWriter::LIMIT {
            attendant.handle_closed();
            continue;
        }
        let due = attendant.poll_timeout();
        tokio::select! {
            notice = reader.read::<Notice>() => match notice {
                Ok(notice) => attendant.handle_notice(Instant::now(), notice),
                Err(error) => {
                    tracing::debug!(%error, "the connection to the server of a mesh has ended");
                    attendant.handle_closed();
                }
            },
            written = writer.flush(), if !writer.is_flushed() => if written.is_err() {
                attendant.handle_closed();
            },
            () = hub.orders.changed.notified() => {}
            () = tokio::time::sleep_until(due.into()) => {
                let now = Instant::now();
                attendant.handle_timeout(now);
                // Where this thread is awake anyway: that is often enough.
                if now >= next_look {
                    hub.look(now, &mut stalls);
                    next_look = now + stalls.interval();
                }
            }
        }
    }
}

#[cfg(all(test, feature = "inproc"))]
mod tests {
    use super::super::server::MeshServer;
    use super::*;

    /// Retries with a deadline.
    async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let wait = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
        assert!(waited.is_ok(), "waited for {what}");
    }

    #[tokio::test]
    async fn a_rank_that_nobody_took_is_gone() {
        let options = MeshOptions::new().size(2);
        let server = MeshServer::bind("inproc://nobody took it", options.clone())
            .await
            .expect("a server");
        let steps = start(server.endpoint().clone(), options, Handle::current()).expect("a thread");
        steps.reached.await.expect("alive").expect("reached");
        let listening = "inproc://not looked at".parse().expect("an endpoint");
        steps.listening.send(listening).expect("alive");
        until("the welcome", || !steps.welcomed.is_empty()).await;
        assert_eq!(server.stats().ranks, 1);
        drop(steps.welcomed);
        until("its departure", || server.stats().ranks == 0).await;
    }
}
