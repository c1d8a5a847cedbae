//! Names of repositories, tags and digests (SPEC B).

use bytes::Bytes;

use crate::tester::check::checks;
use crate::tester::content::{Image, sha256};
use crate::tester::exchange::{Answer, Exchange};
use crate::tester::lab::{Lab, Stop, Verdict, ensure, get_manifest, put_manifest, wrong};

checks! {
    "B1" Must "OCI, Pulling manifests" valid_names_are_taken "a repository may be called anything that the grammar of names allows";
    "B1" Must "OCI, Pulling manifests" components_may_be_words_of_the_api "components of a name may be called blobs, manifests, tags, uploads or referrers";
    "B1" Must "OCI, Pulling manifests" invalid_names_are_refused "nothing can be pushed to a name that is against the grammar";
    "B2" Doc "Docker, Overview" names_may_have_255_characters "a repository name may have 255 characters";
    "B2" Doc "Docker, Overview" names_have_no_256_characters "a repository name has fewer than 256 characters";
    "B3" Doc "Docker, Errors" invalid_names_have_a_code "an invalid name is answered with 400 NAME_INVALID";
    "B4" Must "OCI, Pulling manifests" tags_may_have_128_characters "a tag may have 128 characters, and any that the grammar allows";
    "B4" Must "OCI, Pulling manifests" invalid_tags_are_refused "nothing can be pushed to a tag that is against the grammar";
    "B4" Must "OCI end-3, 404" invalid_tags_are_not_there "a manifest asked by a tag that is against the grammar is 404";
    "B5" Must "OCI, Pushing manifests" malformed_digests_are_no_tags "a manifest cannot be pushed to a malformed digest: 400 or 404";
    "B5" Must "OCI, Pulling manifests" malformed_digests_are_not_there "a manifest asked by a malformed digest is 400 or 404";
    "B6" Must "image-spec, Digests" digests_are_lower_case "a SHA-256 digest in upper-case hex is no digest";
    "B8" Should "OCI HEAD, Pushing blobs" unknown_algorithms_are_refused "a blob cannot be pushed under a digest of an unknown algorithm: 400";
    "B9" Good "OCI HEAD, Digests" blobs_of_unknown_algorithms_are_not_there "a blob asked by a digest of an unknown algorithm is 404 or 400";
    "B10" Good "RFC 3986, 2.1" digests_may_be_percent_encoded "the colon of a digest may be percent-encoded";
    "B10" Good "Portainer sends %2F" slashes_of_names_may_be_percent_encoded "a slash of a name may be percent-encoded";
    "B10" Good "safety" paths_do_not_leave_the_registry "dots and encoded slashes in a path lead nowhere";
    "B11" Good "the grammar of names" names_are_read_from_the_end "a repository called tags/list or blobs/uploads can be pushed to and pulled from";
    "B12" Must "OCI extensions" underscores_begin_no_repository "a path that begins with _ names no repository";
}

async fn start(lab: &Lab, repo: &str) -> Result<Answer, Stop> {
    lab.send(Exchange::new("POST", format!("/v2/{repo}/blobs/uploads/")).body(Bytes::new())).await
}

async fn valid_names_are_taken(lab: &Lab) -> Verdict {
    for component in ["0", "a.b", "a_b", "a__b", "a-b", "a---b", "a-b_c.d__e", "x/y/z"] {
        let repo = format!("{}/{component}", lab.repo);
        start(lab, &repo).await?.must(&[202], "the name follows the grammar")?;
    }
    Ok(())
}

async fn components_may_be_words_of_the_api(lab: &Lab) -> Verdict {
    for word in ["blobs", "manifests", "tags", "referrers", "uploads", "tags/blobs", "blobs/uploads"] {
        let repo = format!("{}/{word}", lab.repo);
        let image = Image::oci(&lab.word());
        for blob in &image.blobs {
            lab.push_blob_as(&repo, blob.clone(), &sha256(blob)).await?;
        }
        lab.send(put_manifest(&repo, "list", &image)).await?.must(&[201], "the name follows the grammar")?;
        let got = lab.send(crate::tester::lab::get_manifest(&repo, "list")).await?;
        got.must(&[200], "it was pushed")?.must_be(&image.bytes(), "as pushed")?;
    }
    Ok(())
}

/// Components against the grammar that a URL can hold.
const INVALID: [&str; 8] = ["a..b", "a___b", "a._b", "-a", "a-", "a.", "UPPER", "_a"];

async fn invalid_names_are_refused(lab: &Lab) -> Verdict {
    for component in INVALID {
        let answer = start(lab, &format!("{}/{component}", lab.repo)).await?;
        if !(400..500).contains(&answer.status) {
            return wrong(format!("400 or 404: {component} is no component of a name"), answer.to_string());
        }
    }
    Ok(())
}

/// A name of that many characters, in components of at most 100.
fn name_of(lab: &Lab, length: usize) -> String {
    let mut name = lab.repo.clone();
    while name.len() < length {
        let room = length - name.len() - 1;
        // Room for a whole component must be left behind this one.
        let take = if room > 101 { 100 } else { room };
        name = format!("{name}/{}", "n".repeat(take));
    }
    name
}

async fn names_may_have_255_characters(lab: &Lab) -> Verdict {
    start(lab, &name_of(lab, 255)).await?.must(&[202], "the name has 255 characters")?;
    Ok(())
}

async fn names_have_no_256_characters(lab: &Lab) -> Verdict {
    start(lab, &name_of(lab, 256)).await?.must(&[400, 404], "the name has 256 characters")?;
    Ok(())
}

