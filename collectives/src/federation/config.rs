//! Who takes part in a job: built in code, or read from a file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::core::MAX_MEMBERS;
use super::credentials::{CurveKeys, TlsFiles};
use super::limits::{LimitError, Limits};
use super::name::{JobId, Member, PartyId, Role};
use super::nats::{NatsOptions, is_nats};

/// The largest configuration file in bytes.
const MAX_FILE: u64 = 16 << 20;

/// A configuration that cannot be one. Nothing has changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not in its format, has a key that there is not, or lacks one. The text says where.
    #[error("the configuration {place} is wrong: {reason}")]
    Syntax {
        /// The file, or the format of the text.
        place: String,
        /// Where and what, as the format's parser says it.
        reason: String,
    },
    /// The file's name ends neither in `.json` nor in `.toml`.
    #[error("the configuration {} is neither .json nor .toml; rename it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A party is named twice.
    #[error("party {party} is in `federation` twice ({first} and {second}); remove one")]
    Twice {
        /// The party.
        party: PartyId,
        /// Its first role.
        first: Role,
        /// Its second role.
        second: Role,
    },
    /// There are more parties than a job may have.
    #[error("`federation` names {count} parties, which is more than {limit}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The local party is not among the members.
    #[error("`session.local_id` {local} is not in `federation`, whose members are {members:?}; add it there")]
    NotAMember {
        /// The local party.
        local: PartyId,
        /// All members.
        members: Vec<PartyId>,
    },
    /// The local party has another role among the members.
    #[error("`session.role` is {session}, but `federation` has {local} as {federation}; they must agree")]
    OtherRole {
        /// The local party.
        local: PartyId,
        /// Its role in `session`.
        session: Role,
        /// Its role in `federation`.
        federation: Role,
    },
    /// There is an address for somebody who is no member.
    #[error("`addresses` has {party}, which is not in `federation`; remove it, or add the party")]
    AddressOfNobody {
        /// The party.
        party: PartyId,
    },
    /// There are keys for a server, and no server.
    #[error("`{key}` is for a message server; give `server` too")]
    NoServer {
        /// Which key.
        key: &'static str,
    },
    /// A key does not fit to a server of NATS, or is for one where there is none.
    #[error("`{key}` {reason}")]
    Nats {
        /// Which key.
        key: &'static str,
        /// What it must be.
        reason: &'static str,
    },
    /// A limit is out of its bounds.
    #[error("`limits`")]
    Limit(#[from] LimitError),
}

/// Who takes part in a job, which of them this is, and what it holds at most.
///
/// # Files
/// JSON or TOML; a key that is not in this example is an error that names it, except for `tls`, see [`TlsFiles`], and
/// `nats`, see [`NatsOptions`]. `role`, `server`, `curve`, `addresses`, `limits` and any of the three roles may be left out.
/// All parties need the same job id and the same members. Where there is a `server`, parties are reached by it alone, and
/// `addresses` are not looked at. A `server` of the form `nats://host:4222` is one of NATS with JetStream, or several with
/// commas between them.
///
/// ```
/// use flexbond_collectives::federation::{Config, Role};
///
/// let config = Config::from_json(r#"{
///     "server": "relay.example:9370",
///     "curve": {"secret_file": "bank-a.key_secret", "server_key": "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"},
///     "session": {"role": "guest", "local_id": "bank-a", "job_id": "churn-7"},
///     "federation": {"guest": ["bank-a"], "host": ["bank-b", 10000], "arbiter": ["auditor"]},
///     "addresses": {"bank-b": "tcp://10.0.0.2:9371"},
///     "limits": {"timeout_ms": 60000, "window_bytes": 1048576}
/// }"#)?;
/// assert_eq!(config.local(), "bank-a");
/// assert_eq!(config.members_of(Role::Host).count(), 2);
/// # Ok::<(), flexbond_collectives::federation::ConfigError>(())
/// ```
///
/// # In code
/// ```
/// use flexbond_collectives::federation::{Config, Role};
///
/// let config = Config::new("churn-7".parse()?, "bank-a".parse()?)
///     .member("bank-a".parse()?, Role::Guest)
///     .member("bank-b".parse()?, Role::Host);
/// config.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    job: JobId,
    local: PartyId,
    role: Option<Role>,
    members: Vec<Member>,
    server: Option<String>,
    curve: Option<CurveKeys>,
    tls: Option<TlsFiles>,
    nats: Option<NatsOptions>,
    addresses: BTreeMap<PartyId, String>,
    limits: Limits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    curve: Option<CurveKeys>,
    tls: Option<TlsFiles>,
    nats: Option<NatsOptions>,
    session: Session,
    federation: Parties,
    #[serde(default)]
    addresses: BTreeMap<PartyId, String>,
    #[serde(default)]
    limits: Limits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    role: Option<Role>,
    local_id: PartyId,
    job_id: JobId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parties {
    #[serde(default)]
    guest: Vec<PartyId>,
    #[serde(default)]
    host: Vec<PartyId>,
    #[serde(default)]
    arbiter: Vec<PartyId>,
}

