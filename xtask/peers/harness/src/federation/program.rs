//! The program of a library for parties that talk by a server.

use serde_json::json;

use super::args::Role;
use super::{Args, Contender, party, traffic};
use crate::control::Control;
use crate::meter::Meter;
use crate::program::{allow_connections, chosen, print, tell_failures};
use crate::rpc::block_on;
use crate::{Result, Setting};

/// The whole program of a peer.
pub fn main<C: Contender>() {
    tell_failures(run::<C>);
}

fn run<C: Contender>() -> Result<()> {
    let args = Args::read()?;
    let is_list = args.role == Role::List;
    let Some(setting) = chosen(is_list, C::support(&args), &args.setting)? else {
        return Ok(());
    };
    allow_connections();
    match args.role {
        Role::List => Ok(()),
        Role::Serve => {
            Control::start(&Meter::new(1));
            let served = C::serve(args, |endpoint| print(&json!({ "bound": endpoint })));
            block_on(setting.threads, false, served)
        }
        Role::Party => take_part::<C>(setting, args),
    }
}

fn take_part<C: Contender>(setting: Setting, args: Args) -> Result<()> {
    let jobs = 0..args.jobs;
    let loops: Vec<_> = jobs
        .flat_map(|job| args.own().map(move |party| (job, party)))
        .map(|(job, party)| traffic::loops(&args, job, party))
        .collect();
    let meter = Meter::new(loops.iter().map(Vec::len).sum::<usize>().max(1));
    let go = Control::start(&meter);
    block_on(
        setting.threads,
        false,
        party::take_part::<C>(args, loops, meter, go),
    )
}
