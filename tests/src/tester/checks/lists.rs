//! Lists: tags and repositories (SPEC N, O).

use crate::tester::check::checks;
use crate::tester::content::Image;
use crate::tester::exchange::Answer;
use crate::tester::lab::{Lab, Stop, Verdict, ensure, not_offered, wrong};

checks! {
    "N1" Must "OCI end-8a" tags_are_listed "the list of tags has the name of the repository and every tag";
    "N1" Must "OCI end-8a" tags_of_no_repository "the tags of a repository that is not there are 404 (or an empty list)";
    "N2" Must "OCI end-8a" tags_are_in_order "tags are in lexical order";
    "N3" Must "OCI end-8b" a_page_has_as_many_tags_as_asked "n=2 gives two tags, the first ones";
    "N3" Doc "Docker, Pagination" a_page_links_to_the_next "a page that is not the last has a Link to the next";
    "N4" Must "OCI end-8b" a_page_of_no_tags "n=0 gives an empty list";
    "N5" Doc "Docker, PAGINATION_NUMBER_INVALID" a_page_has_a_number_of_tags "n that is negative or no number is 400";
    "N6" Must "OCI end-8b" more_tags_than_there_are "n beyond the number of tags gives them all (or a Link)";
    "N7" Must "OCI end-8b" tags_after_another "last=<tag> gives the tags after it, without it";
    "N7" Good "a tag may be deleted between pages" tags_after_what_is_not_there "last=<no tag> gives the tags that sort after it";
    "N8" Must "OCI end-8a" without_a_number_every_tag_is_told "without n the list has every tag, or a Link to the rest";
    "N9" Must "OCI end-8b; Docker, Pagination" pages_are_the_whole "the pages together are every tag once, in order";
    "O1" Doc "Docker, Catalog" repositories_are_listed "the catalog has a repository that a manifest was pushed to";
    "O2" Doc "Docker, Catalog" the_catalog_has_pages "n=1 gives one repository, and a Link when there are more";
    "O2" Good "registry-cli sends n=1001" more_repositories_than_a_page_has "n beyond what a page has gives a page, or 400";
    "O2" Doc "Docker, PAGINATION_NUMBER_INVALID" a_page_has_a_number_of_repositories "n that is negative or no number is 400";
}

/// Tags in the order of their bytes, which is also their order when case does not count.
const TAGS: [&str; 6] = ["0", "a", "a.b", "b-1", "v1", "v10"];

async fn tagged(lab: &Lab) -> Verdict {
    let image = Image::oci(&lab.word());
    lab.push("v1", &image).await?;
    for tag in ["v10", "a", "0", "b-1", "a.b"] {
        lab.send(lab.put(tag, &image)).await?.must(&[201], "another tag")?;
    }
    Ok(())
}

async fn page(lab: &Lab, query: &str) -> Result<Answer, Stop> {
    let answer = lab.get(format!("/v2/{}/tags/list{query}", lab.repo)).await?;
    answer.must(&[200], "the list of tags")?;
    Ok(answer)
}

fn is_list(answer: &Answer, tags: &[&str]) -> Verdict {
    ensure(answer.strings("tags") == tags, format!("tags {tags:?}"), answer.to_string())
}

async fn tags_are_listed(lab: &Lab) -> Verdict {
    tagged(lab).await?;
    let answer = page(lab, "").await?;
    let mut tags = answer.strings("tags");
    tags.sort();
    ensure(tags == TAGS, format!("tags {TAGS:?}"), answer.to_string())?;
    ensure(answer.json()["name"] == lab.repo.as_str(), format!("name {}", lab.repo), answer.to_string())
}

async fn tags_of_no_repository(lab: &Lab) -> Verdict {
    let answer = lab.get(format!("/v2/{}/tags/list", lab.repo)).await?;
    answer.must(&[404, 200], "there is no such repository")?;
    ensure(answer.strings("tags").is_empty(), "no tags", answer.to_string())
}

async fn tags_are_in_order(lab: &Lab) -> Verdict {
    tagged(lab).await?;
    is_list(&page(lab, "").await?, &TAGS)
}

async fn a_page_has_as_many_tags_as_asked(lab: &Lab) -> Verdict {
    tagged(lab).await?;
    is_list(&page(lab, "?n=2").await?, &TAGS[..2])
}

async fn a_page_links_to_the_next(lab: &Lab) -> Verdict {
    tagged(lab).await?;
    let answer = page(lab, "?n=2").await?;
    let Some(link) = answer.next_page() else {
        return wrong("Link: <…>; rel=\"next\": there are more", answer.to_string());
    };
    ensure(link.contains("n=") && link.contains("last="), "a link with n and last", link)
}

