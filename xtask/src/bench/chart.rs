//! The chart: for every case how flexbond compares with the best peer, as SVG.

use std::fmt::Write;

use super::record::{Record, Report};
use super::table::number;

const ROW: usize = 20;
const LABELS: f64 = 330.0;
const PLOT: f64 = 420.0;
const WIDTH: f64 = 980.0;
const TOP: usize = 64;
/// The ratios at the plot's edges; the axis is logarithmic.
const EDGES: (f64, f64) = (0.25, 8.0);

/// One bar for each case's headline, from 1 to the ratio with the best peer.
pub(super) fn render(report: &Report) -> String {
    let rows: Vec<&Record> = report
        .records
        .iter()
        .filter(|record| record.headline && record.best().is_some() && !record.ours.series.is_empty())
        .collect();
    let height = TOP + rows.len() * ROW + 16;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"22\" font-size=\"16\">flexbond and the best peer of each case (above 1: flexbond is better)\
         </text>\n"
    );
    for tick in [0.25, 0.5, 1.0, 2.0, 4.0, 8.0] {
        let x = position(tick);
        let (colour, bottom) = (if tick == 1.0 { "#444" } else { "#ddd" }, height - 12);
        push(
            &mut svg,
            format_args!(
                "<line x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{colour}\"/>",
                TOP - 8
            ),
        );
        push(
            &mut svg,
            format_args!(
                "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#444\">{tick}x</text>",
                TOP - 14
            ),
        );
    }
    for (index, record) in rows.iter().enumerate() {
        bar(&mut svg, record, TOP + index * ROW);
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(svg: &mut String, record: &Record, y: usize) {
    let Some(best) = record.best() else { return };
    let ratio = record.ratio(best);
    let (from, to) = (position(1.0), position(ratio));
    let colour = if ratio >= 1.0 { "#2a7f62" } else { "#c0533f" };
    let label = escape(&record.title());
    let text = y + 14;
    push(
        svg,
        format_args!(
            "<text x=\"{:.1}\" y=\"{text}\" text-anchor=\"end\">{label}</text>",
            LABELS - 8.0
        ),
    );
    push(
        svg,
        format_args!(
            "<rect x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/>",
            from.min(to),
            y + 3,
            (to - from).abs().max(0.5),
            ROW - 6
        ),
    );
    let figures = escape(&format!(
        "{ratio:.2}x  {} : {} {}, {}",
        number(record.ours.series.median()),
        best.name,
        number(best.series.median()),
        record.unit
    ));
    push(
        svg,
        format_args!(
            "<text x=\"{:.1}\" y=\"{text}\" fill=\"#333\" font-size=\"11\">{figures}</text>",
            LABELS + PLOT + 8.0 - 160.0
        ),
    );
}

/// Where a ratio stands on the logarithmic axis.
fn position(ratio: f64) -> f64 {
    let ratio = if ratio.is_finite() {
        ratio.clamp(EDGES.0, EDGES.1)
    } else {
        1.0
    };
    LABELS + (PLOT - 180.0) * (ratio / EDGES.0).log2() / (EDGES.1 / EDGES.0).log2()
}

fn push(svg: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(svg, "{line}");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::report;

    #[test]
    fn every_headline_has_a_bar() {
        let svg = render(&report());
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(
            svg.contains("push/pull tcp 16 B") && svg.contains("1.50x"),
            "{svg}"
        );
    }

    #[test]
    fn the_axis_is_logarithmic_and_bounded() {
        assert!((position(2.0) - position(1.0) - (position(4.0) - position(2.0))).abs() < 1e-9);
        assert_eq!(position(1e9), position(8.0));
        assert_eq!(position(f64::NAN), position(1.0));
        assert_eq!(escape("1 -> 4"), "1 -&gt; 4");
    }
}
