//! `m_generate` and `m_stats` against each other: rates, summaries, nothing lost.

mod program;

use std::process::Command;
use std::time::Instant;

use program::{End, PATIENCE, Program};
use serde_json::{Value, json};

fn m_generate(arguments: &[&str]) -> (Program, String) {
    let mut program = Program::start(Command::new(env!("CARGO_BIN_EXE_m_generate")), arguments);
    let line = program.line();
    let endpoint = line.rsplit(' ').next().unwrap().to_owned();
    assert!(line.starts_with("Sending messages of "), "{line}");
    (program, endpoint)
}

fn m_stats(arguments: &[&str]) -> Program {
    Program::start(Command::new(env!("CARGO_BIN_EXE_m_stats")), arguments)
}

/// The object in the last line.
fn summary(lines: &[String]) -> Value {
    let line: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    line["summary"].clone()
}

#[test]
fn push_to_pull_loses_nothing() {
    for (size, count) in [("1", 100), ("0.01", 5000), ("0", 2000)] {
        let n = count.to_string();
        for htype in ["raw-1.0", "array-1.0"] {
            let (generate, endpoint) = m_generate(&[
                "-a",
                "tcp://127.0.0.1:0",
                "-s",
                size,
                "--count",
                &n,
                "--htype",
                htype,
            ]);
            let stats = m_stats(&[&endpoint, "--json", "--count", &n]).end();
            assert_eq!(stats.code, Some(0), "{stats:?}");
            let summary = summary(&stats.stdout);
            assert_eq!(summary["messages"], count);
            for zero in ["lost_frames", "restarts", "malformed", "unknown_htype"] {
                assert_eq!(summary[zero], 0, "{summary}");
            }
            let generate = generate.end();
            assert_eq!(generate.code, Some(0), "{generate:?}");
            let sent = generate.stdout.join("\n");
            assert!(sent.contains(&format!("{count} messages")), "{sent}");
        }
    }
}

#[test]
fn publish_to_subscribers() {
    let (generate, endpoint) = m_generate(&[
        "-a",
        "tcp://127.0.0.1:0",
        "-m",
        "pub",
        "--size-bytes",
        "1K",
        "--rate",
        "2000",
    ]);
    let stats: Vec<Program> = (0..2)
        .map(|_| m_stats(&[&endpoint, "--mode", "sub", "--json", "--count", "300"]))
        .collect();
    for stats in stats {
        let end = stats.end();
        let summary = summary(&end.stdout);
        assert_eq!(
            (&summary["messages"], &summary["lost_frames"]),
            (&300.into(), &0.into()),
            "{end:?}"
        );
    }
    generate.signal("INT");
    let end = generate.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(end.stdout.join("\n").contains("Messages sent:"), "{end:?}");
}

#[test]
fn rates_are_shown_as_mflow_shows_them() {
    let (generate, endpoint) =
        m_generate(&["-a", "tcp://127.0.0.1:0", "--size-bytes", "10K", "--rate", "1000"]);
    let mut stats = m_stats(&[&endpoint, "-i", "0.1"]);
    assert!(stats.line().starts_with("Listening to tcp://127.0.0.1:"));
    let line = loop {
        let line = stats.line();
        if !line.contains(" 0.000 Hz") {
            break line;
        }
    };
    let numbers: Vec<f64> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(
        line.starts_with("Data rate: ") && line.contains(" MB/s    Message rate: ") && line.ends_with(" Hz"),
        "{line}"
    );
    // 10^6 bytes, header included: a little more than 10,240 bytes a message.
    assert!((0.0102..0.0105).contains(&(numbers[0] / numbers[1])), "{line}");
    stats.signal("INT");
    let end = stats.end();
    assert_eq!(end.code, Some(0));
    let text = end.stdout.join("\n");
    for label in [
        "Total elapsed time:",
        "Average message size:",
        "Total bytes received:",
        "Average data rate:",
        "Messages received:",
        "Average message rate:",
        "Frames missing:",
    ] {
        assert!(text.contains(label), "{label}: {text}");
    }
    generate.signal("INT");
    assert_eq!(generate.end().code, Some(0));
}

