//! The one background thread behind all blocking sockets.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};

use super::CallError;

static RUNTIME: OnceLock<Result<Runtime, Arc<io::Error>>> = OnceLock::new();

fn runtime<E>() -> Result<&'static Runtime, CallError<E>> {
    let started = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("flexbond-io")
            .enable_all()
            .build()
            .map_err(Arc::new)
    });
    started
        .as_ref()
        .map_err(|error| CallError::Runtime(Arc::clone(error)))
}

/// Waits for `future` on the calling thread, while connections run on the background thread.
pub(super) fn wait<F: Future, E>(future: F) -> Result<F::Output, CallError<E>> {
    // Not only would it stop the other runtime's thread: tokio panics.
    if Handle::try_current().is_ok() {
        return Err(CallError::AsyncContext);
    }
    Ok(runtime()?.block_on(future))
}

/// Makes the background thread the home of what the caller spawns while the guard lives.
pub(super) fn enter<E>() -> Result<EnterGuard<'static>, CallError<E>> {
    Ok(runtime()?.enter())
}
