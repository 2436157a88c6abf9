//! What the summaries of programs that pass streams on have in common.

use std::fmt::Write as _;

use super::quantity;
use crate::stream::{Statistics, Totals};

/// Before a summary and behind it.
pub(crate) const RULE: &str = "____________________________________________________________";

/// The first lines of a summary: how long it took, and how much it was.
pub(crate) fn begin(statistics: &Statistics, totals: &Totals, label: &str) -> String {
    let mut text = format!("{RULE}\n");
    let seconds = statistics.elapsed().as_secs_f64();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{:<22}{seconds:>14.3} s", "Total elapsed time:");
    let _ = writeln!(
        text,
        "{label:<22}{:>14} messages, {:.3} MB",
        quantity::grouped(totals.messages),
        totals.bytes as f64 / 1e6
    );
    text
}
