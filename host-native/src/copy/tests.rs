//! Copies between places in memory and layouts: what moves, what is refused, what is told.

mod limits;

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use orlop_core::digest::{Algorithm, Digest};
use tempfile::TempDir;

use super::*;
use crate::remote::Platform;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A source in memory, whose blobs may break off.
#[derive(Default)]
struct Memory {
    manifests: HashMap<String, Found>,
    blobs: HashMap<Digest, Bytes>,
    /// After how many bytes a blob breaks off, each time.
    breaks: Option<usize>,
    /// Why there are no blobs.
    fails: Option<Failure>,
    /// From where blobs were asked for.
    asked: Mutex<Vec<u64>>,
}

struct Piece(Vec<Result<Bytes, Failure>>);

#[async_trait]
impl Blob for Piece {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        self.0.pop().transpose()
    }
}

#[async_trait]
impl Source for Memory {
    async fn manifest(&self, reference: &str) -> Result<Found, Failure> {
        self.manifests.get(reference).cloned().ok_or(Failure::Absent)
    }

    async fn blob(&self, blob: &Descriptor, from: u64) -> Result<Box<dyn Blob>, Failure> {
        self.asked.lock().unwrap().push(from);
        if let Some(failure) = &self.fails {
            return Err(failure.clone());
        }
        let bytes = self.blobs.get(&blob.digest).ok_or(Failure::Absent)?.slice(usize::try_from(from).unwrap()..);
        Ok(Box::new(match self.breaks {
            Some(after) if after <= bytes.len() => {
                Piece(vec![Err(Failure::Unreachable("cut".into())), Ok(bytes.slice(..after))])
            }
            _ => Piece(vec![Ok(bytes)]),
        }))
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Failure> {
        let of = |found: &&Found| {
            String::from_utf8_lossy(&found.bytes).contains(&format!("\"subject\":{{\"digest\":\"{subject}"))
        };
        Ok(self.manifests.values().filter(of).map(|found| descriptor(&found.media_type, &found.bytes)).collect())
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.into(),
        digest: Algorithm::Sha256.digest(bytes),
        size: bytes.len() as u64,
        platform: None,
        artifact_type: None,
        annotations: None,
        urls: None,
    }
}

impl Memory {
    fn add_blob(&mut self, bytes: &str) -> String {
        let described = descriptor("application/octet-stream", bytes.as_bytes());
        self.blobs.insert(described.digest, Bytes::from(bytes.to_owned()));
        serde_json::to_string(&described).unwrap()
    }

    fn add(&mut self, tag: Option<&str>, media_type: &str, text: String) -> Found {
        let digest = Algorithm::Sha256.digest(text.as_bytes());
        let found = Found { media_type: media_type.into(), digest, bytes: text.into() };
        self.manifests.insert(digest.to_string(), found.clone());
        self.manifests.extend(tag.map(|tag| (tag.to_owned(), found.clone())));
        found
    }

    /// An image of these layers, for that machine.
    fn image(&mut self, tag: Option<&str>, layers: &[&str], subject: Option<&Found>) -> Found {
        let config = self.add_blob(&format!("{layers:?}"));
        let layers: Vec<String> = layers.iter().map(|layer| self.add_blob(layer)).collect();
        let subject = subject.map(|of| {
            format!(
                r#","subject":{{"digest":"{}","mediaType":"{}","size":{}}}"#,
                of.digest,
                of.media_type,
                of.bytes.len()
            )
        });
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{config},"layers":[{}]{}}}"#,
            layers.join(","),
            subject.unwrap_or_default()
        );
        self.add(tag, IMAGE, text)
    }

    /// An index of two images, of which one refers to a signature.
    fn index() -> (Self, Found, Found) {
        let mut memory = Self::default();
        let one = memory.image(None, &["base", "one"], None);
        let two = memory.image(None, &["base", "two"], None);
        let children = [(&one, "amd64"), (&two, "arm64")].map(|(of, architecture)| {
            let platform = Some(Platform {
                os: "linux".into(),
                architecture: architecture.into(),
                variant: None,
                os_version: None,
            });
            serde_json::to_string(&Descriptor { platform, ..descriptor(IMAGE, &of.bytes) }).unwrap()
        });
        let text = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, children.join(","));
        let index = memory.add(Some("v1"), INDEX, text);
        memory.image(None, &["signature"], Some(&two));
        (memory, index, two)
    }
}

