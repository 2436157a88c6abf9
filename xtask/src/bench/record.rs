//! What was measured: records, and what is missing.

use serde_json::{Map, Value, json};

use super::case::{Better, Heading, Metric, title};
use super::series::Series;

/// Everything that goes into the files.
#[derive(Debug)]
pub(super) struct Report {
    /// About the machine and the programs.
    pub(super) facts: Vec<String>,
    pub(super) records: Vec<Record>,
    gaps: Vec<Gap>,
    trials: Vec<Value>,
}

/// What could not be built or run, and why.
#[derive(Debug)]
struct Gap {
    name: String,
    why: String,
    /// The cases' titles; none: everywhere.
    cases: Vec<String>,
}

/// One number of one case, of everybody.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) group: &'static str,
    pub(super) case: String,
    pub(super) transport: &'static str,
    pub(super) size: usize,
    pub(super) unit: &'static str,
    pub(super) better: Better,
    /// The case's first metric.
    pub(super) headline: bool,
    /// Without values where we are missing.
    pub(super) ours: Entry,
    pub(super) peers: Vec<Entry>,
    pub(super) raw: Option<Entry>,
}

/// Everybody's part in a record.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) ours: Entry,
    pub(super) peers: Vec<Entry>,
    pub(super) raw: Option<Entry>,
}

/// One contender's part in a record.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) setting: String,
    pub(super) about: String,
    pub(super) series: Series,
}

impl Record {
    /// The peer with the best median.
    pub(super) fn best(&self) -> Option<&Entry> {
        self.peers.iter().reduce(|best, entry| {
            if self.better.ratio(entry.series.median(), best.series.median()) > 1.0 {
                entry
            } else {
                best
            }
        })
    }

    /// Name, transport and size.
    pub(super) fn title(&self) -> String {
        title(&self.case, self.transport, self.size)
    }

    /// How often we are as good as `other`; above 1 we are better.
    pub(super) fn ratio(&self, other: &Entry) -> f64 {
        self.better
            .ratio(self.ours.series.median(), other.series.median())
    }

    fn json(&self, entry: impl Fn(&Entry) -> Value) -> Value {
        let peers: Map<String, Value> = self
            .peers
            .iter()
            .map(|peer| (peer.name.to_owned(), entry(peer)))
            .collect();
        json!({
            "group": self.group,
            "case": self.case,
            "transport": self.transport,
            "size": self.size,
            "unit": self.unit,
            "better": self.better.word(),
            "ours": (!self.ours.series.is_empty()).then(|| entry(&self.ours)),
            "peers": peers,
            "raw": self.raw.as_ref().map(entry),
        })
    }
}

impl Report {
    pub(super) fn new(facts: Vec<String>) -> Self {
        Report {
            facts,
            records: Vec::new(),
            gaps: Vec::new(),
            trials: Vec::new(),
        }
    }

    /// Notes and shows that a contender could not be built.
    pub(super) fn miss_all(&mut self, name: &str, why: &str) {
        eprintln!("missing everywhere: {name}: {why}");
        self.gaps.push(Gap {
            name: name.to_owned(),
            why: why.to_owned(),
            cases: Vec::new(),
        });
    }

    /// Notes and shows that a contender, or one setting of it, is missing from a case.
    pub(super) fn miss(&mut self, case: &Heading, name: &str, why: &str) {
        let index = self
            .gaps
            .iter()
            .position(|gap| gap.name == name && gap.why == why)
            .unwrap_or_else(|| {
                self.gaps.push(Gap {
                    name: name.to_owned(),
                    why: why.to_owned(),
                    cases: Vec::new(),
                });
                self.gaps.len() - 1
            });
        let cases = &mut self.gaps[index].cases;
        if !cases.contains(&case.title()) {
            eprintln!("    missing: {name}: {why}");
            cases.push(case.title());
        }
    }

