//! What an error looks like (SPEC P).

use crate::tester::check::checks;
use crate::tester::content::{NOWHERE, OCI_MANIFEST, sha256};
use crate::tester::exchange::{Answer, Exchange};
use crate::tester::lab::{Lab, Verdict, ensure};

checks! {
    "P1" Must "OCI, Error Codes" errors_have_the_form_of_the_specification "an error body in JSON is {\"errors\":[{\"code\":…}]}";
    "P1" Doc "Docker, Errors" errors_are_json "an error body is JSON, and says so";
    "P2" Must "OCI, Error Codes" codes_are_of_the_specification "codes of errors are upper-case words of the specifications";
    "P5" Good "RFC 9110, 9.3.2" errors_of_head_have_no_body "an error of HEAD has no body";
    "P5" Must "RFC 9110, 15.6 (OCI HEAD)" no_client_input_is_a_server_error "what a client sends wrong is never answered with 5xx";
}

/// The errors of many situations: things that are not there, in a repository that is and in one that is not, and
/// names that cannot be. Each is judged when it comes; those that are as they should be leave no trace in the record.
async fn errors(lab: &Lab, judge: impl Fn(&Answer) -> Verdict) -> Verdict {
    lab.push_image("v1").await?;
    let session = lab.open().await?;
    let none = lab.other("nowhere");
    let mut ask = Vec::new();
    for repo in [lab.repo.as_str(), none.as_str()] {
        ask.push(Exchange::new("GET", format!("/v2/{repo}/blobs/{NOWHERE}")));
        ask.push(Exchange::new("GET", format!("/v2/{repo}/blobs/sha256:short")));
        ask.push(Exchange::new("GET", format!("/v2/{repo}/manifests/none")));
        ask.push(Exchange::new("GET", format!("/v2/{repo}/manifests/{NOWHERE}")));
        ask.push(Exchange::new("GET", format!("/v2/{repo}/manifests/sha256:short")));
        ask.push(Exchange::new("DELETE", format!("/v2/{repo}/manifests/none")));
        ask.push(Exchange::new("DELETE", format!("/v2/{repo}/manifests/{NOWHERE}")));
        ask.push(Exchange::new("DELETE", format!("/v2/{repo}/blobs/{NOWHERE}")));
        ask.push(Exchange::new("GET", format!("/v2/{repo}/tags/list?n=many")));
        ask.push(Exchange::new("GET", format!("/v2/{repo}/referrers/sha256:short")));
        ask.push(Exchange::new("GET", format!("/v2/{repo}/blobs/uploads/none")));
        let put =
            Exchange::new("PUT", format!("/v2/{repo}/manifests/sha256:short")).header("Content-Type", OCI_MANIFEST);
        ask.push(put.body("{}"));
        ask.push(Exchange::new("POST", format!("/v2/{repo}/UPPER/blobs/uploads/")).body(""));
        ask.push(Exchange::new("GET", format!("/v2/{repo}/UPPER/manifests/v1")));
        let mount = format!("/v2/{repo}/blobs/uploads/?mount=sha256:short&from={repo}/UPPER");
        ask.push(Exchange::new("POST", mount).body(""));
    }
    ask.push(Exchange::new("GET", format!("/v2/{none}/tags/list")));
    ask.push(
        Exchange::new("PUT", crate::tester::exchange::with_parameter(&session, "digest", &sha256("other")))
            .body("this"),
    );
    for exchange in ask {
        let answer = lab.raw(exchange).await?;
        if answer.status >= 400 {
            judge(&answer)?;
        }
        lab.record.borrow_mut().pop();
    }
    Ok(())
}

fn is_json(answer: &Answer) -> bool {
    answer.header("Content-Type").is_some_and(|t| t.starts_with("application/json")) || answer.body.starts_with(b"{")
}

async fn errors_have_the_form_of_the_specification(lab: &Lab) -> Verdict {
    errors(lab, |error| {
        let json = error.json();
        let entries = json["errors"].as_array().filter(|entries| !entries.is_empty());
        let right = entries.is_some_and(|entries| entries.iter().all(|entry| entry["code"].is_string()));
        let judged = is_json(error) && error.status < 500;
        ensure(right || !judged, "{\"errors\":[{\"code\":…}]}", error.to_string())
    })
    .await
}

async fn errors_are_json(lab: &Lab) -> Verdict {
    errors(lab, |error| {
        let media_type = error.header("Content-Type").unwrap_or_default();
        let right = media_type.starts_with("application/json") || error.codes().is_empty();
        ensure(right, "Content-Type: application/json", error.to_string())
    })
    .await
}

/// Every code of both specifications.
const CODES: [&str; 18] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
    "MANIFEST_UNVERIFIED",
    "TAG_INVALID",
    "RANGE_INVALID",
    "PAGINATION_NUMBER_INVALID",
];

/// Codes of errors that are no client's fault: the Docker document calls its set open.
const OTHERS: [&str; 2] = ["UNKNOWN", "UNAVAILABLE"];

async fn codes_are_of_the_specification(lab: &Lab) -> Verdict {
    errors(lab, |error| {
        let known = |code: &String| CODES.contains(&code.as_str()) || OTHERS.contains(&code.as_str());
        let judged = error.status < 500;
        ensure(!judged || error.codes().iter().all(known), "a code of the specification", error.to_string())
    })
    .await
}

async fn errors_of_head_have_no_body(lab: &Lab) -> Verdict {
    lab.push_image("v1").await?;
    for path in [lab.blob(NOWHERE), lab.manifest("none")] {
        lab.head(path).await?.must(&[404], "it is not there")?.must_be(b"", "HEAD has no body")?;
    }
    Ok(())
}

async fn no_client_input_is_a_server_error(lab: &Lab) -> Verdict {
    errors(lab, |error| {
        ensure(error.status < 500, "4xx: what a client sends is no fault of the registry", error.to_string())
    })
    .await
}
