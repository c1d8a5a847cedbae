//! Blobs: download and delete (SPEC C, D).

use bytes::Bytes;

use crate::tester::check::checks;
use crate::tester::content::{NOWHERE, sha256, sha512};
use crate::tester::exchange::Exchange;
use crate::tester::lab::{Lab, Verdict, ensure, not_offered};

checks! {
    "C1" Must "OCI end-2" a_blob_comes_as_pushed "GET of a blob gives the bytes that were pushed, and their number";
    "C2" Must "OCI end-2" head_of_a_blob "HEAD of a blob answers 200, with its size and no body";
    "C3" Must "OCI end-2" the_digest_is_that_of_the_blob "Docker-Content-Digest of a blob, if there, is the digest that was asked for";
    "C3" Must "OCI HEAD end-2" the_digest_has_the_algorithm_asked_for "a blob asked by its SHA-512 digest is not answered with another digest";
    "C3" Must "OCI HEAD end-2" the_digest_is_told "GET and HEAD of a blob say Docker-Content-Digest";
    "C4" Must "OCI end-2" unknown_blobs_are_not_found "a blob that is not there is 404";
    "C4" Must "OCI end-2" blobs_belong_to_their_repository "a blob of one repository is 404 in another";
    "C4" Doc "Docker, GET Blob" unknown_blobs_have_a_code "a blob that is not there is BLOB_UNKNOWN (or NAME_UNKNOWN)";
    "C5" Doc "Docker, GET Blob" malformed_digests_of_blobs_have_a_code "a blob asked by a malformed digest is 400 DIGEST_INVALID";
    "C6" Doc "Docker, GET Blob" a_blob_is_octets "a blob is application/octet-stream";
    "C11" Good "RFC 9110, 13.1.2" a_known_blob_is_not_sent_again "a client that has the blob (If-None-Match) gets 304";
    "C14" Good "any content" an_empty_blob_is_a_blob "a blob of no bytes can be pushed and pulled";
    "D1" Must "OCI end-10" a_deleted_blob_is_gone "DELETE of a blob answers 202, and then it is 404";
    "D2" Must "OCI end-10" unknown_blobs_cannot_be_deleted "DELETE of a blob that is not there is 404, also the second time";
    "D3" Doc "Docker, DELETE Blob" malformed_digests_cannot_be_deleted "DELETE of a blob by a malformed digest is 400 DIGEST_INVALID";
    "D4" Must "OCI, Deleting Blobs" refused_blob_deletes_say_so "where blobs cannot be deleted, DELETE is 400 or 405";
    "D5" Good "Docker, DELETE Blob" a_used_blob_may_be_deleted_or_kept "DELETE of a blob that a manifest needs is 202, or is refused and leaves it";
    "D6" Good "repositories are apart" deleting_here_does_not_delete_there "a blob deleted in one repository stays in another that pushed it too";
}

async fn a_blob_comes_as_pushed(lab: &Lab) -> Verdict {
    let bytes = lab.word();
    let digest = lab.push_blob(bytes.clone()).await?;
    let got = lab.get(lab.blob(&digest)).await?;
    got.must(&[200], "it was pushed")?.must_be(bytes.as_bytes(), "nothing else has this digest")?;
    got.must_have("Content-Length", &bytes.len().to_string(), "the number of bytes")?;
    Ok(())
}

async fn head_of_a_blob(lab: &Lab) -> Verdict {
    let bytes = lab.word();
    let digest = lab.push_blob(bytes.clone()).await?;
    let head = lab.head(lab.blob(&digest)).await?;
    head.must(&[200], "it was pushed")?.must_be(b"", "HEAD has no body")?;
    head.must_have("Content-Length", &bytes.len().to_string(), "clients learn the size by it")?;
    Ok(())
}

async fn the_digest_is_that_of_the_blob(lab: &Lab) -> Verdict {
    let digest = lab.push_blob(lab.word()).await?;
    for method in ["GET", "HEAD"] {
        let answer = lab.send(Exchange::new(method, lab.blob(&digest))).await?;
        if answer.must(&[200], "it was pushed")?.header("Docker-Content-Digest").is_some() {
            answer.must_have("Docker-Content-Digest", &digest, "the digest of the body")?;
        }
    }
    Ok(())
}

async fn the_digest_has_the_algorithm_asked_for(lab: &Lab) -> Verdict {
    if !lab.can().sha512 {
        return not_offered("SHA-512");
    }
    let bytes = lab.word();
    let digest = sha512(&bytes);
    let pushed = lab.push_blob_as(&lab.repo, bytes.clone(), &digest).await?;
    let got = lab.get(lab.blob(&digest)).await?;
    got.must(&[200], "it was pushed")?.must_be(bytes.as_bytes(), "nothing else has this digest")?;
    for answer in [got, pushed] {
        if answer.header("Docker-Content-Digest").is_some() {
            answer.must_have("Docker-Content-Digest", &digest, "the digest that the client named")?;
        }
    }
    Ok(())
}

async fn the_digest_is_told(lab: &Lab) -> Verdict {
    let digest = lab.push_blob(lab.word()).await?;
    for method in ["GET", "HEAD"] {
        let answer = lab.send(Exchange::new(method, lab.blob(&digest))).await?;
        answer.must_have("Docker-Content-Digest", &digest, "it MUST be there")?;
    }
    Ok(())
}

async fn unknown_blobs_are_not_found(lab: &Lab) -> Verdict {
    lab.get(lab.blob(NOWHERE)).await?.must(&[404], "there is no such repository")?;
    lab.push_blob(lab.word()).await?;
    lab.get(lab.blob(NOWHERE)).await?.must(&[404], "there is no such blob")?;
    lab.head(lab.blob(NOWHERE)).await?.must(&[404], "there is no such blob")?;
    Ok(())
}

