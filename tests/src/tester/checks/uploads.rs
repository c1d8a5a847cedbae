//! Upload sessions: start, single post, cancel (SPEC E, I).

use bytes::Bytes;

use crate::tester::check::checks;
use crate::tester::content::{sha256, sha512};
use crate::tester::exchange::{Exchange, with_parameter};
use crate::tester::lab::{Lab, Verdict, ensure, not_offered};

checks! {
    "E1" Must "OCI end-4a" an_upload_has_a_session "POST answers 202 and a Location, another one each time";
    "E2" Doc "Docker, Initiate Blob Upload" a_new_session_says_where_it_is "the 202 has Range: 0-0 and Docker-Upload-UUID";
    "E3" Must "OCI, Pushing a blob in chunks" a_minimum_of_chunks_is_a_number "OCI-Chunk-Min-Length, if there, is a number of bytes, and chunks of so many are taken";
    "E4" Should "OCI HEAD end-4c" an_algorithm_can_be_announced "digest-algorithm=sha512 announces the algorithm of the digest";
    "E5" Good "crane sends JSON" the_type_of_an_empty_post_does_not_matter "POST with Content-Type: application/json opens a session";
    "E7" Must "OCI end-4b" a_blob_by_one_post "a blob pushed by one POST is 201, with a Location to pull it from";
    "E7" Should "OCI, Single POST" a_single_post_may_become_a_session "a registry that takes no blob by POST answers 202 with a session";
    "E8" Must "OCI end-4b" a_post_with_the_wrong_digest "a POST whose bytes have another digest is 400 (or 202), and nothing is stored";
    "E9" Must "OCI, Single POST" a_post_cut_off_stores_nothing "a POST that ends before its Content-Length stores nothing";
    "E16" Good "OCI, Single POST" a_digest_without_a_body_is_an_announcement "POST with the digest of what is still to be sent, and no body, answers 202 with a session";
    "I1" Should "OCI HEAD end-14" a_session_can_be_cancelled "DELETE of a session answers 204, and the session is 404";
}

async fn an_upload_has_a_session(lab: &Lab) -> Verdict {
    let (first, second) = (lab.open().await?, lab.open().await?);
    ensure(first != second, "another Location for another upload", format!("twice {first}"))
}

async fn a_digest_without_a_body_is_an_announcement(lab: &Lab) -> Verdict {
    let bytes = lab.word();
    let digest = sha256(&bytes);
    let answer = lab.send(single_post(lab, &digest, String::new())).await?;
    let session = answer.must(&[202], "nothing has been sent yet")?.location("the session")?;
    lab.finish(&session, &digest, bytes).await?.must(&[201], "the session takes what was announced")?;
    Ok(())
}

async fn a_new_session_says_where_it_is(lab: &Lab) -> Verdict {
    let answer = lab.send(Exchange::new("POST", lab.uploads()).body(Bytes::new())).await?;
    answer.must(&[202], "a session is opened")?.must_have("Range", "0-0", "it is empty; clients read two numbers")?;
    ensure(answer.header("Docker-Upload-UUID").is_some(), "Docker-Upload-UUID", answer.to_string())
}

async fn an_algorithm_can_be_announced(lab: &Lab) -> Verdict {
    if !lab.can().sha512 {
        return not_offered("SHA-512");
    }
    let post = Exchange::new("POST", format!("{}?digest-algorithm=sha512", lab.uploads())).body(Bytes::new());
    let answer = lab.send(post).await?;
    let session = answer.must(&[202], "a session is opened")?.location("the session")?;
    let bytes = lab.word();
    lab.finish(&session, &sha512(&bytes), bytes).await?.must(&[201], "the digest has the announced algorithm")?;
    Ok(())
}

async fn the_type_of_an_empty_post_does_not_matter(lab: &Lab) -> Verdict {
    let post = Exchange::new("POST", lab.uploads()).header("Content-Type", "application/json").body(Bytes::new());
    lab.send(post).await?.must(&[202], "there is no body that could have a type")?;
    Ok(())
}

