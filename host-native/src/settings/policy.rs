//! What the registry accepts and keeps.

use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use orlop_core::Config;
use orlop_core::config::Pattern;

use super::number::{Lifetime, dated_time, lifetime, size, time};

/// What the registry accepts, and how long it keeps what is not in use.
#[derive(Debug, Args)]
#[command(next_help_heading = "Content")]
pub struct Policy {
    /// The largest manifest; every client works with 4MiB or more
    #[arg(long, env = "ORLOP_MANIFEST_LIMIT", default_value = "4MiB", value_name = "SIZE", value_parser = size)]
    manifest_limit: ByteSize,

    /// The largest blob; unlimited if not set
    #[arg(long, env = "ORLOP_BLOB_LIMIT", value_name = "SIZE", value_parser = size)]
    blob_limit: Option<ByteSize>,

    /// Accept manifests whose blobs or child manifests are missing
    #[arg(long, env = "ORLOP_ALLOW_SPARSE", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    allow_sparse: bool,

    /// Refuse to delete tags, manifests and blobs for clients
    ///
    /// Retention, garbage collection and `orlop purge` delete all the same.
    #[arg(long, env = "ORLOP_NO_DELETE", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    no_delete: bool,

    /// Mount a blob only from the repository that the client names
    ///
    /// Without this, a client that knows a digest and names no repository gets the blob from any repository it may
    /// pull from.
    #[arg(long, env = "ORLOP_NO_MOUNT_FROM_ANYWHERE", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    no_mount_from_anywhere: bool,

    /// Repositories in which a tag becomes an index of the images pushed to it, one for each platform (repeatable)
    ///
    /// `*` stands for any text within a component of the name, `**` also across components: `team/*`, `**`.
    #[arg(long, env = "ORLOP_ASSEMBLE", value_delimiter = ',', value_name = "PATTERN")]
    assemble: Vec<String>,

    /// How long an upload that receives nothing is kept
    #[arg(long, env = "ORLOP_UPLOAD_LIFETIME", default_value = "7d", value_name = "TIME", value_parser = time)]
    upload_lifetime: Duration,

    /// How long a blob that no manifest uses is kept: the time a client has to push the manifest after it
    #[arg(long, env = "ORLOP_BLOB_GRACE", default_value = "1d", value_name = "TIME", value_parser = time)]
    blob_grace: Duration,

    /// How long a tag or manifest that was deleted can be undeleted, 100y at most; 0 deletes at once
    ///
    /// Meanwhile it can be neither pulled nor listed, and its blobs keep their space. `orlop deleted` lists what there is,
    /// `orlop undelete` brings it back, `orlop purge` removes it at once. After this time garbage collection does.
    #[arg(long, env = "ORLOP_UNDELETE_WITHIN", default_value = "7d", value_name = "TIME", value_parser = dated_time)]
    undelete_within: Duration,

    /// How long a manifest that no tag and no index names is kept; or never, which removes none
    ///
    /// A push to a tag that exists moves the tag. The manifest that it named stays, and can be pulled by its digest,
    /// for this long. The default never keeps it until it is deleted, with the blobs it uses.
    #[arg(
        long,
        env = "ORLOP_UNTAGGED_LIFETIME",
        default_value = "never",
        value_name = "TIME",
        value_parser = lifetime
    )]
    untagged_lifetime: Lifetime,

    /// How long the bytes of blobs that are gone stay, for a database that is restored to an earlier time
    ///
    /// The database is restored by itself, and then names blobs that were removed since. Their bytes are there if they
    /// were removed no longer ago than this. The default is 1d with --records, and 0 for a data directory, which is
    /// restored with its bytes. `orlop gc --keep-erased 0` erases at once what is kept.
    #[arg(
        long,
        env = "ORLOP_KEEP_ERASED",
        default_value = "0",
        default_value_if("records", clap::builder::ArgPredicate::IsPresent, "1d"),
        value_name = "TIME",
        value_parser = time
    )]
    keep_erased: Duration,

    /// Which blobs are held against their digest while they are sent whole: those that were imported and that nobody has
    /// read since, or all
    ///
    /// When the bytes are wrong, the last of them are not sent, the connection ends, and the blob is out of use until it is
    /// pushed again. Blobs that are checked so are not sent by the kernel itself, which costs more of the processor.
    #[arg(long, env = "ORLOP_VERIFY_READS", default_value = "unverified", value_name = "WHICH")]
    verify_reads: VerifyReads,
}

/// Which blobs are held against their digest while they are sent whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum VerifyReads {
    /// Those that were imported and that nobody has read since.
    Unverified,
    /// All of them.
    All,
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
            undelete_within: Some(self.undelete_within).filter(|within| !within.is_zero()),
            untagged_lifetime: self.untagged_lifetime.0,
            keep_erased: self.keep_erased,
            verify_reads: self.verify_reads == VerifyReads::All,
            ..Config::default()
        }
    }
}
