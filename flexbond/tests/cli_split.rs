//! `m_split` and `flexbond merge`: whole messages, stalled outputs, a configuration that changes, metrics.

mod program;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use flexbond::stream::{Attach, ConnectOptions, Header, Mode, Stream, StreamMessage};
use flexbond::transport::Message;
use program::scrape::get;
use program::{End, PATIENCE, Program};
use serde_json::{Value, json};
use tokio::time::timeout;

fn m_split<S: AsRef<str>>(arguments: &[S]) -> Program {
    Program::start(Command::new(env!("CARGO_BIN_EXE_m_split")), arguments)
}

async fn bound(mode: Mode, queue_size: usize) -> Stream {
    let options = ConnectOptions::new()
        .mode(mode)
        .attach(Attach::Bind)
        .queue_size(queue_size)
        .linger(Duration::ZERO);
    Stream::connect("tcp://127.0.0.1:0", options).await.unwrap()
}

fn address(stream: &Stream) -> String {
    stream.endpoint().to_string()
}

/// Three parts, one of them empty.
fn message(frame: u64) -> StreamMessage {
    let header = Header::new("").with("frame", frame).with("kept", "as it is");
    let last = format!("{frame}").repeat(1000);
    StreamMessage::raw(header, ["first".into(), "".into(), last.into()])
}

async fn send(stream: &mut Stream, frames: impl IntoIterator<Item = u64>) {
    for frame in frames {
        let sent = timeout(PATIENCE, stream.send(message(frame))).await;
        sent.expect("nobody takes a message").unwrap();
    }
}

/// The numbers of the next messages, each of which must be whole.
async fn receive(stream: &mut Stream, count: usize) -> Vec<u64> {
    let mut frames = Vec::new();
    for _ in 0..count {
        let received = timeout(PATIENCE, stream.receive()).await;
        let received = received
            .unwrap_or_else(|_| panic!("no message after {frames:?}"))
            .unwrap();
        let frame = received.header.frame().unwrap();
        assert_eq!(received.encode(), Message::from(message(frame)));
        frames.push(frame);
    }
    frames
}

/// The next line that is an object for which this holds.
fn line_with(program: &mut Program, holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let line = program.line();
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        if holds(&value) {
            return value;
        }
        assert!(Instant::now() < deadline, "not before {line}");
    }
}

fn event(program: &mut Program, name: &str) -> Value {
    line_with(program, |value| value["event"] == name)
}

