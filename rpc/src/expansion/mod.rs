//! What the expansion of [`service`](macro@crate::service) refers to. It is not for anybody else, and may change in any
//! version.

mod lent;
mod nothing;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Values, written};
use crate::failure::Failure;
use crate::request::{Items, Response, Wants};
use crate::server::{AddError, Methods};
use crate::typed::{CallService, Caller, Invocation};

pub use lent::{Lent, Outlet, lend};
pub use nothing::NoArguments;

pub use flexbond_rpc_macros::service_of_flexbond;
pub use flexbond_session::socket::IntoEndpoint;
pub use futures_core::Stream;
pub use serde;

/// What the trait says of a method.
#[derive(Clone, Copy, Debug)]
pub struct Called {
    /// Its name.
    pub method: &'static str,
    /// Whether it may run twice without harm.
    pub idempotent: bool,
    /// How long its callers wait.
    pub timeout: Option<Duration>,
}

/// Calls for one answer.
#[inline]
pub fn call<S, A, T>(caller: &Caller<S>, called: &Called, arguments: &A) -> Invocation<S, T>
where
    S: CallService,
    A: Serialize,
    T: DeserializeOwned,
{
    one_answer(caller, called, arguments, None)
}

/// Calls without waiting for an answer.
#[inline]
pub fn call_one_way<S, A>(caller: &Caller<S>, called: &Called, arguments: &A) -> Invocation<S, ()>
where
    S: CallService,
    A: Serialize,
{
    let request = caller.request(called, arguments, Wants::Nothing, None);
    Invocation::new(caller.service().clone(), caller.patience(), request, |_| Ok(()))
}

/// Calls for a stream of answers.
#[inline]
pub fn call_stream<S, A, T>(caller: &Caller<S>, called: &Called, arguments: &A) -> Invocation<S, Values<T>>
where
    S: CallService,
    A: Serialize,
    T: DeserializeOwned,
{
    answers(caller, called, arguments, None)
}

/// Calls with a stream of arguments behind the others.
#[inline]
pub fn call_upload<S, A, V, T>(
    caller: &Caller<S>,
    called: &Called,
    arguments: &A,
    values: impl Stream<Item = V> + Send + 'static,
) -> Invocation<S, T>
where
    S: CallService,
    A: Serialize,
    V: Serialize,
    T: DeserializeOwned,
{
    let items = written(caller.codec_of_calls(), values);
    one_answer(caller, called, arguments, Some(items))
}

/// Calls with a stream of arguments behind the others, for a stream of answers.
#[inline]
pub fn call_conversation<S, A, V, T>(
    caller: &Caller<S>,
    called: &Called,
    arguments: &A,
    values: impl Stream<Item = V> + Send + 'static,
) -> Invocation<S, Values<T>>
where
    S: CallService,
    A: Serialize,
    V: Serialize,
    T: DeserializeOwned,
{
    let items = written(caller.codec_of_calls(), values);
    answers(caller, called, arguments, Some(items))
}

/// Calls for one answer; `items` are arguments behind the others.
#[inline]
fn one_answer<S, A, T>(
    caller: &Caller<S>,
    called: &Called,
    arguments: &A,
    items: Option<Items>,
) -> Invocation<S, T>
where
    S: CallService,
    A: Serialize,
    T: DeserializeOwned,
{
    let request = caller.request(called, arguments, Wants::Answer, items);
    Invocation::new(
        caller.service().clone(),
        caller.patience(),
        request,
        Response::value,
    )
}

/// The same for a stream of answers.
#[inline]
fn answers<S, A, T>(
    caller: &Caller<S>,
    called: &Called,
    arguments: &A,
    items: Option<Items>,
) -> Invocation<S, Values<T>>
where
    S: CallService,
    A: Serialize,
    T: DeserializeOwned,
{
    let wants = Wants::Stream(caller.window_of_streams());
    let request = caller.request(called, arguments, wants, items);
    Invocation::new(caller.service().clone(), caller.patience(), request, |response| {
        Ok(Values::new(response))
    })
}

/// What a method failed with, as the server says it.
pub fn failed<E: Into<Failure>>(error: E) -> Failure {
    error.into()
}

/// The methods with one more.
#[must_use]
pub fn added(added: Result<Methods, AddError>) -> Methods {
    match added {
        Ok(methods) => methods,
        // The expansion would have been an error.
        Err(error) => unreachable!("names are checked when the trait is: {error}"),
    }
}
