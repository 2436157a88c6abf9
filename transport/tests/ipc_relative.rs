//! Relative paths of socket files. A test program of its own, because it changes the working directory.
#![cfg(all(feature = "ipc", unix))]

use flexbond_transport::{Endpoint, Ipc, LinkOptions, Transport};

#[tokio::test]
async fn a_relative_path_counts_from_the_working_directory() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("sub")).unwrap();
    std::env::set_current_dir(directory.path()).unwrap();
    let (ipc, options) = (Ipc::new(), LinkOptions::default());
    for text in ["ipc://socket", "ipc://sub/socket", "ipc://./@socket", "ipc://./*"] {
        let endpoint: Endpoint = text.parse().unwrap();
        let mut listener = ipc.bind(&endpoint, &options).await.unwrap();
        assert_eq!(*listener.local_endpoint(), endpoint);
        let (near, far) = tokio::join!(ipc.connect(&endpoint, &options), listener.accept());
        near.unwrap();
        far.unwrap();
        let path = directory.path().join(endpoint.address());
        assert!(path.exists());
        // The file is found again from elsewhere.
        std::env::set_current_dir("/").unwrap();
        drop(listener);
        assert!(!path.exists());
        std::env::set_current_dir(directory.path()).unwrap();
    }
}
