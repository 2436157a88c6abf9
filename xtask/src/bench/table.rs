//! The table in the terminal.

use super::case::bytes;
use super::record::{Entry, Record, Report};

/// All records as a table, and below it what is missing.
pub(super) fn render(report: &Report) -> String {
    let mut rows = vec![
        [
            "case",
            "transport",
            "size",
            "unit",
            "flexbond",
            "best peer",
            "ratio",
            "of raw",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for record in &report.records {
        let best = record.best();
        rows.push(vec![
            record.case.clone(),
            record.transport.to_owned(),
            bytes(record.size),
            record.unit.to_owned(),
            number(record.ours.series.median()),
            best.map_or_else(
                || "-".to_owned(),
                |peer| format!("{} {}", number(peer.series.median()), peer.name),
            ),
            best.map_or_else(|| "-".to_owned(), |peer| ratio(record, peer)),
            record
                .raw
                .as_ref()
                .map_or_else(|| "-".to_owned(), |raw| ratio(record, raw)),
        ]);
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text.push_str("(ratio and of raw: above 1 flexbond is better)\n");
    for note in report.missing() {
        text.push_str("missing: ");
        text.push_str(&note);
        text.push('\n');
    }
    text
}

/// One record in one line.
pub(super) fn line(record: &Record) -> String {
    let mut text = format!(
        "{}: {} {}",
        record.title(),
        number(record.ours.series.median()),
        record.unit
    );
    if !record.ours.series.is_empty() {
        text.push_str(&format!(" ({})", record.ours.setting));
    }
    for other in record.peers.iter().chain(&record.raw) {
        text.push_str(&format!(
            " | {} {} {} ({})",
            other.name,
            number(other.series.median()),
            ratio(record, other),
            other.setting
        ));
    }
    text
}

/// How often we are as good as `other`.
pub(super) fn ratio(record: &Record, other: &Entry) -> String {
    let ratio = record.ratio(other);
    if ratio.is_finite() {
        format!("{ratio:.2}x")
    } else {
        "-".to_owned()
    }
}

/// A number with three or four significant digits; none where nothing was measured.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "-".to_owned(),
        size if size >= 1e6 => format!("{:.2} M", value / 1e6),
        size if size >= 1e4 => format!("{:.0} k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::report;

    #[test]
    fn the_table_names_the_best_peer_and_what_is_missing() {
        let text = render(&report());
        let row = text.lines().nth(1).unwrap();
        assert!(
            row.contains("6.00 M") && row.contains("4.00 M omq-tokio") && row.contains("1.50x"),
            "{text}"
        );
        assert!(row.ends_with("0.50x"), "{text}");
        assert!(text.contains("missing: rzmq"), "{text}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [
                number(6_530_000.0),
                number(87_000.0),
                number(4470.0),
                number(54.26),
                number(0.125),
                number(f64::NAN)
            ],
            ["6.53 M", "87 k", "4470", "54.3", "0.12", "-"]
        );
    }
}
