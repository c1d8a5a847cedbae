//! What came of an import, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytesize::ByteSize;
use serde::Serialize;

use crate::distribution::{Finding, Kind};

/// How many findings a report names one by one.
const NAMED: usize = 10_000;

/// How many of them are printed.
const PRINTED: usize = 1000;

/// What came of an import, or would come of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Report {
    /// Nothing was changed.
    pub(super) dry_run: bool,
    /// Repositories that were looked at.
    pub(super) repositories: u64,
    /// Blobs that are new in the registry, and their bytes.
    pub(super) blobs: u64,
    pub(super) blob_bytes: u64,
    /// How many of them were copied and not linked.
    pub(super) copied: u64,
    /// How often a repository holds a blob that it did not hold before.
    pub(super) links: u64,
    /// Manifests that are new, one for each repository.
    pub(super) manifests: u64,
    /// Tags that are new, that name another manifest than at the last import, and that are as they were.
    pub(super) tags: u64,
    pub(super) tags_moved: u64,
    pub(super) tags_same: u64,
    /// How many things are broken.
    pub(super) broken: u64,
    /// How many findings there are of each kind.
    pub(super) kinds: BTreeMap<Kind, u64>,
    /// They one by one, some ten thousand at most.
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// Adds a finding.
    pub(super) fn found(&mut self, finding: Finding) {
        *self.kinds.entry(finding.kind).or_default() += 1;
        self.broken += u64::from(finding.kind.is_broken());
        if self.findings.len() < NAMED {
            self.findings.push(finding);
        }
    }

    /// Whether there was anything that the registry did not have.
    pub(super) fn is_something_new(&self) -> bool {
        self.blobs + self.links + self.manifests + self.tags + self.tags_moved > 0
    }

    /// Adds what was found elsewhere.
    pub(super) fn add(&mut self, other: Self) {
        self.repositories += other.repositories;
        self.blobs += other.blobs;
        self.blob_bytes += other.blob_bytes;
        self.copied += other.copied;
        self.links += other.links;
        self.manifests += other.manifests;
        self.tags += other.tags;
        self.tags_moved += other.tags_moved;
        self.tags_same += other.tags_same;
        self.broken += other.broken;
        other.kinds.into_iter().for_each(|(kind, count)| *self.kinds.entry(kind).or_default() += count);
        let room = NAMED.saturating_sub(self.findings.len());
        self.findings.extend(other.findings.into_iter().take(room));
    }

    /// How many findings of a kind there are.
    pub(super) fn count(&self, kind: Kind) -> u64 {
        self.kinds.get(&kind).copied().unwrap_or_default()
    }

    /// The first findings of a kind, as lines.
    pub(super) fn first(&self, kind: Kind) -> String {
        let lines = self.findings.iter().filter(|finding| finding.kind == kind).take(10).map(line);
        lines.map(|line| format!("\n  {line}")).collect()
    }

    /// All of it, to be read by people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for finding in self.findings.iter().take(PRINTED) {
            text.push_str(&line(finding));
            text.push('\n');
        }
        let found: u64 = self.kinds.values().sum();
        let printed = self.findings.len().min(PRINTED) as u64;
        if found > printed {
            // A string takes everything.
            let _ = writeln!(text, "… and {} more: --report FILE has them", found - printed);
        }
        let Self { repositories, blobs, blob_bytes, copied, manifests, tags, tags_moved, tags_same, .. } = self;
        let done = if self.dry_run { "would be imported" } else { "imported" };
        let _ = write!(
            text,
            "{done} from {}: {} with {}, {}, {}",
            counted(*repositories, "repository", "repositories"),
            counted(*blobs, "blob", "blobs"),
            ByteSize::b(*blob_bytes),
            counted(*manifests, "manifest", "manifests"),
            counted(*tags, "tag", "tags"),
        );
        if *tags_moved > 0 {
            let _ = write!(text, "; {} moved since the last import", counted(*tags_moved, "tag", "tags"));
        }
        if *tags_same > 0 {
            let were = if *tags_same == 1 { "was" } else { "were" };
            let _ = write!(text, "; {} {were} there already", counted(*tags_same, "tag", "tags"));
        }
        if *copied > 0 {
            let _ = write!(text, "; {} copied", counted(*copied, "blob", "blobs"));
        }
        let _ = match self.broken {
            0 => write!(text, "; nothing is broken"),
            1 => write!(text, "; 1 thing is broken there, see above"),
            broken => write!(text, "; {broken} things are broken there, see above"),
        };
        text
    }

    /// All of it, to be read by programs.
    pub(super) fn json(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map_err(|error| error.to_string())
    }
}

/// So many of something.
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn line(Finding { what, problem, images, .. }: &Finding) -> String {
    let mut line = format!("{what}: {problem}");
    if !images.is_empty() {
        // A string takes everything.
        let _ = write!(line, " (needed by {})", images.join(", "));
    }
    line
}
