//! A message server in the midst of peers that break every rule, over sockets: whoever keeps to the rules notices nothing.

use std::time::{Duration, Instant};

use flexbond_collectives::federation::{
    Config, EventLevel, Federation, Server, ServerConfig, ServerEvent, VariableChannel,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{config, within};

/// Flags of frames (RFC 37).
const LONG: u8 = 2;
const COMMAND: u8 = 4;

async fn server() -> Server {
    let mut config = ServerConfig::new();
    config.listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
    Server::bind(config).await.unwrap()
}

fn by(server: &Server, config: Config) -> Config {
    config.by_server(server.endpoints()[0].to_string())
}

/// Two that talk with each other all the time.
struct Honest {
    a: Federation,
    b: Federation,
    said: u64,
}

impl Honest {
    async fn join(server: &Server) -> Self {
        let names = ["a", "b"];
        let a = by(server, config("a", &names));
        let b = by(server, config("b", &names));
        let (a, b) = tokio::join!(Federation::connect(a), Federation::connect(b));
        let mut honest = Honest {
            a: a.unwrap(),
            b: b.unwrap(),
            said: 0,
        };
        honest.talk().await;
        honest
    }

    /// What the one says next, the other hears next.
    async fn talk(&mut self) {
        let there: VariableChannel = self.a.variable("talk", "b").unwrap();
        let back: VariableChannel = self.b.variable("talk", "a").unwrap();
        within(there.send(&self.said)).await.unwrap();
        let heard: u64 = within(back.recv()).await.unwrap();
        assert_eq!(heard, self.said);
        self.said += 1;
    }
}

/// A peer made of bytes.
struct Raw(TcpStream);

impl Raw {
    async fn connect(server: &Server) -> Self {
        let endpoint = server.endpoints()[0].to_string();
        let address = endpoint.strip_prefix("tcp://").unwrap();
        Raw(within(TcpStream::connect(address)).await.unwrap())
    }

    /// One that has shaken hands and may say whatever it likes.
    async fn greeted(server: &Server) -> Self {
        let mut raw = Raw::connect(server).await;
        raw.say(&greeting()).await;
        raw.say(&ready("DEALER")).await;
        let mut heard = [0; 64];
        within(raw.0.read_exact(&mut heard)).await.unwrap();
        raw
    }

    async fn say(&mut self, bytes: &[u8]) {
        // The other end may be gone already: that is what is looked for afterwards.
        let _ = within(self.0.write_all(bytes)).await;
    }

    /// The server ends the connection, in time.
    async fn ended(mut self) {
        let mut rest = vec![0; 4096];
        while within(self.0.read(&mut rest)).await.is_ok_and(|len| len > 0) {}
    }
}

fn greeting() -> Vec<u8> {
    let mut greeting = vec![0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, 1];
    greeting.extend_from_slice(b"NULL");
    greeting.resize(64, 0);
    greeting
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = match u8::try_from(body.len()) {
        Ok(len) => vec![flags, len],
        Err(_) => [&[flags | LONG][..], &(body.len() as u64).to_be_bytes()].concat(),
    };
    frame.extend_from_slice(body);
    frame
}

fn ready(socket_type: &str) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type".to_vec();
    body.extend((socket_type.len() as u32).to_be_bytes());
    body.extend_from_slice(socket_type.as_bytes());
    frame(COMMAND, &body)
}

/// The beginning of a packet: version, job, sender, receiver, incarnations, and what is acknowledged.
fn header(job: &str, from: &str, to: &str) -> Vec<u8> {
    let mut header = vec![1];
    for name in [job, from, to] {
        header.push(name.len() as u8);
        header.extend_from_slice(name.as_bytes());
    }
    header.extend([9, 0, 0]);
    header
}

/// "Here I am", of a job with these members.
fn hello(job: &str, from: &str, to: &str, members: &[&str]) -> Vec<u8> {
    let mut hello = header(job, from, to);
    hello.extend([0, members.len() as u8]);
    for name in members {
        hello.push(name.len() as u8);
        hello.extend_from_slice(name.as_bytes());
    }
    // Windows, the largest message, no credit, custody.
    hello.extend([8, 64, 64, 0, 64]);
    frame(0, &hello)
}

/// Waits for an event, and for nothing else.
async fn event(server: &mut Server, name: &str) -> ServerEvent {
    within(async {
        loop {
            let event = server.next_event().await.expect("the server is there");
            if event.name == name {
                return event;
            }
        }
    })
    .await
}

