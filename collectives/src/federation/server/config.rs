//! What a message server is told: where it listens, who may take part, what it keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use flexbond_session::Endpoint;
use flexbond_transport::{Host, IpcAddress};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ServerConfigError;
use super::parsed;
use crate::federation::config::toml_reason;
use crate::federation::credentials::{TlsFiles, below};
use crate::federation::name::{JobId, PartyId};
use crate::federation::relay::RelayLimits;

/// The largest configuration file in bytes.
const MAX_FILE: u64 = 16 << 20;
/// Where it listens if nothing is said.
const DEFAULT_LISTEN: &str = "tcp://127.0.0.1:9370";

/// What a message server is told.
///
/// # Files
/// JSON or TOML. Relative paths count from the folder of the file. Everything has a default; a key that is not in
/// [`EXAMPLE`](ServerConfig::EXAMPLE), which has them all, is an error that names it.
///
/// ```
/// use flexbond_collectives::federation::ServerConfig;
///
/// let config = ServerConfig::from_toml(r#"
///     listen = "tcp://127.0.0.1:0"
///     open_jobs = false
///     [jobs.churn-7]
///     members = ["bank-a", "bank-b"]
/// "#)?;
/// assert_eq!(config.jobs.len(), 1);
/// # Ok::<(), flexbond_collectives::federation::ServerConfigError>(())
/// ```
///
/// # Two sites
/// Each site has a server, and its parties reach only that one. One server connects to the other; each has the other's
/// public key, and the parties that are there. Keys are made by `flexbond keygen north` and so on.
///
/// ```
/// use flexbond_collectives::federation::ServerConfig;
///
/// let north = ServerConfig::from_toml(r#"
///     listen = "tcp://*:9370"
///     curve = {secret_file = "north.key_secret"}
///     [parties.bank-a]
///     key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
///     [servers.south]
///     connect = "tcp://south.example:9370"
///     key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
///     parties = ["bank-b"]
/// "#)?;
/// // The other connects, so there is no `connect` here.
/// let south = ServerConfig::from_toml(r#"
///     listen = "tcp://*:9370"
///     curve = {secret_file = "south.key_secret"}
///     [parties.bank-b]
///     key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
///     [servers.north]
///     key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
///     parties = ["bank-a"]
/// "#)?;
/// // The same with certificates: what a key is for one party, the names of its certificates are.
/// let tls = ServerConfig::from_toml(r#"
///     listen = "tls://*:9370"
///     tls = {authorities = "ca.pem", certificate = "south.pem", private_key = "south-key.pem"}
///     [parties.bank-b]
///     certificates = ["DNS:bank-b.example"]
///     [servers.north]
///     certificates = ["DNS:north.example"]
///     parties = ["bank-a"]
/// "#)?;
/// [north, south, tls].iter().try_for_each(ServerConfig::validate)?;
/// # Ok::<(), flexbond_collectives::federation::ServerConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where to listen: tcp, tls or ipc, one or several. Default: `tcp://127.0.0.1:9370`, which only this machine reaches.
    #[serde(deserialize_with = "parsed::endpoints")]
    pub listen: Vec<Endpoint>,
    /// The file that keeps messages, so that they outlive the server. It takes up to about three times the most that was ever
    /// kept, and gets smaller in quiet times when little is left. Default: none, all is kept in memory.
    pub store: Option<PathBuf>,
    /// How many bytes of that file stay in memory. Default: 64 MiB; at least 1 MiB.
    pub cache_bytes: usize,
    /// Lets everybody in who reaches the server, as whatever party they say to be, also from other machines. Default: no.
    pub insecure: bool,
    /// The keys of the server: everybody who connects then shows a key that is listed below. Default: none.
    pub curve: Option<ServerKeys>,
    /// Certificates for `tls://` endpoints. With `authorities`, everybody who connects there shows a certificate that is
    /// listed below. Default: none.
    pub tls: Option<TlsFiles>,
    /// Whether a job that is not listed may be begun by any party that may join it; its configuration says who the members
    /// are. Default: yes.
    pub open_jobs: bool,
    /// Parties, what each proves itself by, and what it may join. If there are some, nobody else may take part, except for
    /// the parties of `servers`.
    pub parties: BTreeMap<PartyId, PartyEntry>,
    /// Jobs whose members are given here.
    pub jobs: BTreeMap<JobId, JobEntry>,
    /// Other servers, by name, and which parties are with them.
    pub servers: BTreeMap<String, ServerEntry>,
    /// What is kept at most, and for how long.
    pub limits: RelayLimits,
}

