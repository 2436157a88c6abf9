//! What the server has to tell, a line each on standard error.

use std::time::SystemTime;

use clap::ValueEnum;
use serde_json::{Map, Value};

use crate::cli::printable::printable;
use crate::cli::stderr;
use crate::collectives::federation::{EventLevel, ServerEvent};
use crate::stream::stream2::DateTime;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// An object a line, for programs
    Json,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Level {
    /// What is in the way of messages
    Error,
    /// And who was kept out, or has to wait
    Warn,
    /// And what happens in the course of jobs
    Info,
    /// And connections
    Debug,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    pub(super) format: Format,
    pub(super) level: Level,
}

impl Log {
    pub(super) fn event(self, event: &ServerEvent) {
        let fields = event.fields.iter().map(|(name, value)| (*name, value.as_str()));
        self.line(event.level, event.name, fields, &event.to_string());
    }

    /// Something that the program itself has to tell.
    pub(super) fn say(self, level: EventLevel, name: &str, text: &str) {
        self.line(level, name, std::iter::empty(), text);
    }

    fn line<'f>(
        self,
        level: EventLevel,
        name: &str,
        fields: impl Iterator<Item = (&'f str, &'f str)>,
        text: &str,
    ) {
        if level <= self.most() {
            let time = DateTime::from(SystemTime::now());
            stderr::line(&written(self.format, time.as_str(), level, name, fields, text));
        }
    }

    fn most(self) -> EventLevel {
        match self.level {
            Level::Error => EventLevel::Error,
            Level::Warn => EventLevel::Warn,
            Level::Info => EventLevel::Info,
            Level::Debug => EventLevel::Debug,
        }
    }
}

fn written<'f>(
    format: Format,
    time: &str,
    level: EventLevel,
    name: &str,
    fields: impl Iterator<Item = (&'f str, &'f str)>,
    text: &str,
) -> String {
    if format == Format::Text {
        return format!("{time} {level:<5} {}", printable(text));
    }
    let mut object = Map::new();
    object.insert("time".to_owned(), time.into());
    object.insert("level".to_owned(), level.to_string().into());
    object.insert("event".to_owned(), name.into());
    object.extend(fields.map(|(name, value)| (name.to_owned(), value.into())));
    object.insert("message".to_owned(), text.into());
    Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_for_people_and_for_programs() {
        let (time, level) = ("2026-11-23T09:00:00.000000Z", EventLevel::Warn);
        let line = |format| {
            let fields = [("job", "j"), ("party", "a \"b\"")];
            written(format, time, level, "refused", fields.into_iter(), "a\nb")
        };
        assert_eq!(line(Format::Text), "2026-11-23T09:00:00.000000Z warn  a\\nb");
        let object: Value = serde_json::from_str(&line(Format::Json)).unwrap();
        assert_eq!(object["event"], "refused");
        assert_eq!(object["party"], "a \"b\"");
        assert_eq!(object["message"], "a\nb");
        assert!(!line(Format::Json).contains('\n'));
    }
}
