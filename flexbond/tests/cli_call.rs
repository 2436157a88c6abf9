//! `flexbond call`: answers, failures, streams, and how it ends.

mod program;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flexbond::rpc::server::ServerStats;
use flexbond::rpc::{AnyTensor, Context, Failure, FailureKind, Methods, Server};
use flexbond::session::socket::{Pub, RecvError, Router};
use futures_util::stream::{self, StreamExt};
use program::{End, PATIENCE, Program};
use serde::Deserialize;
use tokio::runtime::Runtime;

#[derive(Deserialize)]
struct Operands {
    a: f64,
    b: f64,
}

#[derive(Deserialize)]
struct Count {
    n: u64,
}

/// A server beside the test, as long as this lives.
struct Calculator {
    endpoint: String,
    stats: Box<dyn Fn() -> ServerStats>,
    /// Items that were made.
    made: Arc<AtomicU64>,
    _runtime: Runtime,
}

fn methods(made: &Arc<AtomicU64>) -> Methods {
    let made = Arc::clone(made);
    let add = async |Operands { a, b }| Ok::<_, Failure>(a + b);
    Methods::new()
        .add("add", add)
        .map(|methods| methods.describe("add", "(a: f64, b: f64) -> f64", "adds \u{1b}[2J numbers"))
        .and_then(|methods| methods.add("mirror", async |array: AnyTensor| Ok::<_, Failure>(array)))
        .and_then(|methods| {
            methods.add("zeros", async |(n,): (usize,)| {
                AnyTensor::from_elements(&[n], vec![0_u8; n])
                    .map_err(|error| Failure::failed(1, error.to_string()))
            })
        })
        .and_then(|methods| {
            methods.add("fail", async |(code, message): (i64, String)| {
                let failure = Failure::failed(code, message).with_details(&["Vega"]);
                Err::<(), _>(failure.expect("texts are JSON"))
            })
        })
        .and_then(|methods| methods.add("panic", async |()| -> Result<(), Failure> { panic!("oh dear") }))
        .and_then(|methods| {
            methods.add("hang", async |()| {
                std::future::pending::<Result<(), Failure>>().await
            })
        })
        .and_then(|methods| {
            methods.add_raw("token", async |request| {
                let token = request
                    .metadata
                    .get_str("authorization")
                    .unwrap_or("none")
                    .to_owned();
                match token.as_str() {
                    "none" => Err(Failure::new(FailureKind::Unauthenticated, "who are you?")),
                    token => flexbond::rpc::Response::with_value(request.codec, token)
                        .map_err(|error| Failure::failed(1, error.to_string())),
                }
            })
        })
        .and_then(|methods| {
            methods.add("left", async |context: Context, ()| {
                Ok::<_, Failure>(context.time_left().map(|left| left.as_secs()))
            })
        })
        .and_then(|methods| {
            methods.add_stream("count", move |Count { n }| {
                let made = Arc::clone(&made);
                async move {
                    let numbers = (0..n).map(move |number| {
                        made.fetch_add(1, Ordering::SeqCst);
                        Ok::<_, Failure>(number)
                    });
                    Ok::<_, Failure>(stream::iter(numbers))
                }
            })
        })
        .and_then(|methods| {
            // Items that come `ms` after each other, and then nothing, not even the end.
            methods.add_stream("drip", async |(n, ms): (u64, u64)| {
                let items = stream::iter(0..n).then(move |number| async move {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    Ok::<_, Failure>(number)
                });
                Ok::<_, Failure>(items.chain(stream::pending()))
            })
        })
        .expect("names are names, and differ")
}

