//! A thread with a runtime of its own, for what must go on while the application computes.

use std::io;

/// Starts a thread that runs a future to its end. What is left on its runtime then is dropped.
pub(super) fn run<F>(name: &str, future: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        runtime.block_on(future);
        // A name that is being looked up must not keep the thread.
        runtime.shutdown_background();
    })?;
    Ok(())
}
