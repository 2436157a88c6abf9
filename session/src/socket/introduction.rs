//! How two sockets introduce themselves over a transport of whole messages.
//!
//! Such a transport needs no wire protocol, but the sockets still have to know each other's pattern, routing id and
//! metadata. Each side's first message says so: `flexbond/1`, the pattern's name, the routing id, then a name and a
//! value for each property.

use std::collections::HashSet;

use flexbond_transport::{Frame, Message};
use flexbond_wire::zmtp::SocketType;

use super::Options;
use super::peer::Introduction;

const MAGIC: &[u8] = b"flexbond/1";

/// Our own introduction.
pub(crate) fn compose(socket_type: SocketType, options: &Options) -> Message {
    let mut message = Message::from([
        Frame::from_static(MAGIC),
        Frame::from(socket_type.as_str()),
        Frame::from(options.routing_id.clone()),
    ]);
    for (name, value) in &options.metadata {
        message.push_back(name.as_str());
        message.push_back(value.clone());
    }
    message
}

/// The peer's introduction, if it is one and its pattern fits ours.
pub(crate) fn read(ours: SocketType, message: Message) -> Result<Introduction, String> {
    let mut frames = message.into_iter();
    if frames.next().is_none_or(|magic| magic != *MAGIC) {
        return Err("the peer did not introduce itself".to_owned());
    }
    let name = frames.next().unwrap_or_default();
    let theirs: SocketType = name
        .to_str()
        .ok()
        .and_then(|name| name.parse().ok())
        .ok_or("the peer's pattern is unknown")?;
    if !ours.accepts(theirs) {
        return Err(format!("a {ours} socket cannot talk to a {theirs} socket"));
    }
    let routing_id = frames.next().unwrap_or_default().into_bytes();
    let mut metadata = Vec::new();
    let mut names = HashSet::new();
    while let (Some(name), Some(value)) = (frames.next(), frames.next()) {
        let name = String::from_utf8_lossy(&name).into_owned();
        // The rules of the wire protocol.
        if !names.insert(name.to_ascii_lowercase()) {
            return Err("the peer gave a property twice".to_owned());
        }
        if !name.eq_ignore_ascii_case("User-Id") {
            metadata.push((name, value.into_bytes()));
        }
    }
    Ok(Introduction {
        socket_type: Some(theirs),
        routing_id,
        metadata,
        version: None,
        user_id: None,
        auth_metadata: Vec::new(),
        identity: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_introduction_is_read_as_it_was_composed() {
        let options = Options::new().routing_id("worker").metadata("X-Site", "north");
        let read = read(SocketType::Router, compose(SocketType::Dealer, &options)).unwrap();
        assert_eq!(read.socket_type, Some(SocketType::Dealer));
        assert_eq!(read.routing_id, "worker");
        assert_eq!(read.metadata, [("X-Site".to_owned(), "north".into())]);
    }

    #[test]
    fn no_property_comes_twice_and_none_claims_to_be_the_judges() {
        let introduced = |names: [&str; 2]| {
            let mut message = compose(SocketType::Dealer, &Options::new());
            for name in names {
                message.push_back(name);
                message.push_back("x");
            }
            read(SocketType::Router, message).map(|read| read.metadata.len())
        };
        assert!(introduced(["X-a", "x-A"]).is_err());
        assert_eq!(introduced(["X-a", "user-id"]), Ok(1));
    }

    #[test]
    fn a_pattern_that_does_not_fit_is_refused_by_name() {
        let error = read(SocketType::Push, compose(SocketType::Sub, &Options::new())).unwrap_err();
        assert_eq!(error, "a PUSH socket cannot talk to a SUB socket");
        assert!(read(SocketType::Push, Message::from("hello")).is_err());
    }
}
