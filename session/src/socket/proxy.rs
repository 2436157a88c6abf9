//! A socket joined to another: proxy, devices, monitored queue.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use flexbond_transport::{Frame, Message};
use flexbond_wire::zmtp::SocketType;
use thiserror::Error;

use super::{Dealer, Pull, Push, RecvError, Router, SendErrorKind, Socket, XPub, XSub};

/// Messages that one direction moves before the other gets its turn.
const TURN: usize = 64;
/// Turns of both directions before other tasks on the thread get theirs.
const ROUNDS: usize = 4;

/// Passes messages between two sockets, both ways as far as their patterns can (`zmq_proxy`).
///
/// A message is taken from one side only when the other side's previous one is gone, so a slow side holds back the
/// other instead of losing messages; the high-water marks of both sockets apply.
///
/// ```no_run
/// use flexbond_session::socket::{Dealer, Proxy, Router};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let (clients, workers) = (Router::new(), Dealer::new());
/// clients.bind("tcp://*:5559").await?;
/// workers.bind("tcp://*:5560").await?;
/// let traffic = Proxy::queue(&clients, &workers).run().await?;
/// println!("{traffic}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    forward: Direction,
    backward: Direction,
    capture: Option<Capture>,
    control: Option<Socket>,
    paused: bool,
}

/// What a proxy has passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// From the frontend to the backend.
    pub forward: Passed,
    /// From the backend to the frontend.
    pub backward: Passed,
}

/// What a proxy has passed on in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passed {
    /// Messages.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Messages that the receiving side refused for good (a ROUTER's unknown peer, for example).
    pub refused: u64,
}

/// Why a proxy ended early. What it had taken and not passed on is kept; another [`Proxy::run`] goes on with it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// Neither side can pass anything to the other.
    #[error("a {frontend} and a {backend} socket have nothing to pass to each other")]
    Pattern {
        /// The frontend's pattern.
        frontend: SocketType,
        /// The backend's pattern.
        backend: SocketType,
    },
    /// One of the sockets was closed.
    #[error("the {side} socket of the proxy is closed")]
    Closed {
        /// `frontend`, `backend`, `capture` or `control`.
        side: &'static str,
    },
}

/// A command from the control socket (`zmq_proxy_steerable`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Pause,
    Resume,
    Terminate,
    Statistics,
}

#[derive(Debug)]
struct Direction {
    from: Socket,
    to: Socket,
    sides: (&'static str, &'static str),
    active: bool,
    /// Both sides are ROUTERs: the two routing ids in front change places.
    swap_ids: bool,
    prefix: Option<Bytes>,
    /// Taken from one side, not yet passed on.
    slot: Option<Message>,
    passed: Passed,
}

#[derive(Debug)]
struct Capture {
    socket: Socket,
    /// Waits for the capture socket to take it.
    slot: Option<Message>,
}

fn receives(socket_type: SocketType) -> bool {
    !matches!(socket_type, SocketType::Push | SocketType::Pub)
}

fn sends(socket_type: SocketType) -> bool {
    !matches!(socket_type, SocketType::Pull | SocketType::Sub)
}

impl Proxy {
    /// Joins two sockets.
    #[must_use]
    pub fn new(frontend: impl AsRef<Socket>, backend: impl AsRef<Socket>) -> Self {
        let (frontend, backend) = (frontend.as_ref(), backend.as_ref());
        Proxy {
            forward: Direction::new(frontend, backend, ("frontend", "backend")),
            backward: Direction::new(backend, frontend, ("backend", "frontend")),
            capture: None,
            control: None,
            paused: false,
        }
    }

    /// The device QUEUE: requests of many clients to many workers, replies back.
    #[must_use]
    pub fn queue(clients: &Router, workers: &Dealer) -> Self {
        Proxy::new(clients, workers)
    }

    /// The device FORWARDER: what publishers send to all subscribers, subscriptions back.
    #[must_use]
    pub fn forwarder(publishers: &XSub, subscribers: &XPub) -> Self {
        Proxy::new(publishers, subscribers)
    }

    /// The device STREAMER: tasks of many producers to many workers.
    #[must_use]
    pub fn streamer(producers: &Pull, workers: &Push) -> Self {
        Proxy::new(producers, workers)
    }

