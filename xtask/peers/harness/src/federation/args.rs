//! The command line of a server and of its parties.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Result, Words};

/// What the program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Lists the settings.
    List,
    /// Is the server, or one of several.
    Serve,
    /// Has parties in it.
    Party,
}

/// What the parties do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Each two parties of a job give each other values.
    Swap,
    /// Each party gives values to the next one, and takes those of the one before.
    Ring,
    /// Party 0 sends, party 1 receives.
    Flow,
    /// Party 0 sends a large value, party 1 says when it has it.
    Tensor,
    /// Party 0 sends so many messages to party 1, which is not there, and leaves.
    Store,
}

/// The whole command line.
#[derive(Clone, Debug)]
pub struct Args {
    /// What the program does.
    pub role: Role,
    /// What the parties do.
    pub traffic: Traffic,
    /// Where the server listens; where the parties find it.
    pub endpoint: String,
    /// Of a server that serves party 0 of each job: the server of the others, where there are two.
    pub next: Option<String>,
    /// Bytes of a value.
    pub size: usize,
    /// Channels between two parties, with a loop for each.
    pub in_flight: usize,
    /// Parties of a job.
    pub parties: usize,
    /// Jobs.
    pub jobs: usize,
    /// Messages to be stored.
    pub messages: usize,
    /// Which of the processes this is; party `n` of a job is in process `n % processes`.
    pub process: usize,
    /// How many processes there are.
    pub processes: usize,
    /// Bytes of one direction between two parties that may be on their way.
    pub room: usize,
    /// Whether the server keeps messages on disk.
    pub is_durable: bool,
    /// For files.
    pub folder: PathBuf,
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
            "serve" => Role::Serve,
            "party" => Role::Party,
            other => return Err(format!("unknown role `{other}`").into()),
        };
        let traffic = match words.take::<String>("case")?.as_deref() {
            Some("swap") => Traffic::Swap,
            Some("ring") => Traffic::Ring,
            Some("flow") => Traffic::Flow,
            Some("tensor") => Traffic::Tensor,
            Some("store") => Traffic::Store,
            other => return Err(format!("unknown case {other:?}").into()),
        };
        let args = Args {
            role,
            traffic,
            endpoint: words.get("endpoint", String::new())?,
            next: words.take("next")?,
            size: words.get("size", 1024)?,
            in_flight: words.get("in_flight", 1)?,
            parties: words.get("parties", 2)?,
            jobs: words.get("jobs", 1)?,
            messages: words.get("messages", 0)?,
            process: words.get("process", 0)?,
            processes: words.get("processes", 1)?,
            room: words.get("room", 32 << 20)?,
            is_durable: words.get("durable", false)?,
            folder: words.get("folder", std::env::temp_dir())?,
            warmup: Duration::from_millis(words.get("warmup_ms", 100)?),
            window: Duration::from_millis(words.get("window_ms", 400)?),
            setting: words.get("setting", String::new())?,
        };
        // The bench says these to all.
        words.take::<usize>("hwm")?;
        words.take::<String>("transport")?;
        words.finish()?;
        if args.processes == 0 || args.parties < 2 || args.jobs == 0 || args.in_flight == 0 {
            return Err("there is nobody, or nothing to do".into());
        }
        Ok(args)
    }

    /// Host and port of the endpoint.
    #[must_use]
    pub fn address(&self) -> &str {
        self.endpoint.trim_start_matches("tcp://")
    }

    /// The parties of each job that this process has.
    pub fn own(&self) -> impl Iterator<Item = usize> {
        (self.process..self.parties).step_by(self.processes)
    }
}
