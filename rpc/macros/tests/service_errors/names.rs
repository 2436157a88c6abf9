//! Names that clash, and attributes that say nothing.

use flexbond_rpc::{Failure, service};

#[service]
trait Clashes {
    async fn add(&self) -> Result<u8, Failure>;
    #[rpc(name = "add")]
    async fn sum(&self) -> Result<u8, Failure>;
    async fn into_methods(&self) -> Result<u8, Failure>;
    #[rpc(name = "flexbond.health")]
    async fn health(&self) -> Result<u8, Failure>;
}

#[service]
trait Attributes {
    #[rpc(retry = 3)]
    async fn unknown(&self) -> Result<u8, Failure>;
    #[rpc(timeout = "5 parsecs")]
    async fn far(&self) -> Result<u8, Failure>;
    #[rpc(timeout = 5)]
    async fn unitless(&self) -> Result<u8, Failure>;
    #[rpc(name = "")]
    async fn nameless(&self) -> Result<u8, Failure>;
    #[rpc(name = "a", name = "b")]
    async fn twice(&self) -> Result<u8, Failure>;
    #[rpc]
    async fn empty(&self) -> Result<u8, Failure>;
}

fn main() {}
