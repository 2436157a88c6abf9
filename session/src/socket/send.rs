//! Sending on a socket of any pattern.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use flexbond_transport::Message;

use super::pattern::{Reach, Unsent};
use super::{SendError, SendErrorKind, Socket};

impl Socket {
    /// Sends a message: hands it to the queue of the peer or peers that the pattern chooses, and waits while none
    /// has room, for at most [`Options::send_timeout`](super::Options::send_timeout).
    ///
    /// # Errors
    /// [`SendError`], with the message in it: nothing of it was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing of the message was or will be sent.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let mut message = message.into();
        // Before the message is taken, so that it cannot be both queued and reported as cancelled.
        let core = self.core();
        if core.turn.is_over() {
            core.turn.pass().await;
        }
        match self.send_now(&mut message) {
            Ok(()) => Ok(()),
            Err(Unsent::Failed(kind)) => Err(SendError::new(kind, message)),
            Err(Unsent::Full) => match self.send_later(&mut message).await {
                Ok(()) => Ok(()),
                Err(kind) => Err(SendError::new(kind, message)),
            },
        }
    }

    /// Waits until the message could be sent, for at most the send timeout. Until then it stays as it is.
    async fn send_later(&self, message: &mut Message) -> Result<(), SendErrorKind> {
        let sent = poll_fn(|cx| self.poll_send_now(cx, message));
        match self.options().send_timeout {
            None => sent.await,
            Some(limit) => tokio::time::timeout(limit, sent)
                .await
                .unwrap_or(Err(SendErrorKind::Timeout(limit))),
        }
    }

    /// Sends the messages in `messages`, in order, and takes each one out once it was queued: what a loop of
    /// [`send`](Self::send) does, but what a cancelled call has not sent is still there.
    ///
    /// # Errors
    /// [`SendError`] with the message that could not be sent; those behind it are still in `messages`. The send
    /// timeout counts for each wait.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, what was not sent is still in `messages`.
    pub async fn send_many(&self, messages: &mut VecDeque<Message>) -> Result<(), SendError> {
        let core = self.core();
        while let Some(message) = messages.front_mut() {
            if core.turn.is_over() {
                core.turn.pass().await;
            }
            let sent = match self.send_now(message) {
                Ok(()) => Ok(()),
                Err(Unsent::Failed(kind)) => Err(kind),
                Err(Unsent::Full) => self.send_later(message).await,
            };
            // Only now: a call that is given up while it waits leaves the message where it was.
            let message = messages.pop_front().unwrap_or_default();
            sent.map_err(|kind| SendError::new(kind, message))?;
        }
        Ok(())
    }

    /// Sends a message if that is possible without waiting.
    ///
    /// # Errors
    /// [`SendErrorKind::WouldBlock`] if nobody has room now; the message is in the error.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let mut message = message.into();
        self.send_now(&mut message).map_err(|unsent| match unsent {
            Unsent::Full => SendError::new(SendErrorKind::WouldBlock, message),
            Unsent::Failed(kind) => SendError::new(kind, message),
        })
    }

    /// Polls for sending. Takes the message out of `message` when it was queued or cannot be sent at all; leaves it
    /// there while nobody has room, and wakes the context's task when that may have changed.
    pub fn poll_send(
        &self,
        cx: &mut Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), SendError>> {
        let Some(current) = message else {
            return Poll::Ready(Ok(()));
        };
        let sent = ready!(self.poll_send_now(cx, current));
        let message = message.take().unwrap_or_default();
        Poll::Ready(sent.map_err(|kind| SendError::new(kind, message)))
    }

    /// Sends now or, with the task's waker registered, after all. A message that was sent may be left changed.
    fn poll_send_now(&self, cx: &mut Context<'_>, message: &mut Message) -> Poll<Result<(), SendErrorKind>> {
        for last_look in [false, true] {
            match self.send_now(message) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(Unsent::Failed(kind)) => return Poll::Ready(Err(kind)),
                Err(Unsent::Full) => {}
            }
            if let (false, Some(waiters)) = (last_look, self.core().pattern.send_waiters()) {
                waiters.register(cx.waker());
            }
        }
        Poll::Pending
    }

    #[inline]
    fn send_now(&self, message: &mut Message) -> Result<(), Unsent> {
        let core = self.core();
        if core.is_closed() {
            return Err(self.failed(SendErrorKind::Closed));
        }
        if message.is_empty() {
            return Err(self.failed(SendErrorKind::Incomplete(false)));
        }
        let size = message.size();
        match core.pattern.try_send(message) {
            Ok(reach) => {
                core.turn.spend(size, reach);
                Ok(())
            }
            Err(Unsent::Full) => Err(Unsent::Full),
            Err(Unsent::Failed(kind)) => Err(self.failed(kind)),
        }
    }

    /// Whoever tries again and again what fails must let others run, too.
    #[cold]
    fn failed(&self, kind: SendErrorKind) -> Unsent {
        self.core().turn.spend(0, Reach::Some);
        Unsent::Failed(kind)
    }
}
