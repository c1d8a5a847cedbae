//! What the specifications leave to the registry, learnt from it before anything is judged.

use bytes::Bytes;

use super::content::{Image, OCI_INDEX, descriptor, sha256, sha512};
use super::exchange::{Answer, Exchange, with_parameter};
use super::lab::{Lab, Stop};

/// What a registry offers, of that which it need not.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Capabilities {
    /// It says of itself that it speaks the Docker Registry HTTP API V2 (SPEC A3).
    pub docker: bool,
    /// A blob can be pushed by one `POST` (SPEC E7).
    pub single_post: bool,
    /// A blob can be mounted from another repository (SPEC E10).
    pub mount: bool,
    /// A mount need not say from where (SPEC E12).
    pub mount_anywhere: bool,
    /// Digests may be SHA-512 (SPEC B7).
    pub sha512: bool,
    /// Chunks may not be smaller than this (SPEC E3).
    pub chunk_minimum: usize,
    /// There is a referrers API (SPEC M).
    pub referrers: bool,
    /// There is a catalog (SPEC O).
    pub catalog: bool,
    /// Parts of a blob can be had (SPEC C7).
    pub ranges: bool,
    /// Docker's media types are taken (SPEC K7).
    pub docker_types: bool,
    /// Manifests may name blobs that are not there (SPEC K9).
    pub sparse: bool,
    /// Indexes may name manifests that are not there (SPEC K9).
    pub sparse_index: bool,
    /// Manifests can be deleted by digest (SPEC L5).
    pub delete_manifest: bool,
    /// Tags can be deleted (SPEC L2).
    pub delete_tag: bool,
    /// Blobs can be deleted (SPEC D4).
    pub delete_blob: bool,
    /// Sessions can be cancelled (SPEC I1).
    pub cancel: bool,
    /// A push by digest can make tags (SPEC K15).
    pub tag_parameters: bool,
}

