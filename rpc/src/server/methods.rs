//! The methods of a server, by name.

use std::any::type_name;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use futures_core::Stream;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tower::Service;

use super::handler::{self, Action, Answering, Handler, Incoming};
use crate::envelope::{Method, MethodError};
use crate::failure::{Failure, FailureKind};
use crate::request::{Request, Response};

/// The methods of a server, by name: a tower service that answers requests. A clone shares them.
///
/// Besides those that are added it has two of its own: `flexbond.methods`, a list of [`MethodInfo`], and
/// `flexbond.health`, which answers `"serving"`.
///
/// ```
/// use flexbond_rpc::{Failure, Methods};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Operands {
///     a: f64,
///     b: f64,
/// }
///
/// let methods = Methods::new()
///     .add("add", async |Operands { a, b }| Ok::<_, Failure>(a + b))?
///     .add("divide", async |Operands { a, b }| match b {
///         0.0 => Err(Failure::failed(1, "division by zero")),
///         _ => Ok(a / b),
///     })?;
/// assert_eq!(methods.infos().len(), 4);
/// # Ok::<(), flexbond_rpc::AddError>(())
/// ```
#[derive(Clone)]
pub struct Methods {
    table: Arc<BTreeMap<Box<str>, Entry>>,
}

#[derive(Clone)]
struct Entry {
    info: MethodInfo,
    action: Arc<Action>,
}

/// What a server says of one of its methods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MethodInfo {
    /// Its name.
    pub name: String,
    /// What it takes and answers, for people: `(Operands) -> f64`.
    pub signature: String,
    /// What it does, for people; empty if nobody said.
    #[serde(default)]
    pub description: String,
    /// Whether its answer is a stream.
    #[serde(default)]
    pub streams: bool,
    /// Whether it takes a stream of arguments.
    #[serde(default)]
    pub uploads: bool,
}

/// Why a method was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// The name is not one.
    #[error(transparent)]
    Name(#[from] MethodError),
    /// There is one of this name.
    #[error("there is a method {name} already")]
    Taken {
        /// The name.
        name: String,
    },
    /// Names that begin with `flexbond.` are the server's own.
    #[error("{name}: names that begin with \"flexbond.\" are the server's own")]
    Reserved {
        /// The name.
        name: String,
    },
}

const RESERVED: &str = "flexbond.";
const METHODS: &str = "flexbond.methods";
const HEALTH: &str = "flexbond.health";

impl Default for Methods {
    fn default() -> Self {
        Self::new()
    }
}

impl Methods {
    /// No methods but the server's own.
    #[must_use]
    pub fn new() -> Self {
        let mut table = BTreeMap::new();
        let health: Action =
            Box::new(|request| Box::pin(std::future::ready(handler::value(request.codec, "serving"))));
        // The list is made when it is asked for; see `call`.
        let listed: Action = Box::new(|_| Box::pin(std::future::ready(Err(unlisted()))));
        for (name, signature, description, action) in [
            (
                HEALTH,
                "() -> String",
                "answers \"serving\" while the server takes calls",
                health,
            ),
            (
                METHODS,
                "() -> [MethodInfo]",
                "lists the methods with their signatures",
                listed,
            ),
        ] {
            let info = MethodInfo {
                name: name.to_owned(),
                signature: signature.to_owned(),
                description: description.to_owned(),
                streams: false,
                uploads: false,
            };
            let action = Arc::new(action);
            table.insert(name.into(), Entry { info, action });
        }
        Methods {
            table: Arc::new(table),
        }
    }

    /// Adds a function: one value in, one value out.
    ///
    /// # Errors
    /// [`AddError`] for a name that is none, taken or reserved.
    pub fn add<Args, Answer, M>(
        self,
        name: &str,
        handler: impl Handler<Args, Answer, M>,
    ) -> Result<Self, AddError>
    where
        Args: DeserializeOwned + 'static,
        Answer: Serialize + 'static,
    {
        let signature = format!("({}) -> {}", short::<Args>(), short::<Answer>());
        self.insert(name, signature, (false, false), handler::unary(handler))
    }

    /// Adds a function that answers with a stream of values. The stream is read as the caller reads: when that stops,
    /// so does this.
    ///
    /// # Errors
    /// [`AddError`] for a name that is none, taken or reserved.
    pub fn add_stream<Args, S, T, E, M>(
        self,
        name: &str,
        handler: impl Handler<Args, S, M>,
    ) -> Result<Self, AddError>
    where
        Args: DeserializeOwned + 'static,
        S: Stream<Item = Result<T, E>> + Send + 'static,
        T: Serialize + 'static,
        E: Into<Failure>,
    {
        let signature = format!("({}) -> stream {}", short::<Args>(), short::<T>());
        self.insert(name, signature, (true, false), handler::streaming(handler))
    }

    /// Adds a function that takes a stream of values, after its arguments. The caller sends as this reads.
    ///
    /// # Errors
    /// [`AddError`] for a name that is none, taken or reserved.
    pub fn add_upload<Args, T, Answer, M>(
        self,
        name: &str,
        handler: impl Handler<(Args, Incoming<T>), Answer, M>,
    ) -> Result<Self, AddError>
    where
        Args: DeserializeOwned + 'static,
        T: DeserializeOwned + 'static,
        Answer: Serialize + 'static,
    {
        let signature = format!(
            "({}, stream {}) -> {}",
            short::<Args>(),
            short::<T>(),
            short::<Answer>()
        );
        self.insert(name, signature, (false, true), handler::uploading(handler))
    }

