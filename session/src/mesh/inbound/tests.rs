//! The receiving side, fed with scripted bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use proptest::prelude::*;

use super::*;

/// A connection: what it still has to bring, in pieces; nothing more now, or never.
#[derive(Default)]
struct Script {
    pieces: VecDeque<Vec<u8>>,
    ends: bool,
    largest: usize,
}

impl Script {
    fn read(&mut self, target: &mut [u8]) -> Poll<io::Result<usize>> {
        assert!(!target.is_empty());
        self.largest = self.largest.max(target.len());
        let Some(piece) = self.pieces.front_mut() else {
            return match self.ends {
                true => Poll::Ready(Ok(0)),
                false => Poll::Pending,
            };
        };
        let count = piece.len().min(target.len());
        target[..count].copy_from_slice(&piece[..count]);
        piece.drain(..count);
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        Poll::Ready(Ok(count))
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

fn key(tag: u64) -> Key {
    Key { epoch: 1, tag }
}

fn frame_of(key: Key, body: &[u8]) -> Vec<u8> {
    [&header_of(key, body).encode(), body].concat()
}

fn header_of(key: Key, body: &[u8]) -> Header {
    Header {
        key,
        announced: None,
        length: body.len(),
    }
}

/// What a sender says of a message that it brings another way.
fn announcement(tag: u64, number: u32, length: usize) -> Vec<u8> {
    let announced = NonZeroU32::new(number);
    let key = key(tag);
    Header {
        key,
        announced,
        length,
    }
    .encode()
    .to_vec()
}

fn frame(tag: u64, body: &[u8]) -> Vec<u8> {
    frame_of(key(tag), body)
}

fn body(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + seed) as u8).collect()
}

struct Bench {
    inbound: Inbound,
    script: Script,
}

impl Bench {
    fn new(pieces: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let script = Script {
            pieces: pieces.into_iter().filter(|piece| !piece.is_empty()).collect(),
            ..Script::default()
        };
        Bench {
            inbound: Inbound::new(1 << 20, 1 << 16),
            script,
        }
    }

    fn poll(&mut self, claim: &mut Claim<'_>, waker: &Waker) -> Step {
        let mut wakes = Wakes::default();
        let script = &mut self.script;
        self.inbound
            .poll(claim, waker, &mut wakes, &mut |target| script.read(target))
    }

    fn whole(&mut self, tag: u64) -> Step {
        let mut claim = Claim::new(key(tag), Target::Own(Vec::new()));
        let step = self.poll(&mut claim, Waker::noop());
        self.inbound.cancel(&mut claim, &mut Wakes::default());
        step
    }

    fn cancel(&mut self, claim: &mut Claim<'_>) {
        self.inbound.cancel(claim, &mut Wakes::default());
    }
}

fn whole(body: &[u8]) -> Step {
    Step::Whole(Bytes::copy_from_slice(body))
}

#[test]
fn a_small_message_is_one_read() {
    let mut bench = Bench::new([[frame(1, b"one"), frame(1, b"two")].concat()]);
    let mut into = [0; 8];
    let mut claim = Claim::new(key(1), Target::Slice(&mut into));
    assert_eq!(bench.poll(&mut claim, Waker::noop()), Step::Filled(3));
    assert!(bench.script.pieces.is_empty());
    assert_eq!(&into[..3], b"one");
    assert_eq!(bench.whole(1), whole(b"two"));
    assert_eq!(bench.whole(1), Step::Dry);
}

#[test]
fn a_large_message_is_read_where_it_belongs() {
    let large = body(1, 500_000);
    let mut bench = Bench::new([frame(1, &large)]);
    let mut into = vec![0; 600_000];
    let mut claim = Claim::new(key(1), Target::Slice(&mut into));
    assert_eq!(bench.poll(&mut claim, Waker::noop()), Step::Filled(500_000));
    assert!(bench.script.largest > 490_000, "{}", bench.script.largest);
    assert!(into[..500_000] == large);
}

