//! The byte stream of an established connection, and its handshake before.

use std::fmt;
use std::io::{self, BufRead, IoSlice, Write};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use parking_lot::Mutex;
use rustls::Connection;
use tokio::net::TcpStream;

use super::{TlsError, identity};
use crate::readiness::read_noting_drained;
use crate::{ByteStream, Keepalive, PeerIdentity};

/// What is read from the system at once: four records of the largest size. rustls itself would ask for 4 KiB.
const READ: usize = 64 << 10;
/// What is read at once where nobody waits: a record of the largest size, on the stack.
const AT_ONCE: usize = 16 << 10;

/// With what a peer begins who speaks TLS: a handshake, or an alert (RFC 8446, section 5.1).
const BEGINNINGS: [u8; 2] = [22, 21];

/// TLS over a tcp stream.
///
/// Both directions share what rustls knows of the connection. Its lock is held for the length of a poll, to encrypt, to
/// decrypt and for system calls that do not wait; never while waiting.
pub(super) struct TlsStream {
    io: TcpStream,
    state: Mutex<State>,
    /// This end has a certificate to show; it tells what an alert means.
    has_identity: bool,
}

struct State {
    tls: Connection,
    /// What was read and not yet decrypted. Holds no memory while nothing comes.
    input: BytesMut,
    /// The peer has shown that it speaks TLS.
    greeted: bool,
    /// Nothing more comes from the system.
    ended: bool,
    /// This end has said its farewell.
    closed: bool,
    /// Why nothing more is decrypted; what was decrypted before can still be read.
    failed: Option<rustls::Error>,
}

impl TlsStream {
    pub(super) fn new(io: TcpStream, tls: Connection, has_identity: bool) -> Self {
        TlsStream {
            io,
            state: Mutex::new(State {
                tls,
                input: BytesMut::new(),
                greeted: false,
                ended: false,
                closed: false,
                failed: None,
            }),
            has_identity,
        }
    }

    /// Who the peer has proved to be, once the handshake is over. `is_limited`: those who are trusted here may have issued
    /// certificates for some names only.
    pub(super) fn peer_identity(&self, is_limited: bool) -> Option<PeerIdentity> {
        identity::of_chain(self.state.lock().tls.peer_certificates()?, is_limited)
    }

