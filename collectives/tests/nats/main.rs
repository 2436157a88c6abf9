//! Federated jobs over a real NATS server with JetStream: what its limits, its death and the death of parties do.

mod deaths;
mod server;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use flexbond_collectives::federation::{
    ChannelError, Config, ConnectError, Federation, Limits, NatsError, NatsOptions, Presence, Role, Waiting,
};

use self::server::NatsServer;

/// No test waits longer for anything.
const DEADLINE: Duration = Duration::from_secs(20);

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .expect("it takes too long")
}

/// Times that are short enough for tests.
fn limits() -> Limits {
    Limits::new()
        .heartbeat(Duration::from_millis(100))
        .dead_after(Duration::from_millis(400))
        .retry(Duration::from_millis(100))
}

fn config(url: &str, local: &str, parties: &[&str]) -> Config {
    let mut config = Config::new("job 1".parse().unwrap(), local.parse().unwrap())
        .by_server(url)
        .limits(limits());
    for (index, party) in parties.iter().enumerate() {
        let role = if index == 0 { Role::Guest } else { Role::Host };
        config = config.member(party.parse().unwrap(), role);
    }
    config
}

async fn join(config: Config) -> Federation {
    within(Federation::connect(config)).await.unwrap()
}

#[tokio::test]
async fn names_of_any_characters_and_messages_of_many_pieces() {
    if !server::is_there() {
        return;
    }
    let server = NatsServer::start();
    let names = ["a.*>", "b ü"];
    let [a, b] = names.map(|name| config(&server.url(), name, &names));
    let (a, b) = (join(a).await, join(b).await);
    within(a.ready(DEADLINE)).await.unwrap();
    let to_b = a.variable("x . y", names[1]).unwrap();
    let from_a = b.variable("x . y", names[0]).unwrap();
    let large = Bytes::from((0..20_u32 << 20).map(|number| number as u8).collect::<Vec<_>>());
    let buffers = vec![
        Bytes::new(),
        large.clone(),
        large.slice(..3_000_001),
        Bytes::new(),
    ];
    to_b.send_with("value", buffers.clone()).await.unwrap();
    to_b.send("behind").await.unwrap();
    let (value, came) = within(from_a.recv_with::<String>()).await.unwrap();
    assert!(value == "value" && came == buffers);
    assert_eq!(within(from_a.recv::<String>()).await.unwrap(), "behind");
    within(to_b.delivered()).await.unwrap();
    within(a.close()).await;
    within(b.close()).await;
}

#[tokio::test]
async fn the_sender_may_leave_before_the_receiver_comes() {
    if !server::is_there() {
        return;
    }
    let server = NatsServer::start();
    let [a, b] = ["a", "b"].map(|name| config(&server.url(), name, &["a", "b"]));
    for start in 0..3 {
        let a = join(a.clone()).await;
        let to_b = a.variable("x", "b").unwrap();
        assert_eq!(within(to_b.next_offset()).await.unwrap(), 10 * start);
        for number in 0..10 {
            to_b.send(&(10 * start + number)).await.unwrap();
        }
        within(a.close()).await;
    }
    let b = join(b).await;
    let from_a = b.variable("x", "a").unwrap();
    for number in 0..30_u64 {
        assert_eq!(
            within(from_a.recv_numbered::<u64>()).await.unwrap(),
            (number, number)
        );
    }
    // It may come back, as it did before.
    let hasty = from_a.with_timeout(Duration::from_millis(300));
    let error = within(hasty.recv::<u64>()).await.unwrap_err();
    let has_left = |presence: &Presence| matches!(presence, Presence::Left);
    assert!(
        matches!(&error, ChannelError::Timeout { presence, .. } if has_left(presence)),
        "{error}"
    );
}

