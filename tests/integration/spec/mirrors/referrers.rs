//! Referrers of a mirror (SPEC V11).

use orlop_core::{Response, Step, mirror};
use serde_json::{Value, json};

use super::*;

/// SPEC V11.
#[test]
fn referrers_of_the_upstream_and_those_that_are_here_are_one_list() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let signatures = ["one", "two", "three"].map(|content| Manifest::artifact("x/signature", content).about(&image));
    at(&mut registry, "hub", |hub| {
        signatures.iter().for_each(|signature| drop(hub.push("app", signature.digest(), signature)));
    });
    registry.get(manifest("hub/app", signatures[1].digest())).expect(200);
    let listed = |registry: &mut InMemory, query: &str| {
        let list = registry.get(format!("{}{query}", referrers("hub/app", image.digest()))).expect(200).json();
        let manifests = list["manifests"].as_array().expect("a list").clone();
        manifests.iter().map(|entry| entry["digest"].as_str().expect("a digest").into()).collect::<Vec<String>>()
    };
    let mut all: Vec<_> = signatures.iter().map(Manifest::digest).collect();
    all.sort();
    assert_eq!(listed(&mut registry, ""), all);
    assert_eq!(listed(&mut registry, &format!("?last={}", all[0])), all[1..]);
    assert_eq!(listed(&mut registry, "?artifactType=x/signature"), all);
    assert_eq!(listed(&mut registry, "?artifactType=y"), [""; 0]);
    // Without the upstream, those that are here.
    answers(&mut registry, "hub", unreachable());
    assert_eq!(listed(&mut registry, ""), [signatures[1].digest()]);
}

/// SPEC V11: as registries without the API keep them.
#[test]
fn referrers_come_from_the_tag_that_takes_the_place_of_the_api() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let signature = Manifest::artifact("x/signature", "one");
    let index = Manifest::index(&[&signature]);
    at(&mut registry, "hub", |hub| {
        hub.push("app", signature.digest(), &signature);
        hub.put_manifest("app", image.digest().replace(':', "-"), &index).expect(201);
    });
    // That registry has the API and answers with an empty list, which is an answer.
    let list = registry.get(referrers("hub/app", image.digest())).expect(200).json();
    assert_eq!(list["manifests"].as_array().map(Vec::len), Some(0));
    let step = registry.begin(get(referrers("hub/app", image.digest()))).until("Inquire", &mut registry);
    answers(&mut registry, "hub", Some(Unmet::Absent));
    let step = step.step(&mut registry).until("Inquire", &mut registry);
    answers(&mut registry, "hub", None);
    let list = step.end(&mut registry).expect(200).json();
    assert_eq!(list["manifests"][0]["digest"], signature.digest());
}

/// What a registry answers whose upstream has these pages of referrers; none is its last page.
fn paged(registry: &mut InMemory, target: &str, page: impl Fn(usize) -> Option<Vec<Value>>) -> Response {
    let mut step = registry.registry.call(get(target).request, registry.memory.ambient());
    loop {
        step = match step {
            Step::Respond(response) | Step::Answered(response, _) => return response,
            Step::Inquire(ask) => {
                let (first, number) =
                    ask.effect.wanted.resource.split_once("?page=").unwrap_or((&ask.effect.wanted.resource, "0"));
                let number: usize = number.parse().expect("a number");
                let next = page(number + 1).map(|_| format!("{first}?page={}", number + 1));
                let body = json!({ "manifests": page(number) }).to_string().into();
                ask.answer(Ok(Ok(mirror::Answer { media_type: None, digest: None, length: None, next, body })))
            }
            asking => registry.memory.perform(asking, &RequestBody::default()),
        };
    }
}

fn digests(response: &Response) -> Vec<String> {
    let Body::Bytes(body) = &response.body else { panic!("{response:?} has no body") };
    let list: Value = serde_json::from_slice(body).expect("JSON");
    list["manifests"].as_array().expect("a list").iter().map(|it| it["digest"].as_str().expect("one").into()).collect()
}

