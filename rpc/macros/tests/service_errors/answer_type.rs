//! An answer that cannot be written or read, and a failure that is none.

use flexbond_rpc::{Failure, service};

struct Star;

struct Trouble;

#[service]
trait Sky {
    async fn look(&self) -> Result<Star, Failure>;
    async fn park(&self) -> Result<(), Trouble>;
}

fn main() {}
