//! What an operator can decide, and every limit with its reason.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::base_url::BaseUrl;
use crate::event::Listener;
use crate::mirror::Mirror;
pub use crate::pattern::Pattern;
use crate::retention::Rule;

/// The largest manifest in bytes. The specification asks for at least 4 megabytes, peers take 4 MiB (SPEC K13).
pub const MANIFEST_LIMIT: u64 = 4 << 20;

/// The largest image configuration that is read to learn a platform, in bytes. Real ones have a few kilobytes.
pub(crate) const IMAGE_CONFIG_LIMIT: u64 = 4 << 20;

/// How many different blobs and manifests one manifest may name; each is a record. Real ones name some hundred.
pub(crate) const MANIFEST_NEEDS: usize = 8192;

/// How many of the blobs that a manifest lacks an error lists.
pub(crate) const MISSING_LISTED: usize = 256;

/// How many bytes the description of a platform has at most; longer ones are no platform (SPEC J6).
pub(crate) const PLATFORM_BYTES: usize = 256;

/// How many images a maintained list has at most: of more platforms, the longest unchanged goes.
pub(crate) const LIST_IMAGES: usize = 64;

/// How many tags a delete takes away with one commit. Others need not wait for the rest.
pub(crate) const TAGS_A_COMMIT: usize = 256;

/// How many chunks an upload may have; each is an object and two records until it is finished. At 1 MiB a chunk, the
/// smallest that clients send, it is a blob of 64 GiB.
pub(crate) const UPLOAD_CHUNKS: u32 = 65_536;

/// How many maintained lists are written anew when an image that they had is undeleted; the others stay without it.
pub(crate) const LISTS_MENDED: usize = 256;

/// How many protect marks there are at most. All are read with each delete, and are one record.
pub const PROTECT_MARKS: usize = 1000;

/// An object of this many bytes is not worth copying to have one less.
pub(crate) const LARGE_OBJECT: u64 = 4 << 20;

/// How many bytes are joined at most, where that makes few enough objects.
pub(crate) const JOINED_OBJECT: u64 = 64 << 20;

/// How many objects a blob has about at most, whatever its size: their places are read with each request for it.
pub(crate) const MANY_OBJECTS: u64 = 4096;

/// The largest blob of several objects that is made one in the background: to copy one takes some minutes.
pub(crate) const LARGEST_GATHERED: u64 = 64 << 30;

/// How many objects one `Erase` removes at most.
pub(crate) const ERASE_BATCH: usize = 1000;

/// How long it is remembered that an upload was finished: a client that did not get the answer asks again within
/// minutes.
pub(crate) const FINISHED_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How many repositories a page of the catalog has when the client names no number, and at most:
/// more come with a `Link` (SPEC O2).
pub(crate) const CATALOG_PAGE: (usize, usize) = (100, 1000);

/// How many entries a page of the API for people has when no number is asked for, and at most (SPEC AA1).
#[cfg(feature = "api")]
pub(crate) const BROWSED: (usize, usize) = (50, 100);

/// How many records a page of the API reads at most for what is told beside names: numbers that take more are left out, and
/// a search goes on with the next page.
#[cfg(feature = "api")]
pub(crate) const BROWSE_READS: usize = 100_000;

/// How many tags and manifests are deleted at most with one call that empties a repository: a client asks again, and so sees
/// how it goes on.
#[cfg(feature = "api")]
pub(crate) const EMPTIED: usize = 1000;

/// How many records a page of folders reads at most to count what is in them: of folders behind that it tells less (SPEC AD2).
#[cfg(feature = "api")]
pub(crate) const BROWSE_FOLDERS: usize = 20_000;

/// How many bytes of manifests a page of the API reads: of what is behind that it tells less (SPEC AA7).
#[cfg(feature = "api")]
pub(crate) const BROWSE_BYTES: u64 = 4 << 20;

