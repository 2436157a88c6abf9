//! Remote calls: what a library has to offer, and how it is driven.
//!
//! The conversation with the bench is that of the other peers. Each library serves four functions, `echo`, `take`,
//! `give` and `sleep` (see [`Call`]), as its users would write them, and spawns loops of calls as its users would: a
//! task for each, which makes the next call when the one before is answered.

mod calls;
mod contender;
mod program;
mod slow;
mod words;

pub use calls::{Call, Calls};
pub use contender::Contender;
pub use program::{block_on, main, measure};
pub use words::{Args, Traffic};
