//! flexbond's group sessions as a peer: a coordinator and members that pass barriers, or broadcast messages.
//!
//! `peer-flexbond-group ROLE key=value…` with the roles and words of `peer-camure`, `spin_us`, how long whoever waits
//! looks before it sleeps, and `sealed=true` for a session with a key.

mod barrier;
mod broadcast;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use flexbond_session::group::{Coordinator, Member, Options, PresharedKey};
use peer_harness::{Result, Words, fail};

/// The one group of a session.
const GROUP: u16 = 0;

/// The side that this process is on.
enum Side {
    /// Where the session begins, and how many members it waits for.
    Coordinator(Coordinator, usize),
    /// One of the others.
    Member(Member),
}

/// What is measured.
enum Traffic {
    Barrier(barrier::Rounds),
    Broadcast(broadcast::Load),
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    std::panic::set_hook(Box::new(|panic| fail(&panic.to_string())));
    // As a task among the others, as in users' programs.
    let ran = tokio::spawn(run()).await;
    if let Err(error) = ran.map_err(Into::into).and_then(|ran| ran) {
        fail(&error.to_string());
    }
}

async fn run() -> Result<()> {
    let (role, mut words) = Words::read()?;
    let case = words.get("case", "barrier".to_owned())?;
    let traffic = match case.as_str() {
        "barrier" => Traffic::Barrier(barrier::Rounds::read(&mut words)?),
        "broadcast" => Traffic::Broadcast(broadcast::Load::read(&mut words)?),
        other => return Err(format!("unknown case `{other}`").into()),
    };
    let is_coordinator = match role.as_str() {
        "coordinator" => true,
        "member" => false,
        "host" => words.need::<usize>("host", "HOST")? == 0,
        other => return Err(format!("unknown role `{other}`").into()),
    };
    let address: IpAddr = words.need("coordinator", "COORDINATOR")?;
    let endpoint = format!("udp://{}", SocketAddr::new(address, words.get("port", 7100)?));
    let multicast: SocketAddr = words.get("multicast", SocketAddr::from(([239, 77, 1, 2], 7101)))?;
    let mut options = Options::new()
        .multicast(multicast)
        .window(words.get("window", 4 << 20)?)
        .spin(Duration::from_micros(words.get("spin_us", 0)?));
    if let Some(segment) = words.take("segment")? {
        options = options.segment(segment);
    }
    if let Some(budget) = words.take("send_budget")? {
        options = options.send_budget(budget);
    }
    if words.get("sealed", false)? {
        options = options.key(PresharedKey::new(&[7; 32])?);
    }
    let members = match words.take("members")? {
        Some(members) => members,
        None if is_coordinator => words.need::<usize>("hosts", "HOSTS")?.saturating_sub(1),
        None => 0,
    };
    words.finish()?;
    let side = if is_coordinator {
        Side::Coordinator(Coordinator::bind(endpoint, options).await?, members)
    } else {
        Side::Member(Member::join(endpoint, options).await?)
    };
    match traffic {
        Traffic::Barrier(rounds) => barrier::run(&side, &rounds).await?,
        Traffic::Broadcast(load) => broadcast::run(&side, &load).await?,
    }
    match side {
        Side::Coordinator(session, _) => session.close().await,
        Side::Member(session) => session.leave().await,
    }
    Ok(())
}