#[test]
fn what_nobody_waits_for_is_stored_by_tag() {
    let mut bench = Bench::new([frame(5, b"a"), frame(6, b"b"), frame(5, b"c"), frame(7, b"d")]);
    assert_eq!(bench.whole(7), whole(b"d"));
    assert!(bench.inbound.stored() > 0);
    assert_eq!(bench.whole(6), whole(b"b"));
    assert_eq!(bench.whole(5), whole(b"a"));
    assert_eq!(bench.whole(5), whole(b"c"));
    assert_eq!(bench.inbound.stored(), 0);
    assert_eq!(bench.inbound.counters.unexpected, 3);
}

#[test]
fn what_does_not_fit_into_the_store_waits_in_the_connection() {
    let (first, second) = (body(1, 60_000), body(2, 6_000));
    let mut bench = Bench::new([frame(1, &first), frame(1, &second), frame(2, b"x")]);
    let count = Arc::<Count>::default();
    let waker = Waker::from(Arc::clone(&count));
    let mut claim = Claim::new(key(2), Target::Own(Vec::new()));
    assert_eq!(bench.poll(&mut claim, &waker), Step::Behind);
    assert_eq!(bench.inbound.counters.stalls, 1);
    assert!(bench.inbound.stored() < 1 << 16);
    assert_eq!(bench.whole(1), whole(&first));
    assert!(count.take() > 0, "there is room again");
    assert_eq!(bench.poll(&mut claim, &waker), whole(b"x"));
    assert_eq!(bench.whole(1), whole(&second));
}

#[test]
fn a_message_for_another_receive_is_left_to_it() {
    let large = body(3, 100_000);
    let mut bench = Bench::new([]);
    let (one, two) = (Arc::<Count>::default(), Arc::<Count>::default());
    let (waker_one, waker_two) = (Waker::from(Arc::clone(&one)), Waker::from(Arc::clone(&two)));
    let mut into = vec![0; 100_000];
    let mut first = Claim::new(key(1), Target::Slice(&mut into));
    let mut second = Claim::new(key(2), Target::Own(Vec::new()));
    assert_eq!(bench.poll(&mut first, &waker_one), Step::Dry);
    assert_eq!(bench.poll(&mut second, &waker_two), Step::Dry);
    bench.script.pieces = [frame(1, &large), frame(2, b"y")].into();
    assert_eq!(bench.poll(&mut second, &waker_two), Step::Behind);
    assert_eq!((one.take(), two.take()), (1, 0));
    assert_eq!(bench.poll(&mut first, &waker_one), Step::Filled(100_000));
    assert_eq!((one.take(), two.take()), (0, 1), "the other one reads on");
    assert_eq!(bench.poll(&mut second, &waker_two), whole(b"y"));
    assert!(into == large);
    assert_eq!(bench.inbound.counters.unexpected, 0);
}

#[test]
fn receives_of_the_same_are_served_in_their_order() {
    let mut bench = Bench::new([]);
    let one = Arc::<Count>::default();
    let waker = Waker::from(Arc::clone(&one));
    let mut first = Claim::new(key(1), Target::Own(Vec::new()));
    let mut second = Claim::new(key(1), Target::Own(Vec::new()));
    assert_eq!(bench.poll(&mut first, &waker), Step::Dry);
    assert_eq!(bench.poll(&mut second, Waker::noop()), Step::Dry);
    bench.script.pieces = [frame(1, b"1"), frame(1, b"2")].into();
    assert_eq!(bench.poll(&mut second, Waker::noop()), Step::Behind);
    assert_eq!(one.take(), 1);
    assert_eq!(bench.poll(&mut first, &waker), whole(b"1"));
    assert_eq!(bench.poll(&mut second, Waker::noop()), whole(b"2"));
}

#[test]
fn a_message_that_is_too_long_waits_for_more_room() {
    for is_stored in [false, true] {
        let mut bench = Bench::new([frame(1, b"too long"), frame(2, b"z")]);
        if is_stored {
            assert_eq!(bench.whole(2), whole(b"z"));
        }
        let mut into = [0; 4];
        let mut claim = Claim::new(key(1), Target::Slice(&mut into));
        let truncated = Step::Truncated { length: 8, room: 4 };
        assert_eq!(bench.poll(&mut claim, Waker::noop()), truncated);
        assert_eq!(bench.whole(1), whole(b"too long"));
        if !is_stored {
            assert_eq!(bench.whole(2), whole(b"z"));
        }
    }
}