/// Ends a program by Ctrl-C: the object in its last line.
fn summary(program: Program) -> Value {
    program.signal("INT");
    let end = program.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let line: Value = serde_json::from_str(end.stdout.last().unwrap()).unwrap();
    line["summary"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_original_configuration_is_understood() {
    let mut source = bound(Mode::Push, 100).await;
    let mut receiver = bound(Mode::Pull, 100).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("split.json");
    let config = format!(
        r#"{{
    "source": {{ "address": "{}", "mode": "PULL", "queue_size": 10 }},
    "streams": [
        {{ "address": "{}", "mode": "PUSH" }}
    ]
}}"#,
        address(&source),
        address(&receiver)
    );
    std::fs::write(&file, config).unwrap();
    let mut split = m_split(&["-c", file.to_str().unwrap(), "-i", "0.1"]);
    assert!(split.line().starts_with("Splitting tcp://127.0.0.1:"));
    send(&mut source, 0..200).await;
    assert_eq!(receive(&mut receiver, 200).await, (0..200).collect::<Vec<_>>());
    let deadline = Instant::now() + PATIENCE;
    while !split.line().contains(" waiting") {
        assert!(Instant::now() < deadline, "no line says what waits");
    }
    split.signal("INT");
    let end = split.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let text = end.stdout.join("\n");
    for part in ["Received:", "Frames missing:", "Sent:", "200 messages"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_nobody_takes_is_not_called_sent() {
    let mut source = bound(Mode::Push, 100).await;
    let output = "tcp://127.0.0.1:0,attach=bind,linger_ms=0";
    let mut split = m_split(&[&address(&source), output, "-i", "0.1"]);
    send(&mut source, 0..3).await;
    let deadline = Instant::now() + PATIENCE;
    while !split.line().contains(" 3 waiting, no receiver") {
        assert!(Instant::now() < deadline, "no line says what waits");
    }
    split.signal("INT");
    let end = split.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let (sent, waits) = (
        line_of(&end.stdout, "  Sent:"),
        line_of(&end.stdout, "  Not delivered:"),
    );
    assert!(sent.contains(" 0 messages"), "{end:?}");
    assert!(waits.contains(" 3 messages; no receiver came"), "{end:?}");
    assert!(end.stdout.last().unwrap().starts_with("____"), "{end:?}");
    let told: Vec<_> = end
        .stderr
        .iter()
        .filter(|line| line.contains("not delivered"))
        .collect();
    assert_eq!(told.len(), 1, "{end:?}");
    assert!(
        told[0].contains("3 messages not delivered: no receiver came"),
        "{end:?}"
    );
}

/// What an output is left with, by its summary, and whether that came last.
fn left(end: &End) -> (Value, Value, Value) {
    let last: Value = serde_json::from_str(end.stdout.last().unwrap()).unwrap();
    let output = &last["summary"]["outputs"][0];
    (
        output["messages"].clone(),
        output["waiting"].clone(),
        output["undelivered"].clone(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_comes_while_it_ends_gets_what_waits() {
    let mut source = bound(Mode::Push, 100).await;
    let mut split = m_split(&[
        &address(&source),
        "tcp://127.0.0.1:0,attach=bind",
        "-i",
        "0.1",
        "--json",
    ]);
    let begun = event(&mut split, "begun");
    let output = begun["outputs"][0]["endpoint"].as_str().unwrap();
    send(&mut source, 0..50).await;
    line_with(&mut split, |line| line["outputs"][0]["waiting"] == 50);
    split.signal("INT");
    let told = split.event("sending 50 messages that still wait");
    assert!(told.contains("at most 30 s; Ctrl-C again ends at once"), "{told}");
    split.event("there is no receiver");
    let mut receiver = Stream::connect(output, ConnectOptions::new()).await.unwrap();
    assert_eq!(receive(&mut receiver, 50).await, (0..50).collect::<Vec<_>>());
    let end = split.end();
    assert_eq!(
        (end.code, left(&end)),
        (Some(0), (50.into(), 0.into(), 0.into())),
        "{end:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_second_signal_ends_at_once_and_the_summary_says_what_is_left() {
    let mut source = bound(Mode::Push, 100).await;
    let split = |source: &Stream| {
        m_split(&[
            &address(source),
            "tcp://127.0.0.1:0,attach=bind",
            "-i",
            "0.1",
            "--json",
        ])
    };
    let mut split = split(&source);
    send(&mut source, 0..50).await;
    line_with(&mut split, |line| line["outputs"][0]["waiting"] == 50);
    split.signal("INT");
    split.event("sending 50 messages that still wait");
    split.signal("INT");
    let end = split.end();
    assert_eq!(
        (end.code, left(&end)),
        (Some(130), (0.into(), 0.into(), 50.into())),
        "{end:?}"
    );

    let (mut left, mut right, mut arguments) = two_sources().await;
    arguments.extend(["--wait", "inf"].map(str::to_owned));
    let mut merge = Program::flexbond(&arguments);
    send(&mut left, 0..3).await;
    send(&mut right, 0..3).await;
    // It has read the first one, and there is nobody to take it.
    line_with(&mut merge, |line| line["sources"][0]["messages"] == 1);
    merge.signal("INT");
    merge.event("sending what still waits");
    merge.signal("INT");
    let end = merge.end();
    let last: Value = serde_json::from_str(end.stdout.last().unwrap()).unwrap();
    let summary = &last["summary"];
    assert_eq!(end.code, Some(130), "{end:?}");
    let received: u64 = (0..2)
        .map(|index| summary["sources"][index]["messages"].as_u64().unwrap())
        .sum();
    assert_eq!(summary["messages"], 0, "{end:?}");
    assert_eq!(summary["undelivered"], received, "{end:?}");
    assert!(received > 0, "{end:?}");
}

fn line_of<'a>(lines: &'a [String], label: &str) -> &'a str {
    lines
        .iter()
        .find(|line| line.starts_with(label))
        .map_or("", String::as_str)
}

#[test]
fn a_configuration_is_checked_and_told_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("split.json");
    let config = r#"{
    "source": { "address": "tcp://localhost:7777", "mode": "PULL", "queue_size": 10 },
    "streams": [{ "address": "tcp://*:8888", "mode": "PUSH", "modulo": 1000 }]
}"#;
    std::fs::write(&file, config).unwrap();
    let end = m_split(&["-c", file.to_str().unwrap(), "--check"]).end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let text = end.stdout.join("\n");
    assert!(text.contains("PULL, connects; 10 messages may wait"), "{text}");
    assert!(
        text.contains("listens") && text.contains("every 1000th message"),
        "{text}"
    );

    let arguments = [
        "tcp://a:1",
        "tcp://*:2,modulo=5,filter=x = \"1,2\"",
        "--check",
        "--json",
    ];
    let end = m_split(&arguments).end();
    let config: Value = serde_json::from_str(&end.stdout[0]).unwrap();
    assert_eq!(config["source"]["queue_size"], 100);
    assert_eq!(config["streams"][0]["modulo"], 5);
    assert_eq!(config["streams"][0]["filter"], "x = \"1,2\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn fault_01_modulo_keeps_messages_whole() {
    let mut source = bound(Mode::Push, 100).await;
    let mut all = bound(Mode::Pull, 100).await;
    let mut third = bound(Mode::Pull, 100).await;
    let mut filtered = bound(Mode::Pull, 100).await;
    let split = m_split(&[
        address(&source),
        address(&all),
        format!("{},modulo=3", address(&third)),
        format!(
            "{},queue_size=500,filter=frame >= 290 && kept = \"as it is\"",
            address(&filtered)
        ),
        "--json".to_owned(),
    ]);
    send(&mut source, 0..300).await;
    assert_eq!(receive(&mut all, 300).await, (0..300).collect::<Vec<_>>());
    assert_eq!(
        receive(&mut third, 100).await,
        (0..300).step_by(3).collect::<Vec<_>>()
    );
    assert_eq!(receive(&mut filtered, 10).await, (290..300).collect::<Vec<_>>());
    let summary = summary(split);
    assert_eq!(summary["messages"], 300);
    let sent: Vec<_> = (0..3)
        .map(|index| summary["outputs"][index]["messages"].clone())
        .collect();
    assert_eq!(json!(sent), json!([300, 100, 10]), "{summary}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn fault_12_one_stalled_output_of_four_costs_the_others_nothing() {
    // Much more than fits in the sockets of the one that takes nothing.
    const MESSAGES: u64 = 6_000;
    let mut source = bound(Mode::Push, 100).await;
    let mut receivers = Vec::new();
    for _ in 0..3 {
        receivers.push(bound(Mode::Pull, 100).await);
    }
    let stalled = bound(Mode::Pull, 1).await;
    let mut arguments = vec![address(&source)];
    arguments.extend(receivers.iter().map(address));
    // Less patience than it takes to send all: what it is short of is dropped before the end.
    arguments.push(format!("{},linger_ms=0,patience_ms=20", address(&stalled)));
    arguments.extend(["--json", "-i", "0.1"].map(str::to_owned));
    let mut split = m_split(&arguments);
    let receiving: Vec<_> = receivers
        .into_iter()
        .map(|mut receiver| tokio::spawn(async move { receive(&mut receiver, MESSAGES as usize).await }))
        .collect();
    send(&mut source, 0..MESSAGES).await;
    for receiving in receiving {
        assert_eq!(receiving.await.unwrap(), (0..MESSAGES).collect::<Vec<_>>());
    }
    let told = line_with(&mut split, |line| line["messages"] == MESSAGES);
    for index in 0..3 {
        let output = &told["outputs"][index];
        assert_eq!(
            (&output["dropped"], &output["stalled"]),
            (&json!(0), &json!(false)),
            "{told}"
        );
    }
    let output = &told["outputs"][3];
    assert!(output["dropped"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(output["stalled"], true, "{told}");
    let summary = summary(split);
    assert_eq!(summary["lost_frames"], 0, "{summary}");
}

fn write_config(file: &Path, source: &str, outputs: &[(&str, u64)]) {
    let streams: Vec<_> = outputs
        .iter()
        .map(|(address, modulo)| json!({ "address": address, "modulo": modulo }))
        .collect();
    let config = json!({ "source": { "address": source }, "streams": streams });
    std::fs::write(file, config.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_signal_reads_the_configuration_again() {
    let mut source = bound(Mode::Push, 100).await;
    let mut stays = bound(Mode::Pull, 100).await;
    let mut comes = bound(Mode::Pull, 100).await;
    let (from, first, second) = (address(&source), address(&stays), address(&comes));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("split.json");
    write_config(&file, &from, &[(&first, 1)]);
    let mut split = m_split(&["-c", file.to_str().unwrap(), "--json"]);
    event(&mut split, "begun");
    send(&mut source, 0..10).await;
    assert_eq!(receive(&mut stays, 10).await, (0..10).collect::<Vec<_>>());

    write_config(&file, &from, &[(&first, 1), (&second, 2)]);
    split.signal("HUP");
    let reloaded = event(&mut split, "reloaded");
    assert_eq!(reloaded["added"], json!([second]), "{reloaded}");
    assert_eq!(
        (&reloaded["changed"], &reloaded["source"]),
        (&json!([]), &json!(false))
    );
    send(&mut source, 10..20).await;
    assert_eq!(receive(&mut stays, 10).await, (10..20).collect::<Vec<_>>());
    assert_eq!(receive(&mut comes, 5).await, [10, 12, 14, 16, 18]);

    // What cannot be used changes nothing.
    for (config, part) in [
        ("{ \"source\": ".to_owned(), "EOF"),
        (
            format!(r#"{{"source":{{"address":"{from}"}},"streams":[]}}"#),
            "no streams",
        ),
        (
            format!(r#"{{"source":{{"address":"{from}"}},"streams":[{{"address":"nowhere"}}]}}"#),
            "streams[0]",
        ),
        (
            format!(r#"{{"source":{{"address":"{from}"}},"streams":[{{"address":"{first}","modul":2}}]}}"#),
            "modul",
        ),
    ] {
        std::fs::write(&file, config).unwrap();
        split.signal("HUP");
        let failed = event(&mut split, "reload-failed");
        assert!(failed["error"].as_str().unwrap().contains(part), "{failed}");
        split.event("the old one goes on");
    }
    std::fs::remove_file(&file).unwrap();
    split.signal("HUP");
    event(&mut split, "reload-failed");
    send(&mut source, 20..30).await;
    assert_eq!(receive(&mut stays, 10).await, (20..30).collect::<Vec<_>>());
    assert_eq!(receive(&mut comes, 5).await, [20, 22, 24, 26, 28]);
    let summary = summary(split);
    assert_eq!(summary["messages"], 30);
    // As the lines and the other programs name them.
    for field in [
        "elapsed_s",
        "data_rate_mb_per_s",
        "message_rate_hz",
        "unknown_htype",
    ] {
        assert!(summary[field].is_number(), "{field}: {summary}");
    }
}

#[test]
fn a_source_that_listens_keeps_its_mode() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let source = format!("tcp://{}", free.local_addr().unwrap());
    drop(free);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("split.json");
    let write = |mode: &str| {
        let config = json!({
            "source": { "address": source, "attach": "bind", "mode": mode },
            "streams": [{ "address": "tcp://127.0.0.1:0", "attach": "bind" }],
        });
        std::fs::write(&file, config.to_string()).unwrap();
    };
    write("PULL");
    let mut split = m_split(&["-c", file.to_str().unwrap(), "--json"]);
    event(&mut split, "begun");
    write("SUB");
    split.signal("HUP");
    let failed = event(&mut split, "reload-failed");
    assert!(
        failed["error"].as_str().unwrap().contains("new start"),
        "{failed}"
    );
    summary(split);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_file_that_is_watched_is_read_when_it_changes() {
    let mut source = bound(Mode::Push, 100).await;
    let mut receiver = bound(Mode::Pull, 100).await;
    let (from, to) = (address(&source), address(&receiver));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("split.json");
    write_config(&file, &from, &[(&to, 1)]);
    let mut split = m_split(&["-c", file.to_str().unwrap(), "--watch", "--json"]);
    event(&mut split, "begun");
    // As an editor saves: another file takes its place.
    let other = folder.path().join("split.json.new");
    write_config(&other, &from, &[(&to, 5)]);
    std::fs::rename(&other, &file).unwrap();
    assert_eq!(event(&mut split, "reloaded")["changed"], json!([to]));
    send(&mut source, 0..10).await;
    assert_eq!(receive(&mut receiver, 2).await, [0, 5]);
    summary(split);
}

#[test]
fn what_is_wrong_is_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("split.json");
    let path = file.to_str().unwrap();
    for (config, part) in [
        ("", "split.json"),
        (r#"{"source":{"adress":"tcp://a:1"},"streams":[]}"#, "adress"),
        (
            r#"{"source":{"address":"tcp://a:1"},"streams":[{"address":"tcp://*:1","mode":"PULL"}]}"#,
            "PULL",
        ),
        (
            r#"{"source":{"address":"tcp://a:1"},"streams":[{"address":"tcp://*:1","filter":"frame ~ 2"}]}"#,
            "at byte 6",
        ),
        (
            r#"{"source":{"address":"tcp://a:1"},"streams":[{"address":"tcp://*:1"},{"address":"tcp://*:1"}]}"#,
            "twice",
        ),
        (
            r#"{"source":{"address":"tcp://a"},"streams":[{"address":"tcp://*:1"}]}"#,
            "source",
        ),
    ] {
        std::fs::write(&file, config).unwrap();
        for arguments in [&["-c", path][..], &["-c", path, "--check"]] {
            let end = m_split(arguments).end();
            assert_eq!((end.code, end.stderr.len()), (Some(2), 1), "{config}: {end:?}");
            assert!(end.stderr[0].starts_with("m_split: error: "), "{end:?}");
            assert!(end.stderr[0].contains(part), "{part}: {end:?}");
        }
    }
    for (arguments, part) in [
        (&["-c", "no such file"][..], "no such file"),
        (&[], "<SOURCE"),
        (&["tcp://a:1"], "<STREAM"),
        (&["-c", path, "tcp://a:1", "tcp://*:2"], "cannot be used with"),
        (&["tcp://a:1", "tcp://*:2,modulo=0"], "nonzero"),
        (&["tcp://a:1", "tcp://*:2,modul=3"], "modul"),
        (&["tcp://a:1", "localhost:2"], "streams[0]"),
        (&["tcp://a:1", "tcp://*:2", "--watch"], "--config"),
        (&["tcp://a:1", "tcp://*:2", "--metrics", ":9100"], "*:9100"),
    ] {
        let end = m_split(arguments).end();
        assert_eq!(
            (end.code, end.stderr.len()),
            (Some(2), 1),
            "{arguments:?}: {end:?}"
        );
        assert!(end.stderr[0].contains(part), "{part}: {end:?}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let output = format!("tcp://{taken},attach=bind");
    let end = m_split(&["tcp://127.0.0.1:1", &output]).end();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.stderr[0].contains("in use"), "{end:?}");
    let end = m_split(&["tcp://127.0.0.1:1", "tcp://*:0", "--metrics", &taken.to_string()]).end();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.stderr[0].contains("cannot serve metrics"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn metrics_are_those_of_this_moment() {
    let mut source = bound(Mode::Push, 100).await;
    let mut receiver = bound(Mode::Pull, 100).await;
    let mut split = m_split(&[
        address(&source),
        address(&receiver),
        "--metrics".to_owned(),
        "0".to_owned(),
    ]);
    let line = split.event("metrics at ");
    let url = line.rsplit(' ').next().unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{line}");
    for total in [10, 20] {
        send(&mut source, (total - 10)..total).await;
        receive(&mut receiver, 10).await;
        let text = get(url, "*/*");
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        let source = format!("{{address=\"{}\",role=\"source\"}}", address(&source));
        let output = format!("{{address=\"{}\",role=\"output\"}}", address(&receiver));
        for line in [
            format!("flexbond_stream_messages_total{source} {total}"),
            format!("flexbond_stream_lost_frames{source} 0"),
            format!("flexbond_output_messages_total{output} {total}"),
            format!("flexbond_output_dropped_messages_total{output} 0"),
            format!("flexbond_output_waiting_messages{output} 0"),
            format!("flexbond_output_stalled{output} 0"),
            "# TYPE flexbond_output_messages_total counter".to_owned(),
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
    let text = get(url, "application/openmetrics-text;version=1.0.0;q=0.8,*/*;q=0.1");
    assert!(
        text.contains("application/openmetrics-text") && text.ends_with("# EOF\n"),
        "{text}"
    );
    assert!(
        text.contains("# TYPE flexbond_output_messages counter\n"),
        "{text}"
    );
    split.signal("INT");
    assert_eq!(split.end().code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn streams_are_merged_in_turn() {
    let mut left = bound(Mode::Push, 100).await;
    let mut right = bound(Mode::Push, 100).await;
    let mut merge = Program::flexbond(&[
        "merge",
        &address(&left),
        &address(&right),
        "-a",
        "tcp://127.0.0.1:0",
        "--wait",
        "inf",
        "--count",
        "40",
        "--json",
    ]);
    let begun = event(&mut merge, "begun");
    let output = begun["output"].as_str().unwrap();
    let mut receiver = Stream::connect(output, ConnectOptions::new()).await.unwrap();
    send(&mut left, 0..20).await;
    send(&mut right, 100..120).await;
    let expected: Vec<_> = (0..20).flat_map(|frame| [frame, 100 + frame]).collect();
    assert_eq!(receive(&mut receiver, 40).await, expected);
    let end = merge.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let line: Value = serde_json::from_str(end.stdout.last().unwrap()).unwrap();
    assert_eq!(line["summary"]["messages"], 40, "{line}");
    assert_eq!(line["summary"]["sources"][1]["messages"], 20, "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn streams_are_merged_by_number() {
    for (incomplete, expected) in [
        ("send", &[0, 0, 1, 2, 2, 3, 3, 4][..]),
        ("drop", &[0, 0, 2, 2, 3, 3]),
    ] {
        let mut left = bound(Mode::Push, 100).await;
        let mut right = bound(Mode::Push, 100).await;
        let mut merge = Program::flexbond(&[
            "merge",
            &address(&left),
            &address(&right),
            "-a",
            "tcp://127.0.0.1:0",
            "--align",
            "frame",
            "--wait",
            "inf",
            "--incomplete",
            incomplete,
            "--json",
            "-i",
            "0.1",
            "--metrics",
            "0",
        ]);
        let line = merge.event("metrics at ");
        let begun = event(&mut merge, "begun");
        let output = begun["output"].as_str().unwrap();
        let mut receiver = Stream::connect(output, ConnectOptions::new()).await.unwrap();
        // The right one lacks 1 and 4, which the next number tells.
        send(&mut left, 0..6).await;
        send(&mut right, [0, 2, 3, 5]).await;
        assert_eq!(
            receive(&mut receiver, expected.len()).await,
            expected,
            "{incomplete}"
        );
        assert_eq!(receive(&mut receiver, 2).await, [5, 5]);
        // Its turn is over.
        send(&mut right, [4]).await;
        line_with(&mut merge, |line| line["sources"][1]["late"] == 1);
        let text = get(line.rsplit(' ').next().unwrap(), "");
        assert!(text.contains("flexbond_merge_missing_messages_total{"), "{text}");
        let summary = summary(merge);
        let late = &summary["sources"][1];
        assert_eq!(
            (&late["missing"], &late["late"]),
            (&json!(2), &json!(1)),
            "{summary}"
        );
        assert_eq!(summary["dropped_late"], 1, "{summary}");
        let dropped = if incomplete == "drop" { 2 } else { 0 };
        assert_eq!(summary["dropped_incomplete"], dropped, "{summary}");
    }
}

/// Two sources and the arguments of a program that merges them, to an address that the system chooses.
async fn two_sources() -> (Stream, Stream, Vec<String>) {
    let (left, right) = (bound(Mode::Push, 100).await, bound(Mode::Push, 100).await);
    let mut arguments = vec!["merge".to_owned(), address(&left), address(&right)];
    arguments.extend(["-a", "tcp://127.0.0.1:0", "--json", "-i", "0.1"].map(str::to_owned));
    (left, right, arguments)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_count_ends_a_merge_with_whole_numbers() {
    let (mut left, mut right, mut arguments) = two_sources().await;
    arguments.extend(["--align", "frame", "--count", "3"].map(str::to_owned));
    let mut merge = Program::flexbond(&arguments);
    let begun = event(&mut merge, "begun");
    let output = begun["output"].as_str().unwrap();
    let mut receiver = Stream::connect(output, ConnectOptions::new()).await.unwrap();
    send(&mut left, 0..5).await;
    send(&mut right, 0..5).await;
    assert_eq!(receive(&mut receiver, 4).await, [0, 0, 1, 1]);
    let end = merge.end();
    assert_eq!((end.code, end.stderr.len()), (Some(0), 0), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_interrupts_a_merge_still_gets_what_has_come() {
    for align in [true, false] {
        let (mut left, mut right, mut arguments) = two_sources().await;
        if align {
            arguments.extend(["--align", "frame", "--wait", "inf"].map(str::to_owned));
        }
        let mut merge = Program::flexbond(&arguments);
        let begun = event(&mut merge, "begun");
        let output = begun["output"].as_str().unwrap();
        send(&mut left, 0..6).await;
        send(&mut right, 0..4).await;
        for source in [left, right] {
            assert_eq!(source.disconnect_within(Some(PATIENCE)).await.undelivered, 0);
        }
        line_with(&mut merge, |line| {
            (0..2).all(|index| line["sources"][index]["senders"] == 0)
        });
        // Nobody has taken anything yet.
        merge.signal("INT");
        merge.event("sending what still waits");
        let mut receiver = Stream::connect(output, ConnectOptions::new()).await.unwrap();
        let mut frames = receive(&mut receiver, 10).await;
        if !align {
            frames.sort_unstable();
        }
        assert_eq!(frames, [0, 0, 1, 1, 2, 2, 3, 3, 4, 5], "{align}");
        let end = merge.end();
        assert_eq!(end.code, Some(0), "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_merge_tells_of_a_source_that_is_shared() {
    let (mut left, _right, mut arguments) = two_sources().await;
    arguments.extend(["--wait", "0"].map(str::to_owned));
    let mut merge = Program::flexbond(&arguments);
    let begun = event(&mut merge, "begun");
    let output = begun["output"].as_str().unwrap();
    let mut receiver = Stream::connect(output, ConnectOptions::new()).await.unwrap();
    send(&mut left, (0..100).step_by(2)).await;
    receive(&mut receiver, 50).await;
    let line = merge.event("another PULL receiver");
    assert!(line.contains(&address(&left)), "{line}");
    merge.signal("INT");
    assert_eq!(merge.end().code, Some(0));
}

#[test]
fn a_source_cannot_be_merged_with_itself() {
    let end = Program::flexbond(&["merge", "tcp://a:1", "tcp://b:1", "tcp://a:1"]).end();
    assert_eq!((end.code, end.stderr.len()), (Some(2), 1), "{end:?}");
    assert!(end.stderr[0].contains("tcp://a:1 is there twice"), "{end:?}");
}

#[test]
fn help_has_examples() {
    for arguments in [&["split", "--help"][..], &["merge", "--help"]] {
        let end = Program::flexbond(arguments).end();
        assert_eq!(end.code, Some(0), "{end:?}");
        let text = end.stdout.join("\n");
        for part in ["Examples:", "Exit codes:", "--metrics <ADDR>"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
