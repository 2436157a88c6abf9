//! The limit: what plain streams, channels and ping-pong reach under the same rules.
//!
//! The rules are the contenders': the sender makes each message anew (a copy of the application's bytes that owns its
//! memory), and one loop sends while one receives. There is no framing, no pattern and no high-water mark but the
//! kernel's buffers and the channel's bound.

mod channel;
mod echo;
mod stream;

use std::thread;

use peer_harness::{Args, Case, Control, Meter, Result, Role, Transport, fail, print};
use serde_json::json;

fn main() {
    std::panic::set_hook(Box::new(|panic| fail(&panic.to_string())));
    if let Err(error) = run() {
        fail(&error.to_string());
    }
}

fn settings(args: &Args) -> Vec<(&'static str, &'static str)> {
    match (args.case, args.transport) {
        (Case::PushPull, Transport::Inproc) if args.parts == 1 => vec![
            ("crossbeam", "crossbeam bounded channel between two threads"),
            ("std", "std sync_channel between two threads"),
        ],
        (Case::PushPull, Transport::Tcp | Transport::Ipc) if args.parts == 1 && args.rate == 0 => vec![(
            "blocking",
            "blocking stream, unframed, at least 64 KiB a write; each payload a new Vec from 16 KiB on, a copy into \
             the write buffer below",
        )],
        (Case::ReqRep, Transport::Inproc) => vec![("tokio-channels", "two tokio mpsc channels")],
        (Case::ReqRep, _) => vec![
            ("tokio-current-thread", "tokio stream ping-pong on current_thread"),
            (
                "tokio-multi-thread",
                "tokio stream ping-pong on multi_thread with 2 workers",
            ),
            ("blocking", "blocking stream ping-pong"),
        ],
        _ => Vec::new(),
    }
}

fn run() -> Result<()> {
    let args = Args::read()?;
    let settings = settings(&args);
    if settings.is_empty() {
        print(&json!({ "missing": "no raw counterpart" }));
        return Ok(());
    }
    if args.role == Role::List {
        let list: Vec<_> = settings
            .iter()
            .map(|(name, about)| json!({ "name": name, "about": about }))
            .collect();
        print(&json!({ "settings": list }));
        return Ok(());
    }
    if !settings.iter().any(|(name, _)| *name == args.setting) {
        return Err(format!("unknown setting `{}`", args.setting).into());
    }
    let meter = Meter::new(args.peers);
    let go = Control::start(&meter);
    match (args.case, args.role, args.setting.as_str()) {
        (Case::PushPull, Role::Inproc, _) => channel::run(&args, &meter, go),
        (Case::PushPull, Role::Bind, _) => stream::receive(&args, &meter)?,
        (Case::PushPull, _, _) => stream::send(&args, go)?,
        (_, Role::Inproc, _) => echo::channels(&args, &meter, go)?,
        (_, Role::Bind, "blocking") => echo::serve_blocking(&args)?,
        (_, _, "blocking") => echo::ask_blocking(&args, &meter, go)?,
        (_, Role::Bind, _) => echo::serve(&args)?,
        (_, _, _) => echo::ask(&args, &meter, go)?,
    }
    // The bench ends this program, after the other side.
    thread::park();
    Ok(())
}
