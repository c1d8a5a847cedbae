//! The end of an upload (SPEC H).

use crate::tester::check::checks;
use crate::tester::content::{sha256, sha512};
use crate::tester::exchange::{Exchange, with_parameter};
use crate::tester::lab::{Lab, Verdict, not_offered};

checks! {
    "H1" Must "OCI end-6" a_blob_in_one_put "PUT with the whole blob is 201";
    "H1" Must "OCI end-6" the_last_chunk_may_come_with_the_put "PUT may bring the last chunk";
    "H8" Must "OCI end-6" the_location_of_a_blob_can_be_pulled "the Location of the 201 gives the blob at once";
    "H2" Must "OCI end-6" the_put_names_the_digest_of_the_client "Docker-Content-Digest of the 201, if there, is the digest that the client named";
    "H3" Must "OCI end-6" a_wrong_digest_is_refused "PUT of bytes that have another digest is 400";
    "H3" Doc "Docker, DIGEST_INVALID" a_wrong_digest_has_a_code "PUT of bytes that have another digest is DIGEST_INVALID";
    "H3" Must "OCI end-6" a_wrong_digest_stores_nothing "PUT of bytes that have another digest stores nothing under either";
    "H4" Must "OCI end-6" a_put_needs_a_digest "PUT without a digest, or with a malformed one, is 400";
    "H4" Good "Docker, Completed Upload" a_put_without_a_digest_can_be_repeated "after a PUT without a digest the right one is taken";
    "H5" Must "OCI HEAD end-6" the_last_chunk_must_be_in_order "PUT with a chunk that does not begin where the session ends is 416";
    "H6" Doc "Docker, Completed Upload" of_several_digests_one_must_be_right "PUT with two digests, both wrong, is 400, and stores nothing";
    "H7" Doc "Docker, BLOB_UPLOAD_UNKNOWN" a_session_ends_once "a second PUT to a finished session is 404, or 201 again with the same digest";
    "H9" Good "idempotence" a_blob_may_be_pushed_again "pushing a blob again is 201";
    "B7" Must "image-spec, Digests" a_sha512_is_verified "where SHA-512 is taken, bytes that have another digest are 400";
}

async fn a_blob_in_one_put(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let bytes = lab.word();
    lab.finish(&session, &sha256(&bytes), bytes).await?.must(&[201], "the bytes have this digest")?;
    Ok(())
}

async fn the_last_chunk_may_come_with_the_put(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let first = format!("{:-<1$}", lab.word(), lab.can().chunk_minimum);
    let answer = lab.patch(&session, first.clone(), Some(&format!("0-{}", first.len() - 1))).await?;
    let session = answer.must(&[202], "the first chunk begins at 0")?.location("the session")?;
    let last = lab.word();
    let whole = format!("{first}{last}");
    let digest = sha256(&whole);
    // Where it lies is among the header fields that end-6 names.
    let put = Exchange::new("PUT", with_parameter(&session, "digest", &digest))
        .header("Content-Type", "application/octet-stream")
        .header("Content-Range", format!("{}-{}", first.len(), whole.len() - 1));
    lab.send(put.body(last)).await?.must(&[201], "both together have this digest")?;
    lab.get(lab.blob(&digest)).await?.must(&[200], "it was pushed")?.must_be(whole.as_bytes(), "both chunks")?;
    Ok(())
}

async fn the_location_of_a_blob_can_be_pulled(lab: &Lab) -> Verdict {
    let bytes = lab.word();
    let answer = lab.push_blob_as(&lab.repo, bytes.clone(), &sha256(&bytes)).await?;
    let location = answer.location("where the blob is")?;
    lab.get(location).await?.must(&[200], "it was pushed")?.must_be(bytes.as_bytes(), "as pushed")?;
    Ok(())
}

async fn the_put_names_the_digest_of_the_client(lab: &Lab) -> Verdict {
    let bytes = lab.word();
    let answer = lab.push_blob_as(&lab.repo, bytes.clone(), &sha256(&bytes)).await?;
    if answer.header("Docker-Content-Digest").is_none() {
        return not_offered("Docker-Content-Digest on a finished upload");
    }
    answer.must_have("Docker-Content-Digest", &sha256(&bytes), "containerd gives a push up otherwise")?;
    Ok(())
}