/// How many manifests that indexes list a page of the API reads, and how many of one index it tells of.
#[cfg(feature = "api")]
pub(crate) const BROWSE_CHILDREN: (usize, usize) = (1000, 50);

/// How many bytes the config of an image has at most that the API tells; more than any that is used.
#[cfg(feature = "api")]
pub(crate) const BROWSE_CONFIG: u64 = 1 << 20;

/// How many tags one answer has at most; more come with a `Link` (SPEC N6). It bounds an answer to 1.3 MB.
pub(crate) const TAGS_PAGE: usize = 10_000;

/// How many records one `Scan` asks for: enough to spread its cost, few enough to hold.
pub(crate) const SCAN_PAGE: usize = 1000;

/// How many bytes of values one `Scan` asks for: a page of referrers (SPEC M7).
pub(crate) const SCAN_BYTES: usize = 4 << 20;

/// How many tags one `PUT /manifests/<digest>?tag=…` may make. The specification asks for at least 10 (SPEC K15).
pub(crate) const TAG_PARAMETERS: usize = 64;

/// How many ranges of a blob one request may ask for; more are answered with the whole blob (SPEC C10). Clients
/// of zstd:chunked images ask for some hundred.
pub(crate) const RANGES: usize = 1024;

/// How often a call reads again after a conflict. A conflict means that another call got its way, so as many
/// calls as this may fight for one tag before one of them is told to come again.
pub(crate) const ATTEMPTS: usize = 256;

/// How many events are told at once.
pub(crate) const EVENTS_PAGE: usize = 100;

/// How many events one listener's queue holds, some hundred bytes each; what happens while it is full is not told.
pub(crate) const EVENTS_QUEUED: u64 = 10_000;

/// How long a lease lasts without being renewed: how long a job rests whose host was killed. A holder renews it when
/// half of that is over.
pub const LEASE: Duration = Duration::from_secs(60);

/// A lease that ends later than this from now was written by a host whose clock was wrong, and is taken for one that
/// has ended: else its job would rest until then. Clocks of hosts in order differ by less than a lease.
pub(crate) const LEASE_AHEAD: Duration = LEASE.saturating_mul(2);

/// How often a fetch is begun again at the place where it broke off, without a byte in between.
pub(crate) const FETCH_ATTEMPTS: usize = 4;

/// How often at most it is written down that an upstream was asked where a tag is.
pub(crate) const CHECKED_COARSELY: Duration = Duration::from_secs(60);

/// How many pages of referrers an upstream is asked for, of 4 MiB each at most: what has more never ends.
pub(crate) const REFERRER_PAGES: usize = 256;

/// How many indexes that list an image are read to learn its platform; one that more list is fetched whatever it is for. An
/// image is seldom in more than one.
pub(crate) const PLATFORM_INDEXES: usize = 16;

/// How many tags an upstream is asked for at once when it is to list them.
pub(crate) const LISTED_TAGS: usize = 1000;

/// How many pages of tags an upstream is asked for.
pub(crate) const LISTED_PAGES: usize = 1000;

/// How often at most it is written down that a manifest, a tag or a blob of a mirror was pulled where nothing is counted.
pub(crate) const PULLED_COARSELY: Duration = Duration::from_secs(3600);

/// How many repositories of a quota for all of them together are added up for each push. Of more, the sum is kept for a
/// few seconds while it is far from the quota: a push would otherwise read some hundred pages of counters.
pub(crate) const SUMMED: usize = SCAN_PAGE;

/// For how long such a sum is good.
pub(crate) const SUM_LIFETIME: Duration = Duration::from_secs(10);

/// How many bytes of warnings an answer has at most (SPEC A10).
pub(crate) const WARNINGS: usize = 4096;

/// How many tags of a repository, and how many manifests, retention looks at: they are in memory together, with some
/// hundred bytes each.
pub(crate) const RETENTION_MOST: usize = 500_000;

