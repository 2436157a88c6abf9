//! An argument that cannot be written or read.

use flexbond_rpc::{Failure, service};

struct Star;

#[service]
trait Sky {
    async fn point(&self, at: Star) -> Result<(), Failure>;
}

fn main() {}
