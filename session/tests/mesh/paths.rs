//! Paths between ranks that lead nowhere, while both reach the server.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flexbond_session::Endpoint;
use flexbond_session::mesh::{Mesh, MeshError, MeshOptions};
use flexbond_transport::{
    BindError, ConnectError, Connection, LinkOptions, Listener, Registry, Tcp, Transport,
};

use crate::{Place, server, within};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tcp in a network that swallows whatever goes to others than the server.
struct Swallowing {
    tcp: Tcp,
    server: Endpoint,
}

impl Transport for Swallowing {
    fn bind<'a, 'b, 'c, 't>(
        &'a self,
        endpoint: &'b Endpoint,
        options: &'c LinkOptions,
    ) -> Boxed<'t, Result<Box<dyn Listener>, BindError>>
    where
        'a: 't,
        'b: 't,
        'c: 't,
        Self: 't,
    {
        self.tcp.bind(endpoint, options)
    }

    fn connect<'a, 'b, 'c, 't>(
        &'a self,
        endpoint: &'b Endpoint,
        options: &'c LinkOptions,
    ) -> Boxed<'t, Result<Connection, ConnectError>>
    where
        'a: 't,
        'b: 't,
        'c: 't,
        Self: 't,
    {
        match *endpoint == self.server {
            true => self.tcp.connect(endpoint, options),
            false => Box::pin(std::future::pending()),
        }
    }
}

#[tokio::test]
async fn a_rank_that_does_not_answer_is_given_up_in_time() {
    let dead_after = Duration::from_millis(500);
    let brisk = MeshOptions::new()
        .heartbeat(Duration::from_millis(20))
        .dead_after(dead_after);
    let server = server(Place::Tcp, brisk.size(2)).await;
    let registry = Registry::empty();
    let swallowing = Swallowing {
        tcp: Tcp::new(),
        server: server.endpoint().clone(),
    };
    registry.register("tcp", Arc::new(swallowing)).unwrap();
    let ranks = [0, 1].map(|rank| {
        let options = MeshOptions::new().rank(rank).registry(registry.clone());
        Mesh::join(server.endpoint(), options)
    });
    let meshes = within("all ranks", futures_util::future::try_join_all(ranks))
        .await
        .unwrap();
    let begun = Instant::now();
    let waits = meshes.iter().map(|mesh| mesh.recv_bytes(1 - mesh.rank(), 0));
    let ended = within("the verdict", futures_util::future::join_all(waits)).await;
    // Who could not connect stays, and the other one is gone.
    assert_eq!(
        ended
            .iter()
            .filter(|end| matches!(end, Err(MeshError::PeerFailed { .. })))
            .count(),
        1
    );
    assert_eq!(
        ended
            .iter()
            .filter(|end| **end == Err(MeshError::Expelled))
            .count(),
        1
    );
    // As long to reach it, and as long for the server to decide.
    assert!(begun.elapsed() >= dead_after, "{:?}", begun.elapsed());
}