#[test]
fn zero_samples_every_message() {
    let (generate, endpoint) = m_generate(&["-a", "tcp://127.0.0.1:0", "-s", "0.001", "--count", "5"]);
    let end = m_stats(&[&endpoint, "-i", "0", "--count", "5"]).end();
    assert_eq!(
        end.stdout
            .iter()
            .filter(|line| line.starts_with("Data rate:"))
            .count(),
        4,
        "{end:?}"
    );
    generate.end();
}

/// Starts a program whose lines nobody reads.
fn unread(program: &str, arguments: &[&str]) -> Program {
    Program::unread(Command::new(program), arguments)
}

#[test]
fn a_terminal_that_stands_still_does_not_stop_receiving() {
    const COUNT: usize = 60_000;
    for json in [false, true] {
        let (generate, endpoint) = m_generate(&[
            "-a",
            "tcp://127.0.0.1:0",
            "--size-bytes",
            "10",
            "-n",
            &COUNT.to_string(),
        ]);
        let mut arguments = vec![&*endpoint, "-i", "0"];
        arguments.extend(json.then_some("--json"));
        let mut stats = unread(env!("CARGO_BIN_EXE_m_stats"), &arguments);
        // It ends when everything is on its way: more than the pipe and the queues have room for.
        assert_eq!(generate.end().code, Some(0));
        stats.read();
        stats.signal("INT");
        let end = stats.end();
        assert_eq!(end.code, Some(0), "{:?}", end.stderr);
        let (mut lines, mut skipped) = (0, 0);
        for line in &end.stdout {
            if line.starts_with("Data rate:") || line.starts_with("{\"elapsed_s\"") {
                lines += 1;
            } else if json {
                let line: Value = serde_json::from_str(line).unwrap();
                skipped += line["skipped_lines"].as_u64().unwrap_or(0);
            } else if let Some(count) = line.strip_suffix(" lines skipped: nobody read them") {
                skipped += count.replace(',', "").parse::<u64>().unwrap();
            }
        }
        let messages = match json {
            true => summary(&end.stdout)["messages"].as_u64().unwrap(),
            false => total(&end, "Messages received:"),
        };
        assert!(skipped > 0, "{lines} lines");
        assert_eq!(lines + skipped, messages, "{skipped} skipped");
    }
}

#[test]
fn a_terminal_that_stands_still_does_not_stop_sending() {
    let place = tempfile::tempdir().unwrap();
    let address = format!("ipc://{}", place.path().join("stream").display());
    let arguments = format!("-a {address} --json -i 0.001 -n 4000 --rate 2000 --size-bytes 10");
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let generate = unread(env!("CARGO_BIN_EXE_m_generate"), &arguments);
    let stats = m_stats(&[&*address, "--json", "-n", "4000"]).end();
    assert_eq!(stats.code, Some(0), "{stats:?}");
    let generate = generate.end();
    assert_eq!(generate.code, Some(0), "{generate:?}");
}

#[test]
fn a_reader_who_goes_away_ends_them_cleanly() {
    let (mut generate, endpoint) = m_generate(&[
        "-a",
        "tcp://127.0.0.1:0",
        "--rate",
        "100",
        "-i",
        "0.01",
        "--linger",
        "0",
    ]);
    let mut stats = m_stats(&[&endpoint, "-i", "0.01"]);
    stats.line();
    for program in [&mut stats, &mut generate] {
        program.close_output();
    }
    for program in [stats, generate] {
        let end = program.end();
        assert_eq!(end.code, Some(0), "{end:?}");
    }
}

#[test]
fn what_is_malformed_is_counted_apart() {
    let mut push = Program::flexbond(&[
        "socket",
        "PUSH",
        "--bind",
        "tcp://127.0.0.1:0",
        "--print-endpoint",
    ]);
    let endpoint = push.line();
    for line in [
        r#"["{\"htype\":\"raw-1.0\",\"frame\":1}", "data"]"#,
        r#"["this is no header"]"#,
        r#"["{\"htype\":\"thermometer-1.0\",\"frame\":4}", "data"]"#,
    ] {
        push.write(line);
    }
    let end = m_stats(&[&endpoint, "--json", "--count", "3"]).end();
    let summary = summary(&end.stdout);
    for (field, count) in [
        ("messages", 2),
        ("malformed", 1),
        ("unknown_htype", 1),
        ("lost_frames", 2),
    ] {
        assert_eq!(summary[field], count, "{summary}");
    }
    assert!(end.stderr.join("").contains("malformed message"), "{end:?}");
    push.done();
}

