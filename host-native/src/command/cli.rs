//! The command line. Every flag has an environment variable and a key in the [configuration file](super::config).

mod access;
mod activity;
mod browse;
mod copy;
mod deleted;
mod exchange;
mod import;
mod integrity;
mod mirrors;
mod retention;
mod status;
mod sync;
mod token;
mod transfer;
mod trust;
mod usage;
mod users;

use clap::{Args, Parser, Subcommand};
use orlop_core::Config;

pub use self::access::{Access, AccessCommand, Explain};
pub use self::activity::Activity;
pub use self::browse::{Compare, List, Search, Show};
pub use self::copy::Copy;
pub use self::deleted::{Delete, Deleted, Protect, Purge, Undelete, Unprotect};
pub use self::exchange::{
    Export, ExportCommand, Exported, ExportedTree, How, ImportedArchive, ImportedOci, ImportedRegistry, Reaching, What,
};
pub use self::import::{Configuration, Distribution, Import, ImportCommand, S3, Taking};
pub use self::integrity::{Blob, Stored};
pub use self::mirrors::{Mirror, MirrorCommand};
pub use self::retention::{Retention, RetentionCommand};
pub use self::status::Status;
pub use self::sync::{Sync, SyncCommand};
pub use self::token::{Created, ListedTokens, Revoked, Token, TokenAction, TokenCommand};
pub use self::transfer::{Migrate, Move, Place};
pub use self::usage::Usage;
pub use self::users::{Listed, Named, Removed, User, UserCommand};
use crate::settings::{Data, File, Options, Policy, Settings, Storage};

