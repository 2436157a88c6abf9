//! The files of a folder in order of their numbers, however many there are, in bounded memory.

use std::collections::BinaryHeap;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::name::PartName;
use crate::recording::Timestamp;

/// Lists a folder in order. A folder has no order of its own, so it is read again for every [`window`](Listing::new)
/// files; each time the next ones are kept.
#[derive(Debug)]
pub(super) struct Listing {
    folder: PathBuf,
    window: usize,
    // In order, the next one last.
    next: Vec<PartName>,
    last: Option<PartName>,
    finished: bool,
}

/// How much is in a folder, and of when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolderExtent {
    /// The sizes of all parts, in bytes.
    pub bytes: u64,
    /// The earliest time of a message: as when it is read, the modification time of the file of its part 0. `None` when
    /// there is none.
    pub first_time: Option<Timestamp>,
    /// The latest time of a message.
    pub last_time: Option<Timestamp>,
}

/// What is in a folder besides parts of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// Files that are parts.
    pub(super) parts: u64,
    /// The lowest and the highest number of a message.
    pub(super) messages: Option<(u64, u64)>,
    /// The highest number of a part.
    pub(super) last_part: u32,
    /// Files and folders that are none, and the first few of their names.
    pub(super) foreign: u64,
    pub(super) foreign_names: Vec<String>,
    /// Parts whose name is not as `m_dump` writes it.
    pub(super) unusual: u64,
}

impl Listing {
    // 16 MiB of names; a folder of a million messages of one part is read once.
    pub(super) const WINDOW: usize = 1 << 20;

    /// Keeps at most `window` names (one at least) at a time.
    pub(super) fn new(folder: &Path, window: usize) -> Self {
        Listing {
            folder: folder.to_owned(),
            window: window.max(1),
            next: Vec::new(),
            last: None,
            finished: false,
        }
    }

    /// The next part; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<PartName>> {
        if self.next.is_empty() && !self.finished {
            self.read()?;
        }
        Ok(self.next.pop())
    }

    /// Goes on with the first part of message `number` or, where there is none, of the next.
    pub(super) fn seek(&mut self, number: u64) {
        self.next.clear();
        self.finished = false;
        self.last = number.checked_sub(1).map(|message| PartName {
            message,
            part: u32::MAX,
        });
    }

    fn read(&mut self) -> io::Result<()> {
        // The largest is on top, to be replaced by smaller ones.
        let mut smallest = BinaryHeap::new();
        let mut more = false;
        for_each(&self.folder, |name| {
            let Some(part) = PartName::parse(name).filter(|part| Some(*part) > self.last) else {
                return;
            };
            if smallest.len() < self.window {
                smallest.push(part);
            } else {
                more = true;
                if let Some(mut largest) = smallest.peek_mut()
                    && part < *largest
                {
                    *largest = part;
                }
            }
        })?;
        self.next = smallest.into_sorted_vec();
        self.last = self.next.last().copied().or(self.last);
        self.finished = !more;
        self.next.reverse();
        // Two names for one part (`1_0.raw`, `000001_000.raw`) are one part.
        self.next.dedup();
        Ok(())
    }
}

impl Census {
    /// Reads the whole folder once.
    pub(super) fn take(folder: &Path) -> io::Result<Self> {
        const NAMED: usize = 16;
        let mut census = Census::default();
        for_each(folder, |name| match PartName::parse(name) {
            Some(part) => {
                census.parts += 1;
                census.last_part = census.last_part.max(part.part);
                census.unusual += u64::from(part.canonical() != name);
                let (low, high) = census.messages.unwrap_or((part.message, part.message));
                census.messages = Some((low.min(part.message), high.max(part.message)));
            }
            None => {
                census.foreign += 1;
                if census.foreign_names.len() < NAMED {
                    census.foreign_names.push(name.to_owned());
                }
            }
        })?;
        Ok(census)
    }
}

impl FolderExtent {
    /// Looks at every part.
    pub(super) fn take(folder: &Path) -> io::Result<Self> {
        let mut extent = FolderExtent::default();
        let mut failed = None;
        for_each(folder, |name| {
            let Some(part) = PartName::parse(name).filter(|_| failed.is_none()) else {
                return;
            };
            // Of what a link leads to, as that is what is read.
            match fs::metadata(folder.join(name)) {
                Ok(metadata) => extent.add(part, &metadata),
                // Somebody clears up.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failed = Some(error),
            }
        })?;
        failed.map_or(Ok(extent), Err)
    }

    fn add(&mut self, part: PartName, metadata: &Metadata) {
        self.bytes = self.bytes.saturating_add(metadata.len());
        if part.part != 0 {
            return;
        }
        // There are systems without this time.
        let Ok(time) = metadata.modified().map(Timestamp::from) else {
            return;
        };
        self.first_time = Some(self.first_time.map_or(time, |first| first.min(time)));
        self.last_time = Some(self.last_time.map_or(time, |last| last.max(time)));
    }
}

fn for_each(folder: &Path, mut see: impl FnMut(&str)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        see(&entry?.file_name().to_string_lossy());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_number_whatever_the_window() {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        for message in [0, 1, 2, 9, 10, 999_998, 999_999, 1_000_000, 1_000_001, 10_000_000] {
            for part in [0, 1, 2, 999, 1_000] {
                let name = PartName { message, part };
                fs::write(folder.path().join(name.canonical()), "").unwrap();
                expected.push(name);
            }
        }
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        fs::write(folder.path().join("5_0.raw"), "").unwrap();
        expected.insert(15, PartName { message: 5, part: 0 });
        for window in [1, 2, 7, 50, 51, 52, 1_000] {
            let mut listing = Listing::new(folder.path(), window);
            let mut listed = Vec::new();
            while let Some(part) = listing.next().unwrap() {
                listed.push(part);
            }
            assert_eq!(listed, expected, "window {window}");
            listing.seek(999_999);
            assert_eq!(
                listing.next().unwrap(),
                Some(PartName {
                    message: 999_999,
                    part: 0
                })
            );
            listing.seek(11);
            assert_eq!(
                listing.next().unwrap(),
                Some(PartName {
                    message: 999_998,
                    part: 0
                })
            );
            listing.seek(0);
            assert_eq!(listing.next().unwrap(), Some(expected[0]));
        }
        let census = Census::take(folder.path()).unwrap();
        assert_eq!((census.parts, census.messages), (51, Some((0, 10_000_000))));
        assert_eq!((census.foreign, census.unusual), (1, 1));
        assert_eq!(census.foreign_names, ["notes.txt"]);
    }
}
