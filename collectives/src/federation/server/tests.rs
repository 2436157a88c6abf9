//! The server with real sockets, real parties, and a real store.

use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::federation::{Config, Federation, JobId, Limits, PartyId, Presence, RelayLimits, Role};

const DEADLINE: Duration = Duration::from_secs(60);

/// Ends with an error what takes too long.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .expect("it takes too long")
}

async fn is_pending(mut work: std::pin::Pin<&mut impl Future>) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(work.as_mut().poll(cx).is_pending())).await
}

fn id(name: &str) -> PartyId {
    name.parse().unwrap()
}

fn config() -> ServerConfig {
    let mut config = ServerConfig::new();
    config.listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
    // Nobody waits for a lost one in a test.
    config.limits.retry = Duration::from_millis(50);
    config
}

fn party_config(server: &str, local: &str, members: &[&str]) -> Config {
    let config = Config::new("job-1".parse().unwrap(), id(local)).by_server(server);
    let config = config.limits(Limits::new().retry(Duration::from_millis(50)));
    members
        .iter()
        .fold(config, |config, member| config.member(id(member), Role::Host))
}

async fn party(server: &Server, local: &str) -> Federation {
    let endpoint = server.endpoints()[0].to_string();
    let config = party_config(&endpoint, local, &["a", "b"]);
    Federation::connect(config).await.unwrap()
}

/// A configuration with a store in this folder.
fn kept(folder: &TempDir) -> ServerConfig {
    let mut config = config();
    config.store = Some(folder.path().join("messages.redb"));
    config
}

