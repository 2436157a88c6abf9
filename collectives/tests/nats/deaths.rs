//! `kill -9` of the server and of parties: each message once and in order.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flexbond_collectives::federation::{Config, ConnectError, Federation, NatsError};

use crate::server::{self, NatsServer};
use crate::{config, join, within};

/// What a party of its own process is told by.
const CHILD: &str = "FLEXBOND_TEST_PARTY";
const MESSAGES: u64 = 100;

/// How many kills there are; more are for a long soak.
fn kills() -> u64 {
    let given = std::env::var("FLEXBOND_NATS_KILLS").ok();
    given.map_or(3, |given| given.parse().expect("a number of kills"))
}

/// How many messages there are, so that there are some to the last kill.
fn messages() -> u64 {
    MESSAGES.max(kills() * 40)
}

#[tokio::test]
async fn the_server_dies_and_nothing_is_lost_or_doubled() {
    if !server::is_there() {
        return;
    }
    let mut server = NatsServer::start();
    let [a, b] = ["a", "b"].map(|name| config(&server.url(), name, &["a", "b"]));
    let (a, b) = (join(a).await, join(b).await);
    let sending = async {
        let to_b = a.variable("x", "b").unwrap();
        for number in 0..MESSAGES {
            to_b.send(&number).await.unwrap();
            if number % 30 == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        to_b.delivered().await.unwrap();
    };
    let receiving = async {
        let from_a = b.variable("x", "a").unwrap();
        for number in 0..MESSAGES {
            assert_eq!(from_a.recv_numbered::<u64>().await.unwrap(), (number, number));
        }
    };
    let killing = async {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(20..100))).await;
            server.kill();
            server.run();
        }
    };
    within(async { tokio::join!(sending, receiving, killing) }).await;
}

/// The job of a party of its own process: sends and receives numbers, and writes down what it has, until all is there.
async fn work(config: Config, folder: &Path) {
    let local = config.local().clone();
    let other = if local == "a" { "b" } else { "a" };
    let path = folder.join(local.as_str());
    let known = fs::read_to_string(&path).unwrap_or_default();
    let mut file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .unwrap();
    // The server may be dead just now.
    let party = loop {
        match Federation::connect(config.clone()).await {
            Ok(party) => break party,
            Err(ConnectError::Nats(NatsError::Unreachable { .. } | NatsError::Failed { .. })) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    let channel = party.variable("x", other).unwrap().with_timeout(Duration::MAX);
    let mut next = known.lines().count() as u64;
    channel.resume_at(next).unwrap();
    let sending = async {
        for number in channel.next_offset().await.unwrap()..messages() {
            channel.send(&number).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        channel.delivered().await.unwrap();
    };
    let receiving = async {
        while next < messages() {
            let (offset, number) = channel.recv_numbered::<u64>().await.unwrap();
            // One write: a line is there or not.
            file.write_all(format!("{offset} {number}\n").as_bytes()).unwrap();
            next += 1;
        }
    };
    tokio::join!(sending, receiving);
    party.close().await;
}

/// Not a test where nobody asks for a party.
#[test]
fn a_party_of_its_own_process() {
    let Ok(order) = std::env::var(CHILD) else {
        return;
    };
    let [local, url, folder] = order.split('|').collect::<Vec<_>>()[..] else {
        panic!("{order}");
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work(config(url, local, &["a", "b"]), Path::new(folder)));
}

fn spawn(local: &str, url: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "deaths::a_party_of_its_own_process", "--nocapture"])
        .env(CHILD, format!("{local}|{url}|{}", folder.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn parties_and_the_server_die_and_nothing_is_lost_or_doubled() {
    if !server::is_there() {
        return;
    }
    let mut server = NatsServer::start();
    let folder = tempfile::tempdir().unwrap();
    let (url, seed) = (server.url(), fastrand::u64(..));
    let mut rng = fastrand::Rng::with_seed(seed);
    let names = ["a", "b"];
    let mut children = names.map(|name| Some(spawn(name, &url, folder.path())));
    let deadline = Instant::now() + Duration::from_secs(60 + kills());
    let (mut killed, kills) = (0, kills());
    while children.iter().any(Option::is_some) {
        assert!(Instant::now() < deadline, "seed {seed}: it takes too long");
        std::thread::sleep(Duration::from_millis(rng.u64(20..150)));
        let which = rng.usize(..3);
        if killed < kills && which < 2 {
            if let Some(child) = &mut children[which] {
                child.kill().unwrap();
                child.wait().unwrap();
                children[which] = Some(spawn(names[which], &url, folder.path()));
                killed += 1;
            }
        } else if killed < kills {
            server.kill();
            server.run();
            killed += 1;
        }
        for child in &mut children {
            if let Some(status) = child.as_mut().and_then(|child| child.try_wait().unwrap()) {
                assert!(status.success(), "seed {seed}: {status}");
                *child = None;
            }
        }
    }
    let expected: String = (0..messages())
        .map(|number| format!("{number} {number}\n"))
        .collect();
    for name in names {
        let got = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(got == expected, "seed {seed}, {name}: {got}");
    }
}