/// The keys of a server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ServerKeys {
    /// The file with the secret key, as `flexbond keygen` and pyzmq write it.
    pub secret_file: PathBuf,
}

impl ServerKeys {
    /// Keys in this file.
    #[must_use]
    pub fn new(secret_file: impl Into<PathBuf>) -> Self {
        ServerKeys {
            secret_file: secret_file.into(),
        }
    }
}

/// A party of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PartyEntry {
    /// Its public key of CURVE: 40 characters (Z85), as `flexbond keygen` prints it.
    #[serde(deserialize_with = "parsed::public_key")]
    pub key: Option<String>,
    /// Names of its certificates: `DNS:host`, `IP:address`, `email:address`, `URI:uri`, `CN:name` or
    /// `SHA256:fingerprint`.
    #[serde(deserialize_with = "parsed::certificates")]
    pub certificates: Vec<String>,
    /// The jobs that it may join. Left out, or empty: all.
    #[serde(deserialize_with = "parsed::once")]
    pub jobs: BTreeSet<JobId>,
}

/// A job whose members are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct JobEntry {
    /// All parties of the job.
    #[serde(deserialize_with = "parsed::once")]
    pub members: BTreeSet<PartyId>,
}

/// Another server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ServerEntry {
    /// Where it listens, if this server connects to it. Of two servers one connects to the other, which leaves this out.
    #[serde(default, deserialize_with = "parsed::endpoint")]
    pub connect: Option<Endpoint>,
    /// Its public key of CURVE. This server proves itself with its own.
    #[serde(default, deserialize_with = "parsed::public_key")]
    pub key: Option<String>,
    /// Names of its certificates, for when it connects to this one.
    #[serde(default, deserialize_with = "parsed::certificates")]
    pub certificates: Vec<String>,
    /// The parties that are reached by it, and for which it may speak.
    #[serde(deserialize_with = "parsed::once")]
    pub parties: BTreeSet<PartyId>,
}

impl ServerEntry {
    /// A server that listens there, and reaches these parties.
    #[must_use]
    pub fn at(connect: Endpoint, parties: impl IntoIterator<Item = PartyId>) -> Self {
        ServerEntry {
            connect: Some(connect),
            ..ServerEntry::of(parties)
        }
    }

    /// A server that connects to this one, and speaks for these parties.
    #[must_use]
    pub fn of(parties: impl IntoIterator<Item = PartyId>) -> Self {
        ServerEntry {
            parties: parties.into_iter().collect(),
            ..ServerEntry::default()
        }
    }
}

impl JobEntry {
    /// A job of these parties.
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = PartyId>) -> Self {
        JobEntry {
            members: members.into_iter().collect(),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            listen: DEFAULT_LISTEN.parse().into_iter().collect(),
            store: None,
            cache_bytes: 64 << 20,
            insecure: false,
            curve: None,
            tls: None,
            open_jobs: true,
            parties: BTreeMap::new(),
            jobs: BTreeMap::new(),
            servers: BTreeMap::new(),
            limits: RelayLimits::default(),
        }
    }
}

