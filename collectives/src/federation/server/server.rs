//! The message server as its program has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::poll_fn;
use std::time::{Duration, SystemTime};

use flexbond_session::{Endpoint, Lookout};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::admission::proofs;
use super::check::check_listening;
#[cfg(feature = "federation-redb")]
use super::check::check_store;
use super::config::ServerConfig;
use super::driver::{Command, Driver, Reload};
use super::error::ServeError;
#[cfg(feature = "federation-redb")]
use super::keeper::Keeper;
use super::moves::moved;
use super::repeats::Repeats;
use super::report::{ServerEvent, ServerStats};
use super::sockets::Sockets;
use super::ways::Ways;
use crate::federation::driver::now;
use crate::federation::name::PartyId;
use crate::federation::relay::{Access, Relay, RelaySetup, Routes};
#[cfg(feature = "federation-redb")]
use crate::federation::store::FileStore;

/// How many events wait for who reads them, before those that come are left out.
const EVENTS: usize = 1024;
/// Nobody waits longer for an end.
const LONG: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How many commands wait.
const COMMANDS: usize = 16;

/// A message server: parties that cannot reach each other, or are not there at the same time, connect to it.
///
/// It plays each party towards the others. What it has acknowledged it hands over, when the receiver comes, once and in
/// order; with a [`store`](ServerConfig::store), also after its own end.
///
/// Dropping it ends it at once; [`shutdown`](Server::shutdown) ends it in good order.
///
/// ```
/// use flexbond_collectives::federation::{Config, Federation, Role, Server, ServerConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = ServerConfig::new();
/// config.listen = vec!["inproc://hub".parse()?];
/// let server = Server::bind(config).await?;
///
/// let party = |local: &str| -> Result<Config, Box<dyn std::error::Error>> {
///     Ok(Config::new("churn-7".parse()?, local.parse()?)
///         .member("bank-a".parse()?, Role::Guest)
///         .member("bank-b".parse()?, Role::Host)
///         .by_server("inproc://hub"))
/// };
/// let a = Federation::connect(party("bank-a")?).await?;
/// a.variable("x", "bank-b")?.send(&5).await?;
/// a.close().await;
///
/// // Only now.
/// let b = Federation::connect(party("bank-b")?).await?;
/// assert_eq!(b.variable("x", "bank-a")?.recv::<i32>().await?, 5);
/// # Ok(())
/// # }
/// ```
pub struct Server {
    endpoints: Vec<Endpoint>,
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<ServerEvent>,
    /// None once its end was told.
    task: Option<JoinHandle<ServerStats>>,
    /// What it was told last; held while it is told something else.
    current: Mutex<Current>,
}

