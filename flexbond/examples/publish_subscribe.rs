//! Publishes to all who subscribed, without losing anything.

use flexbond::prelude::*;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // An XPUB is a PUB that sees subscriptions arrive, so it can wait for its first subscriber. With
    // SlowPeer::Wait it waits for slow subscribers too, instead of dropping messages for them.
    let weather = XPub::with_options(Options::new().slow_peer(SlowPeer::Wait))?;
    let endpoint = weather.bind("tcp://127.0.0.1:0").await?;

    let subscriber = Sub::new();
    subscriber.subscribe("zurich.")?;
    subscriber.connect(&endpoint)?;

    let subscription = weather.recv().await?;
    println!("somebody wants {}", subscription[0][1..].escape_ascii());
    weather.send(["geneva.temperature", "19.0"]).await?;
    weather.send(["zurich.temperature", "21.5"]).await?;

    let report = subscriber.recv().await?;
    println!("{}: {}", report[0].escape_ascii(), report[1].escape_ascii());
    assert_eq!(report, Message::from(["zurich.temperature", "21.5"]));
    Ok(())
}
