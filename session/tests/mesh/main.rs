//! Ranks of one process that exchange messages over tcp, ipc and inproc, come, leave and die.

mod cancellation;
mod exchange;
mod failure;
mod hostile;
mod membership;
mod paths;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use flexbond_session::Endpoint;
use flexbond_session::mesh::{Mesh, MeshOptions, MeshServer};

/// How long anything may take that should happen at once.
const DEADLINE: Duration = Duration::from_secs(20);

/// Awaits `future`, but not for ever.
async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {DEADLINE:?} for {what}"),
    }
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Tcp,
    Ipc,
    Inproc,
}

impl Place {
    const ALL: [Place; 3] = [Place::Tcp, Place::Ipc, Place::Inproc];

    fn endpoint(self) -> Endpoint {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let text = match self {
            Place::Tcp => "tcp://127.0.0.1:0".to_owned(),
            Place::Ipc => "ipc://*".to_owned(),
            Place::Inproc => format!("inproc://mesh {}", NEXT.fetch_add(1, Ordering::Relaxed)),
        };
        text.parse().expect("an endpoint")
    }
}

async fn server(place: Place, options: MeshOptions) -> MeshServer {
    within("a server", MeshServer::bind(place.endpoint(), options))
        .await
        .expect("a server")
}

/// So many ranks, by rank, and their server. A silent rank is given up soon.
async fn ranks(place: Place, size: usize, options: MeshOptions) -> (MeshServer, Vec<Arc<Mesh>>) {
    let options = options
        .heartbeat(Duration::from_millis(50))
        .dead_after(Duration::from_millis(2000));
    let server = server(place, options.clone().size(size)).await;
    let joining = (0..size).map(|rank| {
        let joining = Mesh::join(server.endpoint(), options.clone().size(size).rank(rank));
        async move { Arc::new(joining.await.expect("joined")) }
    });
    let meshes = within("all ranks", futures_util::future::join_all(joining)).await;
    for (rank, mesh) in meshes.iter().enumerate() {
        assert_eq!((mesh.rank(), mesh.size(), mesh.epoch()), (rank, size, 1));
    }
    (server, meshes)
}

/// What rank `from` sends with this tag.
fn pattern(from: usize, tag: u64, length: usize) -> Vec<u8> {
    let start = from * 31 + tag as usize;
    let period: Vec<u8> = (0..=250).collect();
    let mut bytes = period.repeat((start % 251 + length).div_ceil(251));
    bytes.drain(..start % 251);
    bytes.truncate(length);
    bytes
}

/// Runs one task for each rank; all must end well.
async fn all<F>(meshes: &[Arc<Mesh>], mut run: impl FnMut(Arc<Mesh>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let tasks: Vec<_> = meshes
        .iter()
        .map(|mesh| tokio::spawn(run(Arc::clone(mesh))))
        .collect();
    for task in tasks {
        within("a rank", task).await.expect("no panic");
    }
}

/// A round of messages, each to the next rank.
async fn ring(mesh: &Mesh, tag: u64, length: usize) {
    let (rank, size) = (mesh.rank(), mesh.size());
    let (next, last) = ((rank + 1) % size, (rank + size - 1) % size);
    let body = pattern(rank, tag, length);
    let mut into = vec![0; length];
    let (sent, received) = tokio::join!(mesh.send(next, tag, &body), mesh.recv(last, tag, &mut into));
    sent.expect("sent");
    assert_eq!(received.expect("received"), length);
    assert!(
        into == pattern(last, tag, length),
        "{length} bytes from {last} to {rank}"
    );
}
