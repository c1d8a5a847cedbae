//! Mistakes that an engine for several hosts may have, planted in its source one after the other: a test must notice each.
//!
//! These are no changes of one operator, and most are in SQL, so each is compiled by itself.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// A mistake.
struct Planted {
    what: &'static str,
    /// The file, below `host-native/src/storage/shared/`.
    file: &'static str,
    /// What stands there once, and what is to stand there instead.
    right: &'static str,
    wrong: &'static str,
    /// The test of the fleet that notices it.
    test: &'static str,
}

const PLANTED: [Planted; 8] = [
    Planted {
        what: "commits of several hosts take no lock",
        file: "records/functions.sql",
        right: "    PERFORM pg_advisory_xact_lock(7309471087405494895);\n    PERFORM orlop.refuse_old(nonce);",
        wrong: "    PERFORM orlop.refuse_old(nonce);",
        test: "outcomes::it_is_true_when_connections_are_cut",
    },
    Planted {
        what: "the lock is taken in the statement that reads, which sees what was before it had the lock",
        file: "records/functions.sql",
        right: "    PERFORM pg_advisory_xact_lock(7309471087405494895);
    PERFORM orlop.refuse_old(nonce);
    IF NOT durable THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    FOR here IN 0 .. last_wave LOOP
        SELECT coalesce(array_agg(DISTINCT op.number), '{}') INTO late_here
        FROM unnest(",
        wrong: "    PERFORM orlop.refuse_old(nonce);
    IF NOT durable THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    FOR here IN 0 .. last_wave LOOP
        SELECT coalesce(array_agg(DISTINCT op.number), '{}') INTO late_here
        FROM (SELECT pg_advisory_xact_lock(7309471087405494895) OFFSET 0) AS locked CROSS JOIN unnest(",
        test: "outcomes::it_is_true_when_connections_are_cut",
    },
    Planted {
        what: "what became of a batch is looked up, and no tombstone keeps it from being made later",
        file: "records/functions.sql",
        right: "    INSERT INTO orlop.outcome (nonce, late) VALUES (settle.nonce, NULL)
    ON CONFLICT ON CONSTRAINT outcome_pkey DO UPDATE SET late = outcome.late
    RETURNING outcome.late INTO settled;",
        wrong: "    SELECT outcome.late INTO settled FROM orlop.outcome WHERE outcome.nonce = settle.nonce;",
        test: "outcomes::a_batch_whose_client_is_gone_is_made_once_or_never",
    },
    Planted {
        what: "a batch that was made is acknowledged before a standby has it, once its connection has died",
        file: "records/functions.sql",
        right: "    ON CONFLICT ON CONSTRAINT outcome_pkey DO UPDATE SET late = outcome.late
    RETURNING outcome.late INTO settled;",
        wrong: "    ON CONFLICT DO NOTHING;
    SELECT outcome.late INTO settled FROM orlop.outcome WHERE outcome.nonce = settle.nonce;",
        test: "replicated::a_commit_whose_connection_is_ended_in_that_wait_is_not_acknowledged_before",
    },
    Planted {
        what: "a commit is acknowledged although its wait for a standby was cancelled",
        file: "records/writer.rs",
        right: "            Ok(_) if connection.was_unreplicated() => {\n                Attempt::Unknown(",
        wrong: "            Ok(_) if connection.was_unreplicated() && false => {\n                Attempt::Unknown(",
        test: "replicated::a_commit_whose_wait_for_a_standby_is_cancelled_is_not_acknowledged_before",
    },
    Planted {
        what: "a batch whose connection died is made again, and nothing is asked about the first time",
        file: "records/writer.rs",
        right: "            Err(Lost::Told(error)) => Attempt::Unknown(state::fault(&error)),",
        wrong: "            Err(Lost::Told(error)) => Attempt::NotMade(state::fault(&error), Cure::Reconnect),",
        test: "cutting::a_dialogue_that_is_cut_at_any_byte_tells_no_lie",
    },
    Planted {
        what: "an object is acknowledged before the upload of its parts is completed",
        file: "objects/sink.rs",
        right: "        let store = &self.objects.store;
        store
            .complete_multipart(&self.path, &id, parts)
            .await
            .map_err(|error| fault(\"end the upload of\", &self.path, &error))?;",
        wrong: "        let (store, path) = (self.objects.store.clone(), self.path.clone());
        tokio::spawn(async move { store.complete_multipart(&path, &id, parts).await });",
        test: "told::what_is_said_of_an_object_is_true_wherever_the_connection_is_cut",
    },
    Planted {
        what: "no record says which uploads of parts are open",
        file: "objects.rs",
        right: "        let put = Commit { put: vec![(upload_key(object), value)], ..commit(Durability::Durable) };",
        wrong: "        let put = Commit { put: vec![(upload_key(object), value)], ..commit(Durability::Durable) };
        let put = Commit { put: vec![], ..put };",
        test: "contract::an_upload_that_was_left_open_is_listed_and_can_be_erased",
    },
];

/// How many seconds the tests may take that notice one: a mistake may make them wait for ever.
const SECONDS: &str = "900";

/// Tries all of them in a copy of the sources.
///
/// # Errors
///
/// When one cannot be planted, or the tests do not pass without.
pub(crate) fn tried(tree: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let tests: BTreeSet<&str> = PLANTED.iter().map(|planted| planted.test).collect();
    println!("{} mistakes: the tests without them", PLANTED.len());
    for test in tests {
        if !passes(tree, test)? {
            return Err(format!("without a mistake the tests must pass: {test}").into());
        }
    }
    let mut survived = 0;
    for Planted { what, file, right, wrong, test } in PLANTED {
        let path = tree.join("host-native/src/storage/shared").join(file);
        let text = fs::read_to_string(&path)?;
        if text.matches(right).count() != 1 {
            return Err(format!("{what}: what it changes does not stand once in {file}").into());
        }
        fs::write(&path, text.replace(right, wrong))?;
        match passes(tree, test)? {
            true => {
                survived += 1;
                println!("no test notices: {what}");
            }
            false => println!("noticed   {what}: {test}"),
        }
        fs::write(&path, text)?;
    }
    println!("{} noticed, {survived} survive", PLANTED.len() - survived);
    Ok(if survived == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a test of the fleet passes.
fn passes(tree: &Path, test: &str) -> Result<bool, Box<dyn Error>> {
    let fleet = ["test", "--quiet", "--workspace", "--test", "fleet", "--locked"];
    let built = Command::new("cargo").args(fleet).arg("--no-run").current_dir(tree).status()?;
    if !built.success() {
        return Err(format!("with the mistake that {test} notices it does not compile").into());
    }
    let mut run = Command::new("timeout");
    run.args([SECONDS, "cargo"]).args(fleet).args(["--", "--ignored", "--exact", test]);
    let output = run.current_dir(tree).stdin(Stdio::null()).output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && !told.contains("1 passed") {
        return Err(format!("there is no test {test}").into());
    }
    Ok(output.status.success())
}
