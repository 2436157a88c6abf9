//! One holds a session, another joins it: a message for all, then a barrier that nobody passes before all have come.

use flexbond::group::{Coordinator, Member, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // [readme]
    let options = Options::new().multicast("239.255.66.66:4242".parse()?);
    let coordinator = Coordinator::bind("udp://127.0.0.1:0", options).await?;
    let mut barrier = coordinator.create_barrier(0)?;

    // In other programs, on this machine or others, as many as you like, at any time.
    let member = Member::join(coordinator.endpoint(), Options::new().name("ada")).await?;
    let mut place = member.join_barrier(0).await?;

    let delivery = coordinator.send(vec![7; 1_000_000]).await?;
    println!("{} bytes for all", member.recv().await?.body.len());
    delivery.delivered().await?;

    // Nobody goes on before all have come; who dies meanwhile is named to all.
    tokio::try_join!(barrier.wait(), place.wait())?;
    // [/readme]
    coordinator.close().await;
    Ok(())
}
