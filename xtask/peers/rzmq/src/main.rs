//! rzmq as a bench peer.

use peer_harness::{Args, Contender, Kind, Result, Setting, Support, Threads, Transport};
use rzmq::socket::{
    ADAPTIVE_THROTTLE, IO_URING_RCVMULTISHOT, IO_URING_SESSION_ENABLED, IO_URING_SNDZEROCOPY, LAST_ENDPOINT,
    LINGER, RCVHWM, RECONNECT_IVL, RECONNECT_IVL_MAX, SNDHWM, SUBSCRIBE, TCP_CORK, XPUB_NODROP,
};
use rzmq::uring::{UringConfig, initialize_uring_backend};
use rzmq::{Context, Msg, MsgFlags, Socket, SocketType};

#[derive(Clone)]
struct Rzmq {
    context: std::sync::Arc<std::sync::OnceLock<Context>>,
    hwm: i32,
    throttle: bool,
    cork: bool,
    uring: bool,
    zerocopy: bool,
}

impl Contender for Rzmq {
    type Socket = Socket;

    fn support(args: &Args) -> Support {
        let setting = |name, about, threads| Setting { name, about, threads };
        let mut settings = vec![
            setting(
                "default",
                "all defaults, tokio multi_thread runtime with 2 workers",
                Threads::Multi(2),
            ),
            setting(
                "no-throttle",
                "ADAPTIVE_THROTTLE 0, multi_thread with 2 workers",
                Threads::Multi(2),
            ),
            setting(
                "current-thread",
                "ADAPTIVE_THROTTLE 0, current_thread for each side",
                Threads::Current,
            ),
        ];
        if args.transport == Transport::Tcp {
            settings.push(setting(
                "cork",
                "ADAPTIVE_THROTTLE 0, TCP_CORK 1, multi_thread with 2 workers",
                Threads::Multi(2),
            ));
            settings.push(setting(
                "io-uring",
                "IO_URING_SESSION_ENABLED, IO_URING_RCVMULTISHOT, TCP_CORK, ADAPTIVE_THROTTLE 0, 1 ring worker, \
                 multi_thread with 2 workers",
                Threads::Multi(2),
            ));
            if args.size >= 16 << 10 {
                settings.push(setting(
                    "io-uring-zerocopy",
                    "as io-uring, and IO_URING_SNDZEROCOPY",
                    Threads::Multi(2),
                ));
            }
        }
        Support::Settings(settings)
    }

    fn open(args: &Args) -> Result<Self> {
        let setting = args.setting.as_str();
        Ok(Rzmq {
            context: std::sync::Arc::default(),
            hwm: i32::try_from(args.hwm)?,
            throttle: setting == "default",
            cork: matches!(setting, "cork" | "io-uring" | "io-uring-zerocopy"),
            uring: setting.starts_with("io-uring"),
            zerocopy: setting == "io-uring-zerocopy",
        })
    }

    async fn socket(&self, kind: Kind) -> Result<Socket> {
        if self.context.get().is_none() {
            // Both need the runtime that they find.
            if self.uring {
                let config = UringConfig {
                    default_send_zerocopy: self.zerocopy,
                    ..UringConfig::default()
                };
                initialize_uring_backend(config)?;
            }
            let _ = self.context.set(Context::new()?);
        }
        let context = self.context.get().ok_or("no context")?;
        let socket = context.socket(match kind {
            Kind::Push => SocketType::Push,
            Kind::Pull => SocketType::Pull,
            Kind::Req => SocketType::Req,
            Kind::Rep => SocketType::Rep,
            Kind::Pub => SocketType::Pub,
            Kind::Sub => SocketType::Sub,
            Kind::Dealer => SocketType::Dealer,
            Kind::Router => SocketType::Router,
        })?;
        socket.set_option(SNDHWM, self.hwm).await?;
        socket.set_option(RCVHWM, self.hwm).await?;
        socket.set_option(LINGER, 0i32).await?;
        socket.set_option(RECONNECT_IVL, 100i32).await?;
        socket.set_option(RECONNECT_IVL_MAX, 100i32).await?;
        if !self.throttle {
            socket.set_option(ADAPTIVE_THROTTLE, 0i32).await?;
        }
        if self.cork {
            socket.set_option(TCP_CORK, 1i32).await?;
        }
        if self.uring {
            socket.set_option(IO_URING_SESSION_ENABLED, 1i32).await?;
            socket.set_option(IO_URING_RCVMULTISHOT, 1i32).await?;
        }
        if self.zerocopy {
            socket.set_option(IO_URING_SNDZEROCOPY, 1i32).await?;
        }
        if kind == Kind::Pub {
            socket.set_option(XPUB_NODROP, 1i32).await?;
        }
        Ok(socket)
    }

    async fn bind(&self, socket: &mut Socket, endpoint: &str) -> Result<String> {
        socket.bind(endpoint).await?;
        if !endpoint.starts_with("tcp:") {
            return Ok(endpoint.to_owned());
        }
        let bound = socket.get_option(LAST_ENDPOINT).await?;
        Ok(String::from_utf8(bound)?.trim_end_matches('\0').to_owned())
    }

    async fn connect(&self, socket: &mut Socket, endpoint: &str) -> Result<()> {
        Ok(socket.connect(endpoint).await?)
    }

    async fn subscribe(&self, socket: &mut Socket, topic: &str) -> Result<()> {
        Ok(socket.set_option(SUBSCRIBE, topic.as_bytes()).await?)
    }

    async fn send(&self, socket: &mut Socket, part: &[u8], parts: usize) -> Result<()> {
        if parts == 1 {
            return Ok(socket.send(Msg::from_vec(part.to_vec())).await?);
        }
        let frames = (0..parts).map(|index| {
            let mut frame = Msg::from_vec(part.to_vec());
            if index + 1 < parts {
                frame.set_flags(MsgFlags::MORE);
            }
            frame
        });
        Ok(socket.send_multipart(frames.collect()).await?)
    }

    async fn receive(&self, socket: &mut Socket, each: &mut (impl FnMut(&[u8], usize) + Send)) -> Result<()> {
        // It has no call that takes several messages, or one without waiting.
        let mut message = socket.recv().await?;
        let mut size = message.size();
        while message.is_more() {
            message = socket.recv().await?;
            size += message.size();
        }
        each(message.data().unwrap_or_default(), size);
        Ok(())
    }

    async fn receive_one(&self, socket: &mut Socket) -> Result<usize> {
        Ok(socket.recv().await?.size())
    }

    async fn echo(&self, socket: &mut Socket) -> Result<()> {
        let frames = socket.recv_multipart().await?;
        if frames.len() == 1 {
            for frame in frames {
                socket.send(frame).await?;
            }
            return Ok(());
        }
        Ok(socket.send_multipart(frames).await?)
    }

    async fn close(&self, socket: Socket) {
        let _ = socket.close().await;
    }
}

fn main() {
    peer_harness::main::<Rzmq>();
}
