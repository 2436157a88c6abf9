//! A message server by tonic as a bench peer, by single calls and by streams.
//!
//! It promises what ours does in memory: the server has a mailbox for each channel of a job and direction; pieces are
//! numbered, so what is sent again is taken once; they are kept until their receiver has them; and a mailbox that is full
//! makes its sender wait. Of a stream, pieces go at once, and marks of
//! what has come go with them or a little later.

mod mailbox;
mod messages;
mod outbox;
mod server;
mod streaming;
mod unary;

use bytes::Bytes;
use peer_harness::federation::{Args, Contender, Loop, Traffic};
use peer_harness::{Result, Setting, Support, Threads};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};

use generated::relay_client::RelayClient;
use generated::relay_server::RelayServer;
use messages::Route;
use server::Mailboxes;
use streaming::Party as Streaming;

mod generated {
    include!(concat!(env!("OUT_DIR"), "/bench.Relay.rs"));
}

/// More calls than any case has under way.
const MANY: u32 = 100_000;
/// Beyond what any case has on its way: mailboxes bound it.
const WINDOW: u32 = 64 << 20;

/// How parties talk to the server.
const WAYS: [(&str, &str); 3] = [
    ("unary", "a call for each message sent, and one for each received"),
    (
        "streaming",
        "a stream each way, with a gRPC message for each message",
    ),
    (
        BATCHING,
        "a stream each way, with up to 64 messages in a gRPC message",
    ),
];
const BATCHING: &str = "batching";

/// The library.
enum Tonic {}

/// How many messages are in a gRPC message, at most.
fn batch(args: &Args) -> usize {
    match args.setting.starts_with(BATCHING) {
        true => outbox::BATCH,
        false => 1,
    }
}

/// One party's connection.
#[derive(Clone)]
struct Party {
    job: usize,
    way: Way,
}

#[derive(Clone)]
enum Way {
    Unary(RelayClient<tonic::transport::Channel>),
    Streaming(Streaming),
}

enum Line {
    Unary(Box<unary::Line>),
    Streaming(streaming::Line),
}

impl Contender for Tonic {
    type Party = Party;
    type Line = Line;

    fn support(args: &Args) -> Support {
        if args.is_durable || args.traffic == Traffic::Store {
            return Support::Missing("keeps messages in memory");
        }
        if args.next.is_some() {
            return Support::Missing("one server");
        }
        let mut settings = Vec::new();
        for (way, about) in WAYS {
            for (workers, threads) in [
                ("current-thread", Threads::Current),
                ("multi-thread", Threads::Multi(2)),
            ] {
                settings.push(Setting {
                    name: format!("{way}-{workers}").leak(),
                    about: format!("{about}; tokio {workers} runtime; prost with shared bytes").leak(),
                    threads,
                });
            }
        }
        Support::Settings(settings)
    }

    async fn serve(args: Args, bound: impl FnOnce(String)) -> Result<()> {
        let incoming = TcpIncoming::bind(args.address().parse()?)?.with_nodelay(Some(true));
        bound(format!("tcp://{}", incoming.local_addr()?));
        let service = RelayServer::new(Mailboxes::new(args.room, batch(&args)))
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

    async fn join(args: &Args, job: usize, _party: usize) -> Result<Party> {
        let channel = Endpoint::from_shared(format!("http://{}", args.address()))?
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .buffer_size(2 * args.in_flight * args.parties)
            .connect()
            .await?;
        let client = RelayClient::new(channel)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        let way = match args.setting.starts_with("unary") {
            true => Way::Unary(client),
            false => Way::Streaming(Streaming::new(client, args.room, batch(args))),
        };
        Ok(Party { job, way })
    }

    async fn line(party: &Party, of: &Loop) -> Result<Line> {
        let route = |from: usize, to: usize| Route {
            job: format!("job-{}", party.job),
            channel: format!("channel-{}", of.channel),
            from: format!("party-{from}"),
            to: format!("party-{to}"),
        };
        let (to, from) = (route(of.party, of.to), route(of.from, of.party));
        Ok(match &party.way {
            Way::Unary(client) => Line::Unary(Box::new(unary::Line::new(client, to, from))),
            Way::Streaming(party) => Line::Streaming(party.line(to, from)),
        })
    }

    async fn swap(line: &mut Line, value: Bytes) -> Result<Bytes> {
        match line {
            Line::Unary(line) => line.swap(value).await,
            Line::Streaming(line) => line.swap(value).await,
        }
    }

    async fn send(line: &mut Line, value: Bytes) -> Result<()> {
        match line {
            Line::Unary(line) => line.send(value).await,
            Line::Streaming(line) => line.send(value).await,
        }
    }

    async fn receive(line: &mut Line, _size: usize) -> Result<Bytes> {
        match line {
            Line::Unary(line) => line.receive().await,
            Line::Streaming(line) => line.receive().await,
        }
    }

    async fn leave(_party: Party) -> Result<()> {
        Err("only what is received has left a party".into())
    }
}

fn main() {
    peer_harness::federation::main::<Tonic>();
}
