//! What is no trait, or more than one of methods.

use flexbond_rpc::{Failure, service};

#[service]
struct NoTrait;

#[service]
unsafe trait Unsafe {}

#[service]
trait Generic<'a, T> {
    async fn get(&self) -> Result<u8, Failure>;
}

#[service]
trait Conditional
where
    Self: Sized,
{
    async fn get(&self) -> Result<u8, Failure>;
}

#[service]
trait More {
    const LIMIT: u8;
    type Item;
    async fn get(&self) -> Result<u8, Failure> {
        Ok(1)
    }
    some_macro!();
}

#[service(title = "calc")]
trait Titled {}

#[service(name = "")]
trait Nameless {}

#[service(name = "a", name = "b")]
trait Twice {}

#[service("calc")]
trait Literal {}

fn main() {}
