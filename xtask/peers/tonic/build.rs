//! Makes client and server of the service without protoc: the methods are named here, the messages in `main.rs`.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let method = |name: &str, route: &str| {
        Method::builder()
            .name(name)
            .route_name(route)
            .input_type("crate::Block")
            .output_type("crate::Block")
            .codec_path("tonic_prost::ProstCodec")
            .build()
    };
    let service = Service::builder()
        .name("Bench")
        .package("bench")
        .method(method("echo", "Echo"))
        .method(method("take", "Take"))
        .method(method("give", "Give"))
        .method(method("sleep", "Sleep"))
        .build();
    Builder::new().compile(&[service]);
}