    /// Brings the handshake to its end. The last of this end's messages is out then, too. Calls `moved` whenever the peer
    /// has said something that this end had waited for.
    pub(super) fn poll_handshake(
        &self,
        cx: &mut Context<'_>,
        moved: &impl Fn(),
    ) -> Poll<Result<(), TlsError>> {
        let state = &mut *self.state.lock();
        loop {
            // An alert that says why should reach the peer, but need not.
            let written = state.poll_transmit(&self.io, Some(cx));
            if let Some(error) = &state.failed {
                return Poll::Ready(Err(self.meaning(error)));
            }
            match written {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.reason(state, error))),
                Poll::Ready(Ok(())) if !state.tls.is_handshaking() => return Poll::Ready(Ok(())),
                Poll::Pending if !state.tls.is_handshaking() => return Poll::Pending,
                _ => {}
            }
            if state.ended {
                return Poll::Ready(Err(TlsError::Closed));
            }
            let had_answer = state.tls.wants_write();
            ready!(state.poll_receive(&self.io, Some(cx))).map_err(TlsError::Io)?;
            if !had_answer && state.tls.wants_write() {
                moved();
            }
            if !state.greeted {
                return Poll::Ready(Err(if state.ended {
                    TlsError::Closed
                } else {
                    TlsError::NotTls
                }));
            }
        }
    }

    /// Hands at most `room` decrypted bytes to `put`.
    fn poll_plain(
        &self,
        mut cx: Option<&mut Context<'_>>,
        room: usize,
        mut put: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.state.lock();
        let mut count = 0;
        loop {
            while count < room {
                let mut reader = state.tls.reader();
                match reader.fill_buf() {
                    Ok([]) => return Poll::Ready(Ok(count)),
                    Ok(chunk) => {
                        let taken = chunk.len().min(room - count);
                        put(&chunk[..taken]);
                        reader.consume(taken);
                        count += taken;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) if count > 0 => return Poll::Ready(Ok(count)),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        return Poll::Ready(Err(TlsError::Truncated.into_io()));
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            // Before the system is asked, which may have nothing, what is there is handed over.
            if count > 0 && (count == room || state.input.is_empty() || state.failed.is_some()) {
                return Poll::Ready(Ok(count));
            }
            if let Some(error) = &state.failed {
                return Poll::Ready(Err(self.meaning(error).into_io()));
            }
            ready!(state.poll_receive(&self.io, cx.as_deref_mut()))?;
        }
    }

    /// Encrypts what there is room for, once all that came before is out.
    fn write(&self, state: &mut State, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if let Some(error) = &state.failed {
            return Err(self.meaning(error).into_io());
        }
        let count = match slices {
            [slice] => state.tls.writer().write(slice)?,
            slices => state.tls.writer().write_vectored(slices)?,
        };
        // What the system does not take now, the next write or flush pushes out; so it does with an error.
        let _ = state.poll_transmit(&self.io, None);
        Ok(count)
    }

    fn meaning(&self, error: &rustls::Error) -> TlsError {
        TlsError::of(error.clone(), self.has_identity)
    }

    /// Why writing failed: a peer that refuses says so, and closes; that it does not read any more is the lesser news.
    fn reason(&self, state: &mut State, error: io::Error) -> TlsError {
        if state.failed.is_none() && state.input.is_empty() {
            state.input.reserve(READ);
            let _ = self.io.try_read_buf(&mut state.input);
        }
        while state.failed.is_none() && !state.input.is_empty() {
            match state.decrypt() {
                Ok(1..) => {}
                _ => break,
            }
        }
        match &state.failed {
            Some(error) => self.meaning(error),
            None => TlsError::Io(error),
        }
    }
}

impl State {
    /// Sends what is encrypted. Without a task to wake, what the system takes at this moment.
    fn poll_transmit(&mut self, io: &TcpStream, mut cx: Option<&mut Context<'_>>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            if let Some(cx) = &mut cx {
                ready!(io.poll_write_ready(cx))?;
            }
            let mut outlet = Outlet(|slices: &[IoSlice<'_>]| ByteStream::try_write(io, slices));
            match self.tls.write_tls(&mut outlet) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if cx.is_none() {
                        return Poll::Pending;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(_) => {}
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Decrypts a piece of what was read, or else of what the system has. Without a task to wake, what it has at this
    /// moment.
    fn poll_receive(&mut self, io: &TcpStream, cx: Option<&mut Context<'_>>) -> Poll<io::Result<()>> {
        if self.input.is_empty() {
            let read = match cx {
                Some(cx) => self.poll_read(io, cx),
                None => self.read_now(io),
            };
            let Poll::Ready(read) = read else {
                // Most connections are idle most of the time.
                self.input = BytesMut::new();
                return Poll::Pending;
            };
            if read? == 0 {
                self.ended = true;
                self.tls.read_tls(&mut io::empty())?;
            } else if !self.greeted {
                self.greeted = BEGINNINGS.contains(&self.input[0]);
                if !self.greeted {
                    return Poll::Ready(Ok(()));
                }
            }
        }
        self.decrypt()?;
        if self.failed.is_some() {
            let _ = self.poll_transmit(io, None);
        }
        Poll::Ready(Ok(()))
    }

    /// Past the runtime's notes of what is ready.
    fn read_now(&mut self, io: &TcpStream) -> Poll<io::Result<usize>> {
        let mut piece = [0; AT_ONCE];
        loop {
            match io.read_now(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    let count = read?;
                    self.input.extend_from_slice(&piece[..count]);
                    return Poll::Ready(Ok(count));
                }
            }
        }
    }

    fn poll_read(&mut self, io: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(READ);
        loop {
            ready!(io.poll_read_ready(cx))?;
            let room = self.input.capacity();
            let read = read_noting_drained(
                room,
                || io.try_read_buf(&mut self.input),
                |interest, read| io.try_io(interest, read),
            );
            match read {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                read => return Poll::Ready(read),
            }
        }
    }

    /// Hands rustls a piece of what was read; returns how large it was. To be called when nothing decrypted waits.
    fn decrypt(&mut self) -> io::Result<usize> {
        let taken = match self.input.is_empty() {
            true => 0,
            false => self.tls.read_tls(&mut &self.input[..])?,
        };
        self.input.advance(taken);
        if let Err(error) = self.tls.process_new_packets() {
            self.failed = Some(error);
        }
        Ok(taken)
    }
}

/// Where rustls puts what it has encrypted.
struct Outlet<F>(F);

impl<F: FnMut(&[IoSlice<'_>]) -> io::Result<usize>> Write for Outlet<F> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ByteStream for TlsStream {
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = buffer.chunk_mut().len();
        self.poll_plain(Some(cx), room, |bytes| buffer.put_slice(bytes))
    }

    fn poll_read_into(&self, cx: &mut Context<'_>, target: &mut [u8]) -> Poll<io::Result<usize>> {
        let room = target.len();
        let mut target = target;
        self.poll_plain(Some(cx), room, |bytes| target.put_slice(bytes))
    }

    fn read_now(&self, target: &mut [u8]) -> io::Result<usize> {
        let room = target.len();
        let mut target = target;
        match self.poll_plain(None, room, |bytes| target.put_slice(bytes)) {
            Poll::Ready(read) => read,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let state = &mut *self.state.lock();
        if let Err(error) = ready!(state.poll_transmit(&self.io, Some(cx))) {
            return Poll::Ready(Err(self.reason(state, error).into_io()));
        }
        let count = self.write(state, slices)?;
        if count == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        Poll::Ready(Ok(count))
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let state = &mut *self.state.lock();
        match state.poll_transmit(&self.io, None) {
            Poll::Ready(Ok(())) => self.write(state, slices),
            Poll::Ready(Err(error)) => Err(self.reason(state, error).into_io()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn set_keepalive(&self, keepalive: &Keepalive) -> io::Result<()> {
        self.io.set_keepalive(keepalive)
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.state.lock();
        match ready!(state.poll_transmit(&self.io, Some(cx))) {
            Err(error) => Poll::Ready(Err(self.reason(state, error).into_io())),
            flushed => Poll::Ready(flushed),
        }
    }

    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.state.lock();
        if !state.closed {
            state.closed = true;
            state.tls.send_close_notify();
        }
        ready!(state.poll_transmit(&self.io, Some(cx)))?;
        ByteStream::poll_shutdown(&self.io, cx)
    }
}

impl Drop for TlsStream {
    /// The farewell, if the system takes it at once: the peer then knows that it has everything.
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if !state.closed && state.failed.is_none() && !state.tls.is_handshaking() {
            state.tls.send_close_notify();
        }
        let io = &self.io;
        let mut outlet = Outlet(|slices: &[IoSlice<'_>]| io.write_now(slices));
        while state.tls.wants_write() && matches!(state.tls.write_tls(&mut outlet), Ok(1..)) {}
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").finish_non_exhaustive()
    }
}
