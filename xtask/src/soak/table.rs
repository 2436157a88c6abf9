//! The table of figures in the terminal.

use super::judge::{Bound, Sheet};

/// All figures with their bounds, and below them what is to be said besides.
pub(super) fn render(sheet: &Sheet) -> String {
    let mut rows = vec![["case", "figure", "value", "bound", ""].map(str::to_owned)];
    for figure in &sheet.figures {
        let bound = match figure.bound {
            Bound::Any => String::new(),
            Bound::Exactly(bound) => format!("= {}", number(bound)),
            Bound::AtMost(bound) => format!("<= {}", number(bound)),
            Bound::AtLeast(bound) => format!(">= {}", number(bound)),
        };
        let verdict = match (figure.holds(), figure.bound) {
            (false, _) => "BROKEN",
            (true, Bound::Any) => "",
            (true, _) => "ok",
        };
        rows.push([
            figure.case.to_owned(),
            figure.name.clone(),
            number(figure.value),
            bound,
            verdict.to_owned(),
        ]);
    }
    let widths = [0, 1, 2, 3].map(|column| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    });
    let mut text = String::new();
    for [case, figure, value, bound, verdict] in &rows {
        let [first, second, third, fourth] = widths;
        let line = format!("{case:<first$}  {figure:<second$}  {value:>third$}  {bound:<fourth$}  {verdict}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for note in &sheet.notes {
        text.push_str(note);
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

/// Whole numbers as they are, others with two digits.
fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_bounds_and_what_is_out_of_them() {
        let mut sheet = Sheet::default();
        sheet.add("flapping", "connections", 1234.0, Bound::Any);
        sheet.add("flapping", "lost", 2.0, Bound::Exactly(0.0));
        sheet.add("disk", "memory grown, MiB", 1.256, Bound::AtMost(8.0));
        sheet.notes.push("partition: not possible here".to_owned());
        let text = render(&sheet);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "flapping  connections         1234");
        assert!(
            lines[2].ends_with("= 0    BROKEN") && lines[3].ends_with("1.26  <= 8   ok"),
            "{text}"
        );
        assert_eq!(lines[4], "partition: not possible here");
    }
}