fn single_post(lab: &Lab, digest: &str, bytes: String) -> Exchange {
    let post = Exchange::new("POST", with_parameter(&lab.uploads(), "digest", digest));
    post.header("Content-Type", "application/octet-stream").body(bytes)
}

async fn a_blob_by_one_post(lab: &Lab) -> Verdict {
    if !lab.can().single_post {
        return not_offered("pushing a blob by one POST");
    }
    let bytes = lab.word();
    let answer = lab.send(single_post(lab, &sha256(&bytes), bytes.clone())).await?;
    let location = answer.must(&[201], "the blob is taken")?.location("where the blob is")?;
    lab.get(location).await?.must(&[200], "it was pushed")?.must_be(bytes.as_bytes(), "as pushed")?;
    Ok(())
}

async fn a_single_post_may_become_a_session(lab: &Lab) -> Verdict {
    let bytes = lab.word();
    let digest = sha256(&bytes);
    let answer = lab.send(single_post(lab, &digest, bytes.clone())).await?;
    if answer.status == 201 {
        return not_offered("a registry without it: this one takes blobs by one POST");
    }
    let session = answer.must(&[202], "the client goes on with a session")?.location("the session")?;
    lab.finish(&session, &digest, bytes).await?.must(&[201], "the session takes the blob")?;
    Ok(())
}

async fn a_post_with_the_wrong_digest(lab: &Lab) -> Verdict {
    let (bytes, meant) = (lab.word(), lab.word());
    let digest = sha256(&meant);
    let answer = lab.send(single_post(lab, &digest, bytes.clone())).await?;
    answer.must(&[400, 202], "the bytes have another digest")?;
    lab.get(lab.blob(&digest)).await?.must(&[404], "nothing was pushed that has this digest")?;
    Ok(())
}

async fn a_post_cut_off_stores_nothing(lab: &Lab) -> Verdict {
    if !lab.can().single_post {
        return not_offered("pushing a blob by one POST");
    }
    let bytes = lab.word();
    let digest = sha256(&bytes);
    let promised = bytes.len() as u64 + 10;
    lab.send(single_post(lab, &digest, String::new()).cut(bytes, promised)).await?;
    lab.get(lab.blob(&digest)).await?.must(&[404], "the push was never complete")?;
    Ok(())
}

async fn a_session_can_be_cancelled(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let answer = lab.delete(session.clone()).await?;
    if matches!(answer.status, 400 | 404 | 405 | 501) {
        return not_offered("cancelling uploads");
    }
    answer.must(&[204], "the session is given up")?;
    lab.get(session).await?.must(&[404], "it was given up")?;
    Ok(())
}

async fn a_minimum_of_chunks_is_a_number(lab: &Lab) -> Verdict {
    let answer = lab.send(Exchange::new("POST", lab.uploads()).body(Bytes::new())).await?;
    let mut session = answer.must(&[202], "a session is opened")?.location("the session")?;
    let Some(minimum) = answer.header("OCI-Chunk-Min-Length").map(str::to_owned) else {
        return not_offered("a minimum for chunks");
    };
    let Ok(minimum) = minimum.parse::<usize>() else {
        return ensure(false, "a number of bytes", format!("OCI-Chunk-Min-Length: {minimum}"));
    };
    // Two chunks of the least, and a last one that may be smaller (SPEC F9).
    let chunk = "-".repeat(minimum.max(1));
    for begin in [0, chunk.len()] {
        let place = format!("{begin}-{}", begin + chunk.len() - 1);
        let answer = lab.patch(&session, chunk.clone(), Some(&place)).await?;
        session = answer.must(&[202], "the chunk has as many bytes as it must")?.location("the session")?;
    }
    let last = lab.word();
    let digest = sha256(format!("{chunk}{chunk}{last}"));
    lab.finish(&session, &digest, last).await?.must(&[201], "the last chunk may be smaller")?;
    Ok(())
}
