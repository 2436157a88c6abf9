//! Hands out work: every message goes to one worker.

use flexbond::prelude::*;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // [readme]
    let tasks = Push::new();
    let endpoint = tasks.bind("tcp://127.0.0.1:0").await?;

    let worker = Pull::new();
    worker.connect(&endpoint)?;

    tasks.send(["resize", "picture.png"]).await?;
    let task = worker.recv().await?;
    println!("{} {}", task[0].escape_ascii(), task[1].escape_ascii());
    // [/readme]
    assert_eq!(task, Message::from(["resize", "picture.png"]));
    tasks.close().await;
    Ok(())
}
