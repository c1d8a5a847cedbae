//! The engines for several machines: where the database and the object store are.

use std::path::PathBuf;
use std::str::FromStr;

use bytesize::ByteSize;
use clap::Args;

use super::number::size;

/// On each setting by itself: as that of the whole it would go on over what stands behind it.
const HEADING: &str = "Several machines";

/// A database and an object store, in the place of a data directory.
#[derive(Debug, Clone, Args)]
pub struct EngineSettings {
    /// Keep the records in this PostgreSQL database, for several servers: postgres://USER@HOST,HOST/DATABASE
    ///
    /// It goes with --objects, and the data directory is not used then. Any number of servers may use the same two. Of
    /// several hosts, the one that is the primary is used. Encryption is as sslmode says: disable, prefer, require.
    #[arg(help_heading = HEADING, long, env = "ORLOP_RECORDS", value_name = "URL")]
    pub records: Option<String>,

    /// A file with the password for the database, so that it is not part of the URL
    #[arg(help_heading = HEADING, long, env = "ORLOP_RECORDS_PASSWORD_FILE", value_name = "FILE")]
    pub records_password_file: Option<PathBuf>,

    /// Keep blobs in this object store: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    ///
    /// Credentials are taken from where the tools of that store have them: the environment, web identity, or the
    /// machine.
    #[arg(help_heading = HEADING, long, env = "ORLOP_OBJECTS", value_name = "URL")]
    pub objects: Option<String>,

    /// An option of the object store (repeatable), such as region=eu-west-1 or virtual_hosted_style_request=true
    ///
    /// One option a flag; in the environment, each on a line of its own.
    #[arg(
        help_heading = HEADING,
        long,
        env = "ORLOP_OBJECTS_OPTION",
        value_delimiter = '\n',
        value_name = "NAME=VALUE"
    )]
    pub objects_option: Vec<ObjectsOption>,

    /// Keep what is pulled in this directory too, so that it is read from the object store once
    ///
    /// A pull of what is there is sent from the local disk. The directory is created if it does not exist, and belongs to
    /// one server; to remove it while no server runs loses nothing.
    #[arg(help_heading = HEADING, long, env = "ORLOP_OBJECT_CACHE", value_name = "DIRECTORY")]
    pub object_cache: Option<PathBuf>,

    /// How many bytes that directory may have; what has not been pulled for longest goes first
    #[arg(
        help_heading = HEADING,
        long,
        env = "ORLOP_OBJECT_CACHE_SIZE",
        default_value = "10GiB",
        value_name = "SIZE",
        value_parser = size
    )]
    pub object_cache_size: ByteSize,

    /// Trust these authorities (PEM) too, for the database and the object store
    #[arg(help_heading = HEADING, long, env = "ORLOP_STORAGE_CA", value_name = "FILE")]
    pub storage_ca: Option<PathBuf>,
}

/// An option of an object store.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct ObjectsOption {
    name: String,
    value: String,
}

impl ObjectsOption {
    /// Its name and its value.
    pub fn pair(&self) -> (String, String) {
        (self.name.clone(), self.value.clone())
    }
}

impl FromStr for ObjectsOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self { name: name.into(), value: value.into() }),
            _ => Err(format!("`{text}` is not of the form NAME=VALUE")),
        }
    }
}

impl TryFrom<String> for ObjectsOption {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What a host that shares its storage is given.
#[derive(Clone, Debug)]
pub struct Engines {
    /// The URL of the database.
    pub records: String,
    /// A file with the password for it.
    pub password_file: Option<PathBuf>,
    /// The URL of the object store.
    pub objects: String,
    /// Options of the object store: names and values.
    pub options: Vec<(String, String)>,
    /// A file with certificates to trust.
    pub ca: Option<PathBuf>,
    /// Where what is pulled is kept too.
    pub cache: Option<CacheSettings>,
}

/// A directory of this machine for what is pulled from an object store.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// Where it is.
    pub directory: PathBuf,
    /// How many bytes it may have.
    pub size: u64,
}

impl Engines {
    /// The same for a command that does something beside a server: without the cache, which that server has.
    #[must_use]
    pub fn without_cache(self) -> Self {
        Self { cache: None, ..self }
    }
}

impl EngineSettings {
    /// What is to be used in the place of a data directory, if anything is.
    ///
    /// # Errors
    ///
    /// When only one of the two is named.
    pub fn engines(&self) -> Result<Option<Engines>, String> {
        match (&self.records, &self.objects) {
            (None, None) if self.object_cache.is_some() => {
                Err("object-cache is set and objects is not: it is for what is pulled from an object store".into())
            }
            (None, None) => Ok(None),
            (Some(records), Some(objects)) => Ok(Some(Engines {
                records: records.clone(),
                password_file: self.records_password_file.clone(),
                objects: objects.clone(),
                options: self.objects_option.iter().map(ObjectsOption::pair).collect(),
                ca: self.storage_ca.clone(),
                cache: self
                    .object_cache
                    .clone()
                    .map(|directory| CacheSettings { directory, size: self.object_cache_size.as_u64() }),
            })),
            (Some(_), None) => Err("records is set and objects is not: several servers share both".into()),
            (None, Some(_)) => Err("objects is set and records is not: several servers share both".into()),
        }
    }
}
