//! The methods of a server, for people and for programs.

use comfy_table::{LineStyle, Table, TableStyle};

use crate::cli::printable::printable;
use crate::rpc::MethodInfo;

/// A table, or a JSON object a line.
pub(super) fn text(methods: &[MethodInfo], json: bool) -> String {
    if json {
        let lines = methods.iter().filter_map(|info| serde_json::to_string(info).ok());
        return lines.collect::<Vec<_>>().join("\n");
    }
    let mut table = Table::new();
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(
        TableStyle::new()
            .top_border(line)
            .header_separator(line)
            .bottom_border(line),
    );
    table.set_header(["method", "takes and answers", "does"]);
    // The application's own first.
    let (inherent, own): (Vec<_>, Vec<_>) = methods
        .iter()
        .partition(|info| info.name.starts_with("flexbond."));
    for info in own.into_iter().chain(inherent) {
        table.add_row(
            [&info.name, &info.signature, &info.description].map(|text| printable(text).into_owned()),
        );
    }
    table.to_string()
}
