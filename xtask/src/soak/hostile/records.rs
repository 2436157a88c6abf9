//! Lies below TLS: records and handshakes that are none.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Dice, Stage, Tally, opening};
use crate::soak::raw::Raw;
use crate::soak::slowloris::tls_server;
use crate::soak::stage::PATIENCE;

/// How soon a lie is seen through; the handshake's time is 30 s.
const SOON: Duration = Duration::from_secs(10);

pub(super) fn attack(stage: &mut Stage<'_>, tally: &mut Tally) -> Result<()> {
    let folder = stage.folder("tls")?;
    let (server, address) = match tls_server(stage, "ROUTER", &folder, &["--echo", "--monitor"]) {
        Ok(server) => server,
        Err(error) => {
            stage.note(&format!("without TLS: {error:#}"));
            return Ok(());
        }
    };
    let endpoint = format!("tls://{address}");
    let authority = folder.join("cert.pem");
    let authority = authority.to_string_lossy();
    let mut other = stage.flexbond(&["socket", "DEALER", "--connect", &endpoint, "--tls-ca", &authority])?;
    other.tell("[\"first\"]")?;
    other.says("first", PATIENCE)?;
    let before = server.usage()?;
    for (number, (name, bytes)) in lies().into_iter().enumerate() {
        let outcome = told(&bytes, address);
        tally.note("TLS", name, outcome);
        other.tell(&format!("[\"{number}\"]"))?;
        let line = other.line(PATIENCE).with_context(|| format!("after: {name}"))?;
        ensure!(
            line == format!("[\"{number}\"]"),
            "{line} is no echo of {number}, after: {name}"
        );
    }
    // A client that asks for a name the certificate has not does not talk to it.
    let named = endpoint.replace("127.0.0.1", "127.0.0.2");
    let mut wrong = stage.flexbond(&[
        "socket",
        "DEALER",
        "--connect",
        &named,
        "--tls-ca",
        &authority,
        "--monitor",
        "--timeout",
        "1",
    ])?;
    wrong.tell("[\"lost\"]")?;
    tally.note(
        "TLS",
        "a name that is not in the certificate",
        wrong.ends_with(3, PATIENCE),
    );
    stage.settled("TLS server that was lied to", &server, before)
}

/// Each is seen through before the handshake's time is up.
fn told(bytes: &[u8], address: std::net::SocketAddr) -> Result<()> {
    let mut raw = Raw::connect(address)?;
    let _ = raw.send(bytes);
    ensure!(raw.is_cut(SOON), "the connection stays open");
    Ok(())
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let size = (body.len() as u16).to_be_bytes();
    [&[kind, 3, 3][..], &size, body].concat()
}

/// A ClientHello of these versions and ciphers, without extensions.
fn client_hello(version: [u8; 2], ciphers: &[u8]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend((ciphers.len() as u16).to_be_bytes());
    body.extend(ciphers);
    body.extend([1, 0]);
    let size = (body.len() as u32).to_be_bytes();
    record(22, &[&[1, size[1], size[2], size[3]][..], &body].concat())
}

fn lies() -> Vec<(&'static str, Vec<u8>)> {
    let mut dice = Dice(0x7715);
    vec![
        ("a peer without TLS", opening()),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("zeros", vec![0; 100]),
        ("chance", dice.bytes(2000)),
        ("a record of a kind that there is not", record(99, b"hello")),
        (
            "a record of 65535 bytes",
            vec![22, 3, 3, 0xFF, 0xFF, 1, 0, 0, 0, 0],
        ),
        ("application data first", record(23, &[0; 64])),
        ("an alert first", record(21, &[2, 40])),
        ("change of ciphers first", record(20, &[1]).repeat(100)),
        ("a heartbeat, as Heartbleed had it", record(24, &[1, 0xFF, 0xFF])),
        ("a ServerHello", record(22, &[2, 0, 0, 4, 3, 3, 0, 0])),
        (
            "a ClientHello that lies about its length",
            record(22, &[1, 0, 0, 8, 3, 3, 0, 0, 0, 0, 0, 0]),
        ),
        ("TLS 1.0", client_hello([3, 1], &[0, 0x2F])),
        (
            "ciphers that nobody should use",
            client_hello([3, 3], &[0, 0x05, 0, 0x0A]),
        ),
        (
            "a handshake of 16 MiB",
            [22, 3, 3, 0x40, 0, 1, 0xFF, 0xFF, 0xFF]
                .into_iter()
                .chain(vec![0; 0x4000 - 4])
                .collect::<Vec<u8>>()
                .repeat(80),
        ),
    ]
}
