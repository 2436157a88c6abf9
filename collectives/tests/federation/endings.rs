//! Aborts, deaths, new starts, and those who have no place in a job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use flexbond_collectives::federation::{
    Arrival, Carrier, ChannelError, Config, Federation, JoinError, MemoryCarrier, MemoryNetwork, Message,
    Over, PartyId, Presence, RefusedReason, Role,
};

use crate::network::{Network, over_all_networks};
use crate::{config, join, within};

over_all_networks!(
    an_abort_ends_what_all_wait_for,
    messages_for_a_program_that_starts_later_wait,
    of_two_with_one_id_the_second_is_told,
);

async fn an_abort_ends_what_all_wait_for(network: Network) {
    let [a, b, c] = network.parties(["a", "b", "c"], &network.limits()).await;
    for party in [&a, &b, &c] {
        within(party.ready(Duration::from_secs(30))).await.unwrap();
    }
    let (from_a, from_b) = (c.variable("x", "a").unwrap(), c.variable("x", "b").unwrap());
    let aborted = async {
        tokio::task::yield_now().await;
        b.abort("the data are wrong");
    };
    let (one, two, ()) =
        within(async { tokio::join!(from_a.recv::<i32>(), from_b.recv::<i32>(), aborted) }).await;
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert_eq!(
            error.to_string(),
            "party b has aborted the job: the data are wrong"
        );
    }
    assert!(matches!(within(a.over()).await, Over::Aborted { by, .. } if by == "b"));
    let error = a.variable("x", "c").unwrap().send(&1).await.unwrap_err();
    assert!(
        matches!(error, ChannelError::Over(Over::Aborted { .. })),
        "{error}"
    );
    assert!(matches!(a.ready(Duration::ZERO).await, Err(JoinError::Over(_))));
}

/// A party's end that can be cut off, as by the death of its process.
struct Mortal {
    carrier: Option<MemoryCarrier>,
    dead: Arc<AtomicBool>,
}

impl Mortal {
    fn living(&mut self) -> Option<&mut MemoryCarrier> {
        if self.dead.load(Ordering::SeqCst) {
            self.carrier = None;
        }
        self.carrier.as_mut()
    }
}

impl Carrier for Mortal {
    fn poll_send(&mut self, cx: &mut Context<'_>, to: &PartyId, packet: &mut Option<Message>) -> Poll<()> {
        match self.living() {
            Some(carrier) => carrier.poll_send(cx, to, packet),
            None => {
                *packet = None;
                Poll::Ready(())
            }
        }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        self.living()
            .map_or(Poll::Pending, |carrier| carrier.poll_recv(cx))
    }
}

#[tokio::test(start_paused = true)]
async fn a_party_that_dies_and_starts_again_goes_on_where_it_was() {
    let network = MemoryNetwork::new();
    let names = ["a", "b"];
    let a = join(&network, config("a", &names));
    let from_b = a.variable("x", "b").unwrap();
    let mut got = Vec::new();
    for life in 0..4 {
        let dead = Arc::new(AtomicBool::new(false));
        let carrier = Some(network.carrier("b".parse().unwrap()));
        let mortal = Mortal {
            carrier,
            dead: Arc::clone(&dead),
        };
        let b = Federation::join(config("b", &names), mortal).unwrap();
        let to_a = b.variable("x", "a").unwrap();
        // What was sent just before its death may have come or not; it asks.
        for next in within(to_a.next_offset()).await.unwrap()..5 * (life + 1) {
            to_a.send(&next).await.unwrap();
        }
        if life == 3 {
            within(b.close()).await;
        } else {
            for _ in 0..life {
                got.push(within(from_b.recv_numbered::<u64>()).await.unwrap());
            }
            dead.store(true, Ordering::SeqCst);
        }
    }
    while got.len() < 20 {
        got.push(within(from_b.recv_numbered()).await.unwrap());
    }
    assert!(got.into_iter().eq((0..20).map(|number| (number, number))));
}

