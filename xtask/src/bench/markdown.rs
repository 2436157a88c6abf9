//! The report as a Markdown document.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::case::bytes;
use super::record::{Entry, Report};
use super::roster::{GROUPS, Group};
use super::table::{number, ratio};
use super::{bars, rpc};

/// The whole document.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::from("# Bench report\n\n");
    for fact in &report.facts {
        line(&mut text, format_args!("- {fact}"));
    }
    text.push_str(
        "\nMedian (minimum to maximum) of the runs; behind a peer's figure how often flexbond is as good: above 1 \
         flexbond is better.\n\n![chart](report.svg)\n\n",
    );
    for group in &GROUPS {
        table(&mut text, report, group);
    }
    let bars = bars::table(&rpc::bars(), report);
    if !bars.is_empty() {
        text.push_str("## Bars of rpc\n\nAbove 1 a bar is reached:\n\n");
        text.push_str(&bars.join("\n"));
        text.push_str("\n\n");
    }
    settings(&mut text, report);
    let missing = report.missing();
    if !missing.is_empty() {
        text.push_str("\n## Missing\n\n");
        for note in missing {
            line(&mut text, format_args!("- {note}"));
        }
    }
    text
}

/// The figures of a group, if there are any.
fn table(text: &mut String, report: &Report, group: &Group) {
    let mut records = report
        .records
        .iter()
        .filter(|record| record.group == group.name)
        .peekable();
    if records.peek().is_none() {
        return;
    }
    let (name, peers) = (group.name, group.peers);
    line(text, format_args!("## {name}\n"));
    line(
        text,
        format_args!(
            "| case | transport | size | unit | flexbond | {} | raw |",
            peers.join(" | ")
        ),
    );
    line(text, format_args!("|{}", " --- |".repeat(6 + peers.len())));
    for record in records {
        let other = |entry: &Entry| format!("{} **{}**", spread(entry), ratio(record, entry));
        let peers: Vec<String> = peers
            .iter()
            .map(|name| {
                record
                    .peers
                    .iter()
                    .find(|peer| peer.name == *name)
                    .map_or_else(|| "-".to_owned(), other)
            })
            .collect();
        line(
            text,
            format_args!(
                "| {} | {} | {} | {} | {} | {} | {} |",
                record.case,
                record.transport,
                bytes(record.size),
                record.unit,
                spread(&record.ours),
                peers.join(" | "),
                record.raw.as_ref().map_or_else(|| "-".to_owned(), other)
            ),
        );
    }
    text.push('\n');
}

/// With what everybody was measured.
fn settings(text: &mut String, report: &Report) {
    text.push_str(
        "## Settings\n\nOf sockets the best setting of each contender for the case; else what the case asks for:\n\n",
    );
    let mut settings = BTreeSet::new();
    for record in report.records.iter().filter(|record| record.headline) {
        let entries = std::iter::once(&record.ours)
            .chain(&record.peers)
            .chain(&record.raw)
            .filter(|entry| !entry.series.is_empty());
        let chosen: Vec<String> = entries
            .map(|entry| {
                settings.insert(format!("- {}, {}: {}", entry.name, entry.setting, entry.about));
                format!("{} {}", entry.name, entry.setting)
            })
            .collect();
        line(text, format_args!("- {}: {}", record.title(), chosen.join(", ")));
    }
    text.push_str("\nWhat they mean:\n\n");
    for setting in settings {
        line(text, format_args!("{setting}"));
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

fn spread(entry: &Entry) -> String {
    let series = &entry.series;
    if series.is_empty() {
        return "-".to_owned();
    }
    format!(
        "{} ({} to {})",
        number(series.median()),
        number(series.min()),
        number(series.max())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::report;

    #[test]
    fn the_document_has_spreads_ratios_settings_and_gaps() {
        let text = render(&report());
        assert!(text.contains("6.00 M (5.00 M to 7.00 M)"), "{text}");
        assert!(text.contains("4.00 M (4.00 M to 4.00 M) **1.50x**"), "{text}");
        assert!(text.contains("- flexbond, current-thread: one thread"), "{text}");
        assert!(text.contains("## Missing"), "{text}");
    }
}
