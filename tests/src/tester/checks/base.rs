//! `/v2/`, and what holds for all of HTTP (SPEC A).

use crate::tester::check::checks;
use crate::tester::content::{ANY_MANIFEST, sha256};
use crate::tester::exchange::{Exchange, with_parameter};
use crate::tester::lab::{Lab, Verdict, ensure, not_offered};

checks! {
    "A1" Must "OCI end-1" base_is_there "GET /v2/ answers 200";
    "A2" Must "RFC 9110, 15.5.2" strangers_are_asked_who_they_are "a registry that wants to know who is asking answers 401, with WWW-Authenticate";
    "A2" Doc "Docker, API Version Check" strangers_are_told_why "the 401 has an error body with the code UNAUTHORIZED";
    "A3" Doc "Docker, API Version Check" base_names_the_api "GET /v2/ says Docker-Distribution-API-Version: registry/2.0";
    "A4" Good "RFC 9110, 9.3.2" head_of_the_base "HEAD /v2/ is answered like GET, without a body";
    "A7" Good "Docker, Overview; RFC 9110, 8.8" what_never_changes_can_be_cached "a blob and a manifest by digest have an ETag, and a client that names it gets 304";
    "A8" Good "containerd sends Accept-Encoding" bodies_are_not_encoded "a blob comes as it was pushed, also to a client that accepts compressed bodies";
    "A9" Good "containerd sends ns=, crane origin=" unknown_parameters_are_ignored "query parameters that the registry does not know change nothing";
    "A10" Must "OCI, Warnings" warnings_have_their_form "a Warning, if there is one, is 299 - with a text, and all have 4096 bytes at most";
    "A12" Good "containerd sends ns=" a_namespace_changes_nothing "a pull with ns=<another registry> gives what is here";
    "A13" Should "RFC 9110, 15.5.6" refused_methods_name_the_allowed "405 comes with Allow, which names the methods that are taken";
    "A14" Must "RFC 9112, 7.1" manifests_may_come_in_chunks "a manifest may be sent with chunked transfer encoding";
    "A14" Must "RFC 9112, 7.1" blobs_may_come_in_chunks "the PUT of an upload may be sent with chunked transfer encoding";
    "A16" Good "RFC 9110, 15.5.16" coded_bodies_are_refused_or_kept "a body with a Content-Encoding is kept as it was sent, or refused with 4xx";
}

async fn base_is_there(lab: &Lab) -> Verdict {
    lab.get("/v2/").await?.must(&[200], "the registry implements this API")?;
    Ok(())
}

async fn strangers_are_asked_who_they_are(lab: &Lab) -> Verdict {
    let answer = lab.anonymous(Exchange::new("GET", "/v2/")).await?;
    if answer.status == 200 {
        return not_offered("asking who is asking");
    }
    answer.must(&[401], "nobody said who is asking")?;
    let schemes = answer.all("WWW-Authenticate").map(str::to_lowercase).collect::<Vec<_>>();
    let known = schemes.iter().any(|s| (s.starts_with("basic") || s.starts_with("bearer")) && s.contains("realm="));
    ensure(known, "WWW-Authenticate: Basic or Bearer, with a realm", format!("{} with {schemes:?}", answer.status))
}

async fn strangers_are_told_why(lab: &Lab) -> Verdict {
    let answer = lab.anonymous(Exchange::new("GET", "/v2/")).await?;
    if answer.status == 200 {
        return not_offered("asking who is asking");
    }
    answer.refused(&[401], &["UNAUTHORIZED"], "nobody said who is asking")?;
    Ok(())
}

async fn base_names_the_api(lab: &Lab) -> Verdict {
    let base = lab.get("/v2/").await?;
    base.must_have("Docker-Distribution-API-Version", "registry/2.0", "clients of the V2 API look for it")?;
    Ok(())
}

async fn head_of_the_base(lab: &Lab) -> Verdict {
    let base = lab.head("/v2/").await?;
    base.must(&[200], "as GET")?.must_be(b"", "HEAD has no body")?;
    Ok(())
}

async fn bodies_are_not_encoded(lab: &Lab) -> Verdict {
    let bytes = format!("{} {}", lab.word(), "a".repeat(5000));
    let digest = lab.push_blob(bytes.clone()).await?;
    let get = Exchange::new("GET", lab.blob(&digest)).header("Accept-Encoding", "zstd, gzip, deflate");
    lab.send(get)
        .await?
        .must(&[200], "the blob is there")?
        .must_be(bytes.as_bytes(), "digest and length mean these")?;
    Ok(())
}

