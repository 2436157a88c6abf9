//! One sender, any number of receivers, nothing repaired: what arrives counts.

use std::io::{ErrorKind, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use peer_harness::{Result, Usage, Words, print};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use serde_json::json;
use tokio::io::Interest;

use crate::socket;

/// Where everybody listens unless told otherwise.
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 77, 2, 1), 7002);
/// Bytes of a packet's number, at its start.
const NUMBER: usize = 8;
/// Most bytes of several packets in one buffer, which the kernel takes for one UDP packet at first.
const LARGEST: usize = 65_507;
/// The sender has ended after so long without a packet.
const QUIET: Duration = Duration::from_millis(300);
/// How long a receiver waits for the first packet.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends as fast as it can for a time, to a group or to each of several addresses in turn.
pub(crate) fn send(mut words: Words) -> Result<()> {
    let own: Ipv4Addr = words.need("own", "ADDR")?;
    let to = socket::addresses(&words.get("to", GROUP.to_string())?)?;
    let segment: usize = words.get("segment", 1400)?;
    let segments: usize = words.get("segments", 46)?;
    let settle = Duration::from_millis(words.get("settle_ms", 300)?);
    let time = Duration::from_millis(words.get("time_ms", 1500)?);
    words.finish()?;
    if segment < NUMBER || segment.saturating_mul(segments) > LARGEST || segments == 0 {
        return Err(format!("{segments} segments of {segment} bytes do not fit {LARGEST} bytes").into());
    }
    let socket = socket::dial(own)?;
    let state = UdpSocketState::new((&socket).into())?;
    let offloaded = state.max_gso_segments();
    let segments = segments.min(offloaded);
    // quinn-udp made it non-blocking; nothing else is to be done here while the kernel is busy.
    socket.set_nonblocking(false)?;
    std::thread::sleep(settle);
    let mut buffer = vec![0xA5_u8; segment * segments];
    let (before, begun) = (Usage::now(), Instant::now());
    let mut number = 0_u64;
    while begun.elapsed() < time {
        for packet in buffer.chunks_mut(segment) {
            packet[..NUMBER].copy_from_slice(&number.to_be_bytes());
            number += 1;
        }
        for &destination in &to {
            let transmit = Transmit {
                destination: SocketAddr::V4(destination),
                ecn: None,
                contents: &buffer,
                segment_size: (segments > 1).then_some(segment),
                src_ip: None,
            };
            state.try_send((&socket).into(), &transmit)?;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    print(&json!({
        "case": "goodput",
        "role": "send",
        "segment": segment,
        "segments": segments,
        "packets": number,
        "seconds": seconds,
        "mb_per_second": number as f64 * segment as f64 / 1e6 / seconds,
        "cpu_seconds": (Usage::now().cpu - before.cpu).as_secs_f64(),
    }));
    Ok(())
}

/// Counts what arrives: after a warm-up that begins with the first packet, for a window. Then receives on until the
/// sender has ended, so that every receiver has the same company for its whole window.
pub(crate) fn receive(mut words: Words) -> Result<()> {
    let own: Ipv4Addr = words.need("own", "ADDR")?;
    let to = words.get("to", GROUP)?;
    let warmup = Duration::from_millis(words.get("warmup_ms", 200)?);
    let window = Duration::from_millis(words.get("window_ms", 1000)?);
    let mode = words.get("mode", "blocking".to_owned())?;
    words.finish()?;
    let socket = socket::listen(to, own)?;
    let state = UdpSocketState::new((&socket).into())?;
    let mut count = Count::new(warmup, window);
    print(&json!({ "ready": true }));
    match mode.as_str() {
        "blocking" => blocking(&socket, &state, &mut count)?,
        "tokio" => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(batches(socket, &state, &mut count))?,
        other => return Err(format!("unknown mode `{other}`").into()),
    }
    count.report(&mode, window)
}

/// One large buffer at a time, asleep in the kernel between them.
fn blocking(socket: &UdpSocket, state: &UdpSocketState, count: &mut Count) -> Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(QUIET))?;
    let mut buffer = vec![0; 1 << 16];
    let mut metas = [RecvMeta::default()];
    loop {
        match state.recv(socket.into(), &mut [IoSliceMut::new(&mut buffer)], &mut metas) {
            Ok(_) => count.add(&buffer, &metas[0]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if count.is_over()? {
                    return Ok(());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Several large buffers at a time, on tokio.
async fn batches(socket: UdpSocket, state: &UdpSocketState, count: &mut Count) -> Result<()> {
    const BUFFERS: usize = 8;
    let socket = tokio::net::UdpSocket::from_std(socket)?;
    let mut buffers = vec![vec![0; 1 << 16]; BUFFERS];
    let mut metas = [RecvMeta::default(); BUFFERS];
    loop {
        let mut slices: Vec<IoSliceMut<'_>> =
            buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        let received = tokio::time::timeout(
            QUIET,
            socket.async_io(Interest::READABLE, || {
                state.recv((&socket).into(), &mut slices, &mut metas)
            }),
        )
        .await;
        drop(slices);
        match received {
            Ok(received) => {
                for (buffer, meta) in buffers.iter().zip(&metas[..received?]) {
                    count.add(buffer, meta);
                }
            }
            Err(_) => {
                if count.is_over()? {
                    return Ok(());
                }
            }
        }
    }
}

/// What arrived.
struct Count {
    warmup: Duration,
    window: Duration,
    made: Instant,
    /// When the first packet came, and the usage when the window began.
    first: Option<Instant>,
    before: Option<Usage>,
    used: Option<Usage>,
    packets: u64,
    bytes: u64,
    buffers: u64,
    lowest: u64,
    highest: u64,
}

impl Count {
    fn new(warmup: Duration, window: Duration) -> Self {
        Count {
            warmup,
            window,
            made: Instant::now(),
            first: None,
            before: None,
            used: None,
            packets: 0,
            bytes: 0,
            buffers: 0,
            lowest: u64::MAX,
            highest: 0,
        }
    }

    /// A buffer with one or several packets of the same size.
    fn add(&mut self, buffer: &[u8], meta: &RecvMeta) {
        let now = Instant::now();
        let since = now - *self.first.get_or_insert(now);
        if since < self.warmup {
            return;
        }
        if since >= self.warmup + self.window {
            self.used.get_or_insert_with(Usage::now);
            return;
        }
        self.before.get_or_insert_with(Usage::now);
        let stride = meta.stride.max(1);
        self.packets += meta.len.div_ceil(stride) as u64;
        self.bytes += meta.len as u64;
        self.buffers += 1;
        // The last packet of a buffer has the highest number, and the first one the lowest.
        let number = |at: usize| {
            let bytes = buffer.get(at..)?.first_chunk::<NUMBER>()?;
            Some(u64::from_be_bytes(*bytes))
        };
        if let (Some(first), Some(last)) = (number(0), number((meta.len.saturating_sub(1)) / stride * stride))
        {
            self.lowest = self.lowest.min(first);
            self.highest = self.highest.max(last);
        }
    }

    fn is_over(&self) -> Result<bool> {
        if self.first.is_none() && self.made.elapsed() > PATIENCE {
            return Err(format!("no packet arrived within {PATIENCE:?}").into());
        }
        Ok(self.first.is_some())
    }

    fn report(&self, mode: &str, window: Duration) -> Result<()> {
        let (Some(before), Some(used)) = (self.before, self.used) else {
            return Err("the sender ended before the window did; give it more time_ms".into());
        };
        let sent = self.highest.saturating_sub(self.lowest) + 1;
        print(&json!({
            "case": "goodput",
            "role": "receive",
            "mode": mode,
            "packets": self.packets,
            "lost": sent.saturating_sub(self.packets),
            "seconds": window.as_secs_f64(),
            "mb_per_second": self.bytes as f64 / 1e6 / window.as_secs_f64(),
            "packets_per_buffer": self.packets as f64 / self.buffers.max(1) as f64,
            "cpu_seconds": used.cpu.saturating_sub(before.cpu).as_secs_f64(),
        }));
        Ok(())
    }
}
