//! Arguments where there are none, in all the ways in which callers of other languages say so, and large ones.
#![cfg(all(feature = "inproc", feature = "ipc", feature = "tcp"))]

mod harness;

use flexbond_rpc::envelope::{Codec, Method};
use flexbond_rpc::{Buffer, Client, Encoded, Failure, FailureKind, Methods, Request, Server, Tensor};
use flexbond_session::Frame;
use harness::within;
use serde::Deserialize;

#[derive(Deserialize)]
struct Defaults {
    #[serde(default = "five")]
    n: usize,
}

#[derive(Deserialize)]
struct Needed {
    n: usize,
}

fn five() -> usize {
    5
}

#[tokio::test]
async fn nothing_null_and_empty_all_say_that_there_are_no_arguments() {
    let methods = Methods::new()
        .add("nothing", async |()| Ok::<_, Failure>(1))
        .and_then(|methods| methods.add("defaults", async |Defaults { n }| Ok::<_, Failure>(n)))
        .and_then(|methods| methods.add("needed", async |Needed { n }| Ok::<_, Failure>(n)))
        .unwrap();
    let server = Server::new(methods);
    let endpoint = within("bind", server.bind("inproc://rpc-no-arguments"))
        .await
        .unwrap();
    tokio::spawn(server.run());
    let client = Client::connect(endpoint).unwrap();
    let call = async |method: &str, codec, body: &[u8]| {
        let arguments = Encoded {
            body: Frame::from(body.to_vec()),
            buffers: Vec::new(),
        };
        let request = Request::new(Method::new(method).unwrap(), codec, arguments);
        let answer = within("an answer", client.request(request)).await?;
        answer.value::<usize>()
    };
    for body in ["", "null", "{}", "[]", " {} "] {
        assert_eq!(
            call("nothing", Codec::Json, body.as_bytes()).await,
            Ok(1),
            "{body}"
        );
        assert_eq!(
            call("defaults", Codec::Json, body.as_bytes()).await,
            Ok(5),
            "{body}"
        );
        let needed = call("needed", Codec::Json, body.as_bytes()).await.unwrap_err();
        assert_eq!(
            needed.failure().unwrap().kind(),
            FailureKind::BadArguments,
            "{body}"
        );
    }
    for body in [&[][..], &[0xc0], &[0x80], &[0x90]] {
        assert_eq!(call("nothing", Codec::MessagePack, body).await, Ok(1), "{body:?}");
        assert_eq!(
            call("defaults", Codec::MessagePack, body).await,
            Ok(5),
            "{body:?}"
        );
    }
    // What is something is not taken for nothing.
    let wrong = call("nothing", Codec::Json, b"{\"n\": 1}").await.unwrap_err();
    assert_eq!(wrong.failure().unwrap().kind(), FailureKind::BadArguments);
}

#[tokio::test]
async fn large_arrays_are_read_where_they_were_received() {
    let folder = std::env::temp_dir().join(format!("flexbond-rpc-{}-large", std::process::id()));
    for bind in [
        "inproc://rpc-large-arrays".to_owned(),
        format!("ipc://{}", folder.display()),
        "tcp://127.0.0.1:0".to_owned(),
    ] {
        // Where numbers of any size can be read without a copy.
        let methods = Methods::new()
            .add("misplaced", async |data: Buffer| {
                Ok::<_, Failure>(data.as_ptr().addr() % 16)
            })
            .and_then(|methods| methods.add("mirror", async |array: Tensor<f64>| Ok::<_, Failure>(array)))
            .unwrap();
        let server = Server::new(methods);
        let endpoint = within("bind", server.bind(bind.as_str())).await.unwrap();
        tokio::spawn(server.run());
        let client = Client::connect(endpoint).unwrap();
        for len in [256 << 10, (1 << 20) + 8, 16 << 20] {
            let data = Buffer::from(vec![1_u8; len]);
            let misplaced = within("an answer", client.call::<_, usize>("misplaced", &data)).await;
            assert_eq!(misplaced, Ok(0), "{bind} {len}");
            let array = Tensor::from(vec![0.5_f64; len / 8]);
            let back = within("an answer", client.call::<_, Tensor<f64>>("mirror", &array)).await;
            assert_eq!(back, Ok(array), "{bind} {len}");
        }
    }
}
