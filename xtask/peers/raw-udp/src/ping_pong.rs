//! Round trips of one small packet: asleep between packets, on tokio, or spinning.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use peer_harness::{Result, Words, print, summary};
use serde_json::json;
use tokio::runtime::Builder;

use crate::socket;

/// The port that the answering side listens on unless told otherwise.
const PORT: u16 = 7003;
/// The longest packet.
const LARGEST: usize = 1400;
/// Nobody answers after so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries to reach the answering side, which may start later.
const RETRY: Duration = Duration::from_millis(20);

/// How a side waits for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Blocking,
    Tokio,
    Spinning,
}

impl Mode {
    fn read(words: &mut Words) -> Result<(Self, String)> {
        let name = words.get("mode", "blocking".to_owned())?;
        let mode = match name.as_str() {
            "blocking" => Mode::Blocking,
            "tokio" => Mode::Tokio,
            "spin" => Mode::Spinning,
            other => return Err(format!("unknown mode `{other}`").into()),
        };
        Ok((mode, name))
    }
}

/// Measures round trips, and tells the other side when it is over.
pub(crate) fn ask(mut words: Words) -> Result<()> {
    let own: Ipv4Addr = words.need("own", "ADDR")?;
    let to = match words.take("to")? {
        Some(to) => to,
        // Of a lab, the second host.
        None if own.is_loopback() => SocketAddrV4::new(own, PORT),
        None => SocketAddrV4::new(Ipv4Addr::from_bits(own.to_bits() + 1), PORT),
    };
    let size = words.get("size", 16_usize)?.clamp(1, LARGEST);
    let (warmup, rounds) = (words.get("warmup", 2000)?, words.get("rounds", 20_000)?);
    let (mode, name) = Mode::read(&mut words)?;
    words.finish()?;
    let socket = socket::dial(own)?;
    socket.connect(SocketAddr::V4(to))?;
    reach(&socket)?;
    let packet = vec![0xA5_u8; size];
    let mut nanos = Vec::with_capacity(rounds);
    let begun = Instant::now();
    match mode {
        Mode::Blocking | Mode::Spinning => {
            let mut reply = [0; LARGEST];
            prepare(&socket, mode)?;
            for round in 0..warmup + rounds {
                let at = Instant::now();
                socket.send(&packet)?;
                receive(&socket, mode, &mut reply)?;
                if round >= warmup {
                    nanos.push(u32::try_from(at.elapsed().as_nanos()).unwrap_or(u32::MAX));
                }
            }
        }
        Mode::Tokio => {
            nanos = Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(async {
                    socket.set_nonblocking(true)?;
                    let socket = tokio::net::UdpSocket::from_std(socket.try_clone()?)?;
                    let mut reply = [0; LARGEST];
                    for round in 0..warmup + rounds {
                        let at = Instant::now();
                        socket.send(&packet).await?;
                        socket.recv(&mut reply).await?;
                        if round >= warmup {
                            nanos.push(u32::try_from(at.elapsed().as_nanos()).unwrap_or(u32::MAX));
                        }
                    }
                    Result::Ok(nanos)
                })?;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    // An empty packet ends the other side; a few, because one may be lost.
    for _ in 0..3 {
        let _ = socket.send(&[]);
    }
    let mut result = summary(&mut nanos);
    result["case"] = json!("ping-pong");
    result["mode"] = json!(name);
    result["size"] = json!(size);
    result["rounds"] = json!(rounds);
    result["seconds"] = json!(seconds);
    print(&result);
    Ok(())
}

/// Sends every packet back, until an empty one comes.
pub(crate) fn answer(mut words: Words) -> Result<()> {
    let own: Ipv4Addr = words.need("own", "ADDR")?;
    let local = words.get("to", SocketAddrV4::new(own, PORT))?;
    let (mode, _) = Mode::read(&mut words)?;
    words.finish()?;
    let socket = socket::bind(local)?;
    print(&json!({ "ready": true }));
    let mut packet = [0; LARGEST];
    if mode == Mode::Tokio {
        return Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(async {
                socket.set_nonblocking(true)?;
                let socket = tokio::net::UdpSocket::from_std(socket)?;
                loop {
                    let (len, from) = socket.recv_from(&mut packet).await?;
                    if len == 0 {
                        return Ok(());
                    }
                    socket.send_to(&packet[..len], from).await?;
                }
            });
    }
    socket.set_nonblocking(mode == Mode::Spinning)?;
    loop {
        match socket.recv_from(&mut packet) {
            Ok((0, _)) => return Ok(()),
            Ok((len, from)) => {
                socket.send_to(&packet[..len], from)?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Until the other side answers for the first time.
fn reach(socket: &UdpSocket) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    socket.set_read_timeout(Some(RETRY))?;
    while Instant::now() < deadline {
        // Refused while nobody listens.
        let asked = socket.send(&[1]);
        match asked.and_then(|_| socket.recv(&mut [0; LARGEST])) {
            Ok(_) => {
                // Answers to earlier tries must not be taken for later ones.
                while socket.recv(&mut [0; LARGEST]).is_ok() {}
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::thread::sleep(RETRY),
            Err(_) => {}
        }
    }
    Err(format!("nobody answers within {PATIENCE:?}").into())
}

fn prepare(socket: &UdpSocket, mode: Mode) -> Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.set_nonblocking(mode == Mode::Spinning)?)
}

fn receive(socket: &UdpSocket, mode: Mode, reply: &mut [u8]) -> Result<()> {
    loop {
        match socket.recv(reply) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock && mode == Mode::Spinning => {
                std::hint::spin_loop();
            }
            Err(error) => return Err(error.into()),
        }
    }
}
