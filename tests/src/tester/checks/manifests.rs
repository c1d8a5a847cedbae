//! Manifests: push (SPEC K1 to K7, K14 to K20).

use serde_json::json;

use crate::tester::check::checks;
use crate::tester::content::{DOCKER_LIST, Image, OCI_INDEX, OCI_MANIFEST, descriptor, sha256, sha512};
use crate::tester::exchange::Exchange;
use crate::tester::lab::{Lab, Verdict, ensure, not_offered};

checks! {
    "K1" Must "OCI end-7" a_manifest_by_tag "PUT of a manifest by tag is 201, with a Location to pull it from";
    "K1" Must "OCI end-7" a_manifest_by_digest "PUT of a manifest by digest is 201, with a Location to pull it from";
    "K1" Must "OCI end-7" the_push_names_the_digest "Docker-Content-Digest of the 201, if there, is the digest of the manifest";
    "K3" Must "OCI end-7" a_manifest_has_the_digest_it_is_put_to "PUT of a manifest to the digest of another is 400, and nothing is stored";
    "K3" Doc "Docker, DIGEST_INVALID" a_manifest_of_another_digest_has_a_code "PUT of a manifest to the digest of another is DIGEST_INVALID";
    "K4" Should "OCI HEAD end-7" unknown_algorithms_name_no_manifest "PUT of a manifest to a digest of an unknown algorithm is 400";
    "K4" Must "OCI end-7" a_bad_digest_names_no_manifest "PUT of a manifest to sha256:baddigeststring is 400";
    "K5" Should "OCI end-7" parameters_of_the_type_are_ignored "parameters of Content-Type are ignored: a manifest sent with a charset is taken";
    "K7" Doc "Docker, manifest-v2-2" docker_manifests_are_taken "a Docker image and a Docker manifest list can be pushed, and keep their types";
    "K7" Must "OCI end-7" an_index_is_taken "an index of two images can be pushed";
    "K14" Must "OCI, Pushing Manifests with Subject" a_subject_is_acknowledged "a manifest with a subject is answered with OCI-Subject";
    "K14" Must "OCI, Pushing Manifests with Subject" a_subject_of_an_index_is_acknowledged "an index with a subject is answered with OCI-Subject";
    "K14" Good "OCI, Pushing Manifests with Subject" without_a_subject_none_is_acknowledged "without a subject there is no OCI-Subject";
    "K15" Should "OCI HEAD end-7b" tags_as_parameters "tags given as parameters of a push by digest are made, and OCI-Tag names each";
    "K15" Should "OCI HEAD end-7b" ten_tags_as_parameters "ten tags can be given as parameters";
    "K16" Good "tags move" a_tag_moves "pushing to a tag that is there moves it, and the old manifest stays";
    "K16" Good "idempotence" a_manifest_may_be_pushed_again "pushing a manifest again is 201";
    "K20" Must "OCI end-7" a_manifest_by_sha512 "a manifest pushed by its SHA-512 digest comes back by it";
}

async fn a_manifest_by_tag(lab: &Lab) -> Verdict {
    let image = Image::oci(&lab.word());
    let location = lab.push("v1", &image).await?.location("where the manifest is")?;
    let get = Exchange::new("GET", location).header("Accept", image.media_type);
    lab.send(get).await?.must(&[200], "it was pushed")?.must_be(&image.bytes(), "byte for byte")?;
    Ok(())
}

async fn a_manifest_by_digest(lab: &Lab) -> Verdict {
    let image = Image::oci(&lab.word());
    let location = lab.push(&image.digest(), &image).await?.location("where the manifest is")?;
    let get = Exchange::new("GET", location).header("Accept", image.media_type);
    lab.send(get).await?.must(&[200], "it was pushed")?.must_be(&image.bytes(), "byte for byte")?;
    Ok(())
}

async fn the_push_names_the_digest(lab: &Lab) -> Verdict {
    let image = Image::oci(&lab.word());
    let answer = lab.push("v1", &image).await?;
    if answer.header("Docker-Content-Digest").is_none() {
        return not_offered("Docker-Content-Digest on a pushed manifest");
    }
    answer.must_have("Docker-Content-Digest", &image.digest(), "clients compare")?;
    Ok(())
}

async fn a_manifest_has_the_digest_it_is_put_to(lab: &Lab) -> Verdict {
    let (image, meant) = (lab.push_image("first").await?, Image::oci(&lab.word()));
    let answer = lab.send(lab.put(&meant.digest(), &image)).await?;
    answer.must(&[400], "the manifest has another digest")?;
    lab.pull(&meant.digest()).await?.must(&[404, 400], "it was never pushed")?;
    Ok(())
}

async fn a_manifest_of_another_digest_has_a_code(lab: &Lab) -> Verdict {
    let (image, meant) = (lab.push_image("first").await?, Image::oci(&lab.word()));
    let answer = lab.send(lab.put(&meant.digest(), &image)).await?;
    answer.refused(&[400], &["DIGEST_INVALID"], "the manifest has another digest")?;
    Ok(())
}

async fn unknown_algorithms_name_no_manifest(lab: &Lab) -> Verdict {
    let image = lab.push_image("first").await?;
    let answer = lab.send(lab.put("md5:d41d8cd98f00b204e9800998ecf8427e", &image)).await?;
    answer.must(&[400], "the registry cannot verify it")?;
    Ok(())
}

async fn a_bad_digest_names_no_manifest(lab: &Lab) -> Verdict {
    let image = lab.push_image("first").await?;
    lab.send(lab.put("sha256:baddigeststring", &image)).await?.must(&[400], "it is no digest")?;
    Ok(())
}

