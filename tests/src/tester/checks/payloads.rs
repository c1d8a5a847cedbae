//! What may and may not be in a manifest (SPEC K8 to K13).

use serde_json::json;

use crate::tester::check::checks;
use crate::tester::content::{Image, OCI_INDEX, OCI_MANIFEST, descriptor, sha256};
use crate::tester::exchange::Exchange;
use crate::tester::lab::{Lab, Verdict, not_offered};

checks! {
    "K6" Good "CVE-2021-41190" one_document_is_one_thing "a manifest whose mediaType is not its Content-Type is refused";
    "K7" Doc "Docker, PUT Manifest" unknown_types_are_no_manifests "a manifest of a type that nobody knows is refused with 4xx";
    "K8" Doc "Docker, MANIFEST_INVALID" what_is_no_json_is_no_manifest "a body that is no JSON is 400 MANIFEST_INVALID";
    "K8" Doc "Docker, MANIFEST_INVALID" nothing_is_no_manifest "an empty body is 400 MANIFEST_INVALID";
    "K8" Doc "Docker, MANIFEST_INVALID" an_empty_object_is_no_manifest "{} is 400 MANIFEST_INVALID";
    "K8" Doc "Docker, MANIFEST_INVALID" schema_1_is_no_manifest "a manifest of schemaVersion 1, sent as an OCI image, is 400 MANIFEST_INVALID";
    "K8" Good "safety" odd_documents_do_no_harm "deep nesting, huge numbers and invalid UTF-8 are answered with 4xx (or taken)";
    "K9" Must "OCI, MANIFEST_BLOB_UNKNOWN" missing_blobs_have_a_code "a manifest that is refused because a blob is missing is 400 MANIFEST_BLOB_UNKNOWN";
    "K9" Must "OCI, MANIFEST_BLOB_UNKNOWN" missing_manifests_have_a_code "an index that is refused because a manifest is missing is 400 MANIFEST_BLOB_UNKNOWN";
    "K9" Good "repositories are apart" blobs_elsewhere_are_missing "a blob of another repository counts as missing";
    "K10" Must "OCI, Pushing Manifests with Subject" a_subject_need_not_be_there "a manifest whose subject is not there is taken";
    "K11" Good "image-spec, layers with urls" foreign_layers_need_not_be_there "a layer with urls need not be in the registry";
    "K12" Must "image-spec, Media Types" unknown_types_within_are_no_error "unknown media types of config and layers, and any artifactType, are taken";
    "K12" Must "image-spec, Image Manifest" an_artifact_is_taken "an artifact without a config, as oras and cosign push it, is taken";
    "K12" Must "image-spec, Image Index" an_empty_index_is_taken "an index of nothing is taken";
    "K13" Should "OCI, Pushing Manifests" four_megabytes_are_taken "a manifest of 4,000,000 bytes is taken, and comes back";
    "K13" Should "OCI, Pushing Manifests" too_large_manifests_are_413 "a manifest that is too large is 413";
}

async fn one_document_is_one_thing(lab: &Lab) -> Verdict {
    let image = lab.push_image("first").await?;
    let put = Exchange::new("PUT", lab.manifest("v1")).header("Content-Type", OCI_INDEX).body(image.bytes());
    lab.send(put).await?.must(&[400], "one reader would see an image, another an index")?;
    Ok(())
}

async fn put(lab: &Lab, body: impl Into<bytes::Bytes>) -> Result<crate::tester::Answer, crate::tester::Stop> {
    lab.push_image("first").await?;
    lab.send(Exchange::new("PUT", lab.manifest("v1")).header("Content-Type", OCI_MANIFEST).body(body)).await
}

async fn unknown_types_are_no_manifests(lab: &Lab) -> Verdict {
    let image = lab.push_image("first").await?.field("mediaType", json!(null));
    let put = Exchange::new("PUT", lab.manifest("v1")).header("Content-Type", "text/plain").body(image.bytes());
    lab.send(put).await?.must(&[400, 415], "text/plain is no type of a manifest")?;
    Ok(())
}

async fn what_is_no_json_is_no_manifest(lab: &Lab) -> Verdict {
    put(lab, "no json").await?.refused(&[400], &["MANIFEST_INVALID"], "it is no JSON")?;
    Ok(())
}

async fn nothing_is_no_manifest(lab: &Lab) -> Verdict {
    put(lab, "").await?.refused(&[400], &["MANIFEST_INVALID"], "there is no body")?;
    Ok(())
}

async fn an_empty_object_is_no_manifest(lab: &Lab) -> Verdict {
    put(lab, "{}").await?.refused(&[400], &["MANIFEST_INVALID"], "it has no schemaVersion")?;
    Ok(())
}

async fn schema_1_is_no_manifest(lab: &Lab) -> Verdict {
    let image = lab.push_image("first").await?.field("schemaVersion", 1);
    let answer = lab.send(lab.put("v1", &image)).await?;
    answer.refused(&[400], &["MANIFEST_INVALID"], "an OCI image has schemaVersion 2")?;
    Ok(())
}

async fn odd_documents_do_no_harm(lab: &Lab) -> Verdict {
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let image = lab.push_image("first").await?;
    let text = String::from_utf8_lossy(&image.bytes()).into_owned();
    let documents = [
        deep.into_bytes(),
        text.replace("\"size\":", "\"size\":99999999999999999999999999").into_bytes(),
        [b"{\"schemaVersion\":2,\"x\":\"\xff\xfe\"".as_slice(), b"}"].concat(),
        text.replacen("\"config\":{", "\"config\":[", 1).into_bytes(),
    ];
    for document in documents {
        let put = Exchange::new("PUT", lab.manifest("odd")).header("Content-Type", OCI_MANIFEST).body(document);
        let answer = lab.send(put).await?;
        let fine = answer.status < 500;
        crate::tester::lab::ensure(fine, "400: what a client sends is no fault of the registry", answer.to_string())?;
    }
    Ok(())
}

