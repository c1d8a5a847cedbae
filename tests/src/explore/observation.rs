//! What the registry serves: a store seen through its own GETs, so that two stores can be compared without a look
//! at times and nonces in their records.

use std::collections::BTreeMap;

use orlop_core::memory::{Memory, request};
use orlop_core::{Body, Response};
use serde_json::Value as Json;

use super::sample::INDEX;
use super::scenario::Scenario;

/// Every answer, under what was asked. Lists are taken apart, so that an observation with less in it is a subset.
pub(super) type Observation = BTreeMap<String, String>;

/// Asks for everything that there may be. What has no record need not be asked for: that a record is all it
/// takes to be served, and that without one nothing is, is tested with the requests themselves.
///
/// What mirrors keep is left out, and no upstream is asked.
pub(super) fn observe(scenario: &Scenario, memory: &Memory) -> Observation {
    let Scenario { local, mirrored, .. } = scenario;
    let mut memory = memory.clone();
    let records: Vec<_> = memory.records.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut send = |method: &str, target: String, accept: Option<&str>| {
        let mut request = request(method, target);
        accept.into_iter().for_each(|accept| request.headers.push("Accept", accept));
        memory.call(local, &request, "")
    };
    let mut seen = Observation::new();
    let mut note = |what: String, answer: String| drop(seen.insert(what, answer));
    for (key, value) in records {
        let Some((family, rest)) = key.as_str().split_once('/') else { continue };
        if mirrored.is_of(rest) {
            continue;
        }
        match family {
            "repo" => {
                let lists = [("/v2/_catalog".into(), "repositories"), (format!("/v2/{rest}/tags/list"), "tags")];
                for (list, field) in lists {
                    let answer = json(&send("GET", list, None));
                    for name in entries(&answer, field) {
                        if name.as_str().is_some_and(|name| mirrored.is_of(name)) {
                            continue;
                        }
                        note(format!("{} {field}: {name}", answer["name"]), String::new());
                    }
                }
            }
            "tag" => {
                let target = format!("/v2/{}", rest.replacen(':', "/manifests/", 1));
                note(format!("tag {rest}"), text(&send("GET", target.clone(), None)));
                note(format!("list of {rest}"), text(&send("GET", target, Some(INDEX))));
            }
            "manifest" => {
                let target = format!("/v2/{}", rest.replacen('@', "/manifests/", 1));
                note(format!("manifest {rest}"), text(&send("GET", target, None)));
            }
            // Where garbage collection deletes, it makes more of these, not less.
            "deleted" | "deletedtag" if scenario.config.untagged_lifetime.is_none() => {
                let record: Json = serde_json::from_slice(&value).unwrap_or_default();
                note(format!("{family} {rest}"), record["tag"]["digest"].to_string());
            }
            "link" => {
                let target = format!("/v2/{}", rest.replacen('@', "/blobs/", 1));
                note(format!("blob {rest}"), text(&send("GET", target, None)));
            }
            "referrer" => {
                let subject = rest.rsplit_once('/').map_or(rest, |(subject, _)| subject);
                let answer = json(&send("GET", format!("/v2/{}", subject.replacen('@', "/referrers/", 1)), None));
                for entry in entries(&answer, "manifests") {
                    note(format!("referrer of {subject}: {entry}"), String::new());
                }
            }
            "upload" => {
                let record: Json = serde_json::from_slice(&value).unwrap_or_default();
                let repository = record["repository"].as_str().unwrap_or_default();
                note(
                    format!("session {rest}"),
                    text(&send("GET", format!("/v2/{repository}/blobs/uploads/{rest}"), None)),
                );
            }
            "finished" => {
                // SPEC H7: whoever asks again is told the same.
                let record: Json = serde_json::from_slice(&value).unwrap_or_default();
                let field = |name: &str| record[name].as_str().unwrap_or_default();
                let target = format!("/v2/{}/blobs/uploads/{rest}?digest={}", field("repository"), field("digest"));
                note(format!("finished session {rest}"), text(&send("PUT", target, None)));
            }
            // When they were last used may be lost.
            "signin" | "token" => {
                let record: Json = serde_json::from_slice(&value).unwrap_or_default();
                note(key.as_str().into(), format!("{} of {}", record["secret"], record["user"]));
            }
            // What hosts keep for themselves is served to none but them.
            // How far the scrub has come may be lost, and is the same to everybody.
            "meta" if rest == "scrub" => {}
            "meta" | "lease" => note(key.as_str().into(), String::from_utf8_lossy(&value).into_owned()),
            _ => {}
        }
    }
    seen
}

/// What the first has and the second has not, for whoever must find out why.
pub(super) fn difference(first: &Observation, second: &Observation) -> Vec<String> {
    let missing = first.iter().filter(|(what, answer)| second.get(*what) != Some(answer));
    missing.map(|(what, answer)| format!("{what} = {answer}")).collect()
}

fn entries<'a>(answer: &'a Json, field: &str) -> impl Iterator<Item = &'a Json> {
    answer[field].as_array().into_iter().flatten()
}

fn json(response: &Response) -> Json {
    match &response.body {
        Body::Bytes(bytes) => serde_json::from_slice(bytes).unwrap_or_default(),
        _ => Json::Null,
    }
}

/// A response as text: what a client decides upon. (Whether a mirror had it already, and a warning, decide nothing.) Of errors that is the status and the codes; which of several
/// missing blobs are named depends on how far a garbage collection has come.
pub(super) fn text(response: &Response) -> String {
    let mut text = response.status.to_string();
    let failed = response.status >= 400;
    for (name, value) in &response.headers {
        let unwanted =
            ["Docker-Distribution-API-Version", "X-Content-Type-Options", "Cache-Control", "X-Cache", "Warning"];
        let unwanted = unwanted.contains(name) || failed && *name == "Content-Length";
        if !unwanted {
            text += &format!(" | {name}: {value}");
        }
    }
    if failed {
        let mut codes: Vec<String> =
            entries(&json(response), "errors").map(|error| error["code"].to_string()).collect();
        codes.dedup();
        text += &format!(" | {}", codes.join(" "));
    } else if let Body::Bytes(bytes) = &response.body {
        text += &format!(" | {}", String::from_utf8_lossy(bytes));
    }
    text
}