async fn invalid_names_have_a_code(lab: &Lab) -> Verdict {
    let answer = start(lab, &format!("{}/UPPER", lab.repo)).await?;
    answer.refused(&[400], &["NAME_INVALID"], "the name is against the grammar")?;
    Ok(())
}

async fn tags_may_have_128_characters(lab: &Lab) -> Verdict {
    let image = lab.push_image("first").await?;
    let longest = "t".repeat(128);
    for tag in [longest.as_str(), "_", "A", "0", "v1.2-rc_3", "a..b", "__"] {
        lab.send(lab.put(tag, &image)).await?.must(&[201], "the tag follows the grammar")?;
        lab.pull(tag).await?.must(&[200], "it was pushed")?;
    }
    Ok(())
}

async fn invalid_tags_are_refused(lab: &Lab) -> Verdict {
    let image = lab.push_image("first").await?;
    let too_long = "t".repeat(129);
    for tag in [too_long.as_str(), ".a", "-a", "a+b", "a~b"] {
        let answer = lab.send(lab.put(tag, &image)).await?;
        if !(400..500).contains(&answer.status) {
            return wrong(format!("400 or 404: {} is no tag", &tag[..tag.len().min(9)]), answer.to_string());
        }
    }
    Ok(())
}

async fn invalid_tags_are_not_there(lab: &Lab) -> Verdict {
    lab.push_image("first").await?;
    for tag in [".INVALID_MANIFEST_NAME", "-a", "a+b", &"t".repeat(129)] {
        lab.pull(tag).await?.must(&[404], "no manifest has such a tag")?;
    }
    Ok(())
}

/// Digests that are none.
fn malformed() -> [String; 4] {
    [
        "sha256:short".into(),
        format!("sha256:{}", "0".repeat(63)),
        "sha256:".into(),
        format!("sha256:{}", "z".repeat(64)),
    ]
}

async fn malformed_digests_are_no_tags(lab: &Lab) -> Verdict {
    let image = lab.push_image("first").await?;
    for digest in malformed() {
        lab.send(lab.put(&digest, &image)).await?.must(&[400, 404], "it is neither a tag nor a digest")?;
    }
    Ok(())
}

async fn malformed_digests_are_not_there(lab: &Lab) -> Verdict {
    lab.push_image("first").await?;
    for digest in malformed() {
        lab.pull(&digest).await?.must(&[400, 404], "it is neither a tag nor a digest")?;
    }
    Ok(())
}

async fn digests_are_lower_case(lab: &Lab) -> Verdict {
    let bytes = lab.word();
    let digest = lab.push_blob(bytes.clone()).await?;
    let shouted = format!("sha256:{}", digest["sha256:".len()..].to_uppercase());
    lab.get(lab.blob(&shouted)).await?.must(&[400, 404], "it is no digest")?;
    let session = lab.open().await?;
    lab.finish(&session, &shouted, bytes).await?.must(&[400], "it is no digest")?;
    Ok(())
}

async fn unknown_algorithms_are_refused(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let answer = lab.finish(&session, "md5:d41d8cd98f00b204e9800998ecf8427e", lab.word()).await?;
    answer.must(&[400], "the registry cannot verify it")?;
    Ok(())
}

async fn digests_may_be_percent_encoded(lab: &Lab) -> Verdict {
    let digest = lab.push_blob(lab.word()).await?;
    lab.get(lab.blob(&digest.replace(':', "%3A"))).await?.must(&[200], "an encoded colon is a colon")?;
    Ok(())
}

async fn slashes_of_names_may_be_percent_encoded(lab: &Lab) -> Verdict {
    lab.push_image("v1").await?;
    let name = lab.repo.replace('/', "%2F");
    lab.get(format!("/v2/{name}/tags/list")).await?.must(&[200], "an encoded slash is a slash")?;
    Ok(())
}

async fn paths_do_not_leave_the_registry(lab: &Lab) -> Verdict {
    for path in
        ["/../../../../../../etc/passwd", "/blobs/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd", "/manifests/..%2F..%2F.."]
    {
        let answer = lab.raw(Exchange::new("GET", format!("/v2/{}{path}", lab.repo))).await?;
        let leaked = String::from_utf8_lossy(&answer.body).contains("root:");
        ensure(!leaked && answer.status < 500, "neither a file nor a 5xx", answer.to_string())?;
    }
    Ok(())
}

async fn underscores_begin_no_repository(lab: &Lab) -> Verdict {
    let answer = lab.get("/v2/_orlop-conformance/tags/list").await?;
    answer.must(&[400, 404, 405], "no name begins with _")?;
    Ok(())
}

async fn blobs_of_unknown_algorithms_are_not_there(lab: &Lab) -> Verdict {
    lab.push_image("v1").await?;
    for digest in ["sha3:deadbeef", "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8"] {
        lab.get(lab.blob(digest)).await?.must(&[400, 404], "no blob can have this digest here")?;
    }
    Ok(())
}

async fn names_are_read_from_the_end(lab: &Lab) -> Verdict {
    for words in ["tags/list", "blobs/uploads", "manifests/v1", "referrers"] {
        let repo = format!("{}/{words}", lab.repo);
        let image = Image::oci(&lab.word());
        for blob in &image.blobs {
            lab.push_blob_as(&repo, blob.clone(), &sha256(blob)).await?;
        }
        lab.send(put_manifest(&repo, "list", &image)).await?.must(&[201], "its blobs are there")?;
        lab.send(get_manifest(&repo, "list"))
            .await?
            .must(&[200], "it was pushed")?
            .must_be(&image.bytes(), "as pushed")?;
    }
    Ok(())
}
