//! The calls under way of one connection, without any I/O.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::credit;
use crate::error::CallError;
use crate::failure::{Failure, FailureKind};
use crate::request::Item;

/// The calls under way of one connection. `T` ends the work of one when it is dropped or asked to.
#[derive(Debug)]
pub(super) struct Calls<T> {
    running: HashMap<u64, Running<T>>,
    limit: usize,
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Running<T> {
    /// Its task, once there is one.
    pub(super) task: Option<T>,
    /// Items of its answer that the caller has room for.
    pub(super) credit: Option<Arc<Semaphore>>,
    upload: Option<Upload>,
}

/// Arguments that come as a stream.
#[derive(Debug)]
pub(super) struct Upload {
    items: mpsc::UnboundedSender<Result<Item, CallError>>,
    /// Items that may still come.
    window: u32,
    next: u32,
}

impl Upload {
    /// At first, `window` items may come.
    pub(super) fn new(items: mpsc::UnboundedSender<Result<Item, CallError>>, window: u32) -> Self {
        Upload {
            items,
            window,
            next: 0,
        }
    }
}

impl<T> Calls<T> {
    pub(super) fn new(limit: usize) -> Self {
        Calls {
            running: HashMap::new(),
            limit,
        }
    }

    /// Takes note of a call that begins.
    pub(super) fn begin(
        &mut self,
        call: u64,
        credit: Option<Arc<Semaphore>>,
        upload: Option<Upload>,
    ) -> Result<(), Failure> {
        if self.running.len() >= self.limit {
            let message = format!("{} calls of this connection are under way", self.limit);
            return Err(Failure::new(FailureKind::Overloaded, message));
        }
        if self.running.contains_key(&call) {
            let message = format!("call {call} is under way already: each needs a number of its own");
            return Err(Failure::new(FailureKind::Malformed, message));
        }
        self.running.insert(
            call,
            Running {
                task: None,
                credit,
                upload,
            },
        );
        Ok(())
    }

    /// The work of a call has begun. Hands the task back if the call has ended meanwhile.
    pub(super) fn attach(&mut self, call: u64, task: T) -> Option<T> {
        match self.running.get_mut(&call) {
            Some(running) => {
                running.task = Some(task);
                None
            }
            None => Some(task),
        }
    }

    /// A call ends, for whatever reason.
    pub(super) fn end(&mut self, call: u64) -> Option<Running<T>> {
        self.running.remove(&call)
    }

    /// All calls end.
    pub(super) fn end_all(&mut self) -> impl Iterator<Item = Running<T>> + use<T> {
        std::mem::take(&mut self.running).into_values()
    }

    /// The caller has room for more items.
    pub(super) fn credit(&self, call: u64, items: u32) {
        if let Some(credit) = self
            .running
            .get(&call)
            .and_then(|running| running.credit.as_ref())
        {
            credit::add(credit, items);
        }
    }

    /// An item of streamed arguments came. An error is for the caller, and ends the call.
    pub(super) fn item(&mut self, call: u64, number: u32, item: Item) -> Result<(), Failure> {
        // The call may have ended before its items.
        let Some(upload) = self.upload(call) else {
            return Ok(());
        };
        if number != upload.next {
            let message = format!("item {number} came where item {} was due", upload.next);
            return Err(Failure::new(FailureKind::Malformed, message));
        }
        let Some(window) = upload.window.checked_sub(1) else {
            let message = format!("item {number} came without leave");
            return Err(Failure::new(FailureKind::Malformed, message));
        };
        upload.window = window;
        upload.next = upload.next.wrapping_add(1);
        // A handler that reads no more is not an error.
        let _ = upload.items.send(Ok(item));
        Ok(())
    }

    /// Streamed arguments end after so many items.
    pub(super) fn items_end(&mut self, call: u64, sent: u32) {
        let Some(running) = self.running.get_mut(&call) else {
            return;
        };
        if let Some(upload) = running.upload.take()
            && upload.next != sent
        {
            let received = upload.next;
            let _ = upload.items.send(Err(CallError::Incomplete { received, sent }));
        }
    }

    /// The handler has read `items` more; the caller may send as many. Whether there is somebody to tell.
    pub(super) fn grant(&mut self, call: u64, items: u32) -> bool {
        let Some(upload) = self.upload(call) else {
            return false;
        };
        upload.window += items;
        true
    }

    fn upload(&mut self, call: u64) -> Option<&mut Upload> {
        self.running.get_mut(&call)?.upload.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(result: Result<(), Failure>) -> FailureKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn each_call_has_a_number_of_its_own_and_there_is_a_limit() {
        let mut calls = Calls::<()>::new(2);
        calls.begin(1, None, None).unwrap();
        assert_eq!(kind(calls.begin(1, None, None)), FailureKind::Malformed);
        calls.begin(2, None, None).unwrap();
        assert_eq!(kind(calls.begin(3, None, None)), FailureKind::Overloaded);
        assert!(calls.end(1).is_some());
        assert!(calls.end(1).is_none());
        calls.begin(1, None, None).unwrap();
        assert!(calls.attach(2, ()).is_none());
        assert!(calls.attach(9, ()).is_some());
        assert_eq!(calls.end_all().count(), 2);
    }

    #[test]
    fn items_come_in_order_and_with_leave() {
        let mut calls = Calls::<()>::new(9);
        let (tx, mut rx) = mpsc::unbounded_channel();
        calls.begin(1, None, Some(Upload::new(tx, 2))).unwrap();
        calls.item(7, 0, Item::default()).unwrap();
        calls.item(1, 0, Item::default()).unwrap();
        assert_eq!(kind(calls.item(1, 2, Item::default())), FailureKind::Malformed);
        calls.item(1, 1, Item::default()).unwrap();
        assert_eq!(kind(calls.item(1, 2, Item::default())), FailureKind::Malformed);
        assert!(calls.grant(1, 1));
        calls.item(1, 2, Item::default()).unwrap();
        calls.items_end(1, 4);
        assert!(!calls.grant(1, 1));
        for _ in 0..3 {
            assert!(rx.try_recv().unwrap().is_ok());
        }
        let incomplete = CallError::Incomplete { received: 3, sent: 4 };
        assert_eq!(rx.try_recv().unwrap(), Err(incomplete));
        assert!(rx.try_recv().is_err());
    }

    #[test]
    fn credit_never_overflows() {
        let mut calls = Calls::<()>::new(9);
        let credit = Arc::new(Semaphore::new(1));
        calls.begin(1, Some(Arc::clone(&credit)), None).unwrap();
        calls.credit(1, 5);
        assert_eq!(credit.available_permits(), 6);
        for _ in 0..3 {
            credit.add_permits(Semaphore::MAX_PERMITS - credit.available_permits());
            calls.credit(1, u32::MAX);
        }
        assert_eq!(credit.available_permits(), Semaphore::MAX_PERMITS);
    }
}