/// A container registry for docker, podman, containerd, skopeo, crane, oras, helm and other OCI clients.
#[derive(Debug, Parser)]
#[command(name = "orlop", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The command to run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    ///
    /// Sizes are bytes or have a unit: 64MiB, 10GB. Times have a unit: 90s, 6h, 7d. Each setting can be given as a flag,
    /// as an environment variable or in a TOML file: a flag wins over the environment, the environment over the file.
    Serve(Box<Settings>),
    /// Collect garbage: remove abandoned uploads, unused blobs, and untagged manifests that are too old
    ///
    /// A server that has the data directory open collects its garbage by its own settings, while it goes on serving.
    /// Without a server, the command collects it itself, by the settings given here.
    #[command(visible_alias = "sweep")]
    Gc(Gc),
    /// Make a backup of a running registry, in its data directory
    ///
    /// The backup is a data directory, DIRECTORY/backup, with the state of one moment. It replaces the backup before it.
    /// Copy it to another machine from there; to restore, put it in the place of the data directory. It shares its
    /// blobs with the registry: blobs that are deleted keep their space until the next backup, or until the backup is
    /// removed. Without a running server, copy the data directory itself.
    Backup(Backup),
    /// Read everything that is stored, and report what is damaged or missing
    ///
    /// Every blob and manifest is hashed and compared with its digest, and every tag and repository is looked up in the
    /// records. Nothing is changed. A server that has the data directory open does it while it goes on serving. Of a
    /// database and an object store it is said first how they stand: versions, standbys, latency, clocks, and what the
    /// store was tried for. The exit status is 1 when something is wrong.
    Check(Stored),
    /// Read everything that is stored now, and put what is damaged out of use
    ///
    /// A server does that by itself, slowly (--scrub-rate, --scrub-period). What is damaged is as if it were not there, so
    /// that the next push of an image that has it, or a mirror, brings it again. The exit status is 1 if something was found
    /// that was not known to be damaged.
    Scrub(Stored),
    /// List what is damaged and out of use, and the images that need it
    Damaged(Stored),
    /// Print where the bytes of a blob are, and which repositories hold it
    Blob(Blob),
    /// Copy an image between registries, OCI image layouts, and archives of these or of `docker save`
    ///
    /// Manifests are copied byte by byte as they are, so digests and signatures stay valid. Blobs that are there are not
    /// moved again, and those of another repository of the same registry are mounted. An upload or download that breaks
    /// off is gone on with. When something fails, all else is copied, and the same command goes on with the rest.
    ///
    /// The exit status is 0 when all was copied, 2 when the command line is wrong, 3 when SRC has no such image or
    /// platform, 4 when a registry refuses the login or does not allow the copy, 5 when a registry cannot be reached, 6
    /// when content of SRC is missing or damaged, 7 when DST refuses the image or cannot be written to, 8 when several of
    /// these are the case, 1 for anything else, and 128 and the number of the signal when one ends the copy.
    Copy(Box<Copy>),
    /// Take over what another registry has
    Import(Import),
    /// Take whole repositories out: as an OCI image layout, or as a data directory that distribution serves
    Export(Export),
    /// Copy a whole registry between the data directory and a database with an object store
    ///
    /// `orlop move --to shared` copies from --data to --records and --objects, `orlop move --to directory` the other way.
    /// No server may use either of them meanwhile. The target is empty, or has the part that an earlier run has copied:
    /// a run that was interrupted is gone on with. At the end all records of both are compared, and all bytes of the copy
    /// are read and hashed; before that, no server starts on it. The source stays as it is.
    Move(Move),
    /// Change what is stored to the format of this version of Orlop
    ///
    /// Servers never do that by themselves. A version serves its own format and the one before, so upgrade all servers
    /// first, one after the other, and run this once when all are of the new version. Then older versions are refused.
    Migrate(Migrate),
    /// List what mirrors have, fetch images before a client does, or evict them
    ///
    /// A server that has the data directory open does it by its own settings. Without one, the command does it itself, by
    /// the settings given here.
    Mirror(Mirror),
    /// Copy repositories from and to other registries, as the configuration has it
    ///
    /// Each `[[sync]]` of the configuration says what is copied from where to where. A server runs them when they are due;
    /// this runs them now, and says how they stand.
    Sync(Sync),
    /// Show what the rules of retention would delete and why, and delete it
    ///
    /// Each `[[retention]]` of the configuration says which tags of which repositories stay. A server deletes the others
    /// regularly; more than 20 % of a repository only once somebody has agreed.
    Retention(Retention),
    /// List repositories, or the tags of one
    ///
    /// With their sizes, times and platforms, as the console shows them. A server that has the data directory open is asked;
    /// without one, the command reads it itself.
    List(List),
    /// Find repositories and tags by a part of their names
    ///
    /// Repositories come first, then tags, each in the order of the names of repositories. Upper and lower case are the same.
    Search(Search),
    /// Show what is known of an image
    ///
    /// Its digest, tags, layers or images, what refers to it, and with --json also its config, history and annotations.
    Show(Show),
    /// Compare two images
    ///
    /// Which layers they share and which only one of them has, with sizes and the commands that made them; and where their
    /// configs and annotations differ: what only the first has stands behind `-`, what only the second has behind `+`.
    Compare(Compare),
    /// Delete a tag, a manifest, or a whole repository
    ///
    /// As a client does: it can be undeleted for as long as `undelete-within` says, and what is protected stays. A manifest is
    /// deleted with the tags that name it. Garbage collection removes a repository in which nothing is left.
    Delete(Delete),
    /// List what was deleted and can be undeleted
    ///
    /// What clients, retention and garbage collection delete is kept for as long as `undelete-within` says. Meanwhile it can
    /// be neither pulled nor listed by clients. A server that has the data directory open is asked; without one, the command
    /// reads it itself.
    Deleted(Deleted),
    /// Bring back a tag or manifest that was deleted
    ///
    /// A tag comes back with all that it named; a manifest with the tags that went with it, its place among the referrers
    /// and in lists of platforms, and the images that it lists.
    Undelete(Undelete),
    /// Remove a tag or manifest at once and for good, with the blobs that nothing else needs
    ///
    /// Such as a secret that was pushed by mistake, deleted or not. Nothing is kept for `orlop undelete`, for clients in the
    /// middle of a push, or for a database that is restored. What something else needs stays, and is printed.
    Purge(Purge),
    /// Protect tags and manifests from being deleted
    ///
    /// Neither clients nor retention, garbage collection or `orlop purge` delete what is protected, nor what it is made of. A
    /// push may still move a protected tag; a rule of access that denies `overwrite-tag` prevents that.
    Protect(Protect),
    /// Let tags and manifests be deleted again
    Unprotect(Unprotect),
    /// Print what each repository takes, and how full quotas are
    ///
    /// The bytes of a repository are those of its blobs, manifests and open uploads, as quotas count them. Unshared are
    /// those that are freed when it is deleted: no other repository holds them. A server that has the data directory open
    /// reports while it goes on serving, by its own settings. Without one, the command reads it itself, by the settings
    /// given here.
    Usage(Usage),
    /// Print what happened: pushes, deletes, what is damaged, and quotas that are exceeded
    ///
    /// What happened last comes first. It is kept for as long as `activity-lifetime` says. A server that has the data
    /// directory open is asked; without one, the command reads it itself.
    Activity(Activity),
    /// Print what is stored, and how jobs stand: garbage collection, scrubs, syncs and others
    ///
    /// A server that has the data directory open is asked; without one, the command looks itself.
    Status(Status),
    /// Check or print the settings
    Config(Configure),
    /// Manage the users of the password file
    User(User),
    /// Manage the API tokens that programs send in the place of a password
    ///
    /// A server that has the data directory open is asked; without one, the command does it itself.
    Token(Token),
    /// Explain what a user may do
    Access(Access),
    /// Make the running server read its settings again: users, rules, limits, webhooks, what to log
    ///
    /// No connection is dropped. If a setting is wrong, the server keeps all settings that it has. Settings that need a
    /// restart, such as addresses, are named.
    Reload(Box<Settings>),
}

