//! Tests of the pipe.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counter() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), Waker::from(count))
}

#[test]
fn holds_exactly_its_capacity() {
    let (tx, mut rx) = pipe(3);
    for i in 0..3 {
        tx.try_push(i, None).unwrap();
    }
    assert_eq!(tx.try_push(3, None), Err(PushError::Full(3)));
    assert_eq!(rx.fill(None), Poll::Ready(true));
    assert_eq!(
        tx.try_push(3, None),
        Err(PushError::Full(3)),
        "taken is not yet finished"
    );
    assert_eq!(rx.pop(), Some(0));
    tx.try_push(3, None).unwrap();
    assert_eq!(tx.try_push(4, None), Err(PushError::Full(4)));
}

#[test]
fn wakes_the_receiver_once_per_empty_queue() {
    let (tx, mut rx) = pipe(8);
    let (count, waker) = counter();
    assert_eq!(rx.fill(Some(&waker)), Poll::Pending);
    tx.try_push(1, None).unwrap();
    tx.try_push(2, None).unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(rx.fill(Some(&waker)), Poll::Ready(true));
    assert_eq!((rx.pop(), rx.pop(), rx.pop()), (Some(1), Some(2), None));
}

#[test]
fn wakes_a_waiting_sender_after_a_step() {
    let (tx, mut rx) = pipe(8);
    for i in 0..8 {
        tx.try_push(i, None).unwrap();
    }
    let (count, waker) = counter();
    assert!(matches!(tx.try_push(8, Some(&waker)), Err(PushError::Full(8))));
    assert_eq!(rx.fill(None), Poll::Ready(true));
    rx.pop();
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    rx.pop();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    tx.try_push(8, None).unwrap();
}

#[test]
fn an_emptied_pipe_always_wakes_its_sender() {
    for capacity in 1..20 {
        let (tx, mut rx) = pipe(capacity);
        for i in 0..capacity {
            tx.try_push(i, None).unwrap();
        }
        let (count, waker) = counter();
        assert!(tx.try_push(0, Some(&waker)).is_err());
        while rx.fill(None) == Poll::Ready(true) {
            while rx.pop().is_some() {}
        }
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "capacity {capacity}");
        assert!(tx.is_empty());
    }
}

#[test]
fn closing_the_sender_ends_after_the_last_item() {
    let (tx, mut rx) = pipe(2);
    tx.try_push(1, None).unwrap();
    drop(tx);
    assert_eq!(rx.fill(None), Poll::Ready(true));
    assert_eq!(rx.pop(), Some(1));
    assert_eq!(rx.fill(None), Poll::Ready(false));
}

#[test]
fn closing_the_receiver_hands_items_back() {
    let (tx, mut rx) = pipe(2);
    tx.try_push(1, None).unwrap();
    let (count, waker) = counter();
    tx.try_push(2, None).unwrap();
    assert!(tx.try_push(3, Some(&waker)).is_err());
    assert_eq!(rx.close(), 2);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(tx.try_push(4, None), Err(PushError::Closed(4)));
}

#[test]
fn evicting_drops_the_oldest() {
    let (tx, mut rx) = pipe(2);
    assert_eq!(tx.push_evicting(1), Ok(None));
    assert_eq!(tx.push_evicting(2), Ok(None));
    assert_eq!(tx.push_evicting(3), Ok(Some(1)));
    assert_eq!(rx.fill(None), Poll::Ready(true));
    assert_eq!(tx.push_evicting(4), Ok(Some(4)), "the receiver holds both");
    assert_eq!((rx.pop(), rx.pop()), (Some(2), Some(3)));
}

#[test]
fn replacing_keeps_the_last() {
    let (tx, mut rx) = pipe(1);
    assert_eq!(tx.push_replacing(1), Ok(0));
    assert_eq!(tx.push_replacing(2), Ok(1));
    assert_eq!(rx.fill(None), Poll::Ready(true));
    assert_eq!((rx.pop(), rx.pop()), (Some(2), None));
}

#[test]
fn batches_move_as_far_as_there_is_room() {
    let (tx, mut rx) = pipe(3);
    let (_, waker) = counter();
    let mut batch = VecDeque::from([1, 2, 3, 4]);
    assert_eq!(tx.try_push_batch(&mut batch, &waker), Ok(3));
    assert_eq!(batch, [4]);
    assert_eq!(tx.try_push_batch(&mut batch, &waker), Ok(0));
    assert_eq!(rx.fill(None), Poll::Ready(true));
    assert_eq!(rx.pop(), Some(1));
    assert_eq!(tx.try_push_batch(&mut batch, &waker), Ok(1));
    assert!(batch.is_empty());
}

#[test]
fn either_side_can_make_room() {
    let (tx, mut rx) = pipe(1);
    let (count, waker) = counter();
    tx.try_push(1, None).unwrap();
    assert!(tx.try_push(2, Some(&waker)).is_err());
    rx.set_capacity(2);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    tx.try_push(2, None).unwrap();
    assert!(tx.try_push(3, Some(&waker)).is_err());
    tx.set_capacity(1);
    assert_eq!((rx.capacity(), rx.len()), (1, 2), "what is in stays in");
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    tx.set_capacity(3);
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
    tx.try_push(3, None).unwrap();
}

