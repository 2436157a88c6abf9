//! A transport as a third party would write it: in-memory byte streams behind the scheme `duplex`.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flexbond_transport::{
    AcceptError, BindError, ConnectError, Connection, Endpoint, IoStream, Link, LinkOptions, Listener,
    Transport,
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

type Table = Arc<Mutex<HashMap<Endpoint, mpsc::Sender<DuplexStream>>>>;

#[derive(Default)]
pub(crate) struct Duplex {
    bound: Table,
}

#[async_trait]
impl Transport for Duplex {
    async fn bind(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Box<dyn Listener>, BindError> {
        let mut bound = self.bound.lock().unwrap();
        if bound.contains_key(endpoint) {
            return Err(BindError::InUse {
                endpoint: endpoint.clone(),
                source: None,
            });
        }
        let (connectors, connections) = mpsc::channel(options.backlog as usize);
        bound.insert(endpoint.clone(), connectors);
        Ok(Box::new(DuplexListener {
            bound: Arc::clone(&self.bound),
            endpoint: endpoint.clone(),
            connections,
        }))
    }

    async fn connect(&self, endpoint: &Endpoint, _options: &LinkOptions) -> Result<Connection, ConnectError> {
        let refused = || ConnectError::Io {
            endpoint: endpoint.clone(),
            source: io::ErrorKind::ConnectionRefused.into(),
        };
        let listener = self
            .bound
            .lock()
            .unwrap()
            .get(endpoint)
            .cloned()
            .ok_or_else(refused)?;
        let (near, far) = tokio::io::duplex(16 * 1024);
        listener.send(far).await.map_err(|_| refused())?;
        Ok(connection(near, endpoint))
    }
}

fn connection(io: DuplexStream, endpoint: &Endpoint) -> Connection {
    Connection::new(Link::Stream(Box::new(IoStream::new(io))), endpoint.clone())
}

struct DuplexListener {
    bound: Table,
    endpoint: Endpoint,
    connections: mpsc::Receiver<DuplexStream>,
}

#[async_trait]
impl Listener for DuplexListener {
    fn local_endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn accept(&mut self) -> Result<Connection, AcceptError> {
        match self.connections.recv().await {
            Some(io) => Ok(connection(io, &self.endpoint)),
            None => Err(AcceptError::Closed {
                endpoint: self.endpoint.clone(),
            }),
        }
    }
}

impl Drop for DuplexListener {
    fn drop(&mut self) {
        self.bound.lock().unwrap().remove(&self.endpoint);
    }
}
