//! The calls of a client before a server that answers anything, for fuzzers. Only there in builds for fuzzing and for
//! tests.

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use flexbond_transport::Frame;
use tokio::time::Instant;

use super::calls::Calls;
use super::room::Place;
use super::slot::{self, Beginning, Next, Patience};
use crate::envelope::{Codec, DecodeError, Envelope, Flags, Header, Kind, Metadata};
use crate::error::CallError;

/// Calls under way, at most.
const MOST: usize = 8;
const MAX_RESPONSE: usize = 100;

/// Goes through `data` in steps of four bytes and what belongs to them: what callers do, and what the server says.
///
/// # Panics
/// When a call is lost or told of twice, or more items are kept than there was leave for.
pub fn calls(data: &[u8]) {
    let mut stage = Stage {
        now: Instant::now(),
        calls: Calls::new(MOST, MAX_RESPONSE),
        open: BTreeMap::new(),
    };
    let mut rest = data;
    while let [step, which, count, len, after @ ..] = rest {
        let (body, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        stage.step(*step, *which, *count, body);
        assert_eq!(stage.calls.len(), stage.open.len());
    }
    let left: Vec<u64> = stage.open.keys().copied().collect();
    for call in left {
        let _ = stage.calls.cancel(call, &mut Vec::new());
    }
    assert_eq!(stage.calls.len(), 0);
    assert!(!stage.calls.is_any_running());
}

struct Stage {
    now: Instant,
    calls: Calls,
    /// With how many more items each may get; none where it is not one of many.
    open: BTreeMap<u64, Option<u64>>,
}

impl Stage {
    fn step(&mut self, step: u8, which: u8, count: u8, body: &[u8]) {
        let wakers = &mut Vec::new();
        let cx = &mut Context::from_waker(Waker::noop());
        let known = self.open.keys().nth(usize::from(which) % MOST).copied();
        // One that nobody has begun is as good as one that is over.
        let call = known.unwrap_or(u64::from(which));
        match step % 12 {
            0 | 1 => self.begin(which, count),
            2 => self.calls.sent(self.now, call, wakers),
            3..=5 => {
                let envelope = envelope(call, step / 12, count, body);
                let _ = self.calls.answer(self.now, envelope, wakers);
            }
            6 => {
                let kind = [Some(Kind::Response), Some(Kind::StreamItem), None][usize::from(count) % 3];
                let _ = self.calls.malformed(call, kind, DecodeError::Truncated, wakers);
            }
            7 => {
                self.now += Duration::from_millis(u64::from(count));
                let told = self.calls.expire(self.now, String::new, wakers);
                assert!(told.iter().all(|call| self.open.contains_key(call)));
                assert!(self.calls.poll_timeout().is_none_or(|due| due > self.now));
            }
            8 => match self.calls.poll_answer(cx, call, wakers) {
                Poll::Ready(Ok(Beginning::Whole(response))) => {
                    assert!(response.body.len() <= MAX_RESPONSE);
                    assert_eq!(self.open.remove(&call), Some(None), "no stream, and not over");
                }
                Poll::Ready(Err(error)) => {
                    let was_open = self.open.remove(&call).is_some();
                    assert!(was_open || matches!(error, CallError::Closed));
                }
                Poll::Ready(Ok(Beginning::Stream)) => {
                    assert!(matches!(self.open.get(&call), Some(Some(_))));
                }
                Poll::Pending => assert!(self.open.contains_key(&call)),
            },
            9 => self.next_item(call),
            10 => match count % 4 {
                0 => {
                    let leave = self.calls.poll_leave(cx, call);
                    assert!(leave.is_none() || self.open.contains_key(&call));
                }
                1 => self.calls.uploaded(self.now, call),
                2 => self.calls.upload_ended(self.now, call),
                _ if which & 1 == 0 => self.calls.stall(self.now, [call]),
                _ => self.calls.resume(self.now, [call], wakers),
            },
            _ => {
                let _ = self.calls.cancel(call, wakers);
                self.open.remove(&call);
            }
        }
    }

    fn begin(&mut self, which: u8, count: u8) {
        if self.open.len() == MOST {
            return;
        }
        let time = Duration::from_millis(u64::from(count));
        // A caller who wants a stream has room for one item at least.
        let window = (which & 4 != 0).then(|| u32::from(count % 8) + 1);
        let kind = slot::Kind {
            patience: [Patience::Endless, Patience::Whole(time), Patience::Each(time)]
                [usize::from(which & 3).min(2)],
            window,
            uploads: which & 8 != 0,
            is_one_way: window.is_none() && which & 16 != 0,
        };
        let call = self.calls.insert(self.now, kind, &mut Place::None);
        let before = self.open.insert(call, window.map(u64::from));
        assert_eq!(before, None, "a number of its own");
        assert!(self.calls.is_open(call));
    }

    fn next_item(&mut self, call: u64) {
        let cx = &mut Context::from_waker(Waker::noop());
        let is_stream = matches!(self.open.get(&call), Some(Some(_)));
        // Callers read items of streams only.
        if !is_stream {
            return;
        }
        match self.calls.poll_item(self.now, cx, call, &mut Vec::new()) {
            Poll::Ready(Ok(Next::Item(item, more))) => {
                assert!(item.body.len() <= MAX_RESPONSE);
                let left = self.open.get_mut(&call).and_then(Option::as_mut);
                let left = left.expect("it is a stream");
                *left = left.checked_sub(1).expect("there was leave for it") + u64::from(more);
            }
            Poll::Ready(Ok(Next::End) | Err(_)) => drop(self.open.remove(&call)),
            Poll::Pending => {}
        }
    }
}

fn envelope(call: u64, kind: u8, count: u8, body: &[u8]) -> Envelope {
    const KINDS: [Kind; 6] = [
        Kind::StreamItem,
        Kind::Response,
        Kind::Error,
        Kind::StreamEnd,
        Kind::Credit,
        Kind::Ping,
    ];
    let mut header = Header::new(KINDS[usize::from(kind) % KINDS.len()], call);
    header.count = u32::from(count);
    header.codec = [Codec::Json, Codec::Postcard, Codec::MessagePack, Codec::Raw][usize::from(count) % 4];
    if count & 0x80 != 0 {
        header.flags = Flags::BEGUN;
    }
    Envelope {
        header,
        method: None,
        body: Frame::copy_from_slice(body),
        metadata: Metadata::new(),
        buffers: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_the_server_says_no_call_is_lost(data in prop::collection::vec(prop_oneof![0_u8..12, any::<u8>()], 0..400)) {
            calls(&data);
        }
    }
}
