//! `cargo xtask budget`: what a message costs in instructions, compared with what it may cost.

mod book;
mod count;
mod setting;
mod verdict;

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::setup;
use crate::workspace::Workspace;
use book::Book;
use count::{Case, Program};
use setting::Setting;
use verdict::Verdict;

/// Counts the instructions that a message costs on the hot paths of sockets, and fails when they are over budget.
///
/// The cases are in session/benches/instructions.rs; it is built with the release profile and runs under valgrind's
/// callgrind, which takes about a quarter of a minute. The budgets are in session/benches/instructions.toml, with the
/// compiler and machine that they were counted with: with another one the counts are printed, and judged by nobody.
/// Instructions are no time, and what the kernel does is not in them; but they hardly differ from run to run.
#[derive(clap::Args)]
pub struct Args {
    /// Write what is counted now as the new budgets.
    #[arg(long)]
    bless: bool,
}

/// The file with the budgets, relative to the workspace's root.
const BOOK: &str = "session/benches/instructions.toml";
/// How often a case that is over budget is counted before it is believed, and every case when blessing.
const TRIES: usize = 3;

/// Runs the command.
///
/// # Errors
/// When something is over budget, or cannot be counted.
pub fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::load()?;
    setup::ensure(&[setup::VALGRIND])?;
    if let Some(reason) = count::unavailable(&workspace) {
        bail!("{reason}");
    }
    if args.bless {
        return bless(&workspace);
    }
    if let Some(notice) = check(&workspace)? {
        eprintln!("\nNOTICE: {notice}");
    }
    Ok(())
}

/// As the command, for CI: says what could not be checked here, and fails only for what is over budget.
///
/// # Errors
/// When something is over budget, or cannot be counted although valgrind works.
pub(crate) fn check_if_possible(workspace: &Workspace) -> Result<Option<String>> {
    match count::unavailable(workspace) {
        Some(reason) => Ok(Some(format!("instructions were NOT counted: {reason}"))),
        None => check(workspace),
    }
}

/// Compares; returns why nothing was judged, if that is so.
fn check(workspace: &Workspace) -> Result<Option<String>> {
    let path = workspace.root.join(BOOK);
    let book = fs::read_to_string(&path).with_context(|| format!("cannot read {BOOK}"))?;
    let book = Book::parse(&book).with_context(|| format!("{BOOK} cannot be used"))?;
    let program = Program::build(workspace)?;
    let differences = book.setting.differences(&Setting::here(workspace)?);
    let cases = program.cases()?;
    if let Some(complaint) = book.mismatch(&cases) {
        bail!("{complaint}; run `cargo xtask budget --bless` and commit {BOOK}");
    }
    println!("{}", Verdict::heading());
    let mut verdicts = Vec::new();
    for case in &cases {
        let budget = book.budget(&case.name);
        let mut verdict = Verdict::new(&case.name, budget, book.tolerance, program.count(case)?);
        // Once is chance, perhaps.
        for _ in 1..TRIES {
            if verdict.is_over() && differences.is_empty() {
                verdict.counted = verdict.counted.min(program.count(case)?);
            }
        }
        println!("{verdict}");
        verdicts.push(verdict);
    }
    if !differences.is_empty() {
        return Ok(Some(format!(
            "instructions were counted but NOT judged, the budgets of {BOOK} belong to another setting ({})",
            differences.join("; ")
        )));
    }
    match verdict::failure(&verdicts, &program.folder(workspace), BOOK) {
        Some(failure) => bail!("{failure}"),
        None => Ok(None),
    }
}

/// Writes the book anew. The lowest of a few counts is the budget: what is over it is judged by its lowest, too.
fn bless(workspace: &Workspace) -> Result<()> {
    let path = workspace.root.join(BOOK);
    let before = fs::read_to_string(&path)
        .ok()
        .and_then(|text| Book::parse(&text).ok());
    let program = Program::build(workspace)?;
    let cases = program.cases()?;
    let mut budgets = BTreeMap::new();
    println!(
        "{:<22} {:>10} {:>10} {:>10}",
        "per message", "before", "now", "spread"
    );
    for case in &cases {
        let counts = (0..TRIES)
            .map(|_| program.count(case))
            .collect::<Result<Vec<f64>>>()?;
        let (lowest, spread) = lowest_and_spread(&counts);
        let before = before.as_ref().and_then(|book| book.find(&case.name));
        let before = before.map_or("-".to_owned(), |budget| format!("{budget:.1}"));
        println!("{:<22} {before:>10} {lowest:>10.1} {spread:>8.2} %", case.name);
        budgets.insert(case.name.clone(), lowest);
    }
    let book = Book {
        tolerance: before.map_or(Book::TOLERANCE, |book| book.tolerance),
        setting: Setting::here(workspace)?,
        budgets,
    };
    fs::write(&path, book.to_string()).with_context(|| format!("cannot write {BOOK}"))?;
    println!("wrote {BOOK}; commit it together with what made the difference");
    Ok(())
}

/// The lowest count, and how much more the highest is, in percent.
fn lowest_and_spread(counts: &[f64]) -> (f64, f64) {
    let lowest = counts.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = counts.iter().copied().fold(0.0, f64::max);
    (lowest, (highest / lowest - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budgets_of_this_workspace_can_be_read() {
        let workspace = Workspace::load().unwrap();
        let text = fs::read_to_string(workspace.root.join(BOOK)).unwrap();
        assert!(!Book::parse(&text).unwrap().budgets.is_empty());
    }

    #[test]
    fn the_spread_is_relative_to_the_lowest() {
        let (lowest, spread) = lowest_and_spread(&[202.0, 200.0, 204.0]);
        assert_eq!(lowest, 200.0);
        assert!((spread - 2.0).abs() < 1e-9, "{spread}");
    }
}
