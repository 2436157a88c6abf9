//! Federated jobs over a real NATS server with JetStream.

mod server;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use flexbond_collectives::federation::{Config, Federation, Limits, NatsOptions, Role};

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

fn config(server: &NatsServer, local: &str, parties: &[&str]) -> Config {
    let mut config = Config::new("job 1".parse().unwrap(), local.parse().unwrap())
        .by_server(server.url())
        .limits(limits());
    for (index, party) in parties.iter().enumerate() {
        let role = if index == 0 { Role::Guest } else { Role::Host };
        config = config.member(party.parse().unwrap(), role);
    }
    config
}

async fn join(server: &NatsServer, local: &str, parties: &[&str]) -> Federation {
    Federation::connect(config(server, local, parties)).await.unwrap()
}

#[tokio::test]
async fn values_and_large_buffers_come_over() {
    if !server::is_there() {
        return;
    }
    let server = NatsServer::start();
    let names = ["a.1", "b ü"];
    let (a, b) = (
        join(&server, names[0], &names).await,
        join(&server, names[1], &names).await,
    );
    within(a.ready(DEADLINE)).await.unwrap();
    within(b.ready(DEADLINE)).await.unwrap();
    let (to_b, from_a) = (
        a.variable("x", names[1]).unwrap(),
        b.variable("x", names[0]).unwrap(),
    );
    let start = std::time::Instant::now();
    for number in 0..1000 {
        to_b.send(&number).await.unwrap();
    }
    for number in 0..1000 {
        assert_eq!(within(from_a.recv::<i32>()).await.unwrap(), number);
    }
    eprintln!("1000 values: {:?}", start.elapsed());
    let start = std::time::Instant::now();
    for number in 0..100 {
        let (one, two) =
            within(async { tokio::join!(to_b.swap::<_, i32>(&number), from_a.swap::<_, i32>(&number)) })
                .await;
        assert_eq!((one.unwrap(), two.unwrap()), (number, number));
    }
    eprintln!("100 swaps: {:?}", start.elapsed());
    let large = Bytes::from(vec![7; 40 << 20]);
    let start = std::time::Instant::now();
    to_b.send_bytes(large.clone()).await.unwrap();
    assert!(within(from_a.recv_bytes()).await.unwrap() == large);
    eprintln!("40 MiB: {:?}", start.elapsed());
    within(to_b.delivered()).await.unwrap();
    within(a.close()).await;
    within(b.close()).await;
}
