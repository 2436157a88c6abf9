//! `flexbond federation`: a party from the shell, in a job whose other party is this test.

#[cfg(feature = "nats")]
#[path = "../../collectives/tests/nats/server.rs"]
mod nats_server;
mod program;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use flexbond::collectives::federation::{
    Codec, Config, Federation, Limits, Role, Server, ServerConfig, VariableChannel,
};
use program::{End, PATIENCE, Program};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How the parties of a job reach each other.
enum Way {
    Direct,
    Server(Box<Server>),
    #[cfg(feature = "nats")]
    Nats(nats_server::NatsServer),
}

impl Way {
    /// What the configuration has as `server`.
    fn server(&self) -> Option<String> {
        match self {
            Way::Direct => None,
            Way::Server(server) => Some(server.endpoints()[0].to_string()),
            #[cfg(feature = "nats")]
            Way::Nats(server) => Some(server.url()),
        }
    }
}

/// A job of `a` and `b`.
struct Job {
    folder: TempDir,
    runtime: Runtime,
    way: Way,
}

impl Job {
    fn direct() -> Self {
        Job {
            folder: tempfile::tempdir().unwrap(),
            runtime: runtime(),
            way: Way::Direct,
        }
    }

    fn by_server() -> Self {
        let runtime = runtime();
        let mut config = ServerConfig::new();
        config.listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
        let server = runtime.block_on(Server::bind(config)).unwrap();
        Job {
            folder: tempfile::tempdir().unwrap(),
            runtime,
            way: Way::Server(Box::new(server)),
        }
    }

    #[cfg(feature = "nats")]
    fn by_nats() -> Option<Self> {
        nats_server::is_there().then(|| Job {
            folder: tempfile::tempdir().unwrap(),
            runtime: runtime(),
            way: Way::Nats(nats_server::NatsServer::start()),
        })
    }

    fn address(&self, party: &str) -> String {
        format!("ipc://{}", self.folder.path().join(party).display())
    }

    fn config(&self, local: &str) -> Config {
        let config = Config::new("job".parse().unwrap(), local.parse().unwrap())
            .member("a".parse().unwrap(), Role::Guest)
            .member("b".parse().unwrap(), Role::Host)
            .limits(limits());
        match self.way.server() {
            None => ["a", "b"].iter().fold(config, |config, party| {
                config.address(party.parse().unwrap(), self.address(party))
            }),
            Some(server) => config.by_server(server),
        }
    }

    fn join(&self, local: &str) -> Federation {
        self.runtime
            .block_on(Federation::connect(self.config(local)))
            .unwrap()
    }

    /// The configuration of `a` as a file.
    fn file(&self) -> PathBuf {
        let way = match self.way.server() {
            None => serde_json::json!({
                "addresses": {"a": self.address("a"), "b": self.address("b")}
            }),
            Some(server) => serde_json::json!({ "server": server }),
        };
        let mut config = serde_json::json!({
            "session": {"local_id": "a", "job_id": "job"},
            "federation": {"guest": ["a"], "host": ["b"]},
            "limits": {"heartbeat_ms": 100, "dead_after_ms": 1000, "retry_ms": 100},
        });
        for (key, value) in way.as_object().unwrap() {
            config[key] = value.clone();
        }
        let path = self.folder.path().join("a.json");
        fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// Starts `flexbond federation` as `a`.
    fn start(&self, arguments: &[&str]) -> Program {
        let file = self.file();
        let mut all = vec!["federation", "--config", file.to_str().unwrap()];
        all.extend(arguments);
        Program::flexbond(&all)
    }

    /// Runs it to its end.
    fn run(&self, arguments: &[&str], input: &str) -> End {
        let mut program = self.start(arguments);
        program.write(input);
        program.end()
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, work).await })
            .expect("it takes too long")
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn limits() -> Limits {
    Limits::new()
        .heartbeat(Duration::from_millis(100))
        .dead_after(Duration::from_secs(1))
        .retry(Duration::from_millis(100))
}

fn channel(party: &Federation) -> VariableChannel {
    party.variable("orders", "a").unwrap()
}

const SEND: [&str; 5] = ["send", "--to", "b", "--channel", "orders"];
const RECV: [&str; 5] = ["recv", "--from", "b", "--channel", "orders"];

