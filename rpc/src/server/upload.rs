//! Streamed arguments, from their connection to their handler.

use std::task::Poll;

use tokio::sync::mpsc;

use super::hub::Held;
use crate::error::CallError;
use crate::failure::{Failure, FailureKind};
use crate::request::{Item, Items};

/// What the handler has not read.
#[derive(Debug)]
enum Arrived {
    /// With the room that it takes.
    Item(Item, Held),
    /// The items end, and this is what is wrong with them.
    Wrong(CallError),
    /// The caller has sent all. Said aloud: a stream that breaks off must not look like one that ends.
    End,
}

/// Arguments that come as a stream: where they come in.
#[derive(Debug)]
pub(super) struct Upload {
    items: mpsc::UnboundedSender<Arrived>,
    /// Items that may still come.
    window: u32,
    next: u32,
}

/// The same where they are read.
#[derive(Debug)]
pub(super) struct Uploaded {
    items: mpsc::UnboundedReceiver<Arrived>,
    window: u32,
}

/// At first, `window` items may come.
pub(super) fn upload(window: u32) -> (Upload, Uploaded) {
    let (tx, rx) = mpsc::unbounded_channel();
    let upload = Upload {
        items: tx,
        window,
        next: 0,
    };
    (upload, Uploaded { items: rx, window })
}

impl Upload {
    /// An item came, and `hold` makes room for it. An error is for the caller, and ends the call.
    pub(super) fn item(
        &mut self,
        number: u32,
        item: Item,
        hold: impl FnOnce() -> Result<Held, Failure>,
    ) -> Result<(), Failure> {
        if number != self.next {
            let message = format!("item {number} came where item {} was due", self.next);
            return Err(Failure::new(FailureKind::Malformed, message));
        }
        let Some(window) = self.window.checked_sub(1) else {
            let message = format!("item {number} came without leave");
            return Err(Failure::new(FailureKind::Malformed, message));
        };
        self.window = window;
        self.next = self.next.wrapping_add(1);
        // A handler that reads no more is not an error.
        if !self.items.is_closed() {
            let _ = self.items.send(Arrived::Item(item, hold()?));
        }
        Ok(())
    }

    /// The stream ends after so many items.
    pub(super) fn end(self, sent: u32) {
        let received = self.next;
        let last = match received == sent {
            true => Arrived::End,
            false => Arrived::Wrong(CallError::Incomplete { received, sent }),
        };
        let _ = self.items.send(last);
    }

    /// The handler has read `items` more; the caller may send as many.
    pub(super) fn grant(&mut self, items: u32) {
        self.window += items;
    }
}

impl Uploaded {
    /// The items, as the handler reads them. `grant` is told how many more the caller may send.
    pub(super) fn items(self, mut grant: impl FnMut(u32) + Send + 'static) -> Items {
        let window = self.window;
        let mut open = Some(self.items);
        let mut read = 0;
        Items::new(futures_util::stream::poll_fn(move |cx| {
            let Some(items) = &mut open else {
                return Poll::Ready(None);
            };
            let last = match std::task::ready!(items.poll_recv(cx)) {
                Some(Arrived::Item(item, held)) => {
                    drop(held);
                    read += 1;
                    // Half a window at a time: few messages, and the caller need not stop.
                    if read >= window.div_ceil(2) {
                        grant(std::mem::take(&mut read));
                    }
                    return Poll::Ready(Some(Ok(item)));
                }
                Some(Arrived::Wrong(error)) => Some(Err(error)),
                Some(Arrived::End) => None,
                None => Some(Err(broken_off())),
            };
            open = None;
            Poll::Ready(last)
        }))
    }
}

/// The call was ended from without, and more items were to come.
fn broken_off() -> CallError {
    let message = "the call ended before all of its streamed arguments had come";
    CallError::Failure(Failure::new(FailureKind::Cancelled, message).begun())
}

#[cfg(test)]
mod tests {
    use flexbond_session::socket::LimitMeter;
    use futures_util::{FutureExt, StreamExt};

    use super::super::hub::Hub;
    use super::super::options::Options;
    use super::*;

    fn kind<T>(result: Result<T, Failure>) -> FailureKind {
        result.map(drop).unwrap_err().kind()
    }

    /// What is there to be read now; the inner one is none at the end.
    fn read(items: &mut Items) -> Option<Option<Result<Item, CallError>>> {
        items.next().now_or_never()
    }

    #[test]
    fn items_come_in_order_and_with_leave() {
        let hub = Hub::new(Options::new().max_in_flight_bytes(10), LimitMeter::default());
        let (mut upload, uploaded) = upload(2);
        let mut items = uploaded.items(|_| {});
        let item = |upload: &mut Upload, number| upload.item(number, Item::default(), || hub.hold(4));
        item(&mut upload, 0).unwrap();
        assert_eq!(kind(item(&mut upload, 2)), FailureKind::Malformed);
        item(&mut upload, 1).unwrap();
        assert_eq!(kind(item(&mut upload, 2)), FailureKind::Malformed);
        upload.grant(1);
        assert_eq!(kind(item(&mut upload, 2)), FailureKind::Overloaded);
        assert!(read(&mut items).unwrap().unwrap().is_ok());
        upload.grant(1);
        item(&mut upload, 3).unwrap();
        upload.end(5);
        for _ in 0..2 {
            assert!(read(&mut items).unwrap().unwrap().is_ok());
        }
        let incomplete = CallError::Incomplete { received: 4, sent: 5 };
        assert_eq!(read(&mut items).unwrap().unwrap().unwrap_err(), incomplete);
        assert_eq!(read(&mut items), Some(None));
    }

    #[test]
    fn a_stream_that_breaks_off_does_not_look_like_one_that_ends() {
        let hub = Hub::new(Options::default(), LimitMeter::default());
        for ends in [true, false] {
            let (mut upload, uploaded) = upload(2);
            let mut items = uploaded.items(|_| {});
            upload.item(0, Item::default(), || hub.hold(4)).unwrap();
            assert!(read(&mut items).unwrap().unwrap().is_ok());
            assert_eq!(read(&mut items), None);
            match ends {
                true => upload.end(1),
                false => {
                    drop(upload);
                    let error = read(&mut items).unwrap().unwrap().unwrap_err();
                    let failure = error.failure().expect("a failure");
                    assert_eq!(failure.kind(), FailureKind::Cancelled);
                    assert!(error.may_have_run());
                }
            }
            for _ in 0..2 {
                assert_eq!(read(&mut items), Some(None));
            }
        }
    }

    #[test]
    fn leave_is_given_half_a_window_at_a_time() {
        let hub = Hub::new(Options::default(), LimitMeter::default());
        let (mut upload, uploaded) = upload(4);
        let (granted, grants) = std::sync::mpsc::channel();
        let mut items = uploaded.items(move |more| granted.send(more).expect("the test lives"));
        for number in 0..4 {
            upload.item(number, Item::default(), || hub.hold(1)).unwrap();
        }
        for _ in 0..4 {
            assert!(read(&mut items).unwrap().unwrap().is_ok());
        }
        assert_eq!(grants.try_iter().collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn items_that_nobody_reads_are_thrown_away() {
        let (mut upload, uploaded) = upload(2);
        drop(uploaded);
        let hold = || unreachable!("it takes no room");
        upload.item(0, Item::default(), hold).unwrap();
    }
}