async fn unknown_parameters_are_ignored(lab: &Lab) -> Verdict {
    let digest = lab.push_blob(lab.word()).await?;
    lab.get(format!("{}?x=y", lab.blob(&digest))).await?.must(&[200], "as without parameters")?;
    let named = lab.get(format!("{}?ns=example.org", lab.blob(&digest))).await?;
    if named.status == 404 && named.codes() == ["NAME_UNKNOWN"] {
        // It mirrors other registries, and `ns` says which of them is meant: not one of these.
        return Ok(());
    }
    named.must(&[200], "as without parameters")?;
    let image = lab.push_image("v1").await?;
    let get = Exchange::new("GET", format!("{}?ns=example.org", lab.manifest("v1"))).header("Accept", image.media_type);
    lab.send(get).await?.must(&[200], "as without parameters")?;
    Ok(())
}

async fn refused_methods_name_the_allowed(lab: &Lab) -> Verdict {
    lab.push_image("v1").await?;
    let answer = lab.send(Exchange::new("PUT", format!("/v2/{}/tags/list", lab.repo)).body("")).await?;
    if answer.status != 405 {
        return not_offered(format!("a method that the path does not take is answered with {}", answer.status));
    }
    ensure(answer.header("Allow").is_some(), "Allow with the 405", answer.to_string())
}

async fn manifests_may_come_in_chunks(lab: &Lab) -> Verdict {
    let image = lab.push_image("whole").await?.field("annotations", serde_json::json!({ "sent": "in chunks" }));
    let mut put = lab.put("v1", &image);
    put.body = crate::tester::Payload::Chunked(image.bytes());
    lab.send(put).await?.must(&[201], "the body is the same in chunks")?;
    lab.pull("v1").await?.must(&[200], "it was pushed")?.must_be(&image.bytes(), "in chunks")?;
    Ok(())
}

async fn blobs_may_come_in_chunks(lab: &Lab) -> Verdict {
    let bytes = lab.word();
    let digest = sha256(&bytes);
    let session = lab.open().await?;
    let put = Exchange::new("PUT", with_parameter(&session, "digest", &digest));
    let put = put.header("Content-Type", "application/octet-stream").chunked(bytes.clone());
    lab.send(put).await?.must(&[201], "the body is the same in chunks")?;
    lab.get(lab.blob(&digest)).await?.must(&[200], "it was pushed")?.must_be(bytes.as_bytes(), "in chunks")?;
    Ok(())
}

async fn what_never_changes_can_be_cached(lab: &Lab) -> Verdict {
    let image = lab.push_image("v1").await?;
    for path in [lab.blob(&sha256(&image.blobs[0])), lab.manifest(&image.digest())] {
        let get = || Exchange::new("GET", path.clone()).header("Accept", ANY_MANIFEST);
        let answer = lab.send(get()).await?;
        let Some(etag) = answer.must(&[200], "it was pushed")?.header("ETag").map(str::to_owned) else {
            return not_offered("entity tags");
        };
        lab.send(get().header("If-None-Match", etag)).await?.must(&[304], "the client has what it asks for")?;
    }
    Ok(())
}

async fn warnings_have_their_form(lab: &Lab) -> Verdict {
    lab.push_image("v1").await?;
    let answer = lab.pull("v1").await?;
    let warnings: Vec<&str> = answer.all("Warning").collect();
    if warnings.is_empty() {
        return not_offered("warnings");
    }
    let formed = warnings.iter().all(|w| w.starts_with("299 - \"") && w.ends_with('"'));
    let size: usize = warnings.iter().map(|warning| warning.len()).sum();
    ensure(formed && size <= 4096, "Warning: 299 - \"text\", 4096 bytes together at most", format!("{warnings:?}"))
}

async fn a_namespace_changes_nothing(lab: &Lab) -> Verdict {
    let image = lab.push_image("v1").await?;
    let target = format!("{}?ns=registry.example.com", lab.manifest("v1"));
    let answer = lab.send(Exchange::new("GET", target).header("Accept", ANY_MANIFEST)).await?;
    if answer.status == 404 {
        // A proxy may look for it there.
        return not_offered("pulls that ignore ns=");
    }
    answer.must(&[200], "containerd names the registry that it meant")?.must_be(&image.bytes(), "as pushed")?;
    Ok(())
}

async fn coded_bodies_are_refused_or_kept(lab: &Lab) -> Verdict {
    let bytes = lab.word();
    let digest = sha256(bytes.as_bytes());
    let session = lab.open().await?;
    let url = with_parameter(&session, "digest", &digest);
    let put = Exchange::new("PUT", url).header("Content-Encoding", "gzip").body(bytes.clone());
    let answer = lab.send(put).await?;
    if (400..500).contains(&answer.status) {
        return Ok(());
    }
    answer.must(&[201], "the digest is that of the bytes that were sent")?;
    lab.get(lab.blob(&digest)).await?.must(&[200], "it was pushed")?.must_be(bytes.as_bytes(), "as it was sent")?;
    Ok(())
}
