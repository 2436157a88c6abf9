//! flexbond as a bench peer.

use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{Dealer, Options, Pub, Pull, Push, Rep, Req, Router, SlowPeer, Sub};
use peer_harness::{Args, Contender, Kind, Result, Setting, Support, Threads};

/// Messages asked for at once.
const BATCH: usize = 128;

/// The pause before a lost connection is tried again, the same for all.
const RECONNECT: Duration = Duration::from_millis(100);

/// How long the receivers of the settings that spin look before they sleep.
const SPIN: Duration = Duration::from_micros(200);

#[derive(Clone)]
struct Flexbond {
    hwm: usize,
    spin: Duration,
}

struct Socket {
    inner: flexbond_session::socket::Socket,
    /// Received and not yet shown.
    ready: Vec<Message>,
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
                name: "current-thread-spin",
                about: "tokio current_thread runtime, one for each side, Options::spin of 200 µs",
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
        let spin = match args.setting.ends_with("-spin") {
            true => SPIN,
            false => Duration::ZERO,
        };
        Ok(Flexbond { hwm: args.hwm, spin })
    }

    async fn socket(&self, kind: Kind) -> Result<Socket> {
        let options = Options::new()
            .hwm(self.hwm)
            .spin(self.spin)
            .reconnect_interval(RECONNECT)
            .reconnect_max(RECONNECT);
        let inner = match kind {
            Kind::Push => Push::with_options(options)?.into(),
            Kind::Pull => Pull::with_options(options)?.into(),
            Kind::Req => Req::with_options(options)?.into(),
            Kind::Rep => Rep::with_options(options)?.into(),
            // Nothing may be dropped.
            Kind::Pub => Pub::with_options(options.slow_peer(SlowPeer::Wait))?.into(),
            Kind::Sub => Sub::with_options(options)?.into(),
            Kind::Dealer => Dealer::with_options(options)?.into(),
            Kind::Router => Router::with_options(options)?.into(),
        };
        Ok(Socket {
            inner,
            ready: Vec::with_capacity(BATCH),
        })
    }

    async fn bind(&self, socket: &mut Socket, endpoint: &str) -> Result<String> {
        Ok(socket.inner.bind(endpoint).await?.to_string())
    }

    async fn connect(&self, socket: &mut Socket, endpoint: &str) -> Result<()> {
        socket.inner.connect(endpoint)?;
        Ok(())
    }

    async fn subscribe(&self, socket: &mut Socket, topic: &str) -> Result<()> {
        Ok(socket.inner.subscribe(topic)?)
    }

    async fn send(&self, socket: &mut Socket, part: &[u8], parts: usize) -> Result<()> {
        let message = if parts == 1 {
            Message::from(part)
        } else {
            (0..parts).map(|_| part).collect()
        };
        Ok(socket.inner.send(message).await?)
    }

    async fn receive(&self, socket: &mut Socket, each: &mut (impl FnMut(&[u8], usize) + Send)) -> Result<()> {
        socket.inner.recv_many(&mut socket.ready, BATCH).await?;
        for message in socket.ready.drain(..) {
            show(&message, each);
        }
        Ok(())
    }

    async fn receive_one(&self, socket: &mut Socket) -> Result<usize> {
        Ok(socket.inner.recv().await?.size())
    }

    async fn echo(&self, socket: &mut Socket) -> Result<()> {
        let message = socket.inner.recv().await?;
        Ok(socket.inner.send(message).await?)
    }

    async fn close(&self, socket: Socket) {
        socket.inner.close().await;
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
