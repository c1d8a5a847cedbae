//! Bytes, images and stores to measure with.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::Outcome;
use crate::client::{Connection, Way, push_blob, push_manifest};

/// How many bytes are sent at once.
pub(crate) const PIECE: usize = 256 << 10;

/// A blob that is too large to lie in memory: some random bytes again and again, the first eight of them its own.
pub(crate) struct Blob {
    first: Vec<u8>,
    block: Vec<u8>,
    pub(crate) length: usize,
    pub(crate) digest: String,
}

impl Blob {
    /// The blob of that number, of `length` bytes: another number, other bytes.
    pub(crate) fn new(number: u64, length: usize) -> Self {
        let block = random(0, PIECE.min(length) * if length > 16 * PIECE { 16 } else { 1 });
        let mut first = block[..PIECE.min(length)].to_vec();
        first
            .iter_mut()
            .zip(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
            .for_each(|(byte, own)| *byte ^= own);
        let mut blob = Self { first, block, length, digest: String::new() };
        let mut hash = Sha256::new();
        blob.pieces().for_each(|piece| hash.update(piece));
        blob.digest = written(hash);
        blob
    }

    /// A blob of these bytes, which are no more than one piece.
    fn of(bytes: Vec<u8>) -> Self {
        Self { length: bytes.len(), digest: digest(&bytes), block: bytes.clone(), first: bytes }
    }

    /// Its bytes, piece by piece.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.length).step_by(PIECE).map(|from| {
            let most = PIECE.min(self.length - from);
            if from == 0 {
                return &self.first[..most];
            }
            let at = from % self.block.len();
            &self.block[at..at + most.min(self.block.len() - at)]
        })
    }

    /// Pushes it in a given way.
    pub(crate) fn push(&self, connection: &mut Connection, repository: &str, way: Way) -> Outcome<()> {
        self.push_timed(connection, repository, way).map(drop)
    }

    /// The same, and how long the request took that ended it.
    pub(crate) fn push_timed(&self, connection: &mut Connection, repository: &str, way: Way) -> Outcome<Duration> {
        push_blob(connection, repository, &self.digest, self.length, self.pieces(), way)
    }
}

/// An image: layers and a configuration, and the manifest that names them.
pub(crate) struct Image {
    pub(crate) blobs: Vec<Blob>,
    pub(crate) manifest: Vec<u8>,
}

impl Image {
    /// The image of that number, with so many layers of `size` bytes.
    pub(crate) fn new(number: u64, layers: usize, size: usize) -> Self {
        let blob = |index: usize| Blob::new(number * 64 + index as u64 + 1, size);
        let blobs: Vec<Blob> = (0..layers.max(1)).map(blob).collect();
        let described: Vec<_> = blobs.iter().map(|blob| described("application/octet-stream", blob)).collect();
        let manifest = manifest(&described[0], &described);
        Self { blobs, manifest }
    }

    /// The same with a configuration of its own, which names a platform: what a build makes.
    pub(crate) fn of_a_platform(number: u64, layers: usize, size: usize) -> Self {
        let Self { mut blobs, .. } = Self::new(number, layers, size);
        let layers: Vec<_> = blobs.iter().map(|blob| described(LAYER, blob)).collect();
        let diffs: Vec<_> = blobs.iter().map(|blob| blob.digest.as_str()).collect();
        let config = serde_json::json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["/main"] },
            "rootfs": { "type": "layers", "diff_ids": diffs },
        });
        let config = Blob::of(config.to_string().into_bytes());
        let manifest = manifest(&described(CONFIG, &config), &layers);
        blobs.push(config);
        Self { blobs, manifest }
    }

    pub(crate) fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// Pushes it as docker does a small one: each blob in a streamed upload, then the manifest.
    pub(crate) fn push(&self, connection: &mut Connection, repository: &str, tag: &str, way: Way) -> Outcome<()> {
        for blob in &self.blobs {
            blob.push(connection, repository, way)?;
        }
        push_manifest(connection, repository, tag, &self.manifest)
    }
}

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

fn described(media_type: &str, blob: &Blob) -> serde_json::Value {
    serde_json::json!({
        "mediaType": media_type,
        "digest": blob.digest,
        "size": blob.length,
    })
}

/// A manifest of these descriptors.
pub(crate) fn manifest(config: &serde_json::Value, layers: &[serde_json::Value]) -> Vec<u8> {
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    });
    manifest.to_string().into_bytes()
}

/// The digest of these bytes, as it is written.
pub(crate) fn digest(bytes: &[u8]) -> String {
    written(Sha256::new_with_prefix(bytes))
}

fn written(hash: Sha256) -> String {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Bytes that no file system can make smaller: splitmix64 from a seed.
pub(crate) fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let words = (0..length.div_ceil(8)).flat_map(|_| next(&mut state).to_le_bytes());
    words.take(length).collect()
}

/// The next number of splitmix64.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
