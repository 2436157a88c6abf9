//! Whether this process may make network namespaces, and how it gets the right to.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{output, own_program};

/// Set in a process that runs in a user namespace made for it.
pub(super) const VARIABLE: &str = "FLEXBOND_NETLAB";

/// Makes one of each thing that a lab is made of.
const TRIAL: &str =
    "ip link add br0 type bridge && ip link add name v0 type veth peer name p0 && nft add table bridge trial";

/// What lets this process make network namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its own rights.
    Own,
    /// Those that it has in a user namespace.
    UserNamespace,
    /// Nothing, for this reason.
    Denied(String),
}

/// Tries what is possible here. The programs that a lab needs must be there.
#[must_use]
pub fn access() -> Access {
    let own = attempt(&["--net"]);
    let Err(own) = own else {
        return Access::Own;
    };
    // Inside, another user namespace would not help.
    let user = if is_inside() {
        Err(String::from("already in a user namespace"))
    } else {
        attempt(&["--user", "--map-root-user", "--net"])
    };
    match user {
        Ok(()) => Access::UserNamespace,
        Err(user) => Access::Denied(format!(
            "with the rights of this process: {own}; in a user namespace: {user}"
        )),
    }
}

fn attempt(how: &[&str]) -> Result<(), String> {
    let mut command = Command::new("unshare");
    command.args(how).args(["--", "sh", "-c", TRIAL]);
    match output(&mut command) {
        Ok(_) => Ok(()),
        Err(error) => {
            let text = format!("{error:#}");
            // The last line is the one of the program that failed.
            Err(text.lines().last().unwrap_or_default().trim().to_owned())
        }
    }
}

/// Whether this process runs in the user namespace that [`enter`] made.
#[must_use]
pub fn is_inside() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Returns when this process can make network namespaces. Where it cannot but a user namespace may (without root,
/// mostly), it starts the whole program again in one, and does not return.
///
/// # Errors
/// When there is no way, with the reason.
pub fn enter() -> Result<()> {
    match access() {
        Access::Own => Ok(()),
        Access::Denied(why) => bail!("network namespaces cannot be made here: {why}"),
        Access::UserNamespace => {
            let program = own_program()?;
            let error = Command::new("unshare")
                .args(["--user", "--map-root-user", "--net", "--"])
                .arg(program)
                .args(env::args_os().skip(1))
                .env(VARIABLE, "1")
                .exec();
            Err(error).context("cannot start unshare, which is part of util-linux")
        }
    }
}
