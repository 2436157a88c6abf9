//! Contenders that are measured in turn, each with the setting that the case asks for.

use anyhow::Result;

use super::case::{Heading, Metric, Outcome};
use super::record::{Entry, Parts, Report};
use super::series::Series;
use super::{OURS, RAW};

/// All contenders of one case. `P` says how one of them is run.
pub(super) struct Turns<'a, P> {
    heading: &'a Heading,
    metrics: &'a [Metric],
    entrants: Vec<Entrant<P>>,
}

/// A contender, and what it reached.
struct Entrant<P> {
    name: &'static str,
    plan: P,
    entries: Vec<Entry>,
    is_out: bool,
}

impl<'a, P> Turns<'a, P> {
    /// Nobody yet.
    pub(super) fn new(heading: &'a Heading, metrics: &'a [Metric]) -> Self {
        Turns {
            heading,
            metrics,
            entrants: Vec::new(),
        }
    }

    /// A contender takes part. `setting` is for the report: what its programs are told, and `about` which those are.
    pub(super) fn enter(&mut self, name: &'static str, setting: &str, about: &str, plan: P) {
        let entry = Entry {
            name,
            setting: setting.to_owned(),
            about: about.to_owned(),
            series: Series::default(),
        };
        self.entrants.push(Entrant {
            name,
            plan,
            entries: vec![entry; self.metrics.len()],
            is_out: false,
        });
    }

    /// Measures `runs` rounds and adds a record for each metric to the report. A run that fails is missing there; who
    /// fails before anything was measured is not asked again, because waiting for it would take all the time.
    ///
    /// Returns whether flexbond was measured, or does not take part.
    pub(super) fn take(
        mut self,
        runs: usize,
        report: &mut Report,
        mut measure: impl FnMut(&P) -> Result<Outcome>,
    ) -> bool {
        for _ in 0..runs {
            for entrant in self.entrants.iter_mut().filter(|entrant| !entrant.is_out) {
                match measure(&entrant.plan) {
                    Ok(outcome) => entrant.add(self.metrics, &outcome),
                    Err(error) => {
                        entrant.is_out = !entrant.is_measured();
                        report.miss(self.heading, entrant.name, &format!("{error:#}"));
                    }
                }
            }
        }
        for (index, metric) in self.metrics.iter().enumerate() {
            if let Some(parts) = self.parts(index) {
                report.add(self.heading, metric, index == 0, parts);
            }
        }
        let ours = self.entrants.iter().find(|entrant| entrant.name == OURS);
        ours.is_none_or(Entrant::is_measured)
    }

    /// Everybody's part in the record of a metric; none when nobody has a value.
    fn parts(&self, index: usize) -> Option<Parts> {
        let mut parts = Parts {
            ours: Entry {
                name: OURS,
                setting: String::new(),
                about: String::new(),
                series: Series::default(),
            },
            peers: Vec::new(),
            raw: None,
        };
        let mut is_empty = true;
        for entrant in &self.entrants {
            let entry = entrant.entries[index].clone();
            if entry.series.is_empty() {
                continue;
            }
            is_empty = false;
            match entrant.name {
                OURS => parts.ours = entry,
                RAW => parts.raw = Some(entry),
                _ => parts.peers.push(entry),
            }
        }
        (!is_empty).then_some(parts)
    }
}

impl<P> Entrant<P> {
    fn add(&mut self, metrics: &[Metric], outcome: &Outcome) {
        for (metric, entry) in metrics.iter().zip(&mut self.entries) {
            if let Some(value) = (metric.read)(outcome).filter(|value| value.is_finite()) {
                entry.series.add(value);
            }
        }
    }

    fn is_measured(&self) -> bool {
        self.entries.iter().any(|entry| !entry.series.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;
    use serde_json::{Value, json};

    use super::*;
    use crate::bench::case::{Better, metric};

    const METRICS: [Metric; 2] = [
        metric(" mean", "µs", Better::Lower, |outcome| outcome.number("mean_us")),
        metric(" p99", "µs", Better::Lower, |outcome| outcome.number("p99_us")),
    ];

    fn heading() -> Heading {
        Heading {
            group: "groups",
            name: "barrier".to_owned(),
            transport: "lo",
            size: 0,
        }
    }

    /// What three contenders report after two rounds, and whether we were measured.
    fn taken(
        heading: &Heading,
        mut measure: impl FnMut(&str, usize) -> Result<Value>,
    ) -> (Report, bool, Vec<String>) {
        let mut turns = Turns::new(heading, &METRICS);
        for name in [OURS, "camure", RAW] {
            turns.enter(name, "rounds=1", "a program", name);
        }
        let mut report = Report::new(Vec::new());
        let mut asked = Vec::new();
        let is_measured = turns.take(2, &mut report, |name| {
            let before = asked.iter().filter(|asked| asked == name).count();
            asked.push((*name).to_owned());
            Ok(Outcome {
                measured: measure(name, before)?,
                other: Value::Null,
            })
        });
        (report, is_measured, asked)
    }

    #[test]
    fn everybody_has_a_turn_in_each_round() {
        let heading = heading();
        let (report, is_measured, asked) = taken(&heading, |_, before| {
            Ok(json!({ "mean_us": before, "p99_us": null }))
        });
        assert!(is_measured);
        assert_eq!(asked, [OURS, "camure", RAW, OURS, "camure", RAW]);
        let [record] = &report.records[..] else {
            panic!("nobody has a p99: {:?}", report.records);
        };
        assert_eq!(record.case, "barrier mean");
        assert_eq!(record.ours.series.values(), [0.0, 1.0]);
        assert_eq!(record.peers[0].name, "camure");
        assert!(record.raw.is_some());
    }

    #[test]
    fn who_never_has_a_value_is_out_and_named() {
        let heading = heading();
        let (report, is_measured, asked) = taken(&heading, |name, before| match (name, before) {
            (OURS, _) => bail!("not done within 20 s"),
            ("camure", 1) => bail!("nobody answers"),
            _ => Ok(json!({ "mean_us": 1 })),
        });
        assert!(!is_measured);
        assert_eq!(asked, [OURS, "camure", RAW, "camure", RAW]);
        let record = &report.records[0];
        assert!(record.ours.series.is_empty());
        assert_eq!(record.peers[0].series.values(), [1.0]);
        assert_eq!(
            report.missing(),
            [
                "flexbond: not done within 20 s (in: barrier lo)",
                "camure: nobody answers (in: barrier lo)"
            ]
        );
    }
}
