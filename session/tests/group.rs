//! Group sessions as users have them, over real sockets of this machine.

use std::net::SocketAddr;
use std::time::Duration;

use flexbond_session::group::{
    Barrier, BarrierError, Coordinator, DeliveryError, Event, Gone, JoinError, Member, MemberId, Options,
    Over, Part, RecvError, SendError, SlowMember,
};
use tokio::runtime::Runtime;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.expect("it does not take that long")
}

/// Dies soon enough for a test, but not because a machine is busy.
fn options() -> Options {
    Options::new().dead_after(Duration::from_secs(2))
}

/// An address that no other test of this run is likely to have.
fn group() -> SocketAddr {
    SocketAddr::from(([239, 255, 77, fastrand::u8(1..)], fastrand::u16(20_000..30_000)))
}

async fn session(options: Options, members: usize) -> (Coordinator, Vec<Member>) {
    session_at("udp://127.0.0.1:0", options, members).await
}

async fn session_at(endpoint: &str, options: Options, members: usize) -> (Coordinator, Vec<Member>) {
    let coordinator = Coordinator::bind(endpoint, options).await.expect("it is free");
    let mut joined = Vec::new();
    for _ in 0..members {
        joined.push(join(&coordinator).await);
    }
    for member in &joined {
        soon(member.wait_for_members(members)).await.expect("all in");
    }
    (coordinator, joined)
}

async fn join(coordinator: &Coordinator) -> Member {
    soon(Member::join(coordinator.endpoint(), options()))
        .await
        .expect("admitted")
}

async fn everybody_hears_everybody(endpoint: &str, options: Options) {
    let (coordinator, members) = session_at(endpoint, options, 3).await;
    let all: Vec<_> = [coordinator.session().clone()]
        .into_iter()
        .chain(members.iter().map(|member| member.session().clone()))
        .collect();
    for sender in &all {
        let from = sender.id().expect("it is in");
        for number in 0..20_u32 {
            let body = vec![number as u8; 1 + 7000 * number as usize];
            let delivery = soon(sender.send(body.clone())).await.expect("sent");
            for receiver in all.iter().filter(|other| other.id() != Ok(from)) {
                let received = soon(receiver.recv()).await.expect("a message");
                assert_eq!((received.from, received.part), (from, Part::Whole));
                assert_eq!(received.body, body);
            }
            soon(delivery.delivered()).await.expect("everybody has it");
        }
    }
    for member in members {
        soon(member.leave()).await;
    }
    soon(coordinator.close()).await;
}

#[tokio::test]
async fn messages_go_from_everybody_to_everybody_by_unicast() {
    everybody_hears_everybody("udp://127.0.0.1:0", options()).await;
}

#[tokio::test]
async fn everybody_learns_whom_multicast_reaches() {
    let (coordinator, members) = session(options().multicast(group()), 3).await;
    soon(coordinator.wait_for_multicast(3)).await.expect("it is on");
    for member in &members {
        soon(member.wait_for_multicast(2)).await.expect("it is on");
    }
    let (coordinator, _members) = session(options(), 1).await;
    let waits = timeout(Duration::from_millis(50), coordinator.wait_for_multicast(1));
    assert!(waits.await.is_err(), "there is no multicast");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_from_everybody_to_everybody_by_multicast() {
    everybody_hears_everybody("udp://127.0.0.1:0", options().multicast(group())).await;
}

#[cfg(feature = "tcp")]
#[tokio::test]
async fn messages_go_from_everybody_to_everybody_over_tcp() {
    everybody_hears_everybody("tcp://127.0.0.1:0", options()).await;
}

#[cfg(feature = "ipc")]
#[tokio::test]
async fn messages_go_from_everybody_to_everybody_over_ipc() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = format!("ipc://{}", folder.path().join("session").display());
    everybody_hears_everybody(&endpoint, options()).await;
}

#[cfg(feature = "inproc")]
#[tokio::test]
async fn messages_go_from_everybody_to_everybody_in_one_process() {
    everybody_hears_everybody("inproc://everybody", options()).await;
}

