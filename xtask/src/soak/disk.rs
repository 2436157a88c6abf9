//! Full disks where files are written: a clear error, and what was kept is readable.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::killed::{messages_in, source};
use super::program::{Program, Reader};
use super::stage::{PATIENCE, Stage};
use crate::process;

/// The size of a disk.
const DISK: &str = "4m";

/// How a disk is made to be full.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Full {
    /// A small one of its own, which takes the right to mount.
    Disk(&'static [&'static str]),
    /// The most that a file of the process may have.
    File,
}

pub(super) fn run(stage: &mut Stage<'_>) -> Result<()> {
    let fulls = [disk(), Some(Full::File)];
    if fulls[0].is_none() {
        stage.note("no right to mount a small disk: with the limit of a file's size alone");
    }
    let (address, mut source) = source(stage, &["--count", "100000000"])?;
    let mut recordings = 0;
    loop {
        for full in fulls.into_iter().flatten() {
            record(stage, full, &address, &["--compression", "none"])?;
            record(stage, full, &address, &["--sync", "20"])?;
            record(stage, full, &address, &["--rotate-size", "900K"])?;
            record(stage, full, &address, &["--overflow", "drop", "--buffer", "1M"])?;
            recordings += 4;
        }
        if let Some(full) = fulls[0] {
            folder(stage, full, &address)?;
            receive(stage, full)?;
        }
        if !stage.clock.goes_on() {
            break;
        }
    }
    ensure!(!source.is_gone(), "the source did not survive its receivers");
    source.signal("INT")?;
    source.end(PATIENCE)?;
    // One that is unreadable, or has other messages than was said, ends the case.
    stage.at_least("recordings that met a full disk", f64::from(recordings), 1.0);
    Ok(())
}

