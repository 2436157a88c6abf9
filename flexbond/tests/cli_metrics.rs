//! `--metrics` of the programs that take or send one stream: the numbers are those of this moment.

mod program;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use flexbond::stream::{Attach, ConnectOptions, Header, Mode, Stream, StreamMessage};
use program::{PATIENCE, Program, scrape};

const STATS: &str = env!("CARGO_BIN_EXE_m_stats");
const GENERATE: &str = env!("CARGO_BIN_EXE_m_generate");
const DUMP: &str = env!("CARGO_BIN_EXE_m_dump");
const REPLAY: &str = env!("CARGO_BIN_EXE_m_replay");

fn start(program: &str, arguments: &[&str]) -> Program {
    Program::start(Command::new(program), arguments)
}

/// A program that sends, at a free port, and where that is.
fn sender(program: &str, arguments: &[&str]) -> (Program, String) {
    let mut sender = start(program, &[&["-a", "tcp://127.0.0.1:0"], arguments].concat());
    let line = sender.line();
    (sender, line.rsplit(' ').next().unwrap().to_owned())
}

/// Asks until all samples hold; each answer must be a good one.
#[track_caller]
fn until(url: &str, samples: &[(&str, &dyn Fn(f64) -> bool)]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = scrape::get(url, "");
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        let wrong = samples
            .iter()
            .find(|(sample, holds)| !scrape::value(&text, sample).is_some_and(holds));
        let Some((sample, _)) = wrong else { return };
        assert!(Instant::now() < deadline, "{sample}: {text}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is(expected: f64) -> impl Fn(f64) -> bool {
    move |value| value == expected
}

fn at_least(expected: f64) -> impl Fn(f64) -> bool {
    move |value| value >= expected
}

/// A counter of a stream.
fn total(name: &str, address: &str, role: &str) -> String {
    format!("{name}_total{{address=\"{address}\",role=\"{role}\"}}")
}

fn interrupt(program: Program) {
    program.signal("INT");
    let end = program.end();
    assert_eq!(end.code, Some(0), "{end:?}");
}

#[test]
fn stats_has_what_came() {
    let (generate, endpoint) = sender(
        GENERATE,
        &["--htype", "array-1.0", "--size-bytes", "1K", "--count", "50"],
    );
    let mut stats = start(STATS, &[&endpoint, "--metrics", "127.0.0.1:0"]);
    let url = scrape::url(&mut stats);
    let messages = total("flexbond_stream_messages", &endpoint, "source");
    let htypes = format!(
        "flexbond_stream_htype_messages_total{{address=\"{endpoint}\",role=\"source\",htype=\"array-1.0\"}}"
    );
    let lost = format!("flexbond_stream_lost_frames{{address=\"{endpoint}\",role=\"source\"}}");
    until(
        &url,
        &[(&messages, &is(50.0)), (&htypes, &is(50.0)), (&lost, &is(0.0))],
    );
    assert!(scrape::get(&url, "").contains("program=\"stats\""));
    interrupt(stats);
    assert_eq!(generate.end().code, Some(0));
}

#[test]
fn generate_has_what_it_sent_and_what_it_spoiled() {
    let (mut generate, endpoint) = sender(
        GENERATE,
        &[
            "--size-bytes",
            "1K",
            "--fault",
            "drop=0.5",
            "--linger",
            "0",
            "--metrics",
            "0",
        ],
    );
    let url = scrape::url(&mut generate);
    let messages = total("flexbond_stream_messages", &endpoint, "output");
    let peers = format!("flexbond_socket_peers{{address=\"{endpoint}\",role=\"output\"}}");
    let dropped = format!("flexbond_generate_faults_total{{address=\"{endpoint}\",fault=\"drop\"}}");
    // It answers while it waits for a receiver.
    until(&url, &[(&messages, &is(0.0)), (&peers, &is(0.0))]);
    assert_eq!(start(STATS, &[&endpoint, "-n", "200"]).end().code, Some(0));
    until(
        &url,
        &[(&messages, &at_least(200.0)), (&dropped, &at_least(50.0))],
    );
    interrupt(generate);
}

#[test]
fn dump_has_what_came_and_what_is_kept() {
    let place = tempfile::tempdir().unwrap();
    let (file, folder) = (place.path().join("run.fbr"), place.path().join("folder"));
    let cases: [&[&str]; 3] = [
        &["--record", file.to_str().unwrap()],
        &[folder.to_str().unwrap()],
        &[],
    ];
    for target in cases {
        let (generate, endpoint) = sender(GENERATE, &["--size-bytes", "1K", "--count", "50"]);
        let mut dump = start(DUMP, &[&[&*endpoint, "--metrics", "0"], target].concat());
        let url = scrape::url(&mut dump);
        let messages = total("flexbond_stream_messages", &endpoint, "source");
        until(&url, &[(&messages, &is(50.0))]);
        if !target.is_empty() {
            until(&url, &[("flexbond_recorded_messages_total", &is(50.0))]);
        }
        interrupt(dump);
        assert_eq!(generate.end().code, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn dump_answers_while_nobody_reads_the_screen() {
    let options = ConnectOptions::new()
        .mode(Mode::Push)
        .attach(Attach::Bind)
        .linger(Duration::ZERO);
    let mut source = Stream::connect("tcp://127.0.0.1:0", options).await.unwrap();
    let endpoint = source.endpoint().to_string();
    let mut dump = Program::unread(Command::new(DUMP), &[&*endpoint, "--metrics", "0"]);
    let url = scrape::url(&mut dump);
    // Longer than what a pipe takes: one is being written, two wait, and one is held back.
    let long = "x".repeat(200_000);
    for _ in 0..10 {
        let header = Header::new("raw-1.0").with("is", &*long);
        source.send(StreamMessage::raw(header, [])).await.unwrap();
    }
    let messages = total("flexbond_stream_messages", &endpoint, "source");
    until(&url, &[(&messages, &is(4.0))]);
    dump.signal("INT");
    let summary = dump.event("Received: ");
    assert!(summary.contains("3 messages"), "{summary}");
    assert_eq!(dump.end().code, Some(0));
}

#[test]
fn replay_has_what_it_sent_and_how_often() {
    let place = tempfile::tempdir().unwrap();
    let seed = seed_folder(place.path());
    let (mut replay, endpoint) = sender(REPLAY, &[&seed, "--loop", "--linger", "0", "--metrics", "0"]);
    let url = scrape::url(&mut replay);
    let messages = total("flexbond_stream_messages", &endpoint, "output");
    let rounds = total("flexbond_replay_rounds", &endpoint, "output");
    let unreadable = total("flexbond_replay_unreadable_messages", &endpoint, "output");
    // It answers while it waits for a receiver.
    until(&url, &[(&messages, &is(0.0)), (&rounds, &is(0.0))]);
    assert_eq!(start(STATS, &[&endpoint, "-n", "300"]).end().code, Some(0));
    until(
        &url,
        &[
            (&messages, &at_least(300.0)),
            (&rounds, &at_least(100.0)),
            (&unreadable, &is(0.0)),
        ],
    );
    interrupt(replay);
}

/// Three messages, as mflow writes them.
fn seed_folder(parent: &Path) -> String {
    let folder = parent.join("seed");
    fs::create_dir(&folder).unwrap();
    for message in 0..3 {
        let header = format!(r#"{{"htype":"raw-1.0","frame":{message}}}"#);
        fs::write(folder.join(format!("{message:06}_000.raw")), header).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}
