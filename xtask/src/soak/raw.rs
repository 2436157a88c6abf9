//! A ØMQ peer of bare bytes, which can also speak wrongly, slowly or not at all.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Frame flags (RFC 37).
pub(super) const MORE: u8 = 1;
pub(super) const LONG: u8 = 2;
pub(super) const COMMAND: u8 = 4;

/// How long one read or write may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// No frame of a test is longer.
const LONGEST: usize = 64 << 20;

/// A connection to a program under test.
pub(super) struct Raw {
    stream: TcpStream,
}

impl Raw {
    pub(super) fn connect(address: SocketAddr) -> io::Result<Raw> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Raw { stream })
    }

    /// The other end of a connection that was accepted here.
    pub(super) fn accepted(stream: TcpStream) -> io::Result<Raw> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Raw { stream })
    }

    /// This end's address, as the other side sees it.
    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// A peer of this socket type, past its handshake with the NULL mechanism.
    pub(super) fn peer(address: SocketAddr, socket_type: &str) -> io::Result<Raw> {
        let mut raw = Raw::connect(address)?;
        raw.send(&[greeting(1, "NULL"), ready(socket_type, &[])].concat())?;
        // The other's answers are read: bytes left unread would make a reset of the end, which overtakes messages.
        raw.greeted()?;
        Ok(raw)
    }

    /// Reads a greeting and a READY.
    pub(super) fn greeted(&mut self) -> io::Result<()> {
        let mut greeting = [0; 64];
        self.stream.read_exact(&mut greeting)?;
        let (flags, body) = self.frame()?;
        if flags & COMMAND == 0 || !body.starts_with(b"\x05READY") {
            let text = String::from_utf8_lossy(&body).into_owned();
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("no READY: {text}"),
            ));
        }
        Ok(())
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads so many bytes.
    pub(super) fn read(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a frame: flags and body.
    pub(super) fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let flags = self.read(1)?[0];
        let size = if flags & LONG == 0 {
            usize::from(self.read(1)?[0])
        } else {
            let mut size = [0; 8];
            self.stream.read_exact(&mut size)?;
            usize::try_from(u64::from_be_bytes(size)).unwrap_or(usize::MAX)
        };
        if size > LONGEST {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("a frame of {size} bytes"),
            ));
        }
        Ok((flags, self.read(size)?))
    }

    /// Reads a message; commands are passed over.
    pub(super) fn message(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut parts = Vec::new();
        loop {
            let (flags, body) = self.frame()?;
            if flags & COMMAND != 0 {
                continue;
            }
            parts.push(body);
            if flags & MORE == 0 {
                return Ok(parts);
            }
        }
    }

    /// Everything until the other side ends the connection, as text.
    pub(super) fn rest(&mut self) -> anyhow::Result<String> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// How many messages come until none does for so long.
    pub(super) fn messages_left(mut self, quiet: Duration) -> u64 {
        let mut count = 0;
        if self.stream.set_read_timeout(Some(quiet)).is_ok() {
            while self.message().is_ok() {
                count += 1;
            }
        }
        count
    }

    /// Whether the other side ends the connection within `limit`, however it does.
    pub(super) fn is_cut(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut bytes = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
                return false;
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return false;
                }
                Err(_) => return true,
            }
        }
    }
}

/// A greeting of ZMTP 3.
pub(super) fn greeting(minor: u8, mechanism: &str) -> Vec<u8> {
    let mut greeting = vec![0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, minor];
    greeting.extend_from_slice(mechanism.as_bytes());
    greeting.resize(64, 0);
    greeting
}

/// A frame in the shortest form.
pub(super) fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = match u8::try_from(body.len()) {
        Ok(size) => vec![flags, size],
        Err(_) => [&[flags | LONG][..], &(body.len() as u64).to_be_bytes()].concat(),
    };
    frame.extend_from_slice(body);
    frame
}

/// A command; its name is shorter than 256 bytes.
pub(super) fn command(name: &str, data: &[u8]) -> Vec<u8> {
    frame(COMMAND, &[&[name.len() as u8], name.as_bytes(), data].concat())
}

/// A property of a READY; its name is shorter than 256 bytes.
pub(super) fn property(name: &str, value: &[u8]) -> Vec<u8> {
    let size = (value.len() as u32).to_be_bytes();
    [&[name.len() as u8], name.as_bytes(), &size, value].concat()
}

/// A READY for this socket type, with more properties if any.
pub(super) fn ready(socket_type: &str, more: &[(&str, &[u8])]) -> Vec<u8> {
    let mut properties = property("Socket-Type", socket_type.as_bytes());
    for (name, value) in more {
        properties.extend(property(name, value));
    }
    command("READY", &properties)
}

/// The frames of a message.
pub(super) fn message(parts: &[&[u8]]) -> Vec<u8> {
    let last = parts.len().saturating_sub(1);
    parts
        .iter()
        .enumerate()
        .flat_map(|(i, part)| frame(if i < last { MORE } else { 0 }, part))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_their_shortest_form() {
        assert_eq!(message(&[b"a", b""]), [1, 1, b'a', 0, 0]);
        assert_eq!(frame(0, &[7; 256])[..9], [2, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(greeting(1, "NULL").len(), 64);
        assert_eq!(ready("PUSH", &[])[..8], *b"\x04\x1a\x05READY");
    }
}
