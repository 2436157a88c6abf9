//! Makes the code of `bench.capnp` without its compiler: `bench.request` is what `capnp compile -o- bench.capnp` wrote.

use std::env;
use std::error::Error;
use std::fs::File;

use capnpc::codegen::CodeGenerationCommand;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=bench.request");
    let request = File::open("bench.request")?;
    CodeGenerationCommand::new()
        .output_directory(env::var("OUT_DIR")?)
        .run(request)?;
    Ok(())
}
