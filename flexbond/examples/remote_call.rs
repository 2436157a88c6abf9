//! A function on another machine, with state that all callers share.

use std::sync::atomic::{AtomicU64, Ordering};

use flexbond::rpc::{Client, Failure, Methods, Server};
use serde::{Deserialize, Serialize};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // [readme]
    #[derive(Serialize, Deserialize)]
    struct Operands {
        a: f64,
        b: f64,
    }

    static CALLS: AtomicU64 = AtomicU64::new(0);
    let methods = Methods::new()
        .add("divide", async |Operands { a, b }| {
            CALLS.fetch_add(1, Ordering::Relaxed);
            match b {
                0.0 => Err(Failure::failed(1, "division by zero")),
                _ => Ok(a / b),
            }
        })?
        .add("calls", async |()| {
            Ok::<_, Failure>(CALLS.load(Ordering::Relaxed))
        })?;
    let server = Server::new(methods);
    let endpoint = server.bind("tcp://127.0.0.1:0").await?;
    tokio::spawn(server.run());

    // In other programs. A thousand calls may be under way at once, and a slow one delays no other.
    let client = Client::connect(&endpoint)?;
    let ratio: f64 = client.call("divide", &Operands { a: 1.0, b: 8.0 }).await?;
    let error = client
        .call::<_, f64>("divide", &Operands { a: 1.0, b: 0.0 })
        .await
        .unwrap_err();
    println!("{ratio}; {error}; it may have run: {}", error.may_have_run());
    println!("{} calls", client.call::<_, u64>("calls", &()).await?);
    // [/readme]
    Ok(())
}
