//! Referrers (SPEC M).

use serde_json::{Value as Json, json};

use crate::tester::check::checks;
use crate::tester::content::{Image, NOWHERE, OCI_CONFIG, OCI_INDEX};
use crate::tester::exchange::{Answer, encode};
use crate::tester::lab::{Lab, Stop, Verdict, ensure, not_offered};

checks! {
    "M1" Must "OCI end-12a" no_referrers_are_an_empty_index "the referrers of a manifest that has none are an index with an empty list";
    "M2" Must "OCI end-12a" referrers_of_a_malformed_digest "the referrers of a malformed digest are 400";
    "M3" Must "OCI end-12a" referrers_are_listed "a manifest with a subject is among the referrers of the subject";
    "M3" Must "OCI end-12a" referrers_may_come_first "a manifest pushed before its subject is among the referrers";
    "M4" Must "OCI end-12a" referrers_have_their_artifact_type "a referrer has its artifactType, or the media type of its config";
    "M4" Must "OCI end-12a" indexes_without_a_type_have_none "an index without artifactType is listed without one";
    "M5" Must "OCI end-12a" referrers_have_their_annotations "a referrer has its annotations";
    "M6" Must "OCI end-12b" a_filter_that_was_applied_is_told "a list that was filtered says OCI-Filters-Applied: artifactType, and holds only that type";
    "M6" Good "OCI end-12b" without_a_filter_none_is_told "a list that was not filtered has no OCI-Filters-Applied";
    "M7" Must "OCI end-12a" more_referrers_than_a_manifest_holds_come_in_pages "a list of referrers beyond 4 MiB comes in pages: each an index of 4 MiB at most, all together every referrer once";
    "M7" Must "OCI end-12b" pages_of_referrers_keep_the_filter "the next page of a list that was filtered is filtered, too";
    "M9" Good "a list of manifests" referrers_are_listed_once "a referrer that was pushed twice is listed once";
    "M9" Must "OCI end-12a" referrers_belong_to_their_repository "referrers of one repository are not listed in another";
    "L8" Must "OCI end-9, end-12a" deleted_referrers_are_not_listed "a referrer that was deleted is not listed";
    "L8" Good "OCI end-12a" referrers_outlive_their_subject "after the subject is deleted its referrers are still listed";
}

async fn list(lab: &Lab, digest: &str, filter: &str) -> Result<(Answer, Vec<Json>), Stop> {
    if !lab.can().referrers {
        return not_offered("referrers");
    }
    let mut target = format!("/v2/{}/referrers/{digest}", lab.repo);
    if !filter.is_empty() {
        target.push_str(&format!("?artifactType={}", encode(filter)));
    }
    let answer = lab.get(target).await?;
    answer.must(&[200], "an index of the referrers")?;
    let listed = answer.json()["manifests"].as_array().cloned().unwrap_or_default();
    Ok((answer, listed))
}

fn digests(listed: &[Json]) -> Vec<&str> {
    listed.iter().filter_map(|entry| entry["digest"].as_str()).collect()
}

async fn no_referrers_are_an_empty_index(lab: &Lab) -> Verdict {
    let image = lab.push_image("v1").await?;
    for digest in [image.digest().as_str(), NOWHERE] {
        let (answer, _) = list(lab, digest, "").await?;
        let index = answer.json();
        let right = index["schemaVersion"] == 2 && index["mediaType"] == OCI_INDEX && index["manifests"] == json!([]);
        ensure(right, "an index with schemaVersion 2, its mediaType and \"manifests\":[]", answer.to_string())?;
        let media_type = answer.header("Content-Type").unwrap_or_default();
        ensure(media_type.starts_with(OCI_INDEX), format!("Content-Type: {OCI_INDEX}"), answer.to_string())?;
    }
    Ok(())
}

async fn referrers_of_a_malformed_digest(lab: &Lab) -> Verdict {
    if !lab.can().referrers {
        return not_offered("referrers");
    }
    lab.push_image("v1").await?;
    let answer = lab.get(format!("/v2/{}/referrers/sha256:short", lab.repo)).await?;
    answer.must(&[400], "it is no digest")?;
    Ok(())
}

async fn referrers_are_listed(lab: &Lab) -> Verdict {
    let subject = lab.push_image("v1").await?;
    let about = Image::oci(&lab.word()).about(&subject);
    lab.push(&about.digest(), &about).await?;
    let index = Image::list(OCI_INDEX, &[&subject]).about(&subject);
    lab.push(&index.digest(), &index).await?;
    let (answer, listed) = list(lab, &subject.digest(), "").await?;
    for pushed in [about, index] {
        let right = listed.iter().any(|entry| {
            entry["digest"] == pushed.digest().as_str()
                && entry["size"] == pushed.bytes().len()
                && entry["mediaType"] == pushed.media_type
        });
        ensure(right, format!("{} among them", pushed.descriptor()), answer.to_string())?;
    }
    Ok(())
}

