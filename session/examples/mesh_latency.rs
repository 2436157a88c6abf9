//! What messages between ranks cost: `mesh_latency [RANKS] [SPIN_MICROSECONDS] [ENDPOINT]`. Each rank is a process.
//!
//! Prints the medians of: a round trip of 1 KiB between ranks 0 and 1, an exchange of 1 KiB with log2(RANKS) others in
//! turn (as a small allreduce does), and the goodput of messages of 16 MiB from rank 0 to rank 1, one way and both ways.

use std::env;
use std::error::Error;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flexbond_session::mesh::{Mesh, MeshError, MeshOptions, MeshServer};

const SMALL: usize = 1 << 10;
const LARGE: usize = 16 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let ranks: usize = args.next().map_or(Ok(2), |text| text.parse())?;
    let spin: u64 = args.next().map_or(Ok(1000), |text| text.parse())?;
    let endpoint = args.next().unwrap_or_else(|| "tcp://127.0.0.1:0".to_owned());
    let options = MeshOptions::new().size(ranks).spin(Duration::from_micros(spin));
    // The others are this program once more, with their rank as a fourth argument.
    if let Some(rank) = args.next() {
        return run(&endpoint, options.rank(rank.parse()?)).await;
    }
    let server = MeshServer::bind(endpoint, MeshOptions::new().size(ranks)).await?;
    let endpoint = server.endpoint().to_string();
    let mut others = Vec::new();
    for rank in 1..ranks {
        let mut command = Command::new(env::current_exe()?);
        command.args([
            ranks.to_string(),
            spin.to_string(),
            endpoint.clone(),
            rank.to_string(),
        ]);
        others.push(command.spawn()?);
    }
    run(&endpoint, options.rank(0)).await?;
    for mut other in others {
        other.wait()?;
    }
    server.finish().await;
    Ok(())
}

async fn run(endpoint: &str, options: MeshOptions) -> Result<(), Box<dyn Error>> {
    let mesh = Arc::new(Mesh::join(endpoint, options).await?);
    // In a task, as in most programs: what wakes itself on the main future goes through the system.
    let measuring = Arc::clone(&mesh);
    tokio::spawn(async move { measure(&measuring).await }).await??;
    if let Ok(mesh) = Arc::try_unwrap(mesh) {
        mesh.leave().await;
    }
    Ok(())
}

async fn measure(mesh: &Mesh) -> Result<(), MeshError> {
    let tell = |what: &str, value: String| {
        if mesh.rank() == 0 {
            println!("{what:<42} {value}");
        }
    };
    let micros = |time: Duration| format!("{:.2} us", time.as_secs_f64() * 1e6);
    let goodput = |time: Duration| format!("{:.2} GB/s", LARGE as f64 / time.as_secs_f64() / 1e9);
    let trip = median(mesh, 20_000, || ping_pong(mesh)).await?;
    tell("round trip of 1 KiB", micros(trip));
    let rounds = median(mesh, 20_000, || exchange(mesh)).await?;
    tell("exchange of 1 KiB with log2(ranks) others", micros(rounds));
    let mut body = vec![1; LARGE];
    let mut into = vec![0; LARGE];
    let mut times = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        one_way(mesh, &mut body, &mut into).await?;
        times.push(begun.elapsed());
    }
    tell("goodput of 16 MiB, one way", goodput(middle(times)));
    let mut times = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        if let Some(peer) = 1_usize.checked_sub(mesh.rank()) {
            let (sent, received) = tokio::join!(mesh.send(peer, 4, &body), mesh.recv(peer, 4, &mut into));
            sent?;
            received?;
        }
        times.push(begun.elapsed());
    }
    tell("goodput of 16 MiB, each of both ways", goodput(middle(times)));
    Ok(())
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

async fn median<F>(mesh: &Mesh, count: usize, mut act: impl FnMut() -> F) -> Result<Duration, MeshError>
where
    F: Future<Output = Result<(), MeshError>>,
{
    // So that all begin together.
    exchange(mesh).await?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        act().await?;
        times.push(begun.elapsed());
    }
    Ok(middle(times))
}

async fn ping_pong(mesh: &Mesh) -> Result<(), MeshError> {
    let mut buffer = [0; SMALL];
    match mesh.rank() {
        0 => {
            mesh.send(1, 1, &buffer).await?;
            mesh.recv(1, 1, &mut buffer).await?;
        }
        1 => {
            mesh.recv(0, 1, &mut buffer).await?;
            mesh.send(0, 1, &buffer).await?;
        }
        _ => {}
    }
    Ok(())
}

async fn exchange(mesh: &Mesh) -> Result<(), MeshError> {
    let (body, mut into) = ([0; SMALL], [0; SMALL]);
    let mut bit = 1;
    while bit < mesh.size() {
        let peer = mesh.rank() ^ bit;
        if peer < mesh.size() {
            let (sent, received) = tokio::join!(
                mesh.send(peer, bit as u64, &body),
                mesh.recv(peer, bit as u64, &mut into)
            );
            sent?;
            received?;
        }
        bit *= 2;
    }
    Ok(())
}

async fn one_way(mesh: &Mesh, body: &mut [u8], into: &mut [u8]) -> Result<(), MeshError> {
    let mut done = [0];
    match mesh.rank() {
        0 => {
            mesh.send(1, 2, body).await?;
            mesh.recv(1, 3, &mut done).await?;
        }
        1 => {
            mesh.recv(0, 2, into).await?;
            mesh.send(0, 3, &done).await?;
        }
        _ => {}
    }
    Ok(())
}
