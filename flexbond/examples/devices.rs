//! A queue device: clients on one side, workers on the other, and neither knows how many there are.

use flexbond::prelude::*;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (clients, workers) = (Router::new(), Dealer::new());
    let front = clients.bind("tcp://127.0.0.1:0").await?;
    let back = workers.bind("inproc://workers").await?;
    tokio::spawn(async move { Proxy::queue(&clients, &workers).run().await });

    for name in ["ann", "bob"] {
        let worker = Rep::new();
        worker.connect(&back)?;
        tokio::spawn(async move {
            while worker.recv().await.is_ok() {
                if worker.send(format!("done by {name}")).await.is_err() {
                    break;
                }
            }
        });
    }

    let client = Req::new();
    client.connect(&front)?;
    for _ in 0..4 {
        client.send("a task").await?;
        println!("{}", client.recv().await?[0].escape_ascii());
    }
    Ok(())
}
