//! Peers that send what is none of the protocol: the server lives, and so do the others' calls.
#![cfg(all(feature = "inproc", feature = "tcp"))]

mod harness;
#[path = "harness/serving.rs"]
mod serving;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use flexbond_rpc::envelope::{Envelope, Flags, Kind};
use flexbond_rpc::server::Options;
use flexbond_session::Message;
use flexbond_session::socket;
use harness::{DEADLINE, Seen, until, within};
use serving::{Raw, Serving, failure_kind, header, request};

const MANY: u64 = 10_000;

async fn ten_thousand_garbage_messages_are_answered_and_counted() {
    for endpoint in serving::everywhere() {
        let seen: Arc<Seen> = Arc::default();
        let server = Serving::start(harness::methods(&seen), &endpoint, Options::new()).await;
        let client = server.client();
        let raw = Raw::connect(&server.endpoint, socket::Options::new());
        let send = async {
            for n in 0..MANY {
                let len = (n % 60) as usize + 1;
                // No header begins with 0xff.
                within("it leaves", raw.dealer.send(vec![0xff_u8; len]))
                    .await
                    .unwrap();
            }
        };
        let receive = async {
            for _ in 0..MANY {
                assert_eq!(failure_kind(&raw.recv().await), "malformed");
            }
        };
        let others = async {
            for _ in 0..50 {
                let echo = client.call::<_, String>("echo", &"x");
                assert_eq!(within("an echo", echo).await.unwrap(), "x");
            }
        };
        tokio::join!(send, receive, others);
        assert_eq!(server.stats().malformed, MANY);
        assert!(raw.is_all().await);
    }
}

async fn garbage_of_who_does_not_read_ends_its_connection_only() {
    let seen: Arc<Seen> = Arc::default();
    let mut options = Options::new().max_unread(1000);
    options.socket = options.socket.send_hwm(100_usize);
    let server = Serving::start(harness::methods(&seen), "tcp://127.0.0.1:0", options).await;
    let client = server.client();
    let raw = Raw::connect(&server.endpoint, socket::Options::new().recv_hwm(1_usize));
    let flood = async { while raw.dealer.send(vec![0xff_u8; 10]).await.is_ok() {} };
    tokio::select! {
        () = flood => panic!("it was let"),
        () = until("its end", || server.stats().slow_peers >= 1) => {}
    }
    let echo = client.call::<_, String>("echo", &"x");
    assert_eq!(within("an echo", echo).await.unwrap(), "x");
}

async fn kinds_and_frames_out_of_place_harm_nobody() {
    let seen: Arc<Seen> = Arc::default();
    let server = Serving::of(harness::methods(&seen)).await;
    let raw = server.raw();
    for kind in [Kind::Response, Kind::Error, Kind::Pong, Kind::Draining] {
        raw.send_message([header(kind, 7), Vec::new(), Vec::new()]).await;
        let answer = raw.recv().await;
        assert_eq!(
            (answer.header.call, failure_kind(&answer).as_str()),
            (7, "malformed")
        );
    }
    for number in [0, 12, 255] {
        let mut unknown = header(Kind::Request, 7);
        unknown[1] = number;
        raw.send_message([unknown, b"echo".to_vec(), b"\"x\"".to_vec()])
            .await;
        assert_eq!(failure_kind(&raw.recv().await), "malformed");
    }
    // Metadata that is promised and missing, or cut off; a name that is too long.
    let mut promised = header(Kind::Request, 7);
    promised[3] = 4;
    for message in [
        Message::from([promised.clone(), b"echo".to_vec(), Vec::new()]),
        Message::from([promised, b"echo".to_vec(), Vec::new(), vec![200, 1]]),
        Message::from([header(Kind::Request, 7), vec![b'x'; 256], Vec::new()]),
        Message::from([header(Kind::Request, 7), b"echo".to_vec()]),
    ] {
        raw.send_message(message).await;
        let answer = raw.recv().await;
        assert_eq!(
            (answer.header.call, failure_kind(&answer).as_str()),
            (7, "malformed")
        );
    }
    // What this version does not know: the caller can tell of which call it hears.
    for (byte, unknown) in [(0, 2), (1, 12), (2, 4), (3, 32)] {
        let mut newer = header(Kind::Request, 1004);
        newer[byte] = unknown;
        raw.send_message([newer, b"echo".to_vec(), b"1".to_vec()]).await;
        let answer = raw.recv().await;
        assert_eq!(
            (answer.header.call, failure_kind(&answer).as_str()),
            (1004, "malformed")
        );
    }
    // Of calls that there are not.
    for kind in [Kind::Cancel, Kind::Credit, Kind::StreamItem, Kind::StreamEnd] {
        raw.send_message([header(kind, 8), Vec::new(), Vec::new()]).await;
    }
    assert!(raw.is_all().await);
    // Arguments that are none, in each codec; the call is over with its answer.
    for codec in 0..=3 {
        let mut call = header(Kind::Request, 9);
        call[2] = codec;
        raw.send_message([call, b"add".to_vec(), b"\xc1\xff{[".to_vec()])
            .await;
        let answer = raw.recv().await;
        assert_eq!((answer.header.kind, answer.header.call), (Kind::Error, 9));
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains("bad_arguments"), "{text}");
        assert_eq!(answer.header.flags, Flags::NONE);
    }
    // What a codec quotes is cut.
    let long = format!("[\"{}\", 1]", "x".repeat(1 << 20));
    raw.send(&request(11, "add", &long)).await;
    let answer = raw.recv().await;
    assert_eq!(failure_kind(&answer), "bad_arguments");
    assert!(answer.body.len() < 5000, "{} bytes", answer.body.len());
    raw.send(&request(10, "echo", "\"x\"")).await;
    assert_eq!(&raw.recv().await.body[..], b"\"x\"");
    assert!(raw.is_all().await);
    until("the end of all calls", || server.stats().in_flight == 0).await;
}

