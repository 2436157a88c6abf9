//! `flexbond record info` and `flexbond record verify`: what recordings hold, and whether it is whole.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::failure::{explain, note};
use crate::cli::gauge::say;
use crate::cli::printable::printable;
use crate::cli::{Exit, Failure, quantity};
use crate::stream::recording::{
    Compression, Damage, Folder, FolderError, FolderExtent, FolderReport, Info, OpenError, Recording,
    SourceError, Timestamp, numbered_files,
};

/// Say what recordings hold: messages, bytes, times, whether they were closed.
///
/// Fast, whatever their length; damage is found by `flexbond record verify`. A file that was not closed is read up to
/// its last whole message. Of a folder, bytes are the sizes of its files, and times their modification times: those of
/// the headers (000000_000.raw), as when it is replayed; a copy of the folder may have other ones. Exit code 1: one of them cannot be read, or files of a rotated recording are missing.
#[derive(Args)]
pub(super) struct Look {
    /// Recording files, names of rotated recordings, folders of m_dump
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// One JSON object a line for each file; times are nanoseconds since 1970
    #[arg(long)]
    json: bool,
}

/// Read recordings from end to end and check every byte.
///
/// Exit codes: 0 all are whole, 1 one is damaged, ends in the middle, was not closed, lacks parts or cannot be read.
/// Messages that the recorder was allowed to drop are told, and are no damage.
#[derive(Args)]
pub(super) struct Verify {
    /// Recording files, names of rotated recordings, folders of m_dump
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// One JSON object a line for each file; times are nanoseconds since 1970
    #[arg(long)]
    json: bool,
}

impl Look {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        every(&self.files, |path, missing| {
            if path.is_dir() {
                let folder = Folder::open(path).map_err(|error| explain(&error))?;
                let extent = folder.extent().map_err(|error| explain(&error))?;
                show_folder(path, folder.report(), &extent, self.json, None);
            } else {
                let info = Info::read(path).map_err(|error| unreadable(path, &error))?;
                show(path, &info, self.json, false, missing);
            }
            Ok(true)
        })
    }
}

impl Verify {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        every(&self.files, |path, missing| {
            if path.is_dir() {
                return verify_folder(path, self.json);
            }
            let info = Info::verify(path).map_err(|error| unreadable(path, &error))?;
            show(path, &info, self.json, true, missing);
            Ok(is_whole(&info))
        })
    }
}

fn is_whole(info: &Info) -> bool {
    info.damaged == 0 && info.bytes_lost == 0 && info.closed_cleanly
}

/// Looks at every file; a failure of one does not keep the others from being looked at. `look` is told what is missing
/// before the file, and says whether it is whole.
fn every(
    files: &[PathBuf],
    look: impl Fn(&Path, &[SourceError]) -> Result<bool, String>,
) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for named in files {
        let mut numbered = Vec::new();
        if !named.exists() {
            numbered = numbered_files(named).unwrap_or_default();
        }
        let rotated = !numbered.is_empty();
        if !rotated {
            numbered.push(named.clone());
        }
        // That no file of it can be read is said of each.
        let mut missing = match rotated {
            true => {
                Recording::open(named).map_or_else(|_| Vec::new(), |mut recording| recording.missing_files())
            }
            false => Vec::new(),
        };
        missing.retain(|error| !matches!(error, SourceError::Open { .. }));
        for path in &numbered {
            match look(path, &missing) {
                Ok(true) => {}
                Ok(false) => exit = Exit::Failed,
                Err(error) => {
                    note(&error);
                    exit = Exit::Failed;
                }
            }
        }
        missing.iter().for_each(|error| note(&explain(error)));
        if !missing.is_empty() {
            exit = Exit::Failed;
        }
    }
    Ok(exit)
}

fn unreadable(path: &Path, error: &OpenError) -> String {
    format!("{}: {}", path.display(), explain(error))
}

fn show(path: &Path, info: &Info, json: bool, verified: bool, missing: &[SourceError]) {
    if json {
        let mut value = info.to_json();
        value["path"] = path.display().to_string().into();
        let before = missing.iter().find_map(|error| match error {
            SourceError::MissingMessages {
                first,
                last,
                path: next,
            } if next == path => Some(json!([first, last])),
            _ => None,
        });
        // Of the messages between the files of a rotated recording, the first and the last number.
        value["missing_before"] = before.unwrap_or_default();
        if verified {
            value["whole"] = is_whole(info).into();
        }
        say(&value.to_string());
        return;
    }
    say(&printable(&path.display().to_string()));
    for (label, value) in lines(info, verified) {
        say(&format!("  {label:<15}{value}"));
    }
}

