//! What a root and a group do beside values alone: buffers, numbers, and times to live.

use std::time::Duration;

use bytes::Bytes;
use flexbond_collectives::federation::{
    BroadcastChannel, ChannelError, Codec, Federation, MemoryNetwork, Waiting,
};

use crate::network::{Network, over_all_networks};
use crate::{config, within};

over_all_networks!(
    buffers_go_with_values_to_and_from_a_group,
    who_does_not_ask_for_buffers_is_told_that_there_are_some,
    buffers_are_counted_before_they_are_sent,
    a_root_that_starts_again_sends_each_message_once,
    a_root_waits_for_whom_it_sends_numbers_to,
    a_member_that_starts_again_says_what_it_has,
    values_for_a_group_have_a_time_to_live,
    who_gathers_has_values_of_one_round,
);

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The channel of root `a` and the others.
fn channel(party: &Federation) -> BroadcastChannel {
    party.broadcast("models", "a", ["b", "c"]).unwrap()
}

async fn buffers_go_with_values_to_and_from_a_group(network: Network) {
    let all = network.parties(NAMES, &network.limits()).await;
    let [a, b, c] = all.each_ref().map(channel);
    let large = Bytes::from(vec![7; 1 << 20]);
    let buffers = vec![large.clone(), Bytes::new(), Bytes::from_static(b"small")];
    for codec in [Codec::Postcard, Codec::Json] {
        let a = a.clone().with_codec(codec);
        a.broadcast_with("all", buffers.clone()).await.unwrap();
        let to_b = (String::from("b"), vec![large.clone()]);
        a.scatter_with(&[to_b, ("c".into(), Vec::new())]).await.unwrap();
        for (member, name, count) in [(&b, "b", 1), (&c, "c", 0)] {
            let (text, got) = within(member.recv_broadcast_with::<String>()).await.unwrap();
            assert!(text == "all" && got == buffers);
            let (text, got) = within(member.recv_scatter_with::<String>()).await.unwrap();
            assert!(text == name && got == vec![large.clone(); count]);
            let own = vec![Bytes::copy_from_slice(name.as_bytes()); count + 1];
            let member = member.clone().with_codec(codec);
            member.send_gather_with(name, own).await.unwrap();
        }
        let gathered = within(a.gather_with::<String>()).await.unwrap();
        let [b, c] = ["b", "c"].map(|name| (name.to_owned(), Bytes::from(name)));
        assert_eq!(gathered, [(b.0, vec![b.1; 2]), (c.0, vec![c.1])]);
    }
}

async fn who_does_not_ask_for_buffers_is_told_that_there_are_some(network: Network) {
    let all = network.parties(["a", "b"], &network.limits()).await;
    let [root, member] = all
        .each_ref()
        .map(|party| party.broadcast("x", "a", ["b"]).unwrap());
    let two = vec![Bytes::from_static(b"buffer"); 2];
    root.broadcast_with(&1, two.clone()).await.unwrap();
    let error = within(member.recv_broadcast::<i32>()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "channel x: message 0 from party a is not what was asked for: it has 2 buffers, see `recv_broadcast_with`"
    );
    root.scatter_with(&[(2, two.clone())]).await.unwrap();
    let error = within(member.recv_scatter_numbered::<i32>()).await.unwrap_err();
    assert!(matches!(error, ChannelError::Decode { offset: 1, .. }), "{error}");
    member.send_gather_with(&3, two).await.unwrap();
    let error = within(root.gather::<i32>()).await.unwrap_err();
    assert!(error.to_string().ends_with("see `gather_with`"), "{error}");
    // What has none may be asked for either way, and the others are used up.
    root.broadcast(&4).await.unwrap();
    assert_eq!(
        within(member.recv_broadcast_numbered_with::<i32>())
            .await
            .unwrap(),
        (2, 4, Vec::new())
    );
    root.scatter(&[5]).await.unwrap();
    assert_eq!(
        within(member.recv_scatter_with::<i32>()).await.unwrap(),
        (5, Vec::new())
    );
    member.send_gather(&6).await.unwrap();
    assert_eq!(
        within(root.gather_with::<i32>()).await.unwrap(),
        [(6, Vec::new())]
    );
    root.broadcast_with(&7, vec![Bytes::new()]).await.unwrap();
    let error = within(member.recv_scatter_with::<i32>()).await.unwrap_err();
    assert!(matches!(error, ChannelError::Mismatch { .. }), "{error}");
}

