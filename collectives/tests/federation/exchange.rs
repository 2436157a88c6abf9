//! Values, bytes, tags, groups, windows and times.

use std::time::Duration;

use bytes::Bytes;
use flexbond_collectives::federation::{
    ChannelError, Codec, JoinError, MemoryNetwork, OpenError, PartyId, Presence, Role, Waiting,
};
use futures_util::future::poll_immediate;
use serde::{Deserialize, Serialize};

use crate::network::{Network, over_all_networks};
use crate::{config, within};

over_all_networks!(
    any_type_in_either_codec,
    a_sender_waits_for_room_and_says_whom_it_waits_for,
    a_receiver_is_told_why_nothing_comes,
    all_of_a_group_reduce_and_meet,
    different_calls_on_one_channel_are_found_out,
    channels_lead_to_other_parties_of_the_job,
    all_wait_for_all,
    what_is_not_acknowledged_is_given_again,
    who_waits_beside_a_delivery_gets_it_when_it_is_dropped,
    a_channel_that_nobody_receives_from_stops_no_other,
    a_job_is_run_again_by_one_party_after_the_other,
);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Model {
    round: u32,
    weights: Vec<f64>,
}

fn model() -> Model {
    Model {
        round: 7,
        weights: vec![0.5, -1.0],
    }
}

