//! Numbers with names and labels, in Prometheus' text format 0.0.4 and in that of OpenMetrics 1.0.0.

use std::fmt::Write as _;

use super::negotiation::Format;
use crate::cli::printable::printable;

/// Numbers at one moment. Samples of one name belong together, in whatever order they are added.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exposition {
    families: Vec<Family>,
    health: Option<Health>,
}

/// How a program is, in a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    /// The word.
    pub(crate) status: &'static str,
    /// Whether it does all that it should.
    pub(crate) is_well: bool,
    /// What else there is to say.
    pub(crate) detail: Option<String>,
}

#[derive(Clone, Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Only grows, and begins anew with the program.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Exposition {
    /// No numbers.
    pub(crate) fn new() -> Self {
        Exposition::default()
    }

    /// Says how the program is, for who asks for that alone.
    pub(crate) fn set_health(&mut self, health: Health) {
        self.health = Some(health);
    }

    /// How the program is, if it says so.
    pub(super) fn health(&self) -> Option<&Health> {
        self.health.as_ref()
    }

    /// Adds a number that only grows. `name` is without the suffix `_total`. Values of labels may be others' words.
    pub(crate) fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: u64,
    ) {
        self.add(name, help, Kind::Counter, labels, value as f64);
    }

    /// Adds a number that goes up and down.
    pub(crate) fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        self.add(name, help, Kind::Gauge, labels, value);
    }

    fn add(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        let labels = labels
            .iter()
            .map(|(label, value)| (*label, unambiguous(value)))
            .collect();
        if let Some(family) = self.families.iter_mut().find(|family| family.name == name) {
            family.samples.push((labels, value));
            return;
        }
        self.families.push(Family {
            name,
            help,
            kind,
            samples: vec![(labels, value)],
        });
    }

    /// The text.
    pub(super) fn render(&self, format: Format) -> String {
        let mut text = String::new();
        for family in &self.families {
            family.render(format, &mut text);
        }
        if format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

/// A label that steers no terminal, and no other value's: what shows an escaped character is escaped, too.
fn unambiguous(value: &str) -> String {
    match value.contains('\\') {
        true => value.escape_debug().to_string(),
        false => printable(value).into_owned(),
    }
}

impl Family {
    fn render(&self, format: Format, text: &mut String) {
        let (kind, suffix) = match self.kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
        };
        // OpenMetrics names the family without the suffix of its samples; the older format knows no families.
        let title = match format {
            Format::Text => suffix,
            Format::OpenMetrics => "",
        };
        let name = self.name;
        // Writing to a string does not fail. No help here needs escaping, which a test sees to.
        let _ = writeln!(text, "# HELP {name}{title} {}", self.help);
        let _ = writeln!(text, "# TYPE {name}{title} {kind}");
        for (labels, value) in &self.samples {
            let _ = write!(text, "{name}{suffix}");
            for (index, (label, value)) in labels.iter().enumerate() {
                let before = if index == 0 { "{" } else { "," };
                let _ = write!(text, "{before}{label}=\"{}\"", escaped(value));
            }
            let _ = writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" });
        }
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Exposition {
        let mut exposition = Exposition::new();
        exposition.counter("frames", "Frames seen.", &[("source", "a")], 3);
        exposition.gauge("peers", "Peers now.", &[], 0.5);
        exposition.counter(
            "frames",
            "Frames seen.",
            &[("source", "b"), ("kind", "x")],
            1 << 50,
        );
        exposition
    }

    #[test]
    fn the_text_format_names_counters_in_full() {
        assert_eq!(
            example().render(Format::Text),
            "# HELP frames_total Frames seen.\n\
             # TYPE frames_total counter\n\
             frames_total{source=\"a\"} 3\n\
             frames_total{source=\"b\",kind=\"x\"} 1125899906842624\n\
             # HELP peers Peers now.\n\
             # TYPE peers gauge\n\
             peers 0.5\n"
        );
    }

    #[test]
    fn open_metrics_names_families_and_ends() {
        let text = example().render(Format::OpenMetrics);
        assert!(text.starts_with("# HELP frames Frames seen.\n# TYPE frames counter\nframes_total{"));
        assert!(text.ends_with("peers 0.5\n# EOF\n"));
        assert_eq!(Exposition::new().render(Format::OpenMetrics), "# EOF\n");
    }

    #[test]
    fn labels_cannot_break_out() {
        let mut exposition = Exposition::new();
        exposition.counter("x", "X.", &[("htype", "a\"} 1\nfake 2 \\ \u{1b}[2J")], 1);
        let text = exposition.render(Format::Text);
        assert_eq!(text.lines().count(), 3, "{text}");
        let sample = text.lines().last().unwrap();
        assert!(
            sample.starts_with("x_total{htype=\"a") && sample.ends_with("\"} 1"),
            "{sample}"
        );
        assert!(!text.contains('\u{1b}'), "{text}");
        let quotes = sample.replace("\\\\", "").matches("\\\"").count();
        assert_eq!(sample.matches('"').count() - quotes, 2, "{sample}");
    }

    #[test]
    fn other_values_make_other_labels() {
        let values = ["\u{1b}[2J", "\\u{1b}[2J", "a\\", "a\\\\", "a\n", "a\\n"];
        let mut exposition = Exposition::new();
        for value in values {
            exposition.counter("x", "X.", &[("htype", value)], 1);
        }
        let text = exposition.render(Format::Text);
        let samples: std::collections::BTreeSet<_> = text.lines().skip(2).collect();
        assert_eq!(samples.len(), values.len(), "{text}");
    }
}
