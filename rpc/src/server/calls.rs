//! The calls under way of one connection, without any I/O.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::hub::Held;
use super::upload::Upload;
use super::work::Call;
use crate::envelope::Codec;
use crate::failure::{Failure, FailureKind};
use crate::request::{Item, Wants};

/// The calls under way of one connection. `T` ends the work of one when it is asked to.
#[derive(Debug)]
pub(super) struct Calls<T> {
    running: HashMap<u64, Running<T>>,
    /// Those that want no answer: they have no number, and nobody can cancel them.
    one_way: usize,
    begun: u64,
    limit: usize,
}

/// One call, told from all others that had its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// The caller's number.
    pub(super) call: u64,
    serial: u64,
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Running<T> {
    serial: u64,
    /// Of its answer, if it is an error.
    pub(super) codec: Codec,
    /// Its task, once there is one.
    pub(super) task: Option<T>,
    /// Items of its answer that the caller has room for.
    credit: Option<Arc<Semaphore>>,
    upload: Option<Upload>,
}

impl<T> Calls<T> {
    pub(super) fn new(limit: usize) -> Self {
        Calls {
            running: HashMap::new(),
            one_way: 0,
            begun: 0,
            limit,
        }
    }

    /// Whether a call of this number is under way.
    pub(super) fn is_running(&self, call: u64) -> bool {
        self.running.contains_key(&call)
    }

    /// Whether this call is under way, and not another of its number.
    pub(super) fn is_this(&self, ticket: Ticket) -> bool {
        self.running
            .get(&ticket.call)
            .is_some_and(|running| running.serial == ticket.serial)
    }

    /// Whether a call of this number may begin; one that wants nothing has none.
    pub(super) fn check(&self, call: u64, wants: Wants) -> Result<(), Failure> {
        if wants != Wants::Nothing {
            self.check_number(call)?;
        }
        self.check_room()
    }

    fn check_number(&self, call: u64) -> Result<(), Failure> {
        if !self.is_running(call) {
            return Ok(());
        }
        let message = format!("call {call} is under way already: each needs a number of its own");
        Err(Failure::new(FailureKind::Malformed, message))
    }

    /// Takes note of a call that begins.
    pub(super) fn begin(
        &mut self,
        Call { id: call, codec, .. }: Call,
        credit: Option<Arc<Semaphore>>,
        upload: Option<Upload>,
    ) -> Result<Ticket, Failure> {
        self.check_number(call)?;
        self.check_room()?;
        self.begun += 1;
        let serial = self.begun;
        self.running.insert(
            call,
            Running {
                serial,
                codec,
                task: None,
                credit,
                upload,
            },
        );
        Ok(Ticket { call, serial })
    }

    /// The same for one that wants no answer.
    pub(super) fn begin_one_way(&mut self) -> Result<(), Failure> {
        self.check_room()?;
        self.one_way += 1;
        Ok(())
    }

    /// A call that wants no answer ends.
    pub(super) fn end_one_way(&mut self) {
        self.one_way = self.one_way.saturating_sub(1);
    }

    fn check_room(&self) -> Result<(), Failure> {
        if self.running.len() + self.one_way < self.limit {
            return Ok(());
        }
        let message = format!("{} calls of this connection are under way", self.limit);
        Err(Failure::new(FailureKind::Overloaded, message))
    }

    /// The work of a call has begun. Hands the task back if the call has ended meanwhile.
    pub(super) fn attach(&mut self, ticket: Ticket, task: T) -> Option<T> {
        match self.running.get_mut(&ticket.call) {
            Some(running) if running.serial == ticket.serial => {
                running.task = Some(task);
                None
            }
            _ => Some(task),
        }
    }

    /// A call ends by itself. False if something else has ended it: then nothing more is said of it.
    pub(super) fn end(&mut self, ticket: Ticket) -> bool {
        self.is_this(ticket) && self.running.remove(&ticket.call).is_some()
    }

    /// A call is ended from without.
    pub(super) fn stop(&mut self, call: u64) -> Option<Running<T>> {
        self.running.remove(&call)
    }

    /// All calls end, but those that want no answer. Each comes with its number.
    pub(super) fn stop_all(&mut self) -> impl Iterator<Item = (u64, Running<T>)> + use<T> {
        std::mem::take(&mut self.running).into_iter()
    }

    /// The caller has room for more items.
    pub(super) fn credit(&self, call: u64, items: u32) {
        if let Some(credit) = self
            .running
            .get(&call)
            .and_then(|running| running.credit.as_ref())
        {
            // As much as can be counted, whatever the peer says.
            let room = Semaphore::MAX_PERMITS - credit.available_permits();
            credit.add_permits(room.min(items as usize));
        }
    }

