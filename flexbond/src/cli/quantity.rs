//! Numbers for people: bytes, rates, counts, durations.

use std::time::Duration;

/// `1.5 MB`: powers of 1000, three digits.
pub(crate) fn bytes(count: f64) -> String {
    scaled(count, &["B", "kB", "MB", "GB", "TB"])
}

/// `12.3 k`: powers of 1000, three digits.
pub(crate) fn count(count: f64) -> String {
    scaled(count, &["", "k", "M", "G"]).trim_end().to_owned()
}

/// `2.50 Hz`, `1.89 kHz`: powers of 1000, three digits.
pub(crate) fn rate(hertz: f64) -> String {
    with_digits(hertz, &["Hz", "kHz", "MHz", "GHz"], false)
}

/// Without digits after the point where the unit is the first.
fn scaled(value: f64, units: &[&str]) -> String {
    with_digits(value, units, true)
}

fn with_digits(mut value: f64, units: &[&str], whole: bool) -> String {
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 && whole => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {}", units[unit])
}

/// `12345678` as `12,345,678`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 message`, `12,345 messages`.
pub(crate) fn messages(number: u64) -> String {
    several(number, "message")
}

/// `1 array`, `12,345 arrays`: of things whose name takes an s.
pub(crate) fn several(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number))
}

/// A size as it was asked for: `16 B`, `1 KiB`, `1 MiB`.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        b if b >= 1 << 20 && b.is_multiple_of(1 << 20) => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b.is_multiple_of(1 << 10) => format!("{} KiB", b >> 10),
        b => format!("{b} B"),
    }
}

/// A short time: `45.2 µs`, `1.30 ms`.
pub(crate) fn short_time(time: Duration) -> String {
    scaled(time.as_secs_f64() * 1e9, &["ns", "µs", "ms", "s"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(999.0), "999 B");
        assert_eq!(bytes(999.6), "1.00 kB");
        assert_eq!(bytes(3_415_000_000.0), "3.42 GB");
        assert_eq!(count(12.0), "12");
        assert_eq!(count(82_000.0), "82.0 k");
        assert_eq!(count(820_000.0), "820 k");
        assert_eq!(rate(0.5), "0.50 Hz");
        assert_eq!(rate(81.3), "81.3 Hz");
        assert_eq!(rate(1_890.0), "1.89 kHz");
        assert_eq!(rate(2.5e6), "2.50 MHz");
        assert_eq!(several(1, "array"), "1 array");
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(messages(1), "1 message");
        assert_eq!(messages(1000), "1,000 messages");
        assert_eq!(size(16), "16 B");
        assert_eq!(size(1 << 14), "16 KiB");
        assert_eq!(short_time(Duration::from_nanos(45_200)), "45.2 µs");
    }
}