impl Capabilities {
    /// What they are called in reports, and whether they are there.
    pub fn list(&self) -> [(&'static str, bool); 16] {
        [
            ("Docker Registry HTTP API V2 (by its header)", self.docker),
            ("push of a blob by one POST", self.single_post),
            ("mount of a blob from a named repository", self.mount),
            ("mount of a blob from any repository", self.mount_anywhere),
            ("SHA-512 digests", self.sha512),
            ("referrers", self.referrers),
            ("catalog", self.catalog),
            ("ranges of blobs", self.ranges),
            ("Docker media types", self.docker_types),
            ("manifests without their blobs (sparse)", self.sparse),
            ("indexes without their manifests (sparse)", self.sparse_index),
            ("deleting manifests by digest", self.delete_manifest),
            ("deleting tags", self.delete_tag),
            ("deleting blobs", self.delete_blob),
            ("cancelling uploads", self.cancel),
            ("tags as parameters of a push by digest", self.tag_parameters),
        ]
    }
}

/// Whether a refusal means "not here": 4xx beside those that speak of the request.
fn declined(status: u16) -> bool {
    matches!(status, 400 | 403 | 405 | 404 | 501)
}

/// Asks the registry for what it offers. Nothing that it answers is judged here.
///
/// # Errors
///
/// When it is not there, or so unlike a registry that nothing can be pushed.
pub async fn learn(lab: &Lab) -> Result<Capabilities, Stop> {
    let mut can = Capabilities::default();
    let base = lab.get("/v2/").await?;
    can.docker = base.header("Docker-Distribution-API-Version") == Some("registry/2.0");
    can.catalog = lab.get("/v2/_catalog?n=1").await.is_ok_and(|answer| answer.status == 200);

    let opened = lab.send(Exchange::new("POST", lab.uploads()).body(Bytes::new())).await?;
    if opened.status == 405 {
        return Err(Stop::NotOffered(takes_no_pushes(lab, &opened)));
    }
    let minimum = opened.header("OCI-Chunk-Min-Length").and_then(|minimum| minimum.parse().ok());
    can.chunk_minimum = minimum.unwrap_or_default();
    if let Some(location) = opened.header("Location") {
        can.cancel = lab.delete(location).await.is_ok_and(|answer| answer.is_success());
    }

    let blob = Bytes::from(lab.word());
    let digest = sha256(&blob);
    let posted = Exchange::new("POST", with_parameter(&lab.uploads(), "digest", &digest));
    let posted = lab.send(posted.header("Content-Type", "application/octet-stream").body(blob.clone())).await;
    can.single_post = posted.is_ok_and(|answer| answer.status == 201);
    lab.push_blob(blob).await?;
    can.ranges = lab
        .send(Exchange::new("GET", lab.blob(&digest)).header("Range", "bytes=1-2"))
        .await
        .is_ok_and(|answer| answer.status == 206);

    let other = lab.other("mounted");
    let mount = format!("/v2/{other}/blobs/uploads/?mount={digest}&from={}", lab.repo);
    can.mount = lab.send(Exchange::new("POST", mount).body(Bytes::new())).await.is_ok_and(|a| a.status == 201);
    let mount = format!("/v2/{}/blobs/uploads/?mount={digest}", lab.other("anywhere"));
    can.mount_anywhere = lab.send(Exchange::new("POST", mount).body(Bytes::new())).await.is_ok_and(|a| a.status == 201);

    let blob = Bytes::from(lab.word());
    let digest = sha512(&blob);
    if let Ok(session) = lab.open().await {
        can.sha512 = lab.finish(&session, &digest, blob).await.is_ok_and(|answer| answer.status == 201)
            && lab.get(lab.blob(&digest)).await.is_ok_and(|answer| answer.status == 200);
    }

    let image = Image::oci(&lab.word());
    lab.push("probe", &image).await?;
    let referrers = lab.get(format!("/v2/{}/referrers/{}", lab.repo, image.digest())).await;
    can.referrers = referrers.is_ok_and(|answer| answer.status == 200);
    let docker = Image::docker(&lab.word());
    can.docker_types = lab.push("docker", &docker).await.is_ok();
    let mut sparse = Image::oci(&lab.word());
    sparse.document["layers"][0] = descriptor("application/vnd.oci.image.layer.v1.tar", lab.word());
    lab.push_blob(sparse.blobs[0].clone()).await?;
    can.sparse = lab.send(lab.put("sparse", &sparse)).await.is_ok_and(|answer| answer.is_success());
    let absent = Image::oci(&lab.word());
    let index = Image::list(OCI_INDEX, &[&absent]);
    can.sparse_index = lab.send(lab.put("sparse-index", &index)).await.is_ok_and(|answer| answer.is_success());

    let tagged = Image::oci(&lab.word());
    for blob in &tagged.blobs {
        lab.push_blob(blob.clone()).await?;
    }
    let put = lab.put(&format!("{}?tag=by-parameter", tagged.digest()), &tagged);
    can.tag_parameters = lab.send(put).await.is_ok_and(|answer| answer.header("OCI-Tag").is_some());

    let tagged_once = Image::oci(&lab.word());
    lab.push("by-digest", &tagged_once).await?;

    // Last, as it takes things away. A registry that deletes nothing refuses to delete what is not there, too.
    let gone = lab.delete(lab.manifest("probe")).await?;
    can.delete_tag = gone.is_success() || !declined(gone.status);
    // Not the same one: some registries keep no manifest without a tag.
    let gone = lab.delete(lab.manifest(&tagged_once.digest())).await?;
    can.delete_manifest = gone.is_success() || !declined(gone.status);
    let unused = lab.push_blob(lab.word()).await?;
    let gone = lab.delete(lab.blob(&unused)).await?;
    can.delete_blob = gone.is_success() || !declined(gone.status);
    Ok(can)
}

/// Why nothing can be tested where no upload can be begun.
fn takes_no_pushes(lab: &Lab, refusal: &Answer) -> String {
    let allowed = refusal.header("Allow").map(|methods| format!(" (Allow: {methods})")).unwrap_or_default();
    format!(
        "POST {} is answered with 405{allowed}: the repositories below {} take no pushes, as those of a mirror or of a \
         read-only registry; give a --prefix that does, or another address",
        lab.uploads(),
        lab.run.prefix
    )
}
