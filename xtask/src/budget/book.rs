//! The file that says what each case may cost.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use super::Case;
use super::setting::Setting;

/// The budgets, and what they were counted with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Book {
    /// How many percent more than its budget a case may cost.
    pub(super) tolerance: f64,
    pub(super) setting: Setting,
    /// Instructions per message by the name of the case.
    pub(super) budgets: BTreeMap<String, f64>,
}

const HEAD: &str = "\
# What a message of each case in instructions.rs costs in instructions, both sides together, on one thread (in
# pub-4-sub: a published message; in req-rep: a round trip). `cargo xtask budget` counts and compares, `cargo xtask
# budget --bless` writes this file anew; only the tolerance is for people to edit.
";

const TOLERANCE_NOTE: &str = "\
# Percent. The same program counts the same within 0.1 percent, wherever it was built. A change elsewhere can make a
# case cost up to 3 percent more or less, as the compiler inlines something else; the rest is for comfort.
";

const SETTING_NOTE: &str = "\
# Compilers, C libraries (malloc, memcpy) and processors (which memcpy) differ by more than that: elsewhere the counts
# are printed and not judged.
";

impl Book {
    /// The tolerance where there is no file yet.
    pub(super) const TOLERANCE: f64 = 5.0;

    /// Reads the file.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let table: Table = text.parse().context("not TOML")?;
        let tolerance = table
            .get("tolerance")
            .and_then(number)
            .context("`tolerance` is not a number")?;
        if !(0.0..100.0).contains(&tolerance) {
            bail!("`tolerance` is {tolerance}, not a percentage below 100");
        }
        let setting = table
            .get("setting")
            .and_then(Value::as_table)
            .context("there is no [setting]")?;
        let budgets = table
            .get("instructions")
            .and_then(Value::as_table)
            .context("there is no [instructions]")?;
        Ok(Book {
            tolerance,
            setting: Setting::from_table(setting)?,
            budgets: budgets
                .iter()
                .map(|(name, value)| {
                    let budget = number(value).filter(|budget| *budget > 0.0);
                    let budget = budget.with_context(|| format!("`{name}` is not a number above zero"))?;
                    Ok((name.clone(), budget))
                })
                .collect::<Result<_>>()?,
        })
    }

    /// What `case` may cost, if it is known.
    pub(super) fn find(&self, case: &str) -> Option<f64> {
        self.budgets.get(case).copied()
    }

    /// As [`find`](Self::find), for a case that is there for sure; nothing is allowed to one that is not.
    pub(super) fn budget(&self, case: &str) -> f64 {
        self.find(case).unwrap_or_default()
    }

    /// A complaint if the cases with a budget are not the cases that there are.
    pub(super) fn mismatch(&self, cases: &[Case]) -> Option<String> {
        let without = cases.iter().find(|case| self.find(&case.name).is_none());
        if let Some(case) = without {
            return Some(format!("{} has no budget", case.name));
        }
        let mut names = self.budgets.keys();
        let stranger = names.find(|name| !cases.iter().any(|case| case.name == **name))?;
        Some(format!("there is a budget for {stranger}, but no such case"))
    }
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEAD}\n{TOLERANCE_NOTE}tolerance = {:.1}\n", self.tolerance)?;
        write!(f, "\n{SETTING_NOTE}[setting]\n")?;
        for (name, value) in self.setting.lines() {
            writeln!(f, "{name} = {value:?}")?;
        }
        write!(f, "\n[instructions]\n")?;
        for (name, budget) in &self.budgets {
            writeln!(f, "{name} = {budget:.1}")?;
        }
        Ok(())
    }
}

fn number(value: &Value) -> Option<f64> {
    value
        .as_float()
        .or_else(|| value.as_integer().map(|whole| whole as f64))
        .filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> Book {
        Book {
            tolerance: 3.0,
            setting: Setting::example(),
            budgets: [("a-16".to_owned(), 252.4), ("b-1024".to_owned(), 24_787.0)].into(),
        }
    }

    fn case(name: &str) -> Case {
        Case {
            name: name.to_owned(),
            messages: 1,
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let text = book().to_string();
        assert_eq!(Book::parse(&text).unwrap(), book(), "{text}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = book().to_string();
        for (from, to, expected) in [
            ("252.4", "\"many\"", "`a-16` is not a number above zero"),
            ("252.4", "0", "`a-16` is not a number above zero"),
            ("252.4", "nan", "`a-16` is not a number above zero"),
            (
                "tolerance = 3.0",
                "tolerance = 300",
                "`tolerance` is 300, not a percentage below 100",
            ),
            ("tolerance = 3.0", "", "`tolerance` is not a number"),
            ("[instructions]", "[other]", "there is no [instructions]"),
            ("[setting]", "[other]", "there is no [setting]"),
            ("[setting]", "[", "not TOML"),
        ] {
            let error = Book::parse(&good.replace(from, to)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn cases_and_budgets_must_be_the_same() {
        let book = book();
        assert_eq!(book.mismatch(&[case("a-16"), case("b-1024")]), None);
        let more = book.mismatch(&[case("a-16"), case("b-1024"), case("c")]);
        assert_eq!(more.as_deref(), Some("c has no budget"));
        let fewer = book.mismatch(&[case("b-1024")]);
        assert_eq!(
            fewer.as_deref(),
            Some("there is a budget for a-16, but no such case")
        );
    }
}
