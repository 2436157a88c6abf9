//! What flexbond is to reach, beside what it reached.

use super::record::{Entry, Record, Report};
use super::table::number;

/// What is to be reached in one record.
#[derive(Debug)]
pub(super) struct Bar {
    /// The record's title.
    pub(super) record: String,
    pub(super) reach: Reach,
}

/// How much is enough.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reach {
    /// So many times as good as the best of these peers.
    Times {
        factor: f64,
        peers: &'static [&'static str],
    },
    /// So much of what raw reaches.
    OfRaw(f64),
    /// Our own number, whatever the others'.
    AtMost(f64),
}

/// Lines of a table in Markdown: what was to be reached and what was, as far as it was measured. Above 1 is enough.
pub(super) fn table(bars: &[Bar], report: &Report) -> Vec<String> {
    let rows: Vec<String> = bars.iter().filter_map(|bar| row(bar, report)).collect();
    if rows.is_empty() {
        return rows;
    }
    let head = [
        "| bar | to reach | reached | of the bar |",
        "| --- | --- | --- | --- |",
    ];
    head.map(str::to_owned).into_iter().chain(rows).collect()
}

fn row(bar: &Bar, report: &Report) -> Option<String> {
    let record = report
        .records
        .iter()
        .find(|record| record.title() == bar.record && !record.ours.series.is_empty())?;
    let (wanted, reached, share) = match bar.reach {
        Reach::Times { factor, peers } => {
            let best = best(record, peers)?;
            let ratio = record.ratio(best);
            let wanted = format!("{factor:.2}x the best of {}", peers.join(", "));
            let reached = format!("{ratio:.2}x {} ({})", best.name, number(best.series.median()));
            (wanted, reached, ratio / factor)
        }
        Reach::OfRaw(factor) => {
            let raw = record.raw.as_ref()?;
            let ratio = record.ratio(raw);
            let reached = format!("{ratio:.2} of {}", number(raw.series.median()));
            (format!("{factor:.2} of raw"), reached, ratio / factor)
        }
        Reach::AtMost(most) => {
            let ours = record.ours.series.median();
            (format!("at most {most}"), format!("{ours:.2}"), most / ours)
        }
    };
    Some(format!(
        "| {} | {wanted} | {} {}: {reached} | **{share:.2}** |",
        bar.record,
        number(record.ours.series.median()),
        record.unit
    ))
}

/// The best of these peers, as far as they were measured.
fn best<'a>(record: &'a Record, peers: &[&str]) -> Option<&'a Entry> {
    let known = record.peers.iter().filter(|peer| peers.contains(&peer.name));
    known.reduce(|best, peer| {
        let is_better = record.better.ratio(peer.series.median(), best.series.median()) > 1.0;
        if is_better { peer } else { best }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::report;

    fn lines(reach: Reach) -> Vec<String> {
        let record = "push/pull tcp 16 B".to_owned();
        table(&[Bar { record, reach }], &report())
    }

    #[test]
    fn the_best_of_the_named_peers_counts() {
        let peers = &["libzmq", "omq-tokio"];
        let lines = lines(Reach::Times { factor: 2.0, peers });
        assert_eq!(lines.len(), 3);
        assert!(lines[2].contains("1.50x omq-tokio (4.00 M)"), "{}", lines[2]);
        assert!(lines[2].ends_with("| **0.75** |"), "{}", lines[2]);
    }

    #[test]
    fn raw_and_numbers_are_bars_too() {
        assert!(lines(Reach::OfRaw(0.25))[2].ends_with("| **2.00** |"));
        assert!(lines(Reach::AtMost(3e6))[2].ends_with("| **0.50** |"));
    }

    #[test]
    fn what_was_not_measured_has_no_line() {
        let peers = &["rzmq"];
        assert!(lines(Reach::Times { factor: 2.0, peers }).is_empty());
        let record = "another".to_owned();
        let bar = Bar {
            record,
            reach: Reach::AtMost(1.0),
        };
        assert!(table(&[bar], &report()).is_empty());
    }
}
