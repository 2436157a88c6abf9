//! What comes over the connections of a mesh, for fuzzers. Only there in builds for fuzzing and for tests.

use std::collections::HashSet;
use std::io;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::claim::{Claim, Step, Target};
use super::header::{Header, Key};
use super::hello::{Caller, Hello, Purpose};
use super::inbound::Inbound;
use super::notice::{Application, MAX_RANKS, Message, Notice, Request};
use super::registrar::{Effect, Registrar};
use super::wakes::Wakes;

/// Bytes that a message may have, and those that nobody has asked for may have together.
const MAX_MESSAGE: usize = 1 << 16;
const UNEXPECTED: usize = 1 << 12;

/// Reads `data` as a hello with its rest, and as the header of a message.
///
/// # Panics
/// When what was read is written otherwise.
pub fn hellos(data: &[u8]) {
    if let Some((bytes, rest)) = data.split_first_chunk()
        && let Ok(hello) = Hello::decode(bytes)
    {
        assert_eq!(hello.encode(), *bytes);
        assert!(hello.rest <= Hello::MAX_REST);
        if let Some(caller) = Caller::decode(rest) {
            let again = caller.encode(Purpose::Data);
            assert_eq!(Caller::decode(&again[Hello::LEN..]), Some(caller));
        }
    }
    if let Some(bytes) = data.first_chunk()
        && let Ok(header) = Header::decode(bytes, MAX_MESSAGE)
    {
        assert!(header.length <= MAX_MESSAGE && header.following() <= header.length);
        assert_eq!(header.encode(), *bytes);
    }
}

/// Reads `data` as what a rank says to the server, and the other way.
///
/// # Panics
/// When what was read is written as something else.
pub fn notices(data: &[u8]) {
    again::<Request>(data);
    again::<Notice>(data);
}

fn again<M: Message + PartialEq + std::fmt::Debug>(data: &[u8]) {
    if data.len() > M::MAX_LEN {
        return;
    }
    if let Ok(message) = M::decode(data) {
        let mut written = Vec::new();
        message.encode(&mut written);
        assert!(
            written.len() <= 4 + data.len().max(9),
            "it was read of fewer bytes"
        );
        assert_eq!(M::decode(&written[4..]), Ok(message));
    }
}

/// Reads `data` as messages of another rank, which come at once and in pieces: its first bytes say how large these are, and
/// who asks for what.
///
/// # Panics
/// When what is received depends on how it was cut, or more is kept than may be.
pub fn inbound(data: &[u8]) {
    let Some((&[step, count], rest)) = data.split_first_chunk() else {
        return;
    };
    let (tags, bytes) = rest.split_at(usize::from(count % 16).min(rest.len()));
    let whole = received(tags, bytes, usize::MAX);
    assert_eq!(received(tags, bytes, usize::from(step).max(1)), whole);
}

/// What comes of receives for these tags, one after the other.
fn received(tags: &[u8], bytes: &[u8], step: usize) -> Vec<Step> {
    let mut inbound = Inbound::new(MAX_MESSAGE, UNEXPECTED);
    inbound.begin_epoch(1);
    let mut rest = bytes;
    let mut steps = Vec::new();
    for tag in tags {
        let key = Key {
            epoch: 1 + u32::from(tag >> 7),
            tag: u64::from(tag & 3),
        };
        let mut slice = [0; 64];
        let target = match tag & 0x40 {
            0 => Target::Own(Vec::new()),
            _ => Target::Slice(&mut slice),
        };
        let mut claim = Claim::new(key, target);
        let mut read = |target: &mut [u8]| -> Poll<io::Result<usize>> {
            let (now, later) = rest.split_at(target.len().min(step).min(rest.len()));
            target[..now.len()].copy_from_slice(now);
            rest = later;
            Poll::Ready(Ok(now.len()))
        };
        let before = inbound.stored();
        let step = inbound.poll(&mut claim, Waker::noop(), &mut Wakes::default(), &mut read);
        assert_ne!(step, Step::Dry, "there was always something, or the end");
        assert!(inbound.stored() <= UNEXPECTED.max(before));
        // What it had of a message is kept, also above the limit: this much was asked for.
        inbound.cancel(&mut claim, &mut Wakes::default());
        steps.push(step);
    }
    steps
}

/// A server whose ranks do what `data` says.
///
/// # Panics
/// When a connection hears of anything after its end, or more are in than may be.
pub fn registrar(data: &[u8]) {
    let mut now = Instant::now();
    let mut rest = data;
    let mut take = |len: usize| {
        let (taken, after) = rest.split_at(len.min(rest.len()));
        rest = after;
        taken
    };
    let beat = Duration::from_millis(200);
    let mut registrar = Registrar::new(now, 7, "inproc", None, beat, beat * 10);
    let mut applied = HashSet::new();
    let mut closed = HashSet::new();
    while let [step, line] = *take(2) {
        let line = u64::from(line % 16);
        match step % 8 {
            0 => now += Duration::from_millis(u64::from(step)) * 4,
            1 => registrar.handle_timeout(now),
            2 => {
                registrar.handle_closed(line);
                closed.insert(line);
            }
            3 | 4 if applied.insert(line) => {
                let application = Application {
                    size: (step & 0x80 != 0).then_some(u32::from(step >> 4 & 3)),
                    rank: (step & 0x40 != 0).then_some(u32::from(step >> 3 & 3)),
                    name: String::new(),
                    endpoint: format!("inproc://{line}"),
                };
                registrar.handle_join(now, line, application);
            }
            // The driver reads no more of a connection that is closed.
            _ if !closed.contains(&line) => {
                if let Ok(request) = Request::decode(take(usize::from(step >> 3))) {
                    registrar.handle_request(now, line, &request);
                }
            }
            _ => {}
        }
        while let Some(effect) = registrar.poll_effect() {
            match effect {
                // What is said to a connection that is gone is dropped by the driver.
                Effect::Send(to, _) => assert!(applied.contains(&to)),
                Effect::Close(line) => drop(closed.insert(line)),
            }
        }
        assert!(registrar.living() <= MAX_RANKS.min(applied.len()));
        assert!(registrar.living() == 0 || registrar.has_admitted());
    }
    // Who is not heard of any more is dead after a while.
    for _ in 0..30 {
        now += beat;
        registrar.handle_timeout(now);
        while registrar.poll_effect().is_some() {}
    }
    assert_eq!(registrar.living(), 0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_comes_does_no_harm(data in prop::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..200)) {
            hellos(&data);
            notices(&data);
            inbound(&data);
            registrar(&data);
        }
    }

    #[test]
    fn messages_are_reached() {
        let header = Header {
            key: Key { epoch: 1, tag: 2 },
            announced: None,
            length: 3,
        };
        let bytes = [&header.encode()[..], b"abc"].concat();
        let expected = [Step::Whole(b"abc"[..].into()), Step::Ended];
        assert_eq!(received(&[2, 2], &bytes, 1), expected);
    }
}
