//! libzmq as a bench peer, through the `zmq` crate: blocking calls on plain threads, as its guide shows.
#![expect(
    unsafe_code,
    reason = "one socket option that the zmq crate has no method for"
)]

use peer_harness::{Args, Contender, Kind, Result, Setting, Support, Threads};
use zmq::{Context, Error, Message, SNDMORE, Socket, SocketType};

/// `ZMQ_XPUB_NODROP` of `zmq.h`.
const XPUB_NODROP: i32 = 69;

#[derive(Clone)]
struct Libzmq {
    context: Context,
    hwm: i32,
}

impl Contender for Libzmq {
    type Socket = Socket;

    fn support(args: &Args) -> Support {
        let setting = |name, about| Setting {
            name,
            about,
            threads: Threads::Blocking,
        };
        let mut settings = vec![setting(
            "io-threads-1",
            "ZMQ_IO_THREADS 1 (the default), blocking calls",
        )];
        // Inproc uses no I/O thread, and one connection never uses two.
        if args.peers > 1 && args.transport != peer_harness::Transport::Inproc {
            settings.push(setting("io-threads-2", "ZMQ_IO_THREADS 2, blocking calls"));
        }
        Support::Settings(settings)
    }

    fn open(args: &Args) -> Result<Self> {
        let context = Context::new();
        context.set_io_threads(if args.setting == "io-threads-2" { 2 } else { 1 })?;
        Ok(Libzmq {
            context,
            hwm: i32::try_from(args.hwm)?,
        })
    }

    async fn socket(&self, kind: Kind) -> Result<Socket> {
        let mut socket = self.context.socket(match kind {
            Kind::Push => SocketType::PUSH,
            Kind::Pull => SocketType::PULL,
            Kind::Req => SocketType::REQ,
            Kind::Rep => SocketType::REP,
            Kind::Pub => SocketType::PUB,
            Kind::Sub => SocketType::SUB,
            Kind::Dealer => SocketType::DEALER,
            Kind::Router => SocketType::ROUTER,
        })?;
        socket.set_sndhwm(self.hwm)?;
        socket.set_rcvhwm(self.hwm)?;
        socket.set_linger(0)?;
        socket.set_reconnect_ivl(100)?;
        if kind == Kind::Pub {
            let on: i32 = 1;
            // SAFETY: the socket is valid, and the option takes a pointer to an int and its size.
            let failed = unsafe {
                zmq_sys::zmq_setsockopt(
                    socket.as_mut_ptr(),
                    XPUB_NODROP,
                    std::ptr::from_ref(&on).cast(),
                    size_of::<i32>(),
                )
            };
            if failed != 0 {
                return Err("ZMQ_XPUB_NODROP was refused".into());
            }
        }
        Ok(socket)
    }

    async fn bind(&self, socket: &mut Socket, endpoint: &str) -> Result<String> {
        // Its form of port 0.
        socket.bind(&endpoint.replace(":0", ":*"))?;
        Ok(socket.get_last_endpoint()?.unwrap_or_default())
    }

    async fn connect(&self, socket: &mut Socket, endpoint: &str) -> Result<()> {
        Ok(socket.connect(endpoint)?)
    }

    async fn subscribe(&self, socket: &mut Socket, topic: &str) -> Result<()> {
        Ok(socket.set_subscribe(topic.as_bytes())?)
    }

    async fn send(&self, socket: &mut Socket, part: &[u8], parts: usize) -> Result<()> {
        for _ in 1..parts {
            retry(|| socket.send(Message::from(part), SNDMORE))?;
        }
        retry(|| socket.send(Message::from(part), 0))
    }

    async fn receive(&self, socket: &mut Socket, each: &mut (impl FnMut(&[u8], usize) + Send)) -> Result<()> {
        let mut message = Message::new();
        let mut size = 0;
        loop {
            retry(|| socket.recv(&mut message, 0))?;
            size += message.len();
            if !message.get_more() {
                break;
            }
        }
        each(&message, size);
        Ok(())
    }

    async fn receive_one(&self, socket: &mut Socket) -> Result<usize> {
        let mut size = 0;
        self.receive(socket, &mut |_, got| size = got).await?;
        Ok(size)
    }

    async fn echo(&self, socket: &mut Socket) -> Result<()> {
        let mut message = Message::new();
        loop {
            retry(|| socket.recv(&mut message, 0))?;
            let more = message.get_more();
            let part = std::mem::replace(&mut message, Message::new());
            socket.send(part, if more { SNDMORE } else { 0 })?;
            if !more {
                return Ok(());
            }
        }
    }
}

/// A call that a signal interrupted is made again.
fn retry(mut call: impl FnMut() -> std::result::Result<(), Error>) -> Result<()> {
    loop {
        match call() {
            Ok(()) => return Ok(()),
            Err(Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn main() {
    peer_harness::main::<Libzmq>();
}