#[tokio::test(start_paused = true)]
async fn a_program_that_says_what_it_has_gets_the_rest() {
    let network = MemoryNetwork::new();
    let names = ["a", "b"];
    let a = join(&network, config("a", &names));
    let to_b = a.variable("x", "b").unwrap();
    for number in 0..10_u64 {
        to_b.send(&number).await.unwrap();
    }
    let dead = Arc::new(AtomicBool::new(false));
    let mortal = Mortal {
        carrier: Some(network.carrier("b".parse().unwrap())),
        dead: Arc::clone(&dead),
    };
    let b = Federation::join(config("b", &names), mortal).unwrap();
    let from_a = b.variable("x", "a").unwrap();
    for number in 0..4 {
        assert_eq!(
            within(from_a.recv_numbered::<u64>()).await.unwrap(),
            (number, number)
        );
        if number == 3 {
            // It dies with its last receive written down, and before anybody hears of it.
            dead.store(true, Ordering::SeqCst);
        }
    }
    let b = join(&network, config("b", &names));
    let from_a = b.variable("x", "a").unwrap();
    from_a.resume_at(4).unwrap();
    for number in 4..10 {
        assert_eq!(
            within(from_a.recv_numbered::<u64>()).await.unwrap(),
            (number, number)
        );
    }
    within(to_b.delivered()).await.unwrap();
}

async fn messages_for_a_program_that_starts_later_wait(network: Network) {
    let config = |name| config(name, &["a", "b"]).limits(network.limits());
    let a = network.join(config("a")).await;
    let to_b = a.variable("x", "b").unwrap();
    for i in 0..10 {
        to_b.send(&i).await.unwrap();
    }
    // An hour where time is virtual, and a moment where it is not.
    tokio::time::sleep(network.pause()).await;
    assert_eq!(a.presence(&"b".parse().unwrap()), Some(Presence::Unseen));
    let b = network.join(config("b")).await;
    let from_a = b.variable("x", "a").unwrap();
    for i in 0..10 {
        assert_eq!(within(from_a.recv::<i32>()).await.unwrap(), i);
    }
}

async fn of_two_with_one_id_the_second_is_told(network: Network) {
    let config = |name| config(name, &["a", "b"]).limits(network.limits());
    let a = network.join(config("a")).await;
    let b = network.join(config("b")).await;
    within(a.ready(Duration::from_secs(30))).await.unwrap();
    let second = network.join(config("b")).await;
    let after = network.time(10);
    let error = within(second.ready(after)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "after {after:?}, not all parties see each other: a refuses this party: another process with this id is there"
        )
    );
    let swap = async { tokio::join!(exchange(&a, "b"), exchange(&b, "a")) };
    assert_eq!(
        within(swap).await,
        ("b".to_owned(), "a".to_owned()),
        "the first is not hurt"
    );
    // The first one leaves, and the second takes its place.
    b.close().await;
    within(second.ready(Duration::from_secs(30))).await.unwrap();
}

async fn exchange(party: &Federation, with: &str) -> String {
    let channel = party.variable("x", with).unwrap();
    channel.swap(party.local_id().as_str()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn another_job_and_a_stranger_have_no_place() {
    let network = MemoryNetwork::new();
    let a = join(&network, config("a", &["a", "b"]));
    let other = Config::new("job-2".parse().unwrap(), "b".parse().unwrap())
        .member("a".parse().unwrap(), Role::Guest)
        .member("b".parse().unwrap(), Role::Host);
    let b = join(&network, other);
    let error = within(b.ready(Duration::from_secs(30))).await.unwrap_err();
    assert!(
        matches!(
            error,
            JoinError::Refused {
                reason: RefusedReason::OtherJob,
                ..
            }
        ),
        "{error}"
    );
    let error = b.variable("x", "a").unwrap().recv::<i32>().await.unwrap_err();
    assert!(matches!(error, ChannelError::Refused { .. }), "{error}");
    drop(b);

    let stranger = join(&network, config("s", &["a", "s"]));
    let error = within(stranger.ready(Duration::from_secs(10))).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "after 10s, not all parties see each other: a has not been heard of"
    );
    assert!(a.foreign_packets() > 0);
}

#[test]
fn a_runtime_is_needed() {
    let network = MemoryNetwork::new();
    let carrier = network.carrier("a".parse().unwrap());
    let error = Federation::join(config("a", &["a", "b"]), carrier).unwrap_err();
    assert!(matches!(error, JoinError::NoRuntime));
}
