//! Every input that the search in `tests/fuzz/` has kept, and whatever it once broke, holds.

use std::fs;
use std::path::Path;

use orlop_conformance::fuzz;

/// Goes through a corpus, and says which file breaks the check.
fn corpus(check: &fuzz::Fuzz) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(check.name);
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut count = 0;
    for file in files {
        let path = file.expect("an entry can be read").path();
        let input = fs::read(&path).expect("a file can be read");
        assert!(input.len() <= 4096, "{} is larger than an input should be", path.display());
        if let Err(panic) = std::panic::catch_unwind(|| (check.check)(&input)) {
            eprintln!("{} breaks it", path.display());
            std::panic::resume_unwind(panic);
        }
        count += 1;
    }
    println!("{}: {count} inputs", check.name);
    assert!(count > 5, "{} has next to none", directory.display());
}

/// What is fuzzed has a corpus, and no corpus is of anything else.
#[test]
fn every_check_has_its_corpus() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let entries = fs::read_dir(directory).expect("there is a corpus");
    let mut there: Vec<_> = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    there.sort();
    let mut names: Vec<_> = fuzz::ALL.iter().map(|check| check.name).collect();
    names.sort_unstable();
    assert_eq!(there, names);
}

#[test]
fn every_input_that_was_kept_holds() {
    fuzz::ALL.iter().for_each(corpus);
}
