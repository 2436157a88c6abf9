//! Ranks that wait cost no processor time, those that spin neither, once it has not paid: measured as this process's own.
#![cfg(target_os = "linux")]

use std::time::Duration;

use flexbond_session::mesh::{Mesh, MeshOptions, MeshServer};

/// Processor time of this process so far, in hundredths of a second.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // Fields are counted after the program's name, which may itself contain spaces.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("fields")
        .split_whitespace()
        .collect();
    fields[11..13]
        .iter()
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum()
}

#[tokio::test]
async fn waiting_is_free() {
    let server = MeshServer::bind("tcp://127.0.0.1:0", MeshOptions::new().size(3))
        .await
        .expect("a server");
    let join = |rank| {
        let options = MeshOptions::new().rank(rank).spin(MeshOptions::MAX_SPIN);
        Mesh::join(server.endpoint(), options)
    };
    let (zero, one, two) = tokio::try_join!(join(0), join(1), join(2)).expect("three ranks");
    zero.send(1, 0, b"a connection").await.expect("sent");
    one.recv(0, 0, &mut [0; 16]).await.expect("received");
    let waiting = async {
        tokio::join!(
            zero.recv_bytes(1, 1),
            zero.recv_bytes(2, 1),
            one.recv_bytes(0, 1),
            two.recv_bytes(2, 1),
        )
    };
    let measuring = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let before = ticks();
        tokio::time::sleep(Duration::from_millis(500)).await;
        ticks() - before
    };
    tokio::select! {
        outcome = waiting => panic!("{outcome:?}"),
        spent = measuring => assert!(spent <= 5, "{spent}0 ms of 500"),
    }
}