#[test]
fn a_cancelled_receive_loses_nothing() {
    let large = body(4, 200_000);
    let bytes = frame(1, &large);
    for cut in [1, 24, 25, 10_000, 100_000, bytes.len() - 1] {
        for slice in [true, false] {
            let mut bench = Bench::new([bytes[..cut].to_vec()]);
            let mut into = vec![0; 200_000];
            let target = match slice {
                true => Target::Slice(&mut into),
                false => Target::Own(Vec::new()),
            };
            let other = Arc::<Count>::default();
            let waker = Waker::from(Arc::clone(&other));
            let mut claim = Claim::new(key(1), target);
            let mut waiting = Claim::new(key(2), Target::Own(Vec::new()));
            assert_eq!(bench.poll(&mut claim, Waker::noop()), Step::Dry);
            let _ = bench.poll(&mut waiting, &waker);
            bench.cancel(&mut claim);
            assert_eq!(other.take(), 1, "somebody reads on");
            bench.script.pieces = [bytes[cut..].to_vec(), frame(2, b"next")].into();
            let step = bench.poll(&mut waiting, &waker);
            if step == Step::Behind {
                // Nothing of it had been taken, and the message is above the limit of the store.
                assert!(cut <= 24);
            } else {
                assert_eq!(step, whole(b"next"));
            }
            assert_eq!(bench.whole(1), whole(&large), "cut at {cut}");
        }
    }
}

#[test]
fn earlier_epochs_are_skipped_and_later_ones_kept() {
    let old = Key { epoch: 0, tag: 1 };
    let new = Key { epoch: 2, tag: 1 };
    let mut bench = Bench::new([
        frame_of(old, &body(0, 100_000)),
        frame_of(new, b"later"),
        frame(9, b"unheard"),
        frame(1, b"now"),
    ]);
    assert_eq!(bench.whole(1), whole(b"now"));
    bench.inbound.begin_epoch(2);
    let mut claim = Claim::new(new, Target::Own(Vec::new()));
    assert_eq!(bench.poll(&mut claim, Waker::noop()), whole(b"later"));
    assert_eq!(bench.inbound.stored(), 0);
}

#[test]
fn what_is_half_read_of_an_epoch_that_is_over_is_skipped() {
    let (old, large) = (Key { epoch: 1, tag: 1 }, body(5, 60_000));
    let bytes = frame_of(old, &large);
    // Whether the receive is dropped before the epoch ends, or after, or nobody had asked for the message.
    for case in 0..3 {
        let mut bench = Bench::new([bytes[..20_000].to_vec()]);
        let mut into = vec![0; 60_000];
        let mut claim = Claim::new(old, Target::Slice(&mut into));
        let mut other = Claim::new(key(9), Target::Own(Vec::new()));
        let reader = if case == 2 { &mut other } else { &mut claim };
        assert_eq!(bench.poll(reader, Waker::noop()), Step::Dry);
        if case != 1 {
            bench.cancel(reader);
            assert!(bench.inbound.stored() > 60_000);
        }
        bench.inbound.begin_epoch(2);
        if case == 1 {
            bench.cancel(reader);
        }
        assert_eq!(bench.inbound.stored(), 0, "case {case}");
        let new = Key { epoch: 2, tag: 1 };
        bench.script.pieces = [bytes[20_000..].to_vec(), frame_of(new, b"of this epoch")].into();
        let mut claim = Claim::new(new, Target::Own(Vec::new()));
        assert_eq!(bench.poll(&mut claim, Waker::noop()), whole(b"of this epoch"));
        assert_eq!(bench.inbound.stored(), 0);
    }
}

#[test]
fn the_end_comes_after_what_came_before_it() {
    let mut bench = Bench::new([frame(2, b"b"), frame(1, b"a"), frame(1, &[0; 99])[..50].to_vec()]);
    bench.script.ends = true;
    let count = Arc::<Count>::default();
    let waker = Waker::from(Arc::clone(&count));
    let mut waiting = Claim::new(key(3), Target::Own(Vec::new()));
    assert_eq!(bench.poll(&mut waiting, &waker), Step::Ended);
    assert_eq!(bench.whole(1), whole(b"a"));
    assert_eq!(bench.whole(2), whole(b"b"));
    assert_eq!(bench.whole(1), Step::Ended);
}

