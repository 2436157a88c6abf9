//! No file descriptors left: whoever accepts connections neither dies nor spins, and goes on when there are some again.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::killed::source;
use super::program::Program;
use super::raw::{Raw, message};
use super::slowloris::tls_server;
use super::stage::{PATIENCE, Stage};

/// Descriptors that a program may have.
const LIMIT: usize = 60;
/// The same for one that serves pages of metrics.
const FEW: usize = 24;
/// Connections that come; those beyond the limit wait in the listener's backlog.
const COMING: usize = 120;
/// The share of a processor that is no spinning.
const BUSY: f64 = 0.3;
/// Over which it is taken.
const LOOK: Duration = Duration::from_millis(700);

pub(super) fn run(stage: &mut Stage<'_>) -> Result<()> {
    let mut busiest = 0.0_f64;
    let mut rounds = 0;
    loop {
        busiest = busiest.max(pulling(stage)?);
        busiest = busiest.max(serving(stage)?);
        busiest = busiest.max(metrics(stage)?);
        if let Some(share) = encrypted(stage)? {
            busiest = busiest.max(share);
        }
        rounds += 1;
        if !stage.clock.goes_on() {
            break;
        }
    }
    // A listener that does not go on ends the case.
    stage.at_least("rounds of PULL, rpc, metrics and TLS", f64::from(rounds), 1.0);
    stage.at_most("processor while there are none", busiest, BUSY);
    Ok(())
}

fn limit() -> String {
    limit_of(LIMIT)
}

fn limit_of(descriptors: usize) -> String {
    format!("ulimit -n {descriptors}")
}

/// Takes all descriptors of a program, looks whether it spins, and gives them back. The share of a processor used.
fn exhaust(stage: &Stage<'_>, program: &Program, address: SocketAddr, limit: usize) -> Result<f64> {
    let before = program.usage()?.descriptors;
    let mut coming = Vec::new();
    for _ in 0..COMING {
        coming.push(Raw::connect(address)?);
    }
    stage
        .clock
        .until("all descriptors to be taken", PATIENCE, || {
            program.usage().is_ok_and(|usage| usage.descriptors >= limit - 1)
        })
        .with_context(|| program.troubles())?;
    thread::sleep(Duration::from_millis(50));
    let begin = Instant::now();
    let used = program.usage()?.processor;
    stage.clock.pass(LOOK)?;
    let share = (program.usage()?.processor - used) / begin.elapsed().as_secs_f64();
    drop(coming);
    stage
        .clock
        .until("descriptors to come back", PATIENCE, || {
            program.usage().is_ok_and(|usage| usage.descriptors <= before)
        })
        .with_context(|| program.troubles())?;
    Ok(share)
}

fn pulling(stage: &Stage<'_>) -> Result<f64> {
    let server = stage.shell(
        &limit(),
        stage.flexbond_path(),
        &[
            "socket",
            "PULL",
            "--bind",
            "tcp://127.0.0.1:0",
            "--print-endpoint",
        ],
    )?;
    let address = server.address()?;
    // Who was there before stays.
    let mut staying = Raw::peer(address, "PUSH")?;
    let share = exhaust(stage, &server, address, LIMIT)?;
    staying.send(&message(&[b"stayed"]))?;
    server.says("stayed", PATIENCE)?;
    Raw::peer(address, "PUSH")?.send(&message(&[b"new"]))?;
    server.says("new", PATIENCE)?;
    Ok(share)
}

fn encrypted(stage: &Stage<'_>) -> Result<Option<f64>> {
    let folder = stage.folder("tls")?;
    // For the certificate; without openssl there is none.
    if tls_server(stage, "PULL", &folder, &[]).is_err() {
        return Ok(None);
    }
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let arguments = [
        "socket",
        "PULL",
        "--bind",
        "tls://127.0.0.1:0",
        "--print-endpoint",
        "--tls-cert",
        &file("cert.pem"),
        "--tls-key",
        &file("key.pem"),
    ];
    let server = stage.shell(&limit(), stage.flexbond_path(), &arguments)?;
    let address = server.address()?;
    let share = exhaust(stage, &server, address, LIMIT)?;
    let mut client = stage.flexbond(&[
        "socket",
        "PUSH",
        "--connect",
        &format!("tls://{address}"),
        "--tls-ca",
        &file("cert.pem"),
    ])?;
    client.tell("[\"new\"]")?;
    server.says("new", PATIENCE)?;
    client.ends_with(0, PATIENCE)?;
    Ok(Some(share))
}

fn serving(stage: &Stage<'_>) -> Result<f64> {
    let server = stage.shell(
        &limit(),
        stage.calculator_path(),
        &["--bind", "tcp://127.0.0.1:0"],
    )?;
    let address = server.address()?;
    let share = exhaust(stage, &server, address, LIMIT)?;
    let answer = stage.call(address, "add", "{\"a\":1,\"b\":2}")?;
    ensure!(answer.trim() == "3", "1 and 2 are {answer}");
    Ok(share)
}

/// The pages of metrics are served by HTTP, with an accept loop of its own.
fn metrics(stage: &Stage<'_>) -> Result<f64> {
    let (address, mut source) = source(stage, &["--count", "100000000", "--rate", "100"])?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let pages = format!("127.0.0.1:{port}");
    let arguments = ["stats", &*address, "--metrics", &*pages];
    let stats = stage.shell(&limit_of(FEW), stage.flexbond_path(), &arguments)?;
    let at: SocketAddr = pages.parse()?;
    stage.clock.until("pages of metrics", PATIENCE, || {
        page(at).is_ok_and(|text| shows_messages(&text))
    })?;
    stage.clock.pass(Duration::from_millis(100))?;
    // Its own connection and its work take some of a processor: only spinning takes all.
    let share = exhaust(stage, &stats, at, FEW)?;
    let text = page(at)?;
    ensure!(text.contains("flexbond_"), "no metrics: {text}");
    source.signal("INT")?;
    source.end(PATIENCE)?;
    Ok(share)
}

/// Whether it receives, and has its own connection: what comes back is counted from there on.
fn shows_messages(text: &str) -> bool {
    let mut lines = text.lines();
    lines.any(|line| line.starts_with("flexbond_stream_messages_total") && !line.ends_with(" 0"))
}

fn page(address: SocketAddr) -> Result<String> {
    let mut raw = Raw::connect(address)?;
    raw.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    raw.rest()
}
