//! Blocking streams, one way.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;

use nix::sys::socket::{setsockopt, sockopt};
use peer_harness::{Args, Go, Meter, Result, print};
use serde_json::json;

/// Bytes of a write or read, for messages smaller than that.
const BLOCK: usize = 64 << 10;
/// Messages from this size on are written from their own memory.
const LARGE: usize = 16 << 10;

/// A connected stream of either kind.
pub(crate) trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// Listens, announces it, and returns the connections.
pub(crate) fn accept(args: &Args) -> Result<Vec<Box<dyn Stream>>> {
    let announce = |endpoint: &str| print(&json!({ "bound": endpoint }));
    if let Some(path) = args.endpoint.strip_prefix("ipc://") {
        let listener = UnixListener::bind(path)?;
        announce(&args.endpoint);
        return (0..args.peers)
            .map(|_| Ok(Box::new(listener.accept()?.0) as Box<dyn Stream>))
            .collect();
    }
    let listener = TcpListener::bind(args.endpoint.trim_start_matches("tcp://"))?;
    announce(&format!("tcp://{}", listener.local_addr()?));
    (0..args.peers)
        .map(|_| {
            let stream = listener.accept()?.0;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
        .collect()
}

/// One connection to the endpoint.
pub(crate) fn dial(args: &Args) -> Result<Box<dyn Stream>> {
    if let Some(path) = args.endpoint.strip_prefix("ipc://") {
        let stream = UnixStream::connect(path)?;
        // As the contenders that set it do: the system's default makes large writes wait for the reader.
        setsockopt(&stream, sockopt::SndBuf, &(1 << 20))?;
        return Ok(Box::new(stream));
    }
    let stream = TcpStream::connect(args.endpoint.trim_start_matches("tcp://"))?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// Reads from all connections and counts whole messages.
pub(crate) fn receive(args: &Args, meter: &Arc<Meter>) -> Result<()> {
    let streams = accept(args)?;
    meter.measure(args);
    thread::scope(|scope| {
        for (index, mut stream) in streams.into_iter().enumerate() {
            scope.spawn(move || {
                let mut block = vec![0; BLOCK.max(args.size.min(4 * BLOCK))];
                let mut partial = 0;
                loop {
                    match stream.read(&mut block) {
                        // The bench has ended the sender.
                        Ok(0) | Err(_) => return,
                        Ok(read) => {
                            partial += read;
                            meter.counter(index).add((partial / args.size) as u64);
                            partial %= args.size;
                        }
                    }
                }
            });
        }
    });
    Ok(())
}

/// Writes to all connections until the program ends.
pub(crate) fn send(args: &Args, go: Go) -> Result<()> {
    let streams = (0..args.peers).map(|_| dial(args)).collect::<Result<Vec<_>>>()?;
    print(&json!({ "ready": true }));
    thread::scope(|scope| {
        for mut stream in streams {
            let mut go = go.clone();
            scope.spawn(move || {
                go.wait_blocking();
                let part = vec![0xA5_u8; args.size];
                let mut block = Vec::with_capacity(BLOCK + args.size);
                loop {
                    let written = if args.size >= LARGE {
                        let message = part.clone();
                        stream.write_all(&message)
                    } else {
                        block.clear();
                        while block.len() < BLOCK {
                            block.extend_from_slice(&part);
                        }
                        stream.write_all(&block)
                    };
                    if written.is_err() {
                        // The receiver has measured and left.
                        thread::park();
                    }
                }
            });
        }
    });
    Ok(())
}
