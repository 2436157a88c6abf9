//! tonic as a bench peer: prost messages whose bytes are shared, HTTP/2 with windows that hold the largest message.

use std::time::Duration;

use bytes::Bytes;
use peer_harness::rpc::{Args, Call, Calls, Contender};
use peer_harness::{Result, Setting, Support, Threads, Transport};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use generated::bench_client::BenchClient;
use generated::bench_server::{Bench, BenchServer};

mod generated {
    include!(concat!(env!("OUT_DIR"), "/bench.Bench.rs"));
}

/// More calls than any case has under way.
const MANY: u32 = 100_000;
/// More than the largest message.
const WINDOW: u32 = 128 << 20;

/// What all functions take and answer: `message Block { bytes data = 1; uint64 number = 2; }`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Block {
    /// Bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// A size, or milliseconds.
    #[prost(uint64, tag = "2")]
    pub number: u64,
}

impl Block {
    fn of_data(data: Bytes) -> Self {
        Block { data, number: 0 }
    }

    fn of_number(number: u64) -> Self {
        Block {
            data: Bytes::new(),
            number,
        }
    }
}

/// The service.
struct Functions {
    block: Bytes,
}

#[tonic::async_trait]
impl Bench for Functions {
    async fn echo(&self, request: Request<Block>) -> std::result::Result<Response<Block>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn take(&self, request: Request<Block>) -> std::result::Result<Response<Block>, Status> {
        let size = request.get_ref().data.len();
        Ok(Response::new(Block::of_number(size as u64)))
    }

    async fn give(&self, request: Request<Block>) -> std::result::Result<Response<Block>, Status> {
        let size = request.get_ref().number as usize;
        Ok(Response::new(Block::of_data(self.block.slice(..size))))
    }

    async fn sleep(&self, request: Request<Block>) -> std::result::Result<Response<Block>, Status> {
        tokio::time::sleep(Duration::from_millis(request.get_ref().number)).await;
        Ok(Response::new(Block::default()))
    }
}

/// The library.
enum Tonic {}

impl Contender for Tonic {
    type Client = BenchClient<Channel>;

    fn support(args: &Args) -> Support {
        if args.transport != Transport::Tcp {
            return Support::Missing("measured over tcp");
        }
        Support::Settings(vec![
            Setting {
                name: "current-thread",
                about: "tokio current_thread runtime; prost with shared bytes",
                threads: Threads::Current,
            },
            Setting {
                name: "multi-thread",
                about: "tokio multi_thread runtime with 2 workers for each process; prost with shared bytes",
                threads: Threads::Multi(2),
            },
        ])
    }

    async fn serve(args: Args, bound: impl FnOnce(String)) -> Result<()> {
        let functions = Functions {
            block: Bytes::from(vec![0x5A; args.size]),
        };
        let incoming = TcpIncoming::bind(args.address().parse()?)?.with_nodelay(Some(true));
        bound(format!("tcp://{}", incoming.local_addr()?));
        let service = BenchServer::new(functions)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        Server::builder()
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_concurrent_streams(MANY)
            .add_service(service)
            .serve_with_incoming(incoming)
            .await?;
        Ok(())
    }

    async fn connect(args: &Args) -> Result<BenchClient<Channel>> {
        let channel = Endpoint::from_shared(format!("http://{}", args.address()))?
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .buffer_size(args.in_flight.max(1))
            .connect()
            .await?;
        Ok(BenchClient::new(channel)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX))
    }

    fn spawn(client: BenchClient<Channel>, calls: Calls) {
        tokio::spawn(calls.run(move |call| {
            let mut client = client.clone();
            async move {
                Ok(match call {
                    Call::Echo(data) => client.echo(Block::of_data(data)).await?.get_ref().data.len(),
                    Call::Take(data) => client.take(Block::of_data(data)).await?.get_ref().number as usize,
                    Call::Give(size) => {
                        let answer = client.give(Block::of_number(size as u64)).await?;
                        answer.get_ref().data.len()
                    }
                    Call::Sleep(time) => {
                        client.sleep(Block::of_number(time.as_millis() as u64)).await?;
                        0
                    }
                })
            }
        }));
    }
}

fn main() {
    peer_harness::rpc::main::<Tonic>();
}
