//! `orlop-wasm-bindgen <module.wasm> <directory>`: writes the JavaScript and the types beside a wasm module.
//!
//! It is the library behind `wasm-bindgen` on the command line. As a package of the workspace it has the version of
//! the lock file, so that the two halves of the interface always agree, and nothing needs to be installed.

use std::path::Path;
use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, directory] = arguments.as_slice() else {
        eprintln!("usage: orlop-wasm-bindgen <module.wasm> <directory>");
        return ExitCode::from(2);
    };
    let written = Bindgen::new()
        .input_path(Path::new(module))
        .web(true)
        .and_then(|bindgen| bindgen.typescript(true).omit_default_module_path(true).generate(Path::new(directory)));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orlop-wasm-bindgen: {module}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