impl ServerConfig {
    /// A file with every key, its default, and what it is for.
    pub const EXAMPLE: &str = include_str!("example.toml");

    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        ServerConfig::default()
    }

    /// Reads a file whose name ends in `.json` or `.toml`, and does not [`validate`](ServerConfig::validate) it: the command
    /// line may add to it.
    ///
    /// # Errors
    /// [`ServerConfigError`] says what is wrong, and where.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ServerConfigError> {
        let path = path.as_ref();
        let place = path.display().to_string();
        let text = read(path)?;
        let mut config = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => parse_json(&text, &place),
            Some("toml") => parse_toml(&text, &place),
            _ => Err(ServerConfigError::Format {
                path: path.to_owned(),
            }),
        }?;
        config.below(path.parent().unwrap_or(Path::new("")));
        Ok(config)
    }

    /// Reads JSON, without [`validate`](ServerConfig::validate).
    ///
    /// # Errors
    /// [`ServerConfigError`] says what is wrong, and where.
    pub fn from_json(text: &str) -> Result<Self, ServerConfigError> {
        parse_json(text, "(JSON)")
    }

    /// Reads TOML, without [`validate`](ServerConfig::validate).
    ///
    /// # Errors
    /// [`ServerConfigError`] says what is wrong, and where.
    pub fn from_toml(text: &str) -> Result<Self, ServerConfigError> {
        parse_toml(text, "(TOML)")
    }

    fn below(&mut self, folder: &Path) {
        self.store.iter_mut().for_each(|path| below(folder, path));
        self.curve
            .iter_mut()
            .for_each(|keys| below(folder, &mut keys.secret_file));
        self.tls.iter_mut().for_each(|files| files.below(folder));
    }

    /// Whether whoever connects proves who they are.
    #[must_use]
    pub fn knows_its_peers(&self) -> bool {
        self.curve.is_some() || self.tls.as_ref().is_some_and(|tls| tls.authorities.is_some())
    }

    /// Whether everything fits together. It looks at no file.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn validate(&self) -> Result<(), ServerConfigError> {
        self.check_listening()?;
        self.check_proofs()?;
        self.check_servers()?;
        if let Some((job, _)) = self.jobs.iter().find(|(_, entry)| entry.members.is_empty()) {
            return entry(format!("jobs.{job}.members"), "a job has at least one party");
        }
        if self.cache_bytes < 1 << 20 {
            return entry("cache_bytes", "must be at least 1 MiB");
        }
        Ok(self.limits.validate()?)
    }

    fn check_listening(&self) -> Result<(), ServerConfigError> {
        if self.listen.is_empty() {
            return entry(
                "listen",
                "a server listens somewhere; give an endpoint, such as \"tcp://*:9370\"",
            );
        }
        for (number, endpoint) in self.listen.iter().enumerate() {
            check_scheme("listen", endpoint)?;
            if !has_free_choice(endpoint) && self.listen[..number].contains(endpoint) {
                return entry("listen", format!("{endpoint} is there twice; remove one"));
            }
        }
        let has_tls = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Tls(_));
        let connects_tls = self
            .servers
            .values()
            .filter_map(|server| server.connect.as_ref())
            .any(has_tls);
        match (self.listen.iter().find(|endpoint| has_tls(endpoint)), &self.tls) {
            (Some(endpoint), None) => {
                let reason = format!("{endpoint} needs a certificate: give `tls`");
                return entry("listen", reason);
            }
            (None, Some(_)) if !connects_tls => {
                return entry("tls", "no endpoint of `listen` or `servers` is a tls:// one");
            }
            _ => {}
        }
        let knows = |endpoint: &Endpoint| match endpoint {
            Endpoint::Tls(_) => self.knows_its_peers(),
            _ => self.curve.is_some(),
        };
        let open = self
            .listen
            .iter()
            .find(|endpoint| !knows(endpoint) && !is_near(endpoint));
        match open {
            Some(endpoint) if !self.insecure => Err(ServerConfigError::Insecure {
                endpoint: endpoint.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Nobody can pass for two.
    fn check_proofs(&self) -> Result<(), ServerConfigError> {
        let parties = self.parties.iter().map(|(id, party)| {
            let key = format!("parties.{id}");
            (key, &party.key, &party.certificates)
        });
        let servers = self.servers.iter().map(|(name, server)| {
            let key = format!("servers.{name}");
            (key, &server.key, &server.certificates)
        });
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        let mut is_anybody = false;
        for (owner, key, certificates) in parties.chain(servers) {
            if key.is_some() && self.curve.is_none() {
                return entry(format!("{owner}.key"), "the server has no key: give `curve`");
            }
            if !certificates.is_empty() && self.tls.is_none() {
                return entry(format!("{owner}.certificates"), "give `tls`");
            }
            if self.curve.is_some() && key.is_none() && !certificates.is_empty() {
                return entry(
                    format!("{owner}.certificates"),
                    "with `curve`, all come by their keys: give it a `key`, or leave out `curve`",
                );
            }
            is_anybody |= key.is_some() || !certificates.is_empty();
            let proofs = key.iter().map(|key| format!("key {}", parsed::same_key(key)));
            let certificates = certificates.iter().map(|name| parsed::same_certificate(name));
            for proof in proofs.chain(certificates.map(|name| format!("certificate {name}"))) {
                if let Some(first) = owners.insert(proof.clone(), owner.clone()) {
                    return entry(&owner, format!("its {proof} is also that of {first}"));
                }
            }
        }
        match self.knows_its_peers() && !is_anybody {
            true => entry(
                "parties",
                "nobody could come: give parties with a `key`, or with `certificates`",
            ),
            false => Ok(()),
        }
    }

    fn check_servers(&self) -> Result<(), ServerConfigError> {
        let mut ways: BTreeMap<&PartyId, &String> = BTreeMap::new();
        for (name, server) in &self.servers {
            let others = self.servers.values().flat_map(|server| &server.parties);
            if self
                .parties
                .keys()
                .chain(others)
                .any(|party| party.as_str() == name)
            {
                return entry(
                    format!("servers.{name}"),
                    "a party has this name, too; rename one",
                );
            }
            if let Some(endpoint) = &server.connect {
                let key = format!("servers.{name}.connect");
                check_scheme(&key, endpoint)?;
                if self.listen.iter().any(|own| is_oneself(own, endpoint)) {
                    let reason =
                        format!("at {endpoint} this server itself listens; give the other one's endpoint");
                    return entry(key, reason);
                }
            }
            for party in &server.parties {
                if let Some(first) = ways.insert(party, name) {
                    return Err(ServerConfigError::TwoWays {
                        party: party.clone(),
                        first: first.clone(),
                        second: name.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn entry(key: impl Into<String>, reason: impl Into<String>) -> Result<(), ServerConfigError> {
    Err(ServerConfigError::Entry {
        key: key.into(),
        reason: reason.into(),
    })
}

/// Whether there can be connections at all.
fn check_scheme(key: &str, endpoint: &Endpoint) -> Result<(), ServerConfigError> {
    match endpoint {
        Endpoint::Tcp(_) | Endpoint::Tls(_) | Endpoint::Ipc(_) | Endpoint::Inproc { .. } => Ok(()),
        _ => entry(
            key,
            format!("message servers have no transport for {endpoint}; give one at tcp://, tls:// or ipc://"),
        ),
    }
}

/// Whether each that binds it gets a place of its own.
fn has_free_choice(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Tcp(address) | Endpoint::Tls(address) => address.port() == 0,
        Endpoint::Ipc(IpcAddress::Any) => true,
        _ => false,
    }
}

/// Whether who connects to `endpoint` comes to who listens at `own`, as far as that can be told.
fn is_oneself(own: &Endpoint, endpoint: &Endpoint) -> bool {
    let (Endpoint::Tcp(at) | Endpoint::Tls(at), Endpoint::Tcp(to) | Endpoint::Tls(to)) = (own, endpoint)
    else {
        return own == endpoint;
    };
    let is_everywhere = match at.host() {
        Host::Any => true,
        Host::V4(address) => address.is_unspecified(),
        Host::V6 { address, .. } => address.is_unspecified(),
        _ => false,
    };
    at.port() == to.port()
        && at.port() != 0
        && (at.host() == to.host() || (is_everywhere && is_near(endpoint)))
}

/// Whether only this machine reaches it.
fn is_near(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Inproc { .. } | Endpoint::Ipc(_) => true,
        Endpoint::Tcp(address) | Endpoint::Tls(address) => match address.host() {
            Host::V4(address) => address.is_loopback(),
            Host::V6 { address, .. } => address.is_loopback(),
            // It is nobody else's name (RFC 6761, section 6.3).
            Host::Name { name, .. } => name.eq_ignore_ascii_case("localhost"),
            _ => false,
        },
        _ => false,
    }
}

fn parse_json(text: &str, place: &str) -> Result<ServerConfig, ServerConfigError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let config = parsed(&mut deserializer, place, ToString::to_string)?;
    deserializer.end().map_err(|error| ServerConfigError::Syntax {
        place: place.to_owned(),
        key: String::new(),
        reason: error.to_string(),
    })?;
    Ok(config)
}

fn parse_toml(text: &str, place: &str) -> Result<ServerConfig, ServerConfigError> {
    let deserializer = toml::Deserializer::parse(text).map_err(|error| ServerConfigError::Syntax {
        place: place.to_owned(),
        key: String::new(),
        reason: toml_reason(text, &error),
    })?;
    parsed(deserializer, place, |error| toml_reason(text, error))
}

fn parsed<'de, T, D>(
    deserializer: D,
    place: &str,
    reason: impl Fn(&D::Error) -> String,
) -> Result<T, ServerConfigError>
where
    T: DeserializeOwned,
    D: serde::Deserializer<'de>,
{
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let key = error.path().to_string();
        // What it does not know it calls so.
        let key = key.trim_end_matches(['?', '.']);
        ServerConfigError::Syntax {
            place: place.to_owned(),
            key: if key.is_empty() {
                String::new()
            } else {
                format!("`{key}`")
            },
            reason: reason(error.inner()),
        }
    })
}

fn read(path: &Path) -> Result<String, ServerConfigError> {
    let failure = |source| ServerConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let size = fs::metadata(path).map_err(failure)?.len();
    if size > MAX_FILE {
        let reason = format!("{size} bytes are more than {MAX_FILE}");
        return Err(failure(io::Error::other(reason)));
    }
    fs::read_to_string(path).map_err(failure)
}

#[cfg(test)]
mod tests;