async fn referrers_may_come_first(lab: &Lab) -> Verdict {
    lab.push_image("v0").await?;
    let subject = Image::oci(&lab.word());
    let about = Image::oci(&lab.word()).about(&subject);
    lab.push(&about.digest(), &about).await?;
    lab.push("v1", &subject).await?;
    let (answer, listed) = list(lab, &subject.digest(), "").await?;
    ensure(digests(&listed) == [about.digest()], format!("{} alone", about.digest()), answer.to_string())
}

async fn referrers_have_their_artifact_type(lab: &Lab) -> Verdict {
    let subject = lab.push_image("v1").await?;
    let typed = Image::oci(&lab.word()).field("artifactType", "application/vnd.orlop.a").about(&subject);
    let plain = Image::oci(&lab.word()).about(&subject);
    for about in [&typed, &plain] {
        lab.push(&about.digest(), about).await?;
    }
    let (answer, listed) = list(lab, &subject.digest(), "").await?;
    for (about, expected) in [(typed, "application/vnd.orlop.a"), (plain, OCI_CONFIG)] {
        let given = listed.iter().find(|entry| entry["digest"] == about.digest().as_str());
        let right = given.is_some_and(|entry| entry["artifactType"] == expected);
        ensure(right, format!("artifactType {expected} of {}", about.digest()), answer.to_string())?;
    }
    Ok(())
}

async fn indexes_without_a_type_have_none(lab: &Lab) -> Verdict {
    let subject = lab.push_image("v1").await?;
    let index = Image::list(OCI_INDEX, &[&subject]).about(&subject);
    lab.push(&index.digest(), &index).await?;
    let (answer, listed) = list(lab, &subject.digest(), "").await?;
    let right = listed.iter().any(|e| e["digest"] == index.digest().as_str() && e.get("artifactType").is_none());
    ensure(right, "the index, without artifactType", answer.to_string())
}

async fn referrers_have_their_annotations(lab: &Lab) -> Verdict {
    let subject = lab.push_image("v1").await?;
    let annotations = json!({ "org.example.one": "1", "org.example.two": "zwei ä" });
    let about = Image::oci(&lab.word()).field("annotations", annotations.clone()).about(&subject);
    lab.push(&about.digest(), &about).await?;
    let (answer, listed) = list(lab, &subject.digest(), "").await?;
    let right = listed.iter().any(|entry| entry["annotations"] == annotations);
    ensure(right, format!("annotations {annotations}"), answer.to_string())
}

async fn a_filter_that_was_applied_is_told(lab: &Lab) -> Verdict {
    let subject = lab.push_image("v1").await?;
    let typed = Image::oci(&lab.word()).field("artifactType", "application/vnd.orlop.a").about(&subject);
    let other = Image::oci(&lab.word()).field("artifactType", "application/vnd.orlop.b").about(&subject);
    for about in [&typed, &other] {
        lab.push(&about.digest(), about).await?;
    }
    let (answer, listed) = list(lab, &subject.digest(), "application/vnd.orlop.a").await?;
    let listed = digests(&listed);
    if listed.len() == 2 && answer.header("OCI-Filters-Applied").is_none() {
        return not_offered("filtering referrers");
    }
    ensure(listed == [typed.digest()], format!("{} alone", typed.digest()), answer.to_string())?;
    answer.must_have("OCI-Filters-Applied", "artifactType", "the client need not filter itself")?;
    Ok(())
}

async fn without_a_filter_none_is_told(lab: &Lab) -> Verdict {
    let subject = lab.push_image("v1").await?;
    let (answer, _) = list(lab, &subject.digest(), "").await?;
    ensure(answer.header("OCI-Filters-Applied").is_none(), "no OCI-Filters-Applied", answer.to_string())
}

async fn referrers_are_listed_once(lab: &Lab) -> Verdict {
    let subject = lab.push_image("v1").await?;
    let about = Image::oci(&lab.word()).about(&subject);
    for reference in [about.digest().as_str(), "tagged", "tagged-again"] {
        lab.push(reference, &about).await?;
    }
    let (answer, listed) = list(lab, &subject.digest(), "").await?;
    ensure(digests(&listed) == [about.digest()], format!("{} once", about.digest()), answer.to_string())
}

async fn referrers_belong_to_their_repository(lab: &Lab) -> Verdict {
    let subject = lab.push_image("v1").await?;
    let about = Image::oci(&lab.word()).about(&subject);
    lab.push(&about.digest(), &about).await?;
    list(lab, &subject.digest(), "").await?;
    let other = lab.other("elsewhere");
    lab.push_blob_as(&other, "elsewhere", &crate::tester::content::sha256("elsewhere")).await?;
    let answer = lab.get(format!("/v2/{other}/referrers/{}", subject.digest())).await?;
    answer.must(&[200, 404], "nothing in this repository refers to it")?;
    let listed = answer.json()["manifests"].as_array().map_or(0, Vec::len);
    ensure(listed == 0, "an empty list", answer.to_string())
}