#[tokio::test]
async fn a_message_is_as_long_as_all_memory_for_it_at_the_most() {
    const MEMORY: usize = 1 << 20;
    let small = options().recv_budget(MEMORY as u64);
    let (coordinator, _) = session(small.clone(), 0).await;
    let member = soon(Member::join(coordinator.endpoint(), small))
        .await
        .expect("admitted");
    soon(coordinator.wait_for_members(1)).await.expect("in");
    let ends = [coordinator.session(), member.session()];
    for (sender, receiver) in [(0, 1), (1, 0)] {
        let refused = soon(ends[sender].send(vec![1; MEMORY + 1])).await;
        let Err(SendError::TooLarge { limit, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(limit, MEMORY as u64);
        for _ in 0..3 {
            soon(ends[sender].send(vec![1; MEMORY])).await.expect("sent");
            let received = soon(ends[receiver].recv()).await.expect("a message");
            assert_eq!(received.body.len(), MEMORY);
        }
    }
}

#[tokio::test]
async fn a_stream_is_longer_than_all_memory_for_it() {
    let (coordinator, _) = session(options(), 0).await;
    let small = options().recv_budget(1 << 20);
    let member = soon(Member::join(coordinator.endpoint(), small))
        .await
        .expect("admitted");
    soon(coordinator.wait_for_members(1)).await.expect("in");
    let too_large = soon(coordinator.send(vec![0; 2 << 20]))
        .await
        .expect_err("too large");
    let SendError::TooLarge {
        size,
        limit,
        member: who,
    } = too_large
    else {
        panic!("{too_large}");
    };
    assert_eq!((size, limit, Ok(who)), (2 << 20, 1 << 20, member.id()));

    let sending = tokio::spawn(async move {
        let mut stream = coordinator.stream().await;
        for number in 0..64_u8 {
            stream.send(vec![number; 100_000]).await.expect("sent");
        }
        let delivery = stream.finish("end").await.expect("sent");
        delivery.delivered().await.expect("delivered");
        coordinator
    });
    let mut bytes = 0;
    loop {
        let received = soon(member.recv()).await.expect("a part");
        if received.part == Part::Last {
            assert_eq!(received.body, "end");
            break;
        }
        assert_eq!(received.part, if bytes == 0 { Part::First } else { Part::More });
        assert!(
            received
                .body
                .iter()
                .all(|byte| usize::from(*byte) == bytes / 100_000)
        );
        bytes += received.body.len();
    }
    assert_eq!(bytes, 6_400_000);
    drop(soon(sending).await.expect("it does not panic"));
}

#[tokio::test]
async fn a_stream_that_is_dropped_ends_where_it_is() {
    let (coordinator, members) = session(options(), 1).await;
    let mut stream = coordinator.stream().await;
    stream.send("half").await.expect("sent");
    drop(stream);
    soon(coordinator.send("next")).await.expect("sent");
    let mut parts = Vec::new();
    for _ in 0..3 {
        let received = soon(members[0].recv()).await.expect("a part");
        parts.push((received.part, received.body.len()));
    }
    assert_eq!(parts, [(Part::First, 4), (Part::Last, 0), (Part::Whole, 4)]);
}

#[tokio::test]
async fn sending_waits_for_who_does_not_read_and_goes_on_when_it_does() {
    let little = options()
        .send_budget(1 << 16)
        .recv_budget(1 << 16)
        .window(100_000);
    let coordinator = Coordinator::bind("udp://127.0.0.1:0", little.clone())
        .await
        .expect("it is free");
    let member = soon(Member::join(coordinator.endpoint(), little))
        .await
        .expect("admitted");
    soon(coordinator.wait_for_members(1)).await.expect("in");
    let mut sent = 0_u32;
    soon(async {
        // Until it says so in spite of some patience.
        while timeout(Duration::from_millis(200), coordinator.send(vec![0; 10_000]))
            .await
            .is_ok()
        {
            sent += 1;
        }
    })
    .await;
    assert!(
        (6..40).contains(&sent),
        "{sent} messages in two buffers of 64 KiB"
    );
    assert_eq!(
        coordinator.try_send(vec![0; 10_000]).err(),
        Some(SendError::WouldBlock)
    );
    for _ in 0..sent {
        soon(member.recv()).await.expect("a message");
    }
    soon(coordinator.send("room")).await.expect("sent");
    assert_eq!(soon(member.recv()).await.expect("a message").body, "room");
}

#[tokio::test]
async fn who_does_not_keep_up_is_sent_away_where_that_is_the_policy() {
    let little = options()
        .send_budget(1 << 16)
        .recv_budget(1 << 16)
        .window(100_000);
    let policy = SlowMember::EvictAfter(Duration::from_millis(300));
    let coordinator = Coordinator::bind("udp://127.0.0.1:0", little.clone().slow_member(policy))
        .await
        .expect("it is free");
    let member = soon(Member::join(coordinator.endpoint(), little))
        .await
        .expect("admitted");
    let slow = member.id().expect("it is in");
    let gone = soon(async {
        loop {
            tokio::select! {
                event = coordinator.event() => {
                    if let Event::Gone { member, why } = event.expect("an event") {
                        break (member, why);
                    }
                }
                sent = coordinator.send(vec![0; 10_000]) => drop(sent.expect("sent")),
            }
        }
    })
    .await;
    assert_eq!(gone, (slow, Some(Gone::Evicted)));
}

#[tokio::test]
async fn barriers_hold_and_take_in_late_comers_and_let_go_of_leavers() {
    let (coordinator, members) = session(options().multicast(group()), 2).await;
    let mut own = coordinator.create_barrier(0).expect("it is free");
    let mut places = Vec::new();
    for member in &members {
        places.push(soon(member.join_barrier(0)).await.expect("let in"));
        soon(own.accept()).await.expect("somebody");
    }
    for _ in 0..50 {
        let others = places.iter_mut().map(Barrier::wait);
        let (mine, others) =
            soon(async { tokio::join!(own.wait(), futures_util::future::join_all(others)) }).await;
        assert_eq!(mine, Ok(()));
        assert!(others.into_iter().all(|ended| ended == Ok(())));
    }
    // One waits; nobody is let go while another has not come.
    let early = timeout(Duration::from_millis(100), places[0].wait()).await;
    assert!(early.is_err(), "it went on alone");
    let late = join(&coordinator).await;
    let mut late = soon(late.join_barrier(0)).await.expect("let in");
    // Whoever leaves is not waited for; whoever comes before the coordinator does takes part at once.
    drop(places.pop());
    for _ in 0..2 {
        let (mine, other, newest) =
            soon(async { tokio::join!(own.wait(), places[0].wait(), late.wait()) }).await;
        assert_eq!((mine, other, newest), (Ok(()), Ok(()), Ok(())));
    }
    // The coordinator's end is the end of the group.
    let (ended, ()) = soon(async { tokio::join!(late.wait(), async { drop(own) }) }).await;
    let failed = vec![MemberId::COORDINATOR];
    assert_eq!(ended, Err(BarrierError::Failed { failed }));
}

#[test]
fn who_is_killed_is_named_to_all_who_wait_for_it() {
    let runtime = Runtime::new().expect("a runtime");
    let elsewhere = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let options = options().dead_after(Duration::from_secs(2));
        let (coordinator, members) = session(options, 1).await;
        let endpoint = coordinator.endpoint().clone();
        let victim = elsewhere.spawn(async move { Member::join(endpoint, self::options()).await });
        let victim = soon(victim).await.expect("no panic").expect("admitted");
        let mut own = coordinator.create_barrier(3).expect("it is free");
        let mut place = soon(members[0].join_barrier(3)).await.expect("let in");
        let place_of_victim = soon(victim.join_barrier(3)).await.expect("let in");
        let failed = vec![victim.id().expect("it is in")];
        elsewhere.shutdown_background();
        let delivery = soon(coordinator.send("anybody?")).await.expect("sent");
        let (mine, other) = soon(async { tokio::join!(own.wait(), place.wait()) }).await;
        let expected = Err(BarrierError::Failed {
            failed: failed.clone(),
        });
        assert_eq!((&mine, &other), (&expected, &expected));
        let missed = soon(delivery.delivered()).await;
        assert_eq!(
            missed,
            Err(DeliveryError::Missed {
                members: failed.clone()
            })
        );
        let gone = loop {
            if let Event::Gone { member, why } = soon(coordinator.event()).await.expect("an event") {
                break (member, why);
            }
        };
        assert_eq!(gone, (failed[0], Some(Gone::Dead)));
        // Those who live go on.
        assert_eq!(
            soon(async { tokio::join!(own.wait(), place.wait()) }).await,
            (Ok(()), Ok(()))
        );
        drop((place_of_victim, victim));
    });
}

