//! What every test of calls needs: a server with methods of every kind, and deadlines that say what was waited for.
#![allow(dead_code, reason = "each test target uses its own part")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flexbond_rpc::client::Options;
use flexbond_rpc::server::{ServerStats, Stopped};
use flexbond_rpc::{Buffer, Client, Context, Failure, Incoming, Methods, Server};
use flexbond_session::Endpoint;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// How long anything may take that should happen at once, on a machine that is busy with other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Awaits `future`, but not for ever.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {DEADLINE:?} for {what}"),
    }
}

/// Looks again and again until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Named arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Operands {
    pub(crate) a: f64,
    pub(crate) b: f64,
}

/// What the methods below do that a test wants to see.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Calls of `hang` that began, and that were dropped.
    pub(crate) begun: AtomicUsize,
    pub(crate) dropped: AtomicUsize,
    /// Items that `count` made.
    pub(crate) made: AtomicU32,
    /// Calls of `note`.
    pub(crate) noted: AtomicUsize,
    /// Lets `wait` go on.
    pub(crate) go: Notify,
}

struct Dropped(Arc<Seen>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// Methods of every kind.
pub(crate) fn methods(seen: &Arc<Seen>) -> Methods {
    let (hung, made, noted, waiting) = (seen.clone(), seen.clone(), seen.clone(), seen.clone());
    Methods::new()
        .add("add", async |Operands { a, b }| Ok::<_, Failure>(a + b))
        .and_then(|methods| methods.add("echo", async |text: String| Ok::<_, Failure>(text)))
        .and_then(|methods| methods.add("mirror", async |data: Buffer| Ok::<_, Failure>(data)))
        .and_then(|methods| {
            methods.add("fail", async |(code, message): (i64, String)| {
                Err::<(), _>(Failure::failed(code, message))
            })
        })
        .and_then(|methods| {
            methods.add("panic", async |text: String| {
                if !text.is_empty() {
                    panic!("{text}");
                }
                Ok::<_, Failure>(())
            })
        })
        .and_then(|methods| {
            methods.add("hang", move |()| {
                let seen = Arc::clone(&hung);
                async move {
                    let _dropped = Dropped(Arc::clone(&seen));
                    seen.begun.fetch_add(1, Ordering::SeqCst);
                    std::future::pending::<Result<(), Failure>>().await
                }
            })
        })
        .and_then(|methods| {
            methods.add("wait", move |()| {
                let seen = Arc::clone(&waiting);
                async move {
                    let go = seen.go.notified();
                    seen.begun.fetch_add(1, Ordering::SeqCst);
                    go.await;
                    Ok::<_, Failure>("gone on".to_owned())
                }
            })
        })
        .and_then(|methods| {
            methods.add("note", move |()| {
                noted.noted.fetch_add(1, Ordering::SeqCst);
                async { Ok::<_, Failure>(()) }
            })
        })
        .and_then(|methods| {
            methods.add("visits", async |context: Context, ()| {
                let visits = context.connection().state(AtomicU32::default);
                Ok::<_, Failure>(visits.fetch_add(1, Ordering::SeqCst) + 1)
            })
        })
        .and_then(|methods| {
            methods.add("left", async |context: Context, ()| {
                Ok::<_, Failure>(context.time_left())
            })
        })
        .and_then(|methods| {
            methods.add_stream("count", move |n: u32| {
                let seen = Arc::clone(&made);
                async move {
                    let numbers = (0..n).inspect(move |_| {
                        seen.made.fetch_add(1, Ordering::SeqCst);
                    });
                    Ok::<_, Failure>(stream::iter(numbers.map(Ok::<_, Failure>)))
                }
            })
        })
        .and_then(|methods| {
            methods.add_stream("break", async |n: u32| {
                let last = [Err(Failure::failed(7, "broken"))];
                Ok::<_, Failure>(stream::iter((0..n).map(Ok).chain(last)))
            })
        })
        .and_then(|methods| {
            methods.add_upload("sum", async |(start, mut values): (i64, Incoming<i64>)| {
                let mut sum = start;
                while let Some(value) = values.next().await {
                    sum += value?;
                }
                Ok::<_, Failure>(sum)
            })
        })
        .and_then(|methods| {
            methods.add_conversation("double", async |((), values): ((), Incoming<i64>)| {
                Ok::<_, Failure>(stream::unfold(values, async |mut values| {
                    let value = values.next().await?;
                    Some((value.map(|value| 2 * value), values))
                }))
            })
        })
        .expect("names are names, and differ")
}

/// A server that runs, until it is told to stop.
pub(crate) struct Running {
    pub(crate) endpoint: Endpoint,
    pub(crate) seen: Arc<Seen>,
    pub(crate) stats: Box<dyn Fn() -> ServerStats + Send + Sync>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Stopped>,
}

impl Running {
    /// Serves the methods above.
    pub(crate) async fn start(endpoint: &str) -> Self {
        let seen = Arc::default();
        let server = Server::new(methods(&seen));
        Self::serve(server, endpoint, seen).await
    }

    /// Serves with these options.
    pub(crate) async fn with_options(endpoint: &str, options: flexbond_rpc::server::Options) -> Self {
        let seen = Arc::default();
        let server = Server::with_options(methods(&seen), options).expect("valid options");
        Self::serve(server, endpoint, seen).await
    }

    async fn serve(server: Server<Methods>, endpoint: &str, seen: Arc<Seen>) -> Self {
        let endpoint = within("bind", server.bind(endpoint)).await.expect("bound");
        let stats = Box::new(server.stats());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run_until(async {
            let _ = stopped.await;
        }));
        Running {
            endpoint,
            seen,
            stats,
            stop,
            task,
        }
    }

    /// Tells the server to end.
    pub(crate) fn stop(self) -> JoinHandle<Stopped> {
        let _ = self.stop.send(());
        self.task
    }

    /// Ends the server at once, with all that it has.
    pub(crate) async fn kill(self) -> Endpoint {
        self.task.abort();
        let _ = self.task.await;
        self.endpoint
    }

    pub(crate) fn client(&self) -> Client {
        client(&self.endpoint)
    }
}

pub(crate) fn client(endpoint: &Endpoint) -> Client {
    Client::with_options(endpoint, Options::new().timeout(DEADLINE)).expect("an endpoint to connect to")
}

/// An endpoint that nobody listens at, and that nobody else gets: of an address of this process alone, where there are so
/// many of the machine itself. Another test that asks for any port may get one of the usual address that was just free.
pub(crate) fn vacant() -> Endpoint {
    let [_, second, third, fourth] = std::process::id().to_be_bytes();
    let own = match cfg!(target_os = "linux") {
        true => [127, 64 | second, third, fourth],
        false => [127, 0, 0, 1],
    };
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::from(own), 0)).expect("a free port");
    let address = listener.local_addr().expect("its address");
    format!("tcp://{address}").parse().expect("an endpoint")
}
