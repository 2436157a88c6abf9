//! What mflow does wrong and a stream here must not: a bad message that harms the next one, counts that include what
//! was never understood, and types that vanish.
#![cfg(feature = "inproc")]

use flexbond_stream::{Attach, Body, ConnectOptions, Header, Mode, ReceiveError, Stream, StreamMessage};

async fn pair(name: &str) -> (Stream, Stream) {
    let address = format!("inproc://faults-{name}");
    let options = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
    let sender = Stream::connect(&*address, options).await.unwrap();
    let receiver = Stream::connect(&*address, ConnectOptions::new()).await.unwrap();
    (sender, receiver)
}

fn good(frame: u64) -> StreamMessage {
    StreamMessage::raw(Header::new("raw-1.0").with("frame", frame), ["data".into()])
}

#[tokio::test]
async fn fault_6_a_bad_header_does_not_poison_the_next_receive() {
    let (mut sender, mut receiver) = pair("6").await;
    let bad: [&[&str]; 5] = [
        &["this is not JSON", "part", "part"],
        &["{}"],
        &[""],
        &[r#"{"htype":"array-1.0","type":"float32","shape":[2]}"#, "short"],
        &[r#"{"htype":"array-1.0"}"#],
    ];
    for (frame, parts) in bad.iter().enumerate() {
        let message: flexbond_transport::Message = parts.iter().copied().collect();
        sender.send(message.clone()).await.unwrap();
        sender.send(good(frame as u64)).await.unwrap();
        match receiver.receive().await {
            Err(ReceiveError::Malformed { message: back, .. }) => {
                assert_eq!(back, message, "handed over whole");
            }
            other => panic!("{parts:?}: {other:?}"),
        }
        let next = receiver.receive().await.unwrap();
        assert_eq!(next.header.frame(), Some(frame as u64));
        assert_eq!(next.parts(), ["data"]);
    }
}

#[tokio::test]
async fn fault_7_malformed_messages_stay_out_of_the_statistics() {
    let (mut sender, mut receiver) = pair("7").await;
    let size = flexbond_transport::Message::from(good(0)).size() as u64;
    for frame in 0..3 {
        sender.send("garbage").await.unwrap();
        // A header that is fine with parts that are not: its frame number must not count either.
        let header = Header::new("array-1.0")
            .with("frame", 1_000)
            .with("type", "int16")
            .with("shape", vec![5]);
        sender
            .send(flexbond_transport::Message::from([
                header.to_frame(),
                "odd".into(),
            ]))
            .await
            .unwrap();
        sender.send(good(frame)).await.unwrap();
        assert!(receiver.receive().await.is_err());
        assert!(receiver.receive().await.is_err());
        assert!(receiver.receive().await.is_ok());
    }
    let totals = receiver.statistics().totals();
    assert_eq!(
        (totals.messages, totals.bytes, totals.malformed),
        (3, 3 * size, 6)
    );
    assert_eq!((totals.lost_frames, totals.restarts, totals.unknown), (0, 0, 0));
}

#[tokio::test]
async fn fault_9_an_unknown_htype_is_delivered_raw_and_counted() {
    let (mut sender, mut receiver) = pair("9").await;
    let header = Header::new("dimage-1.0").with("series", 1).with("frame", 4);
    let sent = flexbond_transport::Message::from([header.to_frame(), "".into(), "blob".into()]);
    sender.send(sent.clone()).await.unwrap();
    let message = receiver.receive().await.unwrap();
    assert!(matches!(&message.body, Body::Unknown(parts) if parts.len() == 2));
    assert_eq!(message.encode(), sent, "forwarding changes nothing");
    let totals = receiver.statistics().totals();
    assert_eq!((totals.messages, totals.unknown, totals.malformed), (1, 1, 0));
}

#[tokio::test]
async fn a_gap_in_the_frames_is_seen() {
    let (mut sender, mut receiver) = pair("gap").await;
    for frame in [0, 1, 4, 5] {
        sender.send(good(frame)).await.unwrap();
        receiver.receive().await.unwrap();
    }
    assert_eq!(receiver.statistics().totals().lost_frames, 2);
    assert_eq!(sender.statistics().totals().messages, 4);
}
