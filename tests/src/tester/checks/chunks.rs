//! Chunks, and where a session stands (SPEC F, G).

use crate::tester::check::checks;
use crate::tester::content::sha256;
use crate::tester::exchange::{Answer, Exchange};
use crate::tester::lab::{Lab, Stop, Verdict, ensure, not_offered, wrong};

checks! {
    "F1" Must "OCI end-5" a_blob_in_chunks "chunks with Content-Range are 202, and together they are the blob";
    "F1" Must "OCI end-5" a_chunk_tells_how_far_it_is "the 202 to a chunk has a Location, and Range: 0-<last byte received>";
    "F2" Must "OCI end-5" a_gap_between_chunks_is_refused "a chunk that begins beyond the end of the session is 416";
    "F2" Must "OCI end-5" a_chunk_is_taken_once "a chunk that was taken before is 416";
    "F2" Must "OCI end-5" a_refused_chunk_changes_nothing "after a 416 the session is as before, and can be finished";
    "F3" Doc "Docker, PATCH Blob Upload" a_refused_chunk_tells_where_to_go_on "416 has Location and Range: 0-<last byte>";
    "F4" Doc "Docker, PATCH Blob Upload" malformed_content_ranges_are_refused "a malformed Content-Range is refused with 416 (or 400)";
    "F5" Doc "Docker, SIZE_INVALID" a_chunk_has_the_length_it_says "a chunk whose length is not that of its Content-Range is refused";
    "F6" Must "OCI end-5; Docker, Stream upload" a_blob_streamed "a PATCH without Content-Range, sent in transfer chunks, is 202";
    "F7" Good "Docker, Stream upload" streams_append "several PATCHes without Content-Range append";
    "F8" Must "OCI end-13" an_earlier_location_still_tells "GET on an earlier Location of the session still tells where it stands";
    "F10" Doc "Docker, BLOB_UPLOAD_UNKNOWN" an_ended_session_is_unknown "a session that has ended is 404 BLOB_UPLOAD_UNKNOWN";
    "F11" Good "repositories are apart" a_session_belongs_to_its_repository "a session cannot be used by way of another repository";
    "F12" Good "OCI FAQ" the_type_of_a_chunk_does_not_matter "a chunk of another Content-Type is taken";
    "F13" Good "the Docker client" an_empty_chunk_is_no_error "a PATCH of no bytes is 202, and says Range: 0-0";
    "F14" Good "clients lose connections" a_chunk_cut_off_leaves_a_defined_session "after a PATCH that was cut off the status tells how much arrived, and the upload goes on there";
    "G1" Must "OCI end-13" the_status_of_a_session "GET of a session is 204 with Location and Range: 0-<last byte>, without a unit";
    "G2" Good "the Docker client" an_empty_session_is_at_the_beginning "GET of a session that took nothing says Range: 0-0, which the Docker client can read";
    "G3" Doc "Docker, GET Blob Upload" the_status_names_the_session "GET of a session has Docker-Upload-UUID";
}

/// Bytes that are large enough for a chunk here.
fn chunk(lab: &Lab) -> String {
    let mut chunk = lab.word();
    while chunk.len() < lab.can().chunk_minimum {
        chunk.push('-');
    }
    chunk
}

fn range(offset: usize, bytes: &str) -> String {
    format!("{offset}-{}", offset + bytes.len() - 1)
}

/// Where the session is to be found after an answer: the newest Location.
fn newest(answer: &Answer, before: &str) -> String {
    answer.header("Location").filter(|location| !location.is_empty()).unwrap_or(before).to_owned()
}

/// A session that holds a first chunk: its URL and the chunk.
async fn begun(lab: &Lab) -> Result<(String, String), Stop> {
    let session = lab.open().await?;
    let first = chunk(lab);
    let answer = lab.patch(&session, first.clone(), Some(&range(0, &first))).await?;
    answer.must(&[202], "the first chunk begins at 0")?;
    Ok((newest(&answer, &session), first))
}

async fn a_blob_in_chunks(lab: &Lab) -> Verdict {
    let (session, first) = begun(lab).await?;
    let second = chunk(lab);
    let answer = lab.patch(&session, second.clone(), Some(&range(first.len(), &second))).await?;
    answer.must(&[202], "the second chunk begins where the first ends")?;
    let whole = first + &second;
    let digest = sha256(&whole);
    lab.finish(&newest(&answer, &session), &digest, "").await?.must(&[201], "the chunks are the blob")?;
    lab.get(lab.blob(&digest)).await?.must(&[200], "it was pushed")?.must_be(whole.as_bytes(), "in order")?;
    Ok(())
}

