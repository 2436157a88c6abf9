//! omq-tokio as a bench peer.

use bytes::Bytes;
use omq_tokio::exclusive;
use omq_tokio::{Context, Endpoint, Message, Options, SocketType, TrySendError, blocking};
use peer_harness::{Args, Case, Contender, Kind, Result, Setting, Support, Threads, Transport};

/// Messages asked for at once, as in the library's own benches.
const BATCH: usize = 128;
/// Bytes asked for at once, likewise.
const BATCH_BYTES: usize = 64 * 1024;

#[derive(Clone)]
struct Omq {
    /// With I/O threads of its own; none: the caller's runtime.
    context: Option<Context>,
    blocking: bool,
    exclusive: bool,
    hwm: u32,
    batch: usize,
}

struct Socket {
    kind: SocketType,
    inner: Inner,
    ready: Vec<Message>,
}

enum Inner {
    Async(omq_tokio::Socket),
    Blocking(blocking::Socket),
    /// Made by `bind` or `connect`.
    Unopened,
    Exclusive(Box<exclusive::Socket>),
}

impl Contender for Omq {
    type Socket = Socket;

    fn support(args: &Args) -> Support {
        let setting = |name, about, threads| Setting { name, about, threads };
        let mut settings = vec![
            setting(
                "current-thread",
                "Socket::new on a tokio current_thread runtime",
                Threads::Current,
            ),
            setting(
                "multi-thread",
                "Socket::new on a tokio multi_thread runtime with 2 workers",
                Threads::Multi(2),
            ),
            setting(
                "io-thread",
                "Context with one I/O thread, application on current_thread",
                Threads::Current,
            ),
            setting(
                "blocking",
                "Context with one I/O thread, blocking sockets",
                Threads::Blocking,
            ),
        ];
        if args.case == Case::ReqRep && args.transport == Transport::Tcp {
            settings.push(setting(
                "exclusive",
                "exclusive sockets (the caller drives its one connection) on current_thread",
                Threads::Current,
            ));
        }
        Support::Settings(settings)
    }

    fn open(args: &Args) -> Result<Self> {
        Ok(Omq {
            context: matches!(args.setting.as_str(), "io-thread" | "blocking").then(Context::new),
            blocking: args.setting == "blocking",
            exclusive: args.setting == "exclusive",
            hwm: u32::try_from(args.hwm)?,
            batch: (BATCH_BYTES / (args.size * args.parts).max(1)).clamp(1, BATCH),
        })
    }

    async fn socket(&self, kind: Kind) -> Result<Socket> {
        let mut options = Options::default().send_hwm(self.hwm).recv_hwm(self.hwm);
        options.xpub_nodrop = kind == Kind::Pub;
        let kind = match kind {
            Kind::Push => SocketType::Push,
            Kind::Pull => SocketType::Pull,
            Kind::Req => SocketType::Req,
            Kind::Rep => SocketType::Rep,
            Kind::Pub => SocketType::Pub,
            Kind::Sub => SocketType::Sub,
            Kind::Dealer => SocketType::Dealer,
            Kind::Router => SocketType::Router,
        };
        // The receive batching that relaxes the order between connections stays off: nobody else relaxes it.
        let inner = match &self.context {
            _ if self.exclusive => Inner::Unopened,
            Some(context) if self.blocking => Inner::Blocking(context.blocking_socket(kind, options)),
            Some(context) => Inner::Async(context.socket(kind, options)),
            None => Inner::Async(omq_tokio::Socket::new(kind, options)),
        };
        Ok(Socket {
            kind,
            inner,
            ready: Vec::with_capacity(BATCH),
        })
    }

    async fn bind(&self, socket: &mut Socket, endpoint: &str) -> Result<String> {
        let endpoint: Endpoint = endpoint.parse()?;
        let bound = match &mut socket.inner {
            Inner::Async(inner) => inner.bind(endpoint).await?,
            Inner::Blocking(inner) => inner.bind(endpoint)?,
            Inner::Unopened | Inner::Exclusive(_) => {
                let (inner, bound) =
                    exclusive::Socket::bind(socket.kind, endpoint, exclusive::Options::default()).await?;
                socket.inner = Inner::Exclusive(Box::new(inner));
                bound
            }
        };
        Ok(bound.to_string())
    }

