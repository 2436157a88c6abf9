//! Streams merged in turn and by number, over real sockets.
#![cfg(feature = "inproc")]

use std::time::Duration;

use flexbond_stream::merge::{
    AlignOptions, Aligned, AlignedMerge, AlignedSet, Merge, MergeError, MergeOptions, Order,
};
use flexbond_stream::{Attach, ConnectOptions, Header, Mode, Stream, StreamMessage};
use tokio::time::Instant;

/// So many senders, and their streams to be merged.
async fn sources(name: &str, count: usize) -> (Vec<Stream>, Vec<Stream>) {
    let (mut senders, mut streams) = (Vec::new(), Vec::new());
    for index in 0..count {
        let address = format!("inproc://merge-{name}-{index}");
        let options = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
        senders.push(Stream::connect(&*address, options).await.unwrap());
        let options = ConnectOptions::new().receive_timeout(Some(Duration::from_millis(1)));
        streams.push(Stream::connect(&*address, options).await.unwrap());
    }
    (senders, streams)
}

fn frame(number: u64) -> StreamMessage {
    StreamMessage::raw(Header::new("").with("frame", number), ["data".into()])
}

async fn next(merge: &mut Merge) -> (usize, u64) {
    let merged = merge.receive().await.unwrap();
    (merged.stream, merged.message.header.frame().unwrap())
}