struct Current {
    config: ServerConfig,
    sockets: Sockets,
    /// The numbers of other servers, which stay what they are.
    numbers: BTreeMap<String, usize>,
    next_number: usize,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Opens the store, listens, and begins to serve in the background.
    ///
    /// # Errors
    /// [`ServeError`] says what cannot be used. Nothing is left behind.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound; a store that is being opened is closed again.
    pub async fn bind(config: ServerConfig) -> Result<Server, ServeError> {
        config.validate()?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| ServeError::NoRuntime)?;
        let sockets = Sockets::new(&config)?;
        let mut ways = Ways::new();
        let mut numbers = BTreeMap::new();
        for (name, server) in &config.servers {
            if let Some(endpoint) = &server.connect {
                let number = ways.add(name, sockets.connect(&config, name, server, endpoint)?);
                numbers.insert(name.clone(), number);
            }
        }
        let setup = RelaySetup {
            incarnation: fastrand::u64(1..),
            limits: config.limits.clone(),
            access: access(&config),
            routes: routes(&config, &numbers),
            durable: config.store.is_some(),
            epochs: fastrand::u64(..),
            unix_ms: unix_ms(),
        };
        #[cfg(not(feature = "federation-redb"))]
        if config.store.is_some() {
            return Err(ServeError::NoStore);
        }
        // First, for a store that was opened is closed by a thread. Who connects already has to wait.
        let (router, endpoints) = sockets.listen(&config).await?;
        let relay = Relay::new(setup, now());
        #[cfg(feature = "federation-redb")]
        let (relay, keeper) = match restored(&config, relay).await {
            Ok(restored) => restored,
            Err(error) => {
                router.close().await;
                return Err(error);
            }
        };
        let (commands, asked) = mpsc::channel(COMMANDS);
        let (told, events) = mpsc::channel(EVENTS);
        let driver = Driver {
            relay,
            monitor: router.as_ref().monitor(),
            limits: router.as_ref().limit_meter(),
            router,
            ways,
            #[cfg(feature = "federation-redb")]
            keeper,
            commands: asked,
            events: told,
            draining: None,
            sleep: Box::pin(tokio::time::sleep_until(tokio::time::Instant::now())),
            messages: Vec::new(),
            lost: Vec::new(),
            rounds: 0,
            repeats: Repeats::default(),
            lookout: Lookout::new(),
            has_received: false,
        };
        Ok(Server {
            endpoints,
            commands,
            events,
            task: Some(runtime.spawn(run(driver))),
            current: Mutex::new(Current {
                next_number: numbers.len(),
                config,
                sockets,
                numbers,
            }),
        })
    }

    /// Whether a server could begin with this, as far as that can be seen without beginning: its entries, keys,
    /// certificates, and the place of its store. A party or job that could never come is an error here, too, see
    /// [`check_members`](ServerConfig::check_members).
    ///
    /// # Errors
    /// [`ServeError::Config`] says which key is wrong.
    pub fn check(config: &ServerConfig) -> Result<(), ServeError> {
        config.validate()?;
        #[cfg(not(feature = "federation-redb"))]
        if config.store.is_some() {
            return Err(ServeError::NoStore);
        }
        config.check_members()?;
        check_listening(config)?;
        #[cfg(feature = "federation-redb")]
        if let Some(path) = &config.store {
            check_store(path)?;
        }
        Sockets::new(config)?.check(config)
    }

    /// Where it listens, in the order of the configuration, with ports that the system has chosen where they were 0.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// What it holds, and what has passed through it.
    ///
    /// # Errors
    /// [`ServeError::Ended`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn stats(&self) -> Result<ServerStats, ServeError> {
        let (reply, stats) = oneshot::channel();
        self.command(Command::Stats(reply)).await?;
        stats.await.map_err(|_| ServeError::Ended)
    }

    /// The next thing that an operator may want to read of; none once the server has ended. If nobody reads them, at most
    /// 1,024 are kept, and those that come then are left out. They are told to `tracing`, too.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn next_event(&mut self) -> Option<ServerEvent> {
        self.events.recv().await
    }

    /// Takes over parties, jobs, servers and certificates of another configuration. Jobs that have begun go on with the
    /// members that they have. Connections of parties end whose key or certificate is another one now, or none.
    ///
    /// # Errors
    /// [`ServeError::Config`], [`ServeError::Restart`] for what cannot change while it runs, and [`ServeError::Moved`] for a
    /// party that is to be reached by another way while a job in which it was here goes on. All is as it was then.
    ///
    /// # Cancel safety
    /// Once polled, it may have been taken over.
    pub async fn reload(&self, config: ServerConfig) -> Result<(), ServeError> {
        config.validate()?;
        let mut current = self.current.lock().await;
        check_same(&current.config, &config)?;
        let moved = moved(&current.config, &config);
        if !moved.is_empty() {
            let (reply, answer) = oneshot::channel();
            self.command(Command::Move(moved, reply)).await?;
            let answer = answer.await.map_err(|_| ServeError::Ended)?;
            answer.map_err(|(party, job)| ServeError::Moved { party, job })?;
        }
        // From here on nothing is waited for: all is taken over, or nothing.
        let place = self.commands.reserve().await.map_err(|_| ServeError::Ended)?;
        let changed = |name: &String| current.config.servers.get(name) != config.servers.get(name);
        let names: BTreeSet<&String> = current
            .config
            .servers
            .keys()
            .chain(config.servers.keys())
            .collect();
        let changed: Vec<String> = names.into_iter().filter(|name| changed(name)).cloned().collect();
        let mut numbers = current.numbers.clone();
        let mut next_number = current.next_number;
        let mut removed = Vec::new();
        let mut added = Vec::new();
        for name in changed {
            let (before, after) = (current.config.servers.get(&name), config.servers.get(&name));
            // Only its parties may be others.
            if let (Some(before), Some(after)) = (before, after)
                && (&before.connect, &before.key) == (&after.connect, &after.key)
            {
                continue;
            }
            removed.extend(numbers.remove(&name));
            if let Some(server) = after
                && let Some(endpoint) = &server.connect
            {
                let uplink = current.sockets.connect(&config, &name, server, endpoint)?;
                numbers.insert(name.clone(), next_number);
                next_number += 1;
                added.push((name, uplink));
            }
        }
        let generation = current.sockets.reload(&config)?;
        let (before, after) = (proofs(&current.config), proofs(&config));
        let ended = before
            .into_iter()
            .filter(|(name, proofs)| after.get(name) != Some(proofs));
        let reload = Reload {
            access: access(&config),
            routes: routes(&config, &numbers),
            generation,
            ended: ended.map(|(name, _)| name).collect(),
            removed,
            added,
        };
        current.config = config;
        current.numbers = numbers;
        current.next_number = next_number;
        let (done, is_done) = oneshot::channel();
        place.send(Command::Reload(Box::new(reload), done));
        drop(current);
        is_done.await.map_err(|_| ServeError::Ended)
    }

    /// Begins to end in good order: nobody new is let in, and what was taken is kept or handed over, for at most `grace`.
    /// [`ended`](Server::ended) waits for that.
    pub async fn drain(&self, grace: Duration) {
        // One that has ended is drained.
        let _ = self.command(Command::Drain(now() + grace.min(LONG))).await;
    }

    /// Waits until it has ended after [`drain`](Server::drain), and says what it held then.
    ///
    /// # Errors
    /// [`ServeError::Ended`] if that was said before, or its runtime has ended.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn ended(&mut self) -> Result<ServerStats, ServeError> {
        let Some(task) = &mut self.task else {
            return Err(ServeError::Ended);
        };
        let ended = task.await;
        self.task = None;
        ended.map_err(|_| ServeError::Ended)
    }

    /// Ends in good order, within `grace`: [`drain`](Server::drain) and [`ended`](Server::ended).
    ///
    /// # Errors
    /// [`ServeError::Ended`].
    ///
    /// # Cancel safety
    /// Once polled, it ends in the background if the future is dropped, and at once if the server is.
    pub async fn shutdown(&mut self, grace: Duration) -> Result<ServerStats, ServeError> {
        self.drain(grace).await;
        self.ended().await
    }

    async fn command(&self, command: Command) -> Result<(), ServeError> {
        self.commands.send(command).await.map_err(|_| ServeError::Ended)
    }
}