#[test]
fn who_waits_for_an_end_whose_runtime_has_gone_is_told() {
    let runtime = Runtime::new().expect("a runtime");
    let elsewhere = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let coordinator = elsewhere.spawn(Coordinator::bind("udp://127.0.0.1:0", options()));
        let coordinator = soon(coordinator).await.expect("no panic").expect("it is free");
        let session = coordinator.session().clone();
        let waiting = tokio::spawn(async move { session.recv().await });
        elsewhere.shutdown_background();
        let ended = soon(waiting).await.expect("no panic");
        soon(coordinator.close()).await;
        assert!(
            matches!(ended, Err(RecvError::Over(Over::Broken { .. }))),
            "{ended:?}"
        );
    });
}

#[test]
fn when_the_coordinator_is_killed_every_wait_ends() {
    let runtime = Runtime::new().expect("a runtime");
    let elsewhere = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let options = options().dead_after(Duration::from_secs(2));
        let coordinator =
            elsewhere.spawn(async move { Coordinator::bind("udp://127.0.0.1:0", options).await });
        let coordinator = soon(coordinator).await.expect("no panic").expect("it is free");
        let barrier = coordinator.create_barrier(0).expect("it is free");
        let (one, other) = (join(&coordinator).await, join(&coordinator).await);
        let mut place = soon(one.join_barrier(0)).await.expect("let in");
        elsewhere.shutdown_background();
        assert_eq!(soon(place.wait()).await, Err(Over::CoordinatorDead.into()));
        assert_eq!(soon(other.recv()).await, Err(Over::CoordinatorDead.into()));
        assert_eq!(
            soon(one.send("anybody?")).await.err(),
            Some(Over::CoordinatorDead.into())
        );
        drop((barrier, coordinator));
    });
}

