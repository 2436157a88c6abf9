//! `cargo xtask soak`: real programs under what breaks programs, and what is left of them afterwards.

mod build;
mod crew;
mod descriptors;
mod disk;
mod federation;
mod flapping;
mod hostile;
mod judge;
mod killed;
mod partition;
mod paused;
mod program;
mod raw;
mod relay;
mod slowloris;
mod stage;
mod stalled;
mod table;
mod usage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::judge::Sheet;
use self::stage::Stage;
use crate::workspace::Workspace;

/// Runs programs of flexbond under what breaks programs: peers that come and go, stall, die or lie, full disks, no
/// descriptors, partitions.
///
/// Each case has its share of the time, makes at least one round, and judges what it saw: nothing is lost that was
/// promised, memory and descriptors come back to where they began, nobody stays busy. Prints a table of figures, and
/// fails when one of them is out of its bound. Ctrl-C ends it with the table so far. The programs are built without
/// optimisation: what is measured is growth, not speed.
#[derive(clap::Args)]
pub struct Args {
    /// How long all cases take together. Each has an equal share.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    time: u64,
    /// Only the case of this name (repeatable).
    #[arg(long, value_name = "CASE")]
    only: Vec<String>,
    /// Only print the cases, one a line.
    #[arg(long)]
    list: bool,
}

/// One thing that is done to programs.
struct Case {
    name: &'static str,
    what: &'static str,
    run: fn(&mut Stage<'_>) -> Result<()>,
}

const CASES: [Case; 10] = [
    Case {
        name: "flapping",
        what: "500 peers that connect, talk and cut, again and again",
        run: flapping::run,
    },
    Case {
        name: "slowloris",
        what: "handshakes of a byte now and then, with NULL, CURVE and TLS",
        run: slowloris::run,
    },
    Case {
        name: "stalled",
        what: "subscribers and pullers that stop reading",
        run: stalled::run,
    },
    Case {
        name: "killed",
        what: "kill -9 in every role",
        run: killed::run,
    },
    Case {
        name: "paused",
        what: "SIGSTOP, and SIGCONT later",
        run: paused::run,
    },
    Case {
        name: "disk",
        what: "full disks where files are written",
        run: disk::run,
    },
    Case {
        name: "descriptors",
        what: "no file descriptors left",
        run: descriptors::run,
    },
    Case {
        name: "partition",
        what: "networks that fall apart and heal",
        run: partition::run,
    },
    Case {
        name: "federation",
        what: "kill -9 of a message server and its parties, at random",
        run: federation::run,
    },
    Case {
        name: "hostile",
        what: "peers that lie in every protocol",
        run: hostile::run,
    },
];

/// Runs the command.
///
/// # Errors
/// When programs cannot be built, a case is unknown, or a figure is out of its bound.
pub fn run(args: &Args) -> Result<()> {
    let cases = chosen(&args.only)?;
    if args.list {
        for case in cases {
            println!("{:<12} {}", case.name, case.what);
        }
        return Ok(());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    ctrlc::set_handler(move || stopping.store(true, Ordering::SeqCst)).context("cannot listen to Ctrl-C")?;
    let programs = build::programs(&Workspace::load()?)?;
    let begin = Instant::now();
    let mut sheet = Sheet::default();
    for (index, case) in cases.iter().enumerate() {
        // What one case needed beyond its share, the others have less.
        let left = Duration::from_secs(args.time).saturating_sub(begin.elapsed());
        let share = left / u32::try_from(cases.len() - index).unwrap_or(1);
        eprintln!("{}: {} ({:.0} s)", case.name, case.what, share.as_secs_f64());
        let mut stage = Stage::new(case.name, &programs, share, &stop);
        let ended = (case.run)(&mut stage);
        let mut figures = stage.conclude();
        if stop.load(Ordering::SeqCst) {
            // What it would have judged, it did not see to the end.
            figures.interrupted(case.name);
            sheet.append(figures);
            break;
        }
        if let Err(error) = ended {
            figures.failed(case.name, &format!("{error:#}"));
        }
        if !figures.holds() {
            eprintln!("{}", table::render(&figures));
        }
        sheet.append(figures);
    }
    println!("{}", table::render(&sheet));
    println!("{:.0} s", begin.elapsed().as_secs_f64());
    if stop.load(Ordering::SeqCst) {
        bail!("interrupted: this is the table so far");
    }
    let broken = sheet.broken();
    if broken > 0 {
        bail!("{broken} figures are out of their bounds");
    }
    Ok(())
}

fn chosen(only: &[String]) -> Result<Vec<&'static Case>> {
    for name in only {
        if !CASES.iter().any(|case| case.name == name) {
            bail!("no case is called {name}; `cargo xtask soak --list` prints those that exist");
        }
    }
    Ok(CASES
        .iter()
        .filter(|case| only.is_empty() || only.iter().any(|name| name == case.name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_chosen_by_name() {
        assert_eq!(chosen(&[]).unwrap().len(), CASES.len());
        let names: Vec<_> = chosen(&["disk".to_owned()])
            .unwrap()
            .iter()
            .map(|case| case.name)
            .collect();
        assert_eq!(names, ["disk"]);
        let Err(error) = chosen(&["dusk".to_owned()]) else {
            panic!("there is no such case");
        };
        assert!(error.to_string().contains("dusk"), "{error}");
    }
}
