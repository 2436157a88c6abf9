//! flexbond as a bench peer.

use flexbond_session::Message;
use flexbond_session::socket::{
    Dealer, Options, Pub, Pull, Push, RecvError, Rep, Req, Router, SendErrorKind, SlowPeer, Socket, Sub,
};
use peer_harness::{Args, Contender, Kind, Result, Setting, Support, Threads};

/// Messages taken without waiting after one that was waited for.
const BATCH: usize = 128;

/// The pause before a lost connection is tried again, the same for all.
const RECONNECT: std::time::Duration = std::time::Duration::from_millis(100);

#[derive(Clone)]
struct Flexbond {
    hwm: usize,
}

impl Contender for Flexbond {
    type Socket = Socket;

    fn support(_: &Args) -> Support {
        Support::Settings(vec![
            Setting {
                name: "current-thread",
                about: "tokio current_thread runtime, one for each side",
                threads: Threads::Current,
            },
            Setting {
                name: "multi-thread",
                about: "tokio multi_thread runtime with 2 workers for each process",
                threads: Threads::Multi(2),
            },
        ])
    }

    fn open(args: &Args) -> Result<Self> {
        Ok(Flexbond { hwm: args.hwm })
    }

    async fn socket(&self, kind: Kind) -> Result<Socket> {
        let options = Options::new()
            .hwm(self.hwm)
            .reconnect_interval(RECONNECT)
            .reconnect_max(RECONNECT);
        Ok(match kind {
            Kind::Push => Push::with_options(options)?.into(),
            Kind::Pull => Pull::with_options(options)?.into(),
            Kind::Req => Req::with_options(options)?.into(),
            Kind::Rep => Rep::with_options(options)?.into(),
            // Nothing may be dropped.
            Kind::Pub => Pub::with_options(options.slow_peer(SlowPeer::Wait))?.into(),
            Kind::Sub => Sub::with_options(options)?.into(),
            Kind::Dealer => Dealer::with_options(options)?.into(),
            Kind::Router => Router::with_options(options)?.into(),
        })
    }

    async fn bind(&self, socket: &mut Socket, endpoint: &str) -> Result<String> {
        Ok(socket.bind(endpoint).await?.to_string())
    }

    async fn connect(&self, socket: &mut Socket, endpoint: &str) -> Result<()> {
        socket.connect(endpoint)?;
        Ok(())
    }

    async fn subscribe(&self, socket: &mut Socket, topic: &str) -> Result<()> {
        Ok(socket.subscribe(topic)?)
    }

    async fn send(&self, socket: &mut Socket, part: &[u8], parts: usize) -> Result<()> {
        let message = if parts == 1 {
            Message::from(part)
        } else {
            (0..parts).map(|_| part).collect()
        };
        match socket.try_send(message) {
            Ok(()) => Ok(()),
            Err(error) if *error.kind() == SendErrorKind::WouldBlock => {
                Ok(socket.send(error.into_message()).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn receive(&self, socket: &mut Socket, each: &mut (impl FnMut(&[u8], usize) + Send)) -> Result<()> {
        let mut next = Ok(socket.recv().await?);
        for _ in 0..BATCH {
            match next {
                Ok(message) => show(&message, each),
                Err(RecvError::WouldBlock) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            next = socket.try_recv();
        }
        if let Ok(message) = next {
            show(&message, each);
        }
        Ok(())
    }

    async fn receive_one(&self, socket: &mut Socket) -> Result<usize> {
        Ok(socket.recv().await?.size())
    }

    async fn echo(&self, socket: &mut Socket) -> Result<()> {
        let message = socket.recv().await?;
        Ok(socket.send(message).await?)
    }

    async fn close(&self, socket: Socket) {
        socket.close().await;
    }
}

fn show(message: &Message, each: &mut impl FnMut(&[u8], usize)) {
    let last = message
        .frames()
        .last()
        .map(|frame| frame.as_slice())
        .unwrap_or_default();
    each(last, message.size());
}

fn main() {
    peer_harness::main::<Flexbond>();
}
