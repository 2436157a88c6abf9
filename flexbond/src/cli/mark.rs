//! A place in a recording on the command line: a number, a time, or a distance from the first message.

use std::str::FromStr;
use std::time::Duration;

use crate::stream::recording::Timestamp;
use crate::stream::stream2::DateTime;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mark {
    Number(u64),
    Time(Timestamp),
    After(Duration),
}

impl FromStr for Mark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // First, for a number may have a plus sign as well.
        if let Some(seconds) = text.strip_prefix('+') {
            let seconds = seconds.strip_suffix('s').unwrap_or(seconds).parse();
            let after = seconds.ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
            return after
                .map(Mark::After)
                .ok_or_else(|| "not a number of seconds; write +2.5s".to_owned());
        }
        if let Ok(number) = text.parse() {
            return Ok(Mark::Number(number));
        }
        let time = DateTime::new(text).system_time();
        time.map(|time| Mark::Time(time.into())).ok_or_else(|| {
            "neither a number nor a time; write 1000, 2026-11-22T01:00:00Z or +2.5s".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_numbers_times_and_distances() {
        assert_eq!("12".parse(), Ok(Mark::Number(12)));
        assert_eq!("+2.5s".parse(), Ok(Mark::After(Duration::from_millis(2500))));
        assert_eq!("+3".parse(), Ok(Mark::After(Duration::from_secs(3))));
        let time = "1970-01-01T00:00:01.5Z".parse();
        assert_eq!(time, Ok(Mark::Time(Timestamp::from_nanos(1_500_000_000))));
        for bad in ["", "-1", "soon", "+x", "+-1s", "2026-13-01T00:00:00Z"] {
            assert!(bad.parse::<Mark>().is_err(), "{bad}");
        }
    }
}