/// A disk of one's own, if that may be.
fn disk() -> Option<Full> {
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    ways.into_iter().find_map(|way| {
        let mut command = Command::new("unshare");
        command
            .args(way)
            .args(["sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]);
        process::succeeds(&mut command).then_some(Full::Disk(way))
    })
}

/// Starts `flexbond` with `arguments` where `folder/disk` is a disk that is soon full. When it has ended, what is on that
/// disk is in `folder/kept`.
fn start(stage: &Stage<'_>, full: Full, folder: &Path, arguments: &[&str]) -> Result<Program> {
    let (disk, kept) = (folder.join("disk"), folder.join("kept"));
    fs::create_dir_all(&disk)?;
    let mut command = match full {
        Full::Disk(way) => {
            let mut command = Command::new("unshare");
            // The disk is gone with its last process: what it holds is copied first.
            let script = format!(
                "mount -t tmpfs -o size={DISK} tmpfs \"$1\" || exit 99; kept=$2; disk=$1; shift 2; \
                 \"$@\"; code=$?; cp -r \"$disk\" \"$kept\"; exit $code"
            );
            command
                .args(way)
                .args(["sh", "-c", &script, "sh"])
                .arg(&disk)
                .arg(&kept);
            command
        }
        Full::File => {
            let mut command = Command::new("sh");
            // A few megabytes, whatever this shell counts in.
            let script = "trap '' XFSZ; ulimit -f 3000; kept=$2; disk=$1; shift 2; \
                          \"$@\"; code=$?; mv \"$disk\" \"$kept\"; exit $code";
            command.args(["-c", script, "sh"]).arg(&disk).arg(&kept);
            command
        }
    };
    command.arg(stage.flexbond_path()).args(arguments);
    stage.start(command, Reader::Present)
}

/// A recording ends with an error that says why, and a summary that says how much; so much is readable.
fn record(stage: &Stage<'_>, full: Full, address: &str, how: &[&str]) -> Result<()> {
    let folder = stage.folder("record")?;
    let file = folder.join("disk/a.fbr");
    let file = file.to_string_lossy();
    let mut arguments = vec!["dump", address, "--record", &*file];
    arguments.extend(how);
    if full == Full::File && how.contains(&"--rotate-size") {
        // No file grows to that limit.
        arguments.extend(["-n", "60"]);
        let mut recorder = start(stage, full, &folder, &arguments)?;
        return recorder.ends_with(0, PATIENCE);
    }
    let mut recorder = start(stage, full, &folder, &arguments)?;
    ended_full(&mut recorder)?;
    let kept = kept(&recorder.output.take())?;
    let readable = messages_in(stage, &folder.join("kept/a.fbr").to_string_lossy())?;
    ensure!(
        kept == readable && kept > 0,
        "{kept} messages are said to be kept, {readable} are readable ({how:?})"
    );
    Ok(())
}

/// A folder has whole messages only.
fn folder(stage: &Stage<'_>, full: Full, address: &str) -> Result<()> {
    let folder = stage.folder("folder")?;
    let target = folder.join("disk/f");
    let mut dump = start(
        stage,
        full,
        &folder,
        &["dump", address, &target.to_string_lossy()],
    )?;
    ended_full(&mut dump)?;
    let kept = kept(&dump.output.take())?;
    let files = fs::read_dir(folder.join("kept/f"))?.count() as u64;
    ensure!(files == kept * 2, "{kept} messages of 2 parts are {files} files");
    Ok(())
}

/// Who receives files from a group says so, to the sender as well; no half file has the name of a whole one.
fn receive(stage: &Stage<'_>, full: Full) -> Result<()> {
    let folder = stage.folder("receive")?;
    let big = folder.join("big");
    fs::write(&big, vec![7; 12 << 20])?;
    let mut sender = stage.flexbond(&[
        "group",
        "send",
        "udp://127.0.0.1:0",
        &big.to_string_lossy(),
        "--receivers",
        "1",
    ])?;
    let endpoint = endpoint_in(&sender)?;
    let target = folder.join("disk");
    let mut receiver = start(
        stage,
        full,
        &folder,
        &["group", "recv", &endpoint, &target.to_string_lossy()],
    )?;
    let status = receiver.end(PATIENCE)?;
    ensure!(status.code() == Some(1), "{status} {}", receiver.troubles());
    ensure!(
        receiver.troubles().contains("No space left"),
        "no reason {}",
        receiver.troubles()
    );
    ensure!(
        !folder.join("kept/big").exists(),
        "half a file has the name of a whole one"
    );
    let status = sender.end(PATIENCE)?;
    ensure!(!status.success(), "the sender takes it for done");
    Ok(())
}

/// The endpoint that a sender says it is at, on either output.
fn endpoint_in(sender: &Program) -> Result<String> {
    let line = sender
        .says("://", Duration::from_secs(2))
        .or_else(|_| sender.reports("://", PATIENCE))?;
    let endpoint = line.split_whitespace().find(|word| word.contains("://"));
    let endpoint = endpoint.with_context(|| format!("no endpoint in `{line}`"))?;
    Ok(endpoint.trim_end_matches([',', ';', '.', ':']).to_owned())
}

fn ended_full(program: &mut Program) -> Result<()> {
    program.ends_with(1, PATIENCE)?;
    let said = program.troubles();
    ensure!(
        said.contains("No space left") || said.contains("File too large"),
        "no reason {said}"
    );
    Ok(())
}

/// The number in the line `Kept: 79 messages in 2 files` of a summary.
fn kept(lines: &[String]) -> Result<u64> {
    lines
        .iter()
        .find_map(|line| line.strip_prefix("Kept: "))
        .and_then(|line| line.split(' ').next())
        .and_then(|number| number.replace(',', "").parse().ok())
        .with_context(|| format!("no summary in {lines:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_was_kept() {
        let lines = ["Received: ...", "Kept: 1,079 messages in 2 files"].map(str::to_owned);
        assert_eq!(kept(&lines).unwrap(), 1079);
        assert!(kept(&lines[..1]).is_err());
    }
}
