//! The real thing to test against: pyzmq in a process of its own, under remote control (`peer.py`).
#![allow(dead_code, reason = "each test target uses its own part")]

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{Socket, SocketType};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

use crate::harness::{self, DEADLINE};

/// A process with pyzmq in it; killed when dropped.
pub(crate) struct Pyzmq {
    child: Child,
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    names: AtomicUsize,
}

/// What pyzmq raised.
#[derive(Debug)]
pub(crate) struct PyError {
    /// The symbol of the error number, `EAGAIN` for instance.
    pub(crate) errno: String,
    /// Everything.
    pub(crate) text: String,
}

/// A socket of pyzmq.
pub(crate) struct PySocket<'a> {
    py: &'a Pyzmq,
    name: String,
}

/// Who binds; the other one connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binder {
    Ours,
    Theirs,
}

/// Both directions.
pub(crate) const BINDERS: [Binder; 2] = [Binder::Ours, Binder::Theirs];

impl Pyzmq {
    /// Starts the process.
    pub(crate) fn start() -> Pyzmq {
        let Some(python) = std::env::var_os("FLEXBOND_PYTHON") else {
            panic!(
                "FLEXBOND_PYTHON must name a Python with pyzmq: run `cargo xtask interop`, which makes one"
            );
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/peer.py");
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("FLEXBOND_PYTHON runs");
        let stdin = child.stdin.take().expect("piped");
        let stdout = child.stdout.take().expect("piped");
        let pipes = Mutex::new((stdin, BufReader::new(stdout).lines()));
        Pyzmq {
            child,
            pipes,
            names: AtomicUsize::new(0),
        }
    }

    /// Has one command carried out.
    pub(crate) async fn try_call(&self, op: &str, args: Value) -> Result<Value, PyError> {
        let Value::Object(mut command) = args else {
            panic!("arguments are an object")
        };
        command.insert("op".to_owned(), json!(op));
        let patience = command
            .entry("timeout")
            .or_insert_with(|| json!(DEADLINE.as_millis() as u64));
        // The process keeps the deadline; we only guard against its death.
        let deadline = DEADLINE + Duration::from_millis(patience.as_u64().unwrap_or(0));
        let line = Value::Object(command).to_string();
        let mut pipes = self.pipes.lock().await;
        let exchange = async {
            pipes
                .0
                .write_all(format!("{line}\n").as_bytes())
                .await
                .expect("pyzmq lives");
            pipes
                .1
                .next_line()
                .await
                .expect("text from pyzmq")
                .expect("pyzmq lives")
        };
        let Ok(answer) = tokio::time::timeout(deadline, exchange).await else {
            panic!("waited {deadline:?} for pyzmq to answer {line:.200}");
        };
        let answer: Value = serde_json::from_str(&answer).expect("JSON from pyzmq");
        match answer.get("error") {
            None => Ok(answer),
            Some(_) => Err(PyError {
                errno: answer["errno"].as_str().unwrap_or_default().to_owned(),
                text: format!("{line:.200}: {answer}"),
            }),
        }
    }

    /// Has one command carried out that must succeed.
    pub(crate) async fn call(&self, op: &str, args: Value) -> Value {
        self.try_call(op, args)
            .await
            .unwrap_or_else(|error| panic!("pyzmq could not {}", error.text))
    }

    /// Makes a socket.
    pub(crate) async fn socket(&self, kind: SocketType) -> PySocket<'_> {
        self.socket_with(kind, json!({})).await
    }

    /// Makes a socket with options by their names.
    pub(crate) async fn socket_with(&self, kind: SocketType, options: Value) -> PySocket<'_> {
        let name = format!("{kind} {}", self.names.fetch_add(1, Ordering::Relaxed));
        let kind = kind.to_string();
        self.call("socket", json!({"name": name, "type": kind, "options": options}))
            .await;
        PySocket { py: self, name }
    }

    /// Stops the process from running, without ending it.
    pub(crate) async fn suspend(&self) {
        self.signal("-STOP").await;
    }

    /// Lets it run again.
    pub(crate) async fn resume(&self) {
        self.signal("-CONT").await;
    }

    /// Ends it as a power failure would.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    async fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill")
            .args([signal, &pid])
            .status()
            .await
            .expect("kill runs");
        assert!(status.success(), "kill {signal} failed");
    }
}

