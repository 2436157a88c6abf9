//! Asks and answers.

use flexbond::prelude::*;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Rep::new();
    let endpoint = server.bind("tcp://127.0.0.1:0").await?;
    tokio::spawn(async move {
        while let Ok(request) = server.recv().await {
            let reply = format!("hello, {}", request[0].escape_ascii());
            if server.send(reply).await.is_err() {
                break;
            }
        }
    });

    let client = Req::new();
    client.connect(&endpoint)?;
    client.send("world").await?;
    match client.recv().await {
        Ok(reply) => println!("{}", reply[0].escape_ascii()),
        Err(RecvError::PeerLost(peer)) => println!("{} is gone, and the answer with it", peer.endpoint()),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
