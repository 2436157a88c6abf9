//! Parties that reach each other over tcp and ipc.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use flexbond_session::socket::{AuthRequest, Authenticator, Decision};

use super::*;
use crate::federation::federation::Federation;
use crate::federation::limits::Limits;
use crate::federation::name::Role;

const DEADLINE: Duration = Duration::from_secs(60);

const NAMES: [&str; 2] = ["a", "b"];

fn config(local: &str, parties: &[&str]) -> Config {
    let config = Config::new("job-1".parse().unwrap(), id(local));
    parties
        .iter()
        .fold(config, |config, party| config.member(id(party), Role::Host))
}

/// Ends with an error what takes too long.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .expect("it takes too long")
}

fn id(name: &str) -> PartyId {
    name.parse().unwrap()
}

async fn pair(endpoints: [&str; 2], limits: &Limits) -> [Federation; 2] {
    let bound = |endpoint: &str| DirectCarrier::bind(endpoint.parse().unwrap(), Options::new());
    let mut carriers = [
        bound(endpoints[0]).await.unwrap(),
        bound(endpoints[1]).await.unwrap(),
    ];
    let endpoints: [Endpoint; 2] = [0, 1].map(|index: usize| carriers[index].endpoint().clone());
    carriers[0]
        .connect(id("b"), endpoints[1].clone(), Options::new())
        .unwrap();
    carriers[1]
        .connect(id("a"), endpoints[0].clone(), Options::new())
        .unwrap();
    let mut names = NAMES.into_iter();
    carriers.map(|carrier| {
        let config = config(names.next().unwrap(), &NAMES).limits(limits.clone());
        Federation::join(config, carrier).unwrap()
    })
}

async fn exchange([a, b]: [Federation; 2]) {
    within(async { tokio::try_join!(a.ready(Duration::from_secs(30)), b.ready(Duration::from_secs(30))) })
        .await
        .unwrap();
    let (to_b, to_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
    let large = Bytes::from((0..3_000_000_u32).map(|i| i as u8).collect::<Vec<_>>());
    to_b.send_bytes(large.clone()).await.unwrap();
    assert!(within(to_a.recv_bytes()).await.unwrap() == large);
    for round in 0..100 {
        let other = round + 1000;
        let (one, two) = within(async { tokio::join!(to_b.swap(&round), to_a.swap(&other)) }).await;
        let (one, two): (i32, i32) = (one.unwrap(), two.unwrap());
        assert_eq!((one, two), (round + 1000, round));
    }
    within(async { tokio::join!(a.close(), b.close()) }).await;
}

#[tokio::test]
async fn over_tcp_in_pieces() {
    let limits = Limits::new().piece(100_000);
    exchange(pair(["tcp://127.0.0.1:0", "tcp://127.0.0.1:0"], &limits).await).await;
}

#[cfg(all(feature = "ipc", target_os = "linux"))]
#[tokio::test]
async fn over_ipc() {
    let own = std::process::id();
    let endpoints = ["a", "b"].map(|name| format!("ipc://@flexbond-federation-{own}-{name}"));
    exchange(pair([&endpoints[0], &endpoints[1]], &Limits::default()).await).await;
}

/// Knows everybody as the party that it is made for.
struct AlwaysKnown(&'static str);

#[flexbond_session::async_trait]
impl Authenticator for AlwaysKnown {
    async fn authenticate(&self, _: AuthRequest) -> Decision {
        Decision::allow(self.0)
    }
}

#[tokio::test]
async fn a_proved_party_cannot_speak_for_another() {
    let endpoint = || "tcp://127.0.0.1:0".parse().unwrap();
    let names = ["a", "b", "c"];
    let known = Options::new().authenticator(AlwaysKnown("c"));
    let mut carrier = DirectCarrier::bind(endpoint(), known).await.unwrap();
    let mut other = DirectCarrier::bind(endpoint(), Options::new()).await.unwrap();
    carrier
        .connect(id("b"), other.endpoint().clone(), Options::new())
        .unwrap();
    other
        .connect(id("a"), carrier.endpoint().clone(), Options::new())
        .unwrap();
    let a = Federation::join(config("a", &names), carrier).unwrap();
    // It has the key of c, and says that it is b.
    let b = Federation::join(config("b", &names), other).unwrap();
    let to_a = b.variable("x", "a").unwrap();
    to_a.send(&1).await.unwrap();
    let patient = a
        .variable("x", "b")
        .unwrap()
        .with_timeout(Duration::from_millis(200));
    patient.recv::<i32>().await.unwrap_err();
    assert_eq!(a.presence(&id("b")).unwrap().to_string(), "has not been heard of");
}

#[tokio::test]
async fn errors_name_the_party() {
    let config = config("a", &NAMES).address(id("a"), "tcp://127.0.0.1:0");
    let error = DirectCarrier::from_config(&config).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`addresses` has none for party b; add one, such as \"tcp://host:9370\""
    );
    let error = DirectCarrier::from_config(&config.address(id("b"), "b:1"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the address of party b is wrong");
}

#[tokio::test]
async fn what_a_party_has_sent_before_it_was_lost_comes_first() {
    let bound = || DirectCarrier::bind("tcp://127.0.0.1:0".parse().unwrap(), Options::new());
    let (mut a, mut b) = (bound().await.unwrap(), bound().await.unwrap());
    let (to_a, to_b) = (a.endpoint().clone(), b.endpoint().clone());
    b.connect(id("a"), to_a, Options::new()).unwrap();
    a.connect(id("b"), to_b, Options::new()).unwrap();
    for number in 0..QUEUED {
        let mut packet = Some(Message::from(format!("{number}")));
        within(poll_fn(|cx| b.poll_send(cx, &id("a"), &mut packet))).await;
    }
    // Both are connected when `a` has had the first of these, and `b` something of `a`.
    let mut packet = Some(Message::from("hello"));
    within(poll_fn(|cx| a.poll_send(cx, &id("b"), &mut packet))).await;
    within(poll_fn(|cx| b.poll_recv(cx))).await;
    drop(b);
    let mut count = 0;
    loop {
        match within(poll_fn(|cx| a.poll_recv(cx))).await {
            Arrival::Packet(_) => count += 1,
            Arrival::Lost(party) => {
                assert_eq!((party, count), (id("b"), QUEUED));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}