/// Counts what it is told.
#[derive(Default)]
struct Counted {
    planned: Mutex<Vec<(usize, u64)>>,
    moved: Mutex<u64>,
}

impl Told for Counted {
    fn planned(&self, blobs: usize, bytes: u64) {
        self.planned.lock().unwrap().push((blobs, bytes));
    }

    fn moved(&self, bytes: u64) {
        *self.moved.lock().unwrap() += bytes;
    }

    fn done(&self, _: &Descriptor, _: How) {}
}

fn copying<'a>(source: &'a dyn Source, destination: &'a dyn Destination, told: &'a Counted) -> Copying<'a> {
    Copying {
        source,
        destination,
        platform: None,
        platforms: &[],
        referrers: false,
        mends: false,
        dry_run: false,
        told,
    }
}

fn counts(copied: &Copied) -> (usize, usize, usize) {
    assert_eq!(copied.failures, Vec::<String>::new());
    (copied.manifests, copied.blobs, copied.there)
}

#[tokio::test]
async fn an_index_is_copied_byte_by_byte_and_a_second_time_nothing_moves() {
    let (memory, index, _) = Memory::index();
    let (directory, told) = (TempDir::new().unwrap(), Counted::default());
    let layout = Layout::create(&directory.path().join("new")).await.unwrap();
    let copied = copying(&memory, &layout, &told).copy("v1", Some("v1")).await.unwrap();
    // Two configurations, three layers, of which both images have one.
    assert_eq!(counts(&copied), (3, 5, 0));
    assert_eq!((copied.digest, told.planned.lock().unwrap()[0]), (index.digest, (5, copied.bytes)));
    assert_eq!(*told.moved.lock().unwrap(), copied.bytes);
    let stored = layout.manifest("v1").await.unwrap();
    assert_eq!((stored.bytes, stored.media_type.as_str()), (index.bytes.clone(), INDEX));
    let again = copying(&memory, &layout, &told).copy("v1", Some("v1")).await.unwrap();
    assert_eq!(counts(&again), (0, 0, 0));
    // Under another tag, and from one layout to another.
    let tagged = copying(&memory, &layout, &told).copy("v1", Some("v2")).await.unwrap();
    assert_eq!(counts(&tagged), (1, 0, 0));
    let other = Layout::create(&directory.path().join("other")).await.unwrap();
    assert_eq!(counts(&copying(&layout, &other, &told).copy("v2", None).await.unwrap()), (3, 5, 0));
    assert_eq!(other.manifest("").await.unwrap().bytes, index.bytes);
}

/// As when a registry has found a blob to be damaged: its manifest is there, and the blob is not.
#[tokio::test]
async fn a_blob_that_is_gone_comes_again_though_its_manifest_is_there() {
    let (memory, _, _) = Memory::index();
    let (directory, told) = (TempDir::new().unwrap(), Counted::default());
    let layout = Layout::create(directory.path()).await.unwrap();
    counts(&copying(&memory, &layout, &told).copy("v1", Some("v1")).await.unwrap());
    let lost = Algorithm::Sha256.digest(b"one");
    std::fs::remove_file(directory.path().join("blobs").join(lost.to_string().replace(':', "/"))).unwrap();
    let usual = copying(&memory, &layout, &told).copy("v1", Some("v1")).await.unwrap();
    assert_eq!((counts(&usual).1, layout.has_blob(&lost).await), (0, Ok(false)));
    let mends = || Copying { mends: true, ..copying(&memory, &layout, &told) };
    Copying { dry_run: true, ..mends() }.copy("v1", Some("v1")).await.unwrap();
    assert_eq!(layout.has_blob(&lost).await, Ok(false), "a dry run writes nothing");
    assert_eq!(counts(&mends().copy("v1", Some("v1")).await.unwrap()).1, 1);
    assert_eq!(layout.has_blob(&lost).await, Ok(true));
    assert_eq!(counts(&mends().copy("v1", Some("v1")).await.unwrap()).1, 0);
}