#[tokio::test]
async fn a_full_stream_stops_its_senders_and_says_so() {
    if !server::is_there() {
        return;
    }
    let server = NatsServer::start();
    let options = NatsOptions::new().max_bytes(Some(2 << 20));
    let [a, b] = ["a", "b"].map(|name| config(&server.url(), name, &["a", "b"]).nats(options.clone()));
    let a = join(a).await;
    let to_b = a
        .variable("x", "b")
        .unwrap()
        .with_timeout(Duration::from_millis(300));
    let mut sent = 0_u64;
    let error = loop {
        let buffer = Bytes::from(vec![1; 100_000]);
        match to_b.send_with(&sent, vec![buffer]).await {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        if sent == 64 {
            break within(to_b.delivered()).await.unwrap_err();
        }
    };
    assert!(
        matches!(
            error,
            ChannelError::Timeout {
                what: Waiting::ServerRoom,
                ..
            }
        ),
        "{error}"
    );
    let b = join(b).await;
    let from_a = b.variable("x", "a").unwrap();
    for number in 0..sent {
        let (value, _) = within(from_a.recv_with::<u64>()).await.unwrap();
        assert_eq!(value, number);
    }
    within(to_b.with_timeout(DEADLINE).delivered()).await.unwrap();
}

#[tokio::test]
async fn what_has_waited_too_long_is_gone_and_said_to_be() {
    if !server::is_there() {
        return;
    }
    let server = NatsServer::start();
    let [a, b] = ["a", "b"].map(|name| config(&server.url(), name, &["a", "b"]));
    let a = join(a).await;
    let to_b = a.variable("x", "b").unwrap();
    let brief = to_b.clone().with_ttl(Some(Duration::from_millis(50)));
    brief.send(&1).await.unwrap();
    to_b.send(&2).await.unwrap();
    // Both are stored before the time is over.
    within(a.close()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let b = join(b).await;
    let from_a = b.variable("x", "a").unwrap();
    let error = within(from_a.recv::<i32>()).await.unwrap_err();
    assert!(
        matches!(error, ChannelError::Expired { offset: 0, .. }),
        "{error}"
    );
    assert_eq!(within(from_a.recv::<i32>()).await.unwrap(), 2);
}

#[tokio::test]
async fn parties_with_different_members_are_told() {
    if !server::is_there() {
        return;
    }
    let server = NatsServer::start();
    let a = join(config(&server.url(), "a", &["a", "b"])).await;
    let b = join(config(&server.url(), "b", &["a", "b", "c"])).await;
    let error = within(a.ready(DEADLINE)).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "party b refuses this party: its configuration names other parties for this job; both must name the same"
    );
    drop(b);
}

async fn refused(config: Config) -> NatsError {
    match within(Federation::connect(config)).await {
        Err(ConnectError::Nats(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn errors_say_what_is_wrong_with_the_server() {
    let brief = limits().timeout(Duration::from_millis(200));
    let error = refused(config("nats://127.0.0.1:1", "a", &["a", "b"]).limits(brief)).await;
    assert!(matches!(error, NatsError::Unreachable { .. }), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("cannot reach the NATS server 127.0.0.1:1: "),
        "{error}"
    );
    let error = refused(config("nats://:::", "a", &["a", "b"])).await;
    assert!(matches!(error, NatsError::Address { .. }), "{error}");
    let credentials = NatsOptions::new().credentials(Some("nowhere.creds".into()));
    let error = refused(config("nats://127.0.0.1:1", "a", &["a"]).nats(credentials)).await;
    assert!(matches!(error, NatsError::Credentials { .. }), "{error}");
    if !server::is_there() {
        return;
    }
    let bare = NatsServer::with_args(&[]);
    let error = refused(config(&bare.url(), "a", &["a", "b"])).await;
    assert!(matches!(error, NatsError::NoJetStream { .. }), "{error}");
    let guarded = NatsServer::with_args(&["-js", "--user", "u", "--pass", "p@"]);
    let error = refused(config(&guarded.url(), "a", &["a", "b"])).await;
    assert!(matches!(error, NatsError::Denied { .. }), "{error}");
    let url = guarded.url().replace("nats://", "nats://u:p%40@");
    join(config(&url, "a", &["a", "b"])).await;
    let many = NatsOptions::new().replicas(3).prefix("other".to_owned());
    let error = refused(config(&url, "a", &["a", "b"]).nats(many)).await;
    assert!(matches!(error, NatsError::NoRoom { .. }), "{error}");
}
