//! From the options of a stream to those of a session.

use std::time::Duration;

use flexbond_session::group::{Options, SlowMember};
use flexbond_session::socket::SlowPeer;

use super::{framing, keeper};
use crate::{Attach, ConnectOptions};

/// How long one attempt to join waits for an answer. Nobody waits for it: the next one follows.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How long leaving takes at most, once what was sent is delivered or given up: the others are told.
const FAREWELL: Duration = Duration::from_millis(250);
/// How long a receiver may keep a PUB from sending that sends such away.
const STANDSTILL: Duration = Duration::from_secs(1);

/// The session's options.
pub(super) fn session(options: &ConnectOptions) -> Options {
    let memory = options.memory as u64;
    let mut session = Options::new()
        .max_message(framing::longest(options.max_message_size))
        .send_budget(memory)
        .recv_budget(memory)
        // Receivers may be two of these apart before the slower one has to skip.
        .window((options.memory / 8).clamp(1 << 20, 32 << 20))
        .join_timeout(ATTEMPT)
        .linger(FAREWELL)
        .slow_member(match options.slow_peer {
            SlowPeer::Wait => SlowMember::Block,
            SlowPeer::Disconnect if options.attach == Attach::Bind => SlowMember::EvictAfter(STANDSTILL),
            _ => SlowMember::KeepLatest,
        });
    let name = match options.mode.receives() {
        true => keeper::RECEIVER,
        false => keeper::SENDER,
    };
    name.clone_into(&mut session.name);
    session.multicast = options.multicast;
    session.interface.clone_from(&options.interface);
    #[cfg(feature = "multicast-crypto")]
    session.key.clone_from(&options.key);
    session
}

/// Whether sending waits for as long as there is no room. Who is sent away does not keep anybody waiting for ever.
pub(super) fn waits(options: &ConnectOptions) -> bool {
    matches!(
        session(options).slow_member,
        SlowMember::Block | SlowMember::EvictAfter(_)
    )
}
