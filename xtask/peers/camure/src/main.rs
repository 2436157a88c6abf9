//! camure as a peer: a coordinator and members that pass barriers, or broadcast messages.
//!
//! `peer-camure ROLE key=value…` where ROLE is `coordinator`, `member`, or `host`: then host 0 is the coordinator and
//! the others are members, by the variables that `cargo xtask netlab run` sets. Both sides are told the same numbers,
//! and each prints a JSON object with what it measured.

mod barrier;
mod broadcast;

use std::net::SocketAddr;
use std::process;

use camure::session::{Coordinator, Member};
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

fn main() {
    std::panic::set_hook(Box::new(|panic| fail(&panic.to_string())));
    match run() {
        // camure's threads have no end of their own.
        Ok(()) => process::exit(0),
        Err(error) => fail(&error.to_string()),
    }
}

fn run() -> Result<()> {
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
    let address = words.need("coordinator", "COORDINATOR")?;
    let address = SocketAddr::new(address, words.get("port", 7000)?);
    let multicast: SocketAddr = words.get("multicast", SocketAddr::from(([239, 77, 1, 1], 7001)))?;
    let members = match words.take("members")? {
        Some(members) => members,
        None if is_coordinator => words.need::<usize>("hosts", "HOSTS")?.saturating_sub(1),
        None => 0,
    };
    words.finish()?;
    let side = if is_coordinator {
        Side::Coordinator(Coordinator::start_session(address, multicast)?, members)
    } else {
        Side::Member(Member::join_session(address)?)
    };
    match traffic {
        Traffic::Barrier(rounds) => barrier::run(&side, &rounds),
        Traffic::Broadcast(load) => broadcast::run(&side, &load),
    }
}

/// What is measured.
enum Traffic {
    Barrier(barrier::Rounds),
    Broadcast(broadcast::Load),
}
