//! Recordings: m_dump and the recorder alone beside `dd`, which writes the same bytes to the same disk.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::processes::{PATIENCE, Running, answer, spare_port};
use super::{DUMP, GENERATE, PEER};
use crate::bench::build::Programs;
use crate::bench::case::{Better, Heading, Metric, Outcome, metric};
use crate::bench::record::Report;
use crate::bench::turns::Turns;
use crate::bench::{OURS, RAW};
use crate::process;

const METRICS: [Metric; 1] = [metric("", "MB/s", Better::Higher, |outcome| {
    outcome.number("megabytes")
})];

/// One size of messages, one way to the disk.
#[derive(Clone, Debug)]
pub(super) struct DumpCase {
    pub(super) heading: Heading,
    /// Whether messages come through sockets.
    is_received: bool,
    /// `--sync` of m_dump.
    sync: &'static str,
    messages: usize,
}

/// Who writes.
enum Plan<'a> {
    Dump { generate: &'a Path, dump: &'a Path },
    Recorder(&'a Path),
    Dd,
}

/// Where it is written.
struct Disk {
    recording: PathBuf,
    /// The bytes of all messages.
    payload: PathBuf,
    /// Of ipc.
    socket: PathBuf,
}

/// Payload bytes of one recording.
fn total(quick: bool) -> usize {
    if quick { 256 << 20 } else { 2 << 30 }
}

pub(super) fn cases(quick: bool) -> Vec<DumpCase> {
    let mut cases = Vec::new();
    for sync in ["close", "never"] {
        for (name, transport, is_received) in [
            ("m_generate -> m_dump --record", "tcp", true),
            ("m_generate -> m_dump --record", "ipc", true),
            ("recorder alone", "memory", false),
        ] {
            for size in [1 << 20, 64 << 10] {
                cases.push(DumpCase {
                    heading: Heading {
                        group: "streams",
                        name: format!("{name}, sync {sync}"),
                        transport,
                        size,
                    },
                    is_received,
                    sync,
                    messages: total(quick) / size,
                });
            }
        }
    }
    cases
}

pub(super) fn rules(quick: bool, runs: usize) -> String {
    format!(
        "recordings: {} MiB of payload into one new file in the target folder, from the start of the program that \
         writes until it ends, {runs} runs; the disk is idle (`sync`) before each; raw is dd with blocks of the size of a \
         message, from a file with the same payload in the page cache. sync close: one fdatasync at the end, which m_dump \
         does unless told otherwise, and dd conv=fdatasync; sync never: none, and plain dd",
        total(quick) >> 20
    )
}

impl DumpCase {
    pub(super) fn hold(&self, programs: &Programs, runs: usize, folder: &Path, report: &mut Report) -> bool {
        let disk = match self.disk(folder) {
            Ok(disk) => disk,
            Err(error) => {
                report.miss(
                    &self.heading,
                    OURS,
                    &format!("no file to compare with: {error:#}"),
                );
                return false;
            }
        };
        let mut turns = Turns::new(&self.heading, &METRICS);
        let setting = format!("sync={}", self.sync);
        // Those that cannot be built were named then.
        match (self.is_received, programs.get(GENERATE), programs.get(DUMP)) {
            (true, Some(generate), Some(dump)) => {
                turns.enter(OURS, &setting, "m_dump's", Plan::Dump { generate, dump });
            }
            (false, ..) => {
                if let Some(peer) = programs.get(PEER) {
                    turns.enter(OURS, &setting, "the recorder's", Plan::Recorder(peer));
                }
            }
            _ => {}
        }
        let words = self.dd_words();
        turns.enter(RAW, &words.join(" "), "of dd", Plan::Dd);
        let is_measured = turns.take(runs, report, |plan| self.once(plan, &disk));
        for file in [disk.recording, disk.payload] {
            // What stays is overwritten the next time.
            let _ = fs::remove_file(file);
        }
        is_measured
    }

