//! How groups end, and come again under the same number, as users have them, over real sockets of this machine.

use std::time::Duration;

use flexbond_session::group::{
    BarrierError, Coordinator, JoinError, JoinGroupError, Member, MemberId, Options, RecvError,
};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.expect("it does not take that long")
}

async fn session(options: Options, members: usize) -> (Coordinator, Vec<Member>) {
    let coordinator = Coordinator::bind("udp://127.0.0.1:0", options)
        .await
        .expect("it is free");
    let mut joined = Vec::new();
    for _ in 0..members {
        let member = soon(Member::join(coordinator.endpoint(), Options::new())).await;
        joined.push(member.expect("admitted"));
    }
    soon(coordinator.wait_for_members(members)).await.expect("all in");
    (coordinator, joined)
}

#[tokio::test]
async fn who_lacks_something_of_a_group_that_does_not_wait_for_it_is_told() {
    let hasty = Options::new().linger(Duration::ZERO).segment(1000);
    let (coordinator, _) = session(hasty, 0).await;
    let small = Options::new().recv_budget(1 << 16).window(1 << 16);
    let member = soon(Member::join(coordinator.endpoint(), small))
        .await
        .expect("admitted");
    let sender = coordinator.create_broadcast(5).expect("it is free");
    let receiver = soon(member.join_broadcast(5)).await.expect("let in");
    let mut last = None;
    for number in 0..30_u8 {
        last = Some(soon(sender.send(vec![number; 10_000])).await.expect("sent"));
    }
    // More than it has room for, and it does not read before the group is over.
    drop(sender);
    let delivered = soon(last.expect("sent").delivered()).await;
    assert!(delivered.is_err(), "it counts as delivered");
    let mut got = 0;
    let ended = loop {
        match soon(receiver.recv()).await {
            Ok(received) => {
                assert_eq!(received.body, vec![got; 10_000]);
                got += 1;
            }
            Err(error) => break error,
        }
    };
    assert!((1..30).contains(&got), "{got} of 30");
    assert_ne!(ended, RecvError::GroupEnded, "something is missing");
    assert_eq!(soon(receiver.recv()).await, Err(ended), "and it stays so");
}

#[tokio::test]
async fn what_is_received_of_a_group_after_its_end_is_received_in_the_place_of_the_one_before() {
    let (coordinator, members) = session(Options::new(), 1).await;
    let member = &members[0];
    let mut sender = coordinator.create_broadcast(5).expect("it is free");
    let mut receiver = soon(member.join_broadcast(5)).await.expect("let in");
    for round in 0..3_u8 {
        soon(sender.send(vec![round; 100])).await.expect("sent");
        drop(sender);
        assert_eq!(
            soon(receiver.recv()).await.expect("it was sent").body,
            vec![round; 100]
        );
        assert_eq!(soon(receiver.recv()).await, Err(RecvError::GroupEnded));
        sender = soon(async {
            loop {
                match coordinator.create_broadcast(5) {
                    Ok(sender) => break sender,
                    // The end of the one before has to be confirmed.
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        // The assignment drops the receiver of the group that is over.
        receiver = soon(member.join_broadcast(5)).await.expect("let in");
    }
    soon(sender.send("goes on")).await.expect("sent");
    assert_eq!(soon(receiver.recv()).await.expect("it is in").body, "goes on");
}

#[tokio::test]
async fn a_place_at_a_barrier_that_is_over_can_be_replaced_by_one_at_the_next() {
    let (coordinator, members) = session(Options::new(), 1).await;
    let own = coordinator.create_barrier(5).expect("it is free");
    let mut place = soon(members[0].join_barrier(5)).await.expect("let in");
    let failed = Err(BarrierError::Failed {
        failed: vec![MemberId::COORDINATOR],
    });
    let (ended, ()) = soon(async { tokio::join!(place.wait(), async { drop(own) }) }).await;
    assert_eq!(ended, failed);
    assert_eq!(soon(place.wait()).await, failed, "it stays so");
    let mut own = soon(async {
        loop {
            match coordinator.create_barrier(5) {
                Ok(barrier) => break barrier,
                // Those who have not heard are told for a while.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    place = soon(members[0].join_barrier(5)).await.expect("let in");
    for _ in 0..3 {
        let (mine, other) = soon(async { tokio::join!(own.wait(), place.wait()) }).await;
        assert_eq!((mine, other), (Ok(()), Ok(())));
    }
}

#[tokio::test]
async fn nobody_waits_for_somebody_to_join_a_group_that_is_not_there() {
    let (coordinator, members) = session(Options::new(), 1).await;
    for group in [0, 7, u16::MAX] {
        let error = soon(coordinator.accept(group)).await.expect_err("there is none");
        assert!(error.to_string().contains(&group.to_string()), "{error}");
    }
    let barrier = coordinator.create_barrier(7).expect("it is free");
    let place = soon(members[0].join_barrier(7)).await.expect("let in");
    assert_eq!(soon(coordinator.accept(7)).await.ok(), members[0].id().ok());
    assert!(soon(place.accept()).await.is_err(), "it holds no group");
    let (ended, ()) = soon(async {
        tokio::join!(coordinator.accept(7), async {
            drop(barrier);
        })
    })
    .await;
    assert!(ended.is_err(), "the group is over");
    let refused = soon(members[0].join_barrier(u16::MAX)).await;
    assert!(matches!(refused, Err(JoinGroupError::Unknown { .. })));
}

#[tokio::test]
async fn a_coordinator_at_all_addresses_answers_from_the_one_it_was_asked_at() {
    let coordinator = Coordinator::bind("udp://0.0.0.0:0", Options::new())
        .await
        .expect("it is free");
    let port = coordinator.local_addr().expect("it is bound").port();
    let mut members = Vec::new();
    for host in ["127.0.0.1", "127.0.0.2"] {
        let impatient = Options::new().join_timeout(Duration::from_secs(3));
        let joined = soon(Member::join(format!("udp://{host}:{port}"), impatient)).await;
        members.push(joined.unwrap_or_else(|error: JoinError| panic!("{host}: {error}")));
    }
    soon(coordinator.wait_for_members(2)).await.expect("all in");
    for (index, size) in [1, 10_000, 1_000_000].into_iter().enumerate() {
        let delivery = soon(coordinator.send(vec![index as u8; size]))
            .await
            .expect("sent");
        for member in &members {
            let received = soon(member.recv()).await.expect("a message");
            assert_eq!(received.body, vec![index as u8; size]);
        }
        soon(delivery.delivered()).await.expect("delivered");
    }
    let mut own = coordinator.create_barrier(0).expect("it is free");
    for member in members {
        let mut place = soon(member.join_barrier(0)).await.expect("let in");
        let (mine, other) = soon(async { tokio::join!(own.wait(), place.wait()) }).await;
        assert_eq!((mine, other), (Ok(()), Ok(())));
        soon(member.leave()).await;
    }
}
