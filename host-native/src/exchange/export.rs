//! Whole repositories, taken out of a registry.

use std::path::Path;

use orlop_core::config::Pattern;
use orlop_core::name::Repository;

use super::Outcome;
use crate::copy::{Branch, Collected, Copying, Destination, Failed, Layout, Told, Tree, Unwritten};
use crate::remote::Failure;
use crate::sync::{Registry, Side};

/// Where repositories go.
pub(crate) enum Target<'l> {
    /// Into a layout, by their whole names.
    Layout(Collected<'l>),
    /// Into a layout that is not written, as it is a dry run.
    Nothing(Unwritten),
    /// Into a data directory of distribution.
    Distribution(Tree),
}

impl Target<'_> {
    /// The whole of a repository, and what a tag or digest of it is called there.
    fn branch(&self, repository: &str) -> Option<Branch> {
        match self {
            Self::Distribution(tree) => Some(tree.repository(repository)),
            Self::Layout(_) | Self::Nothing(_) => None,
        }
    }

    /// A repository is done.
    async fn ends(&self) -> Result<(), Failure> {
        match self {
            Self::Layout(layout) => layout.write_index().await,
            Self::Nothing(_) | Self::Distribution(_) => Ok(()),
        }
    }
}

/// Copies these repositories with their tags, what refers to these, and what no tag leads to. What is there is not moved again.
/// What fails is told in the outcome.
///
/// # Errors
///
/// When a login is refused, or the target cannot be written to.
pub(crate) async fn export(
    registry: &Registry,
    names: &[String],
    target: &Target<'_>,
    dry_run: bool,
    told: &dyn Told,
) -> Result<Outcome, Failed> {
    let mut outcome = Outcome::default();
    for name in names {
        let side = registry.repository(name);
        let done = repository(&side, name, target, dry_run, told, &mut outcome).await;
        if !dry_run {
            target.ends().await.map_err(Failed::writing)?;
        }
        done.map_err(Failed::reading)?;
        outcome.repositories += 1;
    }
    if let (Target::Distribution(tree), false) = (target, dry_run) {
        tree.sync().await.map_err(Failed::writing)?;
    }
    Ok(outcome)
}

/// The names of the repositories that are wanted, by names and patterns, in order; all if there are none. Without a pattern
/// among them, they need not be listed.
///
/// # Errors
///
/// When they cannot be listed, or a pattern matches none.
pub(crate) async fn chosen(registry: &Registry, wanted: &[String]) -> Result<Vec<String>, Failed> {
    let mut names: Vec<String> = wanted.iter().filter(|name| !name.contains('*')).cloned().collect();
    if wanted.is_empty() || names.len() < wanted.len() {
        let all = registry.repositories().await.map_err(Failed::reading)?;
        for text in wanted.iter().filter(|name| name.contains('*')) {
            let pattern = Pattern::new(text);
            let matches = |name: &&String| name.parse::<Repository>().is_ok_and(|name| pattern.matches(&name));
            let before = names.len();
            names.extend(all.iter().filter(matches).cloned());
            if names.len() == before {
                return Err(Failed::missing(format!("`{text}` matches no repository")));
            }
        }
        if wanted.is_empty() {
            names = all;
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

async fn repository(
    side: &Side,
    name: &str,
    target: &Target<'_>,
    dry_run: bool,
    told: &dyn Told,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let branch = target.branch(name);
    let destination: &dyn Destination = match (target, &branch) {
        (_, Some(branch)) => branch,
        (Target::Layout(layout), None) => layout,
        (Target::Nothing(unwritten), None) => unwritten,
        (Target::Distribution(_), None) => return Ok(()),
    };
    let copying = Copying {
        source: side.source(),
        destination,
        platform: None,
        platforms: &[],
        referrers: true,
        mends: false,
        dry_run,
        told,
    };
    let tags = match side.tags().await {
        Ok(tags) => tags,
        Err(Failure::Absent) => return outcome.fails(name, Failed::missing("there is no such repository".into())),
        Err(failure) => return outcome.fails(name, Failed::reading(failure)),
    };
    for tag in tags {
        let whole = format!("{name}:{tag}");
        let there = if branch.is_some() { &tag } else { &whole };
        let copied = copying.copy(&tag, Some(there)).await;
        outcome.add(&whole, copied)?;
    }
    let loose = match side.loose().await {
        Ok(loose) => loose,
        Err(failure) => return outcome.fails(name, Failed::reading(failure)),
    };
    for digest in loose {
        let whole = format!("{name}@{digest}");
        // A layout of several repositories has to say of which one it is.
        let there = branch.is_none().then_some(whole.as_str());
        let copied = copying.copy(&digest.to_string(), there).await;
        outcome.add(&whole, copied)?;
    }
    Ok(())
}

/// Whether a path is to be an archive: one by its name, or a file that is there.
pub(crate) fn is_archive(path: &Path) -> bool {
    is_named_so(path) || path.is_file()
}

fn is_named_so(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}

/// Whether an archive may take the place of what is there: of nothing, an archive by its name, an empty file, or an archive
/// with a layout by what is in it.
///
/// # Errors
///
/// When it is another file, which is not to be lost.
pub(crate) async fn replaceable(path: &Path) -> Result<(), Failure> {
    let is_empty = std::fs::metadata(path).map_or(true, |found| found.len() == 0);
    if is_named_so(path) || is_empty || Layout::in_archive(path).await.is_ok() {
        return Ok(());
    }
    Err(Failure::Unusable(format!(
        "{} is a file and no archive with an image layout: name a directory, or a file that ends with .tar",
        path.display()
    )))
}