impl PySocket<'_> {
    /// Its name in the remote process.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn args(&self, more: Value) -> Value {
        let Value::Object(mut args) = more else {
            panic!("arguments are an object")
        };
        args.insert("name".to_owned(), json!(self.name));
        Value::Object(args)
    }

    /// Binds; the endpoint as bound.
    pub(crate) async fn bind(&self, endpoint: &str) -> String {
        let answer = self
            .py
            .call("bind", self.args(json!({"endpoint": endpoint})))
            .await;
        answer["endpoint"].as_str().expect("an endpoint").to_owned()
    }

    /// Connects.
    pub(crate) async fn connect(&self, endpoint: &impl ToString) {
        self.py
            .call("connect", self.args(json!({"endpoint": endpoint.to_string()})))
            .await;
    }

    /// Unbinds.
    pub(crate) async fn unbind(&self, endpoint: &str) {
        self.py
            .call("unbind", self.args(json!({"endpoint": endpoint})))
            .await;
    }

    /// Disconnects.
    pub(crate) async fn disconnect(&self, endpoint: &impl ToString) {
        self.py
            .call("disconnect", self.args(json!({"endpoint": endpoint.to_string()})))
            .await;
    }

    /// Sends, waiting for room.
    pub(crate) async fn send(&self, message: impl Into<Message>) {
        self.py
            .call("send", self.args(json!({"parts": hexed(&message.into())})))
            .await;
    }

    /// Sends without waiting.
    pub(crate) async fn try_send(&self, message: impl Into<Message>) -> Result<(), PyError> {
        let args = self.args(json!({"parts": hexed(&message.into()), "flags": ["DONTWAIT"]}));
        self.py.try_call("send", args).await.map(drop)
    }

    /// Sends numbered messages of `size` bytes until it would wait for `timeout`; how many went.
    pub(crate) async fn send_numbered(&self, first: u64, count: u64, size: usize, timeout: Duration) -> u64 {
        self.send_numbered_with(first, count, size, timeout, json!({}))
            .await
    }

    /// The same with `prefix` parts (hexadecimal) and a number of equal `parts`.
    pub(crate) async fn send_numbered_with(
        &self,
        first: u64,
        count: u64,
        size: usize,
        timeout: Duration,
        more: Value,
    ) -> u64 {
        let Value::Object(mut args) = self.args(json!({
            "first": first, "count": count, "size": size, "timeout": timeout.as_millis() as u64
        })) else {
            unreachable!("made above")
        };
        args.extend(more.as_object().expect("arguments are an object").clone());
        let answer = self.py.call("send_numbered", Value::Object(args)).await;
        answer["sent"].as_u64().expect("a count")
    }

    /// Receives one message.
    pub(crate) async fn recv(&self) -> Message {
        self.recv_many(1).await.pop().expect("one message")
    }

    /// Receives this many messages.
    pub(crate) async fn recv_many(&self, count: usize) -> Vec<Message> {
        let answer = self.py.call("recv", self.args(json!({"count": count}))).await;
        answer["messages"]
            .as_array()
            .expect("messages")
            .iter()
            .map(unhexed)
            .collect()
    }

    /// Receives one message if it comes within the timeout.
    pub(crate) async fn recv_within(&self, timeout: Duration) -> Option<Message> {
        let args = self.args(json!({"timeout": timeout.as_millis() as u64}));
        match self.py.try_call("recv", args).await {
            Ok(answer) => Some(unhexed(&answer["messages"][0])),
            Err(error) if error.text.contains("TimeoutError") => None,
            Err(error) => panic!("pyzmq could not {}", error.text),
        }
    }

    /// Receives one message with these properties of its connection.
    pub(crate) async fn recv_with(&self, properties: &[&str]) -> (Message, Map<String, Value>) {
        let answer = self
            .py
            .call("recv", self.args(json!({"properties": properties})))
            .await;
        let found = answer["properties"][0].as_object().expect("properties").clone();
        (unhexed(&answer["messages"][0]), found)
    }

    /// Receives until nothing came for `idle`; the numbers of the messages, after `skip` leading parts.
    pub(crate) async fn drain(&self, idle: Duration, skip: usize) -> Vec<u64> {
        let args = json!({"idle": idle.as_millis() as u64, "skip": skip, "timeout": 60_000});
        let answer = self.py.call("drain", self.args(args)).await;
        answer["numbers"]
            .as_array()
            .expect("numbers")
            .iter()
            .filter_map(Value::as_u64)
            .collect()
    }

    /// Receives numbered messages, exactly this many.
    pub(crate) async fn drain_exactly(&self, count: usize, skip: usize) -> Vec<u64> {
        let args = json!({"idle": 5_000, "most": count, "skip": skip, "timeout": 60_000});
        let answer = self.py.call("drain", self.args(args)).await;
        let numbers: Vec<u64> = answer["numbers"]
            .as_array()
            .expect("numbers")
            .iter()
            .filter_map(Value::as_u64)
            .collect();
        assert_eq!(
            numbers.len(),
            count,
            "numbered messages, the last was {:?}",
            numbers.last()
        );
        numbers
    }

    /// Answers `count` messages with themselves.
    pub(crate) async fn echo(&self, count: usize) {
        self.py.call("echo", self.args(json!({"count": count}))).await;
    }

    /// Sets an option.
    pub(crate) async fn set(&self, option: &str, value: Value) {
        self.py
            .call("setsockopt", self.args(json!({"option": option, "value": value})))
            .await;
    }

    /// Subscribes to a topic.
    pub(crate) async fn subscribe(&self, topic: impl AsRef<[u8]>) {
        self.set("SUBSCRIBE", bytes(topic)).await;
    }

    /// Cancels the subscription to a topic.
    pub(crate) async fn unsubscribe(&self, topic: impl AsRef<[u8]>) {
        self.set("UNSUBSCRIBE", bytes(topic)).await;
    }

    /// Starts to note events.
    pub(crate) async fn monitor(&self) {
        self.py.call("monitor", self.args(json!({}))).await;
    }

    /// Waits for an event.
    pub(crate) async fn event(&self, event: &str) -> Value {
        self.py.call("event", self.args(json!({"event": event}))).await
    }

    /// Closes with this linger.
    pub(crate) async fn close(self, linger: Duration) {
        self.py
            .call("close", self.args(json!({"linger": linger.as_millis() as u64})))
            .await;
    }
}

