//! `m_generate` and `m_stats` against each other: rates, summaries, nothing lost.

mod program;

use std::process::Command;

use program::Program;
use serde_json::Value;

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
        r#"["{\"htype\":\"dimage-1.0\",\"frame\":4}", "data"]"#,
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
    assert!(stats.line().contains("tcp://*:"));
    assert_eq!(stats.end().code, Some(3));
}
