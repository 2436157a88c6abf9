//! Ranks that add up numbers until the input of one of them ends, and go on without those that are lost.
//!
//! `survivors [DEAD_AFTER_MS [FOLDER]]`: every process that a launcher starts (`flexbond launch`, `torchrun`, `mpirun`, `srun`)
//! is a rank. FOLDER has the certificate of all ranks and its key, `cert.pem` and `key.pem`, for endpoints of the form
//! `tls://host:port` (feature `tls`). `cargo xtask netlab check` runs it on hosts whose links it cuts. Each rank prints a JSON
//! object a line:
//!
//! | line | when |
//! | --- | --- |
//! | `{"size":3}` | the first sum of an epoch of so many ranks is there |
//! | `{"failed":[2],"error":"…"}` | these ranks are lost; this one goes on without them |
//! | `{"error":"…"}` | this rank is on its own; it ends with status 1 |
//! | `{"done":true}` | an input has ended, and all ranks have heard of it |

use std::env;
use std::error::Error;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flexbond_collectives::{CollectiveError, Communicator, MeshFabric, Sum};
use flexbond_session::mesh::MeshOptions;
use flexbond_transport::Registry;

/// Numbers of one sum. Megabytes, so that something is under way between all ranks at every moment.
const LENGTH: usize = 1 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut options = MeshOptions::new();
    if let Some(millis) = env::args().nth(1) {
        options = options.dead_after(Duration::from_millis(millis.parse()?));
    }
    if let Some(folder) = env::args_os().nth(2) {
        options = options.registry(encrypted(folder.as_ref())?);
    }
    let has_ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&has_ended);
    std::thread::spawn(move || {
        // Whatever comes, and however it ends: that it ended is the message.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, Ordering::Release);
    });
    let mut communicator = Communicator::from_env(options).await?;
    loop {
        match work(&communicator, &has_ended).await {
            Ok(()) => {
                say(r#"{"done":true}"#)?;
                communicator.leave().await;
                return Ok(ExitCode::SUCCESS);
            }
            Err(Stop::Output(error)) => return Err(error.into()),
            Err(Stop::Ranks(error)) => {
                let CollectiveError::PeerFailed { failed } = &error else {
                    return alone(&error);
                };
                say(&format!(r#"{{"failed":{failed:?},"error":"{error}"}}"#))?;
            }
        }
        communicator = match communicator.next_epoch().await {
            Ok(next) => next,
            Err(error) => return alone(&error),
        };
    }
}

/// Transports with `tls`, where all show the one certificate, and take no other.
#[cfg(feature = "tls")]
fn encrypted(folder: &Path) -> Result<Registry, Box<dyn Error>> {
    use flexbond_transport::{
        ClientCertificates, Tls, TlsClient, TlsIdentity, TlsOptions, TlsServer, TrustRoots,
    };

    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let trusted = TrustRoots::from_pem_file(&certificate)?;
    let own = TlsIdentity::from_pem_files(&certificate, &key)?;
    let server = TlsServer::new(own.clone()).clients(ClientCertificates::Required(trusted.clone()));
    let client = TlsClient::new(trusted).identity(own);
    let registry = Registry::standard();
    registry.register(
        "tls",
        Arc::new(Tls::new(TlsOptions::default().server(server).client(client))?),
    )?;
    Ok(registry)
}

#[cfg(not(feature = "tls"))]
fn encrypted(_: &Path) -> Result<Registry, Box<dyn Error>> {
    Err("it was built without the feature `tls`".into())
}

/// Why the work has stopped.
enum Stop {
    Ranks(CollectiveError),
    Output(io::Error),
}

/// Adds up until all ranks know that the input of one has ended.
async fn work(communicator: &Communicator<MeshFabric>, has_ended: &AtomicBool) -> Result<(), Stop> {
    let mut numbers = vec![0.0_f32; LENGTH];
    let mut is_first = true;
    loop {
        numbers.fill(1.0);
        numbers[0] = if has_ended.load(Ordering::Acquire) {
            1.0
        } else {
            0.0
        };
        communicator
            .allreduce(&mut numbers, Sum)
            .await
            .map_err(Stop::Ranks)?;
        if std::mem::take(&mut is_first) {
            say(&format!(r#"{{"size":{}}}"#, communicator.size())).map_err(Stop::Output)?;
        }
        // The same sum at all ranks, so that they stop in the same round.
        if numbers[0] > 0.0 {
            return Ok(());
        }
    }
}

fn alone(error: &CollectiveError) -> Result<ExitCode, Box<dyn Error>> {
    say(&format!(r#"{{"error":"{error}"}}"#))?;
    Ok(ExitCode::FAILURE)
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}
