//! Comparing what was counted with what was allowed.

use std::fmt;
use std::path::Path;

/// One case: what it may cost, and what it costs.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    name: String,
    budget: f64,
    tolerance: f64,
    /// Instructions per message.
    pub(super) counted: f64,
}

impl Verdict {
    pub(super) fn new(name: &str, budget: f64, tolerance: f64, counted: f64) -> Self {
        Verdict {
            name: name.to_owned(),
            budget,
            tolerance,
            counted,
        }
    }

    /// The line above verdicts.
    pub(super) fn heading() -> String {
        format!(
            "{:<22} {:>10} {:>10} {:>10}",
            "per message", "budget", "counted", "difference"
        )
    }

    /// The most that is allowed.
    fn limit(&self) -> f64 {
        self.budget * (1.0 + self.tolerance / 100.0)
    }

    pub(super) fn is_over(&self) -> bool {
        self.counted > self.limit()
    }

    fn is_far_below(&self) -> bool {
        self.counted < self.budget * (1.0 - self.tolerance / 100.0)
    }

    /// In percent of the budget.
    fn difference(&self) -> f64 {
        (self.counted / self.budget - 1.0) * 100.0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<22} {:>10.1} {:>10.1} {:>+8.1} %",
            self.name,
            self.budget,
            self.counted,
            self.difference()
        )?;
        if self.is_over() {
            write!(f, "  OVER the limit of {:.1}", self.limit())?;
        } else if self.is_far_below() {
            write!(f, "  less: `cargo xtask budget --bless` keeps it so")?;
        }
        Ok(())
    }
}

/// What to say, and to do, if a case is over budget. Profiles are in `profiles`, budgets in `book`.
pub(super) fn failure(verdicts: &[Verdict], profiles: &Path, book: &str) -> Option<String> {
    let over: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.is_over()).collect();
    let first = over.first()?;
    let mut text = String::from("messages cost more instructions than they may:\n");
    for verdict in &over {
        text.push_str(&format!(
            "    {}: {:.1} per message, {:+.1} %; the budget is {:.1}, the limit (with a tolerance of {} %) {:.1}\n",
            verdict.name,
            verdict.counted,
            verdict.difference(),
            verdict.budget,
            verdict.tolerance,
            verdict.limit()
        ));
    }
    let profile = profiles.join(format!("{}.callgrind", first.name));
    text.push_str(&format!(
        "where they go: `callgrind_annotate {}`\n\
         if they are worth it: `cargo xtask budget --bless`, then commit {book} and say why",
        profile.display()
    ));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(counted: f64) -> Verdict {
        Verdict::new("a-16", 200.0, 3.0, counted)
    }

    #[test]
    fn the_tolerance_is_allowed_and_no_more() {
        assert!(!verdict(100.0).is_over());
        assert!(!verdict(205.9).is_over());
        assert!(verdict(206.1).is_over());
        assert!(Verdict::new("a", 0.0, 3.0, 0.1).is_over(), "nothing is allowed");
    }

    #[test]
    fn a_line_tells_what_is_unusual() {
        let line = verdict(200.0).to_string();
        assert!(line.ends_with("200.0      200.0     +0.0 %"), "{line}");
        let line = verdict(220.0).to_string();
        assert!(line.contains("+10.0 %  OVER the limit of 206.0"), "{line}");
        let line = verdict(180.0).to_string();
        assert!(
            line.contains("-10.0 %  less: `cargo xtask budget --bless`"),
            "{line}"
        );
    }

    #[test]
    fn a_failure_names_cases_numbers_and_what_to_do() {
        let profiles = Path::new("target/budget");
        assert_eq!(failure(&[verdict(201.0)], profiles, "b.toml"), None);
        let text = failure(&[verdict(201.0), verdict(220.0)], profiles, "b.toml").unwrap();
        for part in [
            "a-16: 220.0 per message, +10.0 %; the budget is 200.0, the limit (with a tolerance of 3 %) 206.0",
            "`callgrind_annotate target/budget/a-16.callgrind`",
            "`cargo xtask budget --bless`, then commit b.toml",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert_eq!(text.matches("per message,").count(), 1);
    }
}