#[test]
fn an_encoding_that_is_not_known_is_told_and_is_no_type() {
    let mut push = Program::flexbond(&[
        "socket",
        "PUSH",
        "--bind",
        "tcp://127.0.0.1:0",
        "--print-endpoint",
    ]);
    let endpoint = push.line();
    push.write(
        r#"["{\"htype\":\"array-1.0\",\"type\":\"uint8\",\"shape\":[3],\"encoding\":\"zip<\"}", "abc"]"#,
    );
    let end = m_stats(&[&endpoint, "--json", "--count", "1"]).end();
    let summary = summary(&end.stdout);
    for (field, count) in [
        ("messages", 1),
        ("undecodable", 1),
        ("malformed", 0),
        ("unknown_htype", 0),
    ] {
        assert_eq!(summary[field], count, "{summary}");
    }
    assert!(
        end.stderr.join("").contains("unknown encoding \"zip<\""),
        "{end:?}"
    );
    push.done();
}

#[test]
fn a_sender_says_nothing_of_receiving() {
    let arguments = ["-a", "tcp://127.0.0.1:0", "--json", "--count", "0"];
    let end = Program::start(Command::new(env!("CARGO_BIN_EXE_m_generate")), &arguments).end();
    let summary = summary(&end.stdout);
    assert_eq!(summary["messages"], 0, "{end:?}");
    for field in ["lost_frames", "malformed", "sources", "undecodable"] {
        assert!(summary.get(field).is_none(), "{field}: {summary}");
    }
}

#[test]
fn a_stride_that_is_set_makes_a_thinned_stream_whole() {
    for (stride, lost) in [
        (&[][..], 99),
        (&["--stride", "10"], 0),
        (&["--stride", "learn"], 0),
    ] {
        let mut push = Program::flexbond(&[
            "socket",
            "PUSH",
            "--bind",
            "tcp://127.0.0.1:0",
            "--print-endpoint",
        ]);
        let endpoint = push.line();
        for frame in (0..120).step_by(10) {
            push.write(&format!(
                r#"["{{\"htype\":\"raw-1.0\",\"frame\":{frame}}}", "data"]"#
            ));
        }
        let arguments = [&[&*endpoint, "--json", "--count", "12"], stride].concat();
        let end = m_stats(&arguments).end();
        assert_eq!(summary(&end.stdout)["lost_frames"], lost, "{stride:?}: {end:?}");
        push.done();
    }
    for stride in ["0", "x"] {
        let end = m_stats(&["tcp://127.0.0.1:9", "--stride", stride]).end();
        assert_eq!((end.code, end.stderr.len()), (Some(2), 1), "{end:?}");
    }
}

#[test]
fn errors_are_one_line_with_the_program_in_front() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", taken.local_addr().unwrap());
    let end = Program::start(Command::new(env!("CARGO_BIN_EXE_m_generate")), &["-a", &address]).end();
    assert_eq!(end.code, Some(1));
    assert!(
        end.stderr[0].starts_with("m_generate: error: ") && end.stderr[0].contains("in use"),
        "{end:?}"
    );
    let end = m_stats(&["localhost:9999"]).end();
    assert_eq!((end.code, end.stderr.len()), (Some(2), 1), "{end:?}");
    let end = m_stats(&[&address, "--timeout", "0.2"]).end();
    assert_eq!(end.code, Some(3), "{end:?}");
}

#[test]
fn either_end_may_bind() {
    let mut stats = Program::flexbond(&["stats", "tcp://*:0", "--timeout", "0.2"]);
    let line = stats.line();
    assert!(
        line.contains("tcp://0.0.0.0:") && !line.contains(":0,"),
        "the port in use: {line}"
    );
    assert_eq!(stats.end().code, Some(3));
}

