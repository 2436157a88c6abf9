//! Playing recordings back: which messages, in which order, and when.

mod pacer;
mod player;
mod playlist;
mod source;

pub use pacer::{Pace, Pacer};
pub use player::{Control, PlayError, Played, Player};
pub use playlist::{Playlist, Range, Repeat};
pub use source::{Recording, SourceError};
