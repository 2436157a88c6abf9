//! One line calls a function on another machine, from code without a runtime.

use std::collections::BTreeMap;

use flexbond::blocking::{self, call_remote_func};
use flexbond::rpc::{Failure, Methods, Server};
use serde::Deserialize;

#[derive(Deserialize)]
struct Operands {
    a: f64,
    b: f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || serve(&tx));
    let port = rx.recv()?;
    let args = BTreeMap::from([("a", 1.0), ("b", 2.0)]);
    let sum: f64 = call_remote_func("localhost", port, "add", &args)?;
    println!("{sum}");

    // For more than one call, a connection that is kept.
    let client = blocking::Client::connect(format!("tcp://localhost:{port}"))?;
    for n in 0..3 {
        println!("{}", client.call::<_, f64>("add", &(f64::from(n), 0.5))?);
    }
    Ok(())
}

/// The server, which tells at which port it is.
#[tokio::main(flavor = "current_thread")]
async fn serve(tell: &std::sync::mpsc::Sender<u16>) {
    let methods = Methods::new().add("add", async |Operands { a, b }| Ok::<_, Failure>(a + b));
    let server = Server::new(methods.expect("a name"));
    let endpoint = server.bind("tcp://127.0.0.1:0").await.expect("a free port");
    let port = endpoint
        .to_string()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    tell.send(port.expect("a port")).expect("somebody waits for it");
    server.run().await;
}