/// How many pulls are noted by one commit, of two records each at most.
pub(crate) const PULLS_A_COMMIT: usize = 128;

/// Of how many users it is known that they have pulled something.
pub const PULLERS: usize = 8;

/// Into how many parts the time is divided after which a session ends that nobody uses: that it is used is written down
/// once in each.
#[cfg(feature = "api")]
pub(crate) const RENEWED: u32 = 16;

/// How long an API token that has ended is listed: who wonders why a program fails finds it there.
#[cfg(feature = "api")]
pub(crate) const ENDED_TOKEN: Duration = Duration::from_secs(30 * 24 * 3600);

/// How many records a page of activities reads at most: what is asked for may be rare, and what the caller may not see is
/// passed over.
pub(crate) const ACTIVITY_READS: usize = 2000;

/// How long an event is kept for a listener that does not take it.
pub const EVENT_LIFETIME: Duration = Duration::from_secs(3 * 24 * 3600);

/// What an operator decides. [`Default`] is what most want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The largest manifest, in bytes; larger ones get 413.
    pub manifest_limit: u64,
    /// The largest blob, in bytes; larger ones get 413. No limit by default.
    pub blob_limit: u64,
    /// Accepts manifests whose blobs or children the repository does not have (SPEC K9).
    pub allow_sparse: bool,
    /// Lets clients delete tags, manifests and blobs. Without it they get 405 (SPEC D4, L2, L5).
    pub allow_delete: bool,
    /// Lets a mount without `from` find the blob in any repository (SPEC E12). Whoever knows a digest can then
    /// fetch the blob: switch it off where repositories have different readers.
    pub mount_from_anywhere: bool,
    /// Repositories in which a tag becomes the list of the images pushed to it, as soon as there are two
    /// platforms. Everywhere else the list is there for clients that accept nothing but lists.
    pub assemble: Vec<Pattern>,
    /// Where clients find the registry, if `Location` is to be an absolute URL below it. Without it, the base that
    /// comes with a request counts; without either, `Location` is relative (SPEC E1).
    pub external_url: Option<BaseUrl>,
    /// How long an upload session may rest before garbage collection removes it (SPEC I2).
    pub upload_lifetime: Duration,
    /// How long a blob that no manifest uses stays, counted from when it was last pushed or mounted or the last
    /// manifest that used it was deleted: time enough for a client to push the manifest that needs it.
    pub blob_grace: Duration,
    /// How long what was deleted can be undeleted: a tag, or a manifest. `None` and zero delete at once. Meanwhile it is
    /// not there for clients, and its bytes stay.
    pub undelete_within: Option<Duration>,
    /// How long a manifest that neither a tag nor an index names and that refers to nothing stays; `None` is for ever.
    pub untagged_lifetime: Option<Duration>,
    /// Whether every blob that is sent whole is held against its digest while it is sent, and not only those that were
    /// imported and that nobody has read since.
    pub verify_reads: bool,
    /// Which tags stay, and how long what no tag needs (SPEC X40). They are in order: [`check`](crate::retention::check).
    pub retention: Vec<Rule>,
    /// How long an object stays after the record that named it is gone, and after it was found that no record names it.
    /// Records that are restored to a moment no longer ago than that find their bytes. With zero, which is for records and
    /// objects that are only restored together, objects are erased at once.
    pub keep_erased: Duration,
    /// How much repositories may hold.
    pub quotas: Vec<Quota>,
    /// Who wants to know what happens.
    pub listeners: Vec<Listener>,
    /// How long it is kept what happened, for those who look it up. Zero keeps nothing.
    pub activity_lifetime: Duration,
    /// How many of these are kept, whatever their age, each with some hundred bytes: of more, the oldest go with the next
    /// pruning.
    pub activities: usize,
    /// Longer than any call can live. Objects that no record names and that are older than this are garbage. All hosts of
    /// one storage must have the same: [`Registry::agree`](crate::Registry::agree) sees to that. Of everything else here,
    /// hosts may differ without harm: what one refuses another may take, and of the times for which something is kept
    /// the shortest counts.
    pub call_lifetime: Duration,
    /// The largest body that is kept among the records, in bytes, when it is the first of its upload. It saves a file,
    /// its directory and a wait for the disk; half of the layers that registries serve and nearly every image
    /// configuration are smaller than the default.
    pub small_object: usize,
    /// How many objects a blob has before small ones are joined. To send one costs as much as to send 20 KiB, and its
    /// place in the record has 70 bytes.
    pub blob_objects: usize,
    /// How many tags, or manifests, one commit changes or brings back at most where a call is about very many: it bounds a
    /// commit, and the tags that one event names.
    pub tags_a_commit: usize,
    /// Blobs of several objects that are to become one, each in a call of its own
    /// ([`Registry::gather`](crate::Registry::gather)). None by default.
    pub gathered: Option<Gathered>,
    /// How long a session of the web page lasts that nobody uses; one that is used may end a sixteenth sooner.
    pub sign_in_idle: Duration,
    /// How long a session lasts at most.
    pub sign_in_lifetime: Duration,
    /// How many sessions a user has at most, each a record of some hundred bytes. One more takes the place of the one that
    /// has rested for longest.
    pub sign_ins: u8,
    /// How many API tokens a user has at most, each a record of some kilobytes at most.
    pub api_tokens: u8,
    /// Repositories that stand in front of those of other registries.
    pub mirrors: Vec<Mirror>,
    /// What this registry is called in `Via`, by which one that mirrors itself by way of others notices it: something that
    /// no other registry is called, and all hosts of this one are.
    pub via: String,
}

