//! Federated parties whose calls simply wait.

mod broadcast;
mod variable;

use std::fmt;
use std::time::Duration;

pub use self::broadcast::BroadcastChannel;
pub use self::variable::VariableChannel;
use super::CallError;
use super::runtime::{enter, wait};
use crate::collectives::federation::{
    self, Carrier, Config, ConnectError, DirectCarrier, DirectError, JoinError, OpenError, Over,
};

/// A party that takes part in a job; see [`federation::Federation`] for its rules.
///
/// ```
/// use std::thread;
/// use std::time::Duration;
///
/// use flexbond::blocking::Federation;
/// use flexbond::collectives::federation::{Config, MemoryNetwork, Role};
///
/// let config = |local: &str| -> Result<Config, Box<dyn std::error::Error>> {
///     Ok(Config::new("job".parse()?, local.parse()?)
///         .member("a".parse()?, Role::Guest)
///         .member("b".parse()?, Role::Host))
/// };
/// let network = MemoryNetwork::new();
/// let a = Federation::join(config("a")?, network.carrier("a".parse()?))?;
/// let b = Federation::join(config("b")?, network.carrier("b".parse()?))?;
///
/// let other = thread::spawn(move || b.variable("x", "a").unwrap().swap::<_, String>(&5).unwrap());
/// let five: i32 = a.variable("x", "b")?.swap("from a")?;
/// assert_eq!((five, other.join().unwrap().as_str()), (5, "from a"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Federation {
    inner: federation::Federation,
}

impl Federation {
    /// Takes part in the job of `config`. Never waits.
    ///
    /// # Errors
    /// [`JoinError`] within [`CallError`], for a configuration that does not fit together.
    pub fn join(config: Config, carrier: impl Carrier) -> Result<Self, CallError<JoinError>> {
        let _background = enter()?;
        Ok(Federation {
            inner: federation::Federation::join(config, carrier)?,
        })
    }

    /// Takes part in the job of `config`, in the mode that it asks for: by its `server` if it has one, else directly by its
    /// `addresses`. Who is not there yet is not waited for.
    ///
    /// # Errors
    /// [`ConnectError`] within [`CallError`] says which key of the configuration is wrong.
    pub fn connect(config: Config) -> Result<Self, CallError<ConnectError>> {
        let inner = wait(federation::Federation::connect(config))??;
        Ok(Federation { inner })
    }

    /// Listens at this party's address in the configuration, and connects to all others. What it returns is for
    /// [`join`](Federation::join).
    ///
    /// # Errors
    /// [`DirectError`] within [`CallError`].
    pub fn direct(config: &Config) -> Result<DirectCarrier, CallError<DirectError>> {
        Ok(wait(DirectCarrier::from_config(config))??)
    }

    /// The same party for asynchronous code, which has all that never waits, too. Its work is done on the background
    /// thread.
    #[must_use]
    pub fn as_async(&self) -> &federation::Federation {
        &self.inner
    }

    /// Waits until all parties see each other, at most `timeout`.
    ///
    /// # Errors
    /// [`JoinError`] within [`CallError`] says who is missing.
    pub fn ready(&self, timeout: Duration) -> Result<(), CallError<JoinError>> {
        Ok(wait(self.inner.ready(timeout))??)
    }

    /// The channel of this name to another party.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn variable(
        &self,
        name: impl AsRef<str>,
        remote: impl AsRef<str>,
    ) -> Result<VariableChannel, OpenError> {
        Ok(VariableChannel::new(self.inner.variable(name, remote)?))
    }

    /// The channel of this name between a root and a group, of which this party is one.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn broadcast<G>(
        &self,
        name: impl AsRef<str>,
        root: impl AsRef<str>,
        group: G,
    ) -> Result<BroadcastChannel, OpenError>
    where
        G: IntoIterator<Item: AsRef<str>>,
    {
        Ok(BroadcastChannel::new(self.inner.broadcast(name, root, group)?))
    }

    /// Ends the job for all parties, with a reason. Never waits.
    pub fn abort(&self, reason: impl Into<String>) {
        self.inner.abort(reason);
    }

    /// Waits until the job is over for this party, and says why.
    ///
    /// # Errors
    /// [`CallError::AsyncContext`] and [`CallError::Runtime`].
    pub fn over(&self) -> Result<Over, CallError<JoinError>> {
        wait(self.inner.over())
    }

    /// Leaves the job in good order: waits until the other parties have what was sent to them, within the linger.
    ///
    /// # Errors
    /// [`CallError::AsyncContext`] and [`CallError::Runtime`].
    pub fn close(&self) -> Result<(), CallError<JoinError>> {
        wait(self.inner.close())
    }
}

impl fmt::Debug for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
