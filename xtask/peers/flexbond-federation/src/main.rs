//! flexbond's federation, by its message server, as a bench peer.

use std::path::Path;

use bytes::Bytes;
use flexbond_collectives::federation::{
    Config, Federation, Limits, Role, Server, ServerConfig, ServerEntry, VariableChannel,
};
use peer_harness::federation::{Args, Contender, Loop};
use peer_harness::{Result, Setting, Support, Threads};
use serde_bytes::ByteBuf;

/// From here on a value is sent as bytes that are shared, not as a value that is written.
const LARGE: usize = 64 << 10;

/// The library.
enum Flexbond {}

/// A channel to one party, and one from another, which may be the same.
struct Line {
    to: VariableChannel,
    from: VariableChannel,
}

fn name(party: usize) -> String {
    format!("party-{party}")
}

impl Contender for Flexbond {
    type Party = Federation;
    type Line = Line;

    fn support(_args: &Args) -> Support {
        Support::Settings(vec![
            Setting {
                name: "current-thread",
                about: "tokio current_thread runtime, postcard; large values as bytes",
                threads: Threads::Current,
            },
            Setting {
                name: "multi-thread",
                about: "tokio multi_thread runtime with 2 workers for each process, postcard; large values as bytes",
                threads: Threads::Multi(2),
            },
        ])
    }

    async fn serve(args: Args, bound: impl FnOnce(String)) -> Result<()> {
        let mut config = ServerConfig::new();
        config.listen = vec![args.endpoint.parse()?];
        config.limits.window_bytes = args.room as u64;
        let file = args
            .folder
            .join(format!("bench-{}-store.redb", std::process::id()));
        if args.is_durable {
            config.store = Some(file.clone());
        }
        if let Some(next) = &args.next {
            let odd = (1..args.parties).step_by(2);
            let odd = odd
                .map(|party| name(party).parse())
                .collect::<std::result::Result<Vec<_>, _>>()?;
            let server = ServerEntry::at(next.parse()?, odd);
            config.servers.insert("next".to_owned(), server);
        }
        let mut server = Server::bind(config).await?;
        if args.is_durable {
            forget(&file)?;
        }
        bound(server.endpoints()[0].to_string());
        while server.next_event().await.is_some() {}
        Err("the server has ended".into())
    }

    async fn join(args: &Args, job: usize, party: usize) -> Result<Federation> {
        let mut config = Config::new(format!("job-{job}").parse()?, name(party).parse()?);
        for member in 0..args.parties {
            config = config.member(name(member).parse()?, Role::Host);
        }
        let limits = Limits::new().window_bytes(args.room as u64);
        let config = config.limits(limits).by_server(&args.endpoint);
        Ok(Federation::connect(config).await?)
    }

    async fn line(party: &Federation, of: &Loop) -> Result<Line> {
        let channel = |other| party.variable(format!("channel-{}", of.channel), name(other));
        Ok(Line {
            to: channel(of.to)?,
            from: channel(of.from)?,
        })
    }

    async fn swap(line: &mut Line, value: Bytes) -> Result<Bytes> {
        let value = serde_bytes::Bytes::new(&value);
        let other: ByteBuf = line.to.swap(value).await?;
        Ok(other.into_vec().into())
    }

    async fn send(line: &mut Line, value: Bytes) -> Result<()> {
        match value.len() {
            ..LARGE => line.to.send(serde_bytes::Bytes::new(&value)).await?,
            _ => line.to.send_bytes(value).await?,
        }
        Ok(())
    }

    async fn receive(line: &mut Line, size: usize) -> Result<Bytes> {
        match size {
            ..LARGE => {
                let value: ByteBuf = line.from.recv().await?;
                Ok(value.into_vec().into())
            }
            _ => Ok(line.from.recv_bytes().await?),
        }
    }

    async fn leave(party: Federation) -> Result<()> {
        party.close().await;
        Ok(())
    }
}

/// The file has no name any more: it goes with this process, however that ends.
fn forget(file: &Path) -> Result<()> {
    Ok(std::fs::remove_file(file)?)
}

fn main() {
    peer_harness::federation::main::<Flexbond>();
}
