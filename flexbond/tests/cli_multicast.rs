//! The programs of streams at `udp://` addresses: one source, many receivers.

mod program;

use std::fs;
use std::process::Command;
use std::time::Instant;

use program::{End, PATIENCE, Program};
use serde_json::Value;

fn m(program: &str, arguments: &[&str]) -> Program {
    let path = match program {
        "m_stats" => env!("CARGO_BIN_EXE_m_stats"),
        "m_generate" => env!("CARGO_BIN_EXE_m_generate"),
        "m_dump" => env!("CARGO_BIN_EXE_m_dump"),
        "m_replay" => env!("CARGO_BIN_EXE_m_replay"),
        _ => env!("CARGO_BIN_EXE_m_split"),
    };
    Program::start(Command::new(path), arguments)
}

/// A source that sends until it is stopped, and where it is.
fn generate(address: &str, arguments: &[&str]) -> (Program, String) {
    let own = ["-m", "pub", "-a", address, "-s", "0.01", "--rate", "200"];
    let mut generate = m("m_generate", &[&own, arguments].concat());
    let endpoint = generate.line().rsplit(' ').next().unwrap().to_owned();
    (generate, endpoint)
}

fn stats(source: &str, arguments: &[&str]) -> Program {
    m("m_stats", &[&[source, "-m", "sub", "--json"], arguments].concat())
}

/// A group address that no other test of this run is likely to have.
fn multicast(test: u32) -> String {
    let id = std::process::id();
    format!(
        "239.254.{}.{}:{}",
        1 + id % 250,
        1 + id / 250 % 250,
        20_000 + id % 1000 * 8 + test
    )
}

#[track_caller]
fn well(end: &End) {
    assert_eq!(end.code, Some(0), "{end:#?}");
}

/// The object in the last line of a program that ended well.
#[track_caller]
fn summary(end: &End) -> Value {
    well(end);
    let line: Value = serde_json::from_str(end.stdout.last().expect("a summary")).unwrap();
    line["summary"].clone()
}

/// Reads lines until one says that more than so many messages have come; returns how many.
#[track_caller]
fn more_than(stats: &mut Program, messages: u64) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let line: Value = serde_json::from_str(&stats.line()).unwrap();
        if let Some(count) = line["messages"].as_u64().filter(|count| *count > messages) {
            return count;
        }
    }
    panic!("nothing comes");
}

fn stop(generate: Program) {
    generate.signal("INT");
    well(&generate.end());
}

#[test]
fn one_source_serves_all_receivers() {
    let group = multicast(0);
    for arguments in [&[][..], &["--multicast", &group, "--interface", "127.0.0.1"]] {
        let (generate, endpoint) = generate("udp://127.0.0.1:0", arguments);
        let first = stats(&endpoint, &["-n", "100"]);
        let second = stats(&endpoint, &["-n", "200"]);
        for (stats, count) in [(first, 100), (second, 200)] {
            let summary = summary(&stats.end());
            assert_eq!(summary["messages"], count, "{summary}");
            for zero in ["lost_frames", "duplicates", "malformed"] {
                assert_eq!(summary[zero], 0, "{summary}");
            }
        }
        stop(generate);
    }
}

