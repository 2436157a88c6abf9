//! `cargo xtask bench`: measures flexbond and its peers side by side.

mod bars;
mod build;
mod case;
mod chart;
mod collectives;
mod contest;
mod crew;
mod federation;
mod figures;
mod groups;
mod lab;
mod machine;
mod markdown;
mod ranks;
mod record;
mod relayed;
mod roster;
mod rpc;
mod run;
mod series;
mod sockets;
mod streams;
mod table;
mod turns;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use build::{Contender, OURS, RAW};
use record::Report;
use roster::{AnyCase, Field, GROUPS, Manner};

/// Measures flexbond and its peers side by side, and what the system itself reaches.
///
/// The contenders live in xtask/peers. They are run in turn (ours, a peer, ours, the next peer …) with equal settings.
/// Writes report.json, details.json, report.md and report.svg into the target folder's `bench`, and prints the table.
/// What cannot be built or run is named there.
///
/// `sockets`: patterns over tcp, ipc and inproc beside libzmq, omq-tokio, rzmq, zeromq and plain streams. For each case
/// every documented setting of every contender is tried first, and the best one is measured.
///
/// `groups`: barriers and broadcasts of a session beside camure and bare UDP, on loopback and in a network lab (see
/// `cargo xtask netlab`), there also with loss. Where no lab can be made, its cases are named as missing.
///
/// `collectives`: allreduce, broadcast and barrier on 2, 4 and 8 ranks beside Open MPI, which
/// `apt-get install -y --no-install-recommends libopenmpi-dev openmpi-bin` installs and nothing else does.
///
/// `streams`: m_generate and m_stats beside those of Python mflow (from the environment of `cargo xtask interop`) and
/// bare TCP, with messages of 1 MiB and of 10 kB. `--only decode`: decompression of bitshuffle-lz4 on one core beside the
/// C code of the Python packages bitshuffle and hdf5plugin (xtask/bench-requirements.txt). `--only record`: m_dump --record
/// and the recorder alone beside dd on the same disk, synced alike; needs 4 GiB of the target folder's disk. `--only
/// split`: m_split to four receivers, one of which stops to receive, beside the same with none that does.
///
/// `rpc`: calls over tcp beside tarpc, tonic, capnp-rpc and plain streams, with the best of each contender's settings;
/// ours over ipc and inproc, too. Says how far the bars are reached. 10,000 connections need as many open files (`ulimit -n`).
///
/// `federation`: two parties that swap values by a message server, beside servers made with tonic (by single calls, by
/// streams, and by streams of batches) and bare TCP; a tensor of 256 MiB, with the memory that it takes; messages kept on
/// disk beside redb's own inserts; many parties, many jobs, and two servers one after the other. Says how far the bars are
/// reached.
#[derive(clap::Args)]
pub struct Args {
    /// Only this group of cases: sockets, groups, collectives, streams, rpc or federation.
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
    /// Only build the contenders of all groups, and print where they are; or why one cannot be built.
    #[arg(long)]
    build: bool,
}

/// Runs the command.
///
/// # Errors
/// When flexbond itself cannot be built or measured, or a report cannot be written. A peer's failure is reported
/// and no error.
pub fn run(args: &Args) -> Result<()> {
    let mut cases = cases(args)?;
    if args.list {
        for case in &cases {
            println!("{}", case.heading().title());
        }
        return Ok(());
    }
    let manner = Manner {
        quick: args.quick,
        runs: args.runs.unwrap_or(if args.quick { 1 } else { 5 }),
    };
    if manner.runs == 0 {
        bail!("--runs is at least 1");
    }
    let workspace = Workspace::load()?;
    let mut report = Report::new(machine::facts());
    let is_used = |name: &str| cases.iter().any(|case| case.heading().group == name);
    let field = Field::build(&workspace, |group| args.build || is_used(group.name), &mut report)?;
    if args.build {
        print_programs(&field);
        return Ok(());
    }
    let used = GROUPS.iter().filter(|group| is_used(group.name));
    report.facts.extend(used.map(|group| manner.rules(group.name)));
    without_labs_where_there_are_none(&mut cases, &mut report);
    let total = cases.len();
    let mut failed = Vec::new();
    let folder = workspace.target.join("bench");
    write(&folder, &report)?;
    for (index, case) in cases.iter().enumerate() {
        let title = case.heading().title();
        eprintln!("[{}/{total}] {title}", index + 1);
        let before = report.records.len();
        if !case.hold(&field, manner, &folder, &mut report) {
            failed.push(title);
        }
        for record in &report.records[before..] {
            eprintln!("    {}", table::line(record));
        }
        // What is measured so far survives an interruption.
        write(&folder, &report)?;
    }
    println!("{}", table::render(&report));
    let bars: Vec<_> = rpc::bars().into_iter().chain(federation::bars()).collect();
    for line in bars::table(&bars, &report) {
        println!("{line}");
    }
    println!("written: {}", folder.join("report.{json,md,svg}").display());
    if !failed.is_empty() {
        bail!("flexbond could not be measured in: {}", failed.join("; "));
    }
    Ok(())
}

/// Those that are missing were named when they failed.
fn print_programs(field: &Field) {
    for contender in field
        .contenders
        .iter()
        .chain(&field.callers)
        .chain(&field.parties)
    {
        println!("{:<20} {}", contender.name, contender.program.display());
    }
    for (name, program) in &field.programs {
        println!("{name:<20} {}", program.display());
    }
}

fn cases(args: &Args) -> Result<Vec<AnyCase>> {
    let group = args.group.as_deref();
    if let Some(group) = group
        && GROUPS.iter().all(|known| known.name != group)
    {
        let names = GROUPS.map(|known| known.name).join(", ");
        bail!("no group is called {group}; there are: {names}");
    }
    let mut cases = roster::cases(group, args.quick);
    if !args.only.is_empty() {
        cases.retain(|case| {
            let title = case.heading().title();
            args.only.iter().any(|text| title.contains(text))
        });
    }
    if cases.is_empty() {
        bail!("no case matches; `cargo xtask bench --list` prints those that exist");
    }
    Ok(cases)
}

/// Where no labs can be made, names the cases that need one as missing, and leaves them out.
fn without_labs_where_there_are_none(cases: &mut Vec<AnyCase>, report: &mut Report) {
    let needs_lab = |case: &AnyCase| matches!(case, AnyCase::Lab(_));
    if !cases.iter().any(needs_lab) {
        return;
    }
    if let Err(error) = lab::permit() {
        let why = format!("no network lab can be made: {error:#}");
        for case in cases.extract_if(.., |case| needs_lab(case)) {
            report.miss(case.heading(), "everybody", &why);
        }
    }
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
