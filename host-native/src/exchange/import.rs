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
    for (entry, failure) in contents.damaged() {
        outcome.fails(entry, Failed::reading(failure.clone()))?;
    }
    let (mut repositories, mut taken) = (BTreeSet::new(), HashMap::new());
    for (number, image) in contents.images().into_iter().enumerate() {
        let digest = image.digest.to_string();
        let what = match image.name.as_deref() {
            Some("") => format!("image {}", number + 1),
            Some(name) => name.escape_debug().to_string(),
            None => digest.clone(),
        };
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
            let cure = match repository {
                Some(_) => "import without --repository",
                None => "one name is of one image: import one of them under another name by `orlop copy`",
            };
            let reason = format!("{other} goes to {}:{tag} too: {cure}", goes.repository);
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
            mends: true,
            dry_run,
            told,
        };
        outcome.add(&what, copying.copy(&digest, goes.tag.as_deref()).await)?;
    }
    outcome.repositories = repositories.len() as u64;
    Ok(outcome)
}
