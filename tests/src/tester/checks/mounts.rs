//! Mounts (SPEC E10 to E15).

use bytes::Bytes;

use crate::tester::check::checks;
use crate::tester::content::{NOWHERE, sha256};
use crate::tester::exchange::{Answer, Exchange};
use crate::tester::lab::{Lab, Stop, Verdict, not_offered};

checks! {
    "E10" Must "OCI end-11" a_blob_can_be_mounted "a mount is 201, with a Location where the blob can be pulled from the new repository";
    "E11" Should "OCI end-11" a_mount_of_nothing_is_an_upload "a mount of a blob that is not there is 202 with a session";
    "E11" Should "OCI end-11" a_mount_from_nowhere_is_an_upload "a mount from a repository that is not there is 202 with a session";
    "E12" Must "OCI end-11" a_mount_without_a_source "a mount that does not say from where is 201 or 202";
    "E13" Good "Docker, Mount Blob" a_mount_of_nonsense_is_an_upload_or_refused "a mount of a malformed digest, or from a malformed name, is 202 with a session, or 400";
    "E15" Good "idempotence" a_mount_of_what_is_here "a mount of a blob that the repository has is 201";
    "E15" Good "clients send it" a_source_without_a_mount "from without mount opens a session";
    "D6" Good "repositories are apart" a_mounted_blob_outlives_its_source "a mounted blob stays when it is deleted where it came from";
}

async fn mount(lab: &Lab, repo: &str, query: String) -> Result<Answer, Stop> {
    lab.send(Exchange::new("POST", format!("/v2/{repo}/blobs/uploads/?{query}")).body(Bytes::new())).await
}

async fn a_blob_can_be_mounted(lab: &Lab) -> Verdict {
    if !lab.can().mount {
        return not_offered("mounting");
    }
    let bytes = lab.word();
    let digest = lab.push_blob(bytes.clone()).await?;
    let other = lab.other("target");
    let answer = mount(lab, &other, format!("mount={digest}&from={}", lab.repo)).await?;
    let location = answer.must(&[201], "the source has the blob")?.location("where the blob is")?;
    lab.get(location).await?.must(&[200], "it is mounted")?.must_be(bytes.as_bytes(), "the same blob")?;
    lab.get(format!("/v2/{other}/blobs/{digest}")).await?.must(&[200], "it is mounted")?;
    if answer.header("Docker-Content-Digest").is_some() {
        answer.must_have("Docker-Content-Digest", &digest, "the digest of the blob")?;
    }
    Ok(())
}

/// A session that came of a mount takes the blob.
async fn goes_on(lab: &Lab, answer: &Answer) -> Verdict {
    let session =
        answer.must(&[202], "the blob cannot be mounted, so it is to be uploaded")?.location("the session")?;
    let bytes = lab.word();
    lab.finish(&session, &sha256(&bytes), bytes).await?.must(&[201], "the session is as any other")?;
    Ok(())
}

async fn a_mount_of_nothing_is_an_upload(lab: &Lab) -> Verdict {
    lab.push_blob(lab.word()).await?;
    let answer = mount(lab, &lab.other("target"), format!("mount={NOWHERE}&from={}", lab.repo)).await?;
    goes_on(lab, &answer).await
}

async fn a_mount_from_nowhere_is_an_upload(lab: &Lab) -> Verdict {
    let answer = mount(lab, &lab.repo, format!("mount={NOWHERE}&from={}", lab.other("nowhere"))).await?;
    goes_on(lab, &answer).await
}

async fn a_mount_without_a_source(lab: &Lab) -> Verdict {
    let digest = lab.push_blob(lab.word()).await?;
    let answer = mount(lab, &lab.other("target"), format!("mount={digest}")).await?;
    let location = answer.must(&[201, 202], "found somewhere, or to be uploaded")?.location("blob or session")?;
    if answer.status == 201 {
        lab.get(location).await?.must(&[200], "it is mounted")?;
    }
    Ok(())
}

async fn a_mount_of_what_is_here(lab: &Lab) -> Verdict {
    if !lab.can().mount {
        return not_offered("mounting");
    }
    let digest = lab.push_blob(lab.word()).await?;
    mount(lab, &lab.repo, format!("mount={digest}&from={}", lab.repo)).await?.must(&[201], "it is here already")?;
    Ok(())
}

async fn a_source_without_a_mount(lab: &Lab) -> Verdict {
    mount(lab, &lab.repo, format!("from={}", lab.other("any"))).await?.must(&[202], "nothing is to be mounted")?;
    Ok(())
}

async fn a_mounted_blob_outlives_its_source(lab: &Lab) -> Verdict {
    if !lab.can().mount || !lab.can().delete_blob {
        return not_offered("mounting and deleting blobs");
    }
    let bytes = lab.word();
    let digest = lab.push_blob(bytes.clone()).await?;
    let other = lab.other("target");
    mount(lab, &other, format!("mount={digest}&from={}", lab.repo)).await?.must(&[201], "the source has the blob")?;
    lab.delete(lab.blob(&digest)).await?.must(&[202], "it is deleted in the source")?;
    let there = lab.get(format!("/v2/{other}/blobs/{digest}")).await?;
    there.must(&[200], "it was mounted there before")?.must_be(bytes.as_bytes(), "the same blob")?;
    Ok(())
}

async fn a_mount_of_nonsense_is_an_upload_or_refused(lab: &Lab) -> Verdict {
    let digest = lab.push_blob(lab.word()).await?;
    let from = lab.repo.clone();
    for query in [format!("mount=sha256:short&from={from}"), format!("mount={digest}&from=../{from}")] {
        mount(lab, &lab.other("target"), query).await?.must(&[202, 400], "Docker's document says both")?;
    }
    Ok(())
}
