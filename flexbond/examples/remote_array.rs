//! Large arrays there and back, without a copy in between and without a size to tune.

use flexbond::rpc::{Client, Failure, Methods, Server, Tensor};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let methods = Methods::new().add("invert", async |image: Tensor<u8>| {
        let inverted = image.iter().map(|pixel| 255 - pixel).collect();
        Tensor::new(image.shape(), inverted).map_err(|error| Failure::failed(1, error.to_string()))
    })?;
    let server = Server::new(methods);
    let endpoint = server.bind("tcp://127.0.0.1:0").await?;
    tokio::spawn(server.run());

    let client = Client::connect(&endpoint)?;
    let image = Tensor::new(&[2048, 2048], vec![7_u8; 2048 * 2048])?;
    let inverted: Tensor<u8> = client.call("invert", &image).await?;
    println!("{:?}: {}", inverted.shape(), inverted[0]);
    Ok(())
}
