//! The table at the end of the demo.

use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};

use super::quantity;
use super::stage::{Outcome, Stage};

/// One row for each stage.
pub(super) fn table(done: &[(Stage, Outcome)]) -> Table {
    let mut table = Table::new();
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(
        TableStyle::new()
            .top_border(line)
            .header_separator(line)
            .bottom_border(line),
    );
    table.set_header(
        [
            "pattern",
            "transport",
            "size",
            "messages",
            "data",
            "messages/s",
            "data/s",
            "round trip p50 / p99",
            "lost",
        ]
        .map(right_but_first()),
    );
    for (stage, outcome) in done {
        let seconds = outcome.elapsed.as_secs_f64().max(1e-9);
        let round_trip = outcome.round_trip.map_or_else(String::new, |(median, high)| {
            format!(
                "{} / {}",
                quantity::short_time(median),
                quantity::short_time(high)
            )
        });
        // Through inproc a message changes hands; its payload is not moved at all.
        let (data, speed) = if stage.moves_bytes() {
            (
                quantity::bytes(outcome.bytes as f64),
                format!("{}/s", quantity::bytes(outcome.bytes as f64 / seconds)),
            )
        } else {
            ("not copied".to_owned(), String::new())
        };
        let row = [
            stage.pattern.name().to_owned(),
            stage.transport.to_owned(),
            quantity::size(stage.size),
            quantity::grouped(outcome.messages),
            data,
            quantity::count(outcome.rate()),
            speed,
            round_trip,
            if outcome.fault.is_some() { "FAILED" } else { "0" }.to_owned(),
        ];
        table.add_row(row.map(right_but_first()));
    }
    table
}

/// Words to the left, numbers to the right.
fn right_but_first<T: ToString>() -> impl FnMut(T) -> Cell {
    let mut column = 0;
    move |text| {
        column += 1;
        let cell = Cell::new(text);
        if column > 2 {
            cell.set_alignment(CellAlignment::Right)
        } else {
            cell
        }
    }
}
