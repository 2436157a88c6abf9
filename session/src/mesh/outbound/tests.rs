//! The sending side, written to a connection that takes what it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use proptest::prelude::*;

use super::super::header::Key;
use super::*;

#[derive(Default)]
struct Sink {
    taken: Vec<u8>,
    /// How much more it takes now.
    room: usize,
    calls: usize,
    fails: bool,
    /// Holds back what it has taken until it is told to push it out, and then waits so often.
    held: usize,
}

impl Sink {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if slices.is_empty() {
            return match self.held {
                0 => Poll::Ready(Ok(0)),
                _ => {
                    self.held -= 1;
                    Poll::Pending
                }
            };
        }
        assert!(slices.iter().any(|slice| !slice.is_empty()));
        self.calls += 1;
        if self.fails {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.room == 0 {
            return Poll::Pending;
        }
        let before = self.taken.len();
        for slice in slices {
            let count = slice.len().min(self.room);
            self.taken.extend(&slice[..count]);
            self.room -= count;
        }
        Poll::Ready(Ok(self.taken.len() - before))
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn key(tag: u64) -> Key {
    Key { epoch: 3, tag }
}

fn frame(tag: u64, body: &[u8]) -> Vec<u8> {
    [&header(tag, body).encode(), body].concat()
}

fn header(tag: u64, body: &[u8]) -> Header {
    Header {
        key: key(tag),
        announced: None,
        length: body.len(),
    }
}

fn poll(outbound: &mut Outbound, parcel: &mut Parcel<'_>, sink: &mut Sink, waker: &Waker) -> Step {
    let mut wakes = Wakes::default();
    outbound.poll(parcel, None, waker, &mut wakes, &mut |slices| sink.write(slices))
}

#[test]
fn a_message_is_one_write() {
    for length in [0, 1, Outbound::COPIED, Outbound::COPIED + 1, 1 << 20] {
        let (mut outbound, mut sink) = (Outbound::default(), Sink::default());
        sink.room = usize::MAX;
        let body = vec![7; length];
        let mut parcel = Parcel::new(header(1, &body), &body);
        let step = poll(&mut outbound, &mut parcel, &mut sink, Waker::noop());
        assert!(matches!(step, Step::Done));
        assert_eq!(sink.calls, 1);
        assert!(sink.taken == frame(1, &body));
        assert_eq!((outbound.messages, outbound.bytes), (1, length as u64));
    }
}

#[test]
fn others_wait_their_turn() {
    let (mut outbound, mut sink) = (Outbound::default(), Sink::default());
    let counts: [Arc<Count>; 3] = Default::default();
    let wakers = counts.each_ref().map(|count| Waker::from(Arc::clone(count)));
    let mut parcels = [b"a", b"b", b"c"].map(|body| Parcel::new(header(1, body), body));
    sink.room = 10;
    for (parcel, waker) in parcels.iter_mut().zip(&wakers) {
        let _ = poll(&mut outbound, parcel, &mut sink, waker);
    }
    sink.room = usize::MAX;
    let [first, second, third] = &mut parcels;
    assert!(matches!(
        poll(&mut outbound, third, &mut sink, &wakers[2]),
        Step::Behind
    ));
    assert!(matches!(
        poll(&mut outbound, first, &mut sink, &wakers[0]),
        Step::Done
    ));
    assert_eq!(counts[1].0.load(Ordering::SeqCst), 1);
    assert_eq!(counts[2].0.load(Ordering::SeqCst), 0);
    assert!(
        !outbound.cancel(second, &mut Wakes::default()),
        "nothing was sent of it"
    );
    assert_eq!(counts[2].0.load(Ordering::SeqCst), 1);
    assert!(matches!(
        poll(&mut outbound, third, &mut sink, &wakers[2]),
        Step::Done
    ));
    assert!(sink.taken == [frame(1, b"a"), frame(1, b"c")].concat());
}

#[test]
fn a_cancelled_send_is_whole_or_nothing() {
    for length in [3, 100_000] {
        let body = vec![9; length];
        let whole = frame(2, &body);
        for cut in [0, 1, 23, 24, 25, whole.len() - 1] {
            let (mut outbound, mut sink) = (Outbound::default(), Sink::default());
            sink.room = cut;
            let mut parcel = Parcel::new(header(2, &body), &body);
            let step = poll(&mut outbound, &mut parcel, &mut sink, Waker::noop());
            assert!(matches!(step, Step::Full));
            let rest = outbound.cancel(&mut parcel, &mut Wakes::default());
            assert_eq!((rest, outbound.has_rest()), (cut > 0, cut > 0), "cut at {cut}");
            sink.room = usize::MAX;
            let mut next = Parcel::new(header(3, b"next"), b"next");
            if rest {
                let step = poll(&mut outbound, &mut next, &mut sink, Waker::noop());
                assert!(matches!(step, Step::Behind));
                let mut write = |slices: &[IoSlice<'_>]| sink.write(slices);
                assert!(outbound.poll_rest(&mut Wakes::default(), &mut write).is_ready());
            }
            let step = poll(&mut outbound, &mut next, &mut sink, Waker::noop());
            assert!(matches!(step, Step::Done));
            let before: &[u8] = if cut > 0 { &whole } else { &[] };
            assert!(sink.taken == [before, &frame(3, b"next")].concat());
        }
    }
}

#[test]
fn a_send_is_done_once_the_stream_holds_nothing_back() {
    for cancelled in [false, true] {
        let (mut outbound, mut sink) = (Outbound::default(), Sink::default());
        (sink.room, sink.held) = (usize::MAX, 2);
        let mut parcel = Parcel::new(header(1, b"a"), b"a");
        let mut next = Parcel::new(header(2, b"b"), b"b");
        let step = poll(&mut outbound, &mut parcel, &mut sink, Waker::noop());
        assert!(matches!(step, Step::Full));
        assert!(sink.taken == frame(1, b"a") && outbound.is_awaited());
        if cancelled {
            assert!(outbound.cancel(&mut parcel, &mut Wakes::default()));
            assert!(outbound.has_rest());
        }
        // Whoever polls last is the one that is woken: nobody else may ask the stream meanwhile.
        let step = poll(&mut outbound, &mut next, &mut sink, Waker::noop());
        assert!(matches!(step, Step::Behind));
        let mut ends = Vec::new();
        for _ in 0..2 {
            ends.push(match cancelled {
                true => {
                    let mut write = |slices: &[IoSlice<'_>]| sink.write(slices);
                    outbound.poll_rest(&mut Wakes::default(), &mut write).is_ready()
                }
                false => {
                    let step = poll(&mut outbound, &mut parcel, &mut sink, Waker::noop());
                    matches!(step, Step::Done)
                }
            });
        }
        assert_eq!((ends, outbound.has_rest()), (vec![false, true], false));
        let step = poll(&mut outbound, &mut next, &mut sink, Waker::noop());
        assert!(matches!(step, Step::Done));
        assert!(sink.taken == [frame(1, b"a"), frame(2, b"b")].concat());
        assert_eq!((outbound.messages, outbound.bytes), (2, 2));
    }
}

#[test]
fn a_failure_concerns_all() {
    let (mut outbound, mut sink) = (Outbound::default(), Sink::default());
    let count = Arc::<Count>::default();
    let waker = Waker::from(Arc::clone(&count));
    let mut first = Parcel::new(header(1, b"a"), b"a");
    let mut second = Parcel::new(header(1, b"b"), b"b");
    let _ = poll(&mut outbound, &mut first, &mut sink, Waker::noop());
    let _ = poll(&mut outbound, &mut second, &mut sink, &waker);
    sink.fails = true;
    assert!(matches!(
        poll(&mut outbound, &mut first, &mut sink, Waker::noop()),
        Step::Failed
    ));
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(matches!(
        poll(&mut outbound, &mut second, &mut sink, &waker),
        Step::Failed
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_pieces_make_the_same_bytes(
        lengths in proptest::collection::vec(0..20_000_usize, 1..8),
        rooms in proptest::collection::vec(0..9_000_usize, 1..20),
        lead in proptest::option::of(1..9_000_usize),
    ) {
        let (mut outbound, mut sink) = (Outbound::default(), Sink::default());
        let mut rooms = rooms.iter().cycle();
        let mut expected = Vec::new();
        for (tag, length) in lengths.iter().enumerate() {
            let body = vec![tag as u8; *length];
            expected.extend(frame(tag as u64, &body));
            let mut parcel = Parcel::new(header(tag as u64, &body), &body);
            loop {
                let mut wakes = Wakes::default();
                let mut write = |slices: &[IoSlice<'_>]| sink.write(slices);
                match outbound.poll(&mut parcel, lead, Waker::noop(), &mut wakes, &mut write) {
                    Step::Done => break,
                    Step::Full => sink.room = rooms.next().copied().unwrap_or(0) + 1,
                    step => prop_assert!(false, "{:?}", step),
                }
            }
        }
        prop_assert!(sink.taken == expected);
    }
}
