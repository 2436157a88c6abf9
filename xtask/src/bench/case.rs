//! A case: how it is called, what the programs are told, and what is read from their results.

use serde_json::Value;

/// What a case is called in reports.
#[derive(Clone, Debug)]
pub(super) struct Heading {
    pub(super) group: &'static str,
    /// The name; that of its first metric.
    pub(super) name: String,
    /// `tcp`, `ipc` or `inproc`; of groups and collectives what their packets pass.
    pub(super) transport: &'static str,
    /// Bytes of a message, or of each part; 0 where nothing has a size.
    pub(super) size: usize,
}

/// One case of sockets: two processes, or two sides in one. Or of parties and the servers that they talk by.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) heading: Heading,
    /// The peers' name for the traffic.
    pub(super) traffic: &'static str,
    /// More `key=value` words.
    pub(super) words: Vec<String>,
    /// The setting that flexbond has here, where its best one would hide what is asked.
    pub(super) ours: Option<&'static str>,
    /// Which of the processes measures.
    pub(super) measures: Side,
    /// What is read from the results; the first one decides between settings.
    pub(super) metrics: Vec<Metric>,
}

/// One of the two processes, or all of them that have parties in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Bind,
    Connect,
    Parties(Cast),
}

/// How many processes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cast {
    /// The first of two passes on to the second what is for the parties there.
    pub(super) servers: usize,
    /// Those that the parties are spread over.
    pub(super) processes: usize,
    /// How many of these there are really.
    pub(super) present: usize,
}

/// A number read from the results.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    /// Added to the case's name; empty for the first.
    pub(super) suffix: &'static str,
    pub(super) unit: &'static str,
    pub(super) better: Better,
    pub(super) read: fn(&Outcome) -> Option<f64>,
}

pub(super) const fn metric(
    suffix: &'static str,
    unit: &'static str,
    better: Better,
    read: fn(&Outcome) -> Option<f64>,
) -> Metric {
    Metric {
        suffix,
        unit,
        better,
        read,
    }
}

/// Which direction is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    Higher,
    Lower,
}

impl Better {
    /// The word in the report.
    pub(super) fn word(self) -> &'static str {
        match self {
            Better::Higher => "higher",
            Better::Lower => "lower",
        }
    }

    /// How often `ours` is as good as `theirs`: above 1 is better than they are.
    pub(super) fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Better::Higher => ours / theirs,
            Better::Lower => theirs / ours,
        }
    }
}

/// The lines that the processes printed at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Of the one that measured; of groups and collectives that of the coordinator, sender or rank 0.
    pub(super) measured: Value,
    /// Of the other, when there are two; of groups a list of those of all others. Of parties `parties` is a list of what
    /// all have measured, and `ended` and `servers` of what parties and servers said when they ended.
    pub(super) other: Value,
}

impl Outcome {
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        self.measured[key].as_f64()
    }

    /// Messages of the window, for each second and loop.
    pub(super) fn rate(&self) -> Option<f64> {
        Some(self.number("messages")? / self.number("seconds")? / self.number("loops")?.max(1.0))
    }

    /// CPU seconds of a process for a million of its messages.
    pub(super) fn cpu(result: &Value) -> Option<f64> {
        let messages = result["messages"].as_f64().filter(|messages| *messages > 0.0)?;
        Some(result["cpu_seconds"].as_f64()? / messages * 1e6)
    }
}

impl Heading {
    /// Name, transport and size.
    pub(super) fn title(&self) -> String {
        title(&self.name, self.transport, self.size)
    }
}

/// What a case or one of its records is called.
pub(super) fn title(name: &str, transport: &str, size: usize) -> String {
    match size {
        0 => format!("{name} {transport}"),
        _ => format!("{name} {transport} {}", bytes(size)),
    }
}

/// A size as people write it.
pub(super) fn bytes(size: usize) -> String {
    match size {
        0 => "-".to_owned(),
        size if size >= 1 << 20 && size.is_multiple_of(1 << 20) => format!("{} MiB", size >> 20),
        size if size >= 1 << 10 && size.is_multiple_of(1 << 10) => format!("{} KiB", size >> 10),
        size => format!("{size} B"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rates_and_cpu_are_per_loop_and_message() {
        let outcome = Outcome {
            measured: json!({ "messages": 2_000_000, "seconds": 0.5, "loops": 4, "cpu_seconds": 1.0 }),
            other: Value::Null,
        };
        assert_eq!(outcome.rate(), Some(1_000_000.0));
        assert_eq!(Outcome::cpu(&outcome.measured), Some(0.5));
        assert_eq!(Outcome::cpu(&outcome.other), None);
    }

    #[test]
    fn a_ratio_above_one_is_better_either_way() {
        assert_eq!(Better::Higher.ratio(2.0, 1.0), 2.0);
        assert_eq!(Better::Lower.ratio(1.0, 2.0), 2.0);
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(
            [bytes(16), bytes(16 << 10), bytes(1 << 20), bytes(0)],
            ["16 B", "16 KiB", "1 MiB", "-"]
        );
    }

    #[test]
    fn a_title_has_no_size_where_there_is_none() {
        let mut heading = Heading {
            group: "groups",
            name: "barrier 1+3".to_owned(),
            transport: "lo",
            size: 0,
        };
        assert_eq!(heading.title(), "barrier 1+3 lo");
        heading.size = 64 << 10;
        assert_eq!(heading.title(), "barrier 1+3 lo 64 KiB");
    }
}
