//! `client.py` against our calculator, and `server.py` against our client: nothing but pyzmq at the other end.

#[allow(dead_code, reason = "its functions are served here, not by its own main")]
#[path = "../examples/calculator.rs"]
mod calculator;

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use flexbond_rpc::client::Options;
use flexbond_rpc::envelope::{Codec, Header, Kind};
use flexbond_rpc::{CallError, Client, FailureKind, MethodInfo, Server, Tensor, server};
use flexbond_session::socket::{Dealer, Router};
use flexbond_session::{Endpoint, Frame, Message};
use serde_json::{Value, json};
use tokio::io::AsyncBufReadExt;
use tokio::task::JoinHandle;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn python(script: &Path, arguments: &[&str]) -> Command {
    let python = std::env::var_os("FLEXBOND_PYTHON")
        .expect("FLEXBOND_PYTHON is not set: run these tests with `cargo xtask interop`");
    let mut command = Command::new(python);
    command
        .arg("-u")
        .arg(script)
        .args(arguments)
        .env("PYTHONPATH", folder("examples"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Where a test's server listens: at a free port, and in a file.
fn binds(name: &str) -> [String; 2] {
    let file = std::env::temp_dir().join(format!("flexbond-rpc-python-{}-{name}", std::process::id()));
    [
        "tcp://127.0.0.1:0".to_owned(),
        format!("ipc://{}", file.display()),
    ]
}

/// Our calculator, until it is stopped.
struct Calculator {
    endpoint: Endpoint,
    stats: Box<dyn Fn() -> server::ServerStats + Send>,
    task: JoinHandle<server::Stopped>,
}

impl Calculator {
    async fn at(bind: &str, options: server::Options) -> Self {
        let server = Server::with_options(calculator::methods().unwrap(), options).unwrap();
        let endpoint = server.bind(bind).await.unwrap();
        Calculator {
            endpoint,
            stats: Box::new(server.stats()),
            task: tokio::spawn(server.run()),
        }
    }
}

/// Runs a program to its end, which it does not survive if that does not come in time.
async fn output(name: &str, command: Command) -> Output {
    let running = tokio::process::Command::from(command).kill_on_drop(true).output();
    tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap_or_else(|_| panic!("{name} does not end"))
        .unwrap()
}

/// Runs a program of Python to its end, which must be a good one, and returns what it printed.
async fn run(script: PathBuf, arguments: Vec<String>) -> String {
    let name = format!("{} {}", script.display(), arguments.join(" "));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = output(&name, python(&script, &arguments)).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

async fn caller(test: &str, endpoint: &Endpoint) {
    let arguments = vec![test.to_owned(), endpoint.to_string()];
    let printed = run(folder("tests/python/caller.py"), arguments).await;
    assert_eq!(printed, "done\n", "{test}");
}

macro_rules! callers {
    ($($name:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
        async fn $name() {
            for bind in binds(stringify!($name)) {
                let server = Calculator::at(&bind, server::Options::new()).await;
                caller(stringify!($name), &server.endpoint).await;
                assert_eq!((server.stats)().in_flight, 0);
                server.task.abort();
            }
        }
    )*};
}

callers!(arguments_of_every_kind, failures, streams, messages_that_are_none);

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn huge_bodies() {
    let mut options = server::Options::new();
    options.max_request = 1_000_000;
    let server = Calculator::at("tcp://127.0.0.1:0", options).await;
    caller("huge_bodies", &server.endpoint).await;
    server.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_that_is_cut_off() {
    for bind in binds("cut-off") {
        let server = Calculator::at(&bind, server::Options::new()).await;
        let endpoint = server.endpoint.clone();
        let calling = tokio::spawn(async move { caller("a_call_that_is_cut_off", &endpoint).await });
        tokio::time::timeout(PATIENCE, async {
            while (server.stats)().in_flight == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("a call under way");
        server.task.abort();
        let _ = server.task.await;
        calling.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nobody_is_there() {
    let server = Calculator::at("tcp://127.0.0.1:0", server::Options::new()).await;
    server.task.abort();
    let _ = server.task.await;
    caller("nobody_is_there", &server.endpoint).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_tour_shows_everything() {
    for bind in binds("tour") {
        let server = Calculator::at(&bind, server::Options::new()).await;
        let client = folder("examples/client.py");
        let endpoint = server.endpoint.to_string();
        let tour = run(client.clone(), vec![endpoint.clone()]).await;
        for line in [
            "1 + 2 = 3",
            "lists: [4, 6]",
            "arrays: [[-1.0, 0.0, 1.0], [2.0, 3.0, 4.0]]",
            "a stream: [0, 1, 2, 3, 4]",
            "fail: failed: as asked (code 7)",
            "sleep: deadline_exceeded",
        ] {
            assert!(tour.contains(line), "{line}: {tour}");
        }
        let arguments = [endpoint.as_str(), "add", r#"{"a": [1, 2], "b": [3, 4]}"#];
        let one = run(client.clone(), arguments.map(str::to_owned).to_vec()).await;
        assert_eq!(one, "[4, 6]\n");
        let arguments = [endpoint.as_str(), "count", r#"{"n": 3}"#, "--stream"];
        let items = run(client, arguments.map(str::to_owned).to_vec()).await;
        assert_eq!(items, "0\n1\n2\n");
        server.task.abort();
    }
}

/// How a program of Python ends that may fail: its exit code, and its lines on standard error.
async fn ended(arguments: Vec<OsString>) -> (Option<i32>, Vec<String>) {
    let mut command = python(&folder("examples/client.py"), &[]);
    command.args(arguments);
    let output = output("client.py", command).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), stderr.lines().map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_shell_gets_wrong_is_told_in_a_line() {
    let calculator = Calculator::at("tcp://127.0.0.1:0", server::Options::new()).await;
    let python = PythonServer::at("tcp://127.0.0.1:0");
    let (ours, theirs) = (calculator.endpoint.to_string(), python.endpoint.clone());
    let one = r#"{"a": 1, "b": 1}"#;
    for (arguments, code, text) in [
        (&["no endpoint", "add"][..], 2, "cannot connect to no endpoint"),
        (&[&ours, "add", "1+\"x\""], 2, "Extra data"),
        (&[&ours, "add", "[1, 2]"], 2, "no object"),
        (&[&ours, "add", r#"{"a": NaN}"#], 2, "NaN is no JSON"),
        (&[&ours, "add", one, "--timeout", "0"], 2, "above 0"),
        (&[&ours, "add", one, "--timeout", "nan"], 2, "above 0"),
        (&[&ours, "ad"], 1, "unknown_method: "),
        (&[&ours, "add", r#"{"a": 1e308, "b": 1e308}"#], 1, "failed: "),
        (
            &[&theirs, "add", r#"{"a": 1, "b": "x"}"#],
            1,
            "bad_arguments: add: b is neither",
        ),
        (
            &[&theirs, "add", r#"{"a": "x", "b": "y"}"#],
            1,
            "bad_arguments: add: a is neither",
        ),
        (
            &[&theirs, "add", r#"{"a": 1e308, "b": 1e308}"#],
            1,
            "JSON has not",
        ),
        (
            &[&theirs, "fail", r#"{"code": "x", "message": ""}"#],
            1,
            "bad_arguments: fail: code",
        ),
        (
            &[&theirs, "count", r#"{"n": "x"}"#, "--stream"],
            1,
            "bad_arguments: count: n",
        ),
    ] {
        let ended = ended(arguments.iter().map(OsString::from).collect()).await;
        assert_eq!(ended.0, Some(code), "{arguments:?}: {ended:?}");
        let last = ended.1.last().expect("a line");
        assert!(last.contains(text), "{arguments:?}: {ended:?}");
        assert!(!ended.1[0].contains("Traceback"), "{ended:?}");
    }
    let name = OsString::from_vec(vec![0xff, b'x']);
    let named = ended(vec![ours.into(), name]).await;
    assert_eq!(named.0, Some(2), "{named:?}");
    assert_eq!(named.1, ["client.py: the name of the method is no UTF-8"]);
    calculator.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_answer_that_is_none_is_told_in_a_line() {
    let router = Router::new();
    let endpoint = router.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
    // Frames of an answer to a request with this header.
    let answers: [fn(Vec<u8>) -> Frames; 6] = [
        |header| vec![of_kind(header, 2), Vec::new(), b"{".to_vec()],
        |header| vec![of_kind(header, 2), Vec::new(), b"NaN".to_vec()],
        |header| vec![of_kind(header, 3), Vec::new(), b"[]".to_vec()],
        |header| vec![of_kind(header, 99), Vec::new(), b"1".to_vec()],
        |_| vec![vec![1]],
        |_| vec![vec![7; 24]],
    ];
    for (n, answer) in answers.into_iter().enumerate() {
        let arguments = [endpoint.as_str(), "any"].map(OsString::from).to_vec();
        let calling = tokio::spawn(ended(arguments));
        let request = loop {
            let received = tokio::time::timeout(PATIENCE, router.recv()).await;
            let message = received.expect("in time").unwrap();
            // The call before was cancelled.
            if message[1][1] == Kind::Request as u8 {
                break message;
            }
        };
        let mut answer = answer(request[1].to_vec());
        answer.insert(0, request[0].to_vec());
        let frames: Vec<Frame> = answer.into_iter().map(Frame::from).collect();
        router.send(Message::from(frames)).await.unwrap();
        let ended = calling.await.unwrap();
        assert_eq!((ended.0, ended.1.len()), (Some(1), 1), "{n}: {ended:?}");
        assert!(ended.1[0].starts_with("malformed: "), "{n}: {ended:?}");
    }
}

type Frames = Vec<Vec<u8>>;

fn of_kind(mut header: Vec<u8>, kind: u8) -> Vec<u8> {
    header[1] = kind;
    header
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_reader_who_has_enough_ends_the_client_quietly() {
    let server = Calculator::at("tcp://127.0.0.1:0", server::Options::new()).await;
    let endpoint = server.endpoint.to_string();
    let arguments = [&endpoint, "count", r#"{"n": 1000000000000}"#, "--stream"];
    let command = python(&folder("examples/client.py"), &arguments);
    let mut child = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = async {
        let mut line = String::new();
        let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).await.unwrap();
        assert_eq!(line, "0\n");
        drop(stdout);
        child.wait_with_output().await.unwrap()
    };
    let ended = tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("an end in time");
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    assert!(ended.status.success(), "{:?}", ended.status);
    server.task.abort();
}

#[tokio::test]
async fn a_name_that_is_no_text_is_malformed() {
    let server = PythonServer::at("tcp://127.0.0.1:0");
    let dealer = Dealer::new();
    dealer.connect(server.endpoint.as_str()).unwrap();
    let header = Header::new(Kind::Request, 7).encode().unwrap().to_vec();
    let request = Message::from([header, vec![0xff], b"{}".to_vec()]);
    dealer.send(request).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, dealer.recv())
        .await
        .unwrap()
        .unwrap();
    let body = String::from_utf8_lossy(&answer[2]).into_owned();
    assert!(body.contains("malformed") && body.contains("UTF-8"), "{body}");
}

/// `server.py`, until it is dropped.
struct PythonServer {
    child: Child,
    endpoint: String,
}

impl PythonServer {
    fn at(bind: &str) -> Self {
        let mut command = python(&folder("examples/server.py"), &["--bind", bind]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut server = PythonServer {
            child,
            endpoint: String::new(),
        };
        let (tell, told) = std::sync::mpsc::channel();
        // Its output stays open until it ends.
        std::thread::spawn(move || {
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|count| count > 0) {
                let _ = tell.send(std::mem::take(&mut line));
            }
        });
        let line = told.recv_timeout(PATIENCE).expect("a line in time");
        server.endpoint = line.trim().strip_prefix("listening at ").expect(&line).to_owned();
        server
    }

    fn client(&self) -> Client {
        let options = Options::new().codec(Codec::Json).timeout(PATIENCE);
        Client::with_options(self.endpoint.as_str(), options).unwrap()
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kind(error: &CallError) -> Option<FailureKind> {
    error.failure().map(flexbond_rpc::Failure::kind)
}

#[tokio::test]
async fn our_client_calls_functions_in_python() {
    for bind in binds("server") {
        let server = PythonServer::at(&bind);
        let client = server.client();
        let sum: i64 = client.call("add", &json!({"a": 1, "b": 2})).await.unwrap();
        assert_eq!(sum, 3);
        let sum: Value = client
            .call("add", &json!({"a": [1, 2], "b": [3, 4]}))
            .await
            .unwrap();
        assert_eq!(sum, json!([4, 6]));
        let in_order: f64 = client.call("add", &(0.5, 2)).await.unwrap();
        assert_eq!(in_order, 2.5);
        let a = Tensor::new(&[2, 100], (0..200).map(f64::from).collect()).unwrap();
        let sum: Tensor<f64> = client.call("add", &(&a, &a)).await.unwrap();
        assert_eq!((sum.shape(), sum[199]), (&[2, 100][..], 398.0));
        let echo: Tensor<f64> = client.call("echo", &json!([[[1, 2]]])).await.unwrap();
        assert_eq!(echo.shape(), [1, 2]);

        let methods: Vec<MethodInfo> = client.call("flexbond.methods", &()).await.unwrap();
        let count = methods.iter().find(|method| method.name == "count").unwrap();
        assert!(count.streams && count.description.contains("counts"), "{count:?}");
        let health: String = client.call("flexbond.health", &()).await.unwrap();
        assert_eq!(health, "serving");

        let failed = client
            .call::<_, ()>("fail", &json!({"code": 7, "message": "no"}))
            .await
            .unwrap_err();
        let failure = failed.failure().unwrap();
        assert_eq!(
            (failure.kind(), failure.code(), failure.message()),
            (FailureKind::Failed, 7, "no")
        );
        assert_eq!(
            failure.details::<Value>().unwrap(),
            Some(json!({"raised by": "server.py"}))
        );
        let call = async |method: &str, arguments: Value| {
            let error = client.call::<_, Value>(method, &arguments).await.unwrap_err();
            kind(&error)
        };
        assert_eq!(call("ad", json!({})).await, Some(FailureKind::UnknownMethod));
        assert_eq!(
            call("add", json!({"a": 1})).await,
            Some(FailureKind::BadArguments)
        );
        assert_eq!(
            call("add", json!({"a": 1, "b": {}})).await,
            Some(FailureKind::BadArguments)
        );
        assert_eq!(
            call("count", json!({"n": 1})).await,
            Some(FailureKind::BadArguments)
        );
        let postcard = client
            .method("add")
            .codec(Codec::Postcard)
            .value::<_, f64>(&(1, 2))
            .await
            .unwrap_err();
        assert!(postcard.to_string().contains("use JSON"), "{postcard}");
        assert_eq!(client.in_flight(), 0);
    }
}

#[tokio::test]
async fn our_client_reads_streams_from_python() {
    for bind in binds("server-streams") {
        let mut server = PythonServer::at(&bind);
        let client = server.client();
        let count = async |n: u64, window| {
            let call = client.method("count").window(window);
            call.stream::<_, u64>(&json!({ "n": n })).await
        };
        let mut numbers = count(500, 4).await.unwrap();
        for n in 0..500 {
            assert_eq!(numbers.next().await.unwrap(), Ok(n));
        }
        assert!(numbers.next().await.is_none());
        // One that is left early ends there, too, and a deadline ends one that is not.
        let mut endless = count(u64::MAX, 4).await.unwrap();
        assert_eq!(endless.next().await.unwrap(), Ok(0));
        drop(endless);
        let timed = client
            .method("count")
            .timeout(Duration::from_millis(300))
            .window(2);
        let mut timed = timed.stream::<_, u64>(&json!({"n": u64::MAX})).await.unwrap();
        let ended = loop {
            if let Err(error) = timed.next().await.unwrap() {
                break error;
            }
        };
        assert!(
            matches!(ended, CallError::DeadlineExceeded { .. })
                || kind(&ended) == Some(FailureKind::DeadlineExceeded),
            "{ended}"
        );
        // And so does the end of the server.
        let mut cut = count(u64::MAX, 4).await.unwrap();
        server.child.kill().unwrap();
        let ended = loop {
            if let Err(error) = cut.next().await.unwrap() {
                break error;
            }
        };
        assert!(
            matches!(ended, CallError::Disconnected { sent: true, .. }),
            "{ended}"
        );
    }
}
