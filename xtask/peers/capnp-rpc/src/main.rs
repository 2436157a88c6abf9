//! capnp-rpc as a bench peer: two parties over tcp, on one thread, as it is made for.

use std::rc::Rc;
use std::time::Duration;

use capnp::message::ReaderOptions;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::twoparty::VatNetwork;
use capnp_rpc::{RpcSystem, new_client};
use peer_harness::rpc::{Args, Call, Calls, Contender};
use peer_harness::{Result, Setting, Support, Threads, Transport};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use bench_capnp::bench;

mod bench_capnp {
    include!(concat!(env!("OUT_DIR"), "/bench_capnp.rs"));
}

/// The functions.
struct Functions {
    block: Vec<u8>,
}

impl bench::Server for Functions {
    async fn echo(
        self: Rc<Self>,
        params: bench::EchoParams,
        mut results: bench::EchoResults,
    ) -> capnp::Result<()> {
        results.get().set_data(params.get()?.get_data()?);
        Ok(())
    }

    async fn take(
        self: Rc<Self>,
        params: bench::TakeParams,
        mut results: bench::TakeResults,
    ) -> capnp::Result<()> {
        results.get().set_size(params.get()?.get_data()?.len() as u64);
        Ok(())
    }

    async fn give(
        self: Rc<Self>,
        params: bench::GiveParams,
        mut results: bench::GiveResults,
    ) -> capnp::Result<()> {
        let size = params.get()?.get_size() as usize;
        results.get().set_data(&self.block[..size]);
        Ok(())
    }

    async fn sleep(
        self: Rc<Self>,
        params: bench::SleepParams,
        _results: bench::SleepResults,
    ) -> capnp::Result<()> {
        tokio::time::sleep(Duration::from_millis(params.get()?.get_millis())).await;
        Ok(())
    }
}

/// The library.
enum Capnp {}

fn system(
    stream: TcpStream,
    side: Side,
    functions: Option<capnp::capability::Client>,
) -> Result<RpcSystem<Side>> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let mut options = ReaderOptions::new();
    // Its own limit is below the largest message.
    options.traversal_limit_in_words(None);
    // It reads and writes field by field, and has no buffer of its own.
    let network = VatNetwork::new(
        futures::io::BufReader::new(reader.compat()),
        futures::io::BufWriter::new(writer.compat_write()),
        side,
        options,
    );
    Ok(RpcSystem::new(Box::new(network), functions))
}

impl Contender for Capnp {
    type Client = bench::Client;

    const LOCAL: bool = true;

    fn support(args: &Args) -> Support {
        if args.transport != Transport::Tcp {
            return Support::Missing("measured over tcp");
        }
        Support::Settings(vec![Setting {
            name: "current-thread",
            about: "tokio current_thread runtime and a LocalSet; buffered streams",
            threads: Threads::Current,
        }])
    }

    async fn serve(args: Args, bound: impl FnOnce(String)) -> Result<()> {
        let functions: bench::Client = new_client(Functions {
            block: vec![0x5A; args.size],
        });
        let listener = TcpListener::bind(args.address()).await?;
        bound(format!("tcp://{}", listener.local_addr()?));
        loop {
            let (stream, _) = listener.accept().await?;
            spawn_local(system(stream, Side::Server, Some(functions.clone().client))?);
        }
    }

    async fn connect(args: &Args) -> Result<bench::Client> {
        let stream = TcpStream::connect(args.address()).await?;
        let mut system = system(stream, Side::Client, None)?;
        let client = system.bootstrap(Side::Server);
        spawn_local(system);
        Ok(client)
    }

    fn spawn(client: bench::Client, calls: Calls) {
        spawn_local(calls.run(move |call| {
            let client = client.clone();
            async move {
                Ok(match call {
                    Call::Echo(data) => {
                        let mut request = client.echo_request();
                        request.get().set_data(&data);
                        request.send().promise.await?.get()?.get_data()?.len()
                    }
                    Call::Take(data) => {
                        let mut request = client.take_request();
                        request.get().set_data(&data);
                        request.send().promise.await?.get()?.get_size() as usize
                    }
                    Call::Give(size) => {
                        let mut request = client.give_request();
                        request.get().set_size(size as u64);
                        request.send().promise.await?.get()?.get_data()?.len()
                    }
                    Call::Sleep(time) => {
                        let mut request = client.sleep_request();
                        request.get().set_millis(time.as_millis() as u64);
                        request.send().promise.await?;
                        0
                    }
                })
            }
        }));
    }
}

fn main() {
    peer_harness::rpc::main::<Capnp>();
}
