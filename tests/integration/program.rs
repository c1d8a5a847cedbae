//! The program under test.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program `orlop`, built like this test. `ORLOP` names another.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(given) = env::var_os("ORLOP") {
            return given.into();
        }
        // This program is `<target>/<profile>/deps/NAME-…` or beside it, and that one `<target>/<profile>/orlop`.
        let test = env::current_exe().expect("a test has a path");
        let built = test.parent().and_then(Path::parent).expect("a test is in a target directory");
        let release = built.file_name().is_some_and(|profile| profile == "release");
        // A test of another package does not have it built. Whoever has built it waits for nothing here: with the whole
        // workspace and an example, for which dependencies have the features that they have for tests.
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--workspace", "--bin", "orlop", "--example", "generate", "--target-dir"]);
        build.arg(built.parent().expect("a profile is in a target directory"));
        build.args(release.then_some("--release")).current_dir(env!("CARGO_MANIFEST_DIR"));
        // Build scripts look at what cargo tells a test of its own package, and would be run again for it.
        let of_the_test = |name: &String| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for name in env::vars().map(|(name, _)| name).filter(of_the_test) {
            build.env_remove(name);
        }
        let done = build.status().unwrap_or_else(|error| panic!("{build:?}: {error}"));
        assert!(done.success(), "{build:?} failed");
        built.join("orlop")
    })
}
