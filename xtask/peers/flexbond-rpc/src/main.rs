//! flexbond's rpc as a bench peer.

use std::time::Duration;

use flexbond_rpc::{Buffer, Client, Failure, Methods, Server};
use peer_harness::rpc::{Args, Call, Calls, Contender};
use peer_harness::{Result, Setting, Support, Threads};
use serde_bytes::{ByteBuf, Bytes};

/// From here on bytes travel beside the body, and are not copied.
const LARGE: usize = 64 << 10;

/// The library.
enum Flexbond {}

impl Contender for Flexbond {
    type Client = Client;

    fn support(_args: &Args) -> Support {
        Support::Settings(vec![
            Setting {
                name: "current-thread",
                about: "tokio current_thread runtime, postcard; arrays as buffers",
                threads: Threads::Current,
            },
            Setting {
                name: "multi-thread",
                about: "tokio multi_thread runtime with 2 workers for each process, postcard; arrays as buffers",
                threads: Threads::Multi(2),
            },
        ])
    }

    async fn serve(args: Args, bound: impl FnOnce(String)) -> Result<()> {
        let block = bytes::Bytes::from(vec![0x5A; args.size]);
        let methods = Methods::new()
            .add("echo", async |data: ByteBuf| Ok::<_, Failure>(data))?
            .add("echo_array", async |array: Buffer| Ok::<_, Failure>(array))?
            .add("take_array", async |array: Buffer| Ok::<_, Failure>(array.len()))?
            .add("give_array", move |size: usize| {
                let array = Buffer::from(block.slice(..size));
                async { Ok::<_, Failure>(array) }
            })?
            .add("sleep", async |time: Duration| {
                tokio::time::sleep(time).await;
                Ok::<_, Failure>(())
            })?;
        let server = Server::new(methods);
        bound(server.bind(args.endpoint.as_str()).await?.to_string());
        tokio::spawn(server.run()).await?;
        Ok(())
    }

    async fn connect(args: &Args) -> Result<Client> {
        Ok(Client::connect(args.endpoint.as_str())?)
    }

    fn spawn(client: Client, calls: Calls) {
        tokio::spawn(calls.run(move |call| {
            let client = client.clone();
            async move {
                Ok(match call {
                    Call::Echo(data) if data.len() < LARGE => {
                        client.call::<_, ByteBuf>("echo", Bytes::new(&data)).await?.len()
                    }
                    Call::Echo(data) => {
                        let answer: Buffer = client.call("echo_array", &Buffer::from(data)).await?;
                        answer.len()
                    }
                    Call::Take(data) => client.call("take_array", &Buffer::from(data)).await?,
                    Call::Give(size) => client.call::<_, Buffer>("give_array", &size).await?.len(),
                    Call::Sleep(time) => {
                        client.call::<_, ()>("sleep", &time).await?;
                        0
                    }
                })
            }
        }));
    }
}

fn main() {
    peer_harness::rpc::main::<Flexbond>();
}
