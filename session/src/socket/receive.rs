//! Receiving on a socket of any pattern.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use flexbond_transport::Message;

use super::{Peer, RecvError, Route, Socket};

/// What there is to take, if there is something.
type Found<T> = Result<Option<T>, RecvError>;

impl Socket {
    /// Receives the next message, for at most [`Options::recv_timeout`](super::Options::recv_timeout).
    ///
    /// # Errors
    /// [`RecvError`]; no message was taken.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv(&self) -> Result<Message, RecvError> {
        tokio::task::coop::consume_budget().await;
        match self.take_one(None)? {
            Some(message) => Ok(message),
            None => self.wait_on(|| self.take_one(None)).await,
        }
    }

    /// As [`recv`](Self::recv), and says which peer the message came from.
    ///
    /// # Errors
    /// [`RecvError`]; no message was taken.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_from(&self) -> Result<(Message, Peer), RecvError> {
        tokio::task::coop::consume_budget().await;
        self.wait_for(|| self.take_with_peer()).await
    }

    /// Waits for a message, then moves it and those that are there already, `limit` at most, to the end of
    /// `messages`; returns how many. One from each peer in turn, as [`recv`](Self::recv) does, at a fraction of the
    /// cost for each.
    ///
    /// With a `limit` of zero it returns zero at once.
    ///
    /// # Errors
    /// [`RecvError`]; no message was taken.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_many(&self, messages: &mut Vec<Message>, limit: usize) -> Result<usize, RecvError> {
        tokio::task::coop::consume_budget().await;
        self.wait_for(|| self.take_many(messages, limit)).await
    }

    /// As [`recv_many`](Self::recv_many), from the one peer that is next, with the way back to it.
    pub(super) async fn recv_batch(
        &self,
        messages: &mut Vec<Message>,
        limit: usize,
    ) -> Result<Route, RecvError> {
        tokio::task::coop::consume_budget().await;
        self.wait_for(|| self.take_batch(messages, limit)).await
    }

    /// Polls as [`recv_batch`](Self::recv_batch) does, and wakes the context's task when there may be a batch.
    pub(super) fn poll_recv_batch(
        &self,
        cx: &mut Context<'_>,
        messages: &mut Vec<Message>,
        limit: usize,
    ) -> Poll<Result<Route, RecvError>> {
        self.poll_take(cx, || self.take_batch(messages, limit))
    }

    /// Receives the next message if there is one already.
    ///
    /// # Errors
    /// [`RecvError::WouldBlock`] if there is none.
    pub fn try_recv(&self) -> Result<Message, RecvError> {
        self.take_one(None)?.ok_or(RecvError::WouldBlock)
    }

    /// Polls for the next message, and wakes the context's task when there may be one.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Result<(Message, Peer), RecvError>> {
        self.poll_take(cx, || self.take_with_peer())
    }

    /// Polls for messages as [`recv_many`](Self::recv_many) does, and wakes the context's task when there may be some.
    pub fn poll_recv_many(
        &self,
        cx: &mut Context<'_>,
        messages: &mut Vec<Message>,
        limit: usize,
    ) -> Poll<Result<usize, RecvError>> {
        self.poll_take(cx, || self.take_many(messages, limit))
    }

    /// As [`poll_recv`](Self::poll_recv), for who does not ask which peer it was.
    pub(super) fn poll_message(&self, cx: &mut Context<'_>) -> Poll<Result<Message, RecvError>> {
        self.poll_take(cx, || self.take_one(None))
    }

    #[inline]
    fn take_one(&self, from: Option<&mut Option<Peer>>) -> Found<Message> {
        let core = self.core();
        if core.is_closed() {
            return Err(RecvError::Closed);
        }
        core.pattern.try_recv(from)
    }

    fn take_with_peer(&self) -> Found<(Message, Peer)> {
        let mut from = None;
        let message = self.take_one(Some(&mut from))?;
        // Every message is somebody's.
        Ok(message.zip(from))
    }

    fn take_many(&self, messages: &mut Vec<Message>, limit: usize) -> Found<usize> {
        if limit == 0 {
            return Ok(Some(0));
        }
        let core = self.core();
        if core.is_closed() {
            return Err(RecvError::Closed);
        }
        let count = core.pattern.recv_many(messages, limit)?;
        Ok((count > 0).then_some(count))
    }

    fn take_batch(&self, messages: &mut Vec<Message>, limit: usize) -> Found<Route> {
        let core = self.core();
        if core.is_closed() {
            return Err(RecvError::Closed);
        }
        let from = core.pattern.recv_batch(messages, limit)?;
        Ok(from.map(|(lane, peer)| Route::new(Arc::clone(core), lane, peer)))
    }

    /// Takes now or, with the task's waker registered, after all.
    fn poll_take<T>(
        &self,
        cx: &mut Context<'_>,
        mut take: impl FnMut() -> Found<T>,
    ) -> Poll<Result<T, RecvError>> {
        match take()? {
            Some(found) => Poll::Ready(Ok(found)),
            None => self.poll_registered(cx, take),
        }
    }

    /// Takes after the task's waker was registered.
    fn poll_registered<T>(
        &self,
        cx: &mut Context<'_>,
        mut take: impl FnMut() -> Found<T>,
    ) -> Poll<Result<T, RecvError>> {
        if let Some(waiters) = self.core().pattern.recv_waiters() {
            waiters.register(cx.waker());
        }
        match take()? {
            Some(found) => Poll::Ready(Ok(found)),
            None => Poll::Pending,
        }
    }

    /// Takes what there is to take, or waits for it.
    async fn wait_for<T>(&self, mut take: impl FnMut() -> Found<T>) -> Result<T, RecvError> {
        match take()? {
            Some(found) => Ok(found),
            None => self.wait_on(take).await,
        }
    }

    /// Waits, after a look in vain, until there is something to take: with open eyes for a moment, if
    /// [`Options::spin`](super::Options::spin) says so, then asleep, until the receive timeout.
    async fn wait_on<T>(&self, mut take: impl FnMut() -> Found<T>) -> Result<T, RecvError> {
        let core = self.core();
        let direct = core.turn.is_direct();
        let wait = async {
            let since = core.spin.wait(direct);
            if let Some(found) = core.spin.until(&mut take, direct).await? {
                core.spin.waited(since);
                return Ok(found);
            }
            // The last look was just now: the next is worth its price only with the waker registered (REQ/REP over
            // inproc on one thread looked four times a message, now twice).
            let mut looked = true;
            let found = poll_fn(|cx| match std::mem::take(&mut looked) {
                true => self.poll_registered(cx, &mut take),
                false => self.poll_take(cx, &mut take),
            })
            .await;
            core.spin.waited(since);
            found
        };
        match self.options().recv_timeout {
            None => wait.await,
            Some(limit) => tokio::time::timeout(limit, wait)
                .await
                .unwrap_or(Err(RecvError::Timeout(limit))),
        }
    }
}
