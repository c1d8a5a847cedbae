//! Manifests: download (SPEC J).

use crate::tester::check::checks;
use crate::tester::content::{Image, NOWHERE, sha512};
use crate::tester::exchange::Exchange;
use crate::tester::lab::{Lab, Verdict, ensure, get_manifest, not_offered};

checks! {
    "J1" Must "OCI end-3" a_manifest_comes_as_pushed "GET of a manifest by tag and by digest gives the bytes that were pushed";
    "J1" Must "OCI end-3" head_of_a_manifest "HEAD of a manifest answers 200, with its size and no body";
    "J2" Must "OCI end-3" the_digest_is_that_of_the_manifest "Docker-Content-Digest of a manifest, if there, is its digest";
    "J2" Must "OCI HEAD end-3" the_digest_of_a_manifest_is_told "GET and HEAD of a manifest say Docker-Content-Digest";
    "J2" Must "OCI HEAD end-3" the_digest_of_a_manifest_has_the_algorithm "a manifest pushed and asked by its SHA-512 digest is not answered with another digest";
    "J3" Should "OCI end-3" the_type_is_the_one_pushed "Content-Type of a manifest is the one it was pushed with";
    "J4" Must "OCI end-3" unknown_manifests_are_not_found "a manifest that is not there is 404, by tag and by digest";
    "J4" Doc "Docker, GET Manifest" unknown_manifests_have_a_code "a manifest that is not there is MANIFEST_UNKNOWN (or NAME_UNKNOWN)";
    "J4" Must "OCI end-3" manifests_belong_to_their_repository "a manifest of one repository is 404 in another";
    "J5" Doc "Docker, GET Manifest" invalid_references_have_a_code "a manifest asked by an invalid tag is 400 TAG_INVALID, or not found";
    "J6" Good "curl sends Accept: */*" any_type_may_be_accepted "a client that accepts anything gets the manifest";
    "J6" Good "RFC 9110, 12.5.1" accept_may_be_left_out "a client that sends no Accept gets the manifest";
    "J7" Good "RFC 9110, 12.5.1" accept_may_be_a_list_with_weights "Accept may be a list, with weights, in several fields";
    "J8" Good "RFC 9110, 13.1.2" a_known_manifest_is_not_sent_again "a client that has the manifest (If-None-Match) gets 304";
    "J9" Must "OCI end-3" a_manifest_is_never_rewritten "whitespace, order and unknown fields of a manifest stay";
    "J10" Good "blobs are no manifests" a_blob_is_no_manifest "the digest of a blob, asked for as a manifest, is 404";
    "J11" Must "OCI end-2, end-3" nothing_is_pulled_from_no_repository "manifests and blobs of a repository that is not there are 404";
}

async fn a_manifest_comes_as_pushed(lab: &Lab) -> Verdict {
    let image = lab.push_image("v1").await?;
    for reference in ["v1", &image.digest()] {
        lab.pull(reference).await?.must(&[200], "it was pushed")?.must_be(&image.bytes(), "byte for byte")?;
    }
    Ok(())
}

async fn head_of_a_manifest(lab: &Lab) -> Verdict {
    let image = lab.push_image("v1").await?;
    let digest = image.digest();
    for reference in ["v1", digest.as_str()] {
        let head = lab.send(Exchange { method: "HEAD".into(), ..get_manifest(&lab.repo, reference) }).await?;
        head.must(&[200], "it was pushed")?.must_be(b"", "HEAD has no body")?;
        head.must_have("Content-Length", &image.bytes().len().to_string(), "clients learn the size by it")?;
    }
    Ok(())
}

async fn the_digest_is_that_of_the_manifest(lab: &Lab) -> Verdict {
    let digest = lab.push_image("v1").await?.digest();
    for reference in ["v1", digest.as_str()] {
        for method in ["GET", "HEAD"] {
            let answer = lab.send(Exchange { method: method.into(), ..get_manifest(&lab.repo, reference) }).await?;
            if answer.must(&[200], "it was pushed")?.header("Docker-Content-Digest").is_some() {
                answer.must_have("Docker-Content-Digest", &digest, "the digest of the body")?;
            }
        }
    }
    Ok(())
}

async fn the_digest_of_a_manifest_is_told(lab: &Lab) -> Verdict {
    let digest = lab.push_image("v1").await?.digest();
    for method in ["GET", "HEAD"] {
        let answer = lab.send(Exchange { method: method.into(), ..get_manifest(&lab.repo, "v1") }).await?;
        answer.must_have("Docker-Content-Digest", &digest, "clients pin a tag by it")?;
    }
    Ok(())
}

async fn the_digest_of_a_manifest_has_the_algorithm(lab: &Lab) -> Verdict {
    if !lab.can().sha512 {
        return not_offered("SHA-512");
    }
    let image = Image::oci(&lab.word());
    let digest = sha512(image.bytes());
    for blob in &image.blobs {
        lab.push_blob(blob.clone()).await?;
    }
    let pushed = lab.send(lab.put(&digest, &image)).await?;
    if pushed.status == 400 {
        return not_offered("SHA-512 for manifests");
    }
    pushed.must(&[201], "the manifest is taken")?;
    let got = lab.pull(&digest).await?;
    got.must(&[200], "it was pushed")?.must_be(&image.bytes(), "byte for byte")?;
    for answer in [got, pushed] {
        if answer.header("Docker-Content-Digest").is_some() {
            answer.must_have("Docker-Content-Digest", &digest, "the digest that the client named")?;
        }
    }
    Ok(())
}