    /// An item of streamed arguments came, and `hold` makes room for it. An error is for the caller, and ends the call.
    pub(super) fn item(
        &mut self,
        call: u64,
        number: u32,
        item: Item,
        hold: impl FnOnce() -> Result<Held, Failure>,
    ) -> Result<(), Failure> {
        // The call may have ended before its items.
        match self.upload(call) {
            Some(upload) => upload.item(number, item, hold),
            None => Ok(()),
        }
    }

    /// Streamed arguments end after so many items.
    pub(super) fn items_end(&mut self, call: u64, sent: u32) {
        let running = self.running.get_mut(&call);
        if let Some(upload) = running.and_then(|running| running.upload.take()) {
            upload.end(sent);
        }
    }

    /// The handler has read `items` more; the caller may send as many. Whether there is somebody to tell.
    pub(super) fn grant(&mut self, call: u64, items: u32) -> bool {
        let Some(upload) = self.upload(call) else {
            return false;
        };
        upload.grant(items);
        true
    }

    fn upload(&mut self, call: u64) -> Option<&mut Upload> {
        self.running.get_mut(&call)?.upload.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use flexbond_session::socket::LimitMeter;

    use super::super::hub::Hub;
    use super::super::options::Options;
    use super::super::upload::upload;
    use super::*;

    fn kind<T>(result: Result<T, Failure>) -> FailureKind {
        result.map(drop).unwrap_err().kind()
    }

    fn call(id: u64) -> Call {
        Call {
            id,
            codec: Codec::Json,
            timeout: None,
            deadline: None,
        }
    }

    #[test]
    fn there_is_a_limit_and_one_way_calls_count() {
        let mut calls = Calls::<()>::new(3);
        let one = calls.begin(call(1), None, None).unwrap();
        assert_eq!(kind(calls.begin(call(1), None, None)), FailureKind::Malformed);
        calls.begin(call(2), None, None).unwrap();
        calls.begin_one_way().unwrap();
        assert_eq!(kind(calls.begin(call(3), None, None)), FailureKind::Overloaded);
        assert_eq!(kind(calls.begin_one_way()), FailureKind::Overloaded);
        assert!(calls.end(one));
        assert!(!calls.end(one));
        calls.begin(call(3), None, None).unwrap();
        calls.end_one_way();
        calls.begin_one_way().unwrap();
        assert_eq!(calls.stop_all().count(), 2);
        calls.begin(call(1), None, None).unwrap();
        calls.begin(call(2), None, None).unwrap();
        assert_eq!(kind(calls.begin(call(3), None, None)), FailureKind::Overloaded);
    }

    #[test]
    fn a_call_is_not_another_of_its_number() {
        let mut calls = Calls::new(9);
        let first = calls.begin(call(1), None, None).unwrap();
        assert!(calls.attach(first, "first").is_none());
        assert_eq!(calls.stop(1).unwrap().task, Some("first"));
        let second = calls.begin(call(1), None, None).unwrap();
        assert!(calls.is_running(1) && calls.is_this(second) && !calls.is_this(first));
        assert_eq!(calls.attach(first, "late"), Some("late"));
        assert!(!calls.end(first));
        assert!(calls.end(second));
        assert!(!calls.is_running(1));
        assert!(calls.stop(1).is_none());
    }

    #[test]
    fn items_reach_their_call_until_they_end() {
        let hub = Hub::new(Options::default(), LimitMeter::default());
        let mut calls = Calls::<()>::new(9);
        let (upload, _uploaded) = upload(1);
        calls.begin(call(1), None, Some(upload)).unwrap();
        let item =
            |calls: &mut Calls<()>, id, number| calls.item(id, number, Item::default(), || hub.hold(4));
        item(&mut calls, 7, 0).unwrap();
        item(&mut calls, 1, 0).unwrap();
        assert_eq!(kind(item(&mut calls, 1, 1)), FailureKind::Malformed);
        assert!(calls.grant(1, 1));
        item(&mut calls, 1, 1).unwrap();
        calls.items_end(7, 0);
        calls.items_end(1, 2);
        assert!(!calls.grant(1, 1));
        item(&mut calls, 1, 9).unwrap();
    }

    #[test]
    fn credit_never_overflows() {
        let mut calls = Calls::<()>::new(9);
        let credit = Arc::new(Semaphore::new(1));
        calls.begin(call(1), Some(Arc::clone(&credit)), None).unwrap();
        calls.credit(1, 5);
        assert_eq!(credit.available_permits(), 6);
        for _ in 0..3 {
            credit.add_permits(Semaphore::MAX_PERMITS - credit.available_permits());
            calls.credit(1, u32::MAX);
        }
        assert_eq!(credit.available_permits(), Semaphore::MAX_PERMITS);
    }
}