async fn a_wrong_digest_is_refused(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let (bytes, meant) = (lab.word(), lab.word());
    lab.finish(&session, &sha256(meant), bytes).await?.must(&[400], "the bytes have another digest")?;
    Ok(())
}

async fn a_wrong_digest_has_a_code(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let (bytes, meant) = (lab.word(), lab.word());
    let answer = lab.finish(&session, &sha256(meant), bytes).await?;
    answer.refused(&[400], &["DIGEST_INVALID"], "the bytes have another digest")?;
    Ok(())
}

async fn a_wrong_digest_stores_nothing(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let (bytes, meant) = (lab.word(), lab.word());
    lab.finish(&session, &sha256(&meant), bytes.clone()).await?;
    for digest in [sha256(meant), sha256(bytes)] {
        lab.get(lab.blob(&digest)).await?.must(&[404], "the upload failed")?;
    }
    Ok(())
}

async fn a_put_needs_a_digest(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let put = Exchange::new("PUT", session).header("Content-Type", "application/octet-stream").body(lab.word());
    lab.send(put).await?.must(&[400], "nothing says what the blob is to be")?;
    let session = lab.open().await?;
    lab.finish(&session, "sha256:short", lab.word()).await?.must(&[400], "it is no digest")?;
    Ok(())
}

async fn a_put_without_a_digest_can_be_repeated(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let put = Exchange::new("PUT", &session).header("Content-Type", "application/octet-stream").body("");
    lab.send(put).await?.must(&[400], "nothing says what the blob is to be")?;
    let bytes = lab.word();
    lab.finish(&session, &sha256(&bytes), bytes).await?.must(&[201], "the session is as before")?;
    Ok(())
}

async fn the_last_chunk_must_be_in_order(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let bytes = lab.word();
    let url = crate::tester::exchange::with_parameter(&session, "digest", &sha256(&bytes));
    let put = Exchange::new("PUT", url)
        .header("Content-Type", "application/octet-stream")
        .header("Content-Range", format!("7-{}", bytes.len() + 6));
    lab.send(put.body(bytes)).await?.must(&[416], "the session is empty")?;
    Ok(())
}

async fn a_session_ends_once(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let bytes = lab.word();
    lab.finish(&session, &sha256(&bytes), bytes.clone()).await?.must(&[201], "the bytes have this digest")?;
    let again = lab.finish(&session, &sha256(&bytes), bytes).await?;
    again.must(&[404, 201], "the session has ended, and may be remembered")?;
    let other = lab.word();
    lab.finish(&session, &sha256(&other), other).await?.must(&[404], "the session has ended")?;
    Ok(())
}

async fn a_blob_may_be_pushed_again(lab: &Lab) -> Verdict {
    let bytes = lab.word();
    lab.push_blob(bytes.clone()).await?;
    lab.push_blob(bytes.clone()).await?;
    lab.get(lab.blob(&sha256(&bytes))).await?.must(&[200], "it was pushed")?.must_be(bytes.as_bytes(), "as pushed")?;
    Ok(())
}

async fn a_sha512_is_verified(lab: &Lab) -> Verdict {
    if !lab.can().sha512 {
        return not_offered("SHA-512");
    }
    let session = lab.open().await?;
    let (bytes, meant) = (lab.word(), lab.word());
    lab.finish(&session, &sha512(meant), bytes).await?.must(&[400], "the bytes have another digest")?;
    Ok(())
}

async fn of_several_digests_one_must_be_right(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let bytes = lab.word();
    let wrong = [sha256(lab.word()), sha256(lab.word())];
    let url = with_parameter(&session, "digest", &wrong[0]);
    lab.finish(&url, &wrong[1], bytes).await?.must(&[400], "the bytes have neither digest")?;
    for digest in wrong {
        lab.get(lab.blob(&digest)).await?.must(&[404], "nothing was pushed that has this digest")?;
    }
    Ok(())
}
