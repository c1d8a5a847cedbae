//! Images brought in from layouts, archives and other registries, and whole repositories taken out.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::trust::Trust;
use crate::settings::{Data, File};

/// Take whole repositories out.
#[derive(Debug, Args)]
pub struct Export {
    /// The command to run.
    #[command(subcommand)]
    pub command: ExportCommand,
}

/// Take whole repositories out.
#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Write repositories into an OCI image layout: a directory, or a file that ends with .tar
    ///
    /// Each tag is in the index of the layout as REPOSITORY:TAG, what no tag leads to as REPOSITORY@DIGEST, and what refers
    /// to an image (signatures, bills of material) with it. Manifests are written byte by byte as they are. Run again, it
    /// adds what is new to a directory; a file is written anew, as a whole or not at all. `orlop import oci` brings all of it into a registry again.
    ///
    /// The exit status is that of `orlop copy`.
    Oci(Box<Exported>),
    /// Write repositories as a data directory of distribution or docker-registry, which can then serve them
    ///
    /// The directory is empty or does not exist, or an earlier export has begun it: then what is new is added. Blobs are
    /// linked where both directories are on one file system, so that they take no space twice: such files have one owner
    /// and one mode in both places. What refers to an image is listed by a tag, sha256-HASH, as clients look for it in
    /// registries without the API of referrers.
    ///
    /// The exit status is that of `orlop copy`.
    Distribution(Box<ExportedTree>),
}

/// Write a layout.
#[derive(Debug, Args)]
pub struct Exported {
    /// The directory, or the file that ends with .tar
    #[arg(value_name = "PATH")]
    pub target: PathBuf,

    /// What is exported.
    #[command(flatten)]
    pub what: What,
}

/// Write a data directory of distribution.
#[derive(Debug, Args)]
pub struct ExportedTree {
    /// The directory: what is to be `rootdirectory` in the configuration of that registry
    #[arg(value_name = "DIRECTORY")]
    pub target: PathBuf,

    /// Copy all blobs, and hash them meanwhile; none shares its file with the data directory
    #[arg(long)]
    pub copy: bool,

    /// What is exported.
    #[command(flatten)]
    pub what: What,
}

/// What is exported, and how.
#[derive(Debug, Args)]
pub struct What {
    /// The repositories, by name or pattern (`team/**`); all if none is given
    #[arg(value_name = "REPOSITORY")]
    pub repositories: Vec<String>,

    /// How, and where.
    #[command(flatten)]
    pub how: How,
}

/// Bring in the images of a layout.
#[derive(Debug, Args)]
pub struct ImportedOci {
    /// The directory with the layout, or the archive (tar) with one in it
    #[arg(value_name = "PATH")]
    pub source: PathBuf,

    /// Put all images into this repository; without it, their names in the layout say where they go
    #[arg(long, value_name = "NAME")]
    pub repository: Option<String>,

    /// How, and where.
    #[command(flatten)]
    pub how: How,
}

/// Bring in the images of an archive of `docker save`.
#[derive(Debug, Args)]
pub struct ImportedArchive {
    /// The archive, not compressed
    #[arg(value_name = "FILE")]
    pub source: PathBuf,

    /// Put all images into this repository; without it, their names in the archive say where they go
    #[arg(long, value_name = "NAME")]
    pub repository: Option<String>,

    /// How, and where.
    #[command(flatten)]
    pub how: How,
}

/// Bring in the repositories of another registry.
#[derive(Debug, Args)]
pub struct ImportedRegistry {
    /// The other registry, such as registry.example.com or http://127.0.0.1:5000
    #[arg(value_name = "HOST")]
    pub source: String,

    /// Bring in this repository, or those of a pattern such as `team/**` (repeatable)
    ///
    /// For a pattern the other registry has to list its repositories. Either this or --all is needed.
    #[arg(long, value_name = "NAME")]
    pub repositories: Vec<String>,

    /// Bring in all repositories that the other registry lists
    #[arg(long, conflicts_with = "repositories")]
    pub all: bool,

    /// What the names of repositories begin with here
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub prefix: String,

    /// Write nothing; print what would be brought in
    #[arg(long)]
    pub dry_run: bool,

    /// Print what came of it as JSON
    #[arg(long)]
    pub json: bool,

    /// Print nothing but what goes wrong
    #[arg(short, long)]
    pub quiet: bool,

    /// How it is reached.
    #[command(flatten)]
    pub reaching: Reaching,

    #[command(flatten)]
    file: File,

    /// Where it goes.
    #[command(flatten)]
    pub data: Data,
}

/// How it is done, and with which registry.
#[derive(Debug, Args)]
pub struct How {
    /// Write nothing; print what would be written
    #[arg(long)]
    pub dry_run: bool,

    /// Print what came of it as JSON
    #[arg(long)]
    pub json: bool,

    /// Print nothing but what goes wrong
    #[arg(short, long)]
    pub quiet: bool,

    /// The registry as a server, by its address, such as `127.0.0.1:5000` or `https://registry.example.com`
    ///
    /// Without it, the command opens --data itself, which no server may have open meanwhile.
    #[arg(long, value_name = "HOST")]
    pub registry: Option<String>,

    /// How it is reached.
    #[command(flatten)]
    pub reaching: Reaching,

    #[command(flatten)]
    file: File,

    /// The registry as a directory.
    #[command(flatten)]
    pub data: Data,
}

/// How a registry is reached that is spoken to.
#[derive(Debug, Args)]
pub struct Reaching {
    /// The user to log in as at that registry; else the login of `docker login` or `podman login` is used
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub username: Option<String>,

    /// The file with the password in its first line; /dev/stdin is the standard input
    #[arg(long, value_name = "FILE", requires = "username")]
    pub password_file: Option<PathBuf>,

    /// How registries are reached.
    #[command(flatten)]
    pub trust: Trust,

    /// A further host at a private address that it may redirect to (repeatable); see orlop-copy(1)
    #[arg(long = "redirect-to", value_name = "HOST[:PORT]")]
    pub redirects: Vec<String>,
}
