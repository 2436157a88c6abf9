//! Handshakes of a byte now and then, while those who behave go on.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::program::Program;
use super::raw::{Raw, greeting};
use super::stage::{Clock, PATIENCE, Stage};
use crate::process;

/// Slow peers of each listener.
const SLOW: usize = 200;
/// Between two bytes of one of them.
const PAUSE: Duration = Duration::from_millis(200);
/// Messages of each one who behaves.
const MESSAGES: usize = 10;
/// How long one who behaves may take among them; without optimisation, with a new process each time.
const SERVED_WITHIN: f64 = 10.0;
/// When a listener has no patience left: the default of the handshake's time.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// A listener, and how to talk to it.
struct Listener {
    name: &'static str,
    server: Program,
    address: SocketAddr,
    /// What those who behave say besides.
    client: Vec<String>,
    endpoint: String,
    /// What slow ones say, a byte at a time.
    bytes: Vec<u8>,
}

pub(super) fn run(stage: &mut Stage<'_>) -> Result<()> {
    let mut listeners = vec![null(stage)?, curve(stage)?];
    match tls(stage) {
        Ok(listener) => listeners.push(listener),
        Err(error) => stage.note(&format!("without TLS: {error:#}")),
    }
    for listener in &listeners {
        behave(stage, listener)?;
    }
    let before: Vec<_> = listeners
        .iter()
        .map(|listener| listener.server.usage())
        .collect::<Result<_>>()?;
    let begin = Instant::now();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let slow: Vec<_> = listeners
        .iter()
        .map(|listener| {
            let mut peers = Vec::new();
            for _ in 0..SLOW {
                peers.push(Raw::connect(listener.address)?);
            }
            Ok((peers, listener.bytes.clone()))
        })
        .collect::<std::io::Result<_>>()?;
    let clock = stage.clock.clone();
    let trickling = thread::spawn(move || trickle(slow, &clock, &stopped));
    let mut served = 0;
    let mut slowest = 0.0_f64;
    loop {
        for listener in &listeners {
            let begin = Instant::now();
            behave(stage, listener)?;
            slowest = slowest.max(begin.elapsed().as_secs_f64());
            served += 1;
        }
        if !stage.clock.goes_on() {
            break;
        }
    }
    // Only a long run sees the end of their time.
    let lasted = begin.elapsed();
    drop(stop);
    let cut = trickling.join().map_err(|_| anyhow!("the slow ones failed"))?;
    stage.told("slow handshakes", (SLOW * listeners.len()) as f64);
    if lasted > HANDSHAKE + PAUSE * 20 {
        stage.at_least(
            "of these ended by their listener",
            cut as f64,
            (SLOW * listeners.len()) as f64,
        );
    }
    stage.at_least("served meanwhile", served as f64, 1.0);
    stage.at_most("slowest of these, s", slowest, SERVED_WITHIN);
    for (listener, before) in listeners.iter().zip(before) {
        stage.settled(listener.name, &listener.server, before)?;
    }
    Ok(())
}

/// Says a byte of each now and then, until told to stop; how many were ended by the other side.
fn trickle(
    mut slow: Vec<(Vec<Raw>, Vec<u8>)>,
    clock: &Clock,
    stopped: &std::sync::mpsc::Receiver<()>,
) -> usize {
    let mut cut = 0;
    for at in 0.. {
        for (peers, bytes) in &mut slow {
            let there = peers.len();
            // What was said wholly is not said again: then they are silent.
            match bytes.get(at..=at) {
                Some(byte) => peers.retain_mut(|peer| peer.send(byte).is_ok()),
                None => peers.retain_mut(|peer| !peer.is_cut(Duration::from_millis(1))),
            }
            cut += there - peers.len();
        }
        if clock.is_stopped()
            || stopped
                .recv_timeout(PAUSE)
                .is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Disconnected)
        {
            break;
        }
    }
    cut
}

/// One who connects, says something, and leaves when it was taken.
fn behave(stage: &Stage<'_>, listener: &Listener) -> Result<()> {
    let mut arguments = vec!["socket", "PUSH", "--connect", &*listener.endpoint];
    arguments.extend(listener.client.iter().map(String::as_str));
    let mut client = stage.flexbond(&arguments)?;
    for number in 0..MESSAGES {
        client.tell(&format!("[\"{number}\"]"))?;
    }
    client
        .ends_with(0, PATIENCE)
        .with_context(|| format!("{}: one who behaves is not served", listener.name))?;
    for number in 0..MESSAGES {
        let line = listener.server.line(PATIENCE)?;
        if line != format!("[\"{number}\"]") {
            return Err(anyhow!("{}: {line} instead of message {number}", listener.name));
        }
    }
    Ok(())
}

fn null(stage: &Stage<'_>) -> Result<Listener> {
    let (server, address) = stage.bound("PULL", &[])?;
    Ok(Listener {
        name: "NULL",
        server,
        address,
        client: Vec::new(),
        endpoint: format!("tcp://{address}"),
        bytes: greeting(1, "NULL"),
    })
}

fn curve(stage: &Stage<'_>) -> Result<Listener> {
    let (server, address, public) = curve_server(stage, "PULL", &[])?;
    Ok(Listener {
        name: "CURVE",
        server,
        address,
        client: vec!["--curve-server-key".to_owned(), public],
        endpoint: format!("tcp://{address}"),
        // The greeting, and a HELLO without end.
        bytes: [greeting(1, "CURVE"), b"\x04\xc8\x05HELLO\x01\x00".to_vec()].concat(),
    })
}

/// A socket that takes those who know its key; its address and its key.
pub(super) fn curve_server(
    stage: &Stage<'_>,
    pattern: &str,
    more: &[&str],
) -> Result<(Program, SocketAddr, String)> {
    let folder = stage.folder("curve")?;
    let file = folder.join("server");
    let printed = process::output(Command::new(stage.flexbond_path()).arg("keygen").arg(&file))?;
    let public = printed.trim().to_owned();
    let secret = folder.join("server.key_secret");
    let secret = secret.to_string_lossy();
    let mut arguments = vec!["--curve-secret", &*secret, "--curve-server"];
    arguments.extend(more);
    let (server, address) = stage.bound(pattern, &arguments)?;
    Ok((server, address, public))
}

fn tls(stage: &Stage<'_>) -> Result<Listener> {
    let folder = stage.folder("tls")?;
    let (server, address) = tls_server(stage, "PULL", &folder, &[])?;
    Ok(Listener {
        name: "TLS",
        server,
        address,
        client: vec![
            "--tls-ca".to_owned(),
            folder.join("cert.pem").to_string_lossy().into_owned(),
        ],
        endpoint: format!("tls://{address}"),
        // The head of a ClientHello of 512 bytes, and then zeros.
        bytes: [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            vec![0; 400],
        ]
        .concat(),
    })
}

/// A socket that listens with TLS, with a certificate for this machine made by openssl in `folder`.
pub(super) fn tls_server(
    stage: &Stage<'_>,
    pattern: &str,
    folder: &Path,
    more: &[&str],
) -> Result<(Program, SocketAddr)> {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    process::output(
        Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ])
            .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
            // It issues itself and nobody else.
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate),
    )?;
    let (certificate, key) = (certificate.to_string_lossy(), key.to_string_lossy());
    let mut arguments = vec![
        "socket",
        pattern,
        "--bind",
        "tls://127.0.0.1:0",
        "--print-endpoint",
        "--tls-cert",
        &*certificate,
        "--tls-key",
        &*key,
    ];
    arguments.extend(more);
    let server = stage.flexbond(&arguments)?;
    let address = server.address()?;
    Ok((server, address))
}
