//! What the example servers answer: the functions are those of the programs, served here.
#![cfg(feature = "inproc")]
#![allow(
    clippy::duplicate_mod,
    reason = "each example has its own copy of what they have in common"
)]

#[allow(dead_code, reason = "its functions are served here, not by its own main")]
#[path = "../examples/calculator.rs"]
mod calculator;
#[allow(dead_code, reason = "its functions are served here, not by its own main")]
#[path = "../examples/image_processing.rs"]
mod image_processing;
#[allow(dead_code, reason = "its functions are served here, not by its own main")]
#[path = "../examples/log_server.rs"]
mod log_server;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use flexbond_rpc::client::Options;
use flexbond_rpc::envelope::Codec;
use flexbond_rpc::{AnyTensor, CallError, Client, Failure, FailureKind, Methods, Server, Tensor};
use flexbond_session::Endpoint;
use serde_json::{Value, json};

/// How long anything may take that should happen at once.
const DEADLINE: Duration = Duration::from_secs(20);

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

async fn serve(methods: Methods, name: &str) -> Endpoint {
    let server = Server::new(methods);
    let endpoint = within(server.bind(format!("inproc://rpc-examples-{name}").as_str()))
        .await
        .unwrap();
    tokio::spawn(server.run());
    endpoint
}

fn client(endpoint: &Endpoint, codec: Codec) -> Client {
    Client::with_options(endpoint, Options::new().codec(codec)).unwrap()
}

async fn call(client: &Client, method: &str, arguments: Value) -> Result<Value, CallError> {
    within(client.call(method, &arguments)).await
}

fn failure(error: &CallError) -> &Failure {
    error.failure().expect("an answer")
}

#[tokio::test]
async fn the_calculator_takes_numbers_and_arrays() {
    let endpoint = serve(calculator::methods().unwrap(), "calculator").await;
    for codec in [Codec::Json, Codec::MessagePack] {
        let client = client(&endpoint, codec);
        for (method, a, b, result) in [
            ("add", json!(1), json!(2), json!(3)),
            ("add", json!(1.5), json!(2), json!(3.5)),
            ("add", json!([1.0, 2.0]), json!([3.0, 4.0]), json!([4.0, 6.0])),
            (
                "add",
                json!([[1, 2], [3, 4]]),
                json!(10),
                json!([[11, 12], [13, 14]]),
            ),
            ("minus", json!(10), json!([1, 2]), json!([9, 8])),
            ("minus", json!([0.5]), json!([[1]]), Value::Null),
            ("add", json!([]), json!([]), json!([])),
            ("add", json!([]), json!(1), json!([])),
        ] {
            let answer = call(&client, method, json!({"a": a, "b": b})).await;
            match result {
                Value::Null => {
                    let error = answer.unwrap_err();
                    assert_eq!(
                        (failure(&error).kind(), failure(&error).code()),
                        (FailureKind::Failed, 1)
                    );
                }
                result => assert_eq!(answer.unwrap(), result, "{a} {b}"),
            }
        }
        let overflow = call(&client, "add", json!({"a": 1e308, "b": [1, 1e308]}))
            .await
            .unwrap_err();
        assert_eq!(
            (failure(&overflow).kind(), failure(&overflow).code()),
            (FailureKind::Failed, 2)
        );
        let echo = call(&client, "echo", json!({"x": [1, "ü", null]})).await.unwrap();
        assert_eq!(echo, json!({"x": [1, "ü", null]}));
        let failed = call(&client, "fail", json!({"code": -5, "message": "no"}))
            .await
            .unwrap_err();
        assert_eq!((failure(&failed).code(), failure(&failed).message()), (-5, "no"));
        let panicked = call(&client, "panic", json!({"message": "oh"}))
            .await
            .unwrap_err();
        assert_eq!(failure(&panicked).kind(), FailureKind::Panicked);
        let unknown = call(&client, "add", json!({"a": 1, "b": 2, "c": 3}))
            .await
            .unwrap_err();
        assert!(unknown.to_string().contains("unknown field `c`"), "{unknown}");
        assert_eq!(call(&client, "sleep", json!({"ms": 1})).await.unwrap(), json!(1));
        let mut numbers = within(client.method("count").stream::<_, u64>(&json!({"n": 100})))
            .await
            .unwrap();
        for n in 0..100 {
            assert_eq!(within(numbers.next()).await.unwrap().unwrap(), n);
        }
        assert!(within(numbers.next()).await.is_none());
    }
    // Arrays of bytes have infinities, too.
    let huge = AnyTensor::from_elements(&[1], vec![1e308_f64]).unwrap();
    let json = client(&endpoint, Codec::Json);
    let sum: Tensor<f64> = within(json.call("add", &(&huge, &huge))).await.unwrap();
    assert_eq!(sum[0], f64::INFINITY);
    // In all codecs, and where one number goes with many.
    for codec in [Codec::Postcard, Codec::Json, Codec::MessagePack] {
        let a = AnyTensor::from_elements(&[1000, 100], vec![1.5_f64; 100_000]).unwrap();
        let sum: Tensor<f64> = within(client(&endpoint, codec).call("add", &(&a, AnyTensor::from(2_i64))))
            .await
            .unwrap();
        assert_eq!(sum.shape(), [1000, 100]);
        assert!(sum.iter().all(|&number| number == 3.5));
    }
}

