//! How many files and connections the process may have open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit to what the user may have: shells and services start programs with 1,024, which is less than a server
/// takes by its own limits.
pub(crate) fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it cannot be raised, a program has the descriptors that it was given.
    let _ = setrlimit(Resource::Nofile, limit);
}
