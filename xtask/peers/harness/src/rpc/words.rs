//! The command line of remote calls.

use std::time::Duration;

use crate::{Result, Role, Transport, Words};

/// Which calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// A number of loops that get back what they sent.
    Echo,
    /// One such loop, and the time of each of its calls.
    Sequential,
    /// One loop that sends an array.
    Take,
    /// One loop that gets an array.
    Give,
    /// One loop that sends an array and gets it back.
    Both,
    /// As many loops as may be, one of which waits for a call that takes its time.
    Slow,
    /// Connections that carried one call each, and then nothing.
    Idle,
}

/// The whole command line.
#[derive(Clone, Debug)]
pub struct Args {
    /// What the program does.
    pub role: Role,
    /// Which calls.
    pub traffic: Traffic,
    /// How the sides reach each other.
    pub transport: Transport,
    /// Where to bind, or to connect to.
    pub endpoint: String,
    /// Bytes of an argument or an answer.
    pub size: usize,
    /// Calls that are under way at once.
    pub in_flight: usize,
    /// Connections.
    pub peers: usize,
    /// How long traffic runs before it is measured.
    pub warmup: Duration,
    /// How long it is measured.
    pub window: Duration,
    /// The contender's setting, by name.
    pub setting: String,
}

impl Args {
    /// Reads the program's command line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read() -> Result<Args> {
        let (role, words) = Words::read()?;
        Self::parse(&role, words)
    }

    fn parse(role: &str, mut words: Words) -> Result<Args> {
        let role = match role {
            "list" => Role::List,
            "bind" => Role::Bind,
            "connect" => Role::Connect,
            "inproc" => Role::Inproc,
            other => return Err(format!("unknown role `{other}`").into()),
        };
        let traffic = match words.take::<String>("case")?.as_deref() {
            Some("echo") => Traffic::Echo,
            Some("sequential") => Traffic::Sequential,
            Some("take") => Traffic::Take,
            Some("give") => Traffic::Give,
            Some("both") => Traffic::Both,
            Some("slow") => Traffic::Slow,
            Some("idle") => Traffic::Idle,
            other => return Err(format!("unknown case {other:?}").into()),
        };
        let transport = match words.take::<String>("transport")?.as_deref() {
            None | Some("tcp") => Transport::Tcp,
            Some("ipc") => Transport::Ipc,
            Some("inproc") => Transport::Inproc,
            Some(other) => return Err(format!("unknown transport `{other}`").into()),
        };
        let args = Args {
            role,
            traffic,
            transport,
            endpoint: words.get("endpoint", String::new())?,
            size: words.get("size", 32)?,
            in_flight: words.get("in_flight", 1)?,
            peers: words.get("peers", 1)?,
            warmup: Duration::from_millis(words.get("warmup_ms", 150)?),
            window: Duration::from_millis(words.get("window_ms", 500)?),
            setting: words.get("setting", String::new())?,
        };
        // The bench says it to all; calls have a limit of their own.
        words.take::<usize>("hwm")?;
        words.finish()?;
        Ok(args)
    }

    /// Host and port of a `tcp://` endpoint.
    #[must_use]
    pub fn address(&self) -> &str {
        self.endpoint.trim_start_matches("tcp://")
    }
}
