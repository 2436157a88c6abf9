//! The counts in Prometheus' text format 0.0.4.

use std::fmt::Write as _;

use super::{OUTCOMES, Snapshot};

pub(super) fn render(prefix: &str, snapshot: &Snapshot) -> String {
    let prefix = sound(prefix);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, &prefix, snapshot);
    text
}

fn write(text: &mut String, prefix: &str, snapshot: &Snapshot) -> std::fmt::Result {
    writeln!(text, "# HELP {prefix}_calls_in_flight Calls under way.")?;
    writeln!(text, "# TYPE {prefix}_calls_in_flight gauge")?;
    writeln!(text, "{prefix}_calls_in_flight {}", snapshot.in_flight)?;
    writeln!(text, "# HELP {prefix}_calls_total Calls that ended.")?;
    writeln!(text, "# TYPE {prefix}_calls_total counter")?;
    for method in &snapshot.methods {
        let name = escaped(&method.name);
        let ended = OUTCOMES.iter().zip(&method.outcomes);
        for (outcome, count) in ended.filter(|(_, count)| **count > 0) {
            writeln!(
                text,
                "{prefix}_calls_total{{method=\"{name}\",outcome=\"{outcome}\"}} {count}"
            )?;
        }
    }
    let family = format!("{prefix}_call_duration_seconds");
    writeln!(
        text,
        "# HELP {family} How long calls took, of streams until their end."
    )?;
    writeln!(text, "# TYPE {family} histogram")?;
    for method in &snapshot.methods {
        let name = escaped(&method.name);
        for (bound, count) in &method.buckets {
            let bound = bound.as_secs_f64();
            writeln!(
                text,
                "{family}_bucket{{method=\"{name}\",le=\"{bound}\"}} {count}"
            )?;
        }
        let total = method.total();
        writeln!(text, "{family}_bucket{{method=\"{name}\",le=\"+Inf\"}} {total}")?;
        let sum = method.duration.as_secs_f64();
        writeln!(text, "{family}_sum{{method=\"{name}\"}} {sum}")?;
        writeln!(text, "{family}_count{{method=\"{name}\"}} {total}")?;
    }
    Ok(())
}

/// What may stand in the name of a metric.
fn sound(prefix: &str) -> String {
    let is_sound = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let mut sound: String = prefix
        .chars()
        .map(|letter| if is_sound(letter) { letter } else { '_' })
        .collect();
    if sound.starts_with(|first: char| first.is_ascii_digit()) {
        sound.insert(0, '_');
    }
    sound
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::record::Record;
    use super::*;

    #[test]
    fn the_format_is_that_of_prometheus() {
        let record = Record::default();
        record.count(0, std::time::Duration::from_millis(2));
        record.count(2, std::time::Duration::from_secs(99));
        let snapshot = Snapshot {
            in_flight: 3,
            methods: vec![record.snapshot("a\"b\\c\nd")],
        };
        let text = render("2 my-server", &snapshot);
        let lines: Vec<_> = text.lines().collect();
        for line in [
            "# TYPE _2_my_server_calls_in_flight gauge",
            "_2_my_server_calls_in_flight 3",
            "# TYPE _2_my_server_calls_total counter",
            r#"_2_my_server_calls_total{method="a\"b\\c\nd",outcome="ok"} 1"#,
            r#"_2_my_server_calls_total{method="a\"b\\c\nd",outcome="failed"} 1"#,
            "# TYPE _2_my_server_call_duration_seconds histogram",
            r#"_2_my_server_call_duration_seconds_bucket{method="a\"b\\c\nd",le="0.001"} 0"#,
            r#"_2_my_server_call_duration_seconds_bucket{method="a\"b\\c\nd",le="0.0025"} 1"#,
            r#"_2_my_server_call_duration_seconds_bucket{method="a\"b\\c\nd",le="60"} 1"#,
            r#"_2_my_server_call_duration_seconds_bucket{method="a\"b\\c\nd",le="+Inf"} 2"#,
            r#"_2_my_server_call_duration_seconds_sum{method="a\"b\\c\nd"} 99.002"#,
            r#"_2_my_server_call_duration_seconds_count{method="a\"b\\c\nd"} 2"#,
        ] {
            assert!(lines.contains(&line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with('\n'));
    }
}