    async fn connect(&self, socket: &mut Socket, endpoint: &str) -> Result<()> {
        let endpoint: Endpoint = endpoint.parse()?;
        match &mut socket.inner {
            Inner::Async(inner) => inner.connect(endpoint).await?,
            Inner::Blocking(inner) => inner.connect(endpoint)?,
            Inner::Unopened | Inner::Exclusive(_) => {
                let inner =
                    exclusive::Socket::connect(socket.kind, endpoint, exclusive::Options::default()).await?;
                socket.inner = Inner::Exclusive(Box::new(inner));
            }
        }
        Ok(())
    }

    async fn subscribe(&self, socket: &mut Socket, topic: &str) -> Result<()> {
        let topic = Bytes::copy_from_slice(topic.as_bytes());
        match &socket.inner {
            Inner::Async(inner) => inner.subscribe(topic).await?,
            Inner::Blocking(inner) => inner.subscribe(topic)?,
            Inner::Unopened | Inner::Exclusive(_) => return Err("exclusive sockets do not subscribe".into()),
        }
        Ok(())
    }

    async fn send(&self, socket: &mut Socket, part: &[u8], parts: usize) -> Result<()> {
        let message = if parts == 1 {
            Message::from_slice(part)
        } else {
            Message::multipart((0..parts).map(|_| Bytes::copy_from_slice(part)))
        };
        match &mut socket.inner {
            Inner::Async(inner) => match inner.try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Full(message)) => inner.send(message).await?,
                Err(error) => return Err(error.to_string().into()),
            },
            Inner::Blocking(inner) => match inner.try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Full(message)) => inner.send(message)?,
                Err(error) => return Err(error.to_string().into()),
            },
            Inner::Exclusive(inner) => inner.send(&message).await?,
            Inner::Unopened => return Err("not connected".into()),
        }
        Ok(())
    }

    async fn receive(&self, socket: &mut Socket, each: &mut (impl FnMut(&[u8], usize) + Send)) -> Result<()> {
        match &mut socket.inner {
            Inner::Async(inner) => {
                inner.recv_many_into(self.batch, &mut socket.ready).await?;
                // A try that succeeds never yields; the runtime's other tasks must run too.
                tokio_yield().await;
            }
            Inner::Blocking(inner) => {
                inner.recv_many_into(self.batch, &mut socket.ready)?;
            }
            Inner::Exclusive(inner) => socket.ready.push(inner.recv().await?),
            Inner::Unopened => return Err("not connected".into()),
        }
        for message in socket.ready.drain(..) {
            let last = message.get(message.len() - 1).unwrap_or_default();
            each(last, message.byte_len());
        }
        Ok(())
    }

    async fn receive_one(&self, socket: &mut Socket) -> Result<usize> {
        Ok(recv(socket).await?.byte_len())
    }

    async fn echo(&self, socket: &mut Socket) -> Result<()> {
        let message = recv(socket).await?;
        match &mut socket.inner {
            Inner::Async(inner) => inner.send(message).await?,
            Inner::Blocking(inner) => inner.send(message)?,
            Inner::Exclusive(inner) => inner.send(&message).await?,
            Inner::Unopened => return Err("not connected".into()),
        }
        Ok(())
    }
}

async fn recv(socket: &mut Socket) -> Result<Message> {
    Ok(match &mut socket.inner {
        Inner::Async(inner) => inner.recv().await?,
        Inner::Blocking(inner) => inner.recv()?,
        Inner::Exclusive(inner) => inner.recv().await?,
        Inner::Unopened => return Err("not connected".into()),
    })
}

async fn tokio_yield() {
    tokio::task::coop::consume_budget().await;
}

fn main() {
    peer_harness::main::<Omq>();
}
