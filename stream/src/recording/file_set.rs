//! The numbered files of one recording, read as one.

use std::path::PathBuf;

use super::{Info, OpenError, ReadError, Reader, Recorded, Timestamp};

/// Reads numbered files one after the other; one is open at a time. What cannot be opened, and what is missing between
/// two files, is an error once, and reading goes on after it.
#[derive(Debug)]
pub(super) struct FileSet {
    files: Vec<PathBuf>,
    // The file that is opened next.
    next: usize,
    // The file before it; none where that one is left out.
    reader: Option<Reader>,
    // Of the first file that could be opened.
    id: Option<u128>,
    // The number that the next file should begin with; none after a jump.
    expected: Option<u64>,
}

impl FileSet {
    /// `files` in order, of which one at least can be opened.
    pub(super) fn open(files: Vec<PathBuf>) -> Result<Self, SetError> {
        let mut set = FileSet {
            files,
            next: 0,
            reader: None,
            id: None,
            expected: None,
        };
        let mut first = None;
        for at in 0..set.files.len() {
            match set.reader_of(at) {
                Ok(_) => {
                    first = None;
                    break;
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        if let Some(error) = first {
            return Err(error);
        }
        set.rewind();
        Ok(set)
    }

    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    pub(super) fn next_message(&mut self) -> Result<Option<Recorded>, SetError> {
        loop {
            if let Some(reader) = &mut self.reader
                && let Some(recorded) = reader.next_message()?
            {
                return Ok(Some(recorded));
            }
            if self.next >= self.files.len() {
                return Ok(None);
            }
            self.go_on()?;
        }
    }

    pub(super) fn seek_number(&mut self, number: u64) -> Result<(), SetError> {
        if let Some(before) = self.find(|info| info.last_number.is_some_and(|last| last >= number)) {
            // What is missing before `number` is of no concern.
            self.tell_gap(&before, number);
        }
        self.reader
            .as_mut()
            .map_or(Ok(()), |reader| Ok(reader.seek_number(number)?))
    }

    pub(super) fn seek_time(&mut self, time: Timestamp) -> Result<(), SetError> {
        let found = self.find(|info| info.last_time.is_some_and(|last| last >= time));
        let first = self.reader.as_ref().and_then(|reader| reader.info().first_time);
        if let Some(before) = found
            && first.is_some_and(|first| first >= time)
        {
            self.tell_gap(&before, 0);
        }
        self.reader
            .as_mut()
            .map_or(Ok(()), |reader| Ok(reader.seek_time(time)?))
    }

    pub(super) fn rewind(&mut self) {
        self.next = 0;
        self.reader = None;
        self.expected = Some(0);
    }

    /// What is missing between the files, and what cannot be opened, from the front; no message is read.
    pub(super) fn faults(&mut self) -> Vec<SetError> {
        self.rewind();
        let mut faults = Vec::new();
        while self.next < self.files.len() {
            faults.extend(self.go_on().err());
        }
        self.rewind();
        faults
    }

    /// Opens the first file of which `reaches` is true, and says what is before it; without one, opens the last. What
    /// cannot be opened behind it is told when it is to be read.
    fn find(&mut self, reaches: impl Fn(&Info) -> bool) -> Option<Before> {
        self.rewind();
        let mut before = Before { next: 0, expected: 0 };
        for at in 0..self.files.len() {
            let Ok(reader) = self.reader_of(at) else { continue };
            let found = reaches(&reader.info());
            let next_number = reader.next_number();
            self.next = at + 1;
            self.reader = Some(reader);
            self.expected = None;
            if found {
                return Some(before);
            }
            before = Before {
                next: self.next,
                expected: next_number,
            };
        }
        None
    }

    /// Goes back behind the file before where messages from `wanted` on are missing between it and the one that was
    /// opened, so that reading tells of them.
    fn tell_gap(&mut self, before: &Before, wanted: u64) {
        let expected = before.expected.max(wanted);
        let first = self.reader.as_ref().and_then(Reader::first_expected);
        if first.is_some_and(|first| first > expected) {
            self.next = before.next;
            self.reader = None;
            self.expected = Some(expected);
        }
    }

    /// Opens the next file, where there is one.
    fn go_on(&mut self) -> Result<(), SetError> {
        if let Some(reader) = self.reader.take() {
            self.expected = Some(reader.next_number());
        }
        let at = self.next;
        self.next += 1;
        let reader = self.reader_of(at)?;
        let (expected, first) = (self.expected, reader.first_expected());
        self.reader = Some(reader);
        match (expected, first) {
            (Some(expected), Some(first)) if first > expected => Err(SetError::Missing {
                first: expected,
                last: first - 1,
                path: self.files[at].clone(),
            }),
            _ => Ok(()),
        }
    }

    fn reader_of(&mut self, at: usize) -> Result<Reader, SetError> {
        let path = || self.files[at].clone();
        let reader =
            Reader::open(&self.files[at]).map_err(|source| SetError::Open { path: path(), source })?;
        match (reader.recording_id(), self.id) {
            (Some(id), Some(ours)) if id != ours => Err(SetError::Foreign { path: path() }),
            (id, ours) => {
                self.id = ours.or(id);
                Ok(reader)
            }
        }
    }
}

/// What is before a file that was looked for.
struct Before {
    // The file behind the last one before it that can be opened.
    next: usize,
    // The number that follows that one's.
    expected: u64,
}

/// Why the next message of several files cannot be read.
#[derive(Debug)]
pub(super) enum SetError {
    Open {
        path: PathBuf,
        source: OpenError,
    },
    /// These messages should be before this file.
    Missing {
        first: u64,
        last: u64,
        path: PathBuf,
    },
    /// The file is one of another recording.
    Foreign {
        path: PathBuf,
    },
    Read(ReadError),
}

impl From<ReadError> for SetError {
    fn from(error: ReadError) -> Self {
        SetError::Read(error)
    }
}
