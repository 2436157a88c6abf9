//! Ranks that are processes, one of which is killed in the middle of its work.

mod process;

use std::env;
use std::time::{Duration, Instant};

use flexbond_session::mesh::{Mesh, MeshError, MeshOptions, MeshServer};
use process::{Process, say};

const SIZE: usize = 4;
const ROUNDS: u64 = 8;
const DEAD_AFTER: Duration = Duration::from_secs(1);
/// What a rank is told by.
const ENDPOINT: &str = "FLEXBOND_TEST_MESH";
const LENGTH: &str = "FLEXBOND_TEST_MESH_LENGTH";

/// Not a test by itself: what each process of the other one runs.
#[tokio::test]
async fn rank() {
    let (Ok(endpoint), Ok(length)) = (env::var(ENDPOINT), env::var(LENGTH)) else {
        return;
    };
    let options = MeshOptions::new().size(SIZE).spin(Duration::from_micros(100));
    let mesh = Mesh::join(endpoint, options).await.expect("in");
    let body = vec![1; length.parse().expect("a number")];
    let error = exchange(&mesh, &body, u64::MAX).await.expect_err("a death");
    say(format!("{error:?}"));
    mesh.next_epoch().await.expect("an epoch");
    exchange(&mesh, &body, 3).await.expect("all well");
    say(mesh.size());
    mesh.leave().await;
}

/// Sends to all and receives from all, so often.
async fn exchange(mesh: &Mesh, body: &[u8], times: u64) -> Result<(), MeshError> {
    let others = || (0..mesh.size()).filter(|other| *other != mesh.rank());
    for tag in 0..times {
        let sends = others().map(|to| mesh.send(to, tag, body));
        let receives = others().map(|from| mesh.recv_bytes(from, tag));
        tokio::try_join!(
            futures_util::future::try_join_all(sends),
            futures_util::future::try_join_all(receives),
        )?;
        if tag == 0 {
            say("at work");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survivors_of_a_killed_process_hear_the_same_and_go_on() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..ROUNDS {
        let endpoint = ["tcp://127.0.0.1:0", "ipc://*"][round as usize % 2];
        let options = MeshOptions::new()
            .size(SIZE)
            .heartbeat(Duration::from_millis(100))
            .dead_after(DEAD_AFTER);
        let server = MeshServer::bind(endpoint, options).await.expect("a server");
        let length = [10, 1_000_000][random.usize(..2)];
        let (place, text) = (server.endpoint().to_string(), length.to_string());
        let start = |_| Process::start("rank", &[(ENDPOINT, &place), (LENGTH, &text)]);
        let mut ranks: Vec<Process> = (0..SIZE).map(start).collect();
        for rank in &mut ranks {
            assert_eq!(rank.says().await, "at work");
        }
        let mut dead = ranks.swap_remove(random.usize(..SIZE));
        let begun = Instant::now();
        dead.kill();
        let mut reports = Vec::new();
        for rank in &mut ranks {
            reports.push(rank.says().await);
        }
        let took = begun.elapsed();
        let context = format!("seed {seed}, round {round}, {length} bytes over {endpoint}");
        assert!(reports[0].starts_with("PeerFailed"), "{reports:?}, {context}");
        assert!(
            reports.iter().all(|report| *report == reports[0]),
            "{reports:?}, {context}"
        );
        assert!(
            took < DEAD_AFTER + Duration::from_millis(500),
            "{took:?}, {context}"
        );
        for rank in &mut ranks {
            let mut report = rank.says().await;
            while report == "at work" {
                report = rank.says().await;
            }
            assert_eq!(report, "3", "{context}");
        }
        server.finish().await;
    }
}