impl Config {
    /// A job without members; the local party has to be added as one, too.
    #[must_use]
    pub fn new(job: JobId, local: PartyId) -> Self {
        Config {
            job,
            local,
            role: None,
            members: Vec::new(),
            server: None,
            curve: None,
            tls: None,
            nats: None,
            addresses: BTreeMap::new(),
            limits: Limits::default(),
        }
    }

    /// Adds a member. Their order is that of gathered values.
    #[must_use]
    pub fn member(mut self, id: PartyId, role: Role) -> Self {
        self.members.push(Member { id, role });
        self
    }

    /// Sets where the message server is: `host:port`, or an endpoint.
    #[must_use]
    pub fn by_server(mut self, server: impl Into<String>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// Sets the keys for the message server.
    #[must_use]
    pub fn curve(mut self, keys: CurveKeys) -> Self {
        self.curve = Some(keys);
        self
    }

    /// Sets the certificates for a message server at a `tls://` endpoint.
    #[must_use]
    pub fn tls(mut self, files: TlsFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// Sets how the job is kept in NATS JetStream.
    #[must_use]
    pub fn nats(mut self, options: NatsOptions) -> Self {
        self.nats = Some(options);
        self
    }

    /// Sets where a party listens, for parties that talk to each other directly.
    #[must_use]
    pub fn address(mut self, party: PartyId, endpoint: impl Into<String>) -> Self {
        self.addresses.insert(party, endpoint.into());
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Reads a file whose name ends in `.json` or `.toml`.
    ///
    /// # Errors
    /// [`ConfigError`] says what is wrong, and where.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let place = format!("{}", path.display());
        let text = read(path)?;
        let mut config = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Self::parse_json(&text, place),
            Some("toml") => Self::parse_toml(&text, place),
            _ => Err(ConfigError::Format {
                path: path.to_owned(),
            }),
        }?;
        if let Some(folder) = path.parent() {
            config.curve.iter_mut().for_each(|keys| keys.below(folder));
            config.tls.iter_mut().for_each(|files| files.below(folder));
            config.nats.iter_mut().for_each(|options| options.below(folder));
        }
        Ok(config)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// [`ConfigError`] says what is wrong, and where.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        Self::parse_json(text, "(JSON)".to_owned())
    }

    /// Reads TOML.
    ///
    /// # Errors
    /// [`ConfigError`] says what is wrong, and where.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::parse_toml(text, "(TOML)".to_owned())
    }

    fn parse_json(text: &str, place: String) -> Result<Self, ConfigError> {
        match serde_json::from_str(text) {
            Ok(file) => Self::from_parts(file),
            Err(error) => Err(ConfigError::Syntax {
                place,
                reason: error.to_string(),
            }),
        }
    }

    fn parse_toml(text: &str, place: String) -> Result<Self, ConfigError> {
        match toml::from_str(text) {
            Ok(file) => Self::from_parts(file),
            Err(error) => Err(ConfigError::Syntax {
                place,
                reason: toml_reason(text, &error),
            }),
        }
    }

    fn from_parts(file: File) -> Result<Self, ConfigError> {
        let Parties { guest, host, arbiter } = file.federation;
        let roles = [(Role::Guest, guest), (Role::Host, host), (Role::Arbiter, arbiter)];
        let config = Config {
            job: file.session.job_id,
            local: file.session.local_id,
            role: file.session.role,
            members: roles
                .into_iter()
                .flat_map(|(role, ids)| ids.into_iter().map(move |id| Member { id, role }))
                .collect(),
            server: file.server,
            curve: file.curve,
            tls: file.tls,
            nats: file.nats,
            addresses: file.addresses,
            limits: file.limits,
        };
        config.validate()?;
        Ok(config)
    }