async fn deleted_referrers_are_not_listed(lab: &Lab) -> Verdict {
    if !lab.can().delete_manifest {
        return not_offered("deleting manifests");
    }
    let subject = lab.push_image("v1").await?;
    let about = Image::oci(&lab.word()).about(&subject);
    lab.push(&about.digest(), &about).await?;
    lab.delete(lab.manifest(&about.digest())).await?.must(&[202], "the referrer is deleted")?;
    let (answer, listed) = list(lab, &subject.digest(), "").await?;
    ensure(listed.is_empty(), "an empty list", answer.to_string())
}

async fn referrers_outlive_their_subject(lab: &Lab) -> Verdict {
    if !lab.can().delete_manifest {
        return not_offered("deleting manifests");
    }
    let subject = lab.push_image("v1").await?;
    let about = Image::oci(&lab.word()).about(&subject);
    lab.push(&about.digest(), &about).await?;
    let answer = lab.delete(lab.manifest(&subject.digest())).await?;
    if matches!(answer.status, 403 | 405 | 409) {
        return not_offered("deleting what others refer to");
    }
    let (answer, listed) = list(lab, &subject.digest(), "").await?;
    ensure(digests(&listed) == [about.digest()], format!("{} still", about.digest()), answer.to_string())
}

/// How many referrers, each of that many bytes of annotations, are more than one manifest holds.
const MANY: (usize, usize) = (6, 900_000);

/// The largest manifest that every registry takes, in bytes: a client may refuse a larger page.
const PAGE: usize = 4 << 20;

/// Pushes more referrers than a page holds, in two types, and one small one of another: the subject, and the large.
async fn many(lab: &Lab) -> Result<(Image, Vec<String>), Stop> {
    if !lab.can().referrers {
        return not_offered("referrers");
    }
    let subject = lab.push_image("v1").await?;
    let small = Image::oci(&lab.word()).field("artifactType", "application/vnd.orlop.small").about(&subject);
    lab.push(&small.digest(), &small).await?;
    let mut large = Vec::new();
    for number in 0..MANY.0 {
        let note = json!({ "org.example.note": format!("{number}{}", "n".repeat(MANY.1)) });
        let about = Image::oci(&lab.word()).field("artifactType", "application/vnd.orlop.large");
        let about = about.field("annotations", note).about(&subject);
        for blob in &about.blobs {
            lab.push_blob(blob.clone()).await?;
        }
        let answer = lab.send(lab.put(&about.digest(), &about)).await?;
        if matches!(answer.status, 400 | 413) {
            return not_offered("manifests with annotations of 900 kB");
        }
        answer.must(&[201], "the manifest is below 4 MB (SPEC K13)")?;
        large.push(about.digest());
    }
    large.sort();
    Ok((subject, large))
}

/// Follows the links: every digest that is listed.
async fn pages(lab: &Lab, first: String) -> Result<Vec<String>, Stop> {
    let (mut next, mut found, mut count) = (Some(first), Vec::new(), 0);
    while let Some(target) = next {
        count += 1;
        let answer = lab.get(target).await?;
        answer.must(&[200], "a page of the referrers")?;
        let (status, size) = (answer.status, answer.body.len());
        ensure(size <= PAGE, "a page of 4 MiB at most", format!("{status} with a page of {size} bytes"))?;
        let index = answer.json();
        let right = index["schemaVersion"] == 2 && index["mediaType"] == OCI_INDEX && index["manifests"].is_array();
        ensure(right, "each page is an index", format!("{status} with schemaVersion {}", index["schemaVersion"]))?;
        let listed = index["manifests"].as_array().cloned().unwrap_or_default();
        found.extend(digests(&listed).into_iter().map(String::from));
        ensure(count <= 100, "an end of the pages", "more than 100 pages")?;
        next = answer.next_page();
    }
    found.sort();
    Ok(found)
}

async fn more_referrers_than_a_manifest_holds_come_in_pages(lab: &Lab) -> Verdict {
    let (subject, large) = many(lab).await?;
    let found = pages(lab, format!("/v2/{}/referrers/{}", lab.repo, subject.digest())).await?;
    let all = large.iter().all(|digest| found.iter().filter(|found| *found == digest).count() == 1);
    ensure(all && found.len() == large.len() + 1, "every referrer once", format!("{} of {}", found.len(), MANY.0 + 1))
}

async fn pages_of_referrers_keep_the_filter(lab: &Lab) -> Verdict {
    let (subject, large) = many(lab).await?;
    let filter = "application/vnd.orlop.large";
    let path = format!("/v2/{}/referrers/{}?artifactType={}", lab.repo, subject.digest(), encode(filter));
    let (answer, _) = list(lab, &subject.digest(), "application/vnd.orlop.small").await?;
    if answer.header("OCI-Filters-Applied").is_none() {
        return not_offered("filtering referrers");
    }
    let found = pages(lab, path).await?;
    ensure(found == large, "the large ones alone, each once", format!("{} of {}", found.len(), large.len()))
}
