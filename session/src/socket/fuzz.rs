//! Subscriptions and introductions, for fuzzers. Only there in builds for fuzzing and for tests.

use flexbond_transport::Message;
use flexbond_wire::zmtp::SocketType;

use super::introduction;
use super::subscription::{self, Subscription};
use super::trie::{Added, Removed, Trie};

/// Goes through `data` in steps: subscriptions, cancellations and messages, and at the end an introduction.
///
/// # Panics
/// When the trie does not say what a plain list of all subscriptions says.
pub fn subscriptions(data: &[u8]) {
    let mut rest = data;
    let mut trie = Trie::default();
    let mut list: Vec<(&[u8], u8)> = Vec::new();
    while let [step, len, after @ ..] = rest {
        let (text, after) = after.split_at(usize::from(len % 32).min(after.len()));
        rest = after;
        let key = step >> 4 & 3;
        let known = list.iter().position(|entry| *entry == (text, key));
        let others = list.iter().any(|(topic, other)| *topic == text && *other != key);
        match step % 3 {
            0 => {
                let expected = match known {
                    Some(_) => Added::Nothing,
                    None if others => Added::Another,
                    None => Added::First,
                };
                assert_eq!(trie.add(text, key), expected);
                if known.is_none() {
                    list.push((text, key));
                }
            }
            1 => {
                let expected = match known {
                    None => Removed::Nothing,
                    Some(_) if others => Removed::OneOfMany,
                    Some(_) => Removed::Last,
                };
                assert_eq!(trie.remove(text, key), expected);
                if let Some(place) = known {
                    list.swap_remove(place);
                }
            }
            _ => {}
        }
        let mut expected: Vec<u8> = list
            .iter()
            .filter(|(topic, _)| text.starts_with(topic))
            .map(|(_, key)| *key)
            .collect();
        expected.sort_unstable();
        let mut found = Vec::new();
        trie.visit_matches(text, |key| found.push(key));
        found.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(trie.matches(text), !expected.is_empty());
        let subscribe = step.is_multiple_of(2);
        let message = subscription::message_of(subscribe, text);
        assert_eq!(
            Subscription::of(&message),
            Some(Subscription {
                subscribe,
                topic: text
            })
        );
        let _ = Subscription::of(&Message::from(text.to_vec()));
    }
    introductions(data);
}

/// Frames of up to 31 bytes, each behind its length, as what a peer in this process says first.
fn introductions(data: &[u8]) {
    let mut message = Message::from("flexbond/1");
    let mut rest = data;
    while let [len, after @ ..] = rest {
        let (frame, after) = after.split_at(usize::from(len % 32).min(after.len()));
        message.push_back(frame.to_vec());
        rest = after;
    }
    for ours in SocketType::ALL {
        if let Ok(read) = introduction::read(ours, message.clone()) {
            let names = read.metadata.iter().map(|(name, _)| name.to_ascii_lowercase());
            let mut names: Vec<String> = names.collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "no property comes twice");
            assert!(read.user_id.is_none() && !names.iter().any(|name| name == "user-id"));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_subscribed_to_is_found(data in prop::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..200)) {
            subscriptions(&data);
        }
    }

    #[test]
    fn an_introduction_is_reached() {
        subscriptions(b"\x03SUB\x02id\x01a\x01b");
        let message = Message::from(["flexbond/1", "SUB"]);
        assert!(introduction::read(SocketType::Pub, message).is_ok());
    }
}
