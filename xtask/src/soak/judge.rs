//! What was seen, and whether it may be: figures with their bounds.

use super::usage::Usage;

/// Mebibytes that a program may have grown by: allocators keep what they had once.
const GROWTH: f64 = 8.0;
/// And as a share of what it had.
const GROWTH_SHARE: f64 = 0.25;
/// Share of a processor that a program with nothing to do may use.
const IDLE: f64 = 0.2;

/// What a figure may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    /// Anything; it is told only.
    Any,
    Exactly(f64),
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    /// Of two values of one figure, the one that is closer to the bound, or further beyond it.
    fn worse(self, one: f64, other: f64) -> f64 {
        match self {
            Bound::Any => other,
            Bound::Exactly(bound) if (one - bound).abs() > (other - bound).abs() => one,
            Bound::Exactly(_) => other,
            Bound::AtMost(_) => one.max(other),
            Bound::AtLeast(_) => one.min(other),
        }
    }

    fn holds(self, value: f64) -> bool {
        match self {
            Bound::Any => true,
            Bound::Exactly(bound) => value == bound,
            Bound::AtMost(bound) => value <= bound,
            Bound::AtLeast(bound) => value >= bound,
        }
    }
}

/// One figure of a case.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) case: &'static str,
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) bound: Bound,
}

impl Figure {
    pub(super) fn holds(&self) -> bool {
        self.bound.holds(self.value)
    }
}

/// All figures, and what is to be said besides.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub(super) figures: Vec<Figure>,
    pub(super) notes: Vec<String>,
    failures: usize,
}

impl Sheet {
    /// A figure of a round. Of several rounds, the worst is kept; of what is told only, the last.
    pub(super) fn add(&mut self, case: &'static str, name: impl Into<String>, value: f64, bound: Bound) {
        let name = name.into();
        let known = self
            .figures
            .iter_mut()
            .find(|figure| figure.case == case && figure.name == name && figure.bound == bound);
        match known {
            Some(known) => known.value = bound.worse(known.value, value),
            None => self.figures.push(Figure {
                case,
                name,
                value,
                bound,
            }),
        }
    }

    /// What a program holds when all is over, compared with when it had warmed up.
    pub(super) fn growth(&mut self, case: &'static str, program: &str, before: Usage, after: Usage) {
        let allowed = GROWTH.max(before.resident * GROWTH_SHARE);
        let grown = after.resident - before.resident;
        self.add(
            case,
            format!("{program}: memory grown, MiB"),
            grown,
            Bound::AtMost(allowed),
        );
        self.add(
            case,
            format!("{program}: descriptors more"),
            after.descriptors as f64 - before.descriptors as f64,
            Bound::AtMost(0.0),
        );
    }

    /// The share of a processor that a program used while there was nothing to do.
    pub(super) fn idle(&mut self, case: &'static str, program: &str, share: f64) {
        self.add(
            case,
            format!("{program}: processor when idle"),
            share,
            Bound::AtMost(IDLE),
        );
    }

    pub(super) fn failed(&mut self, case: &'static str, why: &str) {
        self.failures += 1;
        self.notes.push(format!("{case} FAILED: {why}"));
    }

    pub(super) fn interrupted(&mut self, case: &'static str) {
        self.figures.retain(Figure::holds);
        self.failures = 0;
        self.notes.push(format!("{case}: interrupted"));
    }

    pub(super) fn append(&mut self, other: Sheet) {
        self.figures.extend(other.figures);
        self.notes.extend(other.notes);
        self.failures += other.failures;
    }

    /// How many figures are out of their bounds, and cases that failed.
    pub(super) fn broken(&self) -> usize {
        self.failures + self.figures.iter().filter(|figure| !figure.holds()).count()
    }

    pub(super) fn holds(&self) -> bool {
        self.broken() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(resident: f64, descriptors: usize) -> Usage {
        Usage {
            resident,
            descriptors,
            processor: 0.0,
        }
    }

    #[test]
    fn bounds_hold_at_their_edge_and_not_beyond() {
        for (bound, good, bad) in [
            (Bound::Exactly(0.0), 0.0, 1.0),
            (Bound::AtMost(2.0), 2.0, 2.1),
            (Bound::AtLeast(2.0), 2.0, 1.9),
        ] {
            assert!(bound.holds(good) && !bound.holds(bad), "{bound:?}");
        }
        assert!(Bound::Any.holds(f64::MAX));
        assert!(!Bound::AtMost(2.0).holds(f64::NAN), "no figure is no good figure");
    }

    #[test]
    fn growth_is_judged_by_what_there_was() {
        let judged = |before, after| {
            let mut sheet = Sheet::default();
            sheet.growth("case", "program", before, after);
            sheet.broken()
        };
        assert_eq!(judged(usage(10.0, 9), usage(18.0, 9)), 0);
        assert_eq!(judged(usage(10.0, 9), usage(18.1, 9)), 1);
        assert_eq!(
            judged(usage(100.0, 9), usage(125.0, 8)),
            0,
            "a quarter of a large one"
        );
        assert_eq!(
            judged(usage(10.0, 9), usage(10.0, 10)),
            1,
            "one descriptor leaked"
        );
    }

    #[test]
    fn of_several_rounds_the_worst_counts() {
        for (bound, values, worst) in [
            (Bound::AtMost(2.0), [1.0, 3.0, 2.0], 3.0),
            (Bound::AtLeast(2.0), [3.0, 1.0, 2.0], 1.0),
            (Bound::Exactly(0.0), [0.0, 1.0, 0.0], 1.0),
            (Bound::Any, [5.0, 9.0, 7.0], 7.0),
        ] {
            let mut sheet = Sheet::default();
            for value in values {
                sheet.add("case", "figure", value, bound);
            }
            assert_eq!(sheet.figures.len(), 1);
            assert_eq!(sheet.figures[0].value, worst, "{bound:?}");
        }
    }

    #[test]
    fn failures_and_figures_count() {
        let mut sheet = Sheet::default();
        sheet.idle("case", "program", 0.01);
        assert!(sheet.holds());
        sheet.idle("case", "program", 0.9);
        let mut other = Sheet::default();
        other.failed("other", "nobody answers");
        sheet.append(other);
        assert_eq!(sheet.broken(), 2);
        assert_eq!(sheet.notes, ["other FAILED: nobody answers"]);
    }

    #[test]
    fn an_interrupted_case_is_not_judged() {
        let mut sheet = Sheet::default();
        sheet.add("case", "lost", 3.0, Bound::Exactly(0.0));
        sheet.add("case", "rounds", 3.0, Bound::Any);
        sheet.interrupted("case");
        assert!(sheet.holds());
        assert_eq!(sheet.figures.len(), 1);
    }
}