async fn blobs_belong_to_their_repository(lab: &Lab) -> Verdict {
    let digest = lab.push_blob(lab.word()).await?;
    let other = lab.other("elsewhere");
    lab.push_blob_as(&other, "elsewhere", &sha256("elsewhere")).await?;
    let answer = lab.get(format!("/v2/{other}/blobs/{digest}")).await?;
    answer.must(&[404], "it was neither pushed nor mounted into this repository")?;
    Ok(())
}

async fn unknown_blobs_have_a_code(lab: &Lab) -> Verdict {
    lab.push_blob(lab.word()).await?;
    let answer = lab.get(lab.blob(NOWHERE)).await?;
    answer.refused(&[404], &["BLOB_UNKNOWN", "NAME_UNKNOWN"], "there is no such blob")?;
    Ok(())
}

async fn malformed_digests_of_blobs_have_a_code(lab: &Lab) -> Verdict {
    lab.push_blob(lab.word()).await?;
    let answer = lab.get(lab.blob("sha256:short")).await?;
    answer.refused(&[400], &["DIGEST_INVALID"], "it is no digest")?;
    Ok(())
}

async fn a_blob_is_octets(lab: &Lab) -> Verdict {
    let digest = lab.push_blob(lab.word()).await?;
    let got = lab.get(lab.blob(&digest)).await?;
    got.must_have("Content-Type", "application/octet-stream", "the registry does not know what it is")?;
    Ok(())
}

async fn a_known_blob_is_not_sent_again(lab: &Lab) -> Verdict {
    let digest = lab.push_blob(lab.word()).await?;
    let got = lab.get(lab.blob(&digest)).await?;
    let Some(tag) = got.header("ETag") else { return not_offered("ETag on blobs") };
    let again = Exchange::new("GET", lab.blob(&digest)).header("If-None-Match", tag);
    lab.send(again).await?.must(&[304], "the client has it already")?;
    Ok(())
}

async fn an_empty_blob_is_a_blob(lab: &Lab) -> Verdict {
    let digest = lab.push_blob(Bytes::new()).await?;
    lab.get(lab.blob(&digest)).await?.must(&[200], "it was pushed")?.must_be(b"", "it is empty")?;
    lab.head(lab.blob(&digest)).await?.must(&[200], "it was pushed")?;
    Ok(())
}

async fn a_deleted_blob_is_gone(lab: &Lab) -> Verdict {
    if !lab.can().delete_blob {
        return not_offered("deleting blobs");
    }
    let digest = lab.push_blob(lab.word()).await?;
    lab.delete(lab.blob(&digest)).await?.must(&[202], "it is deleted")?;
    lab.get(lab.blob(&digest)).await?.must(&[404], "it was deleted")?;
    lab.head(lab.blob(&digest)).await?.must(&[404], "it was deleted")?;
    Ok(())
}

async fn unknown_blobs_cannot_be_deleted(lab: &Lab) -> Verdict {
    if !lab.can().delete_blob {
        return not_offered("deleting blobs");
    }
    let digest = lab.push_blob(lab.word()).await?;
    lab.delete(lab.blob(NOWHERE)).await?.must(&[404], "there is no such blob")?;
    lab.delete(lab.blob(&digest)).await?.must(&[202], "it is deleted")?;
    lab.delete(lab.blob(&digest)).await?.must(&[404], "it was deleted before")?;
    lab.delete(format!("/v2/{}/blobs/{digest}", lab.other("nowhere"))).await?.must(&[404], "no such repository")?;
    Ok(())
}

async fn malformed_digests_cannot_be_deleted(lab: &Lab) -> Verdict {
    if !lab.can().delete_blob {
        return not_offered("deleting blobs");
    }
    lab.push_blob(lab.word()).await?;
    let answer = lab.delete(lab.blob("sha256:short")).await?;
    answer.refused(&[400], &["DIGEST_INVALID"], "it is no digest")?;
    Ok(())
}

async fn refused_blob_deletes_say_so(lab: &Lab) -> Verdict {
    if lab.can().delete_blob {
        return not_offered("a registry without it: this one deletes blobs");
    }
    let digest = lab.push_blob(lab.word()).await?;
    lab.delete(lab.blob(&digest)).await?.must(&[400, 405], "it deletes no blobs")?;
    Ok(())
}

async fn deleting_here_does_not_delete_there(lab: &Lab) -> Verdict {
    if !lab.can().delete_blob {
        return not_offered("deleting blobs");
    }
    let bytes = lab.word();
    let digest = lab.push_blob(bytes.clone()).await?;
    let other = lab.other("elsewhere");
    lab.push_blob_as(&other, bytes.clone(), &digest).await?;
    lab.delete(lab.blob(&digest)).await?.must(&[202], "it is deleted here")?;
    let there = lab.get(format!("/v2/{other}/blobs/{digest}")).await?;
    ensure(there.status == 200 && there.body == bytes, "200 and the blob: it was pushed there, too", there.to_string())
}

async fn a_used_blob_may_be_deleted_or_kept(lab: &Lab) -> Verdict {
    if !lab.can().delete_blob {
        return not_offered("deleting blobs");
    }
    let image = lab.push_image("v1").await?;
    let blob = lab.blob(&sha256(&image.blobs[1]));
    let answer = lab.delete(blob.clone()).await?;
    answer.must(&[202, 400, 403, 405, 409], "the image needs the blob")?;
    let expected = if answer.status == 202 { 404 } else { 200 };
    lab.get(blob).await?.must(&[expected], "as the DELETE said")?;
    lab.pull("v1").await?.must(&[200], "the manifest was not deleted")?;
    Ok(())
}
