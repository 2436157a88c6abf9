//! From arguments to socket options, and which arguments go together.

use std::path::Path;
use std::time::Duration;

use super::super::keygen;
use super::{DEFAULT_LINGER, Failure, SocketCommand};
use crate::session::socket::{CurveAllow, CurveClient, KeyPair, Options, PlainServer, PlainUser, SocketType};

/// A pattern by name, in any mixture of capitals.
pub(super) fn pattern(name: &str) -> Result<SocketType, String> {
    name.parse().map_err(|_| {
        let names: Vec<_> = SocketType::ALL.iter().map(|pattern| pattern.as_str()).collect();
        format!("the patterns are {}", names.join(", "))
    })
}

impl SocketCommand {
    /// Refuses what would silently do nothing.
    pub(super) fn check(&self) -> Result<(), Failure> {
        use SocketType::{Dealer, Pair, Pub, Push, Rep, Router, Sub, XSub};
        let pattern = self.pattern;
        if self.bind.is_empty() && self.connect.is_empty() {
            return Err(Failure::usage("nowhere to go").hint("give --bind ENDPOINT or --connect ENDPOINT"));
        }
        if !self.subscribe.is_empty() && !matches!(pattern, Sub | XSub) {
            return Err(Failure::usage(format!(
                "--subscribe is for SUB and XSUB, not {pattern}"
            )));
        }
        if self.echo && !matches!(pattern, Rep | Router | Dealer | Pair) {
            return Err(Failure::usage(format!(
                "--echo is for REP, ROUTER, DEALER and PAIR, not {pattern}"
            )));
        }
        if self.recv.is_some() && matches!(pattern, Push | Pub) {
            return Err(Failure::usage(format!(
                "--recv is for sockets that receive; {pattern} only sends"
            )));
        }
        if self.mandatory && pattern != Router {
            return Err(Failure::usage(format!(
                "--mandatory is for ROUTER, not {pattern}"
            )));
        }
        Ok(())
    }

    /// Whether standard input is read at all.
    pub(super) fn reads_input(&self) -> bool {
        !self.echo && !matches!(self.pattern, SocketType::Pull | SocketType::Sub)
    }

    /// How long the end waits; `None` is for ever.
    pub(super) fn linger(&self) -> Option<Duration> {
        match self.linger {
            Some(linger) => linger.0,
            None => Some(
                self.timeout
                    .map_or(DEFAULT_LINGER, |timeout| timeout.min(DEFAULT_LINGER)),
            ),
        }
    }

    pub(super) fn options(&self) -> Result<Options, Failure> {
        let mut options = Options::new()
            .registry(self.tls.registry(&self.bind, &self.connect)?)
            .hwm(self.hwm)
            .linger(self.linger())
            .max_message_size(self.max_size)
            .heartbeat_interval(self.heartbeat)
            .immediate(self.immediate)
            .conflate(self.conflate)
            .ipv6(self.ipv6)
            .router_mandatory(self.mandatory);
        if let Some(id) = &self.routing_id {
            options = options.routing_id(id.clone());
        }
        let options = match (&self.username, &self.password) {
            (Some(name), Some(password)) if self.plain_server => {
                options.plain_server(PlainServer::new().user(name, password))
            }
            (Some(name), Some(password)) => options.plain_client(PlainUser::new(name, password)),
            _ => options,
        };
        self.curve(self.tls.judged(options).plain_anywhere(self.plain_anywhere))
    }

    fn curve(&self, options: Options) -> Result<Options, Failure> {
        let keys = match &self.curve_secret {
            Some(file) => Some(self.own_keys(file)?),
            None => None,
        };
        match (keys, self.curve_server_key) {
            (Some(keys), None) => Ok(self.curve_judged(options.curve_server(keys))),
            (Some(keys), Some(server)) => Ok(options.curve_client(CurveClient::new(server, keys))),
            (None, Some(server)) => CurveClient::anonymous(server)
                .map(|client| options.curve_client(client))
                .map_err(|error| Failure::new(format!("the system has no random numbers: {error}"))),
            (None, None) => Ok(options),
        }
    }

    fn own_keys(&self, file: &Path) -> Result<KeyPair, Failure> {
        if !self.curve_server && self.curve_server_key.is_none() {
            return Err(Failure::usage("--curve-secret alone is not enough")
                .hint("give --curve-server or --curve-server-key KEY"));
        }
        keygen::read_secret(file)?.keys.ok_or_else(|| {
            Failure::usage(format!("there is only a public key in {}", file.display()))
                .hint("the secret one is in the file called key_secret")
        })
    }

    fn curve_judged(&self, options: Options) -> Options {
        if self.curve_allow.is_empty() {
            return options;
        }
        let allowed = CurveAllow::new();
        for key in &self.curve_allow {
            allowed.allow(*key, key.to_string());
        }
        options.authenticator(allowed)
    }
}
