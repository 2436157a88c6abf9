//! Ctrl-C ends each program of streams with a summary, whatever it does at that moment.

mod program;

use std::fs;
use std::process::Command;

use program::{End, Program};
use tempfile::TempDir;

const STATS: &str = env!("CARGO_BIN_EXE_m_stats");
const GENERATE: &str = env!("CARGO_BIN_EXE_m_generate");
const DUMP: &str = env!("CARGO_BIN_EXE_m_dump");
const REPLAY: &str = env!("CARGO_BIN_EXE_m_replay");
const SPLIT: &str = env!("CARGO_BIN_EXE_m_split");
const HERE: &str = "tcp://127.0.0.1:0";
/// Nobody listens there.
const NOBODY: &str = "tcp://127.0.0.1:1";

fn start(program: &str, arguments: &[&str]) -> Program {
    Program::start(Command::new(program), arguments)
}

/// Interrupts it: how it ended, with its summary in one of these lines.
#[track_caller]
fn interrupted(program: Program, summary: &str) -> End {
    program.signal("INT");
    let end = program.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let mut lines = end.stdout.iter().chain(&end.stderr);
    assert!(lines.any(|line| line.contains(summary)), "{summary}: {end:?}");
    for line in &end.stderr {
        assert!(!line.contains("error") && !line.contains("panicked"), "{end:?}");
    }
    end
}

/// A folder of a few messages, as mflow writes it.
fn seed_folder(parent: &TempDir) -> String {
    let folder = parent.path().join("seed");
    fs::create_dir(&folder).unwrap();
    for message in 0..3 {
        let header = format!(r#"{{"htype":"raw-1.0","frame":{message}}}"#);
        fs::write(folder.join(format!("{message:06}_000.raw")), header).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

#[test]
fn fault_13_ctrl_c_ends_what_waits_with_a_summary() {
    let place = TempDir::new().unwrap();
    let seed = seed_folder(&place);
    let file = place.path().join("run.fbr");
    let folder = place.path().join("dumped");
    let cases: [(Program, &str); 9] = [
        (start(STATS, &[NOBODY]), "No messages received."),
        (start(STATS, &["tcp://*:0"]), "No messages received."),
        (start(GENERATE, &["-a", HERE]), "No messages sent."),
        (
            start(GENERATE, &["-a", HERE, "--delay", "1000"]),
            "No messages sent.",
        ),
        (
            start(DUMP, &[NOBODY, "--record", file.to_str().unwrap()]),
            "Received: 0 messages",
        ),
        (
            start(DUMP, &[NOBODY, folder.to_str().unwrap()]),
            "Received: 0 messages",
        ),
        (start(REPLAY, &[&seed, "-a", HERE]), "Sent: 0 messages"),
        (start(SPLIT, &[NOBODY, "tcp://*:0"]), "Received:"),
        (
            Program::flexbond(&["merge", NOBODY, "tcp://127.0.0.1:2", "-a", HERE]),
            "0 messages",
        ),
    ];
    for (mut program, summary) in cases {
        program.line();
        interrupted(program, summary);
    }
    // What is shown has standard output for itself.
    let mut dump = start(DUMP, &[NOBODY]);
    dump.event("Listening to ");
    interrupted(dump, "Received: 0 messages");
}

#[test]
fn fault_13_ctrl_c_ends_what_works_with_a_summary() {
    let place = TempDir::new().unwrap();
    let seed = seed_folder(&place);
    let mut generate = start(GENERATE, &["-a", HERE, "--size-bytes", "1K", "--linger", "0"]);
    let source = generate.line().rsplit(' ').next().unwrap().to_owned();
    let mut stats = start(STATS, &[&source, "-i", "0"]);
    for _ in 0..20 {
        stats.line();
    }
    interrupted(stats, "Messages received:");
    let mut dump = start(DUMP, &[&source]);
    for _ in 0..20 {
        dump.line();
    }
    interrupted(dump, "Received: ");
    interrupted(generate, "Messages sent:");

    let mut replay = start(REPLAY, &[&seed, "-a", HERE, "--loop", "--linger", "0"]);
    let source = replay.line().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(start(STATS, &[&source, "-n", "30"]).end().code, Some(0));
    let end = interrupted(replay, "Sent: ");
    assert!(
        end.stdout.iter().any(|line| line.starts_with("Rounds: ")),
        "{end:?}"
    );
}
