//! All images of a layout or archive, brought into a registry.

use std::collections::{BTreeSet, HashMap};

use super::Outcome;
use super::name::goes;
use crate::copy::{Contents, Copying, Failed, Told};
use crate::remote::Failure;
use crate::sync::Registry;

/// Copies all images into a registry, into `repository` or those that their names say. What refers to them goes along.
/// What is there is not moved again. What fails is told in the outcome.
///
/// # Errors
///
/// When a login is refused.
pub(crate) async fn import(
    contents: &Contents,
    registry: &Registry,
    repository: Option<&str>,
    dry_run: bool,
    told: &dyn Told,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    for (digest, failure) in contents.damaged() {
        outcome.fails(&digest.to_string(), Failed::reading(failure.clone()))?;
    }
    let (mut repositories, mut taken) = (BTreeSet::new(), HashMap::new());
    for image in contents.images() {
        let digest = image.digest.to_string();
        let what = image.name.clone().unwrap_or_else(|| digest.clone());
        let wrong = |reason: String| Failed::reading(Failure::Unusable(reason));
        let goes = match goes(image.name.as_deref(), repository) {
            Ok(goes) => goes,
            Err(reason) => {
                outcome.fails(&what, wrong(reason))?;
                continue;
            }
        };
        if let Some(tag) = &goes.tag
            && let Some(other) = taken.insert((goes.repository.clone(), tag.clone()), image.digest)
            && other != image.digest
        {
            let reason = format!("{other} goes to {}:{tag} too: import without --repository", goes.repository);
            outcome.fails(&what, wrong(reason))?;
            continue;
        }
        let side = registry.repository(&goes.repository);
        repositories.insert(goes.repository);
        let copying = Copying {
            source: contents,
            destination: side.destination(),
            platform: None,
            platforms: &[],
            referrers: true,
            dry_run,
            told,
        };
        outcome.add(&what, copying.copy(&digest, goes.tag.as_deref()).await)?;
    }
    outcome.repositories = repositories.len() as u64;
    Ok(outcome)
}
