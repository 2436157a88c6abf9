//! Sockets without a runtime.

use std::time::Duration;

use flexbond::blocking::{Rep, Req};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Rep::new();
    let endpoint = server.bind("tcp://127.0.0.1:0")?;
    let thread = std::thread::spawn(move || {
        while let Ok(request) = server.recv_timeout(Duration::from_secs(1)) {
            if server.send(request).is_err() {
                break;
            }
        }
    });

    let client = Req::new();
    client.connect(&endpoint)?;
    client.send("anybody there?")?;
    println!(
        "{}",
        client.recv_timeout(Duration::from_secs(5))?[0].escape_ascii()
    );
    client.close()?;
    thread.join().map_err(|_| "the server's thread panicked")?;
    Ok(())
}