/// What a ØMQ peer says first: a greeting of version 3.1 and the NULL mechanism, and that it is a DEALER.
fn handshake() -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 1];
    bytes.extend(b"NULL");
    bytes.resize(64, 0);
    let mut ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER".to_vec();
    bytes.extend([0x04, ready.len() as u8]);
    bytes.append(&mut ready);
    bytes
}

fn connect(server: &Serving) -> TcpStream {
    let address = server.endpoint.to_string();
    let address = address.strip_prefix("tcp://").expect("a tcp endpoint");
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// A frame with a length of eight bytes.
fn frame(flags: u8, len: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![flags | 2];
    bytes.extend(len.to_be_bytes());
    bytes.extend(body);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_message_is_none() {
    let seen: Arc<Seen> = Arc::default();
    let server = Serving::of(harness::methods(&seen)).await;
    let call = request(1, "note", "null").encode().unwrap();
    let whole = frame(0, call[0].len() as u64, &call[0]);
    // Broken off after each byte: of the greeting, the handshake, the frame; but the last.
    let all: Vec<u8> = handshake().into_iter().chain(whole).collect();
    for len in (0..all.len()).step_by(7).chain([all.len() - 1]) {
        connect(&server).write_all(&all[..len]).expect("written");
    }
    // A call of three frames, of which two come.
    let mut two = handshake();
    two.extend(frame(1, 24, &header(Kind::Request, 1)));
    two.extend(frame(1, 4, b"note"));
    connect(&server).write_all(&two).expect("written");
    // Promised and never sent: the server waits, and others do not.
    let mut huge = handshake();
    huge.extend(frame(0, 200 << 20, b"note"));
    let mut waiting = connect(&server);
    waiting.write_all(&huge).expect("written");
    let client = server.client();
    let echo = client.call::<_, String>("echo", &"x");
    assert_eq!(within("an echo", echo).await.unwrap(), "x");
    drop(waiting);
    assert_eq!(seen.noted.load(std::sync::atomic::Ordering::SeqCst), 0);
    // With its last byte it is a call.
    let mut stream = connect(&server);
    stream.write_all(&all).expect("written");
    until("the note", || {
        seen.noted.load(std::sync::atomic::Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(server.stats().malformed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_messages_end_the_connection() {
    let seen: Arc<Seen> = Arc::default();
    let server = Serving::of(harness::methods(&seen)).await;
    let client = server.client();
    let mut endless = handshake();
    endless.extend(frame(0, 1 << 62, b""));
    // A command in the middle of a message.
    let mut command = handshake();
    command.extend(frame(1, 24, &header(Kind::Request, 1)));
    command.extend([0x05, 5]);
    command.extend(b"\x04PING");
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0xff; 4096],
        endless,
        command,
    ] {
        let mut stream = connect(&server);
        // The server may have closed it before all was written.
        let _ = stream.write_all(&bytes);
        // The runtime would wait for a thread of its own, also after a test that has failed.
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let ended = tokio::task::spawn_blocking(move || {
            let mut rest = Vec::new();
            match stream.read_to_end(&mut rest) {
                Ok(_) => true,
                Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        });
        let what = format!("the end of {:x?}", &bytes[..bytes.len().min(100)]);
        assert!(within(&what, ended).await.unwrap());
        let echo = client.call::<_, String>("echo", &"x");
        assert_eq!(within("an echo", echo).await.unwrap(), "x");
    }
    // The last answer may be here a moment before its call is counted out.
    until("the end of all calls", || server.stats().in_flight == 0).await;
}

async fn messages_after_the_callers_end_harm_nobody() {
    let seen: Arc<Seen> = Arc::default();
    let server = Serving::of(harness::methods(&seen)).await;
    let client = server.client();
    for n in 0..50 {
        let raw = server.raw();
        raw.send(&request(n, "hang", "null")).await;
        raw.send(&Envelope::stream_item(n, 0, "x")).await;
        drop(raw);
    }
    let echo = client.call::<_, String>("echo", &"x");
    assert_eq!(within("an echo", echo).await.unwrap(), "x");
    until("their end", || {
        let stats = server.stats();
        (stats.in_flight, stats.connections) == (0, 1)
    })
    .await;
}

serving::on_both! {
    ten_thousand_garbage_messages_are_answered_and_counted,
    garbage_of_who_does_not_read_ends_its_connection_only,
    kinds_and_frames_out_of_place_harm_nobody,
    messages_after_the_callers_end_harm_nobody,
}
