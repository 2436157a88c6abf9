//! Which rank this process is, from the environment that launchers set.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::{env, fmt};

use thiserror::Error;

/// What a launcher told this process: its rank, how many there are, and where to meet.
///
/// | launcher | rank | size | where to meet |
/// | --- | --- | --- | --- |
/// | `torchrun`, `flexbond launch` | `RANK` | `WORLD_SIZE` | `MASTER_ADDR`, `MASTER_PORT` |
/// | Open MPI's `mpirun` | `OMPI_COMM_WORLD_RANK` | `OMPI_COMM_WORLD_SIZE` | |
/// | Slurm's `srun` | `SLURM_PROCID` | `SLURM_NTASKS` | |
/// | MPICH's and others' `mpiexec` | `PMI_RANK` | `PMI_SIZE` | |
///
/// `FLEXBOND_MULTICAST` and `FLEXBOND_INTERFACE`, which `flexbond launch --multicast` sets, may say how to multicast.
///
/// The first row of which a variable is set counts, and must be complete. `FLEXBOND_ENDPOINT`, where it is set, says
/// where to meet whatever the launcher, and must be set where the launcher does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Launch {
    /// This process's rank, below the size.
    pub rank: usize,
    /// How many processes there are, at least one.
    pub size: usize,
    /// Where to meet, such as `tcp://10.0.0.1:29500`. A scheme is not checked here.
    pub endpoint: String,
    /// Who started this process.
    pub launcher: Launcher,
    /// The address to which is sent what is for all ranks (`FLEXBOND_MULTICAST`, such as `239.1.2.3:5000`). It has to be
    /// the same at all ranks.
    pub multicast: Option<SocketAddr>,
    /// An address of the network interface through which this process multicasts (`FLEXBOND_INTERFACE`).
    pub interface: Option<IpAddr>,
}

/// Who started this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Launcher {
    /// `torchrun`, `flexbond launch`, or another that sets `RANK` and `WORLD_SIZE`.
    Torchrun,
    /// Open MPI's `mpirun`.
    OpenMpi,
    /// Slurm's `srun`.
    Slurm,
    /// A launcher that speaks PMI, as MPICH's `mpiexec`.
    Pmi,
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Launcher::Torchrun => "torchrun",
            Launcher::OpenMpi => "Open MPI",
            Launcher::Slurm => "Slurm",
            Launcher::Pmi => "PMI",
        })
    }
}

/// Why the environment does not say which rank this is. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// No launcher's variables are set: the process was started by hand.
    #[error("no launcher's variables are set (RANK, OMPI_COMM_WORLD_RANK, SLURM_PROCID, PMI_RANK)")]
    NoLauncher,
    /// A variable that belongs to the others is not set.
    #[error("{variable} is not set, though {launcher} should set it")]
    Missing {
        /// Its name.
        variable: &'static str,
        /// Whose it is.
        launcher: Launcher,
    },
    /// No address to meet at is given, and the launcher gives none.
    #[error("FLEXBOND_ENDPOINT is not set, and {launcher} does not say where to meet")]
    NoEndpoint {
        /// Who started this process.
        launcher: Launcher,
    },
    /// A variable is not the number that it should be, or empty.
    #[error("{variable} is {value:?}, not {expected}")]
    Invalid {
        /// Its name.
        variable: &'static str,
        /// What it is.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The rank is not below the size.
    #[error("{rank_variable} is {rank}, not below {size_variable}, which is {size}")]
    RankOutOfRange {
        /// The name of the rank's variable.
        rank_variable: &'static str,
        /// The rank.
        rank: usize,
        /// The name of the size's variable.
        size_variable: &'static str,
        /// The size.
        size: usize,
    },
}

