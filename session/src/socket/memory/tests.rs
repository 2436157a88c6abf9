//! What queues have of a socket's memory, and who is woken.

use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::*;

const MIB: usize = 1 << 20;

fn memory(each: usize, all: usize, peers: usize) -> Arc<Memory> {
    Memory::new((Limit::PeerSendBytes, each), (Limit::SendMemory, all), peers)
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn waker() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), Waker::from(count))
}

fn woken(count: &Count) -> usize {
    count.0.swap(0, Ordering::Relaxed)
}

#[test]
fn one_that_hoards_leaves_something_to_the_others_and_never_their_floors() {
    let memory = memory(100 * MIB, 16 * MIB, 4);
    let mut shares: Vec<_> = (0..4).map(|_| memory.share()).collect();
    let fill = |share: &mut Share| {
        let bytes = (0..).step_by(GRAIN);
        let last = bytes.take_while(|&bytes| share.is_over(bytes, bytes, None).is_none());
        last.last().unwrap_or_default()
    };
    // Its floor of 1 MiB, and two thirds of the 12 MiB that have no owner; then two thirds of what is left each time.
    let parts: Vec<_> = shares.iter_mut().map(fill).collect();
    assert!((8 * MIB + MIB / 2..=9 * MIB).contains(&parts[0]), "{parts:?}");
    assert!((3 * MIB..4 * MIB).contains(&parts[1]), "{parts:?}");
    assert!(parts[3] >= MIB, "{parts:?}");
    assert!(parts.iter().sum::<usize>() <= 16 * MIB, "{parts:?}");
    shares.remove(0);
    assert!(memory.total() <= 9 * MIB);
    assert!(fill(&mut shares[0]) > 5 * MIB, "more than before");
    assert_eq!(shares[2].is_over(8 * MIB, 8 * MIB, None), Some(Limit::SendMemory));
}

#[test]
fn a_peer_has_a_limit_of_its_own() {
    let memory = memory(1000, usize::MAX, 1);
    let mut share = memory.share();
    assert_eq!(share.is_over(999, 999, None), None);
    assert_eq!(share.is_over(1000, 1000, None), Some(Limit::PeerSendBytes));
    assert_eq!(share.next_mark(990, 990), 1000);
    assert_eq!(memory.step(), 1000);
}

#[test]
fn small_changes_are_told_to_nobody_and_an_empty_queue_is() {
    let memory = memory(usize::MAX, usize::MAX, 1);
    let mut share = memory.share();
    share.tell(GRAIN - 1);
    assert_eq!(memory.total(), 0);
    share.tell(GRAIN);
    assert_eq!(memory.total(), GRAIN);
    share.tell(1);
    assert_eq!(memory.total(), GRAIN);
    share.tell(0);
    assert_eq!(memory.total(), 0);
}

#[test]
fn a_sender_that_waits_is_woken_when_another_queue_gives_back() {
    let memory = memory(100 * MIB, 4 * MIB, 1000);
    let (mut hoarder, mut other) = (memory.share(), memory.share());
    assert_eq!(hoarder.is_over(2 * MIB - GRAIN, 2 * MIB - GRAIN, None), None);
    let (count, waker) = waker();
    assert!(other.is_over(MIB, MIB, None).is_some());
    memory.wake_senders();
    assert!(other.is_over(MIB, MIB, Some(&waker)).is_some());
    memory.wake_senders();
    assert_eq!(woken(&count), 0, "nothing has changed");
    hoarder.release(MIB);
    memory.wake_senders();
    assert_eq!(woken(&count), 1);
    assert_eq!(other.is_over(MIB, MIB, Some(&waker)), None);
    // Also when its end gives it all back.
    let more = MIB + MIB / 2;
    assert!(other.is_over(more, more, Some(&waker)).is_some());
    drop(hoarder);
    memory.wake_senders();
    memory.wake_senders();
    assert_eq!(woken(&count), 1);
}

#[test]
fn bytes_that_several_queues_share_count_once_and_keep_each_within_its_part() {
    let memory = memory(100 * MIB, 4 * MIB, 1000);
    let mut shares: Vec<_> = (0..3).map(|_| memory.share()).collect();
    memory.shared_total().fetch_add(MIB, Ordering::Relaxed);
    for share in &mut shares {
        assert_eq!(share.is_over(MIB, 0, None), None);
        assert!(!share.would_be_over(MIB, 0));
    }
    assert_eq!(memory.total(), MIB);
    memory.shared_total().fetch_add(MIB, Ordering::Relaxed);
    for share in &mut shares {
        assert_eq!(share.is_over(2 * MIB, 0, None), None, "twice the rest");
        assert!(share.would_be_over(3 * MIB, 0));
    }
}

/// A receiving queue's question, after it has waited for long.
fn ask(share: &mut Share, bytes: usize, unfinished: usize, waker: &Waker) -> Answer {
    share.ask(bytes, unfinished, true, waker)
}

