//! Random histories: operations on a registry, each judged by the core on its memory host.
//!
//! Where the specifications leave something to the registry, the oracle follows what the registry did; everywhere
//! else both must answer alike. A history that fails is shrunk to the shortest that still fails the same way.

mod operation;
mod world;

pub use operation::{Operation, generate};
pub use world::{Deviation, World};

use super::curl;
use super::exchange::Unreachable;
use super::lab::{Lab, Run};

/// How many times a failing history is tried again, shorter, at most.
const ATTEMPTS: usize = 200;

/// A history that failed.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Failure {
    /// The number of the history.
    pub history: usize,
    /// What was done, shrunk.
    pub operations: Vec<String>,
    /// What the last operation should have come to.
    pub expected: String,
    /// What it came to.
    pub came: String,
    /// What tells this failure from others.
    pub signature: String,
    /// The lines that do it again.
    pub curl: String,
}

/// What came of a history.
pub enum Outcome {
    /// Everything was as it should be, after that many operations.
    Passed(usize),
    /// It went wrong at that operation.
    Failed(usize, Deviation),
    /// The registry is not there any more.
    Lost(usize, Unreachable),
}

/// Does the operations in repositories of that name.
pub async fn execute(run: &Run, name: &str, operations: &[Operation]) -> (Outcome, Lab) {
    let lab = Lab::new(run, name);
    let mut world = World::new(&lab);
    if let Err(lost) = world.catch_up().await {
        drop(world);
        return (Outcome::Lost(0, lost), lab);
    }
    let mut outcome = Outcome::Passed(operations.len());
    for (n, operation) in operations.iter().enumerate() {
        match world.perform(operation).await {
            Ok(()) => {}
            Err(world::End::Deviates(deviation)) => {
                outcome = Outcome::Failed(n, deviation);
                break;
            }
            Err(world::End::Lost(lost)) => {
                outcome = Outcome::Lost(n, lost);
                break;
            }
        }
    }
    drop(world);
    (outcome, lab)
}

/// Shrinks a history that fails at its last operation to one from which nothing can be left out.
///
/// # Errors
///
/// When the registry is gone.
pub async fn shrink(
    run: &Run,
    name: &str,
    operations: &[Operation],
    signature: &str,
) -> Result<Vec<Operation>, Unreachable> {
    let mut shortest = operations.to_vec();
    let mut attempts = 0;
    let mut size = shortest.len().div_ceil(2);
    loop {
        let mut start = 0;
        while start + 1 < shortest.len() && attempts < ATTEMPTS {
            // The last operation is the one that fails: it stays.
            let end = (start + size).min(shortest.len() - 1);
            let mut shorter = shortest.clone();
            shorter.drain(start..end);
            attempts += 1;
            let (outcome, lab) = execute(run, &format!("{name}-s{attempts}"), &shorter).await;
            lab.clean().await;
            match outcome {
                Outcome::Failed(at, deviation) if deviation.signature == signature => {
                    shorter.truncate(at + 1);
                    shortest = shorter;
                }
                Outcome::Lost(_, lost) => return Err(lost),
                _ => start = end,
            }
        }
        if size == 1 || attempts >= ATTEMPTS {
            return Ok(shortest);
        }
        size = size.div_ceil(2);
    }
}

/// Shrinks a history that failed, and says what is left of it.
///
/// # Errors
///
/// When the registry is gone.
pub async fn explain(
    run: &Run,
    base: &str,
    history: usize,
    operations: &[Operation],
    first: Deviation,
) -> Result<Failure, Unreachable> {
    let name = format!("h{history}");
    let shortest = shrink(run, &name, operations, &first.signature).await?;
    let (outcome, lab) = execute(run, &format!("{name}-short"), &shortest).await;
    let curl = curl::script(base, &lab.record.borrow());
    lab.clean().await;
    let deviation = match outcome {
        Outcome::Failed(_, deviation) => deviation,
        Outcome::Lost(_, lost) => return Err(lost),
        // It does not fail each time: what was seen first is what is known.
        Outcome::Passed(_) => Deviation { came: format!("{} (not each time)", first.came), ..first.clone() },
    };
    let operations = shortest.iter().map(ToString::to_string).collect();
    let Deviation { expected, came, .. } = deviation;
    Ok(Failure { history, operations, expected, came, signature: first.signature, curl })
}