#[tokio::test]
async fn one_platform_of_an_index_is_an_image_with_what_refers_to_it() {
    let (memory, _, two) = Memory::index();
    let (directory, told) = (TempDir::new().unwrap(), Counted::default());
    let layout = Layout::create(directory.path()).await.unwrap();
    let platform = |text: &str| Some(parse_platform(text).unwrap());
    let of = |text: &str| Copying { platform: platform(text), referrers: true, ..copying(&memory, &layout, &told) };
    let copied = of("linux/arm64").copy("v1", Some("arm")).await.unwrap();
    assert_eq!(counts(&copied), (2, 5, 0));
    assert_eq!((copied.digest, layout.manifest("arm").await.unwrap().bytes), (two.digest, two.bytes));
    assert_eq!(layout.referrers(&two.digest).await.unwrap().len(), 1);
    let missing = of("linux/s390x").copy("v1", None).await.unwrap_err();
    assert_eq!(missing.reason, Reason::NotFound);
    assert!(missing.to_string().ends_with("has no such platform; it has linux/amd64, linux/arm64"), "{missing}");
}

#[tokio::test]
async fn nothing_is_written_by_a_dry_run() {
    let (memory, _, _) = Memory::index();
    let (directory, told) = (TempDir::new().unwrap(), Counted::default());
    let layout = Layout::create(directory.path()).await.unwrap();
    let dry = Copying { dry_run: true, ..copying(&memory, &layout, &told) };
    assert_eq!(counts(&dry.copy("v1", Some("v1")).await.unwrap()), (3, 5, 0));
    assert_eq!(layout.manifest("v1").await.err(), Some(Failure::Absent));
    assert_eq!(std::fs::read_dir(directory.path().join("blobs/sha256")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_blob_with_other_bytes_is_refused_and_all_else_is_copied() {
    for wrong in ["ONE", "on", "one more"] {
        let (mut memory, _, _) = Memory::index();
        let digest = Algorithm::Sha256.digest(b"one");
        memory.blobs.insert(digest, Bytes::from(wrong.to_owned()));
        let (directory, told) = (TempDir::new().unwrap(), Counted::default());
        let layout = Layout::create(directory.path()).await.unwrap();
        let copied = copying(&memory, &layout, &told).copy("v1", Some("v1")).await.unwrap();
        assert_eq!((copied.blobs, copied.manifests), (4, 1), "{wrong}");
        assert_eq!(Vec::from_iter(copied.reasons), [Reason::Damaged], "what is missing because of it has no reason");
        // The blob, its image, and the index.
        assert_eq!(copied.failures.len(), 3, "{:?}", copied.failures);
        assert!(copied.failures[0].starts_with(&format!("blob {digest}: the source has ")), "{:?}", copied.failures);
        assert!(copied.failures[1].contains(&format!("not written, since {digest} is missing")));
        assert!(!layout.has_blob(&digest).await.unwrap());
        assert_eq!(layout.has_manifest("v1").await, Ok(None));
        assert!(
            std::fs::read_dir(directory.path())
                .unwrap()
                .all(|entry| { !entry.unwrap().file_name().to_string_lossy().starts_with(".copying") })
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_breaks_off_is_gone_on_with_where_it_was() {
    let mut memory = Memory { breaks: Some(4), ..Memory::default() };
    memory.image(Some("v1"), &["abcdefghij"], None);
    let (directory, told) = (TempDir::new().unwrap(), Counted::default());
    let layout = Layout::create(directory.path()).await.unwrap();
    assert_eq!(counts(&copying(&memory, &layout, &told).copy("v1", Some("v1")).await.unwrap()), (1, 2, 0));
    let mut asked = memory.asked.lock().unwrap().clone();
    asked.sort_unstable();
    // The configuration, `["abcdefghij"]`, has 14 bytes and the layer 10.
    assert_eq!(asked, [0, 0, 4, 4, 8, 8, 12]);
    // Where all bytes had come before, none is asked for.
    let mut memory = Memory { breaks: Some(7), ..Memory::default() };
    memory.image(Some("v1"), &["klmnopq"], None);
    assert_eq!(counts(&copying(&memory, &layout, &told).copy("v1", Some("v1")).await.unwrap()), (1, 2, 0));
    let mut asked = memory.asked.lock().unwrap().clone();
    asked.sort_unstable();
    assert_eq!(asked, [0, 0, 7], "the configuration has 11 bytes and the layer 7");
}

#[tokio::test]
async fn a_referrer_that_is_there_but_not_listed_is_listed_by_the_next_copy() {
    let (memory, _, two) = Memory::index();
    let (directory, told) = (TempDir::new().unwrap(), Counted::default());
    let layout = Layout::create(directory.path()).await.unwrap();
    let copying = Copying { referrers: true, ..copying(&memory, &layout, &told) };
    assert_eq!(counts(&copying.copy("v1", Some("v1")).await.unwrap()), (4, 7, 0));
    // As a process leaves it that was killed between the two.
    let path = directory.path().join("index.json");
    let mut index: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    index["manifests"].as_array_mut().unwrap().retain(|entry| entry["annotations"].is_object());
    std::fs::write(&path, index.to_string()).unwrap();
    assert_eq!(layout.referrers(&two.digest).await.unwrap().len(), 0);
    assert_eq!(copying.copy("v1", Some("v1")).await.unwrap().manifests, 1);
    assert_eq!(layout.referrers(&two.digest).await.unwrap().len(), 1);
    assert_eq!(counts(&copying.copy("v1", Some("v1")).await.unwrap()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn copies_into_one_layout_at_once_lose_no_tag() {
    let directory = TempDir::new().unwrap();
    let into = directory.path().join("layout");
    let copies: Vec<_> = (0..8)
        .map(|copy| {
            let into = into.clone();
            tokio::spawn(async move {
                // Each one opens it itself, as a process of its own does.
                let (memory, _, _) = Memory::index();
                let layout = Layout::create(&into).await.unwrap();
                for tag in 0..10 {
                    let tag = format!("v{copy}-{tag}");
                    let copied = copying(&memory, &layout, &Counted::default()).copy("v1", Some(&tag)).await.unwrap();
                    assert_eq!(copied.failures, Vec::<String>::new());
                }
            })
        })
        .collect();
    for copy in copies {
        copy.await.unwrap();
    }
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(into.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 80);
}

/// Packs files into an archive.
fn archive(path: &std::path::Path, files: &[(&str, &[u8])], links: &[(&str, &str)]) {
    let mut archive = tar::Builder::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    for (name, to) in links {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Symlink);
        archive.append_link(&mut header, name, to).unwrap();
    }
    archive.finish().unwrap();
}

#[tokio::test]
async fn an_archive_of_docker_save_is_an_image() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("saved.tar");
    let list = br#"[{"Config":"c.json","RepoTags":["team/app:v1"],"Layers":["1/layer.tar","2/layer.tar"]}]"#;
    let config = br#"{"architecture":"amd64","os":"linux"}"#;
    let files: [(&str, &[u8]); 3] = [("manifest.json", list), ("./c.json", config), ("1/layer.tar", b"\x1f\x8bgz")];
    archive(&path, &files, &[("2/layer.tar", "../1/layer.tar")]);
    let saved = Archive::open(&path).await.unwrap();
    let layout = Layout::create(&directory.path().join("layout")).await.unwrap();
    for (reference, tag) in [("", "a"), ("team/app:v1", "b"), ("v1", "c")] {
        let copied = copying(&saved, &layout, &Counted::default()).copy(reference, Some(tag)).await.unwrap();
        assert_eq!(copied.failures, Vec::<String>::new());
    }
    let manifest: serde_json::Value = serde_json::from_slice(&layout.manifest("a").await.unwrap().bytes).unwrap();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    assert_eq!(manifest["layers"][1]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    assert_eq!(manifest["layers"][0]["digest"], Algorithm::Sha256.digest(b"\x1f\x8bgz").to_string());
    assert_eq!(layout.manifest("a").await.unwrap().digest, layout.manifest("c").await.unwrap().digest);
    assert_eq!(saved.manifest("other").await.err(), Some(Failure::Absent));
}

#[tokio::test]
async fn archives_are_written_and_read_again_byte_by_byte() {
    let (memory, index, two) = Memory::index();
    let (directory, told) = (TempDir::new().unwrap(), Counted::default());
    let path = directory.path().join("layout.tar");
    std::fs::write(&path, "older").unwrap();
    let write = async |format: Format, platform: Option<&str>, tag| {
        let packed = Packed::create(&path, format).await.unwrap();
        let platform = platform.map(|text| parse_platform(text).unwrap());
        let copied = Copying { platform, ..copying(&memory, &packed, &told) }.copy("v1", Some(tag)).await?;
        counts(&copied);
        packed.finish(&copied.digest).await.unwrap();
        Ok::<_, Failed>(std::fs::read(&path).unwrap())
    };
    let written = write(Format::Layout, None, "v2").await.unwrap();
    assert_eq!(Layout::in_archive(&path).await.unwrap().manifest("v2").await.unwrap().bytes, index.bytes);
    let layout = Layout::create(&directory.path().join("layout")).await.unwrap();
    let back = Layout::in_archive(&path).await.unwrap();
    assert_eq!(counts(&copying(&back, &layout, &told).copy("v2", Some("v2")).await.unwrap()), (3, 5, 0));
    assert_eq!(write(Format::Layout, None, "v2").await.unwrap(), written, "the same bytes each time");

    // An index cannot be loaded, nor an artifact; what was there stays.
    let docker = || Format::Docker(Some("team/app:v2".into()));
    let refused = write(docker(), None, "v2").await.unwrap_err();
    assert_eq!((refused.reason, refused.writing), (Reason::Refused, true));
    assert!(refused.to_string().ends_with("choose one of its images by --platform, of linux/amd64, linux/arm64"));
    assert!(write(docker(), Some("linux/arm64"), "v2").await.unwrap_err().to_string().contains("is another artifact"));
    assert_eq!(std::fs::read(&path).unwrap(), written);
    let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().starts_with(".copying")).count(), 0);
    drop(two);
}

#[tokio::test]
async fn an_archive_for_docker_load_lists_its_image() {
    let mut memory = Memory::default();
    memory.image(Some("v1"), &["base", "one"], None);
    // As builders call a configuration.
    let text = String::from_utf8(memory.manifests["v1"].bytes.to_vec()).unwrap();
    let text = text.replacen("application/octet-stream", "application/vnd.oci.image.config.v1+json", 1);
    let image = memory.add(Some("v1"), IMAGE, text);
    let (directory, told) = (TempDir::new().unwrap(), Counted::default());
    let path = directory.path().join("saved.tar");
    let packed = Packed::create(&path, Format::Docker(Some("team/app:v2".into()))).await.unwrap();
    let copied = copying(&memory, &packed, &told).copy("v1", Some("v2")).await.unwrap();
    packed.finish(&copied.digest).await.unwrap();
    let store = store::Store::archive(&path).await.unwrap();
    let list: serde_json::Value = serde_json::from_slice(&store.read("manifest.json", 1 << 20).await.unwrap()).unwrap();
    assert_eq!(list[0]["RepoTags"], serde_json::json!(["team/app:v2"]));
    let layers = list[0]["Layers"].as_array().unwrap();
    for (file, bytes) in [(&layers[0], "base"), (&layers[1], "one"), (&list[0]["Config"], r#"["base", "one"]"#)] {
        assert_eq!(store.read(file.as_str().unwrap(), 1 << 20).await.unwrap(), bytes);
    }
    let index: serde_json::Value = serde_json::from_slice(&store.read("index.json", 1 << 20).await.unwrap()).unwrap();
    let annotations = &index["manifests"][0]["annotations"];
    assert_eq!(annotations["io.containerd.image.name"], "docker.io/team/app:v2");
    let saved = Archive::open(&path).await.unwrap();
    for reference in ["", "v2", "team/app:v2", "docker.io/team/app:v2"] {
        assert_eq!(saved.manifest(reference).await.unwrap().bytes, image.bytes, "{reference}");
    }
    let device = Packed::create("/dev/null".as_ref(), Format::Layout).await.unwrap_err();
    assert!(device.to_string().contains("it is no file"), "{device}");
}

#[tokio::test]
async fn what_is_no_place_of_images_is_told() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    let told = |failure: Option<Failure>| failure.map(|failure| failure.to_string()).unwrap_or_default();
    assert!(told(Layout::open(directory.path()).await.err()).contains("is no OCI image layout"));
    assert!(told(Archive::open(&path).await.err()).contains("there is no "));
    archive(&path, &[("other", b"x")], &[]);
    assert!(told(Archive::open(&path).await.err()).contains("is no archive of `docker save`"));
    std::fs::write(&path, b"\x1f\x8b\x08compressed").unwrap();
    assert!(told(Archive::open(&path).await.err()).contains("decompress it first"));
    assert!(told(Layout::create(directory.path()).await.err()).contains("needs an empty directory"));
    let layout = directory.path().join("layout");
    std::fs::create_dir(&layout).unwrap();
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(told(Layout::open(&layout).await.err()).contains("of version"));
}
