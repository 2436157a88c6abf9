//! A cable that can be pulled: passes the bytes of connections on, or keeps them without a word.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// How often to look whether the cable is in.
const LOOK: Duration = Duration::from_millis(10);

/// Between a program and its peers.
pub(super) struct Relay {
    address: SocketAddr,
    wires: Arc<Wires>,
}

#[derive(Default)]
struct Wires {
    /// Nothing passes, and nobody is told.
    is_cut: AtomicBool,
    is_over: AtomicBool,
    /// Everything that was said to the server, one connection after the other, if it is kept.
    said: Option<Mutex<Vec<Vec<u8>>>>,
}

impl Relay {
    /// In front of `server`. With `keeps`, what clients say is remembered.
    ///
    /// # Errors
    /// When the system has no port for it.
    pub(super) fn to(server: SocketAddr, keeps: bool) -> Result<Relay> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for a relay")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let wires = Arc::new(Wires {
            said: keeps.then(Mutex::default),
            ..Wires::default()
        });
        let shared = Arc::clone(&wires);
        thread::spawn(move || {
            while !shared.is_over.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((near, _)) => connect(near, server, &shared),
                    Err(_) => thread::sleep(LOOK),
                }
            }
        });
        Ok(Relay { address, wires })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn cut(&self, is_cut: bool) {
        self.wires.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// What each connection said to the server.
    pub(super) fn said(&self) -> Vec<Vec<u8>> {
        let said = self.wires.said.as_ref();
        said.map(|said| said.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .unwrap_or_default()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.wires.is_over.store(true, Ordering::SeqCst);
    }
}

fn connect(near: TcpStream, server: SocketAddr, wires: &Arc<Wires>) {
    let Ok(far) = TcpStream::connect(server) else {
        return;
    };
    let index = wires.said.as_ref().map(|said| {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.push(Vec::new());
        said.len() - 1
    });
    let streams = (near.try_clone(), far.try_clone());
    let (Ok(near_again), Ok(far_again)) = streams else {
        return;
    };
    let _ = near.set_nonblocking(false);
    for (from, to, index) in [(near, far, index), (far_again, near_again, None)] {
        let wires = Arc::clone(wires);
        thread::spawn(move || carry(from, to, index, &wires));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, index: Option<usize>, wires: &Wires) {
    let _ = from.set_read_timeout(Some(LOOK));
    let mut bytes = [0; 16 << 10];
    while !wires.is_over.load(Ordering::SeqCst) {
        let read = from.read(&mut bytes);
        // What was read before the cut comes after it. An end is not told either.
        while wires.is_cut.load(Ordering::SeqCst) && !wires.is_over.load(Ordering::SeqCst) {
            thread::sleep(LOOK);
        }
        match read {
            Ok(0) => break,
            Ok(count) => {
                if let (Some(index), Some(said)) = (index, &wires.said) {
                    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                    said[index].extend_from_slice(&bytes[..count]);
                }
                if to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_passes_and_waits_while_the_cable_is_out() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay::to(server.local_addr().unwrap(), true).unwrap();
        let mut near = TcpStream::connect(relay.address()).unwrap();
        let (mut far, _) = server.accept().unwrap();
        far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        near.write_all(b"one").unwrap();
        let mut got = [0; 3];
        far.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"one");
        relay.cut(true);
        near.write_all(b"two").unwrap();
        far.set_read_timeout(Some(Duration::from_millis(60))).unwrap();
        assert!(far.read(&mut got).is_err(), "it came through");
        relay.cut(false);
        far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        far.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"two");
        assert_eq!(relay.said(), [b"onetwo"]);
    }
}