    /// Whether everything fits together.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut roles = BTreeMap::new();
        for Member { id, role } in &self.members {
            if let Some(first) = roles.insert(id.clone(), *role) {
                return Err(ConfigError::Twice {
                    party: id.clone(),
                    first,
                    second: *role,
                });
            }
        }
        if roles.len() > MAX_MEMBERS {
            return Err(ConfigError::TooMany {
                count: roles.len(),
                limit: MAX_MEMBERS,
            });
        }
        let Some(federation) = roles.get(&self.local).copied() else {
            return Err(ConfigError::NotAMember {
                local: self.local.clone(),
                members: roles.into_keys().collect(),
            });
        };
        if let Some(session) = self.role.filter(|role| *role != federation) {
            return Err(ConfigError::OtherRole {
                local: self.local.clone(),
                session,
                federation,
            });
        }
        if let Some(party) = self.addresses.keys().find(|party| !roles.contains_key(*party)) {
            return Err(ConfigError::AddressOfNobody { party: party.clone() });
        }
        let keys = [("curve", self.curve.is_some()), ("tls", self.tls.is_some())];
        if let (None, Some((key, _))) = (&self.server, keys.into_iter().find(|(_, is_there)| *is_there)) {
            return Err(ConfigError::NoServer { key });
        }
        self.validate_nats()
            .map_err(|(key, reason)| ConfigError::Nats { key, reason })?;
        Ok(self.limits.validate()?)
    }

    fn validate_nats(&self) -> Result<(), (&'static str, &'static str)> {
        let is_there = self.server.as_deref().is_some_and(is_nats);
        match &self.nats {
            Some(_) if !is_there => Err(("nats", "is for a `server` of the form \"nats://host:4222\"")),
            _ if is_there && self.curve.is_some() => Err((
                "curve",
                "is not for servers of NATS; they know `nats.credentials` and `tls`",
            )),
            Some(options) => options.validate(),
            None => Ok(()),
        }
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &JobId {
        &self.job
    }

    /// The party that this process is.
    #[must_use]
    pub fn local(&self) -> &PartyId {
        &self.local
    }

    /// All parties, this one too: guests, hosts and arbiters, each in the order of the file.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The parties of one role, in order.
    pub fn members_of(&self, role: Role) -> impl Iterator<Item = &PartyId> {
        self.members
            .iter()
            .filter(move |member| member.role == role)
            .map(|member| &member.id)
    }

    /// Where the message server is, if there is one: `host:port`, or an endpoint.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// The keys for the message server.
    #[must_use]
    pub fn curve_keys(&self) -> Option<&CurveKeys> {
        self.curve.as_ref()
    }

    /// The certificates for the message server.
    #[must_use]
    pub fn tls_files(&self) -> Option<&TlsFiles> {
        self.tls.as_ref()
    }

    /// How the job is kept in NATS JetStream.
    #[must_use]
    pub fn nats_options(&self) -> Option<&NatsOptions> {
        self.nats.as_ref()
    }

    /// Where parties listen that are reached directly.
    #[must_use]
    pub fn addresses(&self) -> &BTreeMap<PartyId, String> {
        &self.addresses
    }

    /// What this party holds at most, and how long it waits.
    #[must_use]
    pub fn bounds(&self) -> &Limits {
        &self.limits
    }
}

/// Where a TOML text is wrong, and how, in one line.
pub(super) fn toml_reason(text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return message.to_owned();
    };
    let line = before.matches('\n').count() + 1;
    let column = before
        .chars()
        .rev()
        .take_while(|character| *character != '\n')
        .count()
        + 1;
    format!("line {line}, column {column}: {message}")
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failure = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let size = fs::metadata(path).map_err(failure)?.len();
    if size > MAX_FILE {
        return Err(failure(io::Error::other(format!(
            "{size} bytes are more than {MAX_FILE}"
        ))));
    }
    fs::read_to_string(path).map_err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{
        "session": {"local_id": "a", "job_id": "j"},
        "federation": {"guest": ["a"], "host": ["b", 7]}
    }"#;

    fn refused(from: &str, to: &str) -> String {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD);
        Config::from_json(&text).unwrap_err().to_string()
    }

    #[test]
    fn errors_say_what_is_wrong_and_where() {
        let config = Config::from_json(GOOD).unwrap();
        let ids: Vec<_> = config.members().iter().map(|member| member.id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "7"]);

        let error = refused(r#""guest""#, r#""guests""#);
        assert!(
            error.contains("unknown field `guests`") && error.contains("line 3"),
            "{error}"
        );
        let error = refused(r#""job_id""#, r#""job""#);
        assert!(error.contains("unknown field `job`"), "{error}");
        let error = refused(r#""j""#, r#""""#);
        assert!(error.contains("the job id is empty at line 2"), "{error}");
        assert_eq!(
            refused(r#""local_id": "a""#, r#""local_id": "c""#),
            r#"`session.local_id` c is not in `federation`, whose members are ["7", "a", "b"]; add it there"#
        );
        assert_eq!(
            refused(r#"["b""#, r#"["a""#),
            "party a is in `federation` twice (guest and host); remove one"
        );
        let error = refused(r#""local_id""#, r#""role": "host", "local_id""#);
        assert_eq!(
            error,
            "`session.role` is host, but `federation` has a as guest; they must agree"
        );
    }

    #[test]
    fn toml_says_the_same() {
        let text = "[session]\nlocal_id = \"a\"\njob_id = 3\n[federation]\nhost = [\"a\"]\n";
        assert_eq!(Config::from_toml(text).unwrap().job(), &"3");
        let error = Config::from_toml(&text.replace("host", "hosts"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 5") && error.contains("unknown field `hosts`"),
            "{error}"
        );
    }

    #[test]
    fn limits_and_addresses_are_checked() {
        let limits = Limits {
            channels: 0,
            ..Limits::default()
        };
        let (a, b): (PartyId, PartyId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let config = Config::new("j".parse().unwrap(), a.clone()).member(a, Role::Guest);
        assert!(matches!(
            config.clone().limits(limits).validate(),
            Err(ConfigError::Limit(_))
        ));
        let error = config.address(b, "tcp://x:1").validate().unwrap_err();
        assert!(matches!(error, ConfigError::AddressOfNobody { .. }));
    }
}