/// Serves until the end, and closes all in good order.
async fn run(mut driver: Driver) -> ServerStats {
    poll_fn(|cx| driver.poll(cx)).await;
    let stats = driver.stats();
    #[cfg(feature = "federation-redb")]
    let thread = driver.keeper.as_mut().and_then(Keeper::end);
    let Driver { router, .. } = driver;
    router.close().await;
    #[cfg(feature = "federation-redb")]
    if let Some(thread) = thread {
        // The file is closed when the thread has ended, and may be opened by another server.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
    stats
}

/// A relay with what its store has, and the store on its thread.
#[cfg(feature = "federation-redb")]
async fn restored(config: &ServerConfig, relay: Relay) -> Result<(Relay, Option<Keeper>), ServeError> {
    let Some(path) = config.store.clone() else {
        return Ok((relay, None));
    };
    let (cache, mut relay) = (config.cache_bytes, relay);
    let opening = tokio::task::spawn_blocking(move || -> Result<_, ServeError> {
        let mut store = FileStore::open(path, cache)?;
        store.restore(&mut |record| relay.restore(record))?;
        store.shrink();
        Ok((relay, store))
    });
    // It is dropped with the runtime, or panics as this task would.
    let (relay, store) = opening.await.map_err(|_| ServeError::Ended)??;
    let keeper = Keeper::start(store).map_err(ServeError::Thread)?;
    Ok((relay, Some(keeper)))
}

/// Milliseconds since 1970; none of a clock that is before.
fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn access(config: &ServerConfig) -> Access {
    let mut parties: BTreeMap<PartyId, BTreeSet<_>> = config
        .parties
        .iter()
        .map(|(id, party)| (id.clone(), party.jobs.clone()))
        .collect();
    let is_limited = !parties.is_empty() || config.knows_its_peers();
    for party in config.servers.values().flat_map(|server| &server.parties) {
        parties.entry(party.clone()).or_default();
    }
    Access {
        parties: is_limited.then_some(parties),
        servers: config
            .servers
            .iter()
            .map(|(name, server)| (name.clone(), server.parties.clone()))
            .collect(),
        jobs: config
            .jobs
            .iter()
            .map(|(job, entry)| (job.clone(), entry.members.clone()))
            .collect(),
        open_jobs: config.open_jobs,
    }
}

fn routes(config: &ServerConfig, numbers: &BTreeMap<String, usize>) -> Routes {
    let ways = config.servers.iter().filter_map(|(name, server)| {
        let number = *numbers.get(name)?;
        Some(server.parties.iter().map(move |party| (party.clone(), number)))
    });
    Routes {
        parties: ways.flatten().collect(),
    }
}

/// What stays as it is while a server runs.
fn check_same(before: &ServerConfig, after: &ServerConfig) -> Result<(), ServeError> {
    let tls = |config: &ServerConfig| config.tls.is_some();
    let checks = [
        ("listen", before.listen == after.listen),
        ("store", before.store == after.store),
        ("cache_bytes", before.cache_bytes == after.cache_bytes),
        ("curve", before.curve == after.curve),
        ("tls", tls(before) == tls(after)),
        (
            "tls.authorities",
            before.knows_its_peers() == after.knows_its_peers(),
        ),
        ("limits", before.limits == after.limits),
    ];
    match checks.into_iter().find(|(_, is_same)| !is_same) {
        Some((key, _)) => Err(ServeError::Restart { key }),
        None => Ok(()),
    }
}