impl Default for Config {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            manifest_limit: MANIFEST_LIMIT,
            blob_limit: u64::MAX,
            allow_sparse: false,
            allow_delete: true,
            mount_from_anywhere: true,
            assemble: Vec::new(),
            external_url: None,
            upload_lifetime: 7 * 24 * HOUR,
            blob_grace: 24 * HOUR,
            undelete_within: None,
            untagged_lifetime: None,
            verify_reads: false,
            retention: Vec::new(),
            keep_erased: Duration::ZERO,
            quotas: Vec::new(),
            listeners: Vec::new(),
            activity_lifetime: Duration::ZERO,
            activities: 100_000,
            call_lifetime: 24 * HOUR,
            small_object: 16 << 10,
            blob_objects: 1024,
            tags_a_commit: TAGS_A_COMMIT,
            gathered: None,
            sign_in_idle: 12 * HOUR,
            sign_in_lifetime: 7 * 24 * HOUR,
            sign_ins: 32,
            api_tokens: 100,
            mirrors: Vec::new(),
            via: "orlop".into(),
        }
    }
}

/// Blobs that are to be one object each, because clients are sent to where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// Those that one of these repositories holds.
    pub repositories: Vec<Pattern>,
    /// Those that have at least so many bytes.
    pub from: u64,
}

/// How much some repositories may hold. A repository is held to every quota that speaks of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// What it is called in answers, events and reports: lower-case letters, digits and dashes; empty for one without a
    /// name.
    pub name: String,
    /// The repositories it speaks of. Those of mirrors are never among them: they grow by what is pulled.
    pub repositories: Vec<Pattern>,
    /// Whether it is for all of them together; otherwise each of them is held against it by itself.
    pub together: bool,
    /// From so many bytes on a push is answered with a warning, and who listens is told once. No limit by default.
    pub soft: u64,
    /// The bytes of all blobs, manifests and open uploads of a repository, those counted too that others have as well:
    /// what would exceed them is refused. No limit by default.
    pub bytes: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { name: String::new(), repositories: Vec::new(), together: false, soft: u64::MAX, bytes: u64::MAX }
    }
}
