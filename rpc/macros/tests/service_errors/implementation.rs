//! An implementation whose future stays on its thread.

use std::rc::Rc;

use flexbond_rpc::{Failure, service};

#[service]
trait Clock {
    async fn now(&self) -> Result<u64, Failure>;
    async fn zone(&self) -> Result<String, Failure>;
}

struct Mine;

impl Clock for Mine {
    async fn now(&self) -> Result<u64, Failure> {
        let now = Rc::new(1);
        self.zone().await?;
        Ok(*now)
    }

    async fn zone(&self) -> Result<String, Failure> {
        Ok(String::new())
    }
}

fn main() {}