    fn disk(&self, folder: &Path) -> Result<Disk> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let payload = folder.join("dump.payload");
        // What m_generate and the peer send.
        let block: Vec<u8> = (0..self.heading.size).map(|index| (index % 251) as u8).collect();
        let mut file = BufWriter::new(File::create(&payload)?);
        for _ in 0..self.messages {
            file.write_all(&block)?;
        }
        file.flush()?;
        Ok(Disk {
            recording: folder.join("dump.fbr"),
            payload,
            // The name of a socket is short, and the folder's may be long.
            socket: std::env::temp_dir().join(format!("flexbond-bench-{}.sock", std::process::id())),
        })
    }

    fn dd_words(&self) -> Vec<String> {
        let mut words = vec![
            format!("bs={}", self.heading.size),
            format!("count={}", self.messages),
        ];
        if self.sync == "close" {
            words.push("conv=fdatasync".to_owned());
        }
        words
    }

    fn once(&self, plan: &Plan<'_>, disk: &Disk) -> Result<Outcome> {
        match fs::remove_file(&disk.recording) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        // What was written before is not written meanwhile.
        process::output(&mut Command::new("sync"))?;
        let seconds = match plan {
            Plan::Dump { generate, dump } => self.dump(generate, dump, disk)?,
            Plan::Recorder(peer) => self.record(peer, disk)?,
            Plan::Dd => {
                let mut command = Command::new("dd");
                command.args([input(&disk.payload), output(&disk.recording)]);
                let (_, seconds) = answer(command.args(self.dd_words()).arg("status=none"))?;
                seconds
            }
        };
        let payload = (self.heading.size * self.messages) as f64;
        let written = fs::metadata(&disk.recording)?.len();
        if (written as f64) < payload {
            bail!("only {written} bytes were written");
        }
        Ok(Outcome {
            measured: json!({ "megabytes": payload / 1e6 / seconds }),
            other: Value::Null,
        })
    }

    fn dump(&self, generate: &Path, dump: &Path, disk: &Disk) -> Result<f64> {
        let address = match self.heading.transport {
            "ipc" => format!("ipc://{}", disk.socket.display()),
            _ => format!("tcp://127.0.0.1:{}", spare_port()?),
        };
        let mut source = Command::new(generate);
        source.args(["-a", &address, "--size-bytes", &self.heading.size.to_string()]);
        let mut source = Running::start(source.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        // It listens when it says so, and ends when nobody reads what it says.
        let lines = source.lines()?;
        lines
            .recv_timeout(PATIENCE)
            .context("the generator says nothing")?;
        let mut command = Command::new(dump);
        command.args([&address, "--json", "--sync", self.sync, "--record"]);
        command.arg(&disk.recording);
        let (said, seconds) = answer(command.args(["-n", &self.messages.to_string()]))?;
        let summary = &said["summary"];
        if summary["recorded"] != self.messages || summary["lost_frames"] != 0 {
            bail!("not everything was recorded: {summary}");
        }
        Ok(seconds)
    }

    fn record(&self, peer: &Path, disk: &Disk) -> Result<f64> {
        let mut command = Command::new(peer);
        command.args([
            "record".to_owned(),
            format!("file={}", disk.recording.display()),
            format!("size={}", self.heading.size),
            format!("messages={}", self.messages),
            format!("sync={}", self.sync),
        ]);
        let (said, seconds) = answer(&mut command)?;
        if said["recorded"] != self.messages {
            bail!("not everything was recorded: {said}");
        }
        Ok(seconds)
    }
}

fn input(path: &Path) -> String {
    format!("if={}", path.display())
}

fn output(path: &Path) -> String {
    format!("of={}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dd_writes_as_much_and_as_safely_as_we_do() {
        for case in cases(false) {
            let words = case.dd_words();
            assert_eq!(words[0], format!("bs={}", case.heading.size));
            assert_eq!(case.heading.size * case.messages, total(false));
            assert_eq!(
                words.contains(&"conv=fdatasync".to_owned()),
                case.sync == "close",
                "{words:?}"
            );
        }
    }
}