/// Brings the two together and waits until ours has one peer more.
pub(crate) async fn link(ours: &Socket, theirs: &PySocket<'_>, binder: Binder) {
    let before = harness::ready_peers(ours);
    join(ours, theirs, binder).await;
    harness::until("pyzmq as a peer", || harness::ready_peers(ours) > before).await;
}

/// Brings the two together, whatever comes of it.
pub(crate) async fn join(ours: &Socket, theirs: &PySocket<'_>, binder: Binder) {
    match binder {
        Binder::Ours => {
            let endpoint = harness::bind(ours).await;
            theirs.connect(&endpoint).await;
        }
        Binder::Theirs => {
            let endpoint = theirs.bind("tcp://127.0.0.1:*").await;
            ours.connect(endpoint.as_str()).expect("connecting");
        }
    }
}

/// An option's value of bytes.
pub(crate) fn bytes(value: impl AsRef<[u8]>) -> Value {
    json!({"hex": hex(value.as_ref())})
}

/// Hexadecimal text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hexed(message: &Message) -> Vec<String> {
    message.iter().map(|part| hex(part)).collect()
}

fn unhexed(parts: &Value) -> Message {
    let part = |text: &Value| -> Vec<u8> {
        let digits = text.as_str().expect("hexadecimal text").as_bytes();
        let nibble = |digit: u8| (digit as char).to_digit(16).expect("a hexadecimal digit") as u8;
        digits
            .chunks(2)
            .map(|pair| nibble(pair[0]) << 4 | nibble(pair[1]))
            .collect()
    };
    parts.as_array().expect("parts").iter().map(part).collect()
}
