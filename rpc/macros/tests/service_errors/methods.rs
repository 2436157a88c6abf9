//! Methods that cannot be called from elsewhere.

use std::sync::Arc;

use flexbond_rpc::{Failure, service};

#[service]
trait Receivers {
    async fn none() -> Result<u8, Failure>;
    async fn none_but_arguments(a: u8) -> Result<u8, Failure>;
    async fn exclusive(&mut self) -> Result<u8, Failure>;
    async fn by_value(self) -> Result<u8, Failure>;
    async fn shared(self: Arc<Self>) -> Result<u8, Failure>;
}

#[service]
trait Forms {
    fn at_once(&self) -> Result<u8, Failure>;
    async unsafe fn dangerous(&self) -> Result<u8, Failure>;
    async extern "C" fn foreign(&self) -> Result<u8, Failure>;
    async fn generic<T>(&self, value: T) -> Result<u8, Failure>;
    async fn borrowing<'a>(&'a self) -> Result<u8, Failure>;
    async fn conditional(&self) -> Result<u8, Failure>
    where
        Self: Sized;
}

#[service]
trait Answers {
    async fn nothing(&self);
    async fn bare(&self) -> u8;
    async fn borrowed(&self) -> Result<&str, Failure>;
    async fn hidden(&self) -> Result<impl Iterator<Item = u8>, Failure>;
    async fn unfailing(&self) -> Result<impl Stream<Item = u8>, Failure>;
    async fn own(&self) -> Result<Self, Failure>;
    #[rpc(one_way)]
    async fn told(&self) -> Result<u8, Failure>;
}

fn main() {}