#[test]
fn who_waits_is_woken_by_whoever_gives_back_and_no_more_of_them_than_can_go_on() {
    let memory = memory(100 * MIB, 4 * MIB, 1000);
    let mut hoarder = memory.share();
    assert_eq!(
        ask(&mut hoarder, 2 * MIB - GRAIN, 0, Waker::noop()),
        Answer::Granted
    );
    let mut waiting: Vec<_> = (0..10)
        .map(|_| {
            let (count, waker) = waker();
            let mut share = memory.share();
            assert_eq!(ask(&mut share, MIB + 1000, 0, &waker), Answer::Wait);
            (count, waker, share)
        })
        .collect();
    hoarder.settle(MIB);
    let called: Vec<_> = waiting.iter().map(|(count, ..)| woken(count)).collect();
    assert_eq!(called.iter().sum::<usize>(), 1, "{called:?}");
    let lucky = called.iter().position(|&count| count == 1).unwrap();
    assert!(!waiting[lucky].2.has_room(0, 0, 0), "it has to look");
    // It needs nothing any more: the next one hears of it.
    let (_, waker, share) = &mut waiting[lucky];
    assert_eq!(ask(share, 0, 0, waker), Answer::Granted);
    assert_eq!(waiting.iter().map(|(count, ..)| woken(count)).sum::<usize>(), 1);
    drop((waiting, hoarder));
    assert_eq!(memory.pool.lock().free(), 3 * MIB);
}

#[test]
fn of_messages_in_part_the_largest_is_given_up_and_only_where_receiving_cannot_help() {
    let memory = memory(100 * MIB, 4 * MIB, 1000);
    let (count, call) = waker();
    let mut hoarder = memory.share();
    let most = 2 * MIB - GRAIN - 1000;
    assert_eq!(ask(&mut hoarder, most, most, &call), Answer::Granted);
    let mut complete = memory.share();
    assert_eq!(ask(&mut complete, MIB / 2, 0, Waker::noop()), Answer::Granted);
    // What is complete would be enough: it waits for that.
    let mut honest = memory.share();
    let (own_count, own) = waker();
    assert_eq!(ask(&mut honest, MIB / 2, MIB / 2, &own), Answer::Wait);
    assert_eq!((woken(&count), woken(&own_count)), (0, 0));
    complete.settle(0);
    assert_eq!((woken(&count), woken(&own_count)), (0, 1));
    assert_eq!(ask(&mut honest, MIB / 2, MIB / 2, &own), Answer::Granted);
    // Now it is not: the one that has more is to go.
    assert!(hoarder.has_room(most, most, most));
    assert_eq!(honest.ask(MIB, MIB, false, &own), Answer::Contend);
    assert_eq!((woken(&count), woken(&own_count)), (0, 0), "it has time");
    assert_eq!(ask(&mut honest, MIB, MIB, &own), Answer::Contend);
    assert_eq!((woken(&count), woken(&own_count)), (1, 0));
    assert!(!hoarder.has_room(most, most, most));
    assert_eq!(ask(&mut hoarder, most, most, &call), Answer::GiveUp);
    drop(hoarder);
    assert_eq!(woken(&own_count), 1);
    assert_eq!(ask(&mut honest, MIB, MIB, &own), Answer::Granted);
    // What nobody's going would make possible is given up at once.
    assert_eq!(ask(&mut honest, 3 * MIB, 3 * MIB, &own), Answer::GiveUp);
}

#[test]
fn a_message_that_is_complete_by_then_is_not_given_up() {
    let memory = memory(100 * MIB, 4 * MIB, 1000);
    let (count, call) = waker();
    let mut large = memory.share();
    let most = 2 * MIB - GRAIN - 1000;
    assert_eq!(ask(&mut large, most, most, &call), Answer::Granted);
    let mut other = memory.share();
    assert_eq!(ask(&mut other, MIB, MIB, Waker::noop()), Answer::Contend);
    assert_eq!(woken(&count), 1);
    assert_eq!(ask(&mut large, most, 0, &call), Answer::Granted);
    drop(large);
    assert_eq!(ask(&mut other, MIB, MIB, Waker::noop()), Answer::Granted);
}

#[test]
fn what_the_gone_left_counts_and_leaves_its_part_of_the_reserve_to_who_comes() {
    let memory = memory(100 * MIB, 8 * MIB, 4);
    let mut gone = Vec::new();
    for _ in 0..16 {
        let mut share = memory.share();
        assert_eq!(ask(&mut share, MIB / 2, 0, Waker::noop()), Answer::Granted);
        share.retire(MIB / 2);
        gone.push(share);
        if memory.pool.lock().free() == 0 {
            break;
        }
    }
    // Twelve of them fill what is for all. Who comes now still has a floor.
    assert_eq!(gone.len(), 12);
    let mut honest = memory.share();
    assert!(honest.has_room(MIB / 2 - 1, MIB / 2 - 1, 0));
    assert_eq!(ask(&mut honest, MIB / 2, 0, Waker::noop()), Answer::Wait);
    honest.retire(MIB / 2);
    // It keeps its part until there is room for what it left.
    let others: Vec<_> = (0..3).map(|_| memory.share()).collect();
    let (count, waker) = waker();
    let mut last = memory.share();
    assert_eq!(ask(&mut last, 0, 0, &waker), Answer::Wait);
    drop(others);
    assert_eq!(woken(&count), 1);
    assert_eq!(ask(&mut last, 0, 0, &waker), Answer::Granted);
    drop((gone, honest));
    assert_eq!(woken(&count), 0);
    assert_eq!(memory.pool.lock().free(), 6 * MIB);
}