async fn a_chunk_tells_how_far_it_is(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let first = chunk(lab);
    let answer = lab.patch(&session, first.clone(), Some(&range(0, &first))).await?;
    answer.must(&[202], "the first chunk begins at 0")?.location("the session, for the next chunk")?;
    answer.must_have("Range", &range(0, &first), "what has been received")?;
    let second = chunk(lab);
    let answer = lab.patch(&newest(&answer, &session), second.clone(), Some(&range(first.len(), &second))).await?;
    answer.must(&[202], "the second chunk begins where the first ends")?;
    answer.must_have("Range", &range(0, &(first + &second)), "what has been received, of both")?;
    Ok(())
}

async fn a_gap_between_chunks_is_refused(lab: &Lab) -> Verdict {
    let (session, first) = begun(lab).await?;
    let third = chunk(lab);
    let answer = lab.patch(&session, third.clone(), Some(&range(first.len() + 7, &third))).await?;
    answer.must(&[416], "the chunk between is missing")?;
    Ok(())
}

async fn a_chunk_is_taken_once(lab: &Lab) -> Verdict {
    let (session, first) = begun(lab).await?;
    let answer = lab.patch(&session, first.clone(), Some(&range(0, &first))).await?;
    answer.must(&[416], "the session is beyond it")?;
    Ok(())
}

async fn a_refused_chunk_changes_nothing(lab: &Lab) -> Verdict {
    let (session, first) = begun(lab).await?;
    let third = chunk(lab);
    let answer = lab.patch(&session, third.clone(), Some(&range(first.len() + 7, &third))).await?;
    answer.must(&[416], "the chunk between is missing")?;
    let status = lab.get(session.clone()).await?;
    // Whether the status can be asked at all is a matter of its own (SPEC G1).
    if status.status == 204 {
        status.must_have("Range", &range(0, &first), "as before")?;
    }
    let digest = sha256(&first);
    lab.finish(&newest(&status, &session), &digest, "").await?.must(&[201], "the first chunk is the blob")?;
    Ok(())
}

async fn a_refused_chunk_tells_where_to_go_on(lab: &Lab) -> Verdict {
    let (session, first) = begun(lab).await?;
    let answer = lab.patch(&session, first.clone(), Some(&range(0, &first))).await?;
    if answer.status != 416 {
        return not_offered("416 for a repeated chunk");
    }
    answer.location("the session")?;
    answer.must_have("Range", &range(0, &first), "where the session stands")?;
    Ok(())
}

async fn malformed_content_ranges_are_refused(lab: &Lab) -> Verdict {
    for malformed in ["0", "a-b", "5-2", "bytes=0-"] {
        let session = lab.open().await?;
        let answer = lab.patch(&session, chunk(lab), Some(malformed)).await?;
        answer.must(&[416, 400], &format!("`Content-Range: {malformed}` is none"))?;
    }
    Ok(())
}

async fn a_chunk_has_the_length_it_says(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let bytes = chunk(lab);
    let answer = lab.patch(&session, bytes.clone(), Some(&format!("0-{}", bytes.len() + 4))).await?;
    answer.must(&[400, 416], "the body is 5 bytes shorter than Content-Range says")?;
    Ok(())
}

async fn a_blob_streamed(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let bytes = chunk(lab);
    let patch = Exchange::new("PATCH", &session).header("Content-Type", "application/octet-stream");
    let answer = lab.send(patch.chunked(bytes.clone())).await?;
    answer.must(&[202], "the body is streamed")?;
    let digest = sha256(&bytes);
    lab.finish(&newest(&answer, &session), &digest, "").await?.must(&[201], "the stream is the blob")?;
    lab.get(lab.blob(&digest)).await?.must(&[200], "it was pushed")?.must_be(bytes.as_bytes(), "as streamed")?;
    Ok(())
}

async fn streams_append(lab: &Lab) -> Verdict {
    let mut session = lab.open().await?;
    let mut whole = String::new();
    for _ in 0..3 {
        let bytes = chunk(lab);
        let answer = lab.patch(&session, bytes.clone(), None).await?;
        answer.must(&[202], "without Content-Range it goes on where the session ends")?;
        session = newest(&answer, &session);
        whole.push_str(&bytes);
    }
    lab.finish(&session, &sha256(&whole), "").await?.must(&[201], "the chunks are the blob")?;
    Ok(())
}

