//! One stream into many, over real sockets: whole messages, policies, and a configuration that changes.
#![cfg(feature = "inproc")]

use std::time::Duration;

use flexbond_stream::split::{OutputConfig, OutputMode, Policy, Split, SplitConfig, SplitError};
use flexbond_stream::{Attach, ConnectOptions, Header, Mode, Stream, StreamMessage};
use flexbond_transport::Message;
use tokio::time::Instant;

async fn bound(address: &str, mode: Mode) -> Stream {
    let options = ConnectOptions::new().mode(mode).attach(Attach::Bind);
    Stream::connect(address, options).await.unwrap()
}

fn address(test: &str, end: &str) -> String {
    format!("inproc://split-{test}-{end}")
}

fn config(test: &str, outputs: &[&str]) -> SplitConfig {
    SplitConfig::new(
        address(test, "source"),
        outputs.iter().map(|end| address(test, end)),
    )
}

fn message(number: u64) -> StreamMessage {
    let header = Header::new("").with("frame", number).with("odd", number % 2 == 1);
    StreamMessage::raw(
        header,
        ["first".into(), "".into(), format!("last of {number}").into()],
    )
}

/// The numbers of the next `count` messages, each of which must be whole.
async fn receive(stream: &mut Stream, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        let received = stream.receive().await.unwrap();
        let number = received.header.frame().unwrap();
        assert_eq!(received.encode(), Message::from(message(number)));
        numbers.push(number);
    }
    numbers
}

async fn send(stream: &mut Stream, numbers: std::ops::Range<u64>) {
    for number in numbers {
        stream.send(message(number)).await.unwrap();
    }
}

/// Runs a split while something else goes on.
async fn while_running<T>(split: &mut Split, task: impl Future<Output = T>) -> T {
    tokio::select! {
        error = split.run() => panic!("{error}"),
        done = task => done,
    }
}

