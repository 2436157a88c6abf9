//! A connection that is half made.

use std::fmt;
use std::pin::Pin;

use crate::{ConnectError, Connection};

/// Another machine that has answered, and whose application may still have to take part: what
/// [`Transport::reach`](crate::Transport::reach) hands out. Dropping it ends the connection.
///
/// ```
/// # #[cfg(feature = "tcp")] {
/// use flexbond_transport::{LinkOptions, Registry};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let (registry, options) = (Registry::standard(), LinkOptions::default());
/// // Nobody accepts.
/// let listener = registry.bind(&"tcp://127.0.0.1:0".parse()?, &options).await?;
/// let reached = registry.reach(listener.local_endpoint(), &options).await?;
/// let connection = reached.finish().await?;
/// assert_eq!(connection.peer, *listener.local_endpoint());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing more is done for the connection"]
pub struct Reached {
    rest: Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>,
}

impl Reached {
    /// Nothing is left to be done.
    pub fn complete(connection: Connection) -> Self {
        Reached::unfinished(std::future::ready(Ok(connection)))
    }

    /// What is left to be done: `rest`, which sets no time limit.
    pub fn unfinished(rest: impl Future<Output = Result<Connection, ConnectError>> + Send + 'static) -> Self {
        Reached { rest: Box::pin(rest) }
    }

    /// Does what is left. That takes as long as the other application lets it: there is no time limit but the caller's,
    /// and those that the [keepalive](crate::LinkOptions::keepalive) has set to the system.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// [`ConnectError`]; a retry is sound unless [`ConnectError::is_permanent`].
    pub async fn finish(self) -> Result<Connection, ConnectError> {
        self.rest.await
    }
}

impl fmt::Debug for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reached").finish_non_exhaustive()
    }
}
