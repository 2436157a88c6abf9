//! Dates and times as RFC 3339 texts (CBOR tag 0).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A date and time, as the text that travels.
///
/// The text is kept as it came, its offset from UTC included; [`system_time`](Self::system_time) reads it.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use flexbond_stream::stream2::DateTime;
///
/// let armed = DateTime::new("2023-02-10T15:49:05.281+01:00");
/// let at = UNIX_EPOCH + Duration::from_millis(1_676_040_545_281);
/// assert_eq!(armed.system_time(), Some(at));
/// assert_eq!(DateTime::from(at).as_str(), "2023-02-10T14:49:05.281000Z");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DateTime {
    text: String,
}

impl DateTime {
    /// A date from its RFC 3339 text, which is not checked.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        DateTime { text: text.into() }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The point in time; `None` when the text is not of RFC 3339, and before 1970.
    #[must_use]
    pub fn system_time(&self) -> Option<SystemTime> {
        let (seconds, nanos) = parse(self.text.as_bytes())?;
        UNIX_EPOCH.checked_add(Duration::new(u64::try_from(seconds).ok()?, nanos))
    }
}

/// In UTC, to the microsecond; times before 1970 become 1970, those after 9999 the last second of that year.
impl From<SystemTime> for DateTime {
    fn from(time: SystemTime) -> Self {
        // 9999-12-31T23:59:59Z, the last year that RFC 3339 can write.
        const LAST: u64 = 253_402_300_799;
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs().min(LAST);
        let (year, month, day) = civil((seconds / 86_400) as i64);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let micros = since.subsec_micros();
        DateTime::new(format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
        ))
    }
}

/// Seconds since 1970 in UTC, and nanoseconds; a leap second counts as the first of the next minute.
fn parse(text: &[u8]) -> Option<(i64, u32)> {
    let mut text = Text(text);
    let year = text.digits(4)?;
    text.one_of(b"-")?;
    let month = text.digits(2).filter(|month| (1..=12).contains(month))?;
    text.one_of(b"-")?;
    let day = text.digits(2).filter(|day| (1..=31).contains(day))?;
    let days = days(year, month, day);
    // Days that a month does not have come back as another month's.
    if civil(days) != (year, month, day) {
        return None;
    }
    text.one_of(b"Tt ")?;
    let hour = text.digits(2).filter(|&hour| hour < 24)?;
    text.one_of(b":")?;
    let minute = text.digits(2).filter(|&minute| minute < 60)?;
    text.one_of(b":")?;
    let second = text.digits(2).filter(|&second| second <= 60)?;
    let nanos = if text.one_of(b".").is_some() {
        text.fraction()?
    } else {
        0
    };
    let offset = match text.one_of(b"Zz+-")? {
        sign @ (b'+' | b'-') => {
            let hours = text.digits(2).filter(|&hours| hours < 24)?;
            text.one_of(b":")?;
            let minutes = text.digits(2).filter(|&minutes| minutes < 60)?;
            let offset = hours * 3600 + minutes * 60;
            if sign == b'+' { offset } else { -offset }
        }
        _ => 0,
    };
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    text.0.is_empty().then_some((seconds, nanos))
}

/// What is left of a text.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        allowed.contains(&first).then(|| {
            self.0 = rest;
            first
        })
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let mut value = 0;
        for _ in 0..count {
            value = value * 10 + i64::from(self.one_of(b"0123456789")? - b'0');
        }
        Some(value)
    }

    /// Nanoseconds from at least one digit; digits after the ninth are dropped.
    fn fraction(&mut self) -> Option<u32> {
        let mut unit = 100_000_000;
        let mut nanos = u32::from(self.one_of(b"0123456789")? - b'0') * unit;
        while let Some(digit) = self.one_of(b"0123456789") {
            unit /= 10;
            nanos += u32::from(digit - b'0') * unit;
        }
        Some(nanos)
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, counted in years that begin in March, so that the leap
/// day is their last, and in eras of 400 of them.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The reverse of [`days`]: year, month and day.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        let since = DateTime::new(text).system_time()?.duration_since(UNIX_EPOCH);
        Some(since.unwrap().as_secs())
    }

    #[test]
    fn known_times() {
        // From `date -u -d … +%s`.
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T01:00:00+01:00", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2023-02-10T15:49:05.281+01:00", 1_676_040_545),
            ("2023-02-10t14:49:05z", 1_676_040_545),
            ("2023-02-10 09:49:05-05:00", 1_676_040_545),
            ("2016-12-31T23:59:60Z", 1_483_228_800),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ];
        for (text, expected) in cases {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "2023-02-10",
            "2023-02-30T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-00-01T00:00:00Z",
            "2023-01-00T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:60:00Z",
            "2023-01-01T00:00:00",
            "2023-01-01T00:00:00.Z",
            "2023-01-01T00:00:00+1:00",
            "2023-01-01T00:00:00Zx",
            "+023-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "FIX",
        ] {
            assert_eq!(DateTime::new(text).system_time(), None, "{text}");
        }
    }

    #[test]
    fn fractions_are_kept_to_the_nanosecond() {
        for (fraction, nanos) in [
            ("1", 100_000_000),
            ("281", 281_000_000),
            ("1234567899", 123_456_789),
        ] {
            let text = format!("1970-01-01T00:00:00.{fraction}Z");
            let expected = UNIX_EPOCH + Duration::from_nanos(nanos);
            assert_eq!(DateTime::new(text).system_time(), Some(expected));
        }
    }

    #[test]
    fn times_out_of_reach_are_clamped() {
        assert_eq!(
            DateTime::from(UNIX_EPOCH - Duration::from_secs(1)).as_str(),
            "1970-01-01T00:00:00.000000Z"
        );
        let late = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(DateTime::from(late).as_str(), "9999-12-31T23:59:59.000000Z");
    }

    proptest::proptest! {
        #[test]
        fn times_round_trip(micros in 0_u64..253_402_300_799_000_000) {
            let time = UNIX_EPOCH + Duration::from_micros(micros);
            proptest::prop_assert_eq!(DateTime::from(time).system_time(), Some(time));
        }

        #[test]
        fn arbitrary_text_never_panics(text: String, near in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+Z-]{0,24}") {
            let _ = (DateTime::new(text).system_time(), DateTime::new(near).system_time());
        }
    }
}