#[test]
fn nonsense_is_the_end() {
    for bytes in [
        vec![0xff; 64],
        frame(1, &[0; 2 << 20])[..24].to_vec(),
        [1; 24].to_vec(),
    ] {
        let mut bench = Bench::new([frame(1, b"good"), bytes]);
        assert_eq!(bench.whole(1), whole(b"good"));
        assert_eq!(bench.whole(1), Step::Ended);
        assert_eq!(bench.inbound.counters.malformed, 1);
        assert_eq!(bench.whole(1), Step::Ended);
    }
}

#[test]
fn a_rank_tells_itself_within_the_limit() {
    let mut bench = Bench::new([]);
    let mut wakes = Wakes::default();
    assert!(
        bench
            .inbound
            .deliver(header_of(key(1), &[1; 100_000]), &[1; 100_000], &mut wakes),
        "the first one always"
    );
    assert!(!bench.inbound.deliver(header_of(key(2), &[]), &[], &mut wakes));
    let mut claim = Claim::new(key(2), Target::Own(Vec::new()));
    assert_eq!(bench.poll(&mut claim, Waker::noop()), Step::Dry);
    assert!(
        bench.inbound.deliver(header_of(key(2), b"x"), b"x", &mut wakes),
        "it is waited for"
    );
    assert!(!bench.inbound.deliver(header_of(key(2), b"y"), b"y", &mut wakes));
    assert_eq!(bench.poll(&mut claim, Waker::noop()), whole(b"x"));
    assert_eq!(bench.whole(1), whole(&[1; 100_000]));
}

#[test]
fn an_announcement_has_its_turn_among_the_messages_of_its_tag() {
    let announced = |number, length| Step::Announced {
        number: NonZeroU32::new(number).unwrap(),
        length,
    };
    let pieces = [
        frame(1, b"before"),
        announcement(1, 7, 1 << 20),
        frame(2, b"other"),
        announcement(2, 8, 5),
        frame(1, b"after"),
    ];
    let mut bench = Bench::new(pieces);
    // Those of tag 1 are stored meanwhile.
    assert_eq!(bench.whole(2), whole(b"other"));
    assert_eq!(bench.whole(2), announced(8, 5));
    assert_eq!(bench.whole(1), whole(b"before"));
    let mut small = [0; 100];
    let mut claim = Claim::new(key(1), Target::Slice(&mut small));
    let truncated = Step::Truncated {
        length: 1 << 20,
        room: 100,
    };
    assert_eq!(bench.poll(&mut claim, Waker::noop()), truncated);
    assert_eq!(bench.whole(1), announced(7, 1 << 20));
    assert_eq!(bench.whole(1), whole(b"after"));
    assert_eq!(bench.inbound.stored(), 0);
}

#[test]
fn announcements_that_are_thrown_away_are_named() {
    let mut bench = Bench::new([announcement(1, 7, 1 << 20), announcement(2, 8, 5), frame(3, b"x")]);
    assert_eq!(bench.whole(3), whole(b"x"));
    let mut wakes = Wakes::default();
    assert_eq!(bench.inbound.discard(2, &(0..=9), &mut wakes), []);
    let numbers = bench.inbound.discard(1, &(2..=9), &mut wakes);
    assert_eq!(numbers.iter().map(|number| number.get()).collect::<Vec<_>>(), [8]);
    assert_eq!(bench.inbound.stored(), Inbound::OVERHEAD);
}

