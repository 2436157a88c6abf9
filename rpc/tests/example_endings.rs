//! How the example servers end: as processes, by signals, with a summary.
#![cfg(all(unix, feature = "tcp"))]
#![allow(
    clippy::duplicate_mod,
    reason = "each example has its own copy of what they have in common"
)]

#[allow(dead_code, reason = "its functions are served here, not by its own main")]
#[path = "../examples/calculator.rs"]
mod calculator;
#[allow(
    dead_code,
    reason = "the arguments of a test's program are not those of the example"
)]
#[path = "../examples/serving/mod.rs"]
mod examples;
mod harness;
#[allow(dead_code, reason = "its functions are served here, not by its own main")]
#[path = "../examples/image_processing.rs"]
mod image_processing;
#[allow(dead_code, reason = "its functions are served here, not by its own main")]
#[path = "../examples/log_server.rs"]
mod log_server;
#[path = "harness/serving.rs"]
mod serving;

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use flexbond_rpc::client::Options;
use flexbond_rpc::envelope::{Codec, Kind};
use flexbond_rpc::{AnyTensor, Client, Methods, Tensor};
use flexbond_session::{Endpoint, socket};
use harness::{until, within};
use serde::Serialize;
use serde_json::{Value, json};
use serving::Raw;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

/// What tells a process of this program which example it is.
const EXAMPLE: &str = "FLEXBOND_TEST_EXAMPLE";

/// Not a test by itself: what the processes of the others run, as the examples' own `main` does.
#[test]
fn role() {
    let Ok(example) = env::var(EXAMPLE) else {
        return;
    };
    let (methods, mut runtime): (Methods, Builder) = match example.as_str() {
        "calculator" => (
            calculator::methods().expect("names"),
            Builder::new_current_thread(),
        ),
        "log_server" => {
            let log = Arc::new(log_server::Log::new(10));
            (
                log_server::methods(&log).expect("names"),
                Builder::new_current_thread(),
            )
        }
        _ => (
            image_processing::methods().expect("names"),
            Builder::new_multi_thread(),
        ),
    };
    let runtime = runtime.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        examples::end(examples::serve(methods, &examples::Arguments::default()).await);
    });
}

/// An example that runs; it ends with this.
struct Example {
    child: Child,
    stdout: UnboundedReceiver<String>,
    stderr: UnboundedReceiver<String>,
    endpoint: Endpoint,
}

impl Example {
    async fn start(name: &str) -> Self {
        let mut child = Command::new(env::current_exe().expect("this test"))
            .args(["--exact", "role", "--nocapture"])
            .env(EXAMPLE, name)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut stdout = lines(child.stdout.take().expect("it is piped"));
        let stderr = lines(child.stderr.take().expect("it is piped"));
        let listening = line(&mut stdout, "listening at ").await;
        let (_, endpoint) = listening.split_once("listening at ").expect("it is there");
        Example {
            child,
            stdout,
            stderr,
            endpoint: endpoint.parse().expect("an endpoint"),
        }
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }

    async fn drains(&mut self) {
        line(&mut self.stderr, "draining").await;
    }

    /// Its exit code, once it has ended.
    async fn code(&mut self) -> Option<i32> {
        let mut code = None;
        until("the end of the process", || {
            let ended = self.child.try_wait().expect("it can be asked");
            code = ended.and_then(|status| status.code());
            ended.is_some()
        })
        .await;
        code
    }

    /// What it said at last.
    async fn summary(&mut self) -> String {
        line(&mut self.stdout, " calls, ").await
    }

    /// A call that is under way there until its task, or the program, ends.
    async fn occupy(
        &self,
        method: &'static str,
        arguments: impl Serialize + Send + Sync + 'static,
    ) -> (Client, JoinHandle<()>) {
        let options = Options::new().codec(Codec::Json).timeout(harness::DEADLINE);
        let client = Client::with_options(&self.endpoint, options).expect("an endpoint");
        let call = client.method(method);
        let calling = tokio::spawn(async move {
            let _ = call.value::<_, Value>(&arguments).await;
        });
        until("the call", || client.in_flight() == 1).await;
        (client, calling)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> UnboundedReceiver<String> {
    let (sender, lines) = unbounded_channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// The next line with this text.
async fn line(lines: &mut UnboundedReceiver<String>, text: &str) -> String {
    loop {
        let next = within(text, lines.recv()).await;
        let next = next.unwrap_or_else(|| panic!("it ended without {text:?}"));
        if next.contains(text) {
            return next;
        }
    }
}

/// A small one, which comes after all that was called before.
async fn blur(client: &Client) {
    let image = json!({"image": [[7]]});
    let blurred = client.call::<_, Tensor<f32>>("blur", &image);
    assert_eq!(within("a small image", blurred).await.expect("one").len(), 1);
}

/// An image whose blurring takes seconds, without optimizations minutes.
fn laborious() -> (AnyTensor, f32) {
    let image = AnyTensor::from_elements(&[2000, 2000], vec![0_u8; 4_000_000]);
    (image.expect("a shape"), 100.0)
}

#[tokio::test]
async fn the_first_signal_ends_them_with_a_summary() {
    for (name, signal) in [
        ("calculator", "INT"),
        ("log_server", "TERM"),
        ("image_processing", "INT"),
    ] {
        let mut example = Example::start(name).await;
        example.signal(signal);
        assert_eq!(example.code().await, Some(0), "{name}");
        let summary = example.summary().await;
        assert!(
            summary.ends_with("0 calls, 0 failed, 0 panicked, 0 cancelled, 0 refused; 0 stopped at the end"),
            "{summary}"
        );
    }
}

#[tokio::test]
async fn the_second_signal_of_either_kind_ends_them_at_once() {
    for (first, second, code) in [("INT", "TERM", 143), ("TERM", "INT", 130)] {
        let mut example = Example::start("calculator").await;
        let (client, _calling) = example.occupy("sleep", json!({"ms": 3_600_000})).await;
        let echo = client.call::<_, u8>("echo", &7_u8);
        assert_eq!(within("what comes after it", echo).await.expect("an echo"), 7);
        example.signal(first);
        example.drains().await;
        example.signal(second);
        assert_eq!(example.code().await, Some(code));
    }
}

#[tokio::test]
async fn work_on_other_threads_holds_up_neither_end() {
    // A call under way is waited for, but not at the second signal.
    let mut example = Example::start("image_processing").await;
    let (client, _calling) = example.occupy("blur", laborious()).await;
    blur(&client).await;
    example.signal("INT");
    example.drains().await;
    example.signal("INT");
    assert_eq!(example.code().await, Some(130));

    // One that was given up is not, though its work goes on.
    let mut example = Example::start("image_processing").await;
    let (client, calling) = example.occupy("blur", laborious()).await;
    blur(&client).await;
    calling.abort();
    blur(&client).await;
    example.signal("TERM");
    assert_eq!(example.code().await, Some(0));
    let summary = example.summary().await;
    assert!(summary.contains(" 1 cancelled, "), "{summary}");
}

#[tokio::test]
async fn the_summary_names_what_should_not_have_happened() {
    let mut example = Example::start("log_server").await;
    let raw = Raw::connect(&example.endpoint, socket::Options::new());
    raw.send_message("nonsense").await;
    assert_eq!(raw.recv().await.header.kind, Kind::Error);
    example.signal("INT");
    assert_eq!(example.code().await, Some(0));
    let summary = example.summary().await;
    assert!(
        summary.ends_with("; 0 stopped at the end; 1 messages malformed"),
        "{summary}"
    );
}