/// A number of a summary in text; none where it has no line.
fn total(end: &End, label: &str) -> u64 {
    let line = end.stdout.iter().find_map(|line| line.strip_prefix(label));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// What `m_stats` says in the end of all that `m_generate` sends, and how that one ended.
fn generated(arguments: &[&str]) -> (End, Value) {
    let (generate, endpoint) = m_generate(&[&["-a", "tcp://127.0.0.1:0"][..], arguments].concat());
    let mut stats = m_stats(&[&endpoint, "--json", "-i", "0.05"]);
    let generate = generate.end();
    assert_eq!(generate.code, Some(0), "{arguments:?}: {generate:?}");
    // All of it is on its way; it has arrived when the numbers are the same.
    let sent = total(&generate, "Messages sent:");
    loop {
        let line: Value = serde_json::from_str(&stats.line()).unwrap();
        let count = |field: &str| line[field].as_u64().unwrap();
        if count("messages") + count("malformed") == sent {
            break;
        }
    }
    stats.signal("INT");
    let stats = stats.end();
    assert_eq!(stats.code, Some(0), "{arguments:?}: {stats:?}");
    (generate, summary(&stats.stdout))
}

/// Counts at the ends of a stream may differ: what is missing there has no neighbour to be missed by.
#[track_caller]
fn about(counted: &Value, happened: u64, what: &str) {
    let counted = counted.as_u64().unwrap();
    assert!(happened > 0, "{what} did not happen");
    assert!(
        (happened.saturating_sub(4)..=happened).contains(&counted),
        "{what}: {counted} counted, {happened} happened"
    );
}

#[test]
fn every_format_is_generated_and_understood() {
    for (htype, types) in [
        ("raw-1.0", json!({ "raw-1.0": 40 })),
        ("array-1.0", json!({ "array-1.0": 40 })),
        (
            "dectris-v1",
            json!({ "dheader-1.0": 2, "dimage-1.0": 40, "dseries_end-1.0": 2 }),
        ),
        (
            "dectris-v2",
            json!({ "stream2-start": 2, "stream2-image": 40, "stream2-end": 2 }),
        ),
        ("bsread", json!({ "bsr_m-1.1": 40 })),
    ] {
        for compression in ["none", "lz4", "bslz4"] {
            if (htype, compression != "none") == ("raw-1.0", true) {
                continue;
            }
            let (_, summary) = generated(&[
                "--htype",
                htype,
                "--compression",
                compression,
                "--shape",
                "100x60",
                "--header-detail",
                "all",
                "-n",
                "40",
                "--images-per-series",
                "20",
            ]);
            let types = types.as_object().unwrap();
            for (name, count) in types {
                assert_eq!(&summary["htypes"][name]["messages"], count, "{htype}: {summary}");
            }
            assert_eq!(
                summary["htypes"].as_object().unwrap().len(),
                types.len(),
                "{summary}"
            );
            for zero in [
                "lost_frames",
                "reordered",
                "duplicates",
                "restarts",
                "malformed",
                "unknown_htype",
                "aborted_series",
                "missing_headers",
                "hash_mismatches",
            ] {
                assert_eq!(summary[zero], 0, "{htype} {compression}, {zero}: {summary}");
            }
            if htype.starts_with("dectris") {
                assert_eq!(summary["series"], 2, "{summary}");
                assert_eq!(summary["sources"][0]["last"], 19, "{summary}");
            }
        }
    }
}

#[test]
fn faults_on_purpose_are_found() {
    for htype in ["array-1.0", "dectris-v1", "dectris-v2", "bsread"] {
        let faulty = |fault: &str| {
            generated(&[
                "--htype", htype, "--shape", "16x16", "-n", "1000", "--seed", "3", "--fault", fault,
            ])
        };
        let (generate, summary) = faulty("drop=0.05");
        about(
            &summary["lost_frames"],
            total(&generate, "Dropped on purpose:"),
            &format!("{htype}: drop"),
        );
        let (generate, summary) = faulty("duplicate=0.05");
        about(
            &summary["duplicates"],
            total(&generate, "Sent twice:"),
            &format!("{htype}: duplicate"),
        );
        let (generate, summary) = faulty("reorder=0.05");
        about(
            &summary["reordered"],
            total(&generate, "Sent out of order:"),
            &format!("{htype}: reorder"),
        );
        let (generate, summary) = faulty("truncate=0.05");
        let truncated = total(&generate, "Truncated:");
        assert!(truncated > 0);
        assert_eq!(summary["malformed"], truncated, "{htype}: {summary}");
        about(&summary["lost_frames"], truncated, &format!("{htype}: truncate"));
    }
}

#[test]
fn aborted_series_are_found() {
    for htype in ["dectris-v1", "dectris-v2"] {
        let (generate, summary) = generated(&[
            "--htype",
            htype,
            "--shape",
            "16x16",
            "-n",
            "300",
            "--images-per-series",
            "5",
            "--fault",
            "abort-series=0.3",
        ]);
        let aborted = total(&generate, "Aborted series:");
        // The last one is over when another begins.
        assert!(aborted > 3, "{generate:?}");
        let counted = summary["aborted_series"].as_u64().unwrap();
        assert!(
            (aborted - 1..=aborted).contains(&counted),
            "{counted} of {aborted}"
        );
    }
}

#[test]
fn a_series_has_its_rate_and_its_pauses() {
    let (generate, summary) = generated(&[
        "--htype",
        "dectris-v1",
        "--shape",
        "16x16",
        "-n",
        "30",
        "--images-per-series",
        "10",
        "--rate",
        "1000",
        "--pause",
        "0.1",
    ]);
    assert_eq!(summary["series"], 3, "{generate:?}");
    let elapsed = generate
        .stdout
        .iter()
        .find_map(|line| line.strip_prefix("Total elapsed time:"));
    let seconds: f64 = elapsed.unwrap().trim_end_matches('s').trim().parse().unwrap();
    assert!(seconds >= 0.2, "two pauses: {generate:?}");
}

#[test]
fn a_detector_that_is_stopped_ends_its_series() {
    // With room for the end, and without, while the receiver takes nothing.
    for is_full in [false, true] {
        let rate = ["--rate", if is_full { "1e9" } else { "500" }];
        let arguments = [
            "-a",
            "tcp://127.0.0.1:0",
            "-i",
            "0.1",
            "--htype",
            "dectris-v1",
            "--shape",
            "256x256",
        ];
        let (mut generate, endpoint) = m_generate(&[&arguments[..], &rate].concat());
        let mut stats = m_stats(&[&endpoint, "--json", "-i", "0.05"]);
        let mut stopped = false;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line: Value = serde_json::from_str(&stats.line()).unwrap();
            if line["messages"].as_u64().unwrap() > 5 && !std::mem::replace(&mut stopped, true) {
                if is_full {
                    stats.signal("STOP");
                    // Once may also mean that it had no processor meanwhile.
                    let mut still = 0;
                    while still < 5 {
                        assert!(Instant::now() < deadline, "it sends on");
                        let is_still = generate.line().ends_with(" 0.000 Hz");
                        still = if is_still { still + 1 } else { 0 };
                    }
                }
                generate.signal("INT");
                if is_full {
                    generate.event("waits for room");
                    stats.signal("CONT");
                }
            }
            if line["htypes"]["dseries_end-1.0"]["messages"] == 1 {
                break;
            }
            assert!(Instant::now() < deadline, "no end: {line}");
        }
        stats.signal("INT");
        stats.end();
        assert_eq!(generate.end().code, Some(0));
    }
}