/// SPEC V11.
#[test]
fn an_upstream_may_have_its_referrers_on_many_pages() {
    let mut registry = mirroring(vec![hub()]);
    let target = referrers("hub/app", NOWHERE);
    let page = |number: usize| Some(vec![descriptor(OCI_INDEX, format!("{number}"))]);
    let response = paged(&mut registry, &target, |number| page(number).filter(|_| number < 200));
    let mut expected: Vec<_> = (0..200).map(|number| sha256(format!("{number}"))).collect();
    expected.sort();
    assert_eq!((digests(&response), response.header("Link")), (expected, None));
    // Those of pages without an end cannot be told from some of them.
    assert_eq!(paged(&mut registry, &target, page).status, 502);
}

/// SPEC V11, M7: page by page, each once, whatever the order in which the upstream has them.
#[test]
fn more_referrers_than_go_on_a_page_are_on_the_next_ones() {
    let mut registry = mirroring(vec![hub()]);
    let image = push_image(&mut registry, "app", "v1", "layer");
    let own: Vec<_> = (0..9).map(|number| Manifest::artifact("x/sbom", &format!("{number}")).about(&image)).collect();
    at(&mut registry, "hub", |hub| own.iter().for_each(|own| drop(hub.push("app", own.digest(), own))));
    own.iter().for_each(|own| drop(registry.get(manifest("hub/app", own.digest())).expect(200)));
    let long = "x".repeat(700 << 10);
    let large = |number: usize| {
        let mut entry = descriptor(OCI_INDEX, format!("{number}"));
        entry["annotations"] = json!({ "x": long });
        entry["artifactType"] = "x/sbom".into();
        let mut other = descriptor(OCI_INDEX, format!("another {number}"));
        other["artifactType"] = "x/other".into();
        vec![entry, other]
    };
    let mut expected: Vec<_> = own.iter().map(Manifest::digest).collect();
    expected.extend((0..12).map(|number| sha256(format!("{number}"))));
    expected.sort();
    let (mut found, mut pages) = (Vec::new(), 0);
    let mut target = Some(format!("{}?artifactType=x/sbom", referrers("hub/app", image.digest())));
    while let Some(page) = target {
        let response = paged(&mut registry, &page, |number| (number < 12).then(|| large(number)));
        found.extend(digests(&response));
        let link = response.header("Link").and_then(|link| link.strip_prefix('<')?.split_once('>'));
        target = link.map(|(link, _)| link.to_owned());
        pages += 1;
    }
    assert_eq!((found, pages), (expected, 3));
}

/// Two upstreams. Each gives what `body` says of its name and the number of a page, and that there is another page after
/// each of the first two.
fn of_two(target: &str, body: impl Fn(&str, usize) -> Result<String, Unmet>) -> (Response, Vec<String>) {
    let names = ["hub", "other"].map(|name| Upstream { name: upstream(name), official: String::new() });
    let mut registry = mirroring(vec![Mirror { upstreams: names.into(), ..hub() }]);
    let (mut asked, mut step) = (Vec::new(), registry.registry.call(get(target).request, registry.memory.ambient()));
    loop {
        step = match step {
            Step::Respond(response) | Step::Answered(response, _) => return (response, asked),
            Step::Inquire(ask) => {
                let wanted = &ask.effect.wanted;
                let number =
                    wanted.resource.rsplit_once("?page=").map_or(0_usize, |(_, number)| number.parse().expect("one"));
                asked.push(format!("{} {number}", wanted.upstream.as_str()));
                let next = (number < 2).then(|| format!("{}?page={}", wanted.resource, number + 1));
                let answer = body(wanted.upstream.as_str(), number).map(|body| mirror::Answer {
                    media_type: None,
                    digest: None,
                    length: None,
                    next,
                    body: body.into(),
                });
                ask.answer(Ok(answer))
            }
            asking => registry.memory.perform(asking, &RequestBody::default()),
        };
    }
}