impl Calculator {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let made = Arc::default();
        let _inside = runtime.enter();
        let server = Server::new(methods(&made));
        let endpoint = runtime.block_on(server.bind("tcp://127.0.0.1:0")).unwrap();
        let stats = Box::new(server.stats());
        runtime.spawn(server.run());
        Calculator {
            endpoint: endpoint.to_string(),
            stats,
            made,
            _runtime: runtime,
        }
    }

    fn begin(&self, arguments: &[&str]) -> Program {
        Program::flexbond(&[&["call", &self.endpoint][..], arguments].concat())
    }

    fn call(&self, arguments: &[&str]) -> End {
        self.begin(arguments).end()
    }

    #[track_caller]
    fn answer(&self, arguments: &[&str]) -> String {
        let end = self.call(arguments);
        assert_eq!((end.code, end.stderr.len()), (Some(0), 0), "{end:?}");
        assert_eq!(end.stdout.len(), 1, "{end:?}");
        end.stdout[0].clone()
    }

    fn until(&self, what: &str, condition: impl Fn(&ServerStats) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&(self.stats)()) {
            assert!(Instant::now() < deadline, "waited for {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The only line on standard error.
#[track_caller]
fn error(end: &End) -> &str {
    assert_eq!(end.stderr.len(), 1, "{end:?}");
    assert!(end.stderr[0].starts_with("flexbond: error: "), "{end:?}");
    &end.stderr[0]
}

#[test]
fn an_answer_is_a_line_of_json() {
    let server = Calculator::start();
    assert_eq!(server.answer(&["add", r#"{"a": 1, "b": 2}"#]), "3.0");
    assert_eq!(server.answer(&["add", "[1, 2]"]), "3.0");
    assert_eq!(server.answer(&["add", "[1, 2]", "--codec", "msgpack"]), "3.0");
    assert_eq!(server.answer(&["mirror", "[[1, 2], [3, 4]]"]), "[[1,2],[3,4]]");
    assert_eq!(server.answer(&["mirror", "-7"]), "-7");
    assert_eq!(server.answer(&["flexbond.health"]), "\"serving\"");
    assert_eq!(
        server.answer(&["token", "-H", "authorization=Bearer 7"]),
        "\"Bearer 7\""
    );
    assert_eq!(server.answer(&["left", "--timeout", "100.5"]), "100");
    let mut program = server.begin(&["add", "-"]);
    program.write("{\"a\": 1,");
    program.write("\"b\": 2}");
    program.close_input();
    assert_eq!(program.line(), "3.0");
    program.done();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("arguments.json");
    std::fs::write(&file, r#"{"a": 4, "b": 2}"#).unwrap();
    assert_eq!(server.answer(&["add", &format!("@{}", file.display())]), "6.0");
}

#[test]
fn arrays_travel_as_files() {
    let server = Calculator::start();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let bytes: Vec<u8> = (0..2000_u16).flat_map(u16::to_le_bytes).collect();
    std::fs::write(path("in"), &bytes).unwrap();
    let array = r#"{"dtype": "<u2", "shape": [2000], "data": {"$buffer": 0}}"#;
    let sent = ["mirror", array, "--buffer", &path("in")];
    let end = server.call(&sent);
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(end.stdout[0].contains(r#""bytes":4000"#), "{end:?}");
    assert!(
        end.stderr[0].contains("4000 bytes") && end.stderr[0].contains("--output"),
        "{end:?}"
    );
    let written = server.answer(&[&sent[..], &["--output", &path("out")]].concat());
    assert!(written.contains(r#""shape":[2000]"#), "{written}");
    assert_eq!(std::fs::read(path("out")).unwrap(), bytes);
    assert_eq!(server.answer(&["zeros", "[3]"]), "[0,0,0]");
    let none = server.call(&["add", "[1, 2]", "--output", &path("none")]);
    assert_eq!(none.code, Some(1));
    assert!(error(&none).contains("no buffer"), "{none:?}");
}

#[test]
fn streams_are_printed_as_they_come() {
    let server = Calculator::start();
    let end = server.call(&["count", r#"{"n": 1000}"#, "--stream"]);
    assert_eq!(end.code, Some(0), "{end:?}");
    let numbers: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(end.stdout, numbers);
    assert_eq!(server.call(&["count", r#"{"n": 0}"#, "--stream"]).stdout, [""; 0]);
    assert_eq!(server.answer(&["add", "[1, 2]", "--stream"]), "3.0");
    let end = server.call(&["count", r#"{"n": 3}"#]);
    assert_eq!(end.code, Some(1));
    assert!(error(&end).contains("--stream"), "{end:?}");
}

#[test]
fn the_time_of_a_stream_is_that_of_each_item() {
    let server = Calculator::start();
    // Together they take longer.
    let end = server.call(&["drip", "[6, 200]", "--stream", "--timeout", "1"]);
    assert_eq!(end.code, Some(3), "{end:?}");
    assert_eq!(end.stdout, ["0", "1", "2", "3", "4", "5"]);
    assert!(error(&end).contains("no item more within 1s"), "{end:?}");
    server.until("the end of the stream", |stats| stats.in_flight == 0);
}

#[test]
fn a_reader_who_has_enough_ends_the_stream_on_the_server() {
    let server = Calculator::start();
    let mut program = server.begin(&["count", r#"{"n": 1000000000000}"#, "--stream"]);
    assert_eq!(program.line(), "0");
    program.close_output();
    assert_eq!(program.end().code, Some(0));
    server.until("the end of the stream", |stats| stats.in_flight == 0);
}

#[test]
fn a_reader_who_does_not_read_holds_up_the_server() {
    let server = Calculator::start();
    let command = std::process::Command::new(env!("CARGO_BIN_EXE_flexbond"));
    let arguments = [
        "call",
        &server.endpoint,
        "count",
        r#"{"n": 1000000000}"#,
        "--stream",
    ];
    let program = Program::unread(command, &arguments);
    server.until("a stream", |stats| stats.in_flight == 1);
    // A pipe of 64 KiB and some batches: it stands still soon.
    let mut before = u64::MAX;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let made = server.made.load(Ordering::SeqCst);
        if made == before && made > 0 {
            break;
        }
        assert!(Instant::now() < deadline && made < 10_000_000, "{made}");
        before = made;
        std::thread::sleep(Duration::from_millis(300));
    }
    drop(program);
}

#[test]
fn failures_say_what_to_do() {
    let server = Calculator::start();
    let cases: [(&[&str], &[&str]); 7] = [
        (
            &["fail", r#"[42, "no such star"]"#],
            &["failed (code 42): no such star", r#"details: ["Vega"]"#],
        ),
        (&["ad"], &["unknown method", "--list"]),
        (&["Add"], &["did you mean add?"]),
        (
            &["add", r#"{"a": 1}"#],
            &["bad arguments", "missing field `b`", "add(a: f64, b: f64) -> f64"],
        ),
        (&["add", r#"{"a": 1, "b": "two"}"#], &["at b"]),
        (&["panic"], &["panicked: oh dear", "the server goes on"]),
        (&["token"], &["unauthenticated: who are you?", "-H authorization"]),
    ];
    for (arguments, texts) in cases {
        let end = server.call(arguments);
        assert_eq!(end.code, Some(1), "{end:?}");
        for text in texts {
            assert!(error(&end).contains(text), "{text}: {end:?}");
        }
        assert!(end.stdout.is_empty(), "{end:?}");
    }
    assert_eq!(server.answer(&["add", "[1, 2]"]), "3.0", "the server lives");
}

#[test]
fn what_cannot_be_used_is_a_usage_error() {
    let cases: [(&[&str], &str); 11] = [
        (&[], "ENDPOINT"),
        (&["127.0.0.1:5", "add"], "127.0.0.1:5"),
        (&["udp9://x", "add"], "udp9"),
        (&["tcp://127.0.0.1:1"], "METHOD"),
        (
            &["tcp://127.0.0.1:1", "add", "{a: 1}"],
            "JSON: key must be a string",
        ),
        (&["tcp://127.0.0.1:1", "add", "@/no/such/file"], "/no/such/file"),
        (&["tcp://127.0.0.1:1", "add", "1", "-H", "token"], "name=value"),
        (&["tcp://127.0.0.1:1", "add", "1", "-H", "a b=c"], "a b"),
        (&["tcp://127.0.0.1:1", "add", "1", "--timeout", "0"], "--timeout"),
        (
            &["tcp://127.0.0.1:1", "add", "1", "--codec", "postcard"],
            "postcard",
        ),
        (&["tcp://127.0.0.1:1", "--list", "--stream"], "--stream"),
    ];
    for (arguments, text) in cases {
        let end = Program::flexbond(&[&["call"][..], arguments].concat()).end();
        assert_eq!(end.code, Some(2), "{arguments:?}: {end:?}");
        assert!(error(&end).contains(text), "{arguments:?}: {end:?}");
    }
}

#[test]
fn nobody_there_is_told_in_time() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", free.local_addr().unwrap());
    drop(free);
    let end = Program::flexbond(&["call", &endpoint, "add", "[1, 2]", "--connect-timeout", "0.3"]).end();
    assert_eq!(end.code, Some(3), "{end:?}");
    assert!(
        error(&end).contains("refused") && error(&end).contains("is the server running"),
        "{end:?}"
    );
}

#[test]
fn who_is_no_server_of_calls_is_told_from_nobody() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("tcp://{}", silent.local_addr().unwrap());
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let publisher = Pub::new();
    let bound = runtime.block_on(publisher.bind("tcp://127.0.0.1:0")).unwrap();
    for (endpoint, text) in [
        (silent, "has not answered the handshake"),
        (
            bound.to_string(),
            "the handshake failed: a DEALER socket cannot talk to a PUB socket",
        ),
    ] {
        let end = Program::flexbond(&["call", &endpoint, "add", "[1, 2]", "--connect-timeout", "0.5"]).end();
        assert_eq!(end.code, Some(3), "{end:?}");
        assert!(
            error(&end).contains(text) && error(&end).contains("somebody is there"),
            "{end:?}"
        );
    }
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_beyond_the_timeout() {
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let mute = Router::new();
    let endpoint = runtime
        .block_on(mute.bind("tcp://127.0.0.1:0"))
        .unwrap()
        .to_string();
    let program = Program::flexbond(&["call", &endpoint, "add", "[1, 2]", "--timeout", "0.3"]);
    let told = || {
        let told = runtime.block_on(async { tokio::time::timeout(PATIENCE, mute.recv()).await });
        told.expect("in time")
            .expect("a message")
            .into_frames()
            .split_off(1)
    };
    assert_eq!(told()[0][1], 1, "a request");
    let end = program.end();
    assert_eq!(end.code, Some(3), "{end:?}");
    assert!(error(&end).contains("no answer within 300ms"), "{end:?}");
    assert_eq!(told()[0][1], 7, "it is cancelled");
    // Nor is it asked for a sign of life.
    assert!(matches!(mute.try_recv(), Err(RecvError::WouldBlock)));
}

#[test]
fn a_call_without_end_is_given_up_and_stopped() {
    let server = Calculator::start();
    let end = server.call(&["hang", "--timeout", "0.3"]);
    assert_eq!(end.code, Some(3), "{end:?}");
    assert!(error(&end).contains("no answer within 300ms"), "{end:?}");
    server.until("the end of the work", |stats| stats.in_flight == 0);
}

#[test]
fn an_interrupt_cancels_the_call_on_the_server() {
    let server = Calculator::start();
    let program = server.begin(&["hang"]);
    server.until("the call", |stats| stats.in_flight == 1);
    program.signal("INT");
    let end = program.end();
    assert_eq!(end.code, Some(130), "{end:?}");
    assert!(end.stderr[0].contains("cancelled"), "{end:?}");
    let stats = (server.stats)();
    assert_eq!((stats.in_flight, stats.cancelled), (0, 1), "{stats:?}");
}

#[test]
fn a_server_that_dies_in_mid_call_is_told() {
    let server = Calculator::start();
    let program = server.begin(&["hang"]);
    server.until("the call", |stats| stats.in_flight == 1);
    drop(server);
    let end = program.end();
    assert_eq!(end.code, Some(3), "{end:?}");
    assert!(error(&end).contains("the call may have run"), "{end:?}");
}

#[test]
fn the_list_is_a_table_or_json() {
    let server = Calculator::start();
    let end = server.call(&["--list"]);
    assert_eq!(end.code, Some(0), "{end:?}");
    let table = end.stdout.join("\n");
    for text in [
        "takes and answers",
        "(a: f64, b: f64) -> f64",
        "adds",
        "flexbond.health",
        "stream u64",
    ] {
        assert!(table.contains(text), "{text}: {table}");
    }
    assert!(
        !table.contains('\u{1b}'),
        "a description steers no terminal: {table:?}"
    );
    for codec in ["json", "msgpack"] {
        let end = server.call(&["--list", "--json", "--codec", codec]);
        let names: Vec<String> = end
            .stdout
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["name"].to_string())
            .collect();
        assert!(names.contains(&"\"count\"".to_owned()), "{names:?}");
    }
}

#[test]
fn help_teaches_by_examples() {
    let end = Program::flexbond(&["call", "--help"]).end();
    let help = end.stdout.join("\n");
    for text in [
        "Exit codes:",
        "no connection",
        "Examples:",
        "--list",
        "$buffer",
        "{\"a\": 1, \"b\": 2}",
    ] {
        assert!(help.contains(text), "{text}");
    }
    let script = Program::flexbond(&["completions", "bash"])
        .end()
        .stdout
        .join("\n");
    assert!(script.contains("connect-timeout"), "completions");
}