async fn the_type_is_the_one_pushed(lab: &Lab) -> Verdict {
    let image = lab.push_image("v1").await?;
    lab.pull("v1").await?.must_have("Content-Type", image.media_type, "clients go by it")?;
    Ok(())
}

async fn unknown_manifests_are_not_found(lab: &Lab) -> Verdict {
    lab.pull("v1").await?.must(&[404], "there is no such repository")?;
    lab.push_image("v1").await?;
    for reference in ["v2", NOWHERE] {
        lab.pull(reference).await?.must(&[404], "it was never pushed")?;
        let head = Exchange { method: "HEAD".into(), ..get_manifest(&lab.repo, reference) };
        lab.send(head).await?.must(&[404], "it was never pushed")?;
    }
    Ok(())
}

async fn unknown_manifests_have_a_code(lab: &Lab) -> Verdict {
    lab.push_image("v1").await?;
    for reference in ["v2", NOWHERE] {
        let answer = lab.pull(reference).await?;
        answer.refused(&[404], &["MANIFEST_UNKNOWN", "NAME_UNKNOWN"], "it was never pushed")?;
    }
    Ok(())
}

async fn manifests_belong_to_their_repository(lab: &Lab) -> Verdict {
    let digest = lab.push_image("v1").await?.digest();
    let other = lab.other("elsewhere");
    lab.push_blob_as(&other, "elsewhere", &crate::tester::content::sha256("elsewhere")).await?;
    for reference in ["v1", digest.as_str()] {
        let answer = lab.send(get_manifest(&other, reference)).await?;
        answer.must(&[404], "it was not pushed to this repository")?;
    }
    Ok(())
}

async fn invalid_references_have_a_code(lab: &Lab) -> Verdict {
    lab.push_image("v1").await?;
    let answer = lab.pull(".v1").await?;
    let codes = ["TAG_INVALID", "NAME_INVALID", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_UNKNOWN"];
    answer.refused(&[400, 404], &codes, "it is no tag")?;
    Ok(())
}

async fn any_type_may_be_accepted(lab: &Lab) -> Verdict {
    let image = lab.push_image("v1").await?;
    let get = Exchange::new("GET", lab.manifest("v1")).header("Accept", "*/*");
    lab.send(get).await?.must(&[200], "anything is accepted")?.must_be(&image.bytes(), "as pushed")?;
    Ok(())
}

async fn accept_may_be_left_out(lab: &Lab) -> Verdict {
    let image = lab.push_image("v1").await?;
    lab.get(lab.manifest("v1")).await?.must(&[200], "anything is accepted")?.must_be(&image.bytes(), "as pushed")?;
    Ok(())
}

async fn accept_may_be_a_list_with_weights(lab: &Lab) -> Verdict {
    let image = lab.push_image("v1").await?;
    let get = Exchange::new("GET", lab.manifest("v1"))
        .header("Accept", "application/vnd.oci.image.index.v1+json;q=0.9, text/plain")
        .header("Accept", format!("{};q=0.5", image.media_type));
    lab.send(get).await?.must(&[200], "its type is accepted")?.must_be(&image.bytes(), "as pushed")?;
    Ok(())
}

async fn a_known_manifest_is_not_sent_again(lab: &Lab) -> Verdict {
    lab.push_image("v1").await?;
    let got = lab.pull("v1").await?;
    let Some(tag) = got.header("ETag") else { return not_offered("ETag on manifests") };
    let again = get_manifest(&lab.repo, "v1").header("If-None-Match", tag);
    lab.send(again).await?.must(&[304], "the client has it already")?;
    Ok(())
}

async fn a_manifest_is_never_rewritten(lab: &Lab) -> Verdict {
    let image = Image::oci(&lab.word());
    for blob in &image.blobs {
        lab.push_blob(blob.clone()).await?;
    }
    let layers = &image.document["layers"];
    let odd = format!(
        "{{ \"org.example.odd\" : [1.0e2, {{\"b\":1,\"a\":\"\\u0041\"}}],\n\t\"layers\":{layers}, \"config\" : {},\n\
         \"mediaType\":\"{}\",  \"schemaVersion\":2 }}\n",
        image.document["config"], image.media_type
    );
    let put = Exchange::new("PUT", lab.manifest("odd")).header("Content-Type", image.media_type).body(odd.clone());
    lab.send(put).await?.must(&[201], "unknown fields are no error")?;
    lab.pull("odd").await?.must(&[200], "it was pushed")?.must_be(odd.as_bytes(), "byte for byte")?;
    Ok(())
}

async fn a_blob_is_no_manifest(lab: &Lab) -> Verdict {
    let digest = lab.push_blob(lab.word()).await?;
    let answer = lab.pull(&digest).await?;
    ensure(answer.status == 404, "404: it is a blob and no manifest", answer.to_string())
}

async fn nothing_is_pulled_from_no_repository(lab: &Lab) -> Verdict {
    let nowhere = lab.other("nowhere");
    for path in [format!("manifests/{NOWHERE}"), "manifests/v1".into(), format!("blobs/{NOWHERE}")] {
        for method in ["GET", "HEAD"] {
            let exchange = Exchange::new(method, format!("/v2/{nowhere}/{path}"));
            lab.send(exchange).await?.must(&[404], "there is no such repository")?;
        }
    }
    Ok(())
}
