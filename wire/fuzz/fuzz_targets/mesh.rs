//! The connections of a mesh: hellos, what ranks and their server say, messages cut anywhere, and a server whose ranks say
//! and do anything.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    match choice % 4 {
        0 => flexbond_session::mesh::fuzz::hellos(data),
        1 => flexbond_session::mesh::fuzz::notices(data),
        2 => flexbond_session::mesh::fuzz::inbound(data),
        _ => flexbond_session::mesh::fuzz::registrar(data),
    }
});
