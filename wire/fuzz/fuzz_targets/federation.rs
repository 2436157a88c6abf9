//! Parties of a federated job: packets, one party among others that say anything, two on a way that does anything, a
//! message server among all of them, and configurations.
#![no_main]

use flexbond_collectives::federation::{Config, fuzz};
use flexbond_wire_fuzz::Script;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    match choice % 5 {
        0 => fuzz::packets(Script(data).message()),
        1 => fuzz::node(data),
        // What is longer says nothing else, slower.
        2 => fuzz::parties(&data[..data.len().min(2048)]),
        3 => {
            let Ok(text) = std::str::from_utf8(data) else {
                return;
            };
            for config in [Config::from_json(text), Config::from_toml(text)] {
                match config {
                    Ok(config) => assert_eq!(config.validate().ok(), Some(())),
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
        }
        _ => fuzz::relay(&data[..data.len().min(2048)]),
    }
});