#[tokio::test(start_paused = true)]
async fn fault_08_merge_waits_or_not_as_asked_and_instances_share_nothing() {
    let (mut senders, streams) = sources("fault-a", 2).await;
    let (mut others, other_streams) = sources("fault-b", 2).await;
    let mut merge = Merge::new(streams);
    let mut other = Merge::with_options(other_streams, MergeOptions::new().order(Order::Strict));

    // Not waiting is not waiting.
    let start = Instant::now();
    assert!(matches!(merge.try_receive(), Err(MergeError::WouldBlock)));
    assert_eq!(start.elapsed(), Duration::ZERO);

    for sender in senders.iter_mut().chain(&mut others) {
        for number in 0..3 {
            sender.send(frame(number)).await.unwrap();
        }
    }
    // The turn of one does not move that of the other.
    assert_eq!(next(&mut merge).await, (0, 0));
    assert_eq!(next(&mut other).await, (0, 0));
    assert_eq!(next(&mut merge).await, (1, 0));
    assert_eq!(next(&mut merge).await, (0, 1));
    assert_eq!(next(&mut other).await, (1, 0));

    // Waiting is waiting, although the streams have a time-out of their own.
    drop(other);
    for expected in [(1, 1), (0, 2), (1, 2)] {
        assert_eq!(next(&mut merge).await, expected);
    }
    let late = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        senders[0].send(frame(3)).await.unwrap();
    };
    let (received, ()) = tokio::join!(next(&mut merge), late);
    assert_eq!((received, start.elapsed()), ((0, 3), Duration::from_secs(100)));
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_waited_for_once() {
    let (mut senders, streams) = sources("silent", 3).await;
    let mut merge = Merge::new(streams);
    for number in 0..5 {
        senders[1].send(frame(number)).await.unwrap();
    }
    let start = Instant::now();
    for number in 0..5 {
        assert_eq!(next(&mut merge).await, (1, number));
    }
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    senders[2].send(frame(9)).await.unwrap();
    assert_eq!(next(&mut merge).await, (2, 9));
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_strict_order_is_kept_and_a_receive_gives_up_in_time() {
    let (mut senders, streams) = sources("strict", 2).await;
    let limit = Duration::from_secs(30);
    let options = MergeOptions::new().order(Order::Strict).receive_timeout(limit);
    let mut merge = Merge::with_options(streams, options);
    senders[1].send(frame(0)).await.unwrap();
    let start = Instant::now();
    assert!(matches!(merge.receive().await, Err(MergeError::Timeout(after)) if after == limit));
    assert_eq!(start.elapsed(), limit);
    assert!(matches!(merge.try_receive(), Err(MergeError::WouldBlock)));
    senders[0].send(frame(0)).await.unwrap();
    assert_eq!(next(&mut merge).await, (0, 0));
    assert_eq!(next(&mut merge).await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_malformed_message_is_its_streams_turn() {
    let (mut senders, streams) = sources("malformed", 2).await;
    let mut merge = Merge::new(streams);
    senders[0].send("nonsense").await.unwrap();
    senders[0].send(frame(1)).await.unwrap();
    senders[1].send(frame(0)).await.unwrap();
    assert!(matches!(
        merge.receive().await,
        Err(MergeError::Stream { stream: 0, .. })
    ));
    assert_eq!(next(&mut merge).await, (1, 0));
    assert_eq!(next(&mut merge).await, (0, 1));
    assert_eq!(merge.streams()[0].statistics().totals().malformed, 1);
    assert!(matches!(
        Merge::new(Vec::new()).receive().await,
        Err(MergeError::Closed)
    ));
}

#[tokio::test(start_paused = true)]
async fn cancelled_receives_lose_nothing() {
    let (mut senders, streams) = sources("cancelled", 2).await;
    let mut merge = Merge::with_options(streams, MergeOptions::new().order(Order::Strict));
    for number in 0..200 {
        senders[0].send(frame(number)).await.unwrap();
        // Whoever waits for message `number` of stream 1 gives up.
        for expected in [Some((0, number)), None] {
            let received = tokio::time::timeout(Duration::ZERO, next(&mut merge)).await.ok();
            assert_eq!(received, expected);
        }
        senders[1].send(frame(number)).await.unwrap();
        assert_eq!(next(&mut merge).await, (1, number));
    }
}

fn set_of(aligned: Result<Aligned, MergeError>) -> AlignedSet<StreamMessage> {
    match aligned {
        Ok(Aligned::Set(set)) => set,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn frames_with_the_same_number_come_together() {
    let (mut senders, streams) = sources("aligned", 3).await;
    let mut merge = AlignedMerge::new(streams);
    let start = Instant::now();
    for number in 0..10 {
        for (index, sender) in senders.iter_mut().enumerate() {
            if (number, index) != (4, 1) {
                sender.send(frame(number)).await.unwrap();
            }
        }
    }
    for number in 0..10 {
        let set = set_of(merge.receive().await);
        assert_eq!(set.number, number);
        assert_eq!(
            set.missing().collect::<Vec<_>>(),
            if number == 4 { vec![1] } else { vec![] }
        );
        let numbers = set.items.iter().flatten().map(|message| message.header.frame());
        assert!(numbers.into_iter().all(|found| found == Some(number)));
    }
    assert_eq!(
        start.elapsed(),
        Duration::ZERO,
        "stream 1 had gone beyond, so nobody waited for it"
    );

    senders[0].send(frame(10)).await.unwrap();
    let set = set_of(merge.receive().await);
    assert_eq!((set.number, set.missing().collect::<Vec<_>>()), (10, vec![1, 2]));
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    senders[1].send(frame(10)).await.unwrap();
    assert!(matches!(
        merge.receive().await,
        Ok(Aligned::Late { stream: 1, .. })
    ));
    senders[2]
        .send(StreamMessage::raw(Header::new(""), []))
        .await
        .unwrap();
    assert!(matches!(
        merge.receive().await,
        Ok(Aligned::Unnumbered { stream: 2, .. })
    ));
    assert!(matches!(merge.try_receive(), Err(MergeError::WouldBlock)));
    let counts: Vec<_> = merge
        .counts()
        .map(|count| (count.aligned, count.missing, count.late))
        .collect();
    assert_eq!(counts, [(11, 0, 0), (9, 2, 1), (10, 1, 0)]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_series_does_not_overtake_its_images() {
    let (mut senders, streams) = sources("boundaries", 2).await;
    let mut merge = AlignedMerge::new(streams);
    let boundary = |htype: &str| {
        let header = Header::new(htype).with("series", 1);
        flexbond_transport::Message::from(header.to_frame())
    };
    let image = |frame: u64| {
        let header = Header::new("image").with("series", 1).with("frame", frame);
        flexbond_transport::Message::from(header.to_frame())
    };
    // One of them is ahead by a whole series.
    for sender in &mut senders {
        sender.send(boundary("begin")).await.unwrap();
        for frame in 0..3 {
            sender.send(image(frame)).await.unwrap();
        }
        sender.send(boundary("end")).await.unwrap();
        sender.send(boundary("begin")).await.unwrap();
        let mut told = Vec::new();
        while let Ok(aligned) = merge.try_receive() {
            told.push(match aligned {
                Aligned::Set(set) => format!("{} of {}", set.number, set.items.iter().flatten().count()),
                Aligned::Unnumbered { stream, message } => format!("{} of {stream}", message.header.htype()),
                other => panic!("{other:?}"),
            });
        }
        if told.len() == 1 {
            assert_eq!(told, ["begin of 0"]);
            continue;
        }
        let at = |what: &str| told.iter().position(|told| told == what);
        for end in ["end of 0", "end of 1"] {
            assert!(at(end) > at("2 of 2"), "{told:?}");
        }
        assert!(
            at("begin of 1") < at("0 of 2") && at("0 of 2") < at("1 of 2"),
            "{told:?}"
        );
        assert_eq!(told.len(), 8, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_series_does_not_wait_for_a_stream_that_is_silent() {
    let (mut senders, streams) = sources("silent-end", 2).await;
    let mut merge = AlignedMerge::new(streams);
    let start = Instant::now();
    let mut wait = Duration::from_secs(1);
    for series in 0..3 {
        for number in 0..5 {
            senders[0].send(frame(10 * series + number)).await.unwrap();
        }
        senders[0]
            .send(StreamMessage::raw(Header::new(""), []))
            .await
            .unwrap();
        for number in 0..5 {
            let set = set_of(merge.receive().await);
            assert_eq!((set.number, set.is_complete()), (10 * series + number, false));
        }
        assert!(matches!(
            merge.receive().await,
            Ok(Aligned::Unnumbered { stream: 0, .. })
        ));
        assert_eq!(start.elapsed(), wait, "waited for once");
        tokio::time::advance(Duration::from_secs(5)).await;
        wait += Duration::from_secs(5);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_ahead_waits_in_its_socket() {
    let (mut senders, streams) = sources("ahead", 2).await;
    let options = AlignOptions::new()
        .max_pending(5_usize)
        .receive_timeout(Duration::from_millis(1));
    let mut merge = AlignedMerge::with_options(streams, options);
    for number in 0..50 {
        senders[0].send(frame(number)).await.unwrap();
    }
    assert!(matches!(merge.receive().await, Err(MergeError::Timeout(_))));
    assert_eq!(
        merge.counts().map(|count| count.pending).collect::<Vec<_>>(),
        [5, 0]
    );
    for number in 0..50 {
        senders[1].send(frame(number)).await.unwrap();
        let set = set_of(merge.receive().await);
        assert!(set.is_complete() && set.number == number);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_can_be_had_in_the_end() {
    let (mut senders, streams) = sources("give-up", 2).await;
    let mut merge = AlignedMerge::new(streams);
    for number in 0..3 {
        senders[0].send(frame(number)).await.unwrap();
    }
    senders[0]
        .send(StreamMessage::raw(Header::new(""), []))
        .await
        .unwrap();
    assert!(matches!(merge.try_receive(), Err(MergeError::WouldBlock)));
    merge.give_up();
    for number in 0..3 {
        let set = set_of(merge.try_receive());
        assert_eq!((set.number, set.missing().collect::<Vec<_>>()), (number, vec![1]));
    }
    assert!(matches!(
        merge.try_receive(),
        Ok(Aligned::Unnumbered { stream: 0, .. })
    ));
    assert!(matches!(merge.receive().await, Err(MergeError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn cancelled_sets_lose_nothing() {
    let (mut senders, streams) = sources("cancelled-sets", 2).await;
    let mut merge = AlignedMerge::new(streams);
    for number in 0..100 {
        senders[1].send(frame(number)).await.unwrap();
        let given_up = tokio::time::timeout(Duration::ZERO, merge.receive()).await;
        assert!(given_up.is_err());
        senders[0].send(frame(number)).await.unwrap();
        let set = set_of(merge.receive().await);
        assert!(set.is_complete() && set.number == number);
    }
}
