//! Arguments that cannot be sent.

use std::borrow::Cow;

use flexbond_rpc::{Context, Failure, Incoming, service};

#[service]
trait Patterns {
    async fn taken_apart(&self, (a, b): (f64, f64)) -> Result<f64, Failure>;
    async fn unnamed(&self, _: f64) -> Result<f64, Failure>;
    async fn mutable(&self, mut a: f64) -> Result<f64, Failure>;
    async fn twice(&self, a: f64, a: f64) -> Result<f64, Failure>;
    async fn sometimes(&self, #[cfg(unix)] a: f64) -> Result<f64, Failure>;
}

#[service]
trait References {
    async fn text(&self, text: &str) -> Result<(), Failure>;
    async fn list(&self, list: &[u8]) -> Result<(), Failure>;
    async fn inside(&self, list: Vec<&str>) -> Result<(), Failure>;
    async fn cow(&self, text: Cow<'_, str>) -> Result<(), Failure>;
    async fn any(&self, text: impl Into<String>) -> Result<(), Failure>;
    async fn own(&self, other: Self) -> Result<(), Failure>;
}

#[service]
trait Streams {
    async fn two(&self, a: Incoming<u8>, b: Incoming<u8>) -> Result<(), Failure>;
    async fn first(&self, a: Incoming<u8>, b: u8) -> Result<(), Failure>;
    async fn borrowed(&self, a: Incoming<&str>) -> Result<(), Failure>;
    #[rpc(one_way)]
    async fn unheard(&self, a: Incoming<u8>) -> Result<(), Failure>;
    async fn contexts(&self, a: &Context, b: Context) -> Result<(), Failure>;
    async fn changing(&self, context: &mut Context) -> Result<(), Failure>;
}

fn main() {}
