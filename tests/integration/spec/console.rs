//! Section AD: what the console needs beside the API for people.

use orlop_conformance::image::{AMD64, ARM64, Manifest};
use orlop_conformance::system::System;
use orlop_core::caller::Right;
use orlop_core::keys::Key;
use orlop_core::mirror::Mirror;
use serde_json::{Value as Json, json};

use crate::browsing::{as_caller, browse, caller};
use crate::{configured, registry};

/// SPEC AD1.
#[test]
fn what_the_caller_may_do_is_told() {
    let mut registry = registry();
    registry.push_image("a/x", "v1", AMD64, "layer");
    let all = ["repositories", "repositories/a/x/tags", "repositories/a/x/images/v1", "folders?under=a"];
    for (rights, deeds) in [
        (&Right::ALL[..], &["pull", "push", "delete"][..]),
        (&[Right::List, Right::Pull], &["pull"]),
        (&[Right::List, Right::Pull, Right::Upload], &["pull", "push"]),
        (&[Right::List, Right::Pull, Right::Delete], &["pull", "delete"]),
    ] {
        let caller = caller(rights, &["a/**"]);
        for path in all {
            let told = as_caller(&mut registry, &caller, &format!("/api/v1/{path}")).expect(200).json();
            let of = [&told["may"], &told["repositories"][0]["may"], &told["entries"][0]["may"]];
            assert_eq!(of.into_iter().find(|may| may.is_array()), Some(&json!(deeds)), "{path}: {told}");
        }
    }
    let lister = caller(&[Right::List], &["a/**"]);
    let listed = as_caller(&mut registry, &lister, "/api/v1/folders?under=a").expect(200).json();
    assert_eq!(listed["entries"], json!([{ "kind": "repository", "name": "a/x" }]));
}

/// SPEC AD1, AD3.
#[test]
fn what_nobody_may_do_is_told_to_nobody() {
    let mut registry = configured(|config| {
        config.allow_delete = false;
        config.mirrors = vec![Mirror { prefix: "hub/".into(), ..Mirror::default() }];
    });
    registry.push_image("a", "v1", AMD64, "layer");
    let tags = browse(&mut registry, "/api/v1/repositories/a/tags");
    assert_eq!((&tags["may"], &tags["mirror"]), (&json!(["pull", "push"]), &Json::Null));
    assert!(tags["created"].is_string() && tags["bytes"].as_u64() > Some(0), "{tags}");
}

/// SPEC AD2.
#[test]
fn a_folder_tells_of_its_repositories() {
    let mut registry = registry();
    for name in ["a/x", "a/y/1", "a/y/2", "b"] {
        registry.push_image(name, "v1", AMD64, name);
    }
    let whole = browse(&mut registry, "/api/v1/repositories");
    let repositories = whole["repositories"].as_array().expect("repositories");
    let bytes = |name: &str| repositories.iter().find(|one| one["name"] == name).expect(name)["bytes"].as_u64();
    let top = browse(&mut registry, "/api/v1/folders");
    let sum = bytes("a/x").zip(bytes("a/y/1")).zip(bytes("a/y/2")).map(|((x, one), two)| x + one + two);
    assert_eq!(top["entries"][0]["bytes"].as_u64(), sum);
    // A repository is told of as in the list.
    let (mut told, listed) = (top["entries"][1].clone(), &repositories[3]);
    assert_eq!(told.as_object_mut().and_then(|told| told.remove("kind")), Some(json!("repository")));
    assert_eq!((&told, &told["tags"]), (listed, &json!(1)));
    // What the caller may not pull from does not count.
    let somebody = caller(&[Right::List, Right::Pull], &["a/x"]);
    let seen = as_caller(&mut registry, &somebody, "/api/v1/folders").expect(200).json();
    assert_eq!(seen["entries"][0]["bytes"].as_u64(), bytes("a/x"));
    let lister = caller(&[Right::List], &["a/x"]);
    let seen = as_caller(&mut registry, &lister, "/api/v1/folders").expect(200).json();
    assert_eq!(seen["entries"][0]["bytes"], 0);
}

/// SPEC AD4.
#[test]
fn an_index_tells_how_large_its_images_are() {
    let mut registry = registry();
    let images = [("one", AMD64), ("other", ARM64)].map(|(tag, platform)| registry.push_image("a", tag, platform, tag));
    registry.push("a", "v1", &Manifest::index(&[&images[0], &images[1]]));
    let index = browse(&mut registry, "/api/v1/repositories/a/images/v1");
    for (at, tag) in ["one", "other"].into_iter().enumerate() {
        let image = browse(&mut registry, &format!("/api/v1/repositories/a/images/{tag}"));
        assert_eq!(index["manifests"][at]["bytes"], image["bytes"], "{tag}");
        let config = &image["configDescriptor"];
        assert!(config["digest"].is_string() && config["size"].as_u64() > Some(0), "{config}");
    }
    assert!(index["configDescriptor"].is_null());
}

/// SPEC AD2.
#[test]
fn what_folders_hold_is_counted_until_that_takes_too_long() {
    let mut registry = registry();
    registry.push_blob("f00/a", "x");
    let made = registry.memory.records.get(&Key::stored("repo/f00/a")).expect("a repository").clone();
    for folder in 0..30 {
        for number in 0..1001 {
            registry.memory.records.insert(Key::stored(format!("repo/f{folder:02}/{number}")), made.clone());
        }
    }
    let page = browse(&mut registry, "/api/v1/folders?n=100");
    let entries = page["entries"].as_array().expect("entries");
    assert_eq!(entries.len(), 30);
    for (at, folder) in entries.iter().enumerate() {
        // Ten folders of a thousand names, each with what it takes, are the bound.
        let (counted, told) = if at < 10 { (1000, true) } else { (1, false) };
        let found = (folder["repositories"].as_u64(), &folder["more"], folder["bytes"].is_u64());
        assert_eq!(found, (Some(counted), &json!(true), told), "{folder}");
    }
    // What is behind it is counted on a page of its own.
    let behind = browse(&mut registry, "/api/v1/folders?after=f19/");
    assert_eq!(behind["entries"][0]["repositories"], 1000);
    assert!(behind["entries"][0]["bytes"].is_u64());
}
