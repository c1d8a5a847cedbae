//! Images copied from one place to another.

use std::path::PathBuf;

use clap::Args;

use super::trust::Trust;
use crate::copy::parse_platform;
use crate::remote::Platform;

/// Copy an image.
#[derive(Debug, Args)]
pub struct Copy {
    /// Where the image is: `REGISTRY/NAME[:TAG|@DIGEST]`, `oci:DIRECTORY[:TAG]`, `oci-archive:FILE[:TAG]` or
    /// `docker-archive:FILE[:NAME:TAG]`
    ///
    /// Without a tag it is `latest` in a registry, and the only image elsewhere.
    #[arg(value_name = "SRC")]
    pub source: String,

    /// Where it goes: `REGISTRY/NAME[:TAG]`, `oci:DIRECTORY[:TAG]`, `oci-archive:FILE[:TAG]` or
    /// `docker-archive:FILE[:NAME:TAG]`
    ///
    /// Without a tag it gets the one that is written in SRC. If there is none either, it is found by its digest. An archive
    /// is written anew, in the place of one that is there, and takes twice its space until it is whole. One for `docker
    /// load` (docker-archive) has one image, for one platform.
    #[arg(value_name = "DST")]
    pub destination: String,

    /// Copy an index with the images for all platforms: what is done without --platform
    #[arg(long, conflicts_with = "platform")]
    pub all: bool,

    /// Of an index, copy only the image for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform)]
    pub platform: Option<Platform>,

    /// Copy what refers to the image too: signatures, bills of material
    #[arg(long)]
    pub referrers: bool,

    /// Write nothing; print what would be copied
    #[arg(long)]
    pub dry_run: bool,

    /// Print what came of it as JSON
    #[arg(long)]
    pub json: bool,

    /// Print nothing but what goes wrong
    #[arg(short, long)]
    pub quiet: bool,

    /// The user to log in as at the registry of SRC
    #[arg(long, value_name = "NAME", requires = "src_password_file")]
    pub src_username: Option<String>,

    /// The file with the password for SRC in its first line; /dev/stdin is the standard input
    #[arg(long, value_name = "FILE", requires = "src_username")]
    pub src_password_file: Option<PathBuf>,

    /// The user to log in as at the registry of DST
    #[arg(long, value_name = "NAME", requires = "dest_password_file")]
    pub dest_username: Option<String>,

    /// The file with the password for DST in its first line; /dev/stdin is the standard input
    #[arg(long, value_name = "FILE", requires = "dest_username")]
    pub dest_password_file: Option<PathBuf>,

    /// How registries are reached.
    #[command(flatten)]
    pub trust: Trust,

    /// A further host that registries may redirect to although it has a private address, such as the storage of their
    /// blobs (repeatable)
    #[arg(long = "redirect", value_name = "HOST[:PORT]")]
    pub redirects: Vec<String>,

    /// Let registries redirect to all private addresses
    #[arg(long)]
    pub allow_private: bool,
}