#[tokio::test]
async fn the_log_is_one_for_all_callers() {
    let log = Arc::new(log_server::Log::new(20));
    let endpoint = serve(log_server::methods(&log).unwrap(), "log").await;
    let (one, other) = (client(&endpoint, Codec::Json), client(&endpoint, Codec::Postcard));
    for entry in 0..30 {
        let added = call(&one, "add_log", json!({"log": format!("entry {entry}")})).await;
        assert_eq!(added.unwrap(), Value::Null);
    }
    let last = |n: usize| {
        (30 - n..30)
            .map(|entry| format!("entry {entry}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(call(&one, "get_log", json!({})).await.unwrap(), json!(last(5)));
    assert_eq!(call(&one, "get_log", Value::Null).await.unwrap(), json!(last(5)));
    assert_eq!(
        call(&one, "get_log", json!({"n": 2})).await.unwrap(),
        json!(last(2))
    );
    assert_eq!(call(&one, "get_log", json!({"n": 0})).await.unwrap(), json!([]));
    let all: Vec<String> = within(other.call("get_log", &100_usize)).await.unwrap();
    assert_eq!(all, last(20), "the oldest have gone");
}

/// Each pixel the mean of all around it, the slow way.
fn blurred_slowly(image: &[f32], (height, width): (usize, usize), sigma: f32) -> Vec<f32> {
    let reach = (3.0 * sigma).ceil() as i64;
    let weight = |distance: i64| (-0.5 * (distance as f32 / sigma).powi(2)).exp();
    let mut blurred = Vec::new();
    for row in 0..height as i64 {
        for column in 0..width as i64 {
            let (mut sum, mut weights) = (0.0, 0.0);
            for down in -reach..=reach {
                for across in -reach..=reach {
                    let at = |index: i64, len: usize| index.clamp(0, len as i64 - 1) as usize;
                    let pixel = image[at(row + down, height) * width + at(column + across, width)];
                    sum += weight(down) * weight(across) * pixel;
                    weights += weight(down) * weight(across);
                }
            }
            blurred.push(sum / weights);
        }
    }
    blurred
}

#[tokio::test]
async fn images_are_blurred_and_their_edges_found() {
    let endpoint = serve(image_processing::methods().unwrap(), "images").await;
    let shape = [13, 9];
    let bytes: Vec<u8> = (0..13 * 9_u32)
        .map(|index| (index * index * 37 % 251) as u8)
        .collect();
    let floats: Vec<f32> = bytes.iter().copied().map(f32::from).collect();
    let doubles: Vec<f64> = bytes.iter().copied().map(f64::from).collect();
    let expected = blurred_slowly(&floats, (13, 9), 1.2);
    for codec in [Codec::Postcard, Codec::Json, Codec::MessagePack] {
        let client = client(&endpoint, codec);
        for image in [
            AnyTensor::from_elements(&shape, bytes.clone()),
            AnyTensor::from_elements(&shape, floats.clone()),
            AnyTensor::from_elements(&shape, doubles.clone()),
        ] {
            let image = image.unwrap();
            let blurred: Tensor<f32> = within(client.call("blur", &(&image, 1.2_f32))).await.unwrap();
            assert_eq!(blurred.shape(), shape);
            for (one, other) in blurred.iter().zip(&expected) {
                assert!((one - other).abs() < 1e-2, "{one} {other}");
            }
            let mirrored: AnyTensor = within(client.call("mirror", &image)).await.unwrap();
            assert_eq!(mirrored, image);
        }
    }
    let client = client(&endpoint, Codec::Json);
    let image = json!({"image": [[0, 0, 1], [0, 0, 1], [0, 0, 1]]});
    let edges: Tensor<f32> = within(client.call("edges", &image)).await.unwrap();
    assert_eq!(edges.as_slice(), [0.0, 4.0, 4.0, 0.0, 4.0, 4.0, 0.0, 4.0, 4.0]);
    let flat: Tensor<f32> = within(client.call("blur", &json!({"image": [[7, 7], [7, 7]]})))
        .await
        .unwrap();
    assert!(
        flat.iter().all(|pixel| (pixel - 7.0).abs() < 1e-5),
        "{:?}",
        flat.as_slice()
    );
    for (arguments, what) in [
        (json!({"image": [1, 2]}), "2 dimensions, not 1"),
        (json!({"image": [[1]], "sigma": 0}), "sigma"),
        (json!({"image": [[1]], "sigma": 1e9}), "sigma"),
    ] {
        let error = call(&client, "blur", arguments).await.unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
    let empty = AnyTensor::from_elements::<u8>(&[0, 5], Vec::new()).unwrap();
    let blurred: Tensor<f32> = within(client.call("blur", &(&empty, 2.0))).await.unwrap();
    assert_eq!(blurred.shape(), [0, 5]);
}