/// Check or print the settings.
#[derive(Debug, Args)]
pub struct Configure {
    /// The command to run.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// Check or print the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the settings and the files they name, as `orlop serve` does before it starts
    Check(Box<Settings>),
    /// Print every setting, its value, and where it was set
    Show(Box<Settings>),
}

/// Collect garbage once.
#[derive(Debug, Args)]
pub struct Gc {
    /// Remove nothing; print what would be removed, why, and how much space it takes
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    file: File,

    /// Where everything is kept, and what is logged.
    #[command(flatten)]
    pub storage: Storage,

    #[command(flatten)]
    policy: Policy,
}

/// Back up.
#[derive(Debug, Args)]
pub struct Backup {
    #[command(flatten)]
    file: File,

    /// The data directory.
    #[command(flatten)]
    pub data: Data,
}

impl Gc {
    /// How the registry is to behave.
    pub fn config(&self) -> Config {
        self.policy.config()
    }

    /// How the storage is to be opened.
    pub fn options(&self) -> Options {
        self.storage.options(&self.policy)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn leaves(command: &clap::Command, found: &mut Vec<clap::Command>) {
        match command.get_subcommands().next() {
            None => found.push(command.clone()),
            Some(_) => command.get_subcommands().for_each(|command| leaves(command, found)),
        }
    }

    /// A heading goes on until the next one, also over what only stands behind it.
    #[test]
    fn each_heading_of_the_help_lists_its_own_settings_and_nothing_else() {
        let mut found = Vec::new();
        leaves(&Cli::command(), &mut found);
        assert!(found.len() >= 10);
        let settings = Settings::command();
        for command in found {
            for argument in command.get_arguments() {
                let setting = settings.get_arguments().find(|setting| setting.get_id() == argument.get_id());
                let expected = setting.and_then(clap::Arg::get_help_heading);
                assert_eq!(argument.get_help_heading(), expected, "{} {}", command.get_name(), argument.get_id());
            }
        }
        let headed = |id: &str| settings.get_arguments().find(|s| s.get_id() == id).and_then(|s| s.get_help_heading());
        for (id, heading) in [
            ("config", None),
            ("addr", Some("Service")),
            ("no_console", Some("Service")),
            ("no_playground", Some("Service")),
            ("data", Some("Storage")),
            ("gc_interval", Some("Content")),
            ("untagged_lifetime", Some("Content")),
            ("max_requests", Some("Connections and requests")),
            ("rule", Some("Access control")),
            ("plain_addr", Some("TLS")),
            ("quota", Some("Limits for each client")),
            ("webhook", Some("Monitoring")),
        ] {
            assert_eq!(headed(id), heading, "{id}");
        }
    }
}