async fn missing_blobs_have_a_code(lab: &Lab) -> Verdict {
    if lab.can().sparse {
        return not_offered("refusing manifests whose blobs are missing");
    }
    lab.push_image("first").await?;
    let mut image = Image::oci(&lab.word());
    lab.push_blob(image.blobs[0].clone()).await?;
    image.document["layers"] = json!([descriptor("application/vnd.oci.image.layer.v1.tar", lab.word())]);
    let answer = lab.send(lab.put("v1", &image)).await?;
    answer.refused(&[400, 404], &["MANIFEST_BLOB_UNKNOWN"], "the layer was never pushed")?;
    Ok(())
}

async fn missing_manifests_have_a_code(lab: &Lab) -> Verdict {
    if lab.can().sparse_index {
        return not_offered("refusing indexes whose manifests are missing");
    }
    lab.push_image("first").await?;
    let index = Image::list(OCI_INDEX, &[&Image::oci(&lab.word())]);
    let answer = lab.send(lab.put("v1", &index)).await?;
    answer.refused(&[400, 404], &["MANIFEST_BLOB_UNKNOWN"], "the manifest was never pushed")?;
    Ok(())
}

async fn blobs_elsewhere_are_missing(lab: &Lab) -> Verdict {
    if lab.can().sparse {
        return not_offered("refusing manifests whose blobs are missing");
    }
    lab.push_image("first").await?;
    let image = Image::oci(&lab.word());
    for blob in &image.blobs {
        lab.push_blob_as(&lab.other("elsewhere"), blob.clone(), &sha256(blob)).await?;
    }
    let answer = lab.send(lab.put("v1", &image)).await?;
    answer.must(&[400, 404], "its blobs are in another repository")?;
    Ok(())
}

async fn a_subject_need_not_be_there(lab: &Lab) -> Verdict {
    lab.push_image("first").await?;
    let about = Image::oci(&lab.word()).about(&Image::oci(&lab.word()));
    lab.push("about", &about).await?;
    lab.pull("about").await?.must(&[200], "it was pushed")?.must_be(&about.bytes(), "byte for byte")?;
    Ok(())
}

async fn foreign_layers_need_not_be_there(lab: &Lab) -> Verdict {
    let mut image = Image::oci(&lab.word());
    lab.push_blob(image.blobs[0].clone()).await?;
    let mut layer = descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", lab.word());
    layer["urls"] = json!(["https://example.org/layer"]);
    image.document["layers"] = json!([layer]);
    let answer = lab.send(lab.put("v1", &image)).await?;
    if answer.status == 400 {
        return not_offered("layers that are elsewhere");
    }
    answer.must(&[201], "the layer may not be distributed")?;
    Ok(())
}

async fn unknown_types_within_are_no_error(lab: &Lab) -> Verdict {
    let mut image = Image::oci(&lab.word()).field("artifactType", "application/vnd.orlop.unknown");
    image.document["config"]["mediaType"] = json!("application/vnd.orlop.config+json");
    image.document["layers"][0]["mediaType"] = json!("application/vnd.orlop.layer");
    lab.push("v1", &image).await?;
    lab.pull("v1").await?.must(&[200], "it was pushed")?.must_be(&image.bytes(), "byte for byte")?;
    Ok(())
}

async fn an_artifact_is_taken(lab: &Lab) -> Verdict {
    let mut artifact = Image::oci(&lab.word()).field("artifactType", "application/vnd.orlop.artifact");
    artifact.document["config"] = descriptor("application/vnd.oci.empty.v1+json", "{}");
    artifact.document["config"]["data"] = json!("e30=");
    artifact.document["layers"] = json!([descriptor("application/vnd.oci.empty.v1+json", "{}")]);
    artifact.blobs = vec!["{}".into()];
    lab.push("v1", &artifact).await?;
    lab.pull("v1").await?.must(&[200], "it was pushed")?.must_be(&artifact.bytes(), "byte for byte")?;
    Ok(())
}

async fn an_empty_index_is_taken(lab: &Lab) -> Verdict {
    lab.push_image("first").await?;
    let index = Image::list(OCI_INDEX, &[]).field("annotations", json!({ "of": lab.word() }));
    lab.push("v1", &index).await?;
    Ok(())
}

fn of_size(image: Image, size: usize) -> Image {
    let missing = |image: &Image| size.saturating_sub(image.bytes().len());
    let image = image.field("annotations", json!({ "org.example.padding": "" }));
    let padding = "x".repeat(missing(&image));
    image.field("annotations", json!({ "org.example.padding": padding }))
}

async fn four_megabytes_are_taken(lab: &Lab) -> Verdict {
    let image = of_size(lab.push_image("first").await?, 4_000_000);
    lab.send(lab.put("large", &image)).await?.must(&[201], "4 megabytes are to be expected")?;
    lab.pull("large").await?.must(&[200], "it was pushed")?.must_be(&image.bytes(), "byte for byte")?;
    Ok(())
}

async fn too_large_manifests_are_413(lab: &Lab) -> Verdict {
    let image = of_size(lab.push_image("first").await?, 16 << 20);
    let answer = lab.send(lab.put("large", &image)).await?;
    if answer.is_success() {
        return not_offered("a limit below 16 MiB");
    }
    answer.must(&[413], "the manifest has 16 MiB")?;
    Ok(())
}
