//! Subscriptions as messages: a byte 1 or 0 and the topic (RFC 29, and all of ZMTP up to 3.0).

use bytes::{BufMut, BytesMut};
use flexbond_transport::Message;

/// A message that starts or ends a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription<'a> {
    pub(crate) subscribe: bool,
    pub(crate) topic: &'a [u8],
}

impl<'a> Subscription<'a> {
    /// Reads a message of one frame whose first byte is 0 or 1.
    pub(crate) fn of(message: &'a Message) -> Option<Self> {
        let [frame] = message.frames() else { return None };
        match frame.as_slice() {
            [1, topic @ ..] => Some(Subscription {
                subscribe: true,
                topic,
            }),
            [0, topic @ ..] => Some(Subscription {
                subscribe: false,
                topic,
            }),
            _ => None,
        }
    }
}

/// The message that starts or ends a subscription.
pub(crate) fn message_of(subscribe: bool, topic: &[u8]) -> Message {
    let mut body = BytesMut::with_capacity(1 + topic.len());
    body.put_u8(u8::from(subscribe));
    body.put_slice(topic);
    Message::from(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_round_trip() {
        for (subscribe, topic) in [(true, &b"weather"[..]), (false, b""), (true, &[0; 300])] {
            let message = message_of(subscribe, topic);
            assert_eq!(
                Subscription::of(&message),
                Some(Subscription { subscribe, topic })
            );
        }
    }

    #[test]
    fn other_messages_are_not_subscriptions() {
        assert_eq!(Subscription::of(&Message::from(&[2, 1])), None);
        assert_eq!(Subscription::of(&Message::from("")), None);
        assert_eq!(Subscription::of(&Message::from([&b"\x01a"[..], b"b"])), None);
    }
}