#[test]
fn a_source_that_is_shared_is_told_once() {
    let (generate, endpoint) = m_generate(&["-a", "tcp://127.0.0.1:0", "-s", "0.001", "--rate", "2000"]);
    let other = m_stats(&[&endpoint, "--json"]);
    let end = m_stats(&[&endpoint, "--json", "--count", "400"]).end();
    let told = end
        .stderr
        .iter()
        .filter(|line| line.contains("another PULL receiver"));
    assert_eq!(told.count(), 1, "{end:?}");
    let summary = summary(&end.stdout);
    assert_eq!(summary["warnings"].as_array().unwrap().len(), 1, "{summary}");
    other.signal("INT");
    other.end();
    generate.signal("INT");
    generate.end();
}

#[test]
fn what_cannot_be_generated_is_a_matter_of_usage() {
    for arguments in [
        &["--compression", "lz4"][..],
        &["--htype", "dectris-v1", "--type", "float64"],
        &["--htype", "dectris-v2", "--size", "1"],
        &["--fault", "loss=0.1"],
        &["--shape", "10by10"],
    ] {
        let end = Program::start(Command::new(env!("CARGO_BIN_EXE_m_generate")), arguments).end();
        assert_eq!(
            (end.code, end.stderr.len()),
            (Some(2), 1),
            "{arguments:?}: {end:?}"
        );
    }
}

