//! An answer of many items: the reader is never flooded, and leaving it ends the work.

use std::time::Duration;

use flexbond::rpc::{Client, Failure, Methods, Server};
use futures_util::stream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let methods = Methods::new().add_stream("squares", async |from: u64| {
        Ok::<_, Failure>(stream::iter((from..).map(|n| Ok::<_, Failure>(n * n))))
    })?;
    let server = Server::new(methods);
    let endpoint = server.bind("tcp://127.0.0.1:0").await?;
    tokio::spawn(server.run());

    let client = Client::connect(&endpoint)?;
    let call = client
        .method("squares")
        .window(16)
        .timeout(Duration::from_secs(5));
    let mut squares = call.stream::<_, u64>(&3).await?;
    while let Some(square) = squares.next().await {
        let square = square?;
        println!("{square}");
        if square > 50 {
            break; // the server made at most 16 more, and stops
        }
    }
    Ok(())
}
