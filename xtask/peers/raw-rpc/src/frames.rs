//! Many frames under way, each with its length before it.

use std::sync::Arc;

use peer_harness::rpc::{Args, measure};
use peer_harness::{Meter, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes that are read at once.
const ROOM: usize = 256 << 10;
/// Bytes of a length.
const PREFIX: usize = 4;

/// What came and is not complete yet.
struct Incoming {
    bytes: Vec<u8>,
    len: usize,
}

impl Incoming {
    fn new() -> Self {
        Incoming {
            bytes: vec![0; ROOM],
            len: 0,
        }
    }

    /// Waits for more, and hands over each complete frame. False at the end.
    async fn read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        mut each: impl FnMut(&[u8]),
    ) -> Result<bool> {
        let read = stream.read(&mut self.bytes[self.len..]).await?;
        self.len += read;
        let mut at = 0;
        while let Some((prefix, rest)) = self.bytes[at..self.len].split_first_chunk::<PREFIX>() {
            let Some(frame) = rest.get(..u32::from_le_bytes(*prefix) as usize) else {
                break;
            };
            each(frame);
            at += PREFIX + frame.len();
        }
        self.bytes.copy_within(at..self.len, 0);
        self.len -= at;
        Ok(read > 0)
    }
}

fn push(out: &mut Vec<u8>, frame: &[u8]) {
    out.extend_from_slice(&(frame.len() as u32).to_le_bytes());
    out.extend_from_slice(frame);
}

/// Sends back whatever comes, what came at once at once.
pub(super) async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let (mut incoming, mut out) = (Incoming::new(), Vec::with_capacity(ROOM));
    while let Ok(true) = incoming.read(&mut stream, |frame| push(&mut out, frame)).await {
        if stream.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
    }
}

/// Keeps as many under way as the case has.
pub(super) async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    args: &Args,
    meter: &Arc<Meter>,
) -> Result<()> {
    let (mut incoming, mut out) = (Incoming::new(), Vec::with_capacity(ROOM));
    let block = vec![0xA5; args.size];
    for _ in 0..args.in_flight {
        push(&mut out, &block);
    }
    measure(args, meter);
    loop {
        stream.write_all(&out).await?;
        out.clear();
        let mut back = 0;
        incoming
            .read(&mut stream, |_| {
                back += 1;
                push(&mut out, &block);
            })
            .await?;
        meter.counter(0).add(back);
    }
}
