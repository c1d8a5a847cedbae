//! Manifests and tags: delete (SPEC L).

use crate::tester::check::checks;
use crate::tester::content::{Image, NOWHERE, OCI_INDEX};
use crate::tester::lab::{Lab, Verdict, ensure, not_offered};

checks! {
    "L1" Must "OCI end-9" a_deleted_tag_is_gone "DELETE of a tag is 202, and then the tag is 404";
    "L1" Must "OCI end-9" a_deleted_tag_leaves_its_manifest "after DELETE of a tag the manifest is there by digest and by its other tags";
    "L2" Must "OCI, Deleting tags" refused_tag_deletes_say_so "where tags cannot be deleted, DELETE is 400 or 405";
    "L3" Must "OCI end-9" a_deleted_manifest_is_gone "DELETE of a manifest by digest is 202, and then it is 404";
    "L3" Must "OCI end-9" a_deleted_manifest_has_no_tags "after DELETE of a manifest by digest every tag that named it is 404";
    "L3" Must "OCI end-8, end-9" tags_of_a_deleted_manifest_are_not_listed "after DELETE of a manifest by digest its tags are not listed";
    "L4" Must "OCI end-9" unknown_manifests_cannot_be_deleted "DELETE of a manifest that is not there is 404, also the second time";
    "L4" Doc "Docker, MANIFEST_UNKNOWN" deleting_the_unknown_has_a_code "DELETE of a manifest that is not there is MANIFEST_UNKNOWN";
    "L4" Must "OCI end-9" nothing_is_deleted_from_no_repository "DELETE of a manifest in a repository that is not there is 404";
    "L5" Must "OCI, Deleting Manifests" refused_manifest_deletes_say_so "where manifests cannot be deleted, DELETE is 400 or 405";
    "L6" Doc "Docker, DELETE Manifest" malformed_references_cannot_be_deleted "DELETE of a malformed digest is 400";
    "L7" Good "indexes are lists" a_child_may_be_deleted "after DELETE of one image of an index the index is still there";
    "L9" Good "clients push before they tag" untagged_manifests_stay "a manifest without a tag stays after another is deleted";
}

async fn a_deleted_tag_is_gone(lab: &Lab) -> Verdict {
    if !lab.can().delete_tag {
        return not_offered("deleting tags");
    }
    lab.push_image("v1").await?;
    lab.delete(lab.manifest("v1")).await?.must(&[202], "the tag is deleted")?;
    lab.pull("v1").await?.must(&[404], "the tag was deleted")?;
    let tags = lab.tags().await?;
    ensure(!tags.contains(&"v1".into()), "a list without v1", format!("{tags:?}"))
}

async fn a_deleted_tag_leaves_its_manifest(lab: &Lab) -> Verdict {
    if !lab.can().delete_tag {
        return not_offered("deleting tags");
    }
    let image = lab.push_image("v1").await?;
    lab.send(lab.put("v2", &image)).await?.must(&[201], "a second tag")?;
    lab.delete(lab.manifest("v1")).await?.must(&[202], "the tag is deleted")?;
    for reference in ["v2", &image.digest()] {
        lab.pull(reference).await?.must(&[200], "only the tag v1 was deleted")?.must_be(&image.bytes(), "as pushed")?;
    }
    Ok(())
}

async fn refused_tag_deletes_say_so(lab: &Lab) -> Verdict {
    if lab.can().delete_tag {
        return not_offered("a registry without it: this one deletes tags");
    }
    lab.push_image("v1").await?;
    lab.delete(lab.manifest("v1")).await?.must(&[400, 405], "it deletes no tags")?;
    lab.pull("v1").await?.must(&[200], "nothing was deleted")?;
    Ok(())
}

async fn a_deleted_manifest_is_gone(lab: &Lab) -> Verdict {
    if !lab.can().delete_manifest {
        return not_offered("deleting manifests");
    }
    let image = Image::oci(&lab.word());
    let digest = image.digest();
    lab.push(&digest, &image).await?;
    lab.delete(lab.manifest(&digest)).await?.must(&[202], "the manifest is deleted")?;
    lab.pull(&digest).await?.must(&[404], "it was deleted")?;
    Ok(())
}

