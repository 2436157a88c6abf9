//! Batches of hundreds of small messages with a large one behind them, for an application that does not read yet:
//! the receiver's queue fills up in the middle of what was read together, and the large one waits with the rest.
#![cfg(feature = "tcp")]

mod harness;

use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{Socket, SocketType};
use harness::{bind, brisk, idle, numbered, peers, recv, socket_with, until, within, would_block};

/// From this size on, bodies are read straight into memory of their own.
const LARGE: usize = 128 << 10;

/// A batch: this many small messages, then one of this size.
#[derive(Clone, Copy)]
struct Shape {
    small: u64,
    large: usize,
}

impl Shape {
    fn messages(self) -> u64 {
        self.small + 1
    }

    /// The message with this number; no two pieces of 8 bytes in it are the same, nor the same as in the next one.
    fn message(self, number: u64) -> Vec<u8> {
        if number % self.messages() < self.small {
            return numbered(number, 8 + (number % 60) as usize);
        }
        let mut body = numbered(number, self.large);
        for (index, piece) in body[8..].chunks_mut(8).enumerate() {
            let mark = number.rotate_left(32) ^ index as u64;
            piece.copy_from_slice(&mark.to_be_bytes()[..piece.len()]);
        }
        body
    }
}

/// A PUSH and a PULL with these high-water marks.
async fn pipeline(send_hwm: usize, recv_hwm: usize) -> (Socket, Socket) {
    let pull = socket_with(SocketType::Pull, brisk().recv_hwm(recv_hwm));
    let push = socket_with(SocketType::Push, brisk().send_hwm(send_hwm));
    push.connect(bind(&pull).await).unwrap();
    peers(&push, 1).await;
    (push, pull)
}

/// Reads until the message before `end`, one by one or many at a time: each once, in order, whole.
async fn read_all(pull: &Socket, shape: Shape, end: u64, limit: usize) {
    let mut next = 0;
    let mut messages: Vec<Message> = Vec::new();
    while next < end {
        if limit == 1 {
            messages.push(recv(pull).await);
        } else {
            within("messages", pull.recv_many(&mut messages, limit))
                .await
                .unwrap();
        }
        for message in messages.drain(..) {
            assert_eq!(message.len(), 1, "message {next} of {end}");
            let whole = message[0] == shape.message(next)[..];
            assert!(whole, "message {next} of {end}: {} bytes", message.size());
            next += 1;
        }
    }
    assert!(idle(pull), "nothing comes twice");
}

#[tokio::test]
async fn a_batch_that_ends_with_a_large_message_waits_for_the_reader() {
    for small in [200, 255, 256, 257, 511, 700] {
        for large in [LARGE - 1, LARGE, LARGE + 1, 4 * LARGE] {
            for recv_hwm in [1, 100, small as usize] {
                let shape = Shape { small, large };
                let (push, pull) = pipeline(1000, recv_hwm).await;
                // Nobody else runs in between: the writer finds them all at once.
                for number in 0..shape.messages() {
                    push.try_send(shape.message(number)).unwrap();
                }
                until("all to be written", || push.peers()[0].queued == 0).await;
                read_all(&pull, shape, shape.messages(), [1, 7][large % 2]).await;
            }
        }
    }
}

#[tokio::test]
async fn such_batches_fill_both_queues_and_all_arrive() {
    for (large, recv_hwm) in [(LARGE, 300), (8 * LARGE, 1), (8 * LARGE, 1000)] {
        let shape = Shape { small: 300, large };
        let (push, pull) = pipeline(1000, recv_hwm).await;
        let (mut sent, mut refused) = (0, 0);
        // Refused again and again while the writer has every chance: it is the reader who holds them up.
        while refused < 50 {
            if would_block(&push, shape.message(sent)) {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            } else {
                sent += 1;
                refused = 0;
            }
            assert!(sent < 500 * shape.messages(), "never full");
        }
        // Up to the end of a batch, while the reader makes room.
        let end = sent.next_multiple_of(shape.messages());
        let rest = async {
            for number in sent..end {
                within("room", push.send(shape.message(number))).await.unwrap();
            }
        };
        tokio::join!(read_all(&pull, shape, end, 64), rest);
        let (sent, received) = (push.stats(), pull.stats());
        assert_eq!(sent.messages_sent, end);
        assert_eq!(received.messages_received, end);
        assert_eq!(received.bytes_received, sent.bytes_sent);
    }
}
