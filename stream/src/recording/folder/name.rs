//! The names of a folder's files.

/// Which part of which message a file is. In order: by message, then by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartName {
    pub(super) message: u64,
    pub(super) part: u32,
}

impl PartName {
    /// Reads `000012_003.raw`; any number of digits will do.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (message, part) = name.strip_suffix(".raw")?.split_once('_')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (digits(message) && digits(part)).then_some(())?;
        Some(PartName {
            message: message.parse().ok()?,
            part: part.parse().ok()?,
        })
    }

    /// The name as `m_dump` writes it.
    pub(super) fn canonical(self) -> String {
        format!("{:06}_{:03}.raw", self.message, self.part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_width_are_read_and_all_others_are_foreign() {
        for (name, message, part) in [
            ("000000_000.raw", 0, 0),
            ("999999_012.raw", 999_999, 12),
            ("1000000_1000.raw", 1_000_000, 1_000),
            ("7_1.raw", 7, 1),
        ] {
            assert_eq!(PartName::parse(name), Some(PartName { message, part }));
        }
        for name in [
            "",
            ".raw",
            "_.raw",
            "1_.raw",
            "_1.raw",
            "1_1",
            "1_1.RAW",
            "1_1.raw.part",
            "a_1.raw",
            "1_-1.raw",
            "+1_1.raw",
            "1_1_1.raw",
            "18446744073709551616_0.raw",
            "0_4294967296.raw",
        ] {
            assert_eq!(PartName::parse(name), None, "{name}");
        }
        let name = PartName {
            message: 1_000_000,
            part: 3,
        };
        assert_eq!(name.canonical(), "1000000_003.raw");
        assert!(
            PartName {
                message: 999_999,
                part: 9
            } < name
        );
    }
}
