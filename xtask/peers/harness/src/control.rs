//! Standard input: `go` starts the traffic, its end ends the program.

use std::io::BufRead;
use std::process;
use std::sync::Arc;
use std::thread;

use tokio::sync::watch;

use crate::meter::Meter;
use crate::program::print;
use crate::usage::Usage;

/// Waits for the start.
#[derive(Clone, Debug)]
pub struct Go(watch::Receiver<bool>);

impl Go {
    /// Until the bench says `go`.
    pub async fn wait(&mut self) {
        // The sender lives as long as the program.
        let _ = self.0.wait_for(|go| *go).await;
    }

    /// The same for a plain thread.
    pub fn wait_blocking(&mut self) {
        pollster::block_on(self.wait());
    }
}

/// Reads standard input from now on.
#[derive(Debug)]
pub struct Control;

impl Control {
    /// Starts the thread that reads. When the input ends, what `meter` counted since the start is printed and the
    /// program exits.
    pub fn start(meter: &Arc<Meter>) -> Go {
        let (tx, rx) = watch::channel(false);
        let meter = Arc::clone(meter);
        thread::spawn(move || {
            let mut before = Usage::now();
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if line.trim() == "go" {
                    before = Usage::now();
                    tx.send_replace(true);
                }
            }
            print(&meter.result(meter.totals().0, meter.totals().1, None, before));
            process::exit(0);
        });
        Go(rx)
    }
}
