//! Deadlines and cancellation: the work stops where it is done.

use std::time::Duration;

use flexbond::rpc::{CallError, Client, Context, Failure, Methods, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let methods = Methods::new().add("search", async |context: Context, word: String| {
        println!("search for {word}, within {:?}", context.time_left());
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok::<_, Failure>(0_u64)
    })?;
    let server = Server::new(methods);
    let endpoint = server.bind("tcp://127.0.0.1:0").await?;
    tokio::spawn(server.run());

    let client = Client::connect(&endpoint)?;
    let search = client.method("search").timeout(Duration::from_millis(200));
    match search.value::<_, u64>("life").await {
        Ok(found) => println!("{found}"),
        Err(CallError::Disconnected { sent: false, .. }) => println!("not sent: try another server"),
        Err(error) => println!("{error}"),
    }
    // The answer to a later call comes after the search was stopped.
    let health: String = client.call("flexbond.health", &()).await?;
    println!("the server is {health}");
    Ok(())
}
