//! Parts of blobs (SPEC C7 to C13; RFC 9110, section 14).

use crate::tester::check::checks;
use crate::tester::exchange::{Answer, Exchange};
use crate::tester::lab::{Lab, Stop, Verdict, ensure, not_offered};

checks! {
    "C7" Should "OCI end-2; RFC 9110, 14.2" a_part_of_a_blob_comes "Range: bytes=a-b gives 206 and exactly these bytes";
    "C7" Should "RFC 9110, 14.1.2" a_part_may_be_open "Range may leave out the end, or count from the end";
    "C7" Should "RFC 9110, 14.1.2" a_part_ends_with_the_blob "a range that ends beyond the blob ends with it";
    "C8" Must "RFC 9110, 15.5.17" no_part_lies_beyond_the_blob "a range that begins beyond the blob is 416";
    "C9" Should "RFC 9110, 15.5.17" a_refused_range_tells_the_size "416 says Content-Range: bytes */size";
    "C10" Should "RFC 9110, 14.2 (OCI HEAD)" unknown_units_are_ignored "a range in a unit that nobody knows is ignored";
    "C11" Must "RFC 9110, 13.1.5 (OCI HEAD)" if_range_keeps_contents_apart "If-Range with another validator gives the whole blob";
    "C11" Must "RFC 9110, 14.2 (OCI HEAD)" head_ignores_ranges "HEAD ignores Range";
    "C13" Doc "Docker, Fetch Blob Part" range_support_is_told "HEAD of a blob says Accept-Ranges: bytes where parts can be had";
}

/// A blob of 300 bytes, and the answer to a request for a part of it.
async fn part(lab: &Lab, range: &str) -> Result<(String, Answer), Stop> {
    if !lab.can().ranges {
        return not_offered("parts of blobs");
    }
    let bytes = format!("{:-<300}", lab.word());
    let digest = lab.push_blob(bytes.clone()).await?;
    let answer = lab.send(Exchange::new("GET", lab.blob(&digest)).header("Range", range)).await?;
    Ok((bytes, answer))
}

fn is_part(bytes: &str, answer: &Answer, first: usize, last: usize) -> Verdict {
    answer.must(&[206], "a part was asked for")?;
    answer.must_be(&bytes.as_bytes()[first..=last], "the part that was asked for")?;
    answer.must_have("Content-Range", &format!("bytes {first}-{last}/{}", bytes.len()), "where the part lies")?;
    answer.must_have("Content-Length", &(last + 1 - first).to_string(), "the length of the part")?;
    Ok(())
}

async fn a_part_of_a_blob_comes(lab: &Lab) -> Verdict {
    let (bytes, answer) = part(lab, "bytes=3-17").await?;
    is_part(&bytes, &answer, 3, 17)
}

async fn a_part_may_be_open(lab: &Lab) -> Verdict {
    let (bytes, answer) = part(lab, "bytes=290-").await?;
    is_part(&bytes, &answer, 290, 299)?;
    let (bytes, answer) = part(lab, "bytes=-5").await?;
    is_part(&bytes, &answer, 295, 299)
}

async fn a_part_ends_with_the_blob(lab: &Lab) -> Verdict {
    let (bytes, answer) = part(lab, "bytes=295-1000").await?;
    is_part(&bytes, &answer, 295, 299)
}

async fn no_part_lies_beyond_the_blob(lab: &Lab) -> Verdict {
    let (_, answer) = part(lab, "bytes=300-301").await?;
    answer.must(&[416], "the blob has 300 bytes")?;
    Ok(())
}

async fn a_refused_range_tells_the_size(lab: &Lab) -> Verdict {
    let (_, answer) = part(lab, "bytes=1000-2000").await?;
    answer.must(&[416], "the blob has 300 bytes")?.must_have("Content-Range", "bytes */300", "the size of the blob")?;
    Ok(())
}

async fn unknown_units_are_ignored(lab: &Lab) -> Verdict {
    let (bytes, answer) = part(lab, "pages=1-2").await?;
    answer.must(&[200], "the unit is unknown")?.must_be(bytes.as_bytes(), "the whole")?;
    Ok(())
}

async fn if_range_keeps_contents_apart(lab: &Lab) -> Verdict {
    if !lab.can().ranges {
        return not_offered("parts of blobs");
    }
    let bytes = lab.word();
    let digest = lab.push_blob(bytes.clone()).await?;
    let get = Exchange::new("GET", lab.blob(&digest)).header("Range", "bytes=1-2").header("If-Range", "\"another\"");
    lab.send(get).await?.must(&[200], "If-Range names another content")?.must_be(bytes.as_bytes(), "the whole")?;
    Ok(())
}

async fn head_ignores_ranges(lab: &Lab) -> Verdict {
    if !lab.can().ranges {
        return not_offered("parts of blobs");
    }
    let digest = lab.push_blob(lab.word()).await?;
    let head = lab.send(Exchange::new("HEAD", lab.blob(&digest)).header("Range", "bytes=1-2")).await?;
    head.must(&[200], "ranges are for GET")?;
    Ok(())
}

async fn range_support_is_told(lab: &Lab) -> Verdict {
    if !lab.can().ranges {
        return not_offered("parts of blobs");
    }
    let digest = lab.push_blob(lab.word()).await?;
    let head = lab.head(lab.blob(&digest)).await?;
    ensure(head.header("Accept-Ranges") == Some("bytes"), "Accept-Ranges: bytes", format!("{:?}", head.headers))
}