#[tokio::test]
async fn the_end_of_a_session_is_told_to_all_after_what_was_sent() {
    let (coordinator, members) = session(options(), 2).await;
    soon(coordinator.send("the last word")).await.expect("sent");
    soon(coordinator.close()).await;
    for member in members {
        assert_eq!(
            soon(member.recv()).await.expect("it was sent").body,
            "the last word"
        );
        let ended = soon(member.recv()).await;
        assert_eq!(ended, Err(Over::Closed.into()));
    }
}

#[tokio::test]
async fn nobody_is_told_of_the_end_before_the_last_barrier() {
    for endpoint in ["udp://127.0.0.1:0", "udp://127.0.0.1:0", "udp://127.0.0.1:0"] {
        let (coordinator, members) = session_at(endpoint, options().multicast(group()), 3).await;
        let mut own = coordinator.create_barrier(0).expect("it is free");
        let mut places = Vec::new();
        for member in &members {
            places.push(soon(member.join_barrier(0)).await.expect("let in"));
        }
        let others = futures_util::future::join_all(places.iter_mut().map(Barrier::wait));
        let (mine, others) = soon(async {
            tokio::join!(
                async {
                    let ended = own.wait().await;
                    drop(own);
                    coordinator.close().await;
                    ended
                },
                others
            )
        })
        .await;
        assert_eq!((mine, others), (Ok(()), vec![Ok(()); 3]));
    }
}

#[tokio::test]
async fn who_is_evicted_hears_of_it_and_the_others_too() {
    let (coordinator, members) = session(options(), 2).await;
    let victim = members[0].id().expect("it is in");
    assert!(coordinator.evict(victim));
    assert!(!coordinator.evict(victim), "it is gone already");
    let ended = soon(members[0].recv()).await;
    assert_eq!(ended, Err(Over::Dismissed { why: Gone::Evicted }.into()));
    loop {
        let event = soon(members[1].event()).await.expect("an event");
        if event
            == (Event::Gone {
                member: victim,
                why: None,
            })
        {
            break;
        }
    }
    assert_eq!(members[1].members(), [MemberId::COORDINATOR]);
}