    /// What could not be built or run, and why, a line for each.
    pub(super) fn missing(&self) -> Vec<String> {
        let line = |gap: &Gap| match gap.cases.len() {
            0 => format!("{} everywhere: {}", gap.name, gap.why),
            _ => format!("{}: {} (in: {})", gap.name, gap.why, gap.cases.join("; ")),
        };
        self.gaps.iter().map(line).collect()
    }

    /// Adds what everybody reached in a case, by one of its metrics.
    pub(super) fn add(&mut self, case: &Heading, metric: &Metric, is_headline: bool, parts: Parts) {
        self.records.push(Record {
            group: case.group,
            case: format!("{}{}", case.name, metric.suffix),
            transport: case.transport,
            size: case.size,
            unit: metric.unit,
            better: metric.better,
            headline: is_headline,
            ours: parts.ours,
            peers: parts.peers,
            raw: parts.raw,
        });
    }

    /// Notes what a setting reached when it was tried.
    pub(super) fn trial(&mut self, case: &Heading, unit: &str, name: &str, setting: &str, value: f64) {
        self.trials.push(
            json!({ "case": case.title(), "name": name, "setting": setting, "value": value, "unit": unit }),
        );
    }

    /// `report.json`: a list of records.
    pub(super) fn json(&self) -> String {
        let records = self
            .records
            .iter()
            .map(|record| record.json(|entry| entry.series.json()))
            .collect();
        pretty(&Value::Array(records))
    }

    /// `details.json`: the settings, every value, the trials of settings and what is missing.
    pub(super) fn details(&self) -> String {
        let entry = |entry: &Entry| json!({ "setting": entry.setting, "about": entry.about, "values": entry.series.values() });
        let records: Vec<Value> = self.records.iter().map(|record| record.json(entry)).collect();
        pretty(&json!({
            "facts": self.facts,
            "missing": self.missing(),
            "records": records,
            "trials": self.trials,
        }))
    }
}

fn pretty(value: &Value) -> String {
    // A value with string keys always has a text.
    format!("{value:#}\n")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn entry(name: &'static str, values: &[f64]) -> Entry {
        let mut series = Series::default();
        values.iter().for_each(|value| series.add(*value));
        Entry {
            name,
            setting: "current-thread".to_owned(),
            about: "one thread".to_owned(),
            series,
        }
    }

    pub(crate) fn report() -> Report {
        let mut report = Report::new(vec!["a machine".to_owned()]);
        report.miss_all("rzmq", "it cannot be built");
        report.records.push(Record {
            group: "sockets",
            case: "push/pull".to_owned(),
            transport: "tcp",
            size: 16,
            unit: "messages/s",
            better: Better::Higher,
            headline: true,
            ours: entry("flexbond", &[6e6, 5e6, 7e6]),
            peers: vec![entry("libzmq", &[3e6]), entry("omq-tokio", &[4e6])],
            raw: Some(entry("raw", &[12e6])),
        });
        report
    }

    #[test]
    fn the_report_has_the_fields_that_readers_expect() {
        let value: Value = serde_json::from_str(&report().json()).unwrap();
        let record = &value[0];
        assert_eq!(
            record["ours"],
            json!({ "median": 6e6, "min": 5e6, "max": 7e6, "runs": 3 })
        );
        assert_eq!(record["peers"]["omq-tokio"]["median"], 4e6);
        assert_eq!(
            (&record["better"], &record["raw"]["runs"]),
            (&json!("higher"), &json!(1))
        );
        let mut keys: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
        // In whatever order other crates of a build let the parser keep them.
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "better",
                "case",
                "group",
                "ours",
                "peers",
                "raw",
                "size",
                "transport",
                "unit"
            ]
        );
    }

    #[test]
    fn the_best_peer_has_the_best_median() {
        let report = report();
        let best = report.records[0].best().unwrap();
        assert_eq!((best.name, report.records[0].ratio(best)), ("omq-tokio", 1.5));
    }
}
