//! redb's own batched inserts, beside messages that a server keeps on disk.
//!
//! Nobody sends anything: party 0 inserts as many values as messages are to be stored, a row for each, in transactions of
//! so many rows, each of which is on disk when it is committed (redb's `Durability::Immediate`).

use std::fs;
use std::process;
use std::thread;
use std::time::Instant;

use peer_harness::federation::{Args, Role, Traffic};
use peer_harness::{Control, Meter, Result, Usage, fail, print};
use redb::{Builder, TableDefinition};
use serde_json::json;

/// As a message server has them: channel and direction, offset, place in the message.
const ROWS: TableDefinition<'_, (u64, u64, u64), &[u8]> = TableDefinition::new("rows");
/// As flexbond's server has by itself.
const CACHE: usize = 64 << 20;
/// Rows of a transaction.
const BATCHES: [usize; 4] = [64, 256, 1024, 4096];

fn main() {
    std::panic::set_hook(Box::new(|panic| fail(&panic.to_string())));
    if let Err(error) = run() {
        fail(&error.to_string());
    }
}

fn run() -> Result<()> {
    let args = Args::read()?;
    if args.traffic != Traffic::Store {
        print(&json!({ "missing": "no server" }));
        return Ok(());
    }
    if args.role == Role::List {
        let settings = BATCHES.map(|rows| {
            let about = format!("transactions of {rows} rows, each on disk when it is committed");
            json!({ "name": format!("batch-{rows}"), "about": about })
        });
        print(&json!({ "settings": settings }));
        return Ok(());
    }
    let rows = args
        .setting
        .strip_prefix("batch-")
        .ok_or("unknown setting")?
        .parse()?;
    let meter = Meter::new(1);
    let mut go = Control::start(&meter);
    if args.role == Role::Serve {
        print(&json!({ "bound": "nowhere" }));
    } else {
        print(&json!({ "ready": true }));
        go.wait_blocking();
        insert(&args, rows, &meter)?;
    }
    // The end of the input ends the program.
    loop {
        thread::park();
    }
}

fn insert(args: &Args, rows: usize, meter: &Meter) -> Result<()> {
    let file = args.folder.join(format!("bench-{}-rows.redb", process::id()));
    let database = Builder::new().set_cache_size(CACHE).create(&file)?;
    // It goes with this process, however that ends.
    fs::remove_file(&file)?;
    let value = vec![0xA5_u8; args.size];
    // What has to be made once is there before it is timed, as with a server.
    let transaction = database.begin_write()?;
    transaction.open_table(ROWS)?;
    transaction.commit()?;
    let (before, at) = (Usage::now(), Instant::now());
    let mut inserted = 0;
    while inserted < args.messages {
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(ROWS)?;
            let end = args.messages.min(inserted + rows);
            for number in inserted..end {
                // Channels take turns.
                let (channel, offset) = (number % args.in_flight, number / args.in_flight);
                table.insert((channel as u64, offset as u64, 0), &*value)?;
            }
            inserted = end;
        }
        transaction.commit()?;
    }
    print(&meter.result(inserted as u64, 0, Some(at.elapsed()), before));
    Ok(())
}