#[tokio::test(start_paused = true)]
async fn fault_01_modulo_keeps_messages_whole() {
    let mut source = bound(&address("f1", "source"), Mode::Push).await;
    let mut all = bound(&address("f1", "all"), Mode::Pull).await;
    let mut third = bound(&address("f1", "third"), Mode::Pull).await;
    let mut config = config("f1", &["all", "third"]);
    config.streams[1].modulo = 3.try_into().unwrap();
    let mut split = Split::connect(config).await.unwrap();
    while_running(&mut split, async {
        send(&mut source, 0..30).await;
        assert_eq!(receive(&mut all, 30).await, (0..30).collect::<Vec<_>>());
        assert_eq!(
            receive(&mut third, 10).await,
            (0..30).step_by(3).collect::<Vec<_>>()
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn fault_03_a_send_that_does_not_wait_sends_whole_messages_or_nothing() {
    let options = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
    let mut sender = Stream::connect(&*address("f3", "stream"), options.queue_size(4_usize))
        .await
        .unwrap();
    let mut receiver = Stream::connect(
        &*address("f3", "stream"),
        ConnectOptions::new().queue_size(4_usize),
    )
    .await
    .unwrap();
    let mut sent = Vec::new();
    for number in 0..50 {
        match sender.try_send(message(number)) {
            Ok(()) => sent.push(number),
            Err(error) => assert_eq!(
                error.into_message(),
                Message::from(message(number)),
                "handed back whole"
            ),
        }
    }
    assert!(sent.len() < 50, "the queue was never full");
    assert_eq!(receive(&mut receiver, sent.len()).await, sent);
    assert!(receiver.try_receive().is_err());
    sender.send(message(99)).await.unwrap();
    assert_eq!(receive(&mut receiver, 1).await, [99]);
}

#[tokio::test(start_paused = true)]
async fn fault_12_one_blocked_output_does_not_stall_the_others() {
    const PATIENCE: Duration = Duration::from_secs(2);
    for policy in [Policy::DropStalled, Policy::DropNewest, Policy::DropOldest] {
        let test = format!("f12-{policy:?}");
        let mut source = bound(&address(&test, "source"), Mode::Push).await;
        let mut receivers = Vec::new();
        let mut config = config(&test, &["a", "b", "c", "blocked"]);
        for output in &mut config.streams {
            receivers.push(bound(&output.address, Mode::Pull).await);
        }
        config.streams[3].policy = policy;
        // Never takes anything.
        let mut blocked = receivers.pop().unwrap();
        let mut split = Split::connect(config).await.unwrap();
        let start = Instant::now();
        let received = async {
            let tasks: Vec<_> = receivers
                .into_iter()
                .map(|mut receiver| tokio::spawn(async move { receive(&mut receiver, 5_001).await }))
                .collect();
            send(&mut source, 0..5_000).await;
            // Until then nobody knows that it stands still.
            tokio::time::sleep(PATIENCE).await;
            send(&mut source, 5_000..5_001).await;
            for task in tasks {
                assert_eq!(task.await.unwrap(), (0..5_001).collect::<Vec<_>>(), "{policy:?}");
            }
        };
        while_running(&mut split, received).await;
        assert_eq!(start.elapsed(), PATIENCE, "{policy:?}: held up");
        let stats: Vec<_> = split.stats().collect();
        for output in &stats[..3] {
            assert_eq!(
                (output.outlet.messages, output.outlet.dropped),
                (5_001, 0),
                "{policy:?}"
            );
        }
        let outlet = stats[3].outlet;
        let in_hand = 1;
        assert!(outlet.dropped > 4_000, "{policy:?}: {outlet:?}");
        assert_eq!(
            outlet.messages + outlet.dropped + outlet.queued as u64,
            5_001,
            "{policy:?}: {outlet:?}"
        );
        // What it finds when it wakes up is in order and whole.
        let waiting = usize::try_from(outlet.messages).unwrap() + outlet.queued;
        let late = while_running(&mut split, receive(&mut blocked, waiting)).await;
        assert!(
            late.is_sorted_by(|a, b| a < b) && late.len() >= 100 - in_hand,
            "{policy:?}: {late:?}"
        );
        if policy == Policy::DropOldest {
            assert_eq!(late.last(), Some(&5_000));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_to_be_waited_for_is_waited_for() {
    let mut source = bound(&address("wait", "source"), Mode::Push).await;
    let mut slow = bound(&address("wait", "slow"), Mode::Pull).await;
    let mut fast = bound(&address("wait", "fast"), Mode::Pull).await;
    let mut config = config("wait", &["slow", "fast"]);
    config.streams[0].policy = Policy::Wait;
    let mut split = Split::connect(config).await.unwrap();
    while_running(&mut split, async {
        let sending = send(&mut source, 0..2_000);
        let fast = receive(&mut fast, 2_000);
        let slow = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            receive(&mut slow, 2_000).await
        };
        let ((), fast, slow) = tokio::join!(sending, fast, slow);
        assert_eq!(fast, slow);
    })
    .await;
    assert!(split.stats().all(|output| output.outlet.dropped == 0));
}

#[tokio::test(start_paused = true)]
async fn groups_and_filters_share_messages_out() {
    let mut source = bound(&address("rules", "source"), Mode::Push).await;
    let mut config = config("rules", &["left", "right", "odd"]);
    let mut receivers = Vec::new();
    for output in &mut config.streams {
        receivers.push(bound(&output.address, Mode::Pull).await);
    }
    config.streams[0].group = Some("both".to_owned());
    config.streams[1].group = Some("both".to_owned());
    config.streams[2].filter = Some("odd = true && frame >= 10".parse().unwrap());
    let mut split = Split::connect(config).await.unwrap();
    while_running(&mut split, async {
        send(&mut source, 0..20).await;
        assert_eq!(
            receive(&mut receivers[0], 10).await,
            (0..20).step_by(2).collect::<Vec<_>>()
        );
        assert_eq!(
            receive(&mut receivers[1], 10).await,
            (1..20).step_by(2).collect::<Vec<_>>()
        );
        assert_eq!(receive(&mut receivers[2], 5).await, [11, 13, 15, 17, 19]);
    })
    .await;
    assert_eq!(split.statistics().totals().messages, 20);
}

#[tokio::test(start_paused = true)]
async fn a_new_configuration_leaves_alone_what_stays() {
    let mut source = bound(&address("reload", "source"), Mode::Push).await;
    let mut stays = bound(&address("reload", "stays"), Mode::Pull).await;
    let mut goes = bound(&address("reload", "goes"), Mode::Pull).await;
    let mut comes = bound(&address("reload", "comes"), Mode::Pull).await;
    let mut split = Split::connect(config("reload", &["stays", "goes"]))
        .await
        .unwrap();
    while_running(&mut split, async {
        send(&mut source, 0..50).await;
        // The one that goes has not received anything yet.
        assert_eq!(receive(&mut stays, 50).await, (0..50).collect::<Vec<_>>());
    })
    .await;

    let mut next = config("reload", &["comes", "stays"]);
    next.streams[1].modulo = 10.try_into().unwrap();
    let reloaded = split.reload(next.clone()).await.unwrap();
    assert_eq!(reloaded.added, [address("reload", "comes")]);
    assert_eq!(reloaded.removed, [address("reload", "goes")]);
    assert_eq!(reloaded.changed, [address("reload", "stays")]);
    assert!(!reloaded.source);
    let handshakes = |split: &Split| {
        split
            .stats()
            .find(|output| output.address.ends_with("stays"))
            .unwrap()
            .socket
    };
    assert_eq!((handshakes(&split).peers, handshakes(&split).reconnects), (1, 0));
    while_running(&mut split, async {
        send(&mut source, 50..100).await;
        assert_eq!(receive(&mut comes, 50).await, (50..100).collect::<Vec<_>>());
        assert_eq!(receive(&mut stays, 5).await, [50, 60, 70, 80, 90]);
        assert_eq!(
            receive(&mut goes, 50).await,
            (0..50).collect::<Vec<_>>(),
            "what waited is still sent"
        );
        assert!(goes.try_receive().is_err());
    })
    .await;

    // What cannot be used changes nothing.
    let mut bad = next.clone();
    bad.streams.push(OutputConfig::new("nonsense"));
    assert!(matches!(split.reload(bad).await, Err(SplitError::Connect { .. })));
    let mut bad = next.clone();
    bad.streams.clear();
    assert!(matches!(split.reload(bad).await, Err(SplitError::Config(_))));
    assert_eq!(split.config(), &next);

    // Another source; what the former one had given is passed on.
    send(&mut source, 100..110).await;
    let mut other = bound(&address("reload", "other"), Mode::Push).await;
    next.source.address = address("reload", "other");
    assert!(split.reload(next.clone()).await.unwrap().source);
    send(&mut other, 110..120).await;
    while_running(&mut split, async {
        assert_eq!(receive(&mut comes, 20).await, (100..120).collect::<Vec<_>>());
    })
    .await;
    let totals = split.statistics().totals();
    assert_eq!((totals.messages, totals.lost_frames), (120, 0), "of both sources");

    // The same source with another queue goes on as it is.
    next.source.queue_size = 5;
    assert!(!split.reload(next.clone()).await.unwrap().source);
    assert_eq!(split.config(), &next);
    while_running(&mut split, async {
        send(&mut other, 120..130).await;
        assert_eq!(receive(&mut comes, 10).await, (120..130).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_split_that_is_dropped_again_and_again_loses_nothing() {
    let mut source = bound(&address("cancel", "source"), Mode::Push).await;
    let mut config = config("cancel", &["a", "b"]);
    config.streams[1].queue_size = 1;
    config.streams[1].policy = Policy::Wait;
    let mut a = bound(&config.streams[0].address, Mode::Pull).await;
    let mut b = bound(&config.streams[1].address, Mode::Pull).await;
    let mut split = Split::connect(config).await.unwrap();
    let sending = tokio::spawn(async move {
        send(&mut source, 0..1_000).await;
        source
    });
    let both = async {
        let (a, b) = tokio::join!(receive(&mut a, 1_000), receive(&mut b, 1_000));
        assert_eq!(a, b);
        assert_eq!(a, (0..1_000).collect::<Vec<_>>());
    };
    let mut both = std::pin::pin!(both);
    let mut turns = 0_u32;
    // One poll at a time, with all that was under way given up each time.
    while tokio::time::timeout(Duration::ZERO, &mut both).await.is_err() {
        let _ = tokio::time::timeout(Duration::ZERO, split.run()).await;
        turns += 1;
        assert!(turns < 1_000_000, "it is stuck");
    }
    assert!(turns > 10, "{turns}");
    drop(sending.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn closing_sends_what_waits_and_counts_the_rest() {
    let mut source = bound(&address("close", "source"), Mode::Push).await;
    let mut taking = bound(&address("close", "taking"), Mode::Pull).await;
    let mut config = config("close", &["taking", "nobody"]);
    for output in &mut config.streams {
        output.linger_ms = 5_000;
    }
    let mut split = Split::connect(config).await.unwrap();
    while_running(&mut split, send(&mut source, 0..50)).await;
    let start = Instant::now();
    let (undelivered, received) = tokio::join!(split.close(), receive(&mut taking, 50));
    assert_eq!(received, (0..50).collect::<Vec<_>>());
    assert_eq!(undelivered, 50, "nobody ever listened there");
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_it_closes_gets_what_waits() {
    let mut source = bound(&address("close-late", "source"), Mode::Push).await;
    let mut config = config("close-late", &["late", "nobody"]);
    for output in &mut config.streams {
        output.attach = Some(Attach::Bind);
        output.linger_ms = 5_000;
    }
    let late = config.streams[0].address.clone();
    let mut split = Split::connect(config).await.unwrap();
    while_running(&mut split, send(&mut source, 0..50)).await;
    let start = Instant::now();
    // Begun once, and given up.
    assert!(
        tokio::time::timeout(Duration::from_secs(1), split.finish())
            .await
            .is_err()
    );
    let (undelivered, received) = tokio::join!(split.finish(), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut late = Stream::connect(&*late, ConnectOptions::new()).await.unwrap();
        receive(&mut late, 50).await
    });
    assert_eq!(received, (0..50).collect::<Vec<_>>());
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    let left: Vec<_> = undelivered.outputs.iter().map(|(_, left)| *left).collect();
    assert_eq!((undelivered.messages, &left[..]), (50, &[0, 50][..]));
    let stats: Vec<_> = split.stats().collect();
    let sent = |index: usize| (stats[index].outlet.messages, stats[index].undelivered);
    assert_eq!((stats.len(), sent(0), sent(1)), (2, (50, 0), (0, 50)));
    assert_eq!(stats[0].outlet.bytes, split.statistics().totals().bytes);
    assert_eq!((stats[1].outlet.bytes, stats[1].outlet.queued), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_to_end_now_ends_now() {
    let mut source = bound(&address("close-now", "source"), Mode::Push).await;
    let slow = ConnectOptions::new().attach(Attach::Bind).queue_size(1);
    let _slow = Stream::connect(&*address("close-now", "slow"), slow)
        .await
        .unwrap();
    let mut config = config("close-now", &["slow", "nobody"]);
    config.streams[0].queue_size = 40;
    let mut split = Split::connect(config).await.unwrap();
    while_running(&mut split, send(&mut source, 0..50)).await;
    let start = Instant::now();
    assert!(
        tokio::time::timeout(Duration::from_secs(1), split.finish())
            .await
            .is_err()
    );
    let undelivered = split.finish_now().await;
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert_eq!(undelivered.outputs[1].1, 50);
    for stats in split.stats() {
        assert_eq!(stats.outlet.messages + stats.undelivered, 50, "{stats:?}");
    }
    assert_eq!(split.finish().await, undelivered);
}

#[tokio::test(start_paused = true)]
async fn closing_waits_as_long_as_linger_says_whatever_a_send_may_take() {
    let mut source = bound(&address("close-slow", "source"), Mode::Push).await;
    let slow = ConnectOptions::new().attach(Attach::Bind).queue_size(1);
    let mut slow = Stream::connect(&*address("close-slow", "slow"), slow)
        .await
        .unwrap();
    let base = ConnectOptions::new().send_timeout(Duration::from_millis(10));
    let mut config = config("close-slow", &["slow"]);
    config.streams[0].queue_size = 40;
    let mut split = Split::connect_with(config, base).await.unwrap();
    while_running(&mut split, send(&mut source, 0..50)).await;
    let (undelivered, received) = tokio::join!(split.close(), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        tokio::time::timeout(Duration::from_secs(60), receive(&mut slow, 50)).await
    });
    assert_eq!(undelivered, 0);
    assert_eq!(received, Ok((0..50).collect::<Vec<_>>()));
}

#[tokio::test(start_paused = true)]
async fn what_a_source_left_behind_is_sent() {
    for queue_size in [100, 0] {
        let test = format!("left-{queue_size}");
        let mut source = bound(&address(&test, "source"), Mode::Push).await;
        let mut taking = bound(&address(&test, "taking"), Mode::Pull).await;
        let mut config = config(&test, &["taking"]);
        config.source.queue_size = queue_size;
        let split = Split::connect(config).await.unwrap();
        send(&mut source, 0..50).await;
        if queue_size > 0 {
            // All of it has left the source when this is over.
            assert_eq!(source.disconnect().await.undelivered, 0);
            while split.source_socket().peers > 0 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(split.close().await, 0);
        let received = tokio::time::timeout(Duration::from_secs(60), receive(&mut taking, 50)).await;
        assert_eq!(received, Ok((0..50).collect::<Vec<_>>()), "{queue_size}");
    }
}

#[tokio::test(start_paused = true)]
async fn closing_takes_as_long_as_linger_says_and_no_longer() {
    let mut source = bound(&address("linger", "source"), Mode::Push).await;
    let mut config = config("linger", &["nobody"]);
    config.streams[0].linger_ms = 5_000;
    config.streams[0].queue_size = 10;
    let mut split = Split::connect(config).await.unwrap();
    // More than may wait, so that one is held.
    while_running(&mut split, send(&mut source, 0..50)).await;
    let start = Instant::now();
    assert_eq!(split.close().await, 50);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn publishing_outputs_go_to_everybody() {
    let mut source = bound(&address("pub", "source"), Mode::Push).await;
    let mut config = config("pub", &["pub"]);
    config.streams[0].mode = OutputMode::Pub;
    config.streams[0].attach = Some(Attach::Bind);
    let mut split = Split::connect(config).await.unwrap();
    let mut receivers = Vec::new();
    for _ in 0..2 {
        let options = ConnectOptions::new().mode(Mode::Sub);
        receivers.push(Stream::connect(&*address("pub", "pub"), options).await.unwrap());
    }
    while_running(&mut split, async {
        // A publisher cannot know when a subscription has arrived.
        let mut number = 0;
        for receiver in &mut receivers {
            loop {
                source.send(message(number)).await.unwrap();
                number += 1;
                if tokio::time::timeout(Duration::from_millis(20), receiver.receive())
                    .await
                    .is_ok()
                {
                    break;
                }
                assert!(number < 500, "no message within 10 s");
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_cannot_be_opened_is_named() {
    let error = Split::connect(SplitConfig::new("inproc://split-bad-source", ["tcp:/nonsense"])).await;
    assert!(
        error
            .unwrap_err()
            .to_string()
            .starts_with("tcp:/nonsense cannot be joined")
    );
    let none: [&str; 0] = [];
    let error = Split::connect(SplitConfig::new("inproc://split-bad-source", none)).await;
    assert!(matches!(error, Err(SplitError::Config(_))));
}

/// An address that was given up can be taken again at once, by another kind of socket even.
#[cfg(feature = "tcp")]
#[tokio::test]
async fn an_output_can_go_and_come_back_at_its_address() {
    let options = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
    let mut source = Stream::connect("tcp://127.0.0.1:0", options).await.unwrap();
    let mut keeps = bound(&address("tcp", "keeps"), Mode::Pull).await;
    let mut first = SplitConfig::new(source.endpoint().to_string(), ["tcp://127.0.0.1:0"]);
    first.streams[0].attach = Some(Attach::Bind);
    first.streams.push(OutputConfig::new(address("tcp", "keeps")));
    let mut split = Split::connect(first.clone()).await.unwrap();
    let there = split.stats().next().unwrap().endpoint;
    let mut receiver = Stream::connect(&there, ConnectOptions::new()).await.unwrap();
    while_running(&mut split, async {
        send(&mut source, 0..10).await;
        assert_eq!(receive(&mut receiver, 10).await, (0..10).collect::<Vec<_>>());
    })
    .await;

    let mut without = first.clone();
    without.streams.remove(0);
    split.reload(without).await.unwrap();
    let mut again = first;
    again.streams[0].address = there.to_string();
    again.streams[0].mode = OutputMode::Pub;
    let reloaded = split.reload(again).await.unwrap();
    assert_eq!(reloaded.added, [there.to_string()]);
    while_running(&mut split, async {
        send(&mut source, 10..20).await;
        assert_eq!(receive(&mut keeps, 20).await, (0..20).collect::<Vec<_>>());
    })
    .await;
    assert_eq!(split.close().await, 0);
}

/// Where one output listened, another kind of socket does: the former one is closed first, and opened again where that
/// cannot be.
#[cfg(feature = "tcp")]
#[tokio::test]
async fn an_output_can_change_its_mode_at_its_address() {
    let mut source = bound(&address("mode", "source"), Mode::Push).await;
    let mut keeps = bound(&address("mode", "keeps"), Mode::Pull).await;
    // An address that is free.
    let there = {
        let options = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
        let free = Stream::connect("tcp://127.0.0.1:0", options).await.unwrap();
        let endpoint = free.endpoint().to_string();
        free.disconnect().await;
        endpoint
    };
    let mut config = config("mode", &["keeps"]);
    config.streams.push(OutputConfig::new(&there));
    config.streams[1].attach = Some(Attach::Bind);
    let mut split = Split::connect(config.clone()).await.unwrap();
    let mut puller = Stream::connect(&*there, ConnectOptions::new()).await.unwrap();
    while_running(&mut split, async {
        send(&mut source, 0..10).await;
        assert_eq!(receive(&mut puller, 10).await, (0..10).collect::<Vec<_>>());
    })
    .await;

    // An address of documentation, which no machine has.
    let mut bad = config.clone();
    bad.streams[1].address = there.replace("127.0.0.1", "192.0.2.1");
    assert!(matches!(split.reload(bad).await, Err(SplitError::Connect { .. })));
    assert_eq!(split.config(), &config, "the former one is there again");
    while_running(&mut split, async {
        send(&mut source, 10..20).await;
        assert_eq!(receive(&mut puller, 10).await, (10..20).collect::<Vec<_>>());
    })
    .await;
    drop(puller);

    config.streams[1].mode = OutputMode::Pub;
    let reloaded = split.reload(config.clone()).await.unwrap();
    assert_eq!(reloaded.replaced, [&*there], "{reloaded:?}");
    assert!(
        reloaded.added.is_empty() && reloaded.removed.is_empty(),
        "{reloaded:?}"
    );
    let mut subscriber = Stream::connect(&*there, ConnectOptions::new().mode(Mode::Sub))
        .await
        .unwrap();
    let received = while_running(&mut split, async {
        // Until its subscription is there.
        for number in 20.. {
            send(&mut source, number..number + 1).await;
            let next = subscriber.receive();
            if let Ok(received) = tokio::time::timeout(Duration::from_millis(20), next).await {
                return (number, received.unwrap().header.frame().unwrap());
            }
        }
        unreachable!("numbers do not end")
    });
    let limit = Duration::from_secs(60);
    let (last, first) = tokio::time::timeout(limit, received)
        .await
        .expect("it subscribes");
    assert!((20..=last).contains(&first), "{first}");
    let kept = receive(&mut keeps, last as usize + 1).await;
    assert_eq!(kept, (0..=last).collect::<Vec<_>>(), "others notice nothing");
}