/// SPEC V11: where a page ends is for each upstream to say.
#[test]
fn all_pages_are_those_of_one_upstream() {
    let target = referrers("hub/app", NOWHERE);
    let entry = |name: &str, number: usize| descriptor(OCI_INDEX, format!("{name} {number}"));
    let page = |name: &str, number: usize| json!({ "manifests": [entry(name, number)] }).to_string();
    let (response, asked) = of_two(&target, |name, number| match name {
        "hub" if number == 0 => Err(Unmet::Failed("it is down".into())),
        _ => Ok(page(name, number)),
    });
    assert_eq!(asked, ["hub 0", "other 0", "other 1", "other 2"]);
    let mut expected: Vec<_> = (0..3).map(|number| sha256(format!("other {number}"))).collect();
    expected.sort();
    assert_eq!(digests(&response), expected);
    // One that is not to be had is not what the other one has by that name, and the rest is not all.
    for (unmet, status) in
        [(Unmet::Absent, 502), (Unmet::Failed("it is down".into()), 502), (Unmet::Paused(MINUTE), 429)]
    {
        let (response, asked) = of_two(&target, |name, number| match (name, number) {
            ("hub", 1) => Err(unmet.clone()),
            _ => Ok(page(name, number)),
        });
        assert_eq!((response.status, asked), (status, vec!["hub 0".to_owned(), "hub 1".to_owned()]));
    }
    let (response, _) =
        of_two(&target, |name, number| if number == 2 { Ok("<html>".into()) } else { Ok(page(name, number)) });
    assert_eq!(response.status, 502);
}

/// SPEC V11.
#[test]
fn an_entry_that_does_not_read_takes_no_other_with_it() {
    let mut unknown = descriptor(OCI_INDEX, "unknown");
    unknown["digest"] = "blake3:00".into();
    let (response, _) = of_two(&referrers("hub/app", NOWHERE), |name, number| {
        let entry = descriptor(OCI_INDEX, format!("{name} {number}"));
        Ok(json!({ "manifests": [unknown, 7, entry] }).to_string())
    });
    assert_eq!(digests(&response).len(), 3);
}

/// SPEC V22: as for what an administrator has fetched by a pattern.
#[test]
fn all_tags_are_those_of_one_upstream() {
    let names = ["hub", "other"].map(|name| Upstream { name: upstream(name), official: String::new() });
    let listed = |unmet: Option<Unmet>| {
        let mut registry = mirroring(vec![Mirror { upstreams: names.clone().into(), ..hub() }]);
        let name = "hub/app".parse().expect("a name");
        let mut step = registry.registry.upstream_tags(name, registry.memory.ambient());
        loop {
            step = match step {
                Step::Respond(result) | Step::Answered(result, _) => return result,
                Step::Inquire(ask) => {
                    let wanted = &ask.effect.wanted;
                    let first = !wanted.resource.contains("last=");
                    let body = json!({ "tags": [format!("{}-{first}", wanted.upstream.as_str())] }).to_string().into();
                    let next = first.then(|| "tags/list?last=a".to_owned());
                    let answer = mirror::Answer { media_type: None, digest: None, length: None, next, body };
                    let unmet = unmet.clone().filter(|_| !first && wanted.upstream.as_str() == "hub");
                    ask.answer(Ok(unmet.map_or(Ok(answer), Err)))
                }
                asking => registry.memory.perform(asking, &RequestBody::default()),
            };
        }
    };
    let tags: Vec<_> = listed(None).expect("tags").iter().map(ToString::to_string).collect();
    assert_eq!(tags, ["hub-true", "hub-false"]);
    assert!(listed(Some(Unmet::Absent)).is_err(), "a part is not all of them");
}
