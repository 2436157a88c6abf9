//! One peer in front of a socket's judge.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use flexbond_transport::{Endpoint, Host, PeerIdentity};
use flexbond_wire::zmtp::{Credentials, Verdict};

use super::super::Options;
use super::{AuthRequest, Authenticator, Decision, DenyStatus};

/// A question to the socket's judge that is not answered yet, and what came of it.
#[derive(Default)]
pub(crate) struct Judging {
    under_way: Option<Pin<Box<dyn Future<Output = Decision> + Send>>>,
    /// What the judge knows of the peer.
    pub(crate) metadata: Vec<(String, Bytes)>,
    /// Why the peer was turned away.
    pub(crate) denial: Option<Denial>,
}

/// Bytes of a reason that are told. It may have in it what the peer shows, a certificate of many names for instance.
const REASON: usize = 512;

/// Why a peer was turned away here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) status: DenyStatus,
    pub(crate) text: String,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "peer refused with status {}: {}",
            self.status.code(),
            self.text
        )
    }
}

impl Judging {
    /// Asks the judge.
    pub(crate) fn ask(
        &mut self,
        options: &Options,
        endpoint: &Endpoint,
        identity: Option<PeerIdentity>,
        credentials: Credentials,
    ) {
        let judge = judge(options, &credentials);
        let request = AuthRequest {
            domain: options.auth_domain.clone(),
            address: address(endpoint),
            endpoint: endpoint.clone(),
            routing_id: options.routing_id.clone(),
            credentials,
            identity,
        };
        let limit = options.auth_timeout;
        self.under_way = Some(Box::pin(async move {
            let Some(judge) = judge else {
                return Decision::allow_anonymous();
            };
            let late = || format!("the authenticator did not answer within {limit:?}");
            match tokio::time::timeout(limit, judge.authenticate(request)).await {
                Ok(decision) => decision,
                Err(_) => Decision::deny_with(DenyStatus::Temporary, late()),
            }
        }));
    }

    /// Whether the judge has still to answer.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// The judge's answer.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Verdict> {
        let Some(under_way) = &mut self.under_way else {
            return Poll::Pending;
        };
        // A panic in the application's code would take the endpoint with it, and nobody would be told.
        let polled = catch_unwind(AssertUnwindSafe(|| under_way.as_mut().poll(cx)));
        let decision = match polled {
            Ok(Poll::Ready(decision)) => decision,
            Ok(Poll::Pending) => return Poll::Pending,
            Err(_) => Decision::deny_with(DenyStatus::Internal, "the authenticator panicked"),
        };
        self.under_way = None;
        Poll::Ready(match decision {
            Decision::Allow { user_id, metadata } => {
                self.metadata = metadata;
                Verdict::Allow { user_id }
            }
            Decision::Deny { status, mut text } => {
                if text.len() > REASON {
                    text.truncate(text.floor_char_boundary(REASON));
                    text.push('…');
                }
                let reason = status.code().to_string();
                self.denial = Some(Denial { status, text });
                match status {
                    DenyStatus::Temporary => Verdict::Dismiss { reason },
                    DenyStatus::Refused | DenyStatus::Internal => Verdict::Deny { reason },
                }
            }
        })
    }
}

/// Who decides: the application's authenticator, or the passwords in the options. With neither, as with libzmq without
/// ZAP, a CURVE server lets in everybody who knows its key.
fn judge(options: &Options, credentials: &Credentials) -> Option<Arc<dyn Authenticator>> {
    if let Some(authenticator) = &options.authenticator {
        return Some(Arc::clone(authenticator));
    }
    match credentials {
        Credentials::Plain { .. } => Some(Arc::new(options.plain_server.clone().unwrap_or_default())),
        _ => None,
    }
}

/// The address as ZAP has it.
fn address(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp(tcp) | Endpoint::Tls(tcp) => match tcp.host() {
            Host::V4(address) => address.to_string(),
            Host::V6 { address, .. } => address.to_string(),
            Host::Name { name, .. } => name.clone(),
            _ => endpoint.address(),
        },
        _ => endpoint.address(),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        for (text, told) in [
            ("no".to_owned(), "no".to_owned()),
            ("n".repeat(REASON), "n".repeat(REASON)),
            ("ü".repeat(100_000), "ü".repeat(REASON / 2) + "…"),
            (
                "x".to_owned() + &"ü".repeat(REASON),
                "x".to_owned() + &"ü".repeat(REASON / 2 - 1) + "…",
            ),
        ] {
            let mut judging = Judging {
                under_way: Some(Box::pin(std::future::ready(Decision::deny(text)))),
                ..Judging::default()
            };
            let verdict = judging.poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(verdict, Poll::Ready(Verdict::Deny { .. })));
            assert_eq!(judging.denial.map(|denial| denial.text), Some(told));
        }
    }

    #[test]
    fn addresses_are_those_of_zap() {
        for (endpoint, expected) in [
            ("tcp://127.0.0.1:5555", "127.0.0.1"),
            ("tcp://[::1]:5555", "::1"),
            ("tls://127.0.0.1:5555", "127.0.0.1"),
            ("tcp://example.org:5555", "example.org"),
            ("ipc:///run/x", "/run/x"),
        ] {
            assert_eq!(address(&endpoint.parse().expect("an endpoint")), expected);
        }
    }
}
