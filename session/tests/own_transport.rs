//! A transport of the application's own: whatever stream it gives, sockets talk through it.

mod harness;

use std::sync::{Arc, Mutex};

use flexbond_session::socket::SocketType;
use flexbond_session::{Message, async_trait};
use flexbond_transport::{
    AcceptError, BindError, ConnectError, Connection, Endpoint, IoStream, Link, LinkOptions, Listener,
    Registry, Transport,
};
use harness::{brisk, recv, send, socket_with, within};
use tokio::io::{BufStream, DuplexStream};

/// One connection, by a stream that keeps what is written until it is flushed.
#[derive(Default)]
struct Buffered(Mutex<Option<DuplexStream>>);

/// Accepts the one connection there is.
struct One(Endpoint, Option<DuplexStream>);

fn link(stream: DuplexStream) -> Link {
    Link::Stream(Box::new(IoStream::new(BufStream::new(stream))))
}

#[async_trait]
impl Listener for One {
    fn local_endpoint(&self) -> &Endpoint {
        &self.0
    }

    async fn accept(&mut self) -> Result<Connection, AcceptError> {
        match self.1.take() {
            Some(stream) => Ok(Connection::new(link(stream), self.0.clone())),
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Transport for Buffered {
    async fn bind(&self, endpoint: &Endpoint, _: &LinkOptions) -> Result<Box<dyn Listener>, BindError> {
        let (near, far) = tokio::io::duplex(1 << 16);
        *self.0.lock().unwrap() = Some(far);
        Ok(Box::new(One(endpoint.clone(), Some(near))))
    }

    async fn connect(&self, endpoint: &Endpoint, _: &LinkOptions) -> Result<Connection, ConnectError> {
        let stream = self.0.lock().unwrap().take().expect("bound");
        Ok(Connection::new(link(stream), endpoint.clone()))
    }
}

#[tokio::test]
async fn a_stream_with_a_buffer_is_flushed() {
    let registry = Registry::empty();
    registry
        .register("buffered", Arc::new(Buffered::default()))
        .unwrap();
    let options = brisk().registry(registry);
    let rep = socket_with(SocketType::Rep, options.clone());
    let req = socket_with(SocketType::Req, options);
    within("bind", rep.bind("buffered://one")).await.unwrap();
    req.connect("buffered://one").unwrap();
    for n in 0..3 {
        send(&req, format!("question {n}")).await;
        assert_eq!(recv(&rep).await, Message::from(format!("question {n}")));
        send(&rep, "answer").await;
        assert_eq!(recv(&req).await, Message::from("answer"));
    }
}