async fn buffers_are_counted_before_they_are_sent(network: Network) {
    let all = network.parties(["a", "b"], &network.limits()).await;
    let [root, member] = all
        .each_ref()
        .map(|party| party.broadcast("x", "a", ["b"]).unwrap());
    let most = vec![Bytes::from_static(b"1"); 1022];
    let many = vec![Bytes::new(); 1023];
    for error in [
        root.broadcast_with(&1, many.clone()).await.unwrap_err(),
        root.at(0).broadcast_with(&1, many.clone()).await.unwrap_err(),
        root.scatter_with(&[(1, many.clone())]).await.unwrap_err(),
        member.send_gather_with(&1, many.clone()).await.unwrap_err(),
    ] {
        assert_eq!(
            error.to_string(),
            "channel x: a message of 1023 buffers is above the limit of 1022"
        );
    }
    let error = root.scatter_with::<i32>(&[]).await.unwrap_err();
    assert_eq!(error.to_string(), "channel x: 0 values for a group of 1");
    for (error, instead) in [
        (
            member.broadcast_with(&1, Vec::new()).await.unwrap_err(),
            "recv_broadcast",
        ),
        (
            member.scatter_with(&[(1, many)]).await.unwrap_err(),
            "recv_scatter",
        ),
        (member.gather_with::<i32>().await.unwrap_err(), "send_gather"),
        (root.send_gather_with(&1, Vec::new()).await.unwrap_err(), "gather"),
        (root.recv_broadcast_with::<i32>().await.unwrap_err(), "broadcast"),
        (root.recv_scatter_with::<i32>().await.unwrap_err(), "scatter"),
        (root.resume_at(1).unwrap_err(), "next_offset"),
    ] {
        let error = error.to_string();
        assert!(error.ends_with(&format!("see `{instead}`")), "{error}");
    }
    root.broadcast_with(&1, most.clone()).await.unwrap();
    let got = within(member.recv_broadcast_numbered_with::<i32>())
        .await
        .unwrap();
    assert_eq!(got, (0, 1, most));
}

#[tokio::test(start_paused = true)]
async fn buffers_to_and_from_a_group_are_not_copied() {
    let network = Network::Memory(MemoryNetwork::new());
    let all = network.parties(NAMES, &network.limits()).await;
    let [a, b, c] = all.each_ref().map(channel);
    let large = Bytes::from(vec![7; 10 << 20]);
    let is_it = |got: &[Bytes]| got.len() == 1 && got[0].as_ptr() == large.as_ptr();
    a.broadcast_with(&1, vec![large.clone()]).await.unwrap();
    a.scatter_with(&[(2, vec![large.clone()]), (3, vec![large.clone()])])
        .await
        .unwrap();
    for member in [&b, &c] {
        let (_, got) = within(member.recv_broadcast_with::<i32>()).await.unwrap();
        assert!(is_it(&got));
        let (_, got) = within(member.recv_scatter_with::<i32>()).await.unwrap();
        assert!(is_it(&got));
        member.send_gather_with(&4, got).await.unwrap();
    }
    let gathered = within(a.gather_with::<i32>()).await.unwrap();
    assert!(gathered.iter().all(|(_, got)| is_it(got)));
}

async fn a_root_that_starts_again_sends_each_message_once(network: Network) {
    let limits = network.limits().linger(network.time(5));
    let config = |name| config(name, &NAMES).limits(limits.clone());
    let (a, b) = (network.join(config("a")).await, network.join(config("b")).await);
    let (root, member) = (channel(&a), channel(&b));
    // One of the group has them, and the other one is not there.
    for round in 0..2 {
        root.broadcast(&round).await.unwrap();
        let got = within(member.recv_broadcast_numbered::<u64>()).await.unwrap();
        assert_eq!(got, (round, round));
    }
    within(a.close()).await;
    drop((root, a));
    let (a, c) = (network.join(config("a")).await, network.join(config("c")).await);
    let root = channel(&a);
    let first = within(root.next_offset()).await.unwrap();
    assert!(first <= 2, "{first}");
    for round in (first..4).chain([0, 3]) {
        let large = vec![Bytes::from(vec![1; 100_000])];
        match round {
            2 => {
                root.at(2)
                    .scatter_with(&[(2_u64, large.clone()), (2, large)])
                    .await
            }
            _ => root.at(round).broadcast(&round).await,
        }
        .unwrap();
    }
    assert_eq!(within(root.next_offset()).await.unwrap(), 4);
    let error = root.at(5).broadcast(&5).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "channel models: message 5 would leave a gap, party b gets message 4 next; see `next_offset`"
    );
    // Without `at`, a message has the next number.
    root.broadcast(&4_u64).await.unwrap();
    for (member, first) in [(member, 2), (channel(&c), 0)] {
        for round in first..5 {
            let got = match round {
                2 => {
                    let (offset, value, buffers) =
                        within(member.recv_scatter_numbered_with::<u64>()).await.unwrap();
                    assert_eq!(buffers.len(), 1);
                    (offset, value)
                }
                _ => within(member.recv_broadcast_numbered::<u64>()).await.unwrap(),
            };
            assert_eq!(got, (round, round));
        }
        let hasty = member.with_timeout(network.time(4));
        let error = within(hasty.recv_broadcast::<u64>()).await.unwrap_err();
        assert!(matches!(error, ChannelError::Timeout { .. }), "{error}");
    }
}

