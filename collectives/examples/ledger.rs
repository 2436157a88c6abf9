//! A party that keeps a ledger of what another party sends it, and after its own sudden end goes on where it was.
//!
//! `ledger CONFIG OTHER FILE`: CONFIG is the configuration of this party, OTHER the party that it talks with, which runs the
//! same program. Both send each other numbered entries until their standard inputs end. `cargo xtask soak` kills both, and
//! the message server between them, a thousand times.
//!
//! Each message is received once, whenever a program dies, because of three things:
//!
//! - the sender asks [`next_offset`](VariableChannel::next_offset) which entry is the next one;
//! - the receiver says by [`resume_at`](VariableChannel::resume_at) how many entries its ledger has;
//! - it writes an entry down right after it has received it, before anything is awaited, on a runtime of one thread. The
//!   background tells the sender after that at the earliest that the entry is received. So an entry may come that is in
//!   the ledger already, which the second thing prevents, and none is lost.
//!
//! It prints a JSON object a line:
//!
//! | line | when |
//! | --- | --- |
//! | `{"next":17}` | it begins with so many entries in its ledger |
//! | `{"first":12}` | it goes on to send with this entry |
//! | `{"received":64}` | now and then |
//! | `{"sent":170,"received":180}` | it is done: both inputs have ended, and all has arrived |
//! | `{"error":"…"}` | an entry is not the one that comes next; it ends with status 1 |

use std::env;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flexbond_collectives::federation::{ChannelError, Config, Federation, VariableChannel};
use futures_util::future::try_join;

/// Bytes of a line of the ledger: a number of 20 digits and the line's end.
const LINE: u64 = 21;
/// How many entries are received between two lines of output.
const OFTEN: u64 = 32;

/// An entry: its number, whether it is the last one, and its content.
type Entry = (u64, bool, String);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&serde_json::json!({ "error": error.to_string() }));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(config), Some(other), Some(file)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: ledger CONFIG OTHER FILE".into());
    };
    let has_ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&has_ended);
    std::thread::spawn(move || {
        // Whatever comes, and however it ends: that it ended is the message.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, Ordering::Release);
    });
    let ledger = Ledger::open(file.as_ref())?;
    say(&serde_json::json!({ "next": ledger.next }));
    let federation = Federation::connect(Config::from_file(config)?).await?;
    let channel = federation.variable("ledger", &other)?;
    let local = federation.local_id().clone();
    let (sent, received) = try_join(
        give(&channel, local.as_str(), &has_ended),
        take(&channel, &other, ledger),
    )
    .await?;
    federation.close().await;
    say(&serde_json::json!({ "sent": sent, "received": received }));
    Ok(())
}

/// Sends entries until the input has ended; how many there are in all.
async fn give(channel: &VariableChannel, local: &str, has_ended: &AtomicBool) -> Result<u64, Box<dyn Error>> {
    let mut number = loop {
        match channel.next_offset().await {
            Err(ChannelError::Timeout { .. }) => {}
            position => break position?,
        }
    };
    say(&serde_json::json!({ "first": number }));
    loop {
        let is_last = has_ended.load(Ordering::Acquire);
        let entry: Entry = (number, is_last, content(local, number));
        match channel.send(&entry).await {
            // It has sent nothing.
            Err(ChannelError::Timeout { .. }) => continue,
            sent => sent?,
        }
        number += 1;
        if is_last {
            return Ok(number);
        }
    }
}

/// Writes down what comes until the last entry; how many there are in all.
async fn take(channel: &VariableChannel, other: &str, mut ledger: Ledger) -> Result<u64, Box<dyn Error>> {
    channel.resume_at(ledger.next)?;
    loop {
        let (offset, (number, is_last, text)) = match channel.recv_numbered::<Entry>().await {
            Err(ChannelError::Timeout { .. }) => continue,
            received => received?,
        };
        // Nothing is awaited before it is written down.
        if (offset, number) != (ledger.next, ledger.next) {
            let next = ledger.next;
            return Err(format!("{next} was to come, and {number} came as message {offset}").into());
        }
        if text != content(other, number) {
            return Err(format!("the content of {number} is not what {other} has sent").into());
        }
        ledger.add()?;
        if ledger.next.is_multiple_of(OFTEN) {
            say(&serde_json::json!({ "received": ledger.next }));
        }
        if is_last {
            return Ok(ledger.next);
        }
    }
}

/// What a party sends as its entry of this number; now and then much.
fn content(party: &str, number: u64) -> String {
    let times = match number % 97 {
        96 => 20_000,
        _ => number * 31 % 300,
    };
    format!("{party} {number:06} ").repeat(usize::try_from(times).unwrap_or(0))
}

/// A file with a line for each entry.
struct Ledger {
    file: File,
    next: u64,
}

impl Ledger {
    /// What a process that was killed has left of its last line goes.
    fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        let next = file.metadata()?.len() / LINE;
        file.set_len(next * LINE)?;
        if let Some(last) = next.checked_sub(1) {
            let mut line = [0; LINE as usize];
            file.seek(SeekFrom::Start(last * LINE))?;
            file.read_exact(&mut line)?;
            if line != *line_of(last).as_bytes() {
                return Err(format!("{} is no ledger", path.display()).into());
            }
        }
        Ok(Ledger { file, next })
    }

    /// In one call of the system, so that it is there when it returns, also for who comes after a killed process.
    fn add(&mut self) -> io::Result<()> {
        self.file.write_all(line_of(self.next).as_bytes())?;
        self.next += 1;
        Ok(())
    }
}

fn line_of(number: u64) -> String {
    format!("{number:020}\n")
}

fn say(line: &serde_json::Value) {
    let mut out = io::stdout().lock();
    // Whoever has read it may be gone.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
