//! Peers that speak ZMTP well, and then something else, or nothing: nobody else is disturbed, and the server's memory stays
//! what it is.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use flexbond::session::socket::{CurveClient, Options, Socket, SocketType};
use serde_json::json;

use crate::program::{PATIENCE, scrape};
use crate::site::{Party, Running, Site};

/// So many connections stand half open.
const IDLE: usize = 1000;
/// What the server may take of memory with all that, in KiB: it is a debug build of the whole program.
const MEMORY: u64 = 300 << 10;

fn connect(server: &Running) -> TcpStream {
    let stream = TcpStream::connect(server.endpoint.strip_prefix("tcp://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    stream
}

/// ZMTP 3.1: the greeting of a peer without security.
fn greeting() -> Vec<u8> {
    let mut greeting = vec![0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, 1];
    greeting.extend_from_slice(b"NULL");
    greeting.resize(64, 0);
    greeting
}

/// Comes in as any DEALER does.
fn handshake(server: &Running) -> TcpStream {
    let mut stream = connect(server);
    let mut ready = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER".to_vec();
    ready.splice(0..0, [0x04, u8::try_from(ready.len()).unwrap()]);
    stream.write_all(&greeting()).unwrap();
    stream.write_all(&ready).unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    stream
}

/// One message of one frame.
fn frame(content: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02];
    frame.extend_from_slice(&(content.len() as u64).to_be_bytes());
    frame.extend_from_slice(content);
    frame
}

/// "Here I am", of a party of a job.
fn hello(job: &str, from: &str, to: &str, incarnation: u8) -> Vec<u8> {
    let mut packet = vec![1];
    for name in [job, from, to] {
        packet.push(u8::try_from(name.len()).unwrap());
        packet.extend_from_slice(name.as_bytes());
    }
    // Incarnations and acknowledgement; hello; the members and what is taken.
    packet.extend_from_slice(&[
        incarnation & 0x7F,
        0,
        0,
        0,
        2,
        1,
        b'a',
        1,
        b'b',
        100,
        100,
        100,
        100,
        100,
    ]);
    packet
}

fn number(url: &str, name: &str) -> f64 {
    scrape::value(&scrape::get(url, ""), name).unwrap_or_default()
}

fn until(url: &str, name: &str, is_enough: impl Fn(f64) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_enough(number(url, name)) {
        assert!(Instant::now() < deadline, "{name}: {}", scrape::get(url, ""));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The most memory that the program ever had, in KiB.
#[cfg(target_os = "linux")]
fn peak(server: &Running) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", server.program.id())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

fn they_talk(a: &Party, b: &Party, value: u32) {
    a.sends("b", &value.to_string());
    b.receives("a", &value.to_string());
}

#[cfg(target_os = "linux")]
#[test]
fn strangers_who_talk_nonsense_disturb_nobody() {
    let site = Site::new();
    let mut server = site.serve("", "memory_bytes = 16777216\nwindow_bytes = 1048576\n", "");
    let url = scrape::url(&mut server.program);
    let (a, b) = site.pair(&server.endpoint);
    they_talk(&a, &b, 1);

    // Half a greeting, and no more.
    let idle: Vec<TcpStream> = (0..IDLE)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all(&greeting()[..20]).unwrap();
            stream
        })
        .collect();
    they_talk(&a, &b, 2);

    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut noise = |len: usize| -> Vec<u8> { (0..len).map(|_| rng.u8(..)).collect() };
    for len in [1, 10, 64, 65, 1000, 100_000] {
        // It may be shut out before it has said all.
        let _ = connect(&server).write_all(&noise(len));
        let mut greeted = connect(&server);
        let _ = greeted.write_all(&[greeting(), noise(len)].concat());
        let mut late = handshake(&server);
        let _ = late.write_all(&noise(len));
    }
    // More than there is memory in the world.
    for flags in [0x02, 0x03, 0x06] {
        let mut stream = handshake(&server);
        let _ = stream.write_all(&[&[flags][..], &(1_u64 << 62).to_be_bytes(), &[0; 1000]].concat());
        // It is shut out at once.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    // Good messages that are no packets, or begin like one.
    let mut stream = handshake(&server);
    for len in 0..200 {
        stream.write_all(&frame(&noise(len))).unwrap();
        stream
            .write_all(&frame(&[&[1], &noise(len)[..]].concat()))
            .unwrap();
    }
    until(&url, "flexbond_serve_unreadable_packets_total", |count| {
        count >= 300.0
    });
    they_talk(&a, &b, 3);

    // Who asks without end and reads no answer: a stranger in their job, and a party in a job of its own.
    let mut deaf = [handshake(&server), handshake(&server)];
    for round in 0..20_u8 {
        for (stream, (job, from)) in deaf.iter_mut().zip([("job", "c"), ("other", "b")]) {
            let packets: Vec<u8> = (0..500)
                .flat_map(|_| frame(&hello(job, from, "a", round + 1)))
                .collect();
            let _ = stream.write_all(&packets);
        }
    }
    server.event("job job: c is refused");
    they_talk(&a, &b, 4);
    let health = scrape::get(&url.replace("/metrics", "/health"), "");
    assert!(health.contains("\"status\":\"ok\""), "{health}");
    let peak = peak(&server);
    println!("{peak} KiB at most");
    assert!(peak < MEMORY, "{peak} KiB");
    drop((idle, deaf, stream));
    // All that is theirs goes with them.
    until(&url, "flexbond_serve_connections", |count| count < 10.0);
    they_talk(&a, &b, 5);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_party_that_turns_bad_disturbs_nobody() {
    let site = Site::new();
    let server_key = site.keygen("server");
    let tables: String = ["a", "b", "c"]
        .map(|name| format!("[parties.{name}]\nkey = \"{}\"\n", site.keygen(name)))
        .concat();
    let tables = format!("{tables}[curve]\nsecret_file = \"server.key_secret\"\n");
    let mut server = site.serve("", "memory_bytes = 16777216\nwindow_bytes = 1048576\n", &tables);
    let url = scrape::url(&mut server.program);
    let [a, b] = ["a", "b"].map(|local| {
        let keys = json!({"curve": {"secret_file": format!("{local}.key_secret"), "server_key": server_key}});
        site.party_with(&server.endpoint, local, &["a", "b"], &keys)
    });
    they_talk(&a, &b, 1);

    let text = std::fs::read_to_string(site.path("c.key_secret")).unwrap();
    let certificate: flexbond::session::socket::Certificate = text.parse().unwrap();
    let client = CurveClient::new(server_key.parse().unwrap(), certificate.keys.unwrap());
    let bad = Socket::with_options(SocketType::Dealer, Options::new().curve_client(client)).unwrap();
    bad.connect(&server.endpoint).unwrap();
    let send = async |packet: Vec<u8>| {
        let sent = tokio::time::timeout(PATIENCE, bad.send(packet)).await;
        sent.expect("the server takes it").unwrap();
    };
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for len in 0..300 {
        let noise: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
        send([&[1], &noise[..]].concat()).await;
        // For another; for itself in a job that is not its own; damaged.
        send(hello("job", "a", "b", 5)).await;
        send(hello("job", "c", "b", 5)).await;
        let mut damaged = hello("job", "c", "b", 5);
        let place = rng.usize(..damaged.len());
        damaged[place] ^= 1 << rng.u8(..8);
        send(damaged).await;
    }
    server.event("job job: c has said to be a, and is not believed");
    until(&url, "flexbond_serve_forged_packets_total", |count| {
        count >= 300.0
    });
    until(&url, "flexbond_serve_unreadable_packets_total", |count| {
        count >= 200.0
    });
    they_talk(&a, &b, 2);
    let peak = peak(&server);
    println!("{peak} KiB at most");
    assert!(peak < MEMORY, "{peak} KiB");
}