async fn parameters_of_the_type_are_ignored(lab: &Lab) -> Verdict {
    let image = lab.push_image("first").await?;
    let put = Exchange::new("PUT", lab.manifest("v1")).header("Content-Type", format!("{OCI_MANIFEST}; charset=utf-8"));
    lab.send(put.body(image.bytes())).await?.must(&[201], "the type is known")?;
    let got = lab.pull("v1").await?;
    got.must(&[200], "it was pushed")?.must_have("Content-Type", OCI_MANIFEST, "the type without parameters")?;
    Ok(())
}

async fn docker_manifests_are_taken(lab: &Lab) -> Verdict {
    let image = Image::docker(&lab.word());
    lab.push("image", &image).await?;
    let list = Image::list(DOCKER_LIST, &[&image]);
    lab.push("list", &list).await?;
    for (tag, pushed) in [("image", &image), ("list", &list)] {
        let got = lab.pull(tag).await?;
        got.must(&[200], "it was pushed")?.must_be(&pushed.bytes(), "byte for byte")?;
        got.must_have("Content-Type", pushed.media_type, "the type it was pushed with")?;
    }
    Ok(())
}

async fn an_index_is_taken(lab: &Lab) -> Verdict {
    let (one, two) = (lab.push_image("one").await?, lab.push_image("two").await?);
    let index = Image::list(OCI_INDEX, &[&one, &two]);
    lab.push("both", &index).await?;
    lab.pull("both").await?.must(&[200], "it was pushed")?.must_be(&index.bytes(), "byte for byte")?;
    Ok(())
}

async fn a_subject_is_acknowledged(lab: &Lab) -> Verdict {
    if !lab.can().referrers {
        return not_offered("referrers");
    }
    let subject = lab.push_image("v1").await?;
    for reference in ["", "by-tag"] {
        let about = Image::oci(&lab.word()).about(&subject);
        let digest = about.digest();
        let answer = lab.push(if reference.is_empty() { &digest } else { reference }, &about).await?;
        answer.must_have("OCI-Subject", &subject.digest(), "the client need not keep the list itself")?;
    }
    Ok(())
}

async fn a_subject_of_an_index_is_acknowledged(lab: &Lab) -> Verdict {
    if !lab.can().referrers {
        return not_offered("referrers");
    }
    let subject = lab.push_image("v1").await?;
    let index = Image::list(OCI_INDEX, &[&subject]).about(&subject);
    let answer = lab.push(&index.digest(), &index).await?;
    answer.must_have("OCI-Subject", &subject.digest(), "the client need not keep the list itself")?;
    Ok(())
}

async fn without_a_subject_none_is_acknowledged(lab: &Lab) -> Verdict {
    let answer = lab.push("v1", &Image::oci(&lab.word())).await?;
    ensure(answer.header("OCI-Subject").is_none(), "no OCI-Subject", answer.to_string())
}

async fn tags_as_parameters(lab: &Lab) -> Verdict {
    tagged(lab, &["a", "b"]).await
}

async fn ten_tags_as_parameters(lab: &Lab) -> Verdict {
    tagged(lab, &["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"]).await
}

async fn tagged(lab: &Lab, tags: &[&str]) -> Verdict {
    if !lab.can().tag_parameters {
        return not_offered("tags as parameters");
    }
    let image = lab.push_image("first").await?;
    let answer = lab.send(lab.put(&format!("{}?tag={}", image.digest(), tags.join("&tag=")), &image)).await?;
    answer.must(&[201], "the manifest is taken")?;
    let named: Vec<&str> = answer.all("OCI-Tag").flat_map(|field| field.split(',')).map(str::trim).collect();
    for tag in tags {
        ensure(named.contains(tag), format!("OCI-Tag: {tag}"), format!("OCI-Tag: {}", named.join(", ")))?;
        lab.pull(tag).await?.must(&[200], "the tag was made")?.must_be(&image.bytes(), "of this manifest")?;
    }
    Ok(())
}

async fn a_tag_moves(lab: &Lab) -> Verdict {
    let (old, new) = (lab.push_image("v1").await?, lab.push_image("v1").await?);
    lab.pull("v1").await?.must(&[200], "the tag is there")?.must_be(&new.bytes(), "it has moved")?;
    lab.pull(&old.digest()).await?.must(&[200], "it was not deleted")?.must_be(&old.bytes(), "byte for byte")?;
    Ok(())
}

async fn a_manifest_may_be_pushed_again(lab: &Lab) -> Verdict {
    let image = lab.push_image("v1").await?;
    lab.send(lab.put("v1", &image)).await?.must(&[201], "as the first time")?;
    lab.send(lab.put(&image.digest(), &image)).await?.must(&[201], "as the first time")?;
    Ok(())
}

async fn a_manifest_by_sha512(lab: &Lab) -> Verdict {
    if !lab.can().sha512 {
        return not_offered("SHA-512");
    }
    let blob = lab.word();
    let config = descriptor("application/vnd.oci.empty.v1+json", "{}");
    lab.push_blob_as(&lab.repo, "{}", &sha256("{}")).await?;
    let mut image = Image::oci(&blob);
    image.document["config"] = config;
    image.document["layers"] = json!([]);
    let digest = sha512(image.bytes());
    let answer = lab.send(lab.put(&digest, &image)).await?;
    if answer.status == 400 {
        return not_offered("SHA-512 for manifests");
    }
    answer.must(&[201], "the digest is right")?;
    lab.pull(&digest).await?.must(&[200], "it was pushed")?.must_be(&image.bytes(), "byte for byte")?;
    Ok(())
}
