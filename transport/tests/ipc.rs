//! What only ipc does: socket files that are stale, live, or something else.
#![cfg(all(feature = "ipc", unix))]

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Barrier};

use flexbond_transport::{BindError, ConnectError, Endpoint, Ipc, LinkOptions, Listener, Transport};

fn endpoint(path: &Path) -> Endpoint {
    format!("ipc://{}", path.display()).parse().unwrap()
}

async fn bind(path: &Path) -> Result<Box<dyn Listener>, BindError> {
    Ipc::new().bind(&endpoint(path), &LinkOptions::default()).await
}

async fn assert_reachable(listener: &mut dyn Listener) {
    let at = listener.local_endpoint().clone();
    let (ipc, options) = (Ipc::new(), LinkOptions::default());
    let (near, far) = tokio::join!(ipc.connect(&at, &options), listener.accept());
    assert_eq!((near.unwrap().peer, far.unwrap().peer), (at.clone(), at));
}

#[tokio::test]
async fn a_stale_file_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    // The standard library leaves the file behind, as a killed process does.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let mut listener = bind(&path).await.unwrap();
    assert_reachable(&mut *listener).await;
    drop(listener);
    assert!(!path.exists(), "the file goes with its listener");
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
}

#[tokio::test]
async fn a_live_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let live = UnixListener::bind(&path).unwrap();
    let error = bind(&path).await.err().unwrap();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    let _probe = live.accept().unwrap();
    let _near = UnixStream::connect(&path).unwrap();
    live.accept().unwrap();
}

#[tokio::test]
async fn a_live_file_with_a_full_backlog_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let mut options = LinkOptions::default();
    options.backlog = 1;
    let _live = Ipc::new().bind(&endpoint(&path), &options).await.unwrap();
    let mut near = Vec::new();
    let refused = loop {
        match Ipc::new().connect(&endpoint(&path), &options).await {
            Ok(connection) => near.push(connection),
            Err(error) => break error,
        }
        assert!(near.len() < 100, "the backlog does not count");
    };
    assert!(matches!(refused, ConnectError::Io { .. }), "{refused:?}");
    assert!(matches!(bind(&path).await, Err(BindError::InUse { .. })));
}

#[tokio::test]
async fn a_socket_of_another_type_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let _live = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    assert!(matches!(bind(&path).await, Err(BindError::InUse { .. })));
    assert!(path.exists());
}

#[tokio::test]
async fn other_files_are_never_touched() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "precious").unwrap();
    let link = directory.path().join("link");
    drop(UnixListener::bind(directory.path().join("stale")).unwrap());
    std::os::unix::fs::symlink("stale", &link).unwrap();
    let folder = directory.path().join("folder");
    fs::create_dir(&folder).unwrap();
    for path in [&file, &link, &folder] {
        let error = bind(path).await.err().unwrap();
        assert!(matches!(error, BindError::Unusable { .. }), "{error:?}");
        assert!(
            error.to_string().ends_with("exists and is not a socket"),
            "{error}"
        );
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(link.is_symlink() && folder.is_dir());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4);
}

#[tokio::test]
async fn a_file_that_replaced_ours_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let ours = bind(&path).await.unwrap();
    fs::remove_file(&path).unwrap();
    let mut theirs = bind(&path).await.unwrap();
    drop(ours);
    assert_reachable(&mut *theirs).await;
}

#[tokio::test]
async fn a_missing_directory_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("no such folder").join("socket");
    assert!(matches!(bind(&path).await, Err(BindError::Io { .. })));
    let error = Ipc::new()
        .connect(&endpoint(&path), &LinkOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Io { .. }));
}

#[test]
fn of_racing_binders_one_wins() {
    const BINDERS: usize = 8;
    const ROUNDS: usize = 100;
    let directory = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let path = directory.path().join(format!("socket{round}"));
        if round % 2 == 0 {
            drop(UnixListener::bind(&path).unwrap());
        }
        let start = Arc::new(Barrier::new(BINDERS));
        let decided = Arc::new(Barrier::new(BINDERS));
        let binders: Vec<_> = (0..BINDERS)
            .map(|_| {
                let (path, start, decided) = (path.clone(), Arc::clone(&start), Arc::clone(&decided));
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .unwrap();
                    runtime.block_on(async {
                        start.wait();
                        let result = bind(&path).await;
                        decided.wait();
                        match result {
                            Ok(_listener) => {
                                UnixStream::connect(&path).expect("the winner is gone");
                                1
                            }
                            Err(BindError::InUse { .. }) => 0,
                            Err(error) => panic!("{error}"),
                        }
                    })
                })
            })
            .collect();
        let winners: usize = binders.into_iter().map(|binder| binder.join().unwrap()).sum();
        assert_eq!(winners, 1, "round {round}");
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn the_wildcard_makes_a_file_of_its_own() {
    let any: Endpoint = "ipc://*".parse().unwrap();
    let mut listeners = Vec::new();
    for _ in 0..3 {
        let mut listener = Ipc::new().bind(&any, &LinkOptions::default()).await.unwrap();
        assert_reachable(&mut *listener).await;
        listeners.push(listener);
    }
    let mut paths: Vec<_> = listeners
        .iter()
        .map(|listener| listener.local_endpoint().address())
        .collect();
    assert!(
        paths
            .iter()
            .all(|path| Path::new(path).starts_with(std::env::temp_dir()))
    );
    drop(listeners);
    assert!(paths.iter().all(|path| !Path::new(path).exists()));
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 3);
    let error = Ipc::new()
        .connect(&any, &LinkOptions::default())
        .await
        .unwrap_err();
    assert!(error.is_permanent());
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[tokio::test]
async fn abstract_names_leave_no_file() {
    let name: Endpoint = format!("ipc://@flexbond test/{}", std::process::id())
        .parse()
        .unwrap();
    let mut listener = Ipc::new().bind(&name, &LinkOptions::default()).await.unwrap();
    assert_reachable(&mut *listener).await;
    let error = Ipc::new()
        .bind(&name, &LinkOptions::default())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, BindError::InUse { .. }));
    drop(listener);
    let error = Ipc::new()
        .connect(&name, &LinkOptions::default())
        .await
        .unwrap_err();
    assert!(!error.is_permanent());
    Ipc::new().bind(&name, &LinkOptions::default()).await.unwrap();
}

#[tokio::test]
async fn the_longest_path_can_be_bound() {
    let directory = tempfile::tempdir().unwrap();
    let room = flexbond_transport::IpcAddress::MAX_LEN - directory.path().as_os_str().len() - 1;
    let path = directory.path().join("x".repeat(room));
    let mut listener = bind(&path).await.unwrap();
    assert_reachable(&mut *listener).await;
}
