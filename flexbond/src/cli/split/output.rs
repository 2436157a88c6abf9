//! An output on the command line: an address, and after commas the keys of the configuration.

use serde_json::{Map, Value};

use crate::stream::split::OutputConfig;

/// Keys whose values are numbers.
const NUMBERS: [&str; 4] = ["queue_size", "modulo", "patience_ms", "linger_ms"];

/// `tcp://*:8888`, `tcp://*:8888,modulo=10,policy=drop-oldest`, `tcp://*:8888,group=a,filter=frame % 2 = 0`.
///
/// What follows `filter=` is the filter, commas and all, so it comes last.
pub(super) fn parse(text: &str) -> Result<OutputConfig, String> {
    let (address, mut rest) = halves(text);
    let mut fields = Map::new();
    fields.insert("address".to_owned(), address.into());
    while let Some(text) = rest {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| format!("after a comma comes KEY=VALUE, not {text:?}"))?;
        let key = key.trim().replace('-', "_");
        let (value, next) = match &*key {
            "filter" => (value, None),
            _ => halves(value),
        };
        rest = next;
        let value = match NUMBERS.contains(&&*key) {
            true => number(&key, value)?,
            false => value.into(),
        };
        if fields.insert(key.clone(), value).is_some() {
            return Err(format!("{key} is there twice"));
        }
    }
    serde_json::from_value(fields.into()).map_err(|error| error.to_string())
}

/// What is before the first comma, and what is after it.
fn halves(text: &str) -> (&str, Option<&str>) {
    match text.split_once(',') {
        Some((first, rest)) => (first, Some(rest)),
        None => (text, None),
    }
}

fn number(key: &str, value: &str) -> Result<Value, String> {
    let number: u64 = value
        .trim()
        .parse()
        .map_err(|_| format!("{key} is a whole number, not {value:?}"))?;
    Ok(number.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::split::{OutputMode, Policy};

    #[test]
    fn an_address_alone_has_the_defaults() {
        assert_eq!(parse("tcp://*:8888").unwrap(), OutputConfig::new("tcp://*:8888"));
    }

    #[test]
    fn keys_are_those_of_the_configuration() {
        let output = parse(
            "tcp://host:1,mode=pub,modulo=10,queue-size=5,policy=drop-oldest,group=12,filter=run = \"a,b\" && x",
        );
        let output = output.unwrap();
        assert_eq!(
            (output.mode, output.policy),
            (OutputMode::Pub, Policy::DropOldest)
        );
        assert_eq!((output.modulo.get(), output.queue_size), (10, 5));
        assert_eq!(output.group.as_deref(), Some("12"));
        assert_eq!(output.filter.unwrap().to_string(), "run = \"a,b\" && x");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("tcp://*:1,modulo", "KEY=VALUE"),
            ("tcp://*:1,", "KEY=VALUE"),
            ("tcp://*:1,modulo=x", "modulo is a whole number"),
            ("tcp://*:1,modulo=0", "nonzero"),
            ("tcp://*:1,modul=2", "modul"),
            ("tcp://*:1,modulo=2,modulo=3", "twice"),
            ("tcp://*:1,address=tcp://*:2", "twice"),
            ("tcp://*:1,policy=drop", "drop-newest"),
            ("tcp://*:1,mode=pull", "pull"),
            ("tcp://*:1,filter=frame ~ 1", "at byte 6"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
