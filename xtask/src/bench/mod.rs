//! `cargo xtask bench`: measures flexbond and its peers side by side.

mod build;
mod case;
mod chart;
mod contest;
mod machine;
mod markdown;
mod record;
mod run;
mod series;
mod sockets;
mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use build::{Contender, OURS, PEERS, RAW};
use case::Case;
use contest::{Contest, Timing};
use record::Report;

/// Measures flexbond and its peers side by side, and what the system itself reaches.
///
/// The contenders live in xtask/peers, each a program with the same command line. They are run in turn (ours, a peer,
/// ours, the next peer …) with equal settings; for each case every documented setting of every contender is tried
/// first, and the best one is measured. Writes report.json, details.json, report.md and report.svg into the target
/// folder's `bench`, and prints the table. What cannot be built or run is named there.
#[derive(clap::Args)]
pub struct Args {
    /// Only this group of cases. Groups: sockets.
    group: Option<String>,
    /// One short run of each; good to see that everything works, too short for conclusions.
    #[arg(long)]
    quick: bool,
    /// How often each contender is measured.
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Only cases whose name contains this, as in `--only "req/rep tcp 16 B"`. May be repeated.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Only print the names of the cases.
    #[arg(long)]
    list: bool,
    /// Only build the contenders, those of groups and collectives too, and print where they are; or why one cannot
    /// be built.
    #[arg(long)]
    build: bool,
}

/// Runs the command.
///
/// # Errors
/// When flexbond itself cannot be built or measured, or a report cannot be written. A peer's failure is reported
/// and no error.
pub fn run(args: &Args) -> Result<()> {
    let cases = cases(args)?;
    if args.list {
        for case in &cases {
            println!("{}", case.title());
        }
        return Ok(());
    }
    let workspace = Workspace::load()?;
    let mut report = Report::new(machine::facts());
    let contenders = build::all(&workspace, &mut report)?;
    if args.build {
        print_programs(&workspace, &contenders);
        return Ok(());
    }
    let (runs, timing) = if args.quick {
        (args.runs.unwrap_or(1), Timing::QUICK)
    } else {
        (args.runs.unwrap_or(5), Timing::FULL)
    };
    if runs == 0 {
        bail!("--runs is at least 1");
    }
    report.facts.push(contest::rules(runs, timing));
    let total = cases.len();
    let mut failed = Vec::new();
    let folder = workspace.target.join("bench");
    for (index, case) in cases.iter().enumerate() {
        eprintln!("[{}/{total}] {}", index + 1, case.title());
        let before = report.records.len();
        if let Err(error) = Contest::new(case, &contenders, timing, &folder).hold(runs, &mut report) {
            report.miss(case, OURS, &format!("{error:#}"));
            failed.push(case.title());
        }
        for record in &report.records[before..] {
            eprintln!("    {}", table::line(record));
        }
        // What is measured so far survives an interruption.
        write(&folder, &report)?;
    }
    println!("{}", table::render(&report));
    println!("written: {}", folder.join("report.{json,md,svg}").display());
    if !failed.is_empty() {
        bail!("flexbond could not be measured in: {}", failed.join("; "));
    }
    Ok(())
}

/// Those of sockets that are missing were named when they failed.
fn print_programs(workspace: &Workspace, contenders: &[Contender]) {
    let groups = build::groups(workspace);
    for contender in contenders {
        println!("{:<10} {}", contender.name, contender.program.display());
    }
    for (name, program) in &groups {
        match program {
            Ok(program) => println!("{name:<10} {}", program.display()),
            Err(error) => println!("{name:<10} CANNOT BE BUILT: {error:#}"),
        }
    }
}

fn cases(args: &Args) -> Result<Vec<Case>> {
    let mut cases = match args.group.as_deref() {
        None | Some("sockets") => sockets::cases(),
        Some(other) => bail!("no group is called {other}; there is: sockets"),
    };
    if !args.only.is_empty() {
        cases.retain(|case| args.only.iter().any(|text| case.title().contains(text)));
    }
    if cases.is_empty() {
        bail!("no case matches; `cargo xtask bench --list` prints those that exist");
    }
    Ok(cases)
}

fn write(folder: &Path, report: &Report) -> Result<()> {
    fs::create_dir_all(folder)?;
    let files = [
        ("report.json", report.json()),
        ("details.json", report.details()),
        ("report.md", markdown::render(report)),
        ("report.svg", chart::render(report)),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