async fn an_earlier_location_still_tells(lab: &Lab) -> Verdict {
    let earlier = lab.open().await?;
    let first = chunk(lab);
    let answer = lab.patch(&earlier, first.clone(), Some(&range(0, &first))).await?;
    answer.must(&[202], "the first chunk begins at 0")?;
    let status = lab.get(earlier).await?;
    status.must(&[204], "the session lives")?.must_have("Range", &range(0, &first), "what was received")?;
    Ok(())
}

async fn an_ended_session_is_unknown(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let bytes = lab.word();
    lab.finish(&session, &sha256(&bytes), bytes.clone()).await?.must(&[201], "the upload is finished")?;
    let why = "the session has ended";
    lab.get(session.clone()).await?.refused(&[404], &["BLOB_UPLOAD_UNKNOWN"], why)?;
    lab.patch(&session, bytes.clone(), None).await?.refused(&[404], &["BLOB_UPLOAD_UNKNOWN"], why)?;
    // With the same digest it may be answered as before (SPEC H7).
    let other = lab.word();
    lab.finish(&session, &sha256(&other), other).await?.refused(&[404], &["BLOB_UPLOAD_UNKNOWN"], why)?;
    Ok(())
}

async fn a_session_belongs_to_its_repository(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let other = lab.other("elsewhere");
    lab.push_blob_as(&other, "elsewhere", &sha256("elsewhere")).await?;
    let foreign = session.replace(&format!("/{}/blobs/", lab.repo), &format!("/{other}/blobs/"));
    if foreign == session {
        return not_offered("sessions below their repository");
    }
    let answer = lab.get(foreign).await?;
    ensure((400..500).contains(&answer.status), "404: it is the session of another repository", answer.to_string())
}

async fn the_type_of_a_chunk_does_not_matter(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let patch = Exchange::new("PATCH", session).header("Content-Type", "text/plain").body(chunk(lab));
    lab.send(patch).await?.must(&[202], "the type of a chunk has no meaning")?;
    Ok(())
}

async fn an_empty_chunk_is_no_error(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let answer = lab.patch(&session, "", None).await?;
    answer.must(&[202], "nothing was sent, nothing is wrong")?.must_have("Range", "0-0", "clients read two numbers")?;
    Ok(())
}

async fn a_chunk_cut_off_leaves_a_defined_session(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let whole = format!("{:=<4000}", chunk(lab));
    let patch = Exchange::new("PATCH", &session).header("Content-Type", "application/octet-stream");
    lab.send(patch.cut(whole.as_bytes()[..2000].to_vec(), whole.len() as u64)).await?;
    // The registry may still be at work on what arrived: it then refuses to go on, and is asked again.
    for _ in 0..20 {
        let status = lab.get(session.clone()).await?;
        if status.status == 404 {
            return not_offered("keeping a session whose connection broke");
        }
        status.must(&[204], "the session lives")?;
        let Some(last) = status.last_byte() else {
            return wrong("Range: 0-<last byte>", status.to_string());
        };
        let start = if last <= 0 { 0 } else { usize::try_from(last + 1).unwrap_or(0).min(2000) };
        let rest = &whole[start..];
        let answer = lab.patch(&newest(&status, &session), rest.to_owned(), Some(&range(start, rest))).await?;
        if answer.status == 202 {
            let done = lab.finish(&newest(&answer, &session), &sha256(&whole), "").await?;
            done.must(&[201], "what arrived, and the rest, are the blob")?;
            return Ok(());
        }
    }
    wrong("a chunk that begins where the status says is taken", "it was refused twenty times")
}

async fn the_status_of_a_session(lab: &Lab) -> Verdict {
    let (session, first) = begun(lab).await?;
    let status = lab.get(session).await?;
    status.must(&[204], "the session lives")?.location("the session")?;
    status.must_have("Range", &range(0, &first), "what was received")?;
    Ok(())
}

async fn the_status_names_the_session(lab: &Lab) -> Verdict {
    let (session, _) = begun(lab).await?;
    let status = lab.get(session).await?;
    ensure(status.header("Docker-Upload-UUID").is_some(), "Docker-Upload-UUID", status.to_string())
}

async fn an_empty_session_is_at_the_beginning(lab: &Lab) -> Verdict {
    let session = lab.open().await?;
    let answer = lab.get(session).await?;
    answer.must(&[204], "the session is open")?.must_have(
        "Range",
        "0-0",
        "a second number below the first is no range",
    )?;
    Ok(())
}