#[tokio::test]
async fn parties_swap_and_meet_at_the_barrier() {
    let server = Server::bind(config()).await.unwrap();
    let (a, b) = (party(&server, "a").await, party(&server, "b").await);
    within(async { tokio::try_join!(a.ready(DEADLINE), b.ready(DEADLINE)) })
        .await
        .unwrap();
    let (to_b, to_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
    for round in 0..50 {
        let other = round + 1000;
        let (one, two) = within(async { tokio::join!(to_b.swap(&round), to_a.swap(&other)) }).await;
        let (one, two): (i32, i32) = (one.unwrap(), two.unwrap());
        assert_eq!((one, two), (round + 1000, round));
    }
    let large = Bytes::from((0..3_000_000_u32).map(|i| i as u8).collect::<Vec<_>>());
    within(to_b.send_bytes(large.clone())).await.unwrap();
    assert!(within(to_a.recv_bytes()).await.unwrap() == large);
    let stats = server.stats().await.unwrap();
    assert_eq!(stats.connections, 2);
    let job = &stats.relay.jobs[&"job-1".parse::<JobId>().unwrap()];
    assert!(job.parties[&id("a")].received >= 51, "{job:?}");
    within(async { tokio::join!(a.close(), b.close()) }).await;
}

#[tokio::test]
async fn a_sender_need_not_wait_for_its_receiver() {
    let folder = TempDir::new().unwrap();
    for config in [config(), kept(&folder)] {
        let mut server = Server::bind(config).await.unwrap();
        let a = party(&server, "a").await;
        let channel = a.variable("x", "b").unwrap();
        for number in 0..20 {
            within(channel.send(&number)).await.unwrap();
        }
        within(channel.send_bytes(vec![7; 2_000_000])).await.unwrap();
        within(a.close()).await;

        let b = party(&server, "b").await;
        let channel = b.variable("x", "a").unwrap();
        for number in 0..20 {
            assert_eq!(within(channel.recv::<i32>()).await.unwrap(), number);
        }
        assert!(within(channel.recv_bytes()).await.unwrap() == vec![7; 2_000_000]);
        within(b.close()).await;
        let stats = within(server.shutdown(DEADLINE)).await.unwrap();
        assert_eq!(stats.relay.held_bytes, 0, "{stats:?}");
        assert!(server.ended().await.is_err());
    }
}

#[tokio::test]
async fn who_has_nothing_left_does_not_wait_for_a_server_that_is_gone() {
    let mut server = Server::bind(config()).await.unwrap();
    let (a, b) = (party(&server, "a").await, party(&server, "b").await);
    a.variable("x", "b").unwrap().send(&1).await.unwrap();
    assert_eq!(
        within(b.variable("x", "a").unwrap().recv::<i32>()).await.unwrap(),
        1
    );
    within(b.close()).await;
    within(server.shutdown(DEADLINE)).await.unwrap();
    let begin = std::time::Instant::now();
    within(a.close()).await;
    // Its linger is 30 s.
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_program_that_runs_knows_whether_the_server_has_what_it_sent() {
    let server = Server::bind(config()).await.unwrap();
    let endpoint = server.endpoints()[0].to_string();
    let a = Federation::connect(party_config(&endpoint, "a", &["a", "b"]))
        .await
        .unwrap();
    a.variable("x", "b").unwrap().send(&1).await.unwrap();
    assert!(!a.is_handed_over());
    within(async {
        while !a.is_handed_over() {
            a.ready(Duration::from_millis(20)).await.unwrap_err();
        }
    })
    .await;
    let stats = server.stats().await.unwrap().relay;
    let held: u64 = stats
        .jobs
        .values()
        .flat_map(|job| job.parties.values())
        .map(|party| party.held)
        .sum();
    assert_eq!(held, 1);
}

#[tokio::test]
async fn a_store_outlives_the_server() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::bind(kept(&folder)).await.unwrap();
    let mut config = kept(&folder);
    config.listen = server.endpoints().to_vec();
    let a = party(&server, "a").await;
    let channel = a.variable("x", "b").unwrap();
    for number in 0..20 {
        within(channel.send(&number)).await.unwrap();
    }
    within(a.close()).await;
    within(server.shutdown(DEADLINE)).await.unwrap();

    let mut server = Server::bind(config.clone()).await.unwrap();
    let b = party(&server, "b").await;
    let channel = b.variable("x", "a").unwrap();
    for number in 0..10 {
        assert_eq!(within(channel.recv::<i32>()).await.unwrap(), number);
    }
    // In the middle, with the receiver there.
    within(server.shutdown(DEADLINE)).await.unwrap();
    let server = Server::bind(config).await.unwrap();
    for number in 10..20 {
        assert_eq!(within(channel.recv::<i32>()).await.unwrap(), number);
    }
    within(b.close()).await;
    let store = server.stats().await.unwrap().store.unwrap();
    assert!(store.commits > 0 && store.trouble.is_none(), "{store:?}");
}

#[tokio::test]
async fn a_server_that_keeps_nothing_may_begin_anew_while_parties_live() {
    let mut server = Server::bind(config()).await.unwrap();
    let mut again = config();
    again.listen = server.endpoints().to_vec();
    let (a, b) = (party(&server, "a").await, party(&server, "b").await);
    let (to_b, to_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
    for number in 0..30 {
        within(to_b.send(&number)).await.unwrap();
        if number == 15 {
            within(server.shutdown(Duration::ZERO)).await.unwrap();
            server = Server::bind(again.clone()).await.unwrap();
        }
    }
    for number in 0..30 {
        assert_eq!(within(to_a.recv::<i32>()).await.unwrap(), number);
    }
}

#[tokio::test]
async fn a_receiver_that_does_not_read_holds_up_nobody_else() {
    let mut config = config();
    config.limits.window_bytes = 256 << 10;
    let server = Server::bind(config).await.unwrap();
    let endpoint = server.endpoints()[0].to_string();
    let members = ["a", "b", "c"];
    let join = async |local: &str| {
        Federation::connect(party_config(&endpoint, local, &members))
            .await
            .unwrap()
    };
    let (a, b, _c) = (join("a").await, join("b").await, join("c").await);
    let stuck = a
        .variable("x", "c")
        .unwrap()
        .with_timeout(Duration::from_millis(300));
    let content = Bytes::from(vec![1; 50_000]);
    while within(stuck.send_bytes(content.clone())).await.is_ok() {}
    let (to_b, to_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
    for _ in 0..20 {
        within(to_b.send_bytes(content.clone())).await.unwrap();
        assert_eq!(within(to_a.recv_bytes()).await.unwrap().len(), content.len());
    }
}

#[tokio::test]
async fn servers_of_two_sites_pass_messages_on() {
    let (mut south, mut north) = (config(), config());
    let north_at: flexbond_session::Endpoint = "inproc://federation-north".parse().unwrap();
    north.listen = vec![north_at.clone()];
    south
        .servers
        .insert("north".to_owned(), ServerEntry::at(north_at, [id("b")]));
    north
        .servers
        .insert("south".to_owned(), ServerEntry::of([id("a")]));
    let (south, north) = (
        Server::bind(south).await.unwrap(),
        Server::bind(north).await.unwrap(),
    );
    let (a, b) = (party(&south, "a").await, party(&north, "b").await);
    within(async { tokio::try_join!(a.ready(DEADLINE), b.ready(DEADLINE)) })
        .await
        .unwrap();
    let (to_b, to_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
    for round in 0..20 {
        let other = round + 100;
        let (one, two) = within(async { tokio::join!(to_b.swap(&round), to_a.swap(&other)) }).await;
        let (one, two): (i32, i32) = (one.unwrap(), two.unwrap());
        assert_eq!((one, two), (round + 100, round));
    }
    within(async { tokio::join!(a.close(), b.close()) }).await;
}

#[tokio::test]
async fn what_needs_a_new_start_is_refused_at_a_reload() {
    let server = Server::bind(config()).await.unwrap();
    let mut limits = config();
    limits.limits = RelayLimits::default();
    let error = server.reload(limits).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`limits` cannot change while the server runs; start it again"
    );
    let mut other = config();
    other.store = Some("x".into());
    assert!(matches!(
        server.reload(other).await,
        Err(ServeError::Restart { key: "store" })
    ));
    // The port is another one only by its name.
    let mut jobs = config();
    jobs.jobs.insert("j".parse().unwrap(), JobEntry::new([id("a")]));
    server.reload(jobs).await.unwrap();
}

#[tokio::test]
async fn errors_say_what_is_in_the_way() {
    let first = Server::bind(config()).await.unwrap();
    let mut second = config();
    second.listen = first.endpoints().to_vec();
    let error = Server::bind(second).await.unwrap_err();
    assert!(matches!(error, ServeError::Bind { .. }), "{error}");

    let folder = TempDir::new().unwrap();
    let _server = Server::bind(kept(&folder)).await.unwrap();
    let error = Server::bind(kept(&folder)).await.unwrap_err();
    assert!(error.to_string().contains("in use by another process"), "{error}");
}

#[tokio::test]
async fn a_server_may_be_given_all_the_time_there_is_to_end() {
    let mut server = Server::bind(config()).await.unwrap();
    within(server.shutdown(Duration::MAX)).await.unwrap();
}

#[tokio::test]
async fn a_bind_that_fails_leaves_the_store_free() {
    let taken = Server::bind(config()).await.unwrap();
    let folder = TempDir::new().unwrap();
    for _ in 0..3 {
        let mut wrong = kept(&folder);
        wrong.listen = taken.endpoints().to_vec();
        let error = Server::bind(wrong).await.unwrap_err();
        assert!(matches!(error, ServeError::Bind { .. }), "{error}");
    }
    Server::bind(kept(&folder)).await.unwrap();
}

#[tokio::test]
async fn a_reload_that_is_dropped_changes_nothing() {
    let north = Server::bind(config()).await.unwrap();
    let south = Server::bind(config()).await.unwrap();
    let with = |name: &str| {
        let mut changed = config();
        let server = ServerEntry::at(north.endpoints()[0].clone(), [id("b")]);
        changed.servers.insert(name.to_owned(), server);
        changed
    };
    // So many commands wait that there is no place, while the driver does not run.
    let mut waiting: Vec<_> = (0..16).map(|_| Box::pin(south.stats())).collect();
    for stats in &mut waiting {
        assert!(is_pending(stats.as_mut()).await);
    }
    let mut reload = Box::pin(south.reload(with("north")));
    assert!(is_pending(reload.as_mut()).await);
    drop(reload);
    drop(waiting);
    within(south.reload(with("north-2"))).await.unwrap();
    let (a, b) = (party(&south, "a").await, party(&north, "b").await);
    within(a.variable("x", "b").unwrap().send(&1)).await.unwrap();
    assert_eq!(
        within(b.variable("x", "a").unwrap().recv::<i32>()).await.unwrap(),
        1
    );
}

#[tokio::test]
async fn what_waits_goes_to_a_server_that_is_added() {
    let mut north = config();
    north
        .servers
        .insert("south".to_owned(), ServerEntry::of([id("a")]));
    let north = Server::bind(north).await.unwrap();
    let mut south = Server::bind(config()).await.unwrap();
    let a = party(&south, "a").await;
    within(a.variable("x", "b").unwrap().send(&1)).await.unwrap();
    within(async {
        while south.next_event().await.expect("it runs").name != "joined" {}
        while south.stats().await.unwrap().relay.held_bytes == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut changed = config();
    let server = ServerEntry::at(north.endpoints()[0].clone(), [id("b")]);
    changed.servers.insert("north".to_owned(), server);
    within(south.reload(changed)).await.unwrap();
    let b = party(&north, "b").await;
    assert_eq!(
        within(b.variable("x", "a").unwrap().recv::<i32>()).await.unwrap(),
        1
    );
}

#[tokio::test]
async fn a_party_does_not_move_while_its_job_goes_on() {
    let north = Server::bind(config()).await.unwrap();
    let mut with_north = config();
    let entry = ServerEntry::at(north.endpoints()[0].clone(), [id("b")]);
    with_north.servers.insert("north".to_owned(), entry);
    let south = Server::bind(config()).await.unwrap();
    let (a, b) = (party(&south, "a").await, party(&south, "b").await);
    within(a.variable("x", "b").unwrap().send(&1)).await.unwrap();
    let received = within(b.variable("x", "a").unwrap().recv::<i32>()).await;
    assert_eq!(received.unwrap(), 1);
    let error = within(south.reload(with_north.clone())).await.unwrap_err();
    assert!(
        matches!(&error, ServeError::Moved { party, .. } if *party == id("b")),
        "{error}"
    );
    within(a.variable("x", "b").unwrap().send(&2)).await.unwrap();
    let received = within(b.variable("x", "a").unwrap().recv::<i32>()).await;
    assert_eq!(received.unwrap(), 2, "all is as it was");
    within(async {
        tokio::join!(a.close(), b.close());
        while south.reload(with_north.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(south.stats().await.unwrap().relay.jobs.is_empty());
}

#[cfg(feature = "curve")]
mod keys {
    use std::path::{Path, PathBuf};

    use flexbond_session::socket::{Certificate, generate_keys};

    use super::*;
    use crate::federation::CurveKeys;

    /// Makes keys in a file, and returns it and the public key.
    fn keys(folder: &Path, name: &str) -> (PathBuf, String) {
        let keys = generate_keys().unwrap();
        let path = folder.join(name).with_extension("key_secret");
        std::fs::write(&path, Certificate::secret_text(&keys).as_bytes()).unwrap();
        (path, keys.public().to_string())
    }

    struct Site {
        folder: TempDir,
        server_key: String,
        config: ServerConfig,
    }

    impl Site {
        fn new(parties: &[&str]) -> Self {
            let folder = TempDir::new().unwrap();
            let mut config = config();
            let (secret, server_key) = keys(folder.path(), "server");
            config.curve = Some(ServerKeys::new(secret));
            let mut site = Site {
                folder,
                server_key,
                config,
            };
            parties.iter().for_each(|party| site.admit(party));
            site
        }

        /// Gives a party a key, which may not be its first.
        fn admit(&mut self, party: &str) {
            let (_, public) = keys(self.folder.path(), party);
            let entry = PartyEntry {
                key: Some(public),
                ..PartyEntry::default()
            };
            self.config.parties.insert(id(party), entry);
        }

        /// A party with the key of somebody, who may be somebody else.
        async fn party(&self, server: &Server, local: &str, key: &str) -> Federation {
            let endpoint = server.endpoints()[0].to_string();
            let file = self.folder.path().join(key).with_extension("key_secret");
            let config =
                party_config(&endpoint, local, &["a", "b"]).curve(CurveKeys::new(file, &*self.server_key));
            Federation::connect(config).await.unwrap()
        }
    }

    async fn event(server: &mut Server, name: &str) -> ServerEvent {
        within(async {
            loop {
                let event = server.next_event().await.expect("it runs");
                if event.name == name {
                    return event;
                }
            }
        })
        .await
    }

    #[tokio::test]
    async fn a_key_is_bound_to_one_party() {
        let site = Site::new(&["a", "b", "c"]);
        let mut server = Server::bind(site.config.clone()).await.unwrap();
        let a = site.party(&server, "a", "a").await;
        // It has a key of its own, and says that it is b.
        let false_b = site.party(&server, "b", "c").await;
        let forged = event(&mut server, "forged").await;
        assert_eq!(
            forged.to_string(),
            "job job-1: c has said to be b, and is not believed"
        );
        let asked = false_b
            .variable("x", "a")
            .unwrap()
            .with_timeout(Duration::from_millis(200));
        asked.recv::<i32>().await.unwrap_err();
        assert_eq!(a.presence(&id("b")), Some(Presence::Unseen));

        // One whose key is not known does not come in at all.
        keys(site.folder.path(), "stranger");
        let _stranger = site.party(&server, "b", "stranger").await;
        let rejected = event(&mut server, "rejected").await;
        assert!(rejected.to_string().contains("is not on the list"), "{rejected}");

        let b = site.party(&server, "b", "b").await;
        let (to_b, to_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
        let (one, two) = within(async { tokio::join!(to_b.swap(&1), to_a.swap(&2)) }).await;
        let (one, two): (i32, i32) = (one.unwrap(), two.unwrap());
        assert_eq!((one, two), (2, 1));
        assert!(server.stats().await.unwrap().relay.forged > 0);
    }

    #[tokio::test]
    async fn a_party_that_does_not_come_in_is_told() {
        /// Until this is known of b.
        async fn until(a: &Federation, text: &str) {
            within(async {
                while !a.presence(&id("b")).unwrap().to_string().contains(text) {
                    a.ready(Duration::from_millis(20)).await.unwrap_err();
                }
            })
            .await;
        }
        let mut site = Site::new(&["a"]);
        let server = Server::bind(site.config.clone()).await.unwrap();
        keys(site.folder.path(), "stranger");
        let stranger = site.party(&server, "a", "stranger").await;
        until(&stranger, "do not accept each other: ").await;
        let error = stranger.ready(Duration::ZERO).await.unwrap_err().to_string();
        assert!(
            error.contains("party b is out of reach")
                || error.contains("b is out of reach: the message server"),
            "{error}"
        );
        site.server_key = keys(site.folder.path(), "other").1;
        until(&site.party(&server, "a", "a").await, "do not accept each other: ").await;
        let a = Federation::connect(party_config("127.0.0.1:1", "a", &["a", "b"]))
            .await
            .unwrap();
        until(&a, "the message server cannot be connected to: ").await;
        let presence = a.presence(&id("b"));
        assert!(
            matches!(&presence, Some(Presence::NoServer(Some(why))) if why.contains("refused")),
            "{presence:?}"
        );
    }

    #[tokio::test]
    async fn a_reload_ends_whose_key_is_gone_and_lets_in_who_is_new() {
        let mut site = Site::new(&["a"]);
        let mut server = Server::bind(site.config.clone()).await.unwrap();
        let first = site.party(&server, "a", "a").await;
        event(&mut server, "joined").await;
        site.admit("b");
        // A new key, in the place of the old one.
        site.admit("a");
        server.reload(site.config.clone()).await.unwrap();
        let rejected = event(&mut server, "rejected").await;
        assert!(rejected.to_string().contains("is not on the list"), "{rejected}");
        drop(first);
        let (a, b) = (
            site.party(&server, "a", "a").await,
            site.party(&server, "b", "b").await,
        );
        let (to_b, to_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
        within(to_b.send(&1)).await.unwrap();
        assert_eq!(within(to_a.recv::<i32>()).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_silent_connection_with_a_replaced_key_ends_at_the_reload() {
        use flexbond_session::socket::{CurveClient, Options, Socket, SocketType};

        let mut site = Site::new(&["b"]);
        let stolen = generate_keys().unwrap();
        let entry = PartyEntry {
            key: Some(stolen.public().to_string()),
            ..PartyEntry::default()
        };
        site.config.parties.insert(id("a"), entry);
        let mut server = Server::bind(site.config.clone()).await.unwrap();
        let client = CurveClient::new(site.server_key.parse().unwrap(), stolen);
        let thief = Socket::with_options(SocketType::Dealer, Options::new().curve_client(client)).unwrap();
        thief.connect(&server.endpoints()[0]).unwrap();
        event(&mut server, "connected").await;

        site.admit("a");
        server.reload(site.config.clone()).await.unwrap();
        let ended = event(&mut server, "disconnected").await;
        assert!(
            ended.to_string().contains("the configuration has changed"),
            "{ended}"
        );
        let rejected = event(&mut server, "rejected").await;
        assert!(rejected.to_string().contains("is not on the list"), "{rejected}");
    }

    #[tokio::test]
    async fn errors_of_keys_name_the_key() {
        let site = Site::new(&["a"]);
        let mut config = site.config.clone();
        config.curve = Some(ServerKeys::new("/nowhere"));
        let error = Server::bind(config).await.unwrap_err().to_string();
        assert_eq!(error, "`curve.secret_file`: cannot read /nowhere");
        let party = party_config("127.0.0.1:1", "a", &["a", "b"]);
        let wrong = party.clone().curve(CurveKeys::new("/nowhere", "short"));
        let error = Federation::connect(wrong).await.unwrap_err().to_string();
        assert!(error.starts_with("`curve.server_key`: "), "{error}");
        let missing = party.curve(CurveKeys::new("/nowhere", &*site.server_key));
        let error = Federation::connect(missing).await.unwrap_err().to_string();
        assert_eq!(error, "`curve.secret_file`: cannot read /nowhere");
    }
}
