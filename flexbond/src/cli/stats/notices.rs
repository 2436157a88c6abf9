//! What the user should know about a stream besides its numbers: told once, and counted.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use super::super::contact::Contacts;
use super::super::failure::explain;
use super::super::printable::printable;
use super::super::report::Details;
use crate::stream::Stream;
use crate::stream::detector::SeriesEvent;

/// Notices that wait to be printed or shown, at most; then the oldest is dropped.
const WAITING: usize = 16;
/// Oddities of series that are told; all are counted.
const TOLD: u64 = 20;

/// Collects what is odd about a stream.
#[derive(Default)]
pub(super) struct Notices {
    waiting: VecDeque<String>,
    malformed: bool,
    undecodable: bool,
    contacts: Contacts,
    aborted: u64,
    headers_missing: u64,
    other: u64,
}

impl Notices {
    /// Notes that a message is malformed. The first one is told.
    pub(super) fn handle_malformed(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.malformed, true) {
            self.tell(&format!("malformed message, the first: {}", explain(error)));
        }
    }

    /// Notes that the data of a message cannot be unpacked. The first one is told.
    pub(super) fn handle_undecodable(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.undecodable, true) {
            self.tell(&format!(
                "message whose data cannot be unpacked, the first: {}",
                explain(error)
            ));
        }
    }

    /// Notes what the last message says of the series that it is in.
    pub(super) fn handle_series(&mut self, event: SeriesEvent) {
        let text = match event {
            SeriesEvent::Aborted { series, images } => {
                self.aborted += 1;
                format!(
                    "series {series} was aborted after {images} images: another one began before its end came"
                )
            }
            SeriesEvent::Restarted { series, images } => {
                self.aborted += 1;
                format!("series {series} began again after {images} images")
            }
            SeriesEvent::HeaderMissing { series } => {
                self.headers_missing += 1;
                format!(
                    "the header of series {series} did not come: this program connected after the detector was armed, \
                     or another receiver got it. Start it before the detector, and alone"
                )
            }
            SeriesEvent::EndWithoutStart { series } => {
                self.other += 1;
                format!("the end of series {series} came, and nothing else of it")
            }
            SeriesEvent::Stray { series } => {
                self.other += 1;
                format!("messages of series {series} came after its end")
            }
            _ => return,
        };
        match self.aborted + self.headers_missing + self.other {
            count if count < TOLD => self.tell(&text),
            TOLD => self.tell(&format!("{text}; further oddities of series are only counted")),
            _ => {}
        }
    }

    /// Looks for warnings of the statistics.
    pub(super) fn poll(&mut self, stream: &mut Stream) {
        while let Some(warning) = stream.statistics_mut().poll_warning() {
            self.tell(&format!("warning: {warning} (--stride)"));
        }
    }

    /// Looks whether there is no source that lets this end in. Each reason is told once.
    pub(super) fn poll_contact(&mut self, stream: &Stream) {
        if let Some(trouble) = self.contacts.poll(stream) {
            self.tell(&trouble);
        }
    }

    /// Why there is no source now.
    pub(super) fn trouble(&mut self, stream: &Stream) -> Option<String> {
        self.contacts.trouble(stream)
    }

    /// What has not been told yet, oldest first.
    pub(super) fn take(&mut self) -> impl Iterator<Item = String> + '_ {
        self.waiting.drain(..)
    }

    /// For the JSON lines.
    pub(super) fn fields(&self, stream: &Stream) -> Map<String, Value> {
        let counters = stream.decoder().counters();
        [
            ("aborted_series", self.aborted),
            ("missing_headers", self.headers_missing),
            ("hash_mismatches", counters.hash_mismatches),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
    }

    /// For the summary.
    pub(super) fn details(&self, stream: &Stream) -> Details {
        Details {
            fields: self.fields(stream),
            lines: vec![
                ("Series aborted", self.aborted, "series"),
                ("Headers missing", self.headers_missing, "series"),
                (
                    "Hashes that differ",
                    stream.decoder().counters().hash_mismatches,
                    "messages",
                ),
            ],
        }
    }

    fn tell(&mut self, text: &str) {
        if self.waiting.len() == WAITING {
            self.waiting.pop_front();
        }
        // Names of sources and words of errors are others'.
        self.waiting.push_back(printable(text).into_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oddities_are_told_once_and_counted_always() {
        let mut notices = Notices::default();
        for _ in 0..2 {
            notices.handle_malformed(&std::io::Error::other("no\u{1b}[2J header"));
        }
        notices.handle_series(SeriesEvent::Started { series: 1 });
        let told: Vec<String> = notices.take().collect();
        assert_eq!(told, ["malformed message, the first: no\\u{1b}[2J header"]);
        let mut told = 0;
        for series in 0..100 {
            notices.handle_series(SeriesEvent::Aborted { series, images: 3 });
            notices.handle_series(SeriesEvent::HeaderMissing { series });
            told += notices.take().count() as u64;
        }
        assert_eq!((told, notices.aborted, notices.headers_missing), (TOLD, 100, 100));
        for series in 0..3 * WAITING as u64 {
            notices.tell(&series.to_string());
        }
        assert_eq!(notices.take().count(), WAITING);
    }
}