    /// pyzmq's monitored queue: every message goes to `monitor` too, with `in_prefix` (from the frontend) or
    /// `out_prefix` (from the backend) in front. Between two ROUTERs the first two frames change places, so that a
    /// message `[from, to, …]` leaves as `[to, from, …]`.
    #[must_use]
    pub fn monitored_queue(
        frontend: impl AsRef<Socket>,
        backend: impl AsRef<Socket>,
        monitor: impl AsRef<Socket>,
        in_prefix: impl Into<Bytes>,
        out_prefix: impl Into<Bytes>,
    ) -> Self {
        let mut proxy = Proxy::new(frontend, backend).capture(monitor);
        proxy.forward.prefix = Some(in_prefix.into());
        proxy.backward.prefix = Some(out_prefix.into());
        proxy
    }

    /// Sends a copy of every message to `socket` (PUB, PUSH, DEALER or PAIR) before it is passed on.
    ///
    /// A PUB never holds up the proxy; a PUSH does while nobody has room, so that no message goes uncaptured.
    #[must_use]
    pub fn capture(mut self, socket: impl AsRef<Socket>) -> Self {
        self.capture = Some(Capture {
            socket: socket.as_ref().clone(),
            slot: None,
        });
        self
    }

    /// Obeys the commands `PAUSE`, `RESUME`, `TERMINATE` and `STATISTICS` that come by `socket` (PAIR, PULL, SUB or
    /// REP). `STATISTICS` is answered with eight 64-bit numbers in native byte order, one a frame: messages and
    /// bytes received and sent by the frontend, then by the backend, as libzmq does it. A REP answers the other
    /// commands with an empty message.
    #[must_use]
    pub fn control(mut self, socket: impl AsRef<Socket>) -> Self {
        self.control = Some(socket.as_ref().clone());
        self
    }