async fn a_root_waits_for_whom_it_sends_numbers_to(network: Network) {
    let limits = network.limits().window_messages(1);
    let all = network.parties(NAMES, &limits).await;
    let [root, b, c] = all.each_ref().map(channel);
    let hasty = root.clone().with_timeout(network.time(5));
    root.at(0).broadcast(&0).await.unwrap();
    within(b.recv_broadcast::<i32>()).await.unwrap();
    // That one has it is heard of when it is.
    let waits_for_c = async {
        loop {
            let error = hasty.at(1).broadcast(&1).await.unwrap_err();
            let ChannelError::Timeout { what, party, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!(what, &Waiting::Room);
            if party.as_str() == "c" {
                break;
            }
        }
    };
    within(waits_for_c).await;
    // None was sent to either.
    let error = within(b.clone().with_timeout(network.time(4)).recv_broadcast::<i32>())
        .await
        .unwrap_err();
    assert!(matches!(error, ChannelError::Timeout { .. }), "{error}");
    let retry = root.at(1);
    let (sent, zero) = within(async { tokio::join!(retry.broadcast(&1), c.recv_broadcast::<i32>()) }).await;
    sent.unwrap();
    assert_eq!(zero.unwrap(), 0);
    for member in [&b, &c] {
        assert_eq!(
            within(member.recv_broadcast_numbered::<i32>()).await.unwrap(),
            (1, 1)
        );
    }
}

async fn a_member_that_starts_again_says_what_it_has(network: Network) {
    let [a, b] = network.parties(["a", "b"], &network.limits()).await;
    let of = |party: &Federation| party.broadcast("x", "a", ["b"]).unwrap();
    let (root, member) = (of(&a), of(&b));
    for round in 0..5_u64 {
        match round % 2 {
            0 => root.broadcast(&round).await.unwrap(),
            _ => root.scatter(&[round]).await.unwrap(),
        }
    }
    assert_eq!(
        within(member.recv_broadcast_numbered::<u64>()).await.unwrap(),
        (0, 0)
    );
    assert_eq!(within(member.next_offset()).await.unwrap(), 0);
    for value in 0..3 {
        member.send_gather(&value).await.unwrap();
        assert_eq!(within(root.gather::<i32>()).await.unwrap(), [value]);
    }
    within(b.close()).await;
    drop((member, b));
    let b = network
        .join(config("b", &["a", "b"]).limits(network.limits()))
        .await;
    let member = of(&b);
    member.resume_at(3).unwrap();
    assert_eq!(
        within(member.recv_scatter_numbered::<u64>()).await.unwrap(),
        (3, 3)
    );
    assert_eq!(within(member.next_offset()).await.unwrap(), 3);
    assert_eq!(
        within(member.recv_broadcast_numbered::<u64>()).await.unwrap(),
        (4, 4)
    );
}

async fn values_for_a_group_have_a_time_to_live(network: Network) {
    let config = |name| config(name, &["a", "b"]).limits(network.limits());
    let a = network.join(config("a")).await;
    let root = a.broadcast("x", "a", ["b"]).unwrap();
    let short = root.clone().with_ttl(Some(Duration::from_millis(50)));
    short
        .broadcast_with(&1, vec![Bytes::from_static(b"1")])
        .await
        .unwrap();
    root.broadcast(&2).await.unwrap();
    tokio::time::sleep(network.pause()).await;
    let b = network.join(config("b")).await;
    let member = b.broadcast("x", "a", ["b"]).unwrap();
    let error = within(member.recv_broadcast_with::<i32>()).await.unwrap_err();
    assert!(
        matches!(error, ChannelError::Expired { offset: 0, .. }),
        "{error}"
    );
    assert_eq!(
        within(member.recv_broadcast_numbered::<i32>()).await.unwrap(),
        (1, 2)
    );
}

async fn who_gathers_has_values_of_one_round(network: Network) {
    let names = ["a", "b", "c"];
    let config = |name| config(name, &names).limits(network.limits());
    let [b, c] = [network.join(config("b")).await, network.join(config("c")).await];
    let [from_b, from_c] = [&b, &c].map(|member| member.broadcast("x", "a", ["b", "c"]).unwrap());
    let short = from_b.clone().with_ttl(Some(Duration::from_millis(50)));
    short.send_gather(&1).await.unwrap();
    from_b.send_gather(&2).await.unwrap();
    from_c.send_gather(&10).await.unwrap();
    tokio::time::sleep(network.pause()).await;
    let a = network.join(config("a")).await;
    let root = a.broadcast("x", "a", ["b", "c"]).unwrap();
    let error = within(root.gather::<i32>()).await.unwrap_err();
    assert!(
        matches!(error, ChannelError::Expired { offset: 0, .. }),
        "{error}"
    );
    from_c.send_gather(&20).await.unwrap();
    assert_eq!(within(root.gather::<i32>()).await.unwrap(), [2, 20]);
}
