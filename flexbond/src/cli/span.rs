//! A recording on the command line, and the part of it that is taken: from and to, by number or by time.

use std::path::Path;

use clap::Args;

use super::failure::{explain, note};
use super::mark::Mark;
use super::{Failure, quantity};
use crate::stream::recording::{
    Folder, Info, Range, Reader, Recording, SourceError, Timestamp, numbered_files,
};

/// The part of a recording that is taken.
#[derive(Args)]
pub(crate) struct Span {
    /// Begin with this message: its number (from 0), a time (2026-11-22T01:00:00Z), or so long after the first message
    /// (+2.5s)
    #[arg(long, value_name = "NUMBER|TIME")]
    from: Option<Mark>,

    /// End before this message: likewise; --from 10 --to 20 are ten messages
    #[arg(long, value_name = "NUMBER|TIME")]
    to: Option<Mark>,
}

impl Span {
    /// The range of `recording`, whose first message is read where times are counted from it.
    pub(crate) fn range(&self, recording: &mut Recording) -> Result<Range, Failure> {
        let mut range = Range::all();
        let mut first = None;
        for (mark, begins) in [(self.from, true), (self.to, false)] {
            let time = match mark {
                None => continue,
                Some(Mark::Number(number)) => {
                    *(if begins { &mut range.first } else { &mut range.end }) = Some(number);
                    continue;
                }
                Some(Mark::Time(time)) => time,
                Some(Mark::After(after)) => {
                    let start = match first {
                        Some(start) => start,
                        None => *first.insert(first_time(recording)?),
                    };
                    start.saturating_add(after)
                }
            };
            *(if begins { &mut range.from } else { &mut range.until }) = Some(time);
        }
        let numbers = range.first.zip(range.end);
        let times = range.from.zip(range.until);
        if numbers.is_some_and(|(first, end)| first >= end)
            || times.is_some_and(|(from, until)| from >= until)
        {
            return Err(
                Failure::usage("--from is not before --to, so there is nothing between them")
                    .hint("--to is the first message that is left out: --from 10 --to 11 is one message"),
            );
        }
        Ok(range)
    }
}

/// When the first message that can be read arrived; the epoch when there is none.
fn first_time(recording: &mut Recording) -> Result<Timestamp, Failure> {
    loop {
        match recording.next_message() {
            Ok(first) => return Ok(first.map(|recorded| recorded.time).unwrap_or_default()),
            Err(error) if error.is_passed() => {}
            Err(error) => return Err(unreadable(&error)),
        }
    }
}

/// What is in the recording at `path`: the first and the last message, by number and time. `None` where it does not say.
pub(crate) fn extent(path: &Path) -> Option<String> {
    let (numbers, times) = if path.is_dir() {
        let folder = Folder::open(path).ok()?;
        let extent = folder.extent().ok()?;
        let report = folder.report();
        (
            report.first_number.zip(report.last_number),
            extent.first_time.zip(extent.last_time),
        )
    } else {
        let files = match path.exists() {
            true => vec![path.to_owned()],
            false => numbered_files(path).ok()?,
        };
        let infos: Vec<Info> = files.iter().filter_map(|file| Info::read(file).ok()).collect();
        let first_number = infos.iter().find_map(|info| info.first_number);
        let last_number = infos.iter().rev().find_map(|info| info.last_number);
        let first_time = infos.iter().find_map(|info| info.first_time);
        let last_time = infos.iter().rev().find_map(|info| info.last_time);
        (first_number.zip(last_number), first_time.zip(last_time))
    };
    let (first, last) = numbers?;
    let mut text = format!("messages {first} to {last}");
    if let Some((first, last)) = times {
        text.push_str(&format!(", of {first} to {last}"));
    }
    Some(text)
}

/// Opens a folder, a file, or the numbered files of a rotated recording, and says what is odd about it.
pub(crate) fn open(path: &Path) -> Result<Recording, Failure> {
    if path.is_dir() {
        let folder = Folder::open(path).map_err(|error| Failure::new(explain(&error)))?;
        let report = folder.report();
        if report.foreign > 0 {
            note(&format!(
                "{}: {} files are no parts of messages and are left out: {}{}",
                path.display(),
                quantity::grouped(report.foreign),
                report.foreign_names.join(", "),
                if report.foreign > report.foreign_names.len() as u64 {
                    ", ..."
                } else {
                    ""
                }
            ));
        }
        return Ok(folder.into());
    }
    if path.is_file() {
        let reader = Reader::open(path)
            .map_err(|error| Failure::new(format!("{}: {}", path.display(), explain(&error))))?;
        if let Some(recovered) = reader.recovered() {
            note_torn(path, recovered.messages, recovered.bytes_lost);
        }
        return Ok(reader.into());
    }
    let recording = Recording::open(path).map_err(|error| unreadable(&error))?;
    // Those before it were closed when it was begun.
    if let Some(last) = recording.numbered_files().last()
        && let Ok(info) = Info::read(last)
        && !info.closed_cleanly
    {
        note_torn(last, info.messages, info.bytes_lost);
    }
    Ok(recording)
}

fn note_torn(path: &Path, messages: u64, bytes_lost: u64) {
    note(&format!(
        "{} was not closed: whoever wrote it is still writing, or died; {} are whole, {} bytes after them are not",
        path.display(),
        quantity::messages(messages),
        quantity::grouped(bytes_lost)
    ));
}

/// A recording that cannot be read.
pub(crate) fn unreadable(error: &SourceError) -> Failure {
    Failure::new(explain(error))
}
