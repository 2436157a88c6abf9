//! What every transport does, whatever it carries.

use std::task::Poll;

use flexbond_transport::{BindError, ConnectError, Endpoint};

use crate::{Place, poll_once};

pub(crate) async fn the_bound_endpoint_can_be_read_back(place: Place) {
    let mut listener = place.bind().await;
    let bound = listener.local_endpoint().clone();
    assert_eq!(bound.scheme(), place.endpoint.scheme());
    assert_eq!(bound.to_string().parse::<Endpoint>().unwrap(), bound);
    if let Endpoint::Tcp(address) | Endpoint::Tls(address) = &bound {
        assert_ne!(address.port(), 0);
    }
    let (near, far) = place.pair_at(&mut *listener).await;
    assert_eq!(near.peer.scheme(), bound.scheme());
    assert_eq!(far.peer.scheme(), bound.scheme());
}

pub(crate) async fn a_bound_endpoint_is_refused(place: Place) {
    let mut listener = place.bind().await;
    let bound = listener.local_endpoint().clone();
    let error = place.registry.bind(&bound, &place.options).await.err().unwrap();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    // The first one is none the worse.
    place.pair_at(&mut *listener).await;
}

pub(crate) async fn an_unbound_endpoint_can_be_bound_again(place: Place) {
    let mut first = place.bind().await;
    let bound = first.local_endpoint().clone();
    let old = place.pair_at(&mut *first).await;
    drop(first);
    let mut second = place.bind_again(&bound).await;
    assert_eq!(*second.local_endpoint(), bound);
    place.pair_at(&mut *second).await;
    drop(old);
}

pub(crate) async fn nobody_there_is_an_error_or_a_wait(place: Place) {
    let listener = place.bind().await;
    let bound = listener.local_endpoint().clone();
    drop(listener);
    let result = place.connect(&bound).await;
    if place.connects_unbound {
        let _near = result.unwrap();
        place.bind_again(&bound).await.accept().await.unwrap();
    } else {
        let error = result.unwrap_err();
        assert!(matches!(error, ConnectError::Io { .. }), "{error:?}");
        assert!(!error.is_permanent());
    }
}

pub(crate) async fn a_dropped_accept_loses_no_connection(place: Place) {
    const COUNT: usize = 60;
    let mut listener = place.bind().await;
    let bound = listener.local_endpoint().clone();
    assert!(poll_once(listener.accept()).is_pending());

    let connecting = async {
        let mut near = Vec::new();
        for _ in 0..COUNT {
            near.push(place.connect(&bound).await.unwrap());
            tokio::task::yield_now().await;
        }
        near
    };
    let accepting = async {
        let mut far = Vec::new();
        while far.len() < COUNT {
            // Each future is polled once and dropped.
            match poll_once(listener.accept()) {
                Poll::Ready(connection) => far.push(connection.unwrap()),
                Poll::Pending => tokio::task::yield_now().await,
            }
        }
        far
    };
    let (near, far) = tokio::join!(connecting, accepting);
    assert_eq!((near.len(), far.len()), (COUNT, COUNT));
    assert!(
        poll_once(listener.accept()).is_pending(),
        "a connection came twice"
    );
}

pub(crate) async fn a_waiting_accept_is_woken(place: Place) {
    let mut listener = place.bind().await;
    let bound = listener.local_endpoint().clone();
    let accepting = tokio::spawn(async move { listener.accept().await.map(|_| ()) });
    tokio::task::yield_now().await;
    let _near = place.connect(&bound).await.unwrap();
    accepting.await.unwrap().unwrap();
}
