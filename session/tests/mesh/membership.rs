//! Joining, being refused, coming late and leaving.

use std::sync::Arc;
use std::time::Duration;

use flexbond_session::Endpoint;
use flexbond_session::mesh::{JoinError, Mesh, MeshError, MeshOptions, MeshServer, Refusal, ServeError};

use crate::{Place, all, ranks, ring, server, within};

#[tokio::test]
async fn a_wanted_rank_that_cannot_be_is_refused() {
    let server = server(Place::Tcp, MeshOptions::new().size(2)).await;
    let at = server.endpoint().clone();
    let first = tokio::spawn({
        let at = at.clone();
        async move { Mesh::join(at, MeshOptions::new().rank(1).name("first")).await }
    });
    while server.stats().ranks == 0 {
        tokio::task::yield_now().await;
    }
    let refusal = async |options: MeshOptions| match Mesh::join(&at, options).await {
        Err(JoinError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refusal(MeshOptions::new().rank(1)).await,
        Refusal::RankTaken { rank: 1 }
    );
    assert_eq!(
        refusal(MeshOptions::new().rank(2)).await,
        Refusal::RankOutOfRange { rank: 2, size: 2 }
    );
    assert_eq!(
        refusal(MeshOptions::new().size(3)).await,
        Refusal::SizeMismatch {
            wanted: 3,
            expected: 2
        }
    );
    let second = Mesh::join(&at, MeshOptions::new().name("second")).await.unwrap();
    let first = within("the first", first).await.unwrap().unwrap();
    assert_eq!((first.rank(), second.rank()), (1, 0));
    assert_eq!(first.names(), ["second", "first"]);
}

#[tokio::test]
async fn joining_takes_no_longer_than_it_may() {
    let brief = MeshOptions::new().join_timeout(Duration::from_millis(100));
    let vacant: Endpoint = "ipc://@flexbond mesh nobody".parse().unwrap();
    match Mesh::join(&vacant, brief.clone()).await {
        Err(JoinError::Timeout { connect: Some(_), .. }) => {}
        other => panic!("{other:?}"),
    }
    let server = server(Place::Tcp, MeshOptions::new().size(2)).await;
    match Mesh::join(server.endpoint(), brief).await {
        Err(error @ JoinError::Timeout { connect: None, .. }) => {
            assert_eq!(error.to_string(), "not all ranks came within 100ms");
        }
        other => panic!("{other:?}"),
    }
    within("its departure", async {
        while server.stats().ranks > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let nowhere = Mesh::join("carrier-pigeon://roof", MeshOptions::new()).await;
    assert!(matches!(nowhere, Err(JoinError::Connect(_))));
    let absurd = Mesh::join("tcp://127.0.0.1:1", MeshOptions::new().size(0)).await;
    assert!(matches!(absurd, Err(JoinError::Option(_))));
}

#[tokio::test]
async fn a_server_that_comes_later_is_found() {
    let endpoint: Endpoint = format!("ipc://@flexbond mesh {}", std::process::id())
        .parse()
        .unwrap();
    let joining = tokio::spawn(Mesh::join(endpoint.clone(), MeshOptions::new()));
    tokio::task::yield_now().await;
    let server = MeshServer::bind(&endpoint, MeshOptions::new()).await.unwrap();
    let again = MeshServer::bind(&endpoint, MeshOptions::new()).await;
    assert!(matches!(again, Err(ServeError::Bind(_))));
    let mesh = within("joining", joining).await.unwrap().unwrap();
    assert_eq!((mesh.rank(), mesh.size()), (0, 1));
    mesh.leave().await;
    within("the end", server.finish()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_late_is_in_the_next_epoch() {
    for place in Place::ALL {
        let (server, mut meshes) = ranks(place, 2, MeshOptions::new()).await;
        let late = tokio::spawn(Mesh::join(server.endpoint().clone(), MeshOptions::new().rank(0)));
        while server.stats().ranks < 3 {
            tokio::task::yield_now().await;
        }
        all(&meshes, |mesh| async move {
            ring(&mesh, 0, 10).await;
            mesh.next_epoch().await.unwrap();
        })
        .await;
        let late = within("the late one", late).await.unwrap().unwrap();
        assert_eq!((late.rank(), late.size(), late.epoch()), (2, 3, 2));
        meshes.push(Arc::new(late));
        all(&meshes, |mesh| async move { ring(&mesh, 0, 100_000).await }).await;
    }
}

#[tokio::test]
async fn an_epoch_that_is_over_ends_what_waits_in_it() {
    let (_server, meshes) = ranks(Place::Tcp, 2, MeshOptions::new()).await;
    let zero = Arc::clone(&meshes[0]);
    let waiting = tokio::spawn(async move { zero.recv_bytes(1, 0).await });
    meshes[1].send(0, 5, b"forgotten").await.unwrap();
    while meshes[0].stats().unexpected == 0 {
        tokio::task::yield_now().await;
    }
    all(&meshes, |mesh| async move { mesh.next_epoch().await.unwrap() }).await;
    let over = within("the end", waiting).await.unwrap();
    assert_eq!(over, Err(MeshError::EpochOver { epoch: 1 }));
    assert_eq!(meshes[0].stats().unexpected_bytes, 0);
    let forgotten = tokio::time::timeout(Duration::from_millis(50), meshes[0].recv_bytes(1, 5));
    assert!(forgotten.await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_left_is_named_to_those_who_need_it() {
    for place in Place::ALL {
        let (server, mut meshes) = ranks(place, 3, MeshOptions::new()).await;
        let two = Arc::into_inner(meshes.pop().unwrap()).unwrap();
        let last = vec![7; 100_000];
        two.send(0, 1, &last).await.unwrap();
        within("leaving", two.leave()).await;
        let (zero, one) = (&meshes[0], &meshes[1]);
        let received = within("the last message", zero.recv_bytes(2, 1)).await;
        assert!(received.unwrap() == last, "what was sent arrives");
        let left = MeshError::PeerLeft { rank: 2 };
        assert_eq!(within("an error", zero.recv_bytes(2, 1)).await, Err(left.clone()));
        assert_eq!(within("an error", one.recv_bytes(2, 1)).await, Err(left.clone()));
        assert_eq!(within("an error", one.send(2, 1, b"late")).await, Err(left));
        all(&meshes, |mesh| async move {
            let other = 1 - mesh.rank();
            mesh.send(other, 2, b"the epoch goes on").await.unwrap();
            assert_eq!(mesh.recv_bytes(other, 2).await.unwrap(), "the epoch goes on");
            mesh.next_epoch().await.unwrap();
            ring(&mesh, 3, 1000).await;
            assert_eq!(mesh.size(), 2);
        })
        .await;
        for mesh in meshes {
            Arc::into_inner(mesh).unwrap().leave().await;
        }
        within("the end", server.finish()).await;
    }
}

#[tokio::test]
async fn a_server_that_is_to_finish_waits_for_the_first_rank() {
    let server = server(Place::Inproc, MeshOptions::new().size(1)).await;
    let at = server.endpoint().clone();
    let finishing = tokio::spawn(server.finish());
    // One that is refused does not count.
    let refused = Mesh::join(&at, MeshOptions::new().size(2)).await;
    assert!(matches!(refused, Err(JoinError::Refused(_))), "{refused:?}");
    let mesh = within("joining", Mesh::join(&at, MeshOptions::new()))
        .await
        .unwrap();
    assert!(!finishing.is_finished());
    mesh.leave().await;
    within("the end", finishing).await.unwrap();
}
