//! A server with state: a log that all its callers share.

mod serving;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use flexbond_rpc::{AddError, Failure, Methods};
use serde::Deserialize;

const HELP: &str = r#"A log that all callers share: any of them adds to it, any of them reads it.

log_server [--bind ENDPOINT] [--keep N]

  --bind ENDPOINT  tcp://host:port, ipc:///path or ipc://@name; default: tcp://127.0.0.1:0,
                   any free port; the line "listening at ..." says which
  --keep N         entries that are kept; the oldest go when there are more; default: 10000

  add_log  {"log": "hello"}  adds an entry
  get_log  {"n": 100}        the last n entries, the oldest first; without n the last 5

Ctrl-C or SIGTERM lets running calls end, and prints a summary; a second one ends at once. In another terminal, with the endpoint printed:

  flexbond call tcp://127.0.0.1:PORT add_log '{"log": "hello"}'
  flexbond call tcp://127.0.0.1:PORT get_log"#;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = serving::Arguments::parse(HELP, &["--bind", "--keep"]);
    let log = Arc::new(Log::new(arguments.number("--keep", 10_000)));
    let methods = methods(&log).expect("the names are names, and differ");
    serving::end(serving::serve(methods, &arguments).await)
}

/// Entries, the newest last.
pub(crate) struct Log {
    entries: Mutex<VecDeque<String>>,
    keep: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddLog {
    log: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GetLog {
    #[serde(default = "five")]
    n: usize,
}

fn five() -> usize {
    5
}

impl Log {
    /// An empty log of at most so many entries.
    pub(crate) fn new(keep: usize) -> Self {
        Log {
            entries: Mutex::default(),
            keep,
        }
    }

    async fn add_log(self: Arc<Self>, entry: String) -> Result<(), Failure> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push_back(entry);
        while entries.len() > self.keep {
            entries.pop_front();
        }
        Ok(())
    }

    async fn get_log(self: Arc<Self>, n: usize) -> Result<Vec<String>, Failure> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = entries.len().saturating_sub(n);
        Ok(entries.iter().skip(skipped).cloned().collect())
    }
}

/// Methods on a value that all calls share.
pub(crate) fn methods(log: &Arc<Log>) -> Result<Methods, AddError> {
    let (adding, getting) = (Arc::clone(log), Arc::clone(log));
    let methods = Methods::new()
        .add("add_log", move |AddLog { log }| Arc::clone(&adding).add_log(log))?
        .describe("add_log", "(log: string) -> null", "adds an entry")
        .add("get_log", move |GetLog { n }| Arc::clone(&getting).get_log(n))?
        .describe(
            "get_log",
            "(n: usize = 5) -> [string]",
            "the last n entries, the oldest first",
        );
    Ok(methods)
}
