//! A configuration in words: what `--check` prints.

use std::fmt::Write as _;

use crate::cli::printable::printable;
use crate::stream::Attach;
use crate::stream::split::{
    Boundaries, OutputConfig, OutputMode, Policy, SourceConfig, SourceMode, SplitConfig,
};
use crate::transport::Endpoint;

/// Checks the addresses, which a configuration only holds.
pub(super) fn check_addresses(config: &SplitConfig) -> Result<(), String> {
    let addresses = config.streams.iter().enumerate();
    let outputs = addresses.map(|(index, output)| (format!("streams[{index}]"), &output.address));
    let source = ("source".to_owned(), &config.source.address);
    for (place, address) in std::iter::once(source).chain(outputs) {
        if let Err(error) = address.parse::<Endpoint>() {
            return Err(format!("{place}: {error}"));
        }
    }
    Ok(())
}

/// What will be done.
pub(super) fn describe(config: &SplitConfig) -> String {
    let mut text = String::new();
    describe_source(&config.source, &mut text);
    for output in &config.streams {
        describe_output(output, config, &mut text);
    }
    text
}

fn describe_source(source: &SourceConfig, text: &mut String) {
    let mode = match source.mode {
        SourceMode::Pull => "PULL",
        SourceMode::Sub => "SUB",
    };
    let attached = match source.options().attach {
        Attach::Bind => "waits for the source to connect",
        Attach::Connect => "connects",
    };
    let address = printable(&source.address);
    // Writing to a string does not fail, here and below.
    let _ = writeln!(
        text,
        "source {address}\n    {mode}, {attached}; {}",
        queue(source.queue_size)
    );
}

fn describe_output(output: &OutputConfig, config: &SplitConfig, text: &mut String) {
    let mode = match output.mode {
        OutputMode::Push => "PUSH, every message to one of the receivers",
        OutputMode::Pub => "PUB, every message to all receivers",
    };
    let attached = match output.options().attach {
        Attach::Bind => "listens",
        Attach::Connect => "connects",
    };
    let _ = writeln!(text, "stream {}", printable(&output.address));
    let _ = writeln!(text, "    {mode}; {attached}; {}", queue(output.queue_size));
    let which = match output.modulo.get() {
        1 => "every message".to_owned(),
        modulo => format!("every {}", ordinal(modulo)),
    };
    let of = match &output.filter {
        Some(filter) => format!("{which} of those with {filter}"),
        None if output.modulo.get() == 1 => which,
        None => format!("{which} message"),
    };
    let _ = writeln!(text, "    gets {}", printable(&of));
    if output.boundaries == Boundaries::All {
        let _ = writeln!(
            text,
            "    gets beginnings and ends of series besides, unless its filter refuses them"
        );
    }
    if let Some(group) = &output.group {
        let others: Vec<_> = config
            .streams
            .iter()
            .filter(|other| other.group == output.group && other.address != output.address)
            .map(|other| printable(&other.address))
            .collect();
        let with = match others.is_empty() {
            true => "nobody yet".to_owned(),
            false => others.join(", "),
        };
        let group = printable(group);
        let _ = writeln!(text, "    shares them in turn with {with} (group {group})");
    }
    let _ = writeln!(text, "    when it is full: {}", policy(output));
}

fn policy(output: &OutputConfig) -> String {
    match (output.policy, output.mode) {
        (Policy::Wait, OutputMode::Push) => "all others wait for it, for as long as it takes".to_owned(),
        (Policy::Wait, OutputMode::Pub) => "the slow receiver is waited for".to_owned(),
        (Policy::DropOldest, OutputMode::Push) => "the oldest message that waits is dropped".to_owned(),
        (Policy::DropOldest, OutputMode::Pub) => {
            "the oldest message for the slow receiver is dropped".to_owned()
        }
        (Policy::DropStalled, OutputMode::Push) => format!(
            "all wait for it as long as it takes anything; after {} ms without, or once 512 MiB wait beside its queue, it \
             gets nothing more before it has caught up",
            output.patience_ms
        ),
        (_, OutputMode::Pub) => "the new message is dropped for the slow receiver".to_owned(),
        (_, OutputMode::Push) => "the new message is dropped".to_owned(),
    }
}

fn queue(size: usize) -> String {
    match size {
        0 => "any number of messages may wait, up to the bound of all sockets".to_owned(),
        size => format!("{size} messages may wait"),
    }
}

fn ordinal(number: u64) -> String {
    let suffix = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_a_configuration_means() {
        let config: SplitConfig = r#"{
            "source": { "address": "tcp://localhost:7777", "queue_size": 10 },
            "streams": [
                { "address": "tcp://*:8888", "modulo": 1000 },
                { "address": "tcp://host:8889", "mode": "PUB", "filter": "frame>5", "policy": "wait" },
                { "address": "tcp://*:8890", "group": "g", "boundaries": "counted", "modulo": 2 },
                { "address": "tcp://*:8891", "group": "g", "boundaries": "counted", "modulo": 2 }
            ]
        }"#
        .parse()
        .unwrap();
        check_addresses(&config).unwrap();
        let text = describe(&config);
        for part in [
            "source tcp://localhost:7777\n    PULL, connects; 10 messages may wait\n",
            "stream tcp://*:8888\n    PUSH, every message to one of the receivers; listens; 100 messages may wait\n    \
             gets every 1000th message\n",
            "after 2000 ms without",
            "stream tcp://host:8889\n    PUB, every message to all receivers; connects;",
            "gets every message of those with frame > 5\n",
            "the slow receiver is waited for",
            "gets every 2nd message\n    shares them in turn with tcp://*:8891 (group g)\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text.matches("beginnings and ends").count(), 2, "{text}");
    }

    #[test]
    fn an_address_that_is_none_is_named() {
        let config = SplitConfig::new("tcp://localhost:7777", ["tcp://*:8888", "localhost:9999"]);
        let error = check_addresses(&config).unwrap_err();
        assert!(
            error.starts_with("streams[1]: ") && error.contains("localhost:9999"),
            "{error}"
        );
        let error = check_addresses(&SplitConfig::new("tcp://nowhere", ["tcp://*:1"])).unwrap_err();
        assert!(error.starts_with("source: "), "{error}");
    }

    #[test]
    fn ordinals() {
        let all = [1, 2, 3, 4, 11, 12, 13, 21, 100, 111, 1002].map(ordinal);
        assert_eq!(
            all.join(" "),
            "1st 2nd 3rd 4th 11th 12th 13th 21st 100th 111th 1002nd"
        );
    }
}
