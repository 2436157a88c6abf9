//! One suite over every transport of the build, and over one that this test registers itself.

mod any;
#[cfg(feature = "tls")]
#[path = "../certificates/mod.rs"]
mod certificates;
mod duplex;
#[cfg(feature = "inproc")]
mod messages;
mod streams;

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use flexbond_transport::{ConnectError, Connection, Endpoint, LinkOptions, Listener, Registry};

/// Where a suite runs.
struct Place {
    registry: Registry,
    endpoint: Endpoint,
    options: LinkOptions,
    /// Whether a connector waits for somebody to bind.
    connects_unbound: bool,
    _directory: Option<tempfile::TempDir>,
}

impl Place {
    fn at(endpoint: &str) -> Self {
        Place {
            registry: Registry::standard(),
            endpoint: endpoint.parse().unwrap(),
            options: LinkOptions::default(),
            connects_unbound: false,
            _directory: None,
        }
    }

    async fn bind(&self) -> Box<dyn Listener> {
        self.registry.bind(&self.endpoint, &self.options).await.unwrap()
    }

    async fn bind_again(&self, endpoint: &Endpoint) -> Box<dyn Listener> {
        self.registry.bind(endpoint, &self.options).await.unwrap()
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, ConnectError> {
        self.registry.connect(endpoint, &self.options).await
    }

    /// A connector's and a binder's end of one connection.
    async fn pair(&self) -> (Connection, Connection) {
        let mut listener = self.bind().await;
        self.pair_at(&mut *listener).await
    }

    async fn pair_at(&self, listener: &mut dyn Listener) -> (Connection, Connection) {
        let endpoint = listener.local_endpoint().clone();
        let (near, far) = tokio::join!(self.connect(&endpoint), listener.accept());
        (near.unwrap(), far.unwrap())
    }
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    let mut future = std::pin::pin!(future);
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs a test with a deadline, so that what hangs fails.
async fn limited(test: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(60), test)
        .await
        .expect("the test hangs");
}

/// Every test on a runtime of one thread, and on one whose threads race.
macro_rules! suite {
    ($name:ident, $place:expr, $($module:ident::{$($test:ident)*})*) => {
        mod $name {
            $($(
                mod $test {
                    #[tokio::test]
                    async fn one_thread() {
                        crate::limited(crate::$module::$test($place)).await;
                    }

                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn two_threads() {
                        crate::limited(crate::$module::$test($place)).await;
                    }
                }
            )*)*
        }
    };
}

macro_rules! streams {
    ($name:ident, $place:expr) => {
        suite! {
            $name, $place,
            any::{
                the_bound_endpoint_can_be_read_back
                a_bound_endpoint_is_refused
                an_unbound_endpoint_can_be_bound_again
                nobody_there_is_an_error_or_a_wait
                a_dropped_accept_loses_no_connection
                a_waiting_accept_is_woken
            }
            streams::{
                bytes_arrive_in_order_both_ways
                many_slices_are_written_as_one
                large_transfers_arrive
                a_half_closed_stream_still_reads
                a_dropped_peer_is_seen
                a_waiting_reader_is_woken_by_the_end
                a_writer_stalls_until_somebody_reads
                writing_at_once_is_all_or_would_block
                a_slice_is_filled_and_no_more
                looking_past_the_runtime_disturbs_nobody
                many_connections_do_not_mix
                no_wake_up_is_lost
            }
        }
    };
}

#[cfg(feature = "inproc")]
macro_rules! messages {
    ($name:ident, $place:expr) => {
        suite! {
            $name, $place,
            any::{
                the_bound_endpoint_can_be_read_back
                a_bound_endpoint_is_refused
                an_unbound_endpoint_can_be_bound_again
                nobody_there_is_an_error_or_a_wait
                a_dropped_accept_loses_no_connection
                a_waiting_accept_is_woken
            }
            messages::{
                messages_arrive_in_order_both_ways
                large_payloads_are_not_copied
                a_full_channel_stalls_until_somebody_reads
                a_dropped_channel_is_seen
            }
        }
    };
}

streams!(third_party, crate::third_party());

fn third_party() -> Place {
    let place = Place::at("duplex://somewhere");
    place
        .registry
        .register("duplex", Arc::new(duplex::Duplex::default()))
        .unwrap();
    place
}

#[cfg(feature = "tcp")]
streams!(tcp_literal, crate::Place::at("tcp://127.0.0.1:0"));
#[cfg(feature = "tcp")]
streams!(tcp_wildcard, crate::Place::at("tcp://*:*"));

#[cfg(feature = "tls")]
streams!(tls_literal, crate::tls("tls://127.0.0.1:0", false));
#[cfg(feature = "tls")]
streams!(tls_wildcard, crate::tls("tls://*:*", false));
#[cfg(feature = "tls")]
streams!(tls_mutual, crate::tls("tls://127.0.0.1:0", true));

#[cfg(feature = "tls")]
fn tls(endpoint: &str, mutual: bool) -> Place {
    use flexbond_transport::{ClientCertificates, Tls, TlsOptions};
    let authority = certificates::Authority::new("conformance");
    let (mut server, mut client) = (authority.server(), authority.client().server_name("localhost"));
    if mutual {
        server = server.clients(ClientCertificates::Required(authority.roots()));
        client = client.identity(authority.issue("client", &[]).identity());
    }
    let place = Place::at(endpoint);
    let tls = Tls::new(TlsOptions::default().server(server).client(client)).unwrap();
    place.registry.register("tls", Arc::new(tls)).unwrap();
    place
}

#[cfg(all(feature = "ipc", unix))]
streams!(ipc_path, crate::ipc_path());
#[cfg(all(feature = "ipc", unix))]
streams!(ipc_wildcard, crate::Place::at("ipc://*"));
#[cfg(all(feature = "ipc", any(target_os = "linux", target_os = "android")))]
streams!(ipc_abstract, crate::ipc_abstract());

#[cfg(all(feature = "ipc", unix))]
fn ipc_path() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let mut place = Place::at(&format!("ipc://{}", directory.path().join("socket").display()));
    place._directory = Some(directory);
    place
}

#[cfg(all(feature = "ipc", any(target_os = "linux", target_os = "android")))]
fn ipc_abstract() -> Place {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Place::at(&format!(
        "ipc://@flexbond conformance {} {number}",
        std::process::id()
    ))
}

#[cfg(feature = "inproc")]
messages!(inproc, crate::inproc());

#[cfg(feature = "inproc")]
fn inproc() -> Place {
    let mut place = Place::at("inproc://place");
    place.registry = Registry::empty();
    place
        .registry
        .register("inproc", Arc::new(flexbond_transport::Inproc::new()))
        .unwrap();
    place.connects_unbound = true;
    place
}