#[test]
fn a_receiver_outlives_its_source() {
    let group = multicast(1);
    // Somewhere where nobody is yet.
    let (nobody, endpoint) = generate("udp://127.0.0.1:0", &[]);
    stop(nobody);
    let mut stats = stats(&endpoint, &["-i", "0.1"]);
    let mut seen = 0;
    for _ in 0..2 {
        let (source, same) = generate(&endpoint, &["--multicast", &group]);
        assert_eq!(same, endpoint);
        seen = more_than(&mut stats, seen + 20);
        source.signal("KILL");
        assert_eq!(source.end().code, None);
        // What had come before it died.
        while let Some(line) = stats.line_within(std::time::Duration::from_millis(300)) {
            let line: Value = serde_json::from_str(&line).unwrap();
            let count = line["messages"].as_u64().unwrap_or(seen);
            if count == seen {
                break;
            }
            seen = count;
        }
    }
    // One that is killed itself keeps nobody from the rest.
    let (source, _) = generate(&endpoint, &["--multicast", &group]);
    let mut killed = self::stats(&endpoint, &["-i", "0.1"]);
    more_than(&mut killed, 10);
    killed.signal("KILL");
    more_than(&mut stats, seen + 400);
    stop(source);
    stats.signal("INT");
    // What a source sends before it is found again is not for this one.
    let summary = summary(&stats.end());
    assert_eq!(
        (&summary["malformed"], &summary["unknown_htype"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn only_who_has_the_key_receives() {
    let folder = tempfile::tempdir().unwrap();
    let [right, wrong] = ["right", "wrong"].map(|name| {
        let path = folder.path().join(name);
        fs::write(&path, format!("a key that is the {name} one")).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let group = multicast(2);
    let (generate, endpoint) = generate(
        "udp://127.0.0.1:0",
        &["--key-file", &right, "--multicast", &group],
    );
    let received = stats(&endpoint, &["-n", "50", "--key-file", &right]).end();
    assert_eq!(summary(&received)["messages"], 50);
    for arguments in [&["--key-file", &wrong][..], &[]] {
        let refused = stats(&endpoint, &[&["--timeout", "1"], arguments].concat()).end();
        assert_eq!(refused.code, Some(3), "{refused:#?}");
        assert!(refused.stderr.join("\n").contains("key"), "{refused:#?}");
        let refused = m(
            "m_dump",
            &[&[&endpoint, "-m", "sub", "--timeout", "1"][..], arguments].concat(),
        );
        let refused = refused.end();
        assert_eq!(refused.code, Some(3), "{refused:#?}");
        assert!(refused.stderr.join("\n").contains("key"), "{refused:#?}");
    }
    stop(generate);
}

#[test]
fn a_stream_is_split_and_merged() {
    let (generate, source) = generate("udp://127.0.0.1:0", &[]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("split.json");
    let group = multicast(3);
    let text = format!(
        r#"{{
            "source": {{ "address": "{source}", "mode": "SUB" }},
            "streams": [
                {{ "address": "udp://127.0.0.1:0", "mode": "PUB", "attach": "bind", "multicast": "{group}" }},
                {{ "address": "tcp://127.0.0.1:0", "mode": "PUB", "attach": "bind", "modulo": 2 }}
            ]
        }}"#
    );
    fs::write(&config, text).unwrap();
    let mut split = m("m_split", &["-c", config.to_str().unwrap(), "--json"]);
    let begun: Value = serde_json::from_str(&split.line()).unwrap();
    let endpoint = |index: usize| begun["outputs"][index]["endpoint"].as_str().unwrap().to_owned();
    let merge = Program::flexbond(&[
        "merge",
        "-m",
        "sub",
        &endpoint(0),
        "--output-mode",
        "pub",
        "-a",
        "udp://127.0.0.1:0",
        "--json",
    ]);
    let mut merge = merge;
    let merged: Value = serde_json::from_str(&merge.line()).unwrap();
    let merged = merged["output"].as_str().expect("where it is").to_owned();
    let all = stats(&endpoint(0), &["-n", "100"]);
    let half = stats(&endpoint(1), &["-n", "50", "--stride", "2"]);
    let through = stats(&merged, &["-n", "50"]);
    for (stats, count) in [(all, 100), (half, 50), (through, 50)] {
        let summary = summary(&stats.end());
        assert_eq!(
            (&summary["messages"], &summary["lost_frames"]),
            (&count.into(), &0.into())
        );
    }
    for program in [merge, split] {
        program.signal("INT");
        well(&program.end());
    }
    stop(generate);
}

#[test]
fn what_is_recorded_is_played_to_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.fbr");
    let file = file.to_str().unwrap();
    let (generate, source) = generate("udp://127.0.0.1:0", &["--htype", "array-1.0"]);
    well(&m("m_dump", &[&source, "-m", "sub", "-n", "60", "--record", file]).end());
    stop(generate);
    let group = multicast(4);
    let mut replay = m(
        "m_replay",
        &[
            file,
            "-m",
            "pub",
            "-a",
            "udp://127.0.0.1:0",
            "--multicast",
            &group,
            "--wait",
            "inf",
            "--rate",
            "100",
        ],
    );
    let endpoint = replay.line().rsplit(' ').next().unwrap().to_owned();
    let dump = m("m_dump", &[&endpoint, "-m", "sub", "-n", "60", "--json"]).end();
    well(&dump);
    assert_eq!(dump.stdout.len(), 61, "{dump:#?}");
    assert_eq!(summary(&dump)["lost_frames"], 0);
    well(&replay.end());
}

#[test]
fn what_cannot_be_is_said() {
    for (program, arguments, hint) in [
        ("m_stats", &["udp://127.0.0.1:9"][..], "-m sub"),
        ("m_dump", &["udp://127.0.0.1:9"], "-m sub"),
        ("m_generate", &["-a", "udp://127.0.0.1:0"], "-m pub"),
        (
            "m_split",
            &["tcp://127.0.0.1:9", "udp://127.0.0.1:0,attach=bind"],
            "PUB",
        ),
        (
            "m_stats",
            &["tcp://127.0.0.1:9", "--multicast", "239.1.2.3:5000"],
            "udp://",
        ),
        ("m_stats", &["tcp://127.0.0.1:9", "--memory", "1G"], "udp://"),
        (
            "m_stats",
            &["udp://127.0.0.1:9", "-m", "sub", "--memory", "1K"],
            "memory",
        ),
        (
            "m_generate",
            &[
                "-m",
                "pub",
                "-a",
                "udp://127.0.0.1:0",
                "--multicast",
                "10.0.0.1:5000",
            ],
            "multicast address",
        ),
    ] {
        let end = m(program, arguments).end();
        assert_eq!(end.code, Some(2), "{program}: {end:#?}");
        assert!(end.stderr.join("\n").contains(hint), "{program}: {end:#?}");
    }
}

#[test]
fn a_reload_changes_how_an_output_is_sent() {
    let (generate, source) = generate("udp://127.0.0.1:0", &[]);
    let (nobody, output) = self::generate("udp://127.0.0.1:0", &[]);
    stop(nobody);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("split.json");
    let write = |more: &str| {
        let text = format!(
            r#"{{ "source": {{ "address": "{source}", "mode": "SUB" }},
                "streams": [{{ "address": "{output}", "mode": "PUB", "attach": "bind"{more} }}] }}"#
        );
        fs::write(&config, text).unwrap();
    };
    write("");
    let mut split = m("m_split", &["-c", config.to_str().unwrap(), "--json"]);
    assert!(split.line().contains("begun"));
    // Through the change, too.
    let mut stays = stats(&output, &["-i", "0.1"]);
    let seen = more_than(&mut stays, 10);
    write(&format!(r#", "multicast": "{}""#, multicast(6)));
    split.signal("HUP");
    let deadline = Instant::now() + PATIENCE;
    let reloaded = loop {
        let line: Value = serde_json::from_str(&split.line()).unwrap();
        if line["event"].is_string() {
            break line;
        }
        assert!(Instant::now() < deadline, "it is not read");
    };
    assert_eq!(reloaded["replaced"], serde_json::json!([output]), "{reloaded}");
    more_than(&mut stays, seen + 100);
    stays.signal("INT");
    assert_eq!(summary(&stays.end())["malformed"], 0);
    split.signal("INT");
    well(&split.end());
    stop(generate);
}

#[test]
fn every_program_says_that_it_is_not_let_in() {
    // Where nobody is any more.
    let (nobody, free) = generate("udp://127.0.0.1:0", &[]);
    stop(nobody);
    let mut stats = stats(&free, &[]);
    let said = stats.event("nobody answers");
    assert!(said.contains(&free) && said.ends_with("trying again"), "{said}");
    stats.signal("INT");
    well(&stats.end());

    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "a key of enough bytes").unwrap();
    let (generate, source) = generate("udp://127.0.0.1:0", &["--key-file", key.to_str().unwrap()]);
    let recording = folder.path().join("one.fbr");
    let (other, open) = self::generate("udp://127.0.0.1:0", &[]);
    let recorded = m(
        "m_dump",
        &[
            &open,
            "-m",
            "sub",
            "-n",
            "1",
            "--record",
            recording.to_str().unwrap(),
        ],
    );
    well(&recorded.end());
    stop(other);
    let output = "tcp://127.0.0.1:0,attach=bind";
    let merged = ["-a", "tcp://127.0.0.1:0"];
    for mut program in [
        m("m_split", &["-m", "sub", &source, output]),
        m("m_split", &["tcp://*:0", &format!("{source},mode=pub")]),
        Program::flexbond(&[&["merge", "-m", "sub", &source][..], &merged].concat()),
        m("m_generate", &["-m", "pub", "--connect", "-a", &source]),
        m(
            "m_replay",
            &[
                recording.to_str().unwrap(),
                "-m",
                "pub",
                "--connect",
                "-a",
                &source,
                "--wait",
                "inf",
            ],
        ),
    ] {
        let said = program.event("key");
        assert!(said.contains(&source), "{said}");
        program.signal("INT");
        well(&program.end());
    }
    stop(generate);
}