async fn a_page_of_no_tags(lab: &Lab) -> Verdict {
    tagged(lab).await?;
    is_list(&page(lab, "?n=0").await?, &[])
}

async fn a_page_has_a_number_of_tags(lab: &Lab) -> Verdict {
    tagged(lab).await?;
    for n in ["-1", "many"] {
        lab.get(format!("/v2/{}/tags/list?n={n}", lab.repo))
            .await?
            .must(&[400], &format!("n={n} is no number of tags"))?;
    }
    Ok(())
}

async fn more_tags_than_there_are(lab: &Lab) -> Verdict {
    tagged(lab).await?;
    let answer = lab.get(format!("/v2/{}/tags/list?n=100", lab.repo)).await?;
    answer.must(&[200], "there are fewer than that")?;
    if answer.next_page().is_some() && answer.strings("tags") != TAGS {
        return Ok(());
    }
    let mut tags = answer.strings("tags");
    tags.sort();
    ensure(tags == TAGS, format!("tags {TAGS:?}"), answer.to_string())
}

async fn tags_after_another(lab: &Lab) -> Verdict {
    tagged(lab).await?;
    is_list(&page(lab, "?last=a.b").await?, &TAGS[3..])?;
    is_list(&page(lab, "?n=1&last=a.b").await?, &TAGS[3..4])?;
    is_list(&page(lab, "?last=v10").await?, &[])
}

async fn tags_after_what_is_not_there(lab: &Lab) -> Verdict {
    tagged(lab).await?;
    is_list(&page(lab, "?last=az").await?, &TAGS[3..])
}

async fn pages_are_the_whole(lab: &Lab) -> Verdict {
    tagged(lab).await?;
    let mut tags = Vec::new();
    let mut answer = page(lab, "?n=2").await?;
    if answer.next_page().is_none() {
        return not_offered("Link to the next page");
    }
    for _ in 0..TAGS.len() {
        tags.extend(answer.strings("tags"));
        let Some(next) = answer.next_page() else { break };
        answer = lab.get(next).await?;
        answer.must(&[200], "the next page")?;
    }
    ensure(tags == TAGS, format!("tags {TAGS:?}"), format!("tags {tags:?}"))
}

async fn repositories_are_listed(lab: &Lab) -> Verdict {
    if !lab.can().catalog {
        return not_offered("a catalog");
    }
    lab.push_image("v1").await?;
    let mut answer = lab.get("/v2/_catalog?n=1000").await?;
    for _ in 0..1000 {
        answer.must(&[200], "the list of repositories")?;
        if answer.strings("repositories").contains(&lab.repo) {
            return Ok(());
        }
        let Some(next) = answer.next_page() else { break };
        answer = lab.get(next).await?;
    }
    wrong(format!("{} among the repositories", lab.repo), answer.to_string())
}

async fn the_catalog_has_pages(lab: &Lab) -> Verdict {
    if !lab.can().catalog {
        return not_offered("a catalog");
    }
    lab.push_image("v1").await?;
    let image = Image::oci(&lab.word());
    for blob in &image.blobs {
        lab.push_blob_as(&lab.other("second"), blob.clone(), &crate::tester::content::sha256(blob)).await?;
    }
    let put = crate::tester::lab::put_manifest(&lab.other("second"), "v1", &image);
    lab.send(put).await?.must(&[201], "a second repository")?;
    let answer = lab.get("/v2/_catalog?n=1").await?;
    ensure(answer.strings("repositories").len() == 1, "one repository", answer.to_string())?;
    ensure(answer.next_page().is_some(), "Link: <…>; rel=\"next\": there are more", answer.to_string())
}

async fn a_page_has_a_number_of_repositories(lab: &Lab) -> Verdict {
    if !lab.can().catalog {
        return not_offered("a catalog");
    }
    for n in ["-1", "many"] {
        lab.get(format!("/v2/_catalog?n={n}")).await?.must(&[400], &format!("n={n} is no number of repositories"))?;
    }
    Ok(())
}

async fn more_repositories_than_a_page_has(lab: &Lab) -> Verdict {
    if !lab.can().catalog {
        return not_offered("a catalog");
    }
    lab.get("/v2/_catalog?n=1000000").await?.must(&[200, 400], "a page, or no page that large")?;
    Ok(())
}

async fn without_a_number_every_tag_is_told(lab: &Lab) -> Verdict {
    let image = Image::oci(&lab.word());
    lab.push("t000", &image).await?;
    // More than the 100 that Docker's table has.
    for number in 1..120 {
        lab.send(lab.put(&format!("t{number:03}"), &image)).await?.must(&[201], "another tag")?;
    }
    let answer = page(lab, "").await?;
    let told = answer.strings("tags").len();
    ensure(told == 120 || answer.next_page().is_some(), "120 tags, or a Link", format!("{told} tags without a Link"))
}
