//! Calls that wait, without a runtime and within one.

use std::collections::BTreeMap;
use std::time::Duration;

use flexbond::blocking::{CallError, Client, call_remote_func};
use flexbond::rpc::client::Options;
use flexbond::rpc::envelope::Codec;
use flexbond::rpc::{self, Failure, FailureKind, Methods, Server, Tensor};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

#[derive(Serialize, Deserialize)]
struct Operands {
    a: Tensor<f64>,
    b: Tensor<f64>,
}

/// A server on a thread of its own, as long as the runtime lives.
fn server() -> (u16, Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let methods = Methods::new()
        .add("add", async |Operands { a, b }| {
            let sums = a.iter().zip(b.iter()).map(|(a, b)| a + b).collect();
            Tensor::new(a.shape(), sums).map_err(|error| Failure::failed(1, error.to_string()))
        })
        .and_then(|methods| methods.add("fail", async |()| Err::<(), _>(Failure::failed(7, "no"))))
        .and_then(|methods| {
            methods.add("hang", async |()| {
                std::future::pending::<Result<(), Failure>>().await
            })
        })
        .and_then(|methods| {
            methods.add_stream("count", async |(n,): (u32,)| {
                Ok::<_, Failure>(stream::iter((0..n).map(Ok::<_, Failure>)))
            })
        })
        .unwrap();
    let _inside = runtime.enter();
    let server = Server::new(methods);
    let endpoint = runtime.block_on(server.bind("tcp://127.0.0.1:0")).unwrap();
    runtime.spawn(server.run());
    let endpoint = endpoint.to_string();
    (endpoint.rsplit(':').next().unwrap().parse().unwrap(), runtime)
}

fn failure(error: &CallError<rpc::CallError>) -> &Failure {
    error
        .socket()
        .and_then(rpc::CallError::failure)
        .expect("an answer")
}

#[test]
fn one_line_calls_a_function() {
    let (port, _runtime) = server();
    let args = Operands {
        a: vec![1.0, 2.0].into(),
        b: vec![3.0, 4.0].into(),
    };
    let sum: Tensor<f64> = call_remote_func("127.0.0.1", port, "add", &args).unwrap();
    assert_eq!(sum.as_slice(), [4.0, 6.0]);
    // By name, from whatever has names.
    let args = BTreeMap::from([("a", [1.0]), ("b", [2.0])]);
    let sum: Tensor<f64> = call_remote_func("localhost", port, "add", &args).unwrap();
    assert_eq!(sum.as_slice(), [3.0]);
    let error = call_remote_func::<_, ()>("127.0.0.1", port, "fail", &()).unwrap_err();
    assert_eq!((failure(&error).code(), failure(&error).message()), (7, "no"));
    let error = call_remote_func::<_, ()>("127.0.0.1", port, "none", &()).unwrap_err();
    assert_eq!(failure(&error).kind(), FailureKind::UnknownMethod);
    let error = call_remote_func::<_, ()>("no host", port, "add", &()).unwrap_err();
    assert!(
        matches!(error.socket(), Some(rpc::CallError::Unconnected { .. })),
        "{error}"
    );
}

#[test]
fn a_client_keeps_its_connection() {
    let (port, _runtime) = server();
    let client = Client::connect(format!("tcp://127.0.0.1:{port}").as_str()).unwrap();
    for n in 0..100 {
        let args = Operands {
            a: vec![f64::from(n)].into(),
            b: vec![0.5].into(),
        };
        let sum: Tensor<f64> = client.call("add", &args).unwrap();
        assert_eq!(sum.as_slice(), [f64::from(n) + 0.5]);
    }
    let other = client.clone();
    let thread = std::thread::spawn(move || {
        let numbers = other.stream::<_, u32>("count", &(500_u32,)).unwrap();
        numbers.map(Result::unwrap).collect::<Vec<u32>>()
    });
    assert_eq!(thread.join().unwrap(), (0..500).collect::<Vec<u32>>());
    let mut endless = client.stream::<_, u32>("count", &(u32::MAX,)).unwrap();
    assert_eq!(endless.next().unwrap().unwrap(), 0);
    drop(endless);
    client.one_way("fail", &()).unwrap();
    assert_eq!(client.as_async().in_flight(), 0);
}

#[test]
fn waiting_has_an_end() {
    let (port, _runtime) = server();
    let options = Options::new()
        .codec(Codec::Json)
        .timeout(Duration::from_millis(100));
    let client = Client::with_options(format!("tcp://127.0.0.1:{port}").as_str(), options).unwrap();
    let error = client.call::<_, ()>("hang", &()).unwrap_err();
    let inner = error.socket().unwrap();
    assert!(
        matches!(inner, rpc::CallError::DeadlineExceeded { .. })
            || failure(&error).kind() == FailureKind::DeadlineExceeded,
        "{error}"
    );
    assert!(inner.may_have_run());
}

#[test]
fn within_a_runtime_it_refuses_to_wait() {
    let (port, runtime) = server();
    runtime.block_on(async {
        let error = call_remote_func::<_, ()>("127.0.0.1", port, "fail", &()).unwrap_err();
        assert!(matches!(error, CallError::AsyncContext), "{error}");
        let client = Client::connect(format!("tcp://127.0.0.1:{port}").as_str()).unwrap();
        let error = client.call::<_, ()>("fail", &()).unwrap_err();
        assert!(matches!(error, CallError::AsyncContext), "{error}");
        // Asynchronous code uses the client behind it.
        let error = client.as_async().call::<_, ()>("fail", &()).await.unwrap_err();
        assert_eq!(error.failure().unwrap().code(), 7);
    });
}
