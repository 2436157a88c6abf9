//! Tests of encoded messages.

use proptest::prelude::*;

use super::*;

fn batch(messages: &[Message]) -> Batch {
    let mut batch = Batch::default();
    for message in messages {
        batch.push(&mut message.clone());
    }
    batch
}

fn bytes(batch: &Batch) -> Vec<u8> {
    let mut slices = vec![IoSlice::new(&[]); 3 + 2 * batch.shared.len()];
    let filled = batch.slices(0, batch.size(), &mut slices, 0);
    slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
}

fn drain(mut batch: Batch) -> Vec<Message> {
    std::iter::from_fn(|| batch.pop_front()).collect()
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let len = prop_oneof![
        0_usize..70,
        Just(255_usize),
        Just(256),
        Just(4095),
        Just(4096),
        4096_usize..9000
    ];
    let frame = (any::<u8>(), len).prop_map(|(byte, len)| Frame::from(vec![byte; len]));
    let message = prop::collection::vec(frame, 1..4).prop_map(Message::from);
    prop::collection::vec(message, 0..20)
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(messages in messages()) {
        let batch = batch(&messages);
        prop_assert_eq!(batch.messages(), messages.len());
        prop_assert_eq!(bytes(&batch).len(), batch.size());
        prop_assert_eq!(drain(batch), messages);
    }

    #[test]
    fn a_batch_can_be_cut_and_joined_anywhere(messages in messages(), cut in 0_usize..25, drop in 0_usize..25) {
        let whole = bytes(&batch(&messages));
        let mut back = batch(&messages);
        let mut front = Batch::default();
        back.move_front(cut, &mut front);
        prop_assert_eq!(front.messages(), cut.min(messages.len()));
        let mut joined = Batch::default();
        joined.append_copy(&front);
        joined.append(&mut back);
        prop_assert!(back.is_empty());
        prop_assert_eq!(bytes(&joined), whole);
        joined.drop_front(drop);
        joined.append_copy(&front);
        let kept = messages.iter().skip(drop).chain(messages.iter().take(cut)).cloned().collect::<Vec<_>>();
        prop_assert_eq!(drain(joined), kept);
    }

    #[test]
    fn slices_start_and_end_anywhere(messages in messages(), from in any::<prop::sample::Index>(), slots in 1_usize..4) {
        let batch = batch(&messages);
        let whole = bytes(&batch);
        let mut position = from.index(whole.len() + 1);
        let mut out = whole[..position].to_vec();
        while position < whole.len() {
            let mut slices = vec![IoSlice::new(&[]); slots];
            let filled = batch.slices(position, whole.len(), &mut slices, 0);
            for slice in &slices[..filled] {
                out.extend_from_slice(slice);
            }
            prop_assert!(out.len() > position);
            position = out.len();
        }
        prop_assert_eq!(out, whole);
    }

    #[test]
    fn whole_messages_are_dropped_and_no_more(messages in messages(), within in any::<prop::sample::Index>()) {
        let mut batch = batch(&messages);
        let whole = bytes(&batch);
        let within = within.index(whole.len() + 1);
        let dropped = batch.drop_within(within);
        prop_assert!(dropped <= within);
        prop_assert!(within == dropped || within - dropped < batch.first());
        prop_assert_eq!(bytes(&batch), &whole[dropped..]);
    }
}

#[test]
fn a_large_body_is_not_copied() {
    let body = Frame::from(vec![1; 1 << 20]);
    let address = body.as_ptr();
    let mut batch = Batch::default();
    batch.push(&mut Message::from(body));
    let mut slices = [IoSlice::new(&[]); 4];
    assert_eq!(batch.slices(0, batch.size(), &mut slices, 0), 2);
    assert_eq!(slices[1].as_ptr(), address);
    let copy = {
        let mut copy = Batch::default();
        copy.append_copy(&batch);
        copy.pop_front().expect("one message")
    };
    assert_eq!(copy[0].as_ptr(), address);
}

#[test]
fn memory_is_reused_and_given_back() {
    let mut batch = Batch::default();
    let message = Message::from(vec![7; 1000]);
    for _ in 0..1000 {
        batch.push(&mut message.clone());
    }
    assert!(batch.arena.capacity() > Batch::KEEP);
    batch.clear();
    assert!(batch.arena.capacity() <= Batch::KEEP);
    for _ in 0..100_000 {
        batch.push(&mut Message::from(""));
    }
    assert!(batch.ends.capacity() >= 100_000);
    batch.clear();
    assert!(batch.ends.capacity() <= Batch::KEEP / size_of::<u64>());

    // Never quite empty: the arena must not grow with the bytes that passed through it.
    batch.push(&mut Message::from(vec![0; 100]));
    for _ in 0..10_000 {
        batch.push(&mut message.clone());
        batch.drop_front(1);
    }
    assert!(
        batch.arena.capacity() <= Batch::KEEP,
        "{}",
        batch.arena.capacity()
    );
    assert_eq!(batch.messages(), 1);
}

#[test]
fn two_idle_batches_keep_the_memory_of_one() {
    let filled = |bytes: usize| {
        let mut batch = Batch::default();
        batch.push(&mut Message::from(vec![7; bytes]));
        batch
    };
    for (mine, theirs) in [(4000, 100), (100, 4000)] {
        let (mut mine, mut theirs) = (filled(mine), filled(theirs));
        let largest = mine.arena.capacity().max(theirs.arena.capacity());
        mine.lend_memory(&mut theirs);
        assert!(mine.arena.capacity() > 0, "it is not empty");
        mine.clear();
        mine.lend_memory(&mut theirs);
        assert!(mine.arena.capacity() > 0, "the other is not empty");
        theirs.clear();
        mine.lend_memory(&mut theirs);
        assert_eq!((mine.arena.capacity(), theirs.arena.capacity()), (0, largest));
        mine.push(&mut Message::from("still works"));
        assert_eq!(mine.pop_front(), Some(Message::from("still works")));
    }
}

#[test]
fn what_batches_share_counts_once_until_the_last_has_let_it_go() {
    let total = Arc::new(AtomicUsize::new(0));
    let counted = || total.load(Ordering::Relaxed);
    let large = |byte| Message::from(["small".into(), Frame::from(vec![byte; 5000])]);
    let mut first = batch(&[large(1), large(2), Message::from("small")]);
    first.share(&total);
    first.share(&total);
    assert_eq!((counted(), first.shared_size()), (10_000, 10_000));
    let (mut second, mut third, mut fourth) = (Batch::default(), Batch::default(), Batch::default());
    second.append_copy(&first);
    third.append_copy(&first);
    // Nobody else has a copy of what a batch was not told to share.
    third.push(&mut large(3));
    assert_eq!(
        (third.shared_size(), third.size() - 3 * 5000),
        (10_000, 3 * (7 + 9) + 7)
    );
    first.clear();
    assert_eq!((counted(), first.shared_size()), (10_000, 0));
    third.move_front(1, &mut fourth);
    assert_eq!((third.shared_size(), fourth.shared_size()), (5000, 5000));
    third.drop_front(1);
    assert_eq!((counted(), third.shared_size()), (10_000, 0));
    drop(fourth);
    assert_eq!(counted(), 10_000);
    // Handed out, it is no longer this queue's.
    let message = second.pop_front();
    assert_eq!((counted(), second.shared_size()), (5000, 5000));
    let mut bodies = Vec::new();
    second.clear_into(&mut bodies);
    assert_eq!((counted(), second.shared_size(), bodies.len()), (0, 0, 1));
    assert_eq!(message, Some(large(1)));
}