async fn any_type_in_either_codec(network: Network) {
    let [a, b] = network.parties(["a", "b"], &network.limits()).await;
    let (to_b, from_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
    for codec in [Codec::Postcard, Codec::Json] {
        to_b.clone().with_codec(codec).send(&model()).await.unwrap();
        assert_eq!(within(from_a.recv::<Model>()).await.unwrap(), model());
    }
    to_b.send("text").await.unwrap();
    let error = within(from_a.recv::<Model>()).await.unwrap_err();
    assert!(matches!(error, ChannelError::Decode { offset: 2, .. }), "{error}");
    to_b.send(&1).await.unwrap();
    assert_eq!(
        within(from_a.recv_numbered::<i32>()).await.unwrap(),
        (3, 1),
        "the other one is used up"
    );
}

async fn what_is_not_acknowledged_is_given_again(network: Network) {
    let [a, b] = network.parties(["a", "b"], &network.limits()).await;
    let (to_b, from_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
    for number in 0..4 {
        to_b.send(&number).await.unwrap();
    }
    let one = within(from_a.recv_delivery::<i32>()).await.unwrap();
    let two = within(from_a.recv_any_delivery()).await.unwrap();
    assert_eq!(((one.offset(), *one), two.offset()), ((0, 0), 1));
    drop(one);
    let one = within(from_a.recv_delivery::<i32>()).await.unwrap();
    assert_eq!(one.ack(), 0);
    let error = within(from_a.recv_delivery::<String>()).await.unwrap_err();
    assert!(matches!(error, ChannelError::Decode { offset: 2, .. }), "{error}");
    // This process goes, and has acknowledged two.
    within(b.close()).await;
    drop((two, from_a, b));
    let b = network
        .join(config("b", &["a", "b"]).limits(network.limits()))
        .await;
    let from_a = b.variable("x", "a").unwrap();
    let two = within(from_a.recv_delivery::<i32>()).await.unwrap();
    assert_eq!((two.offset(), two.ack()), (1, 1));
    let hasty = to_b.clone().with_timeout(network.time(4));
    assert!(matches!(
        within(hasty.delivered()).await,
        Err(ChannelError::Timeout {
            what: Waiting::Delivery,
            ..
        })
    ));
    let four = within(from_a.recv_delivery::<i32>()).await.unwrap();
    assert_eq!((four.offset(), *four), (3, 3));
    four.ack();
    within(to_b.delivered()).await.unwrap();
}

async fn a_job_is_run_again_by_one_party_after_the_other(network: Network) {
    let config = |name| config(name, &["a", "b"]).limits(network.limits());
    for run in 0..3 {
        let a = network.join(config("a")).await;
        let with_b = a.variable("x", "b").unwrap();
        let swapping = tokio::spawn(async move { within(with_b.swap::<_, i32>(&run)).await });
        // What is known of the run before has come.
        let asked = a.variable("nothing", "b").unwrap().with_timeout(network.time(4));
        let error = within(asked.recv::<i32>()).await.unwrap_err();
        assert!(
            matches!(error, ChannelError::Timeout { .. }),
            "run {run}: {error}"
        );
        let b = network.join(config("b")).await;
        let with_a = b.variable("x", "a").unwrap();
        assert_eq!(within(with_a.swap::<_, i32>(&-run)).await.unwrap(), run);
        assert_eq!(swapping.await.unwrap().unwrap(), -run);
        within(async { tokio::join!(a.close(), b.close()) }).await;
    }
}

async fn who_waits_beside_a_delivery_gets_it_when_it_is_dropped(network: Network) {
    let [a, b] = network.parties(["a", "b"], &network.limits()).await;
    let (to_b, from_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
    for number in 0..2 {
        to_b.send(&number).await.unwrap();
    }
    let one = within(from_a.recv_delivery::<i32>()).await.unwrap();
    let two = within(from_a.recv_delivery::<i32>()).await.unwrap();
    let leaving = tokio::spawn(async move { a.close().await });
    let nothing = b.variable("nothing", "a").unwrap();
    let error = within(nothing.recv::<i32>()).await.unwrap_err();
    assert!(matches!(error, ChannelError::Left { .. }), "{error}");
    // Nothing more comes but what is held.
    let mut waiting = std::pin::pin!(within(from_a.recv_delivery::<i32>()));
    assert!(poll_immediate(&mut waiting).await.is_none());
    drop(one);
    let one = waiting.await.unwrap();
    assert_eq!(one.ack(), 0);
    two.ack();
    let error = within(from_a.recv_delivery::<i32>()).await.unwrap_err();
    assert!(matches!(error, ChannelError::Left { .. }), "{error}");
    within(leaving).await.unwrap();
}

async fn a_channel_that_nobody_receives_from_stops_no_other(network: Network) {
    let [a, b] = network.parties(["a", "b"], &network.limits()).await;
    within(a.ready(Duration::from_secs(20))).await.unwrap();
    let [one, two] = ["one", "two"].map(|name| a.variable(name, "b").unwrap());
    let small = Bytes::from(vec![1; 64 << 10]);
    // As much as the window of a message server.
    for _ in 0..1000 {
        one.send_bytes(small.clone()).await.unwrap();
    }
    let large = Bytes::from(vec![2; 10 << 20]);
    two.send_bytes(large.clone()).await.unwrap();
    let [one, two] = ["one", "two"].map(|name| b.variable(name, "a").unwrap());
    assert!(within(two.recv_bytes()).await.unwrap() == large);
    for _ in 0..1000 {
        assert!(within(one.recv_bytes()).await.unwrap() == small);
    }
}

#[tokio::test(start_paused = true)]
async fn buffers_are_not_copied() {
    let network = Network::Memory(MemoryNetwork::new());
    let [a, b] = network.parties(["a", "b"], &network.limits()).await;
    let (to_b, from_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
    let large = Bytes::from(vec![7; 10 << 20]);
    to_b.send_bytes(large.clone()).await.unwrap();
    to_b.send_with(&model(), vec![large.clone(), Bytes::new()])
        .await
        .unwrap();
    assert_eq!(
        within(from_a.recv_bytes()).await.unwrap().as_ptr(),
        large.as_ptr()
    );
    let (value, buffers): (Model, _) = within(from_a.recv_with()).await.unwrap();
    assert_eq!((value, buffers.len()), (model(), 2));
    assert_eq!((buffers[0].as_ptr(), buffers[1].len()), (large.as_ptr(), 0));
    to_b.send_bytes(large).await.unwrap();
    let error = within(from_a.recv::<Model>()).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "channel x: message 2 from party a is not what was asked for: it is bytes, see `recv_bytes`"
    );
    let error = to_b.send_with(&1, vec![Bytes::new(); 1024]).await.unwrap_err();
    assert!(matches!(
        error,
        ChannelError::TooManyBuffers {
            count: 1024,
            limit: 1023,
            ..
        }
    ));
}

async fn a_sender_waits_for_room_and_says_whom_it_waits_for(network: Network) {
    let limits = network.limits().window_messages(2);
    let [a, b] = network.parties(["a", "b"], &limits).await;
    within(a.ready(Duration::from_secs(20))).await.unwrap();
    let to_b = a.variable("x", "b").unwrap().with_timeout(network.time(5));
    to_b.send(&0).await.unwrap();
    to_b.send(&1).await.unwrap();
    let error = within(to_b.send(&2)).await.unwrap_err();
    let ChannelError::Timeout { what, presence, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((what, presence), (&Waiting::Room, &Presence::Present));
    let from_a = b.variable("x", "a").unwrap();
    let (sent, first) = within(async { tokio::join!(to_b.send(&2), from_a.recv::<i32>()) }).await;
    sent.unwrap();
    assert_eq!(first.unwrap(), 0);
    let stats = a.stats()["b"].channels["x"];
    assert_eq!((stats.sent, stats.waiting), (3, 2));
    assert_eq!(within(from_a.recv::<i32>()).await.unwrap(), 1);
    assert_eq!(within(from_a.recv::<i32>()).await.unwrap(), 2);
    within(to_b.delivered()).await.unwrap();
}

async fn a_receiver_is_told_why_nothing_comes(network: Network) {
    let after = network.time(10);
    let config = |name| config(name, &["a", "b"]).limits(network.limits());
    let a = network.join(config("a")).await;
    let from_b = a.variable("x", "b").unwrap().with_timeout(after);
    let error = within(from_b.tagged("t").unwrap().recv::<i32>())
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!(
            "channel x: waiting for a message with tag `t` took more than {after:?}; party b has not been heard of"
        )
    );
    let b = network.join(config("b")).await;
    within(a.ready(Duration::from_secs(20))).await.unwrap();
    b.variable("x", "a").unwrap().send(&5).await.unwrap();
    b.close().await;
    assert_eq!(
        within(from_b.recv::<i32>()).await.unwrap(),
        5,
        "what it had sent is there"
    );
    let error = within(from_b.recv::<i32>()).await.unwrap_err();
    assert!(matches!(error, ChannelError::Left { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn dropped_futures_lose_nothing() {
    let network = Network::Memory(MemoryNetwork::new());
    let [a, b] = network.parties(["a", "b"], &network.limits()).await;
    let (to_b, from_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
    for i in 0..20 {
        // Dropped while it waits, and with luck when the message is just there.
        let _ = tokio::time::timeout(Duration::from_micros(i), from_a.swap::<_, u64>("dropped")).await;
        to_b.send(&i).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut got: Vec<u64> = Vec::new();
    while let Ok(value) = from_a.clone().with_timeout(Duration::from_secs(1)).recv().await {
        got.push(value);
    }
    // A swap that was ready has given its value to the line that threw it away: none here ever is.
    assert_eq!(got.last(), Some(&19));
    assert!(got.is_sorted());
}

async fn all_of_a_group_reduce_and_meet(network: Network) {
    let names = ["a", "b", "c", "d"];
    let all = network.parties(names, &network.limits()).await;
    // The third party is the root, and the first is not in it.
    let work = all[1..].iter().map(|party| async move {
        let channel = party.broadcast("sums", "c", ["b", "d"]).unwrap();
        let sums = channel
            .allreduce(party.local_id().to_string(), |a, b| a + &b)
            .await
            .unwrap();
        channel.sync().await.unwrap();
        (sums, channel.is_root())
    });
    let done = within(futures_util::future::join_all(work)).await;
    assert_eq!(
        done,
        [("cbd".into(), false), ("cbd".into(), true), ("cbd".into(), false)]
    );
    let error = all[0].broadcast("sums", "c", ["b", "d"]).unwrap_err().to_string();
    assert_eq!(
        error,
        r#"party a is neither the root c nor in the group ["b", "d"]"#
    );
}

async fn different_calls_on_one_channel_are_found_out(network: Network) {
    let [a, b] = network.parties(["a", "b"], &network.limits()).await;
    let [root, member] = [&a, &b].map(|party| party.broadcast("x", "a", ["b"]).unwrap());
    root.broadcast(&1).await.unwrap();
    let error = within(member.recv_scatter::<i32>())
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(error, "channel x: party a calls broadcast, this party scatter");
    let error = member.broadcast(&1).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "channel x: only the root can call this, see `recv_broadcast`"
    );
    let error = root.scatter(&[1, 2]).await.unwrap_err().to_string();
    assert_eq!(error, "channel x: 2 values for a group of 1");
}

async fn channels_lead_to_other_parties_of_the_job(network: Network) {
    let [a, _b] = network.parties(["a", "b"], &network.limits()).await;
    assert_eq!(
        a.variable("x", "c").unwrap_err().to_string(),
        r#"party c is not in this job, whose members are ["a", "b"]"#
    );
    assert!(matches!(a.variable("x", "a"), Err(OpenError::Oneself { .. })));
    assert!(matches!(a.variable("", "b"), Err(OpenError::Name(_))));
    assert!(matches!(
        a.broadcast("x", "a", ["b", "b"]),
        Err(OpenError::Twice { .. })
    ));
    assert_eq!(a.local_role(), Role::Guest);
    assert_eq!(
        a.members_of(Role::Host).map(PartyId::as_str).collect::<Vec<_>>(),
        ["b"]
    );
}

async fn all_wait_for_all(network: Network) {
    let names = ["a", "b", "c"];
    let config = |name| config(name, &names).limits(network.limits());
    let (a, b) = (network.join(config("a")).await, network.join(config("b")).await);
    let after = network.time(20);
    let error = within(a.ready(after)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "after {after:?}, not all parties see each other: b is there, but does not see all others yet, \
             c has not been heard of"
        )
    );
    assert!(matches!(error, JoinError::Timeout { .. }));
    let c = network.join(config("c")).await;
    for party in [a, b, c] {
        within(party.ready(Duration::from_secs(30))).await.unwrap();
    }
}