const FAMILIES: [(Launcher, &str, &str); 4] = [
    (Launcher::Torchrun, "RANK", "WORLD_SIZE"),
    (Launcher::OpenMpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    (Launcher::Slurm, "SLURM_PROCID", "SLURM_NTASKS"),
    (Launcher::Pmi, "PMI_RANK", "PMI_SIZE"),
];

const ENDPOINT: &str = "FLEXBOND_ENDPOINT";
const MULTICAST: &str = "FLEXBOND_MULTICAST";
const INTERFACE: &str = "FLEXBOND_INTERFACE";

impl Launch {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// [`LaunchError`], which names the variable that is missing or wrong.
    pub fn from_env() -> Result<Self, LaunchError> {
        Self::from_lookup(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads an environment through `lookup`, which gives a variable's value by its name.
    ///
    /// ```
    /// use flexbond_collectives::Launch;
    ///
    /// let launch = Launch::from_lookup(|name| {
    ///     let value = match name {
    ///         "RANK" => "1",
    ///         "WORLD_SIZE" => "4",
    ///         "MASTER_ADDR" => "node0",
    ///         "MASTER_PORT" => "29500",
    ///         _ => return None,
    ///     };
    ///     Some(value.to_owned())
    /// })?;
    /// assert_eq!((launch.rank, launch.size), (1, 4));
    /// assert_eq!(launch.endpoint, "tcp://node0:29500");
    /// # Ok::<(), flexbond_collectives::LaunchError>(())
    /// ```
    ///
    /// # Errors
    /// [`LaunchError`], which names the variable that is missing or wrong.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, LaunchError> {
        let (launcher, rank_variable, size_variable) = FAMILIES
            .into_iter()
            .find(|(_, rank, size)| lookup(rank).is_some() || lookup(size).is_some())
            .ok_or(LaunchError::NoLauncher)?;
        let number = |variable| {
            let value = lookup(variable).ok_or(LaunchError::Missing { variable, launcher })?;
            value.trim().parse::<usize>().map_err(|_| LaunchError::Invalid {
                variable,
                value,
                expected: "a number from 0 on",
            })
        };
        let rank = number(rank_variable)?;
        let size = number(size_variable)?;
        if rank >= size {
            return Err(LaunchError::RankOutOfRange {
                rank_variable,
                rank,
                size_variable,
                size,
            });
        }
        Ok(Launch {
            rank,
            size,
            endpoint: endpoint(&lookup, launcher)?,
            launcher,
            multicast: multicast(&lookup)?,
            interface: address(&lookup, INTERFACE, "an address of a network interface")?,
        })
    }
}

fn multicast(lookup: &impl Fn(&str) -> Option<String>) -> Result<Option<SocketAddr>, LaunchError> {
    let expected = "a multicast address such as 239.1.2.3:5000";
    let found: Option<SocketAddr> = address(lookup, MULTICAST, expected)?;
    match found {
        Some(group) if !group.ip().is_multicast() || group.port() == 0 => Err(LaunchError::Invalid {
            variable: MULTICAST,
            value: group.to_string(),
            expected,
        }),
        found => Ok(found),
    }
}

/// An address that may be given; an empty variable is none.
fn address<T: FromStr>(
    lookup: &impl Fn(&str) -> Option<String>,
    variable: &'static str,
    expected: &'static str,
) -> Result<Option<T>, LaunchError> {
    let value = lookup(variable).filter(|value| !value.trim().is_empty());
    let parse = |value: String| match value.trim().parse() {
        Ok(address) => Ok(address),
        Err(_) => Err(LaunchError::Invalid {
            variable,
            value,
            expected,
        }),
    };
    value.map(parse).transpose()
}

fn endpoint(lookup: &impl Fn(&str) -> Option<String>, launcher: Launcher) -> Result<String, LaunchError> {
    if let Some(endpoint) = lookup(ENDPOINT) {
        return if endpoint.contains("://") {
            Ok(endpoint)
        } else {
            Err(LaunchError::Invalid {
                variable: ENDPOINT,
                value: endpoint,
                expected: "an endpoint such as tcp://host:port",
            })
        };
    }
    // Slurm and mpirun scripts often set these two by hand, so they are taken under any launcher.
    let (address, port) = match (lookup("MASTER_ADDR"), lookup("MASTER_PORT")) {
        (Some(address), Some(port)) => (address, port),
        (None, None) if launcher != Launcher::Torchrun => return Err(LaunchError::NoEndpoint { launcher }),
        (address, _) => {
            let variable = if address.is_none() {
                "MASTER_ADDR"
            } else {
                "MASTER_PORT"
            };
            return Err(LaunchError::Missing { variable, launcher });
        }
    };
    let address = address.trim();
    if address.is_empty() {
        return Err(LaunchError::Invalid {
            variable: "MASTER_ADDR",
            value: String::new(),
            expected: "a host",
        });
    }
    let number = port.trim().parse::<u16>().ok().filter(|port| *port != 0);
    let Some(number) = number else {
        return Err(LaunchError::Invalid {
            variable: "MASTER_PORT",
            value: port,
            expected: "a port from 1 to 65535",
        });
    };
    // A bare IPv6 address needs its brackets.
    Ok(if address.contains(':') && !address.starts_with('[') {
        format!("tcp://[{address}]:{number}")
    } else {
        format!("tcp://{address}:{number}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(variables: &[(&str, &str)]) -> Result<Launch, LaunchError> {
        Launch::from_lookup(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn every_launcher_is_understood() {
        let meet = ("FLEXBOND_ENDPOINT", "tcp://head:5000");
        for (launcher, rank, size) in FAMILIES {
            let found = launch(&[(rank, "2"), (size, "3"), meet]).unwrap();
            assert_eq!((found.rank, found.size, found.launcher), (2, 3, launcher));
            assert_eq!(found.endpoint, "tcp://head:5000");
            let error = launch(&[(rank, "2"), (size, "3")]).unwrap_err();
            let expected = if launcher == Launcher::Torchrun {
                LaunchError::Missing {
                    variable: "MASTER_ADDR",
                    launcher,
                }
            } else {
                LaunchError::NoEndpoint { launcher }
            };
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert_eq!(launch(&[]), Err(LaunchError::NoLauncher));
        let texts = [
            launch(&[("RANK", "1")]),
            launch(&[("PMI_SIZE", "4")]),
            launch(&[("RANK", "x"), ("WORLD_SIZE", "4")]),
            launch(&[("RANK", "4"), ("WORLD_SIZE", "4")]),
            launch(&[("RANK", "0"), ("WORLD_SIZE", "4"), ("MASTER_ADDR", "h")]),
            launch(&[
                ("RANK", "0"),
                ("WORLD_SIZE", "4"),
                ("MASTER_ADDR", "h"),
                ("MASTER_PORT", "70000"),
            ]),
            launch(&[("RANK", "0"), ("WORLD_SIZE", "4"), ("FLEXBOND_ENDPOINT", "h:1")]),
            launch(&with(("FLEXBOND_MULTICAST", "10.0.0.1:5000"))),
            launch(&with(("FLEXBOND_MULTICAST", "239.1.2.3"))),
            launch(&with(("FLEXBOND_INTERFACE", "eth0"))),
        ]
        .map(|result| result.unwrap_err().to_string());
        assert_eq!(
            texts,
            [
                "WORLD_SIZE is not set, though torchrun should set it",
                "PMI_RANK is not set, though PMI should set it",
                "RANK is \"x\", not a number from 0 on",
                "RANK is 4, not below WORLD_SIZE, which is 4",
                "MASTER_PORT is not set, though torchrun should set it",
                "MASTER_PORT is \"70000\", not a port from 1 to 65535",
                "FLEXBOND_ENDPOINT is \"h:1\", not an endpoint such as tcp://host:port",
                "FLEXBOND_MULTICAST is \"10.0.0.1:5000\", not a multicast address such as 239.1.2.3:5000",
                "FLEXBOND_MULTICAST is \"239.1.2.3\", not a multicast address such as 239.1.2.3:5000",
                "FLEXBOND_INTERFACE is \"eth0\", not an address of a network interface",
            ]
        );
    }

    /// The variables of one rank, and another.
    fn with<'a>(variable: (&'a str, &'a str)) -> [(&'a str, &'a str); 4] {
        let meet = ("FLEXBOND_ENDPOINT", "tcp://head:5000");
        [("RANK", "0"), ("WORLD_SIZE", "4"), meet, variable]
    }

    #[test]
    fn how_to_multicast_may_be_said() {
        let found = launch(&with(("FLEXBOND_MULTICAST", " 239.1.2.3:5000"))).unwrap();
        assert_eq!(found.multicast, Some(([239, 1, 2, 3], 5000).into()));
        let found = launch(&with(("FLEXBOND_INTERFACE", "10.0.0.5"))).unwrap();
        assert_eq!(found.interface, Some([10, 0, 0, 5].into()));
        let found = launch(&with(("FLEXBOND_MULTICAST", ""))).unwrap();
        assert_eq!((found.multicast, found.interface), (None, None));
    }

    #[test]
    fn an_ipv6_address_gets_its_brackets() {
        let found = launch(&[
            ("RANK", "0"),
            ("WORLD_SIZE", "1"),
            ("MASTER_ADDR", "fe80::1"),
            ("MASTER_PORT", "1"),
        ]);
        assert_eq!(found.unwrap().endpoint, "tcp://[fe80::1]:1");
    }
}
