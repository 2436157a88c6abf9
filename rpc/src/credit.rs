//! Leave to send items of a stream.

use tokio::sync::Semaphore;

/// Adds leave for `items` more; as much as can be counted, whatever the peer says.
pub(crate) fn add(credit: &Semaphore, items: u32) {
    let room = Semaphore::MAX_PERMITS - credit.available_permits();
    credit.add_permits(room.min(items as usize));
}
