//! Streams that borrow from who makes them, as streams that borrow nothing.
//!
//! A method of a service may answer with a stream that refers to the service. What is sent to the caller must own all
//! that it needs: the future that holds both, the service and its stream, and hands out one value after the other.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use parking_lot::Mutex;

use crate::failure::Failure;

type Making = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// A stream out of a future that makes it.
pub struct Lent<T> {
    making: Option<Making>,
    slot: Arc<Mutex<Slot<T>>>,
}

/// Where that future puts its values.
pub struct Outlet<T>(Arc<Mutex<Slot<T>>>);

struct Slot<T> {
    begun: bool,
    value: Option<T>,
}

/// Awaits a future until it has its stream, and is that stream then.
pub async fn lend<T, F>(make: impl FnOnce(Outlet<T>) -> F) -> Result<Lent<T>, Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let slot = Arc::new(Mutex::new(Slot {
        begun: false,
        value: None,
    }));
    let mut making: Making = Box::pin(make(Outlet(Arc::clone(&slot))));
    let over = std::future::poll_fn(|cx| match making.as_mut().poll(cx) {
        Poll::Ready(made) => Poll::Ready(made.map(|()| true)),
        Poll::Pending if slot.lock().begun => Poll::Ready(Ok(false)),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    let making = (!over).then_some(making);
    Ok(Lent { making, slot })
}

impl<T> Outlet<T> {
    /// Gives all values of the stream, one whenever one is asked for.
    pub async fn give(self, stream: impl Stream<Item = T>) {
        let mut stream = pin!(stream);
        let mut begun = false;
        std::future::poll_fn(|cx| {
            // Not before it is read.
            if !std::mem::replace(&mut begun, true) {
                self.0.lock().begun = true;
                return Poll::Pending;
            }
            match std::task::ready!(stream.as_mut().poll_next(cx)) {
                Some(value) => {
                    self.0.lock().value = Some(value);
                    Poll::Pending
                }
                None => Poll::Ready(()),
            }
        })
        .await;
    }
}

impl<T> Stream for Lent<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(making) = &mut self.making else {
            return Poll::Ready(None);
        };
        if making.as_mut().poll(cx).is_ready() {
            self.making = None;
        }
        match self.slot.lock().value.take() {
            Some(value) => Poll::Ready(Some(value)),
            None if self.making.is_none() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::{FutureExt, StreamExt, stream};

    use super::*;

    struct Counter(AtomicU32);

    impl Counter {
        /// A stream that borrows.
        fn count(&self, n: u32) -> impl Stream<Item = u32> {
            stream::iter(0..n).map(|_| self.0.fetch_add(1, Ordering::Relaxed))
        }
    }

    #[test]
    fn values_are_made_when_they_are_read_and_not_before() {
        let counter = Arc::new(Counter(AtomicU32::new(5)));
        let made = Arc::clone(&counter);
        let lent = lend(move |outlet| async move {
            outlet.give(made.count(3)).await;
            Ok(())
        });
        let mut lent = lent.now_or_never().expect("begun").expect("a stream");
        for n in 5..8 {
            assert_eq!(counter.0.load(Ordering::Relaxed), n);
            assert_eq!(lent.next().now_or_never(), Some(Some(n)));
        }
        assert_eq!(lent.next().now_or_never(), Some(None));
        assert_eq!(Arc::strong_count(&counter), 1, "nothing is kept");
        assert_eq!(lent.next().now_or_never(), Some(None));
    }

    #[test]
    fn a_stream_that_has_nothing_yet_waits() {
        let lent = lend(|outlet| async move {
            let later = stream::once(tokio::task::yield_now()).map(|()| 1);
            outlet.give(later).await;
            Ok(())
        });
        let mut lent = lent.now_or_never().expect("begun").expect("a stream");
        assert_eq!(lent.next().now_or_never(), None);
        assert_eq!(lent.next().now_or_never(), Some(Some(1)));
        assert_eq!(lent.next().now_or_never(), Some(None));
    }

    #[test]
    fn who_fails_to_make_it_is_heard() {
        let lent = lend(async |_: Outlet<u32>| Err(Failure::failed(3, "no stream")));
        let failure = lent.now_or_never().expect("ready").err();
        assert_eq!(failure, Some(Failure::failed(3, "no stream")));
    }
}
