//! A server with layers of tower that know nothing of it: who calls needs a token, and all callers together may call
//! five times a second. Ends by itself.
//!
//! ```text
//! cargo run -p flexbond-rpc --example tower_layers
//! ```

use std::error::Error;
use std::time::Duration;

use flexbond_rpc::{Client, Failure, FailureKind, Methods, Request, Server};
use subtle::ConstantTimeEq;
use tower::ServiceBuilder;

/// Lets those calls pass that bring the token. The comparison takes as long for a wrong one.
fn authorized(request: Request) -> Result<Request, Failure> {
    let token = request.metadata.get("authorization").unwrap_or_default();
    match token.ct_eq(b"Bearer open sesame").into() {
        true => Ok(request),
        false => Err(Failure::new(
            FailureKind::Unauthenticated,
            "a bearer token, please",
        )),
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let methods = Methods::new().add("add", async |(a, b): (i64, i64)| Ok::<_, Failure>(a + b))?;
    let service = ServiceBuilder::new()
        .filter(authorized)
        // What finds no room in the buffer is refused at once, as overloaded.
        .load_shed()
        // A rate is one for all connections, so its layer cannot be cloned for each; behind a buffer they share it.
        .buffer(5)
        .rate_limit(5, Duration::from_secs(1))
        .service(methods);
    let server = Server::new(service);
    let endpoint = server.bind("tcp://127.0.0.1:0").await?;
    tokio::spawn(server.run());

    let client = Client::connect(endpoint)?;
    match client.call::<_, i64>("add", &(1, 2)).await {
        Ok(sum) => return Err(format!("a stranger got {sum}").into()),
        Err(error) => println!("without a token: {error}"),
    }
    let calls = (0..20).map(|n| {
        let call = client
            .method("add")
            .metadata("authorization", "Bearer open sesame");
        async move { Ok::<_, Box<dyn Error>>(call?.value::<_, i64>(&(n, n)).await) }
    });
    let answers = futures_util::future::try_join_all(calls).await?;
    let answered = answers.iter().filter(|answer| answer.is_ok()).count();
    let refused: Vec<_> = answers
        .iter()
        .filter_map(|answer| answer.as_ref().err())
        .collect();
    println!("with the token: {answered} of {} calls answered", answers.len());
    let first = refused.first().ok_or("nothing was refused")?;
    println!("the others: {first}");
    println!("a retry is sound: {}", !first.may_have_run());
    match answered {
        0 => Err("nothing was answered".into()),
        _ => Ok(()),
    }
}