#[test]
fn what_was_given_up_does_not_fill_the_store() {
    // More than the store holds, of an operation that was given up; announcements are kept, for they are answered.
    let large = body(1, 60_000);
    let pieces = || {
        let mut pieces = vec![frame(4, &large); 5];
        pieces.extend([announcement(4, 7, 1 << 20), frame(5, b"next")]);
        pieces
    };
    let mut wakes = Wakes::default();
    let mut bench = Bench::new(pieces());
    assert_eq!(bench.inbound.discard(1, &(0..=4), &mut wakes), []);
    assert_eq!(bench.whole(5), whole(b"next"));
    assert_eq!(bench.inbound.stored(), Inbound::OVERHEAD);
    assert_eq!(bench.inbound.discard(1, &(0..=4), &mut wakes).len(), 1);
    // Also where it is noticed when nothing fits any more, or in the middle of a frame.
    for length in [pieces()[0].len(), 20_000, 24] {
        let mut bench = Bench::new([]);
        bench.script.pieces = [pieces()[0][..length].to_vec()].into();
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        let mut claim = Claim::new(key(5), Target::Own(Vec::new()));
        assert_eq!(bench.poll(&mut claim, &waker), Step::Dry);
        let mut rest = pieces();
        rest[0].drain(..length);
        rest.retain(|piece| !piece.is_empty());
        bench.script.pieces = rest.into();
        if length > 60_000 {
            assert_eq!(bench.poll(&mut claim, &waker), Step::Behind);
        }
        bench.inbound.discard(1, &(0..=4), &mut Wakes::default());
        assert!(count.take() > 0, "somebody reads on");
        assert_eq!(
            bench.poll(&mut claim, &waker),
            whole(b"next"),
            "{length} bytes had come"
        );
        assert_eq!(bench.inbound.stored(), Inbound::OVERHEAD);
    }
    // Who asks all the same gets what comes then.
    let mut bench = Bench::new([]);
    bench.inbound.discard(1, &(0..=4), &mut wakes);
    let mut claim = Claim::new(key(4), Target::Own(Vec::new()));
    assert_eq!(bench.poll(&mut claim, Waker::noop()), Step::Dry);
    bench.script.pieces = [frame(4, b"for all that")].into();
    assert_eq!(bench.poll(&mut claim, Waker::noop()), whole(b"for all that"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any messages, in any pieces, received in any order of tags, by slices or not: each arrives once, by tag in order.
    #[test]
    fn everything_arrives_once_and_in_order(
        messages in proptest::collection::vec((0..4_u64, 0..70_000_usize), 1..12),
        cuts in proptest::collection::vec(1..50_000_usize, 1..40),
        order in any::<u64>(),
    ) {
        let mut bytes = Vec::new();
        let mut expected: HashMap<u64, VecDeque<Vec<u8>>> = HashMap::new();
        for (seed, (tag, length)) in messages.iter().enumerate() {
            let body = body(seed, *length);
            bytes.extend(frame(*tag, &body));
            expected.entry(*tag).or_default().push_back(body);
        }
        let mut pieces = Vec::new();
        for cut in cuts.iter().cycle() {
            let rest = bytes.split_off(bytes.len().min(*cut));
            pieces.push(std::mem::replace(&mut bytes, rest));
            if bytes.is_empty() {
                break;
            }
        }
        let mut bench = Bench::new(pieces);
        bench.inbound.unexpected_limit = usize::MAX;
        let mut random = fastrand::Rng::with_seed(order);
        while !expected.is_empty() {
            let tags: Vec<u64> = expected.keys().copied().collect();
            let tag = tags[random.usize(..tags.len())];
            let wanted = expected.get_mut(&tag).and_then(VecDeque::pop_front).expect("one at least");
            if expected[&tag].is_empty() {
                expected.remove(&tag);
            }
            if random.bool() {
                prop_assert_eq!(bench.whole(tag), whole(&wanted));
            } else {
                let mut into = vec![0; wanted.len() + random.usize(..9)];
                let mut claim = Claim::new(key(tag), Target::Slice(&mut into));
                prop_assert_eq!(bench.poll(&mut claim, Waker::noop()), Step::Filled(wanted.len()));
                prop_assert!(into[..wanted.len()] == wanted);
            }
        }
        prop_assert_eq!(bench.inbound.stored(), 0);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, tag in 0..3_u64) {
        let mut bench = Bench::new([bytes]);
        bench.script.ends = true;
        for _ in 0..4 {
            let _ = bench.whole(tag);
        }
        prop_assert!(bench.inbound.stored() <= 1 << 17);
    }
}
