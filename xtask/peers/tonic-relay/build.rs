//! Makes client and server of the service without protoc: the methods are named here, the messages in `messages.rs`.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let method = |name: &str, route: &str, input: &str, output: &str| {
        Method::builder()
            .name(name)
            .route_name(route)
            .input_type(format!("crate::messages::{input}"))
            .output_type(format!("crate::messages::{output}"))
            .codec_path("tonic_prost::ProstCodec")
    };
    let service = Service::builder()
        .name("Relay")
        .package("bench")
        .method(method("send", "Send", "Put", "Taken").build())
        .method(method("receive", "Receive", "Get", "Given").build())
        .method(
            method("attach", "Attach", "Up", "Down")
                .client_streaming()
                .server_streaming()
                .build(),
        )
        .build();
    Builder::new().compile(&[service]);
}