    /// What was passed on so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            forward: self.forward.passed,
            backward: self.backward.passed,
        }
    }

    /// Passes messages until `TERMINATE`, or until a socket is closed.
    ///
    /// # Errors
    /// [`ProxyError`]; closing one of the sockets is the usual way to end a proxy without a control socket.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what was taken and not passed on stays in the proxy, and another call goes
    /// on with it.
    pub async fn run(&mut self) -> Result<Traffic, ProxyError> {
        if !self.forward.active && !self.backward.active {
            return Err(ProxyError::Pattern {
                frontend: self.forward.from.socket_type(),
                backend: self.forward.to.socket_type(),
            });
        }
        poll_fn(|cx| self.poll_run(cx)).await
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Result<Traffic, ProxyError>> {
        while let Some(command) = self.poll_command(cx)? {
            match command {
                Command::Pause => self.paused = true,
                Command::Resume => self.paused = false,
                Command::Terminate => return Poll::Ready(Ok(self.traffic())),
                Command::Statistics => {}
            }
        }
        if self.paused {
            return Poll::Pending;
        }
        for _ in 0..ROUNDS {
            // Both until neither moves: what one direction passes on may be what the other waits for, as between a
            // REP and a REQ, and only a socket that has nothing remembers to wake this task.
            let forward = self.forward.poll_turn(cx, &mut self.capture)?;
            let backward = self.backward.poll_turn(cx, &mut self.capture)?;
            if !forward && !backward {
                return Poll::Pending;
            }
        }
        // Others on this thread go first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The next command, already answered if the control socket answers.
    fn poll_command(&mut self, cx: &mut Context<'_>) -> Result<Option<Command>, ProxyError> {
        let Some(control) = &self.control else {
            return Ok(None);
        };
        loop {
            let message = match control.poll_recv(cx) {
                Poll::Ready(Ok((message, _))) => message,
                Poll::Ready(Err(RecvError::Closed)) => return Err(ProxyError::Closed { side: "control" }),
                Poll::Ready(Err(_)) | Poll::Pending => return Ok(None),
            };
            let command = match message.get(0).map(Frame::as_slice) {
                Some(b"PAUSE") => Some(Command::Pause),
                Some(b"RESUME") => Some(Command::Resume),
                Some(b"TERMINATE") => Some(Command::Terminate),
                Some(b"STATISTICS") => Some(Command::Statistics),
                _ => None,
            };
            let answers = control.socket_type() == SocketType::Rep;
            if command == Some(Command::Statistics) && sends(control.socket_type()) {
                let _ = control.try_send(self.statistics());
            } else if answers {
                let _ = control.try_send(Frame::new());
            }
            if command.is_some() {
                return Ok(command);
            }
        }
    }

    fn statistics(&self) -> Message {
        let Traffic { forward, backward } = self.traffic();
        let frontend = [forward.messages, forward.bytes, backward.messages, backward.bytes];
        let backend = [backward.messages, backward.bytes, forward.messages, forward.bytes];
        frontend
            .iter()
            .chain(&backend)
            .map(|number| Frame::copy_from_slice(&number.to_ne_bytes()))
            .collect()
    }
}

impl Direction {
    fn new(from: &Socket, to: &Socket, sides: (&'static str, &'static str)) -> Self {
        Direction {
            active: receives(from.socket_type()) && sends(to.socket_type()),
            swap_ids: from.socket_type() == SocketType::Router && to.socket_type() == SocketType::Router,
            from: from.clone(),
            to: to.clone(),
            sides,
            prefix: None,
            slot: None,
            passed: Passed::default(),
        }
    }

    /// Moves up to a turn of messages; true if any moved.
    fn poll_turn(&mut self, cx: &mut Context<'_>, capture: &mut Option<Capture>) -> Result<bool, ProxyError> {
        if !self.active {
            return Ok(false);
        }
        let mut moved = false;
        for _ in 0..TURN {
            if let Some(capture) = capture
                && !capture.poll_empty(cx)?
            {
                break;
            }
            if self.slot.is_none() {
                let Some(message) = self.poll_take(cx)? else { break };
                moved = true;
                if let Some(capture) = capture {
                    capture.slot = Some(self.prefixed(&message));
                }
                self.slot = Some(message);
                continue;
            }
            if !self.poll_pass(cx)? {
                break;
            }
            moved = true;
        }
        Ok(moved)
    }

    fn poll_take(&mut self, cx: &mut Context<'_>) -> Result<Option<Message>, ProxyError> {
        match self.from.poll_recv(cx) {
            Poll::Ready(Ok((message, _))) => Ok(Some(self.turned(message))),
            Poll::Ready(Err(RecvError::Closed)) => Err(ProxyError::Closed { side: self.sides.0 }),
            Poll::Ready(Err(_)) | Poll::Pending => Ok(None),
        }
    }

    /// Sends what is in the slot; false while there is no room.
    fn poll_pass(&mut self, cx: &mut Context<'_>) -> Result<bool, ProxyError> {
        let size = self.slot.as_ref().map_or(0, Message::size) as u64;
        match self.to.poll_send(cx, &mut self.slot) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(())) => {
                self.passed.messages += 1;
                self.passed.bytes += size;
            }
            Poll::Ready(Err(error)) if *error.kind() == SendErrorKind::Closed => {
                self.slot = Some(error.into_message());
                return Err(ProxyError::Closed { side: self.sides.1 });
            }
            Poll::Ready(Err(_)) => self.passed.refused += 1,
        }
        Ok(true)
    }

    fn turned(&self, message: Message) -> Message {
        if !self.swap_ids || message.len() < 2 {
            return message;
        }
        let mut frames = message.into_frames();
        frames.swap(0, 1);
        Message::from(frames)
    }

    fn prefixed(&self, message: &Message) -> Message {
        let mut copy = message.clone();
        if let Some(prefix) = &self.prefix {
            copy.push_front(prefix.clone());
        }
        copy
    }
}

impl Capture {
    /// Sends what is in the slot; true if it is empty then.
    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Result<bool, ProxyError> {
        match self.socket.poll_send(cx, &mut self.slot) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) if *error.kind() == SendErrorKind::Closed => {
                Err(ProxyError::Closed { side: "capture" })
            }
            Poll::Ready(_) => Ok(true),
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic { forward, backward } = self;
        write!(
            f,
            "{} messages ({} bytes) forward, {} messages ({} bytes) backward",
            forward.messages, forward.bytes, backward.messages, backward.bytes
        )
    }
}