fn lines(info: &Info, verified: bool) -> Vec<(&'static str, String)> {
    let span = match (info.first_time, info.last_time) {
        (Some(first), Some(last)) => last.since(first).as_secs_f64(),
        _ => 0.0,
    };
    let numbers = match (info.first_number, info.last_number) {
        (Some(first), Some(last)) => format!(" (number {first} to {last})"),
        _ => String::new(),
    };
    let mut lines = vec![
        (
            "messages",
            format!("{}{numbers}", quantity::grouped(info.messages)),
        ),
        (
            "bytes",
            format!(
                "{}, in a file of {}",
                quantity::grouped(info.bytes),
                quantity::grouped(info.file_size)
            ),
        ),
    ];
    if let (Some(first), Some(last)) = (info.first_time, info.last_time) {
        lines.push(("first message", first.to_string()));
        let rates = if span > 0.0 {
            format!(
                " ({span:.3} s later: {}, {}/s)",
                quantity::rate(info.messages.saturating_sub(1) as f64 / span),
                quantity::bytes(info.bytes as f64 / span)
            )
        } else {
            String::new()
        };
        lines.push(("last message", format!("{last}{rates}")));
    }
    lines.push((
        "closed",
        if info.closed_cleanly {
            "cleanly".to_owned()
        } else {
            format!(
                "no: whoever wrote it is still writing, or died; {} bytes at the end belong to no whole message",
                quantity::grouped(info.bytes_lost)
            )
        },
    ));
    let compression = info.compression.map_or("unknown", Compression::name);
    lines.push(("compression", compression.to_owned()));
    lines.push((
        "gaps",
        match info.gaps {
            0 => "none".to_owned(),
            gaps => format!(
                "{} missing: dropped when recording, or damaged",
                quantity::messages(gaps)
            ),
        },
    ));
    lines.push((
        "damage",
        match (info.damaged, verified) {
            (0, true) => "none, every byte was read".to_owned(),
            (0, false) => "none seen (flexbond record verify reads everything)".to_owned(),
            (places, _) => format!(
                "in {} {}: {}",
                quantity::grouped(places),
                if places == 1 { "place" } else { "places" },
                named(info)
            ),
        },
    ));
    lines
}

/// Where the first damaged places are.
fn named(info: &Info) -> String {
    let place = |damage: &Damage| match damage.number {
        Some(number) => format!("offset {} (message {number})", damage.offset),
        None => format!("offset {}", damage.offset),
    };
    let mut places: Vec<String> = info.damages.iter().map(place).collect();
    if places.len() as u64 != info.damaged {
        places.push("...".to_owned());
    }
    places.join(", ")
}

/// Reads every message of a folder; names what is missing.
fn verify_folder(path: &Path, json: bool) -> Result<bool, String> {
    // The first of them tell what is wrong; there may be a million.
    const NAMED: u64 = 20;
    let mut folder = Folder::open(path).map_err(|error| explain(&error))?;
    let (mut messages, mut bytes, mut faults) = (0, 0, 0);
    loop {
        match folder.next_message() {
            Ok(Some(recorded)) => {
                messages += 1;
                bytes += recorded.message.size() as u64;
            }
            Ok(None) => break,
            Err(error @ FolderError::Io { .. }) => return Err(explain(&error)),
            Err(error) => {
                faults += 1;
                if faults <= NAMED {
                    note(&format!("{}: {}", path.display(), explain(&error)));
                }
            }
        }
    }
    let extent = folder.extent().map_err(|error| explain(&error))?;
    show_folder(
        path,
        folder.report(),
        &extent,
        json,
        Some((messages, bytes, faults)),
    );
    Ok(faults == 0)
}

/// `read` is what a verification has read: messages, bytes, and faults.
fn show_folder(
    path: &Path,
    report: &FolderReport,
    extent: &FolderExtent,
    json: bool,
    read: Option<(u64, u64, u64)>,
) {
    if json {
        let mut value = json!({
            "path": path.display().to_string(),
            "parts": report.parts,
            "bytes": extent.bytes,
            "first_time_ns": extent.first_time.map(Timestamp::as_nanos),
            "last_time_ns": extent.last_time.map(Timestamp::as_nanos),
            "first_number": report.first_number,
            "last_number": report.last_number,
            "foreign_files": report.foreign,
        });
        if let Some((messages, bytes, faults)) = read {
            value["messages"] = messages.into();
            value["bytes"] = bytes.into();
            value["missing_messages"] = report.missing_messages.into();
            value["incomplete_messages"] = report.incomplete_messages.into();
            value["short_messages"] = report.short_messages.into();
            value["whole"] = Value::from(faults == 0);
        }
        say(&value.to_string());
        return;
    }
    say(&format!("{} (folder)", printable(&path.display().to_string())));
    let numbers = match (report.first_number, report.last_number) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "none".to_owned(),
    };
    say(&format!("  {:<15}{}", "parts", quantity::grouped(report.parts)));
    say(&format!("  {:<15}{}", "bytes", quantity::grouped(extent.bytes)));
    say(&format!("  {:<15}{numbers}", "numbers"));
    if let (Some(first), Some(last)) = (extent.first_time, extent.last_time) {
        let span = last.since(first).as_secs_f64();
        say(&format!("  {:<15}{first} (modification time)", "earliest"));
        say(&format!("  {:<15}{last} ({span:.3} s later)", "latest"));
    }
    if report.foreign > 0 {
        let names = report.foreign_names.join(", ");
        say(&format!(
            "  {:<15}{} are no parts and are not read: {}",
            "foreign",
            quantity::grouped(report.foreign),
            printable(&names)
        ));
    }
    if let Some((messages, bytes, _)) = read {
        say(&format!(
            "  {:<15}{} whole, {} bytes",
            "messages",
            quantity::grouped(messages),
            quantity::grouped(bytes)
        ));
        say(&format!(
            "  {:<15}{} messages missing, {} without all parts",
            "faults",
            quantity::grouped(report.missing_messages),
            quantity::grouped(report.incomplete_messages)
        ));
        if report.short_messages > 0 {
            say(&format!(
                "  {:<15}{} with fewer parts than their headers call for: sent like that, or removed since",
                "short",
                quantity::messages(report.short_messages)
            ));
        }
    }
}