    /// Adds a function that takes a stream of values and answers with one.
    ///
    /// # Errors
    /// [`AddError`] for a name that is none, taken or reserved.
    pub fn add_conversation<Args, T, S, U, E, M>(
        self,
        name: &str,
        handler: impl Handler<(Args, Incoming<T>), S, M>,
    ) -> Result<Self, AddError>
    where
        Args: DeserializeOwned + 'static,
        T: DeserializeOwned + 'static,
        S: Stream<Item = Result<U, E>> + Send + 'static,
        U: Serialize + 'static,
        E: Into<Failure>,
    {
        let signature = format!(
            "({}, stream {}) -> stream {}",
            short::<Args>(),
            short::<T>(),
            short::<U>()
        );
        self.insert(name, signature, (true, true), handler::conversing(handler))
    }

    /// Adds a function of the request as it came, in any codec.
    ///
    /// # Errors
    /// [`AddError`] for a name that is none, taken or reserved.
    pub fn add_raw<F, Fut>(self, name: &str, handler: F) -> Result<Self, AddError>
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, Failure>> + Send + 'static,
    {
        let signature = "(request) -> response".to_owned();
        self.insert(name, signature, (false, false), handler::raw(handler))
    }

    fn insert(
        mut self,
        name: &str,
        signature: String,
        (streams, uploads): (bool, bool),
        action: Action,
    ) -> Result<Self, AddError> {
        Method::new(name)?;
        if name.starts_with(RESERVED) {
            return Err(AddError::Reserved {
                name: name.to_owned(),
            });
        }
        if self.table.contains_key(name) {
            return Err(AddError::Taken {
                name: name.to_owned(),
            });
        }
        let info = MethodInfo {
            name: name.to_owned(),
            signature,
            description: String::new(),
            streams,
            uploads,
        };
        let action = Arc::new(action);
        Arc::make_mut(&mut self.table).insert(name.into(), Entry { info, action });
        Ok(self)
    }

    /// All methods of both, for two services in one server.
    ///
    /// ```
    /// use flexbond_rpc::{Failure, Methods};
    ///
    /// let sums = Methods::new().add("add", async |(a, b): (i64, i64)| Ok::<_, Failure>(a + b))?;
    /// let texts = Methods::new().add("upper", async |text: String| Ok::<_, Failure>(text.to_uppercase()))?;
    /// let both = sums.merge(texts.clone())?;
    /// assert!(both.infos().iter().any(|info| info.name == "upper"));
    /// assert!(both.merge(texts).is_err());
    /// # Ok::<(), flexbond_rpc::AddError>(())
    /// ```
    ///
    /// # Errors
    /// [`AddError::Taken`] for the first name that both have, but for the server's own.
    pub fn merge(mut self, other: Methods) -> Result<Self, AddError> {
        let table = Arc::make_mut(&mut self.table);
        for (name, entry) in Arc::unwrap_or_clone(other.table) {
            if name.starts_with(RESERVED) {
                continue;
            }
            if table.contains_key(&name) {
                return Err(AddError::Taken { name: name.into() });
            }
            table.insert(name, entry);
        }
        Ok(self)
    }

    /// Says of the method that was named what it takes, answers and does, in place of what its types are called.
    #[must_use]
    pub fn describe(mut self, name: &str, signature: &str, description: &str) -> Self {
        if let Some(entry) = Arc::make_mut(&mut self.table).get_mut(name) {
            entry.info.signature = signature.to_owned();
            entry.info.description = description.to_owned();
        }
        self
    }

    /// All methods, by name.
    #[must_use]
    pub fn infos(&self) -> Vec<MethodInfo> {
        self.table.values().map(|entry| entry.info.clone()).collect()
    }

    fn answer(&self, request: Request) -> Answering {
        let name = request.method.as_str();
        if name == METHODS {
            return Box::pin(std::future::ready(handler::value(request.codec, &self.infos())));
        }
        match self.table.get(name) {
            Some(entry) => handler::act(&entry.action, request),
            None => {
                let failure = self.unknown(name);
                Box::pin(std::future::ready(Err(failure)))
            }
        }
    }

    #[cold]
    fn unknown(&self, name: &str) -> Failure {
        let alike = self.table.keys().find(|known| known.eq_ignore_ascii_case(name));
        let hint = match alike {
            Some(known) => format!("did you mean {known}?"),
            None => format!("{METHODS} lists those that there are"),
        };
        Failure::new(
            FailureKind::UnknownMethod,
            format!("there is no method {name}: {hint}"),
        )
    }
}

fn unlisted() -> Failure {
    Failure::new(FailureKind::Internal, "the list is made where it is asked for")
}

impl Service<Request> for Methods {
    type Response = Response;
    type Error = Failure;
    type Future = Answering;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answering {
        self.answer(request)
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.table.keys()).finish()
    }
}

/// A type's name without the paths of its parts.
fn short<T>() -> String {
    let mut short = String::new();
    let mut start = 0;
    for byte in type_name::<T>().chars() {
        match byte {
            ':' => short.truncate(start),
            letter => {
                short.push(letter);
                if !(letter.is_alphanumeric() || letter == '_') {
                    start = short.len();
                }
            }
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types_are_without_paths() {
        assert_eq!(short::<Vec<Option<String>>>(), "Vec<Option<String>>");
        assert_eq!(short::<(f64, std::time::Duration)>(), "(f64, Duration)");
        assert_eq!(short::<()>(), "()");
    }
}