/// Waits until the server counts no connection but those of the honest.
async fn alone(server: &Server, connections: usize) {
    within(async {
        while server.stats().await.unwrap().connections != connections {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn whatever_stands_for_a_greeting_ends_and_disturbs_nobody() {
    let server = server().await;
    let mut honest = Honest::join(&server).await;
    let before = server.stats().await.unwrap().connections;
    let whole = [greeting(), ready("DEALER")].concat();
    for end in 0..whole.len() {
        let mut raw = Raw::connect(&server).await;
        raw.say(&whole[..end]).await;
        drop(raw);
    }
    honest.talk().await;
    let nonsense = [
        b"GET / HTTP/1.1\r\nHost: server\r\n\r\n".to_vec(),
        vec![0; 64],
        [greeting(), frame(0, b"no command")].concat(),
        [greeting(), frame(COMMAND, b"\xffREADY")].concat(),
        [
            greeting(),
            frame(COMMAND, b"\x05READY\x0bSocket-Type\xff\xff\xff\xff"),
        ]
        .concat(),
        [greeting(), ready("PUB")].concat(),
        [greeting(), ready("DEALER"), vec![LONG, 0xFF, 0, 0, 0, 0, 0, 0, 0]].concat(),
    ];
    for bytes in nonsense {
        let mut raw = Raw::connect(&server).await;
        raw.say(&bytes).await;
        raw.ended().await;
        honest.talk().await;
    }
    alone(&server, before).await;
    let stats = server.stats().await.unwrap().relay;
    assert_eq!((stats.jobs.len(), stats.unreadable, stats.foreign), (1, 0, 0));
}

#[tokio::test]
async fn packets_that_break_the_rules_are_counted_and_disturb_nobody() {
    let mut server = server().await;
    let mut honest = Honest::join(&server).await;
    let mut raw = Raw::greeted(&server).await;
    // Nothing, another version, every beginning of a packet, frames of nobody, a list that claims to be long.
    let whole = hello("job-9", "x", "y", &["x", "y"]);
    let body = &whole[2..];
    let mut unreadable = 2;
    raw.say(&frame(0, b"")).await;
    raw.say(&frame(0, &[2, 0, 0])).await;
    for end in 1..body.len() {
        raw.say(&frame(0, &body[..end])).await;
        unreadable += 1;
    }
    raw.say(&[frame(1, body), frame(0, b"more")].concat()).await;
    let mut long = header("job-9", "x", "y");
    long.extend([3, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
    raw.say(&frame(0, &long)).await;
    raw.say(&frame(0, &vec![0xFF; 100_000])).await;
    unreadable += 3;
    // Of a job that nobody has begun.
    let mut stray = header("job-8", "x", "y");
    stray.extend([2, 0]);
    raw.say(&frame(0, &stray)).await;
    within(async {
        while server.stats().await.unwrap().relay.foreign < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let stats = server.stats().await.unwrap().relay;
    assert_eq!(
        (stats.unreadable, stats.foreign, stats.jobs.len()),
        (unreadable, 1, 1)
    );
    honest.talk().await;
    // Of the job, by one who is none of its parties, by one who is there, and with other parties than there are.
    let told = [
        (hello("job-1", "x", "a", &["a", "x"]), "x"),
        (hello("job-1", "a", "b", &["a", "b"]), "a"),
        (hello("job-1", "b", "a", &["a", "b", "x"]), "b"),
    ];
    for (packet, who) in told {
        raw.say(&packet).await;
        let event = event(&mut server, "refused").await;
        assert_eq!(event.level, EventLevel::Warn);
        assert_eq!(
            event.fields[..2],
            [("job", "job-1".to_owned()), ("party", who.to_owned())]
        );
        honest.talk().await;
    }
    assert_eq!(server.stats().await.unwrap().relay.refused, 3);
}

#[tokio::test]
async fn who_sends_without_credit_or_never_reads_is_bounded() {
    let mut server = server().await;
    let mut honest = Honest::join(&server).await;
    let before = server.stats().await.unwrap().connections;
    let mut raw = Raw::greeted(&server).await;
    raw.say(&hello("job-9", "x", "y", &["x", "y"])).await;
    event(&mut server, "begun").await;
    // Items that nobody has asked for: a message of a channel that was not opened, with content.
    let mut items = header("job-9", "x", "y");
    items.extend([3, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1, 100, 1]);
    let lie = [frame(1, &items), frame(0, &[7; 100])].concat();
    // None of it is read back, and what is answered to it is bounded, too.
    let (begin, flood) = (Instant::now(), lie.repeat(1000));
    for _ in 0..20 {
        let sent = tokio::time::timeout(Duration::from_millis(200), raw.0.write_all(&flood)).await;
        honest.talk().await;
        if !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(20));
    let stats = server.stats().await.unwrap().relay;
    let of_job: Vec<_> = stats
        .jobs
        .iter()
        .filter(|(id, _)| id.as_str() == "job-9")
        .flat_map(|(_, job)| job.parties.values())
        .collect();
    assert!(
        of_job
            .iter()
            .all(|party| party.held_bytes == 0 && party.flows == 0)
    );
    assert!(stats.memory_bytes < 1 << 20, "{} bytes", stats.memory_bytes);
    drop(raw);
    honest.talk().await;
    alone(&server, before).await;
}