#[test]
fn two_threads_lose_and_reorder_nothing() {
    // The interpreter needs milliseconds for one.
    const COUNT: u32 = if cfg!(miri) { 200 } else { 100_000 };
    let (tx, mut rx) = pipe(16);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let sender = tokio::spawn(async move {
            for i in 0..COUNT {
                let mut item = Some(i);
                std::future::poll_fn(|cx| match tx.try_push(item.take().unwrap(), Some(cx.waker())) {
                    Ok(()) => Poll::Ready(()),
                    Err(PushError::Full(back) | PushError::Closed(back)) => {
                        item = Some(back);
                        Poll::Pending
                    }
                })
                .await;
            }
        });
        let mut next = 0;
        while std::future::poll_fn(|cx| rx.poll_fill(cx)).await {
            while let Some(item) = rx.pop() {
                assert_eq!(item, next);
                next += 1;
            }
        }
        sender.await.unwrap();
        assert_eq!(next, COUNT);
    });
}

#[test]
fn a_shut_gate_takes_nothing_more_but_what_waits_is_read() {
    let (tx, mut rx) = pipe(8);
    tx.try_push(1, None).unwrap();
    let gate = rx.gate();
    gate.shut();
    assert_eq!(tx.try_push(2, None), Err(PushError::Closed(2)));
    assert_eq!(rx.fill(None), Poll::Ready(true));
    assert_eq!(rx.pop(), Some(1));
    assert_eq!(rx.fill(None), Poll::Ready(false));
}

#[test]
fn pushing_over_ignores_the_capacity_and_the_order_holds() {
    let (tx, mut rx) = pipe(1);
    tx.try_push(1, None).unwrap();
    tx.push_over(2).unwrap();
    assert_eq!(rx.fill(None), Poll::Ready(true));
    assert_eq!((rx.pop(), rx.pop()), (Some(1), Some(2)));
    drop(rx);
    assert_eq!(tx.push_over(3), Err(PushError::Closed(3)));
}

#[test]
fn a_sender_learns_what_was_dropped_unread_and_that_its_receiver_went() {
    let (tx, mut rx) = pipe(8);
    let (count, waker) = counter();
    assert!(tx.poll_closed(&mut Context::from_waker(&waker)).is_pending());
    for i in 0..3 {
        tx.try_push(i, None).unwrap();
    }
    assert_eq!(rx.fill(None), Poll::Ready(true));
    rx.pop();
    drop(rx);
    assert_eq!(tx.discarded(), 2);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(tx.poll_closed(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn who_asks_what_waits_is_woken_once_some_of_it_was_taken() {
    let (tx, mut rx) = pipe(8);
    let (count, waker) = counter();
    assert_eq!(tx.waiting(Some(&waker)), 0);
    tx.try_push(1, None).unwrap();
    tx.try_push(2, None).unwrap();
    assert_eq!(tx.waiting(Some(&waker)), 2);
    assert_eq!(rx.fill(None), Poll::Ready(true));
    assert_eq!((rx.pop(), rx.pop()), (Some(1), Some(2)));
    assert_eq!(rx.fill(None), Poll::Pending);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(tx.waiting(Some(&waker)), 0);
    tx.try_push(3, None).unwrap();
    assert_eq!(tx.waiting(Some(&waker)), 1);
    drop(rx);
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
    assert_eq!(tx.waiting(Some(&waker)), 0);
}

#[test]
fn every_item_has_its_place_also_behind_those_that_were_replaced() {
    let (tx, mut rx) = pipe(3);
    for item in 0..3 {
        assert_eq!(tx.added(), item);
        tx.try_push(item, None).unwrap();
    }
    assert_eq!(rx.fill(None), Poll::Ready(true));
    assert_eq!((rx.place(), rx.pop()), (0, Some(0)));
    tx.push_replacing(3).unwrap();
    tx.push_replacing(4).unwrap();
    tx.push_replacing(5).unwrap();
    assert_eq!(tx.added(), 6);
    assert_eq!(tx.finished(), 1, "two are still held");
    for item in [1, 2] {
        assert_eq!((rx.place(), rx.pop()), (item, Some(item)));
    }
    assert_eq!(rx.fill(None), Poll::Ready(true));
    assert_eq!((rx.place(), tx.finished()), (5, 5));
    assert_eq!(rx.pop(), Some(5));
    assert_eq!(tx.finished(), 6, "a whole step of three, which is one");
    for item in 6..9 {
        assert_eq!(tx.push_evicting(item), Ok(None));
    }
    assert_eq!(tx.push_evicting(9), Ok(Some(6)));
    assert_eq!(rx.fill(None), Poll::Ready(true));
    assert_eq!((rx.place(), rx.pop()), (7, Some(7)));
    assert_eq!(tx.added(), 10);
}
