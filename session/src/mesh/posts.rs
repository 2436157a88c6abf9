//! Notices to another rank that nobody waits for.

use std::collections::VecDeque;
use std::sync::Arc;

use super::hub::Hub;
use super::link::Link;
use super::sending::Sending;

/// Notices that could not be sent at once, in the order in which they were posted; one task sends them.
#[derive(Debug, Default)]
pub(super) struct Posts {
    queue: VecDeque<Post>,
    /// What the queue costs, in bytes.
    queued: usize,
    is_sending: bool,
}

#[derive(Debug)]
struct Post {
    epoch: u32,
    to: usize,
    tag: u64,
    body: Vec<u8>,
}

impl Post {
    /// What a post costs besides its body, in bytes.
    const OVERHEAD: usize = 64;

    fn cost(&self) -> usize {
        self.body.len() + Self::OVERHEAD
    }
}

impl Posts {
    /// What may wait for one rank, in bytes; what is more is dropped.
    pub(super) const LIMIT: usize = 64 << 10;

    /// Whether everything is on its way.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_sending
    }

    /// Puts a notice behind the others; true if nobody sends them yet.
    fn push(&mut self, post: Post) -> bool {
        if self.queued + post.cost() > Self::LIMIT {
            return false;
        }
        self.queued += post.cost();
        self.queue.push_back(post);
        !std::mem::replace(&mut self.is_sending, true)
    }

    /// The next one for who sends them, who has done with that when there is none.
    fn next(&mut self) -> Option<Post> {
        let next = self.queue.pop_front();
        match &next {
            Some(post) => self.queued -= post.cost(),
            None => self.is_sending = false,
        }
        next
    }
}

/// Sends a notice in the present epoch: at once, or as soon as its turn comes.
pub(super) fn post(hub: &Arc<Hub>, to: usize, tag: u64, body: &[u8]) {
    let epoch = hub.current();
    let Some(seat) = epoch.seats.get(to) else {
        return;
    };
    let link = &seat.link;
    let is_next = link.posts.lock().is_empty();
    if is_next && Sending::new(hub, to, tag, body).attempt() {
        return;
    }
    let post = Post {
        epoch: epoch.number,
        to,
        tag,
        body: body.to_vec(),
    };
    let is_first = link.posts.lock().push(post);
    if is_first {
        hub.spawn(send(Arc::clone(hub), Arc::clone(link)));
    }
}

async fn send(hub: Arc<Hub>, link: Arc<Link>) {
    loop {
        let next = link.posts.lock().next();
        let Some(post) = next else {
            break;
        };
        let sending = Sending::new(&hub, post.to, post.tag, &post.body).patient();
        // An operation belongs to the epoch in which it was made.
        if sending.epoch() == post.epoch {
            // Who cannot get it needs it no more.
            let _ = sending.await;
        }
    }
    // Somebody may want to leave.
    hub.parked.wake_all();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(length: usize) -> Post {
        Post {
            epoch: 1,
            to: 0,
            tag: 0,
            body: vec![0; length],
        }
    }

    #[test]
    fn one_task_sends_all_in_order_and_what_waits_is_bounded() {
        let mut posts = Posts::default();
        assert!(posts.is_empty() && posts.push(post(1)));
        assert!(!posts.push(post(2)) && !posts.is_empty());
        assert!(
            !posts.push(post(Posts::LIMIT - 2 * Post::OVERHEAD - 3)),
            "too much"
        );
        for length in [1, 2] {
            assert_eq!(posts.next().map(|post| post.body.len()), Some(length));
        }
        assert!(!posts.is_empty(), "the last one is still being sent");
        assert!(posts.next().is_none() && posts.is_empty());
        assert!(posts.push(post(3)), "somebody has to send again");
        assert_eq!(posts.queued, 3 + Post::OVERHEAD);
    }
}
