//! A party that makes a call for each message sent, and one for each received.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peer_harness::Result;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::generated::relay_client::RelayClient;
use crate::mailbox::PIECE;
use crate::messages::{Get, Piece, Put, Route};

/// Between attempts, while the server is not there.
const PAUSE: Duration = Duration::from_millis(100);

/// A channel.
pub(crate) struct Line {
    there: There,
    back: Back,
}

struct There {
    client: RelayClient<Channel>,
    route: Arc<Route>,
    next: u64,
}

struct Back {
    client: RelayClient<Channel>,
    route: Arc<Route>,
    next: u64,
}

impl Line {
    pub(crate) fn new(client: &RelayClient<Channel>, to: Route, from: Route) -> Self {
        Line {
            there: There {
                client: client.clone(),
                route: Arc::new(to),
                next: 0,
            },
            back: Back {
                client: client.clone(),
                route: Arc::new(from),
                next: 0,
            },
        }
    }

    pub(crate) async fn swap(&mut self, value: Bytes) -> Result<Bytes> {
        let (there, back) = (&mut self.there, &mut self.back);
        let ((), value) = futures::future::try_join(there.send(value), back.receive()).await?;
        Ok(value)
    }

    pub(crate) async fn send(&mut self, value: Bytes) -> Result<()> {
        self.there.send(value).await
    }

    pub(crate) async fn receive(&mut self) -> Result<Bytes> {
        self.back.receive().await
    }
}

impl There {
    async fn send(&mut self, mut value: Bytes) -> Result<()> {
        loop {
            let data = value.split_to(value.len().min(PIECE));
            let piece = Piece {
                offset: self.next,
                goes_on: !value.is_empty(),
                data,
            };
            self.put(piece).await?;
            self.next += 1;
            if value.is_empty() {
                return Ok(());
            }
        }
    }

    /// The server takes a piece once, however often it is sent.
    async fn put(&mut self, piece: Piece) -> Result<()> {
        loop {
            let put = Put {
                route: Some(Route::clone(&self.route)),
                piece: Some(piece.clone()),
            };
            match self.client.send(put).await {
                Ok(_) => return Ok(()),
                Err(status) => again(status).await?,
            }
        }
    }
}

impl Back {
    async fn receive(&mut self) -> Result<Bytes> {
        let first = self.get().await?;
        if !first.goes_on {
            return Ok(first.data);
        }
        let mut value = Vec::from(first.data);
        loop {
            let piece = self.get().await?;
            value.extend_from_slice(&piece.data);
            if !piece.goes_on {
                return Ok(value.into());
            }
        }
    }

    async fn get(&mut self) -> Result<Piece> {
        loop {
            let get = Get {
                route: Some(Route::clone(&self.route)),
                next: self.next,
            };
            match self.client.receive(get).await {
                Ok(given) => {
                    if let Some(piece) = given.into_inner().piece {
                        self.next += 1;
                        return Ok(piece);
                    }
                }
                Err(status) => again(status).await?,
            }
        }
    }
}

/// After this, once more; unless it is of no use.
async fn again(status: Status) -> Result<()> {
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::Unknown => tokio::time::sleep(PAUSE).await,
        _ => return Err(status.into()),
    }
    Ok(())
}