fn values_come_over(job: &Job) {
    let b = job.join("b");
    let from_a = channel(&b);
    for round in 0..2 {
        let end = job.run(&SEND, r#"{"round": 3}"#);
        assert_eq!(end.code, Some(0), "{end:?}");
        let (offset, value): (u64, serde_json::Value) = job.wait(from_a.recv_numbered()).unwrap();
        assert_eq!((offset, value["round"].as_i64()), (round, Some(3)));
    }
    let tagged = [&SEND[..], &["--tag", "t"]].concat();
    assert_eq!(job.run(&tagged, r#"{"$bytes": "00ff"}"#).code, Some(0));
    assert_eq!(
        job.wait(from_a.tagged("t").unwrap().recv_bytes()).unwrap(),
        [0, 255][..]
    );

    let to_a = channel(&b);
    job.wait(async {
        to_a.send(&"postcard").await?;
        to_a.clone().with_codec(Codec::Json).send(&[1, 2]).await?;
        to_a.tagged("t")
            .unwrap()
            .with_codec(Codec::Json)
            .send_with(&7, vec![b"x"[..].into()])
            .await
    })
    .unwrap();
    let end = job.run(&[&RECV[..], &["--tag", "t"]].concat(), "");
    assert_eq!(end.stdout, [r#"{"$value":7,"$buffers":["78"]}"#], "{end:?}");
    assert_eq!(
        job.run(&RECV, "").stdout,
        [r#"{"$postcard":"08706f737463617264"}"#]
    );
    assert_eq!(job.run(&RECV, "").stdout, ["[1,2]"]);
    job.wait(to_a.delivered()).unwrap();
    let end = job.run(&[&RECV[..], &["--timeout", "0.3"]].concat(), "");
    assert_eq!((end.code, end.stdout.len()), (Some(3), 0), "{end:?}");
    let text = "flexbond: error: channel orders: waiting for a message took more than 300ms; party b ";
    assert!(end.stderr[0].starts_with(text), "{end:?}");
}

#[test]
fn directly_values_come_over() {
    values_come_over(&Job::direct());
}

#[test]
fn by_a_server_values_come_over() {
    values_come_over(&Job::by_server());
}

#[cfg(feature = "nats")]
#[test]
fn by_nats_values_come_over_and_status_tells_what_waits() {
    let Some(job) = Job::by_nats() else {
        return;
    };
    let status = || job.run(&["status"], "").stdout;
    let unseen = status();
    assert!(
        unseen[2].ends_with("host     has not been heard of"),
        "{unseen:?}"
    );
    values_come_over(&job);
    assert_eq!(job.run(&SEND, "1").code, Some(0));
    let left = status();
    assert_eq!(left[1], "  a  guest    has left", "{left:?}");
    let line = "  channel orders from a to b: 1 of 4 messages wait".to_owned();
    assert!(left.contains(&line), "{left:?}");
    let b = job.join("b");
    assert_eq!(job.wait(channel(&b).recv::<i32>()).unwrap(), 1);
    job.wait(async {
        // Present, and nothing waits.
        loop {
            let lines = status();
            if lines[2].ends_with("host     is there, but does not see all others yet")
                && lines.contains(&line.replace("1 of", "0 of"))
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let end = job.run(&["forget"], "");
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.stderr[0].contains("party b is running"), "{end:?}");
    job.wait(b.close());
    assert_eq!(job.run(&SEND, "2").code, Some(0));
    let end = job.run(&["forget"], "");
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(
        end.stderr[0].contains("1 messages wait for their receivers"),
        "{end:?}"
    );
    for _ in 0..2 {
        assert_eq!(job.run(&["forget", "--unreceived"], "").code, Some(0));
    }
    assert_eq!(status(), unseen);
}

#[test]
fn by_a_server_nobody_needs_to_be_there() {
    let job = Job::by_server();
    assert_eq!(job.run(&SEND, "1").code, Some(0));
    assert_eq!(job.run(&SEND, "2").code, Some(0));
    let b = job.join("b");
    let from_a = channel(&b);
    assert_eq!(job.wait(from_a.recv_numbered::<i32>()).unwrap(), (0, 1));
    assert_eq!(job.wait(from_a.recv_numbered::<i32>()).unwrap(), (1, 2));
}

/// Who has left may come back, and what it sends then is waited for.
fn who_left_may_come_back(job: &Job) {
    let b = job.join("b");
    job.wait(channel(&b).with_codec(Codec::Json).send(&1)).unwrap();
    job.wait(b.close());
    assert_eq!(job.run(&RECV, "").stdout, ["1"]);
    let end = job.run(&[&RECV[..], &["--timeout", "0.3"]].concat(), "");
    let text =
        "flexbond: error: channel orders: waiting for a message took more than 300ms; party b has left";
    assert_eq!((end.code, &*end.stderr[0]), (Some(3), text), "{end:?}");

    let recv = job.start(&RECV);
    let b = job.join("b");
    job.wait(channel(&b).with_codec(Codec::Json).send(&2)).unwrap();
    job.wait(b.close());
    assert_eq!(recv.end().stdout, ["2"]);
}

#[test]
fn by_a_server_who_left_may_come_back() {
    who_left_may_come_back(&Job::by_server());
}

#[cfg(feature = "nats")]
#[test]
fn by_nats_who_left_may_come_back() {
    if let Some(job) = Job::by_nats() {
        who_left_may_come_back(&job);
    }
}

#[test]
fn a_server_that_is_not_there_is_told_with_the_cause() {
    let job = Job::by_server();
    let gone = job.file();
    let text = fs::read_to_string(&gone).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let server = config["server"].as_str().unwrap();
    fs::write(&gone, text.replace(server, "tcp://127.0.0.1:1")).unwrap();
    let run = |arguments: &[&str]| {
        let all = [&["federation", "--config", gone.to_str().unwrap()], arguments].concat();
        let mut program = Program::flexbond(&all);
        program.write("1");
        program.end()
    };
    let cause =
        "the message server cannot be connected to: cannot connect to tcp://127.0.0.1:1: Connection refused";
    let end = run(&["status", "--timeout", "0.2"]);
    assert_eq!(end.code, Some(3), "{end:?}");
    assert!(
        end.stdout[1].contains(cause) && end.stdout[2].contains(cause),
        "{end:?}"
    );
    for arguments in [&SEND, &RECV] {
        let end = run(&[&arguments[..], &["--timeout", "0.2"]].concat());
        assert_eq!(end.code, Some(3), "{end:?}");
        assert!(end.stderr[0].contains(cause), "{end:?}");
        assert!(!end.stderr[0].contains("may come all the same"), "{end:?}");
    }
}

#[test]
fn directly_somebody_has_to_take_it() {
    let job = Job::direct();
    let end = job.run(&[&SEND[..], &["--timeout", "0.4"]].concat(), "1");
    assert_eq!(end.code, Some(3), "{end:?}");
    assert_eq!(
        end.stderr,
        ["flexbond: error: after 400ms, nobody has taken the message over; party b has not been heard of"]
    );
}

#[test]
fn a_running_party_is_not_disturbed() {
    for job in [Job::direct(), Job::by_server()] {
        let (a, b) = (job.join("a"), job.join("b"));
        job.wait(async {
            a.ready(PATIENCE).await.unwrap();
            b.ready(PATIENCE).await.unwrap();
        });
        for arguments in [&SEND, &RECV] {
            let end = job.run(arguments, "1");
            assert_eq!(end.code, Some(1), "{end:?}");
            assert!(
                end.stderr[0].contains("is running")
                    || end.stderr[0].contains("is the program of this party running?"),
                "{end:?}"
            );
        }
        let (to_b, to_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
        let (one, two) = job.wait(async { tokio::join!(to_b.swap::<_, i32>(&1), to_a.swap::<_, i32>(&2)) });
        assert_eq!((one.unwrap(), two.unwrap()), (2, 1));
    }
}

#[test]
fn status_shows_who_is_there() {
    let job = Job::direct();
    let b = job.join("b");
    let end = job.run(&["status"], "");
    assert_eq!(
        end.stdout,
        [
            "job job, directly",
            "  a  guest    does not listen",
            "  b  host     listens"
        ],
        "{end:?}"
    );
    drop(b);

    let job = Job::by_server();
    let state = |end: &End, index: usize| {
        let value: serde_json::Value = serde_json::from_str(&end.stdout[0]).unwrap();
        value["parties"][index]["state"].as_str().unwrap().to_owned()
    };
    let look = || job.run(&["status", "--json", "--timeout", "1"], "");
    assert_eq!(state(&look(), 1), "unseen");
    let b = job.join("b");
    let end = look();
    assert_eq!(
        (state(&end, 0).as_str(), state(&end, 1).as_str()),
        ("not running", "present")
    );
    // Nobody was told that it has left.
    let a = "a".parse().unwrap();
    assert_ne!(b.presence(&a).unwrap().to_string(), "has left");
    let a = job.join("a");
    job.wait(a.ready(PATIENCE)).unwrap();
    assert_eq!(state(&look(), 0), "present");
}

#[test]
fn what_cannot_be_used_is_said_at_once() {
    let job = Job::direct();
    for (arguments, input, text) in [
        (
            &SEND[..],
            "{",
            "standard input is not one JSON value: EOF while parsing",
        ),
        (
            &["send", "--to", "a", "--channel", "x"],
            "1",
            "party a is the local one of the configuration",
        ),
        (
            &["send", "--to", "c", "--channel", "x"],
            "1",
            r#"party c is not in this job, whose members are ["a", "b"]"#,
        ),
        (
            &["send", "--to", "b", "--channel", ""],
            "1",
            "the channel name is empty",
        ),
    ] {
        let end = job.run(arguments, input);
        assert_eq!(end.code, Some(2), "{end:?}");
        assert!(end.stderr[0].contains(text), "{end:?}");
    }
    let end = Program::flexbond(&["federation", "--config", "nowhere.json", "status"]).end();
    assert_eq!(end.code, Some(2));
    assert!(
        end.stderr[0].starts_with("flexbond: error: cannot read the configuration nowhere.json"),
        "{end:?}"
    );
}
