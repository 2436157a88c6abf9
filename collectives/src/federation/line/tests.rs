//! What a program is told when its message server has no room.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use flexbond_transport::Message;

use super::super::carrier::{Arrival, Carrier};
use super::super::config::Config;
use super::super::core::packet::{Content, Header, Hello, Item, Packet};
use super::super::limits::Limits;
use super::super::name::Role;
use super::*;

/// A server that lets everybody in and takes nothing.
#[derive(Default)]
struct Full {
    /// How many items have come, and were said.
    ack: u64,
    seq: u64,
    answers: VecDeque<Message>,
    reader: Option<Waker>,
}

impl Full {
    fn answer(&mut self, to: &Header, content: Content) {
        let header = Header {
            job: to.job.clone(),
            from: to.to.clone(),
            to: to.from.clone(),
            mine: 1,
            yours: to.mine,
            ack: self.ack,
            content,
        };
        let pieces = Vec::new();
        self.answers.push_back(Packet { header, pieces }.encode());
    }

    fn handle(&mut self, header: &Header) {
        match &header.content {
            Content::Hello(hello) => {
                let hello = Hello {
                    credit: 0,
                    ..hello.clone()
                };
                self.answer(header, Content::Hello(hello));
            }
            Content::Items { seq, items } if *seq == self.ack => {
                self.ack += items.len() as u64;
                let opened = items.iter().filter_map(|item| match item {
                    Item::Open { flow, .. } => Some(Item::Opened {
                        flow: *flow,
                        epoch: 1,
                        next: 0,
                        held: Vec::new(),
                    }),
                    _ => None,
                });
                let (seq, items) = (self.seq, opened.collect::<Vec<_>>());
                self.seq += items.len() as u64;
                self.answer(header, Content::Items { seq, items });
            }
            Content::Ack { .. } => self.answer(header, Content::Ack { gap: false }),
            _ => {}
        }
    }
}

impl Carrier for Full {
    fn poll_send(&mut self, _: &mut Context<'_>, _: &PartyId, packet: &mut Option<Message>) -> Poll<()> {
        let packet = Packet::decode(packet.take().unwrap()).unwrap();
        self.handle(&packet.header);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(())
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        match self.answers.pop_front() {
            Some(answer) => Poll::Ready(Arrival::Packet(answer)),
            None => {
                self.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_says_that_the_server_has_no_room() {
    let id = |name: &str| name.parse::<PartyId>().unwrap();
    let config = Config::new("job".parse().unwrap(), id("a"))
        .member(id("a"), Role::Guest)
        .member(id("b"), Role::Host)
        .limits(Limits::new().window_messages(1).linger(Duration::from_secs(1)));
    let federation = Federation::join(config, Full::default()).unwrap();
    let channel = federation.variable("x", "b").unwrap();
    channel.send(&1).await.unwrap();
    let error = channel.send(&2).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "channel x: waiting for room to send, of which the message server has none at present, took more than 30s; \
         party b has not been heard of"
    );
    assert!(matches!(
        channel.delivered().await,
        Err(ChannelError::Timeout {
            what: Waiting::ServerRoom,
            ..
        })
    ));
}
