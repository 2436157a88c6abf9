//! Streams in every mode, over every transport that is built in.
#![cfg(any(feature = "tcp", feature = "inproc", feature = "ipc"))]

use std::time::Duration;

use flexbond_session::socket::RecvError;
use flexbond_stream::{
    Arrays, Attach, ConnectOptions, ElementType, Endianness, Header, Layout, Mode, ReceiveError, Stream,
    StreamMessage, bytes_of,
};

/// One address to bind for each transport; `name` keeps tests apart that run at the same time.
fn addresses(name: &str) -> Vec<String> {
    let mut addresses = Vec::new();
    if cfg!(feature = "tcp") {
        addresses.push("tcp://127.0.0.1:0".to_owned());
    }
    if cfg!(feature = "ipc") {
        addresses.push(format!("ipc://@flexbond-stream-{name}-{}", std::process::id()));
    }
    if cfg!(feature = "inproc") {
        addresses.push(format!("inproc://{name}"));
    }
    addresses
}

fn image(frame: u64) -> StreamMessage {
    let layout = Layout::new(ElementType::Float32, Endianness::NATIVE, &[32, 32]).unwrap();
    let pixels: Vec<f32> = (0..1024).map(|pixel| (pixel + frame as usize) as f32).collect();
    let arrays = Arrays::new(layout, vec![bytes_of(pixels).into()]).unwrap();
    StreamMessage::arrays(Header::new("array-1.0").with("frame", frame), arrays)
}

#[tokio::test]
async fn push_to_pull_with_either_end_bound() {
    for address in addresses("modes") {
        for bound in [Mode::Push, Mode::Pull] {
            let other = if bound == Mode::Push {
                Mode::Pull
            } else {
                Mode::Push
            };
            let options = ConnectOptions::new().mode(bound).attach(Attach::Bind);
            let first = Stream::connect(&address, options).await.unwrap();
            let second = Stream::connect(first.endpoint(), ConnectOptions::new().mode(other))
                .await
                .unwrap();
            let (mut sender, mut receiver) = if bound == Mode::Push {
                (first, second)
            } else {
                (second, first)
            };
            for frame in 0..300 {
                sender.send(image(frame)).await.unwrap();
                let message = receiver.receive().await.unwrap();
                let arrays = message.as_arrays().unwrap();
                assert_eq!(arrays.layout().shape(), [32, 32]);
                assert_eq!(
                    arrays.get(0).unwrap().to_slice::<f32>().unwrap()[1023],
                    (1023 + frame) as f32
                );
            }
            assert_eq!(receiver.statistics().totals().messages, 300);
            assert_eq!(receiver.statistics().totals().lost_frames, 0);
            assert_eq!(sender.disconnect().await.undelivered, 0);
        }
    }
}

#[tokio::test]
async fn publish_to_every_subscriber() {
    for address in addresses("publish") {
        let options = ConnectOptions::new().mode(Mode::Pub).attach(Attach::Bind);
        let mut sender = Stream::connect(&address, options).await.unwrap();
        let mut receivers = Vec::new();
        for _ in 0..3 {
            let options = ConnectOptions::new().mode(Mode::Sub);
            receivers.push(Stream::connect(sender.endpoint(), options).await.unwrap());
        }
        // A publisher cannot know when a subscription has arrived, so it repeats itself until each has one message.
        for receiver in &mut receivers {
            let mut frame = 0;
            let first = loop {
                sender.send(image(frame)).await.unwrap();
                frame += 1;
                if let Ok(first) = tokio::time::timeout(Duration::from_millis(20), receiver.receive()).await {
                    break first.unwrap();
                }
                assert!(frame < 500, "no message within 10 s");
            };
            assert!(first.as_arrays().is_some());
        }
    }
}

#[tokio::test]
async fn receiving_can_give_up_and_go_on() {
    let options = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
    let mut sender = Stream::connect(&addresses("time-out")[0], options).await.unwrap();
    let options = ConnectOptions::new().receive_timeout(Some(Duration::from_millis(20)));
    let mut receiver = Stream::connect(sender.endpoint(), options).await.unwrap();
    assert!(matches!(
        receiver.receive().await,
        Err(ReceiveError::Socket(RecvError::Timeout(_)))
    ));
    assert!(matches!(
        receiver.try_receive(),
        Err(ReceiveError::Socket(RecvError::WouldBlock))
    ));
    sender.send(image(0)).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while receiver.receive().await.is_err() {
        assert!(std::time::Instant::now() < deadline, "the message never came");
    }
    assert_eq!(receiver.statistics().totals().messages, 1);
}

#[tokio::test]
async fn queues_and_time_outs_may_be_as_small_and_as_large_as_can_be() {
    for address in addresses("edges") {
        for queue_size in [0, 1, usize::MAX] {
            for time in [Duration::ZERO, Duration::MAX] {
                let both = ConnectOptions::new().queue_size(queue_size).linger(Duration::MAX);
                let options = both.clone().mode(Mode::Push).attach(Attach::Bind);
                let mut sender = Stream::connect(&address, options).await.unwrap();
                let limited = both.receive_timeout(time);
                let mut receiver = Stream::connect(sender.endpoint(), limited).await.unwrap();
                for frame in 0..3 {
                    sender.send(image(frame)).await.unwrap();
                    let deadline = std::time::Instant::now() + Duration::from_secs(10);
                    let received = loop {
                        match receiver.receive().await {
                            Err(ReceiveError::Socket(RecvError::Timeout(Duration::ZERO))) => {}
                            received => break received,
                        }
                        assert!(std::time::Instant::now() < deadline, "the message never came");
                        tokio::task::yield_now().await;
                    };
                    assert_eq!(received.unwrap().header.frame(), Some(frame));
                }
                assert_eq!(sender.disconnect().await.undelivered, 0);
            }
        }
    }
}

#[tokio::test]
async fn a_raw_receive_takes_anything() {
    let options = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
    let mut sender = Stream::connect(&addresses("raw")[0], options).await.unwrap();
    let mut receiver = Stream::connect(sender.endpoint(), ConnectOptions::new())
        .await
        .unwrap();
    sender.send(["no header", "here"]).await.unwrap();
    assert_eq!(receiver.receive_raw().await.unwrap().len(), 2);
    assert_eq!(receiver.statistics().totals().bytes, 13);
}
