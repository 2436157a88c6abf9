//! Three parties of one job that reach nothing but a message server, by their names: what one has is sent to another, and
//! all learn the sum of what they have without knowing each other's addresses. Here all are tasks of one process.

use flexbond::collectives::federation::{Config, Federation, Server, ServerConfig};

const CONFIG: &str = r#"{
    "server": "SERVER",
    "session": {"local_id": "LOCAL", "job_id": "churn-7"},
    "federation": {"guest": ["bank-a"], "host": ["bank-b"], "arbiter": ["auditor"]}
}"#;

async fn party(server: String, local: &str, mine: f64) -> Result<f64, Box<dyn std::error::Error>> {
    let text = CONFIG.replace("SERVER", &server).replace("LOCAL", local);
    // [readme]
    let config = Config::from_json(&text)?; // or Config::from_file("bank-a.toml")
    let federation = Federation::connect(config).await?;

    // Whoever it is for may start an hour later; the server keeps it, and it comes once.
    if local == "bank-a" {
        federation
            .variable("model", "bank-b")?
            .send(&vec![0.5_f64; 1000])
            .await?;
    }
    if local == "bank-b" {
        let model: Vec<f64> = federation.variable("model", "bank-a")?.recv().await?;
        println!("a model of {} weights", model.len());
    }

    let sums = federation.broadcast("sums", "auditor", ["bank-a", "bank-b"])?;
    let sum = sums.allreduce(mine, |a, b| a + b).await?;
    federation.close().await;
    // [/readme]
    Ok(sum)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = ServerConfig::new();
    config.listen = vec!["tcp://127.0.0.1:0".parse()?];
    let mut server = Server::bind(config).await?;
    let address = server.endpoints()[0].to_string();
    let (a, b, auditor) = tokio::join!(
        party(address.clone(), "bank-a", 1.0),
        party(address.clone(), "bank-b", 2.0),
        party(address, "auditor", 4.0),
    );
    println!("the sums: {} {} {}", a?, b?, auditor?);
    server.shutdown(std::time::Duration::from_secs(5)).await?;
    Ok(())
}
