//! Which of two formats a scraper would rather have, by its `Accept`.

/// A format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// OpenMetrics where it is asked for by name, and nothing is liked better; text in all other cases.
    pub(super) fn accepted(accept: &str) -> Self {
        let (mut open, mut text) = (0.0, 0.0);
        for item in accept.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let mut quality = 1.0;
            let mut known = true;
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim() {
                    // What cannot be read is not wanted.
                    "q" => quality = value.trim().parse::<f32>().unwrap_or(0.0),
                    "version" if media.starts_with("application/openmetrics") => {
                        known = matches!(value.trim_matches('"'), "1.0.0" | "0.0.1");
                    }
                    _ => {}
                }
            }
            match &*media {
                "application/openmetrics-text" if known => open = quality.max(open),
                "text/plain" => text = quality.max(text),
                _ => {}
            }
        }
        match open > 0.0 && open >= text {
            true => Format::OpenMetrics,
            false => Format::Text,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_open_metrics_gets_it() {
        for accept in [
            "application/openmetrics-text",
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "text/plain; q=0.3, application/openmetrics-text; version=1.0.0; charset=utf-8; q=0.5",
        ] {
            assert_eq!(Format::accepted(accept), Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/html,*/*;q=0.8",
            "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.4",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=x",
            "application/openmetrics-text;version=7.0.0",
            ";;;=,,=;q",
        ] {
            assert_eq!(Format::accepted(accept), Format::Text, "{accept}");
        }
    }
}
