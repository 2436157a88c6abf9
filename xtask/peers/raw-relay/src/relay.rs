//! The server: what comes from one party goes to the other.

use peer_harness::federation::Args;
use peer_harness::{Result, print};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// What is read and written at once, at most.
const BUFFER: usize = 1 << 20;

pub(crate) async fn serve(args: Args) -> Result<()> {
    let listener = TcpListener::bind(args.address()).await?;
    print(&json!({ "bound": format!("tcp://{}", listener.local_addr()?) }));
    loop {
        let (one, other) = (accept(&listener).await?, accept(&listener).await?);
        let ((read_one, write_one), (read_other, write_other)) = (one.into_split(), other.into_split());
        tokio::spawn(pass(read_one, write_other));
        tokio::spawn(pass(read_other, write_one));
    }
}

async fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let stream = listener.accept().await?.0;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