async fn a_deleted_manifest_has_no_tags(lab: &Lab) -> Verdict {
    if !lab.can().delete_manifest {
        return not_offered("deleting manifests");
    }
    let image = lab.push_image("v1").await?;
    lab.send(lab.put("v2", &image)).await?.must(&[201], "a second tag")?;
    lab.delete(lab.manifest(&image.digest())).await?.must(&[202], "the manifest is deleted")?;
    for reference in [image.digest().as_str(), "v1", "v2"] {
        lab.pull(reference).await?.must(&[404], "the manifest was deleted")?;
    }
    Ok(())
}

async fn tags_of_a_deleted_manifest_are_not_listed(lab: &Lab) -> Verdict {
    if !lab.can().delete_manifest {
        return not_offered("deleting manifests");
    }
    lab.push_image("stays").await?;
    let image = lab.push_image("v1").await?;
    lab.delete(lab.manifest(&image.digest())).await?.must(&[202], "the manifest is deleted")?;
    let tags = lab.tags().await?;
    ensure(tags == ["stays"], "the tag stays alone", format!("{tags:?}"))
}

async fn unknown_manifests_cannot_be_deleted(lab: &Lab) -> Verdict {
    if !lab.can().delete_manifest {
        return not_offered("deleting manifests");
    }
    let digest = lab.push_image("v1").await?.digest();
    lab.delete(lab.manifest(NOWHERE)).await?.must(&[404], "there is no such manifest")?;
    if lab.can().delete_tag {
        lab.delete(lab.manifest("v2")).await?.must(&[404], "there is no such tag")?;
    }
    lab.delete(lab.manifest(&digest)).await?.must(&[202], "the manifest is deleted")?;
    lab.delete(lab.manifest(&digest)).await?.must(&[404], "it was deleted before")?;
    Ok(())
}

async fn deleting_the_unknown_has_a_code(lab: &Lab) -> Verdict {
    if !lab.can().delete_manifest {
        return not_offered("deleting manifests");
    }
    lab.push_image("v1").await?;
    let answer = lab.delete(lab.manifest(NOWHERE)).await?;
    answer.refused(&[404], &["MANIFEST_UNKNOWN", "NAME_UNKNOWN"], "there is no such manifest")?;
    Ok(())
}

async fn nothing_is_deleted_from_no_repository(lab: &Lab) -> Verdict {
    if !lab.can().delete_manifest {
        return not_offered("deleting manifests");
    }
    lab.delete(lab.manifest(NOWHERE)).await?.must(&[404], "there is no such repository")?;
    Ok(())
}

async fn refused_manifest_deletes_say_so(lab: &Lab) -> Verdict {
    if lab.can().delete_manifest {
        return not_offered("a registry without it: this one deletes manifests");
    }
    let digest = lab.push_image("v1").await?.digest();
    lab.delete(lab.manifest(&digest)).await?.must(&[400, 405], "it deletes no manifests")?;
    Ok(())
}

async fn malformed_references_cannot_be_deleted(lab: &Lab) -> Verdict {
    if !lab.can().delete_manifest {
        return not_offered("deleting manifests");
    }
    lab.push_image("v1").await?;
    lab.delete(lab.manifest("sha256:short")).await?.must(&[400], "it is no digest")?;
    Ok(())
}

async fn a_child_may_be_deleted(lab: &Lab) -> Verdict {
    if !lab.can().delete_manifest {
        return not_offered("deleting manifests");
    }
    let (one, two) = (lab.push_image("one").await?, lab.push_image("two").await?);
    let index = Image::list(OCI_INDEX, &[&one, &two]);
    lab.push("both", &index).await?;
    let answer = lab.delete(lab.manifest(&one.digest())).await?;
    if matches!(answer.status, 403 | 405 | 409) {
        return not_offered("deleting what an index names");
    }
    answer.must(&[202], "the image is deleted")?;
    lab.pull("both").await?.must(&[200], "only one of its images was deleted")?.must_be(&index.bytes(), "as pushed")?;
    Ok(())
}

async fn untagged_manifests_stay(lab: &Lab) -> Verdict {
    if !lab.can().delete_manifest {
        return not_offered("deleting manifests");
    }
    let image = Image::oci(&lab.word());
    lab.push(&image.digest(), &image).await?;
    let other = lab.push_image("v1").await?;
    lab.delete(lab.manifest(&other.digest())).await?.must(&[202], "another manifest is deleted")?;
    lab.pull(&image.digest()).await?.must(&[200], "it was not deleted")?;
    Ok(())
}
