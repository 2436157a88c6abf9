//! zeromq (zmq.rs) as a bench peer.

use bytes::Bytes;
use peer_harness::{Args, Contender, Kind, Result, Setting, Support, Threads, Transport};
use zeromq::{
    DealerSocket, PubSocket, PullSocket, PushSocket, RepSocket, ReqSocket, RouterSocket, Socket as _,
    SocketRecv, SocketSend, SubSocket, ZmqMessage,
};

/// From this size on a sender lets others run after each message.
const LARGE: usize = 16 << 10;

#[derive(Clone)]
struct Zeromq;

enum Socket {
    Push(PushSocket),
    Pull(PullSocket),
    Req(ReqSocket),
    Rep(RepSocket),
    Pub(PubSocket),
    Sub(SubSocket),
    Dealer(DealerSocket),
    Router(RouterSocket),
}

macro_rules! each_kind {
    ($socket:expr, $inner:ident => $action:expr, [$($kind:ident),*]) => {
        match $socket {
            $(Socket::$kind($inner) => $action,)*
            #[allow(unreachable_patterns)]
            _ => return Err("the pattern does not allow that".into()),
        }
    };
}

impl Contender for Zeromq {
    type Socket = Socket;

    fn support(args: &Args) -> Support {
        if args.transport == Transport::Inproc {
            return Support::Missing("zeromq has no inproc transport");
        }
        Support::Settings(vec![
            Setting {
                name: "multi-thread",
                about: "tokio multi_thread runtime with 2 workers; its queues hold 100000 messages (no option), PUB drops",
                threads: Threads::Multi(2),
            },
            Setting {
                name: "current-thread",
                about: "tokio current_thread runtime; its queues hold 100000 messages (no option), PUB drops",
                threads: Threads::Current,
            },
        ])
    }

    fn open(_: &Args) -> Result<Self> {
        Ok(Zeromq)
    }

    async fn socket(&self, kind: Kind) -> Result<Socket> {
        Ok(match kind {
            Kind::Push => Socket::Push(PushSocket::new()),
            Kind::Pull => Socket::Pull(PullSocket::new()),
            Kind::Req => Socket::Req(ReqSocket::new()),
            Kind::Rep => Socket::Rep(RepSocket::new()),
            Kind::Pub => Socket::Pub(PubSocket::new()),
            Kind::Sub => Socket::Sub(SubSocket::new()),
            Kind::Dealer => Socket::Dealer(DealerSocket::new()),
            Kind::Router => Socket::Router(RouterSocket::new()),
        })
    }

    async fn bind(&self, socket: &mut Socket, endpoint: &str) -> Result<String> {
        let bound = each_kind!(socket, inner => inner.bind(endpoint).await?,
            [Push, Pull, Req, Rep, Pub, Sub, Dealer, Router]);
        Ok(bound.to_string())
    }

    async fn connect(&self, socket: &mut Socket, endpoint: &str) -> Result<()> {
        each_kind!(socket, inner => inner.connect(endpoint).await?, [Push, Pull, Req, Rep, Pub, Sub, Dealer, Router]);
        Ok(())
    }

    async fn subscribe(&self, socket: &mut Socket, topic: &str) -> Result<()> {
        each_kind!(socket, inner => inner.subscribe(topic).await?, [Sub]);
        Ok(())
    }

    async fn send(&self, socket: &mut Socket, part: &[u8], parts: usize) -> Result<()> {
        let message = if parts == 1 {
            ZmqMessage::from(Bytes::copy_from_slice(part))
        } else {
            let frames: Vec<Bytes> = (0..parts).map(|_| Bytes::copy_from_slice(part)).collect();
            ZmqMessage::try_from(frames).map_err(|error| error.to_string())?
        };
        send(socket, message).await?;
        // A send waits only when 100000 messages are queued; the tasks that write must run before.
        if part.len() >= LARGE {
            tokio::task::yield_now().await;
        } else {
            tokio::task::coop::consume_budget().await;
        }
        Ok(())
    }

    async fn receive(&self, socket: &mut Socket, each: &mut (impl FnMut(&[u8], usize) + Send)) -> Result<()> {
        let message = recv(socket).await?;
        let last = message
            .get(message.len() - 1)
            .map(|frame| &frame[..])
            .unwrap_or_default();
        each(last, size(&message));
        Ok(())
    }

    async fn receive_one(&self, socket: &mut Socket) -> Result<usize> {
        Ok(size(&recv(socket).await?))
    }

    async fn echo(&self, socket: &mut Socket) -> Result<()> {
        let message = recv(socket).await?;
        send(socket, message).await
    }
}

async fn send(socket: &mut Socket, message: ZmqMessage) -> Result<()> {
    each_kind!(socket, inner => inner.send(message).await?, [Push, Req, Rep, Pub, Dealer, Router]);
    Ok(())
}

async fn recv(socket: &mut Socket) -> Result<ZmqMessage> {
    Ok(each_kind!(socket, inner => inner.recv().await?, [Pull, Req, Rep, Sub, Dealer, Router]))
}

fn size(message: &ZmqMessage) -> usize {
    message.iter().map(Bytes::len).sum()
}

fn main() {
    peer_harness::main::<Zeromq>();
}
