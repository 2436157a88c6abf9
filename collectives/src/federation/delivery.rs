//! A message that its receiver acknowledges when it has done with it what it got it for.

use std::fmt;
use std::ops::Deref;

use super::driver::now;
use super::line::Line;

/// A message that was received and not acknowledged: its sender, or whoever keeps it for its sender, keeps it until
/// [`ack`](Delivery::ack).
///
/// One that is dropped without that is given again to the next who receives on this channel and asks for its tag, before
/// all that came behind it. When this program dies, it is given to the next process. So a program that writes down what it
/// has received and acknowledges it then has each message at least once; if it writes down
/// [`offset`](Delivery::offset) as well and says [`resume_at`](super::VariableChannel::resume_at) when it starts, once.
///
/// Several may be held at a time, and acknowledged in any order. All count towards the channel's window, so that whoever
/// holds many keeps the sender waiting. One whose [time to live](super::Limits::ttl) ends while it is held can still be
/// acknowledged; if it is dropped without that, it has expired.
///
/// An acknowledgement is sent in the background: acknowledge before [`Federation::close`](super::Federation::close), which
/// waits for it. After the end of the federation it has no effect.
///
/// ```
/// use flexbond_collectives::federation::{ChannelError, VariableChannel};
///
/// /// Takes orders until none comes, and loses none, whenever it dies.
/// async fn keep(orders: &VariableChannel, journal: &mut impl std::io::Write) -> std::io::Result<()> {
///     while let Ok(order) = orders.recv_delivery::<String>().await {
///         writeln!(journal, "{} {}", order.offset(), *order)?;
///         journal.flush()?;
///         order.ack();
///     }
///     Ok(())
/// }
/// ```
#[must_use = "a message that is dropped without `ack` is given again to the next who receives"]
pub struct Delivery<T> {
    value: T,
    receipt: Receipt,
}

/// What stands for a message that is still kept.
pub(super) struct Receipt {
    line: Line,
    peer: usize,
    epoch: Option<u64>,
    offset: u64,
    is_open: bool,
}

impl<T> Delivery<T> {
    pub(super) fn new(value: T, receipt: Receipt) -> Self {
        Delivery { value, receipt }
    }

    /// The message's number in its channel and direction.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.receipt.offset
    }

    /// Says that this program needs the message no more: it does not come again, and its sender hears that it was
    /// received. Never waits.
    pub fn ack(self) -> T {
        self.receipt.ack();
        self.value
    }
}

impl<T> Deref for Delivery<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Delivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("offset", &self.offset())
            .field("value", &self.value)
            .finish()
    }
}

impl Receipt {
    pub(super) fn new(line: Line, peer: usize, epoch: Option<u64>, offset: u64) -> Self {
        Receipt {
            line,
            peer,
            epoch,
            offset,
            is_open: true,
        }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn ack(mut self) {
        self.is_open = false;
        let message = (self.epoch, self.offset);
        self.line.federation.shared().with(|state| {
            state.node.acknowledge(self.peer, &self.line.key, message);
        });
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if self.is_open {
            let message = (self.epoch, self.offset);
            self.line.federation.shared().with(|state| {
                state.node.give_back(now(), self.peer, &self.line.key, message);
            });
        }
    }
}
