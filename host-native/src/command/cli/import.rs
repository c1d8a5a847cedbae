//! What other registries have, taken over.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::exchange::{ImportedArchive, ImportedOci, ImportedRegistry};
use crate::settings::{Data, File, ObjectsOption};

/// Take over what another registry has.
#[derive(Debug, Args)]
pub struct Import {
    /// The command to run.
    #[command(subcommand)]
    pub command: ImportCommand,
}

/// Take over what another registry has.
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Take over the data directory of distribution or docker-registry, blobs by hard links
    ///
    /// DIRECTORY is what `rootdirectory` names in the configuration of that registry; it is read and never changed. Blobs
    /// are linked where both directories are on one file system, so that they take no space twice, and else copied with
    /// --copy. Manifests keep their digests. Run again, it takes what is new: import while the other registry serves
    /// (--live), make that read-only, import once more, and switch clients over.
    ///
    /// First all of DIRECTORY is looked at, and nothing is changed when it is not what it should be. What is broken in it
    /// is left out and listed. Without --verify the bytes of blobs are hashed later, when they are first read as a whole.
    /// No server may have --data open meanwhile.
    ///
    /// The exit status is 0 when everything was taken over that is not broken, 1 when it could not be done, and 3 with
    /// --strict when something is broken.
    Distribution(Box<Distribution>),
    /// Take over a bucket in which distribution or docker-registry keeps its data (its storage `s3`)
    ///
    /// URL names the bucket and, behind a slash, what `rootdirectory` names in the configuration of that registry. It is read
    /// and never written: the credentials need s3:ListBucket and s3:GetObject. They are taken from where the tools of AWS have
    /// them: the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL), web identity, or the
    /// machine. Blobs are copied into --data, and each is hashed meanwhile. Manifests keep their digests. Run again, it takes
    /// what is new: import while the other registry serves (--live), make that read-only, import once more, and switch
    /// clients over.
    ///
    /// First all of the bucket is looked at, and nothing is changed when it is not what it should be. What is broken in it is
    /// left out and listed. No server may have --data open meanwhile.
    ///
    /// The exit status is 0 when everything was taken over that is not broken, 1 when it could not be done, and 3 with
    /// --strict when something is broken.
    S3(Box<S3>),
    /// Make a configuration file of one of distribution or docker-registry
    ///
    /// FILE is its configuration in YAML. Each key of it is answered for: it becomes a setting, or it is not needed and it
    /// says why, or it is not supported and it says what to do instead. All of that stands in the file that is written, as
    /// comments. No password and no key of FILE is written or printed; where one is needed, it says where it is to go.
    #[command(name = "config")]
    Configuration(Configuration),
    /// Bring in all images of an OCI image layout, a directory or an archive (tar)
    ///
    /// Their names in the layout (REPOSITORY:TAG, with or without a host in front) say where they go, or all go to
    /// --repository. What refers to them goes along. Bytes are hashed on their way, and blobs that are there are not moved
    /// again: an import that was interrupted is gone on with by the same command.
    ///
    /// The exit status is that of `orlop copy`.
    Oci(Box<ImportedOci>),
    /// Bring in all images of an archive of `docker save`
    ///
    /// The exit status is that of `orlop copy`.
    DockerArchive(Box<ImportedArchive>),
    /// Bring in the repositories of another registry: all tags, and what refers to them
    ///
    /// Tags that are here with the same digest are not moved again, so the same command goes on with an import that was
    /// interrupted. What only a digest names there is not listed by a registry, and not brought in. To have it done again
    /// and again while a server runs, add a `[[sync]]` to its configuration.
    Registry(Box<ImportedRegistry>),
}

/// Translate a configuration.
#[derive(Debug, Args)]
pub struct Configuration {
    /// The configuration of the other registry, such as /etc/docker/registry/config.yml
    #[arg(value_name = "FILE")]
    pub source: PathBuf,

    /// Where to write it, to a file that does not exist yet; without it, it is printed
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Let the variables REGISTRY_… of the environment win over FILE, as distribution does
    #[arg(long)]
    pub env: bool,

    /// Let the variables REGISTRY_… of this file win over FILE: lines of NAME=VALUE, as `docker run --env-file` takes them
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,

    /// Fail when a key is not supported or unknown
    #[arg(long)]
    pub strict: bool,

    /// Print what becomes of each key as JSON, not the configuration
    #[arg(long)]
    pub json: bool,
}

/// Take over the data directory of distribution.
#[derive(Debug, Args)]
pub struct Distribution {
    /// The data directory of the other registry: the directory that has docker/registry/v2 in it
    #[arg(value_name = "DIRECTORY")]
    pub source: PathBuf,

    /// Hash all blobs before they are taken over, and leave out those with wrong bytes
    #[arg(long)]
    pub verify: bool,

    /// Copy blobs that cannot be linked, because DIRECTORY is on another file system or belongs to another user
    #[arg(long)]
    pub copy: bool,

    /// How else.
    #[command(flatten)]
    pub how: Taking,

    #[command(flatten)]
    file: File,

    /// Where it goes.
    #[command(flatten)]
    pub data: Data,
}

/// Take over the bucket of distribution.
#[derive(Debug, Args)]
pub struct S3 {
    /// The bucket of the other registry: s3://BUCKET, or s3://BUCKET/ROOTDIRECTORY
    #[arg(value_name = "URL")]
    pub source: String,

    /// An option of the bucket (repeatable), such as region=eu-west-1
    ///
    /// One option a flag. The options are those of --objects-option; they win over the environment.
    #[arg(long, value_name = "NAME=VALUE")]
    pub source_option: Vec<ObjectsOption>,

    /// Trust these authorities (PEM) too, for the bucket
    #[arg(long, value_name = "FILE")]
    pub source_ca: Option<PathBuf>,

    /// Hash all blobs before anything is taken over, as --strict does too; they are read twice then, since each is hashed
    /// when it is copied
    #[arg(long)]
    pub verify: bool,

    /// How else.
    #[command(flatten)]
    pub how: Taking,

    #[command(flatten)]
    file: File,

    /// Where it goes.
    #[command(flatten)]
    pub data: Data,
}

/// How the data of distribution is taken over, wherever they are.
#[derive(Debug, Clone, Args)]
pub struct Taking {
    /// Change nothing; print what would be taken over, and what is broken
    #[arg(long)]
    pub dry_run: bool,

    /// Change nothing and fail when something is broken
    ///
    /// The exit status is 3 then. All blobs of a bucket are hashed first; those of a directory only with --verify, and without
    /// it wrong bytes in them do not count.
    #[arg(long)]
    pub strict: bool,

    /// Say that nothing writes to the source, whatever it looks like
    // Not the setting of a server that is called so.
    #[arg(id = "source_read_only", long = "read-only", conflicts_with = "live")]
    pub read_only: bool,

    /// Import although the source is being written to: run it again once it is read-only
    #[arg(long)]
    pub live: bool,

    /// Import although most blobs are missing in the source
    #[arg(long)]
    pub incomplete: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,

    /// Write the report as JSON to this file too
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}
