//! tarpc as a bench peer: bincode, its fastest codec, over tcp.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use peer_harness::rpc::{Args, Call, Calls, Contender};
use peer_harness::{Result, Setting, Support, Threads, Transport};
use serde_bytes::ByteBuf;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::tokio_util::codec::{Framed, LengthDelimitedCodec};
use tarpc::{client, context, serde_transport, server};
use tokio::net::{TcpListener, TcpStream};

/// More calls than any case has under way.
const MANY: usize = 100_000;
/// How long a call may take; by itself 10 s.
const PATIENCE: Duration = Duration::from_secs(60);

#[tarpc::service]
trait Bench {
    async fn echo(data: ByteBuf) -> ByteBuf;
    async fn take(data: ByteBuf) -> u64;
    async fn give(size: u64) -> ByteBuf;
    async fn sleep(time: Duration);
}

/// The service.
#[derive(Clone)]
struct Functions {
    block: Bytes,
}

impl Bench for Functions {
    async fn echo(self, _: context::Context, data: ByteBuf) -> ByteBuf {
        data
    }

    async fn take(self, _: context::Context, data: ByteBuf) -> u64 {
        data.len() as u64
    }

    async fn give(self, _: context::Context, size: u64) -> ByteBuf {
        ByteBuf::from(self.block.slice(..size as usize))
    }

    async fn sleep(self, _: context::Context, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// The library.
enum Tarpc {}

fn framed(stream: TcpStream) -> Result<Framed<TcpStream, LengthDelimitedCodec>> {
    stream.set_nodelay(true)?;
    let codec = LengthDelimitedCodec::builder()
        .max_frame_length(1 << 30)
        .new_codec();
    Ok(Framed::new(stream, codec))
}

async fn serve_one(stream: TcpStream, functions: Functions, is_spawned: bool) -> Result<()> {
    let transport = serde_transport::new(framed(stream)?, Bincode::default());
    let config = server::Config {
        pending_response_buffer: MANY,
    };
    let answering = BaseChannel::new(config, transport).execute(functions.serve());
    match is_spawned {
        true => {
            answering
                .for_each(|call| async {
                    tokio::spawn(call);
                })
                .await;
        }
        false => answering.for_each_concurrent(None, |call| call).await,
    }
    Ok(())
}

impl Contender for Tarpc {
    type Client = BenchClient;

    fn support(args: &Args) -> Support {
        if args.transport != Transport::Tcp {
            return Support::Missing("measured over tcp");
        }
        Support::Settings(vec![
            Setting {
                name: "current-thread",
                about: "tokio current_thread runtime; a task for each call on the server; bincode",
                threads: Threads::Current,
            },
            Setting {
                name: "current-thread-joined",
                about: "tokio current_thread runtime; all calls of a connection in one task of the server; bincode",
                threads: Threads::Current,
            },
            Setting {
                name: "multi-thread",
                about: "tokio multi_thread runtime with 2 workers for each process; a task for each call on the server; \
                        bincode",
                threads: Threads::Multi(2),
            },
            Setting {
                name: "multi-thread-joined",
                about: "tokio multi_thread runtime with 2 workers for each process; all calls of a connection in one task \
                        of the server; bincode",
                threads: Threads::Multi(2),
            },
        ])
    }

    async fn serve(args: Args, bound: impl FnOnce(String)) -> Result<()> {
        let functions = Functions {
            block: Bytes::from(vec![0x5A; args.size]),
        };
        let listener = TcpListener::bind(args.address()).await?;
        bound(format!("tcp://{}", listener.local_addr()?));
        let is_spawned = !args.setting.ends_with("-joined");
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve_one(stream, functions.clone(), is_spawned));
        }
    }

    async fn connect(args: &Args) -> Result<BenchClient> {
        let stream = TcpStream::connect(args.address()).await?;
        let transport = serde_transport::new(framed(stream)?, Bincode::default());
        let mut config = client::Config::default();
        // A buffer for as many calls as the case has, because there are cases with ten thousand connections.
        config.max_in_flight_requests = MANY;
        config.pending_request_buffer = args.in_flight.max(1);
        Ok(BenchClient::new(config, transport).spawn())
    }

    fn spawn(client: BenchClient, calls: Calls) {
        tokio::spawn(calls.run(move |call| {
            let client = client.clone();
            async move {
                let mut context = context::current();
                context.deadline = Instant::now() + PATIENCE;
                Ok(match call {
                    Call::Echo(data) => client.echo(context, ByteBuf::from(data)).await?.len(),
                    Call::Take(data) => client.take(context, ByteBuf::from(data)).await? as usize,
                    Call::Give(size) => client.give(context, size as u64).await?.len(),
                    Call::Sleep(time) => {
                        client.sleep(context, time).await?;
                        0
                    }
                })
            }
        }));
    }
}

fn main() {
    peer_harness::rpc::main::<Tarpc>();
}
