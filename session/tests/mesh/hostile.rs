//! Connections that speak nonsense, too little or too much.

use std::sync::Arc;
use std::time::Duration;

use flexbond_session::mesh::{JoinError, Mesh, MeshError, MeshOptions, MeshServer, Refusal};
use flexbond_session::{Endpoint, Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::{Place, all, ranks, ring, within};

/// The hello of a control connection.
const HELLO: [u8; 16] = *b"FBMESH\r\n\x01\x00\x01\x00\x00\x00\x00\x00";

fn address(endpoint: &Endpoint) -> String {
    endpoint.address()
}

/// An application to join, with its length.
fn join() -> Vec<u8> {
    let endpoint = b"tcp://127.0.0.1:1";
    let mut join = vec![1];
    join.extend([0; 10]);
    join.extend([0; 2]);
    join.extend((endpoint.len() as u16).to_le_bytes());
    join.extend(endpoint);
    let mut bytes = (join.len() as u32).to_le_bytes().to_vec();
    bytes.extend(join);
    bytes
}

#[tokio::test]
async fn nonsense_at_the_server_is_counted_and_concerns_nobody() {
    let (server, meshes) = ranks(Place::Tcp, 2, MeshOptions::new()).await;
    let mut other_version = HELLO;
    other_version[8] = 2;
    let mut data = HELLO;
    data[10] = 2;
    let nonsense: [Vec<u8>; 6] = [
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec(),
        other_version.to_vec(),
        data.to_vec(),
        [&HELLO[..], &[0xff; 64]].concat(),
        [&HELLO[..], &[1, 0, 0, 0, 99]].concat(),
        [&HELLO[..], &[1, 0, 0, 0, 2]].concat(),
    ];
    for bytes in &nonsense {
        let mut stream = TcpStream::connect(address(server.endpoint())).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = within("being turned away", stream.read_to_end(&mut answer)).await;
        assert!(
            read.is_err() || answer.is_empty() || answer == HELLO,
            "{answer:?}"
        );
    }
    // One that says nothing at all is turned away, too.
    let mut silent = TcpStream::connect(address(server.endpoint())).await.unwrap();
    let _ = within("being turned away", silent.read_to_end(&mut Vec::new())).await;
    within("the count", async {
        while server.stats().foreign < nonsense.len() as u64 + 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    all(&meshes, |mesh| async move { ring(&mesh, 0, 1000).await }).await;
    assert_eq!(server.stats().ranks, 2);
}

#[tokio::test]
async fn a_rank_that_goes_silent_is_given_up() {
    let options = MeshOptions::new()
        .size(3)
        .heartbeat(Duration::from_millis(20))
        .dead_after(Duration::from_millis(1500));
    let server = MeshServer::bind("tcp://127.0.0.1:0", options).await.unwrap();
    let mut mute = TcpStream::connect(address(server.endpoint())).await.unwrap();
    mute.write_all(&HELLO).await.unwrap();
    mute.write_all(&join()).await.unwrap();
    while server.stats().ranks == 0 {
        tokio::task::yield_now().await;
    }
    let (zero, one) = tokio::try_join!(
        Mesh::join(server.endpoint(), MeshOptions::new()),
        Mesh::join(server.endpoint(), MeshOptions::new()),
    )
    .unwrap();
    let failed = Err(MeshError::PeerFailed { failed: vec![0] });
    let (at_zero, at_one) = within("the verdict", async {
        tokio::join!(zero.recv_bytes(0, 0), one.recv_bytes(one.rank() - 1, 0))
    })
    .await;
    assert_eq!((&at_zero, &at_one), (&failed, &failed));
    let mut told = Vec::new();
    within("being told", mute.read_to_end(&mut told)).await.unwrap();
    assert_eq!(told[..16], HELLO);
    assert_eq!(told[told.len() - 5..], [1, 0, 0, 0, 9], "expelled");
}

#[tokio::test]
async fn who_listens_by_another_scheme_is_refused() {
    let server = MeshServer::bind("tcp://127.0.0.1:0", MeshOptions::new().size(1))
        .await
        .unwrap();
    let options = MeshOptions::new().listen("ipc://*".parse().unwrap());
    let joined = within("an answer", Mesh::join(server.endpoint(), options)).await;
    assert!(
        matches!(joined, Err(JoinError::Refused(Refusal::OtherScheme))),
        "{joined:?}"
    );
    assert_eq!(server.stats().ranks, 0);
    within("a place", Mesh::join(server.endpoint(), MeshOptions::new()))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_storm_of_nonsense_at_a_rank_concerns_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("rank");
    let listen: Endpoint = format!("ipc://{}", place.display()).parse().unwrap();
    let server = MeshServer::bind("ipc://*", MeshOptions::new().size(2))
        .await
        .unwrap();
    let (zero, one) = tokio::try_join!(
        Mesh::join(server.endpoint(), MeshOptions::new().rank(0)),
        Mesh::join(server.endpoint(), MeshOptions::new().rank(1).listen(listen)),
    )
    .unwrap();
    let mut data = HELLO;
    data[10] = 2;
    data[12] = 16;
    let mut watch = data;
    watch[10] = 4;
    // Of another session, to another rank, too short, and nothing at all.
    let mut kept = Vec::new();
    for bytes in [
        [&data[..], &[1; 16]].concat(),
        [&watch[..], &[1; 16]].concat(),
        HELLO.to_vec(),
        data[..10].to_vec(),
        vec![0xff; 64],
    ] {
        for _ in 0..100 {
            let Ok(mut stream) = UnixStream::connect(&place).await else {
                continue;
            };
            let _ = stream.write_all(&bytes).await;
            kept.push(stream);
        }
    }
    let meshes = [Arc::new(zero), Arc::new(one)];
    drop(kept);
    all(&meshes, |mesh| async move { ring(&mesh, 0, 100_000).await }).await;
    within("the count", async {
        while meshes[1].stats().refused < 500 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_none_is_told_from_one_of_another_version() {
    for (answer, is_version) in [
        (*b"HTTP/1.1 400 Bad", false),
        (*b"FBMESH\r\n\x07\x00\x01\x00\x00\x00\x00\x00", true),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::from(listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&answer).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let error = Mesh::join(&endpoint, MeshOptions::new()).await.unwrap_err();
        match is_version {
            true => assert!(matches!(error, JoinError::Version { theirs: 7, ours: 1 })),
            false => assert!(matches!(error, JoinError::Foreign { .. })),
        }
        within("the end", serving).await.unwrap();
    }
}

#[tokio::test]
async fn a_transport_of_ones_own_needs_a_place_to_listen() {
    let registry = Registry::empty();
    let error = Mesh::join("inproc://nowhere", MeshOptions::new().registry(registry))
        .await
        .unwrap_err();
    assert!(matches!(error, JoinError::Connect(_)));
}

#[tokio::test]
async fn who_does_not_wait_for_the_answer_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::from(listener.local_addr().unwrap());
    let joining = tokio::spawn(Mesh::join(endpoint, MeshOptions::new()));
    // A server that greets, and then says nothing to the application.
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut hello = [0; 16];
    stream.read_exact(&mut hello).await.unwrap();
    stream.write_all(&HELLO).await.unwrap();
    let mut kind = [0; 5];
    within("the application", stream.read_exact(&mut kind))
        .await
        .unwrap();
    joining.abort();
    let _ = within("the end", stream.read_to_end(&mut Vec::new())).await;
}
