//! Arguments where there are none, in all the ways in which callers of other languages say so.

mod harness;

use flexbond_rpc::envelope::{Codec, Method};
use flexbond_rpc::{Client, Encoded, Failure, FailureKind, Methods, Request, Server};
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

#[cfg(feature = "inproc")]
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
