//! What the registry takes and keeps.

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use orlop_core::Config;
use orlop_core::config::Pattern;

use super::time;

/// What the registry takes and keeps.
#[derive(Debug, Args)]
#[command(next_help_heading = "What the registry takes and keeps")]
pub struct Policy {
    /// The largest manifest; at least 4MiB lets every client work
    #[arg(long, env = "ORLOP_MANIFEST_LIMIT", default_value = "4MiB", value_name = "SIZE")]
    manifest_limit: ByteSize,

    /// The largest blob; no limit if not given
    #[arg(long, env = "ORLOP_BLOB_LIMIT", value_name = "SIZE")]
    blob_limit: Option<ByteSize>,

    /// Accept manifests whose blobs or children are not there
    #[arg(long, env = "ORLOP_ALLOW_SPARSE", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    allow_sparse: bool,

    /// Refuse to delete tags, manifests and blobs
    #[arg(long, env = "ORLOP_NO_DELETE", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    no_delete: bool,

    /// Mount a blob only from the repository that the client names
    ///
    /// Without this, whoever knows a digest can get the blob from any repository: give it where repositories have
    /// different readers.
    #[arg(long, env = "ORLOP_NO_MOUNT_FROM_ANYWHERE", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    no_mount_from_anywhere: bool,

    /// In which repositories a tag becomes the list of the images pushed to it, one a platform (repeatable)
    ///
    /// `*` stands for anything within a component of the name, `**` also across components: `team/*`, `**`.
    #[arg(long, env = "ORLOP_ASSEMBLE", value_delimiter = ',', value_name = "PATTERN")]
    assemble: Vec<String>,

    /// How long an upload may rest before it is given up
    #[arg(long, env = "ORLOP_UPLOAD_LIFETIME", default_value = "7d", value_name = "TIME", value_parser = time)]
    upload_lifetime: Duration,

    /// How long a blob stays that no manifest uses: the time a client has to push the manifest after it
    #[arg(long, env = "ORLOP_BLOB_GRACE", default_value = "1d", value_name = "TIME", value_parser = time)]
    blob_grace: Duration,

    /// How long a manifest stays that no tag and no index names; for ever if not given
    #[arg(long, env = "ORLOP_UNTAGGED_LIFETIME", value_name = "TIME", value_parser = time)]
    untagged_lifetime: Option<Duration>,
}

impl Policy {
    pub(crate) fn config(&self) -> Config {
        Config {
            manifest_limit: self.manifest_limit.as_u64(),
            blob_limit: self.blob_limit.map_or(u64::MAX, |limit| limit.as_u64()),
            allow_sparse: self.allow_sparse,
            allow_delete: !self.no_delete,
            mount_from_anywhere: !self.no_mount_from_anywhere,
            assemble: self.assemble.iter().map(Pattern::new).collect(),
            upload_lifetime: self.upload_lifetime,
            blob_grace: self.blob_grace,
            untagged_lifetime: self.untagged_lifetime,
            ..Config::default()
        }
    }
}
