//! Aborts, deaths, new starts, and those who have no place in a job.

use std::time::Duration;

use flexbond_collectives::federation::{
    ChannelError, Config, Federation, JoinError, Limits, MemoryNetwork, Over, Presence, RefusedReason, Role,
};

use crate::{config, join, parties, within};

#[tokio::test(start_paused = true)]
async fn an_abort_ends_what_all_wait_for() {
    let [a, b, c] = parties(["a", "b", "c"], &Limits::default());
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
        assert_eq!(error.to_string(), "party b has aborted the job: the data are wrong");
    }
    assert!(matches!(within(a.over()).await, Over::Aborted { by, .. } if by == "b"));
    let error = a.variable("x", "c").unwrap().send(&1).await.unwrap_err();
    assert!(matches!(error, ChannelError::Over(Over::Aborted { .. })), "{error}");
    assert!(matches!(a.ready(Duration::ZERO).await, Err(JoinError::Over(_))));
}

#[tokio::test(start_paused = true)]
async fn a_party_that_starts_again_goes_on_where_it_was() {
    let network = MemoryNetwork::new();
    let names = ["a", "b"];
    let a = join(&network, config("a", &names));
    let from_b = a.variable("x", "b").unwrap();
    let mut got = Vec::new();
    for round in 0..4 {
        // Without a farewell: its driver is dropped in the middle of its work, with its runtime.
        let (network, dead) = (network.clone(), round < 3);
        let started = tokio::sync::oneshot::channel();
        let life = async move {
            let b = join(&network, config("b", &names));
            let to_a = b.variable("x", "a").unwrap();
            let mut next = to_a.next_offset().await.unwrap();
            let end = (next + 5).min(20);
            while next < end {
                to_a.send(&next).await.unwrap();
                next += 1;
            }
            let _ = started.0.send(());
            match dead {
                true => std::future::pending().await,
                false => b.close().await,
            }
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let mut life = Box::pin(life);
                tokio::select! {
                    () = &mut life => {}
                    _ = async { let _ = started.1.await; tokio::task::yield_now().await } => {
                        if !dead {
                            life.await;
                        }
                    }
                }
            });
        });
        // Time must go on by itself while the other thread works.
        tokio::time::resume();
        within(tokio::task::spawn_blocking(|| thread.join().unwrap())).await.unwrap();
        tokio::time::pause();
        let patient = from_b.clone().with_timeout(Duration::from_millis(100));
        while let Ok(numbered) = patient.recv_numbered::<u64>().await {
            got.push(numbered);
        }
    }
    let expected: Vec<_> = (0..got.len() as u64).map(|number| (number, number)).collect();
    assert_eq!(got, expected);
    assert!(got.len() >= 5, "the last one has handed over all");
}

#[tokio::test(start_paused = true)]
async fn messages_for_a_program_that_starts_later_wait() {
    let network = MemoryNetwork::new();
    let names = ["a", "b"];
    let a = join(&network, config("a", &names));
    let to_b = a.variable("x", "b").unwrap();
    for i in 0..10 {
        to_b.send(&i).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(a.presence(&"b".parse().unwrap()), Some(Presence::Unseen));
    let b = join(&network, config("b", &names));
    let from_a = b.variable("x", "a").unwrap();
    for i in 0..10 {
        assert_eq!(within(from_a.recv::<i32>()).await.unwrap(), i);
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_with_one_id_the_second_is_told() {
    let network = MemoryNetwork::new();
    let names = ["a", "b"];
    let a = join(&network, config("a", &names));
    let b = join(&network, config("b", &names));
    within(a.ready(Duration::from_secs(30))).await.unwrap();
    let second = join(&network, config("b", &names));
    let error = within(second.ready(Duration::from_secs(10))).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "after 10s, not all parties see each other: a refuses this party: another process with this id is there"
    );
    let swap = async { tokio::join!(exchange(&a, "b"), exchange(&b, "a")) };
    assert_eq!(within(swap).await, ("b".to_owned(), "a".to_owned()), "the first is not hurt");
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
        matches!(error, JoinError::Refused { reason: RefusedReason::OtherJob, .. }),
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
