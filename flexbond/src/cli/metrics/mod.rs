//! What a program counts, for Prometheus: `--metrics` opens an address that can be scraped.
//!
//! The program answers each scrape itself, from the loop that does its work, so that the numbers are those of this
//! moment and cost nothing while nobody asks:
//!
//! ```text
//! let mut metrics = self.metrics.serve("stats").await?;
//! …
//! tokio::select! {
//!     scrape = metrics.scraped() => scrape.answer(|exposition| {
//!         counters::stream(exposition, &[("address", address)], &stream.statistics().snapshot(now));
//!         counters::socket(exposition, &[("address", address)], &stream.socket_stats());
//!     }),
//! ```

mod address;
pub(crate) mod counters;
mod exposition;
mod negotiation;
mod server;

use std::net::SocketAddr;

use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Failure;
use super::failure::note;
pub(crate) use exposition::{Exposition, Health};

/// Scrapes that wait for the program.
const WAITING: usize = 4;

/// The option of all programs that move messages.
#[derive(Args)]
pub(crate) struct MetricsArgument {
    /// Serve counters for Prometheus at `http://ADDR/metrics`. ADDR is a port, at which only this machine can ask, or
    /// HOST:PORT, or *:PORT for every interface
    #[arg(long, value_name = "ADDR", value_parser = address::parse)]
    metrics: Option<SocketAddr>,
}

impl MetricsArgument {
    /// Opens the address that was asked for, if there was one.
    pub(crate) async fn serve(&self, program: &'static str) -> Result<Metrics, Failure> {
        match self.metrics {
            Some(address) => Metrics::serve(address, program).await,
            None => Ok(Metrics { served: None }),
        }
    }
}

/// An address that can be scraped, or none. It is open until this is dropped.
pub(crate) struct Metrics {
    served: Option<Served>,
}

struct Served {
    program: &'static str,
    asked: mpsc::Receiver<oneshot::Sender<Exposition>>,
    server: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Metrics {
    /// Listens at an address, and says so on standard error, with the port that the system chose for 0.
    pub(crate) async fn serve(address: SocketAddr, program: &'static str) -> Result<Self, Failure> {
        let failed = |error| {
            Failure::new(format!("cannot serve metrics at {address}: {error}"))
                .hint("choose another address for --metrics")
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        note(&format!("metrics at http://{bound}/metrics"));
        let (tx, asked) = mpsc::channel(WAITING);
        let server = tokio::spawn(server::serve(listener, tx));
        Ok(Metrics {
            served: Some(Served {
                program,
                asked,
                server,
            }),
        })
    }

    /// Waits until somebody asks; for ever where nobody can. Cancel safe.
    pub(crate) async fn scraped(&mut self) -> Scrape {
        let asked = match &mut self.served {
            Some(served) => served.asked.recv().await.map(|reply| (served.program, reply)),
            None => None,
        };
        match asked {
            Some((program, reply)) => Scrape { program, reply },
            // Nobody listens, so nobody will ask.
            None => std::future::pending().await,
        }
    }
}

/// Somebody asks for the numbers. One that is dropped is answered with an error.
pub(crate) struct Scrape {
    program: &'static str,
    reply: oneshot::Sender<Exposition>,
}

impl Scrape {
    /// Answers with what is filled in.
    pub(crate) fn answer(self, fill: impl FnOnce(&mut Exposition)) {
        let mut exposition = Exposition::new();
        let labels = [("program", self.program), ("version", env!("CARGO_PKG_VERSION"))];
        exposition.gauge(
            "flexbond_build_info",
            "Which program this is, and its version.",
            &labels,
            1.0,
        );
        fill(&mut exposition);
        // Whoever asked may be gone.
        let _ = self.reply.send(exposition);
    }
}