#[tokio::test]
async fn broadcast_groups_end_after_what_was_sent() {
    let (coordinator, members) = session(options().multicast(group()), 2).await;
    let early = members[0].join_broadcast(5);
    let (early, sender) =
        soon(async { tokio::join!(early, async { coordinator.create_broadcast(5) }) }).await;
    let (early, sender) = (early.expect("let in"), sender.expect("it is free"));
    assert_eq!(
        Ok(soon(sender.accept()).await.expect("somebody")),
        members[0].id()
    );
    soon(sender.send("one"))
        .await
        .expect("sent")
        .delivered()
        .await
        .expect("delivered");
    let late = soon(members[1].join_broadcast(5)).await.expect("let in");
    soon(sender.send("two")).await.expect("sent");
    drop(sender);
    for (receiver, expected) in [(&early, vec!["one", "two"]), (&late, vec!["two"])] {
        for body in expected {
            assert_eq!(soon(receiver.recv()).await.expect("it was sent").body, body);
        }
        assert_eq!(soon(receiver.recv()).await, Err(RecvError::GroupEnded));
    }
}

#[tokio::test]
async fn joining_nobody_fails_in_time_and_says_where() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    let impatient = options().join_timeout(Duration::from_millis(100));
    let error = soon(Member::join(format!("udp://{address}"), impatient))
        .await
        .expect_err("nobody is there");
    assert!(matches!(error, JoinError::NoAnswer { .. }), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn two_sessions_at_one_multicast_address_do_not_hear_each_other() {
    let group = group();
    let (one, ones) = session(options().multicast(group), 1).await;
    let (two, twos) = session(options().multicast(group), 1).await;
    for number in 0..20_u8 {
        soon(one.send(vec![number; 3000])).await.expect("sent");
        soon(two.send(vec![100 + number; 3000])).await.expect("sent");
    }
    for number in 0..20_u8 {
        assert_eq!(
            soon(ones[0].recv()).await.expect("a message").body,
            vec![number; 3000]
        );
        assert_eq!(
            soon(twos[0].recv()).await.expect("a message").body,
            vec![100 + number; 3000]
        );
    }
    assert!(ones[0].counters().foreign > 0, "they share an address");
}

#[tokio::test]
async fn for_ever_is_a_time_like_others() {
    let patient = options()
        .linger(Duration::MAX)
        .join_timeout(Duration::MAX)
        .slow_member(SlowMember::EvictAfter(Duration::MAX));
    let coordinator = Coordinator::bind("udp://127.0.0.1:0", patient.clone())
        .await
        .expect("it is free");
    let member = soon(Member::join(coordinator.endpoint(), patient))
        .await
        .expect("admitted");
    let group = coordinator.create_broadcast(0).expect("it is free");
    let receiver = soon(member.join_broadcast(0)).await.expect("let in");
    soon(group.send("once")).await.expect("sent");
    assert_eq!(soon(receiver.recv()).await.expect("a message").body, "once");
    drop((group, receiver));
    soon(member.leave()).await;
    soon(coordinator.close()).await;
}

#[tokio::test]
async fn who_is_alone_at_a_barrier_lets_others_come_in() {
    let coordinator = Coordinator::bind("udp://127.0.0.1:0", options())
        .await
        .expect("it is free");
    let mut own = coordinator.create_barrier(0).expect("it is free");
    let endpoint = coordinator.endpoint().clone();
    let mut joining = tokio::spawn(async move {
        let member = soon(Member::join(endpoint, options())).await.expect("admitted");
        let place = soon(member.join_barrier(0)).await.expect("let in");
        (member, place)
    });
    let joined = async {
        loop {
            tokio::select! {
                joined = &mut joining => break joined.expect("no panic"),
                ended = own.wait() => assert_eq!(ended, Ok(())),
            }
        }
    };
    let (_member, mut place) = soon(joined).await;
    assert_eq!(
        soon(async { tokio::join!(own.wait(), place.wait()) }).await,
        (Ok(()), Ok(()))
    );
}