#[cfg(feature = "tui")]
#[test]
fn the_live_view_needs_a_terminal() {
    let end = m_stats(&["tcp://127.0.0.1:9", "--tui"]).end();
    assert_eq!((end.code, end.stderr.len()), (Some(2), 1), "{end:?}");
    assert!(
        end.stderr[0].contains("--tui") && end.stderr[0].contains("--json"),
        "{end:?}"
    );
}

/// Who waits for messages that cannot come is told so, once.
#[test]
fn why_nothing_comes_is_said() {
    let (generate, endpoint) = m_generate(&["-a", "tcp://127.0.0.1:0", "-m", "PUB", "--rate", "50"]);
    let stats = m_stats(&[&endpoint, "--timeout", "2", "-i", "0.1"]).end();
    assert_eq!(stats.code, Some(3), "{stats:?}");
    let told: Vec<_> = stats.stderr.iter().filter(|line| line.contains("PUB")).collect();
    assert_eq!(told.len(), 2, "as it happens, and in the end: {stats:?}");
    assert!(told[0].starts_with(&endpoint), "{told:?}");
    generate.signal("INT");
    generate.end();

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", free.local_addr().unwrap());
    drop(free);
    let mut dump = Program::start(Command::new(env!("CARGO_BIN_EXE_m_dump")), &[&address]);
    let line = dump.event("cannot connect");
    assert!(line.contains(&address), "{line}");
    dump.signal("INT");
    assert_eq!(dump.end().code, Some(0));
}

/// The programs called `m_…` explain as much as the commands of `flexbond` do.
#[test]
fn their_help_is_that_of_the_commands() {
    for (program, command) in [
        (env!("CARGO_BIN_EXE_m_stats"), "stats"),
        (env!("CARGO_BIN_EXE_m_generate"), "generate"),
        (env!("CARGO_BIN_EXE_m_dump"), "dump"),
        (env!("CARGO_BIN_EXE_m_replay"), "replay"),
        (env!("CARGO_BIN_EXE_m_split"), "split"),
    ] {
        let own = Program::start(Command::new(program), &["--help"]).end().stdout;
        let of_command = Program::flexbond(&[command, "--help"]).end().stdout;
        let without_name = |lines: Vec<String>| {
            let mut lines = lines;
            lines.retain(|line| !line.starts_with("Usage:"));
            lines
        };
        assert_eq!(without_name(own), without_name(of_command), "{program}");
    }
}

/// Who asks for the end is told why it does not come.
#[test]
fn the_end_that_waits_for_a_receiver_says_so() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", free.local_addr().unwrap());
    drop(free);
    let arguments = ["--connect", "-a", &address, "-s", "0", "-i", "0.1"];
    let mut generate = Program::start(Command::new(env!("CARGO_BIN_EXE_m_generate")), &arguments);
    generate.event("trying again");
    generate.signal("INT");
    generate.event("Ctrl-C again ends at once");
    generate.signal("INT");
    assert_eq!(generate.end().code, Some(130));
}

#[test]
fn every_program_has_completions() {
    for program in [
        "flexbond",
        "m_stats",
        "m_generate",
        "m_dump",
        "m_replay",
        "m_split",
    ] {
        let end = Program::flexbond(&["completions", "bash", program]).end();
        assert_eq!(end.code, Some(0), "{end:?}");
        let of_it = format!("_{program}() {{");
        assert!(
            end.stdout.iter().any(|line| line.starts_with(&of_it)),
            "{program}"
        );
    }
    // More than a pipe takes, to nobody.
    let mut unread = Program::flexbond(&["completions", "bash"]);
    unread.close_output();
    let end = unread.end();
    assert!(!end.stderr.join("\n").contains("panicked"), "{end:?}");
}
