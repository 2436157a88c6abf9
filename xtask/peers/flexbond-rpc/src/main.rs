//! flexbond's rpc as a bench peer.

use std::time::Duration;

use flexbond_rpc::client;
use flexbond_rpc::server;
use flexbond_session::socket::Spin;
use flexbond_rpc::{Buffer, Client, Failure, Methods, Server};
use peer_harness::rpc::{Args, Call, Calls, Contender, Traffic};
use peer_harness::{Result, Setting, Support, Threads};
use serde_bytes::{ByteBuf, Bytes};

/// From here on bytes travel beside the body, and are not copied.
const LARGE: usize = 64 << 10;

/// The names of the settings where both sides sleep at once, or look for messages for a fixed time before they do.
const SLEEPS: &str = "current-thread-asleep";
const SPINS: &str = "current-thread-spin";
/// That time.
const SPIN: Duration = Duration::from_micros(200);

/// How a side waits, if not as it does by default.
fn spin(args: &Args) -> Option<Spin> {
    match args.setting.as_str() {
        SLEEPS => Some(Spin::Off),
        SPINS => Some(Spin::For(SPIN)),
        _ => None,
    }
}

/// The library.
enum Flexbond {}

impl Contender for Flexbond {
    type Client = Client;

    fn support(args: &Args) -> Support {
        let mut settings = vec![
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
        ];
        // Where many calls are under way there is nothing to wait for.
        if args.traffic == Traffic::Sequential {
            settings.push(Setting {
                name: SLEEPS,
                about: "as current-thread, and Spin::Off on both sides",
                threads: Threads::Current,
            });
            settings.push(Setting {
                name: SPINS,
                about: "as current-thread, and Spin::For 200 µs on both sides",
                threads: Threads::Current,
            });
        }
        Support::Settings(settings)
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
        let mut options = server::Options::default();
        options.socket.spin = spin(&args).unwrap_or(options.socket.spin);
        let server = Server::with_options(methods, options)?;
        bound(server.bind(args.endpoint.as_str()).await?.to_string());
        tokio::spawn(server.run()).await?;
        Ok(())
    }

    async fn connect(args: &Args) -> Result<Client> {
        let mut options = client::Options::default();
        options.socket.spin = spin(args).unwrap_or(options.socket.spin);
        Ok(Client::with_options(args.endpoint.as_str(), options)?)
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
