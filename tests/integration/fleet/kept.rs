//! What was deleted, what is protected and what retention lets go, where several machines serve one registry.

use std::thread;

use orlop_conformance::image::{AMD64, ARM64, Manifest};
use serde_json::Value as Json;

use crate::pair::{ONE, OTHER, Pair, until};

/// A layer that is an object of the store.
fn layer(name: &str) -> String {
    format!("{name} ").repeat(20_000)
}

/// An index of two images with a signature, a tag for all of it, and one for an image.
struct Pushed {
    images: [Manifest; 2],
    index: Manifest,
    signature: Manifest,
}

impl Pushed {
    fn to(pair: &Pair) -> Self {
        let images = [(AMD64, "one"), (ARM64, "two")].map(|(platform, name)| Manifest::image(platform, &layer(name)));
        let index = Manifest::index(&[&images[0], &images[1]]);
        let signature = Manifest::artifact("application/signature", &layer("signed")).about(&index);
        for (number, image) in images.iter().enumerate() {
            pair.push(number, "team/app", &image.digest(), image);
        }
        pair.push(ONE, "team/app", "v1", &index);
        pair.push(OTHER, "team/app", &signature.digest(), &signature);
        pair.push(OTHER, "team/app", "arm", &images[1]);
        Self { images, index, signature }
    }

    fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        [&self.index, &self.signature].into_iter().chain(&self.images)
    }

    /// What is gone with a delete.
    fn deleted(&self) -> Vec<String> {
        let digests = self.manifests().map(Manifest::digest);
        let manifests = digests.chain(["v1".into(), "arm".into()]);
        manifests.map(|reference| format!("/v2/team/app/manifests/{reference}")).collect()
    }

    /// All that there is to see.
    fn targets(&self) -> Vec<String> {
        let blobs = self.manifests().flat_map(Manifest::blobs).map(orlop_conformance::image::sha256);
        let blobs = blobs.map(|digest| format!("/v2/team/app/blobs/{digest}"));
        let lists = [format!("/v2/team/app/referrers/{}", self.index.digest()), "/v2/team/app/tags/list".into()];
        self.deleted().into_iter().chain(blobs).chain(lists).collect()
    }

    /// Deletes every manifest, through both machines in turn.
    fn delete(&self, pair: &Pair) {
        for (number, manifest) in self.manifests().enumerate() {
            let target = format!("/v2/team/app/manifests/{}", manifest.digest());
            assert_eq!(pair.delete(number % 2, &target), 202, "{target}");
        }
        pair.both(&self.deleted(), 404);
    }

    /// Undeletes all of it: the index brings back its tag and its images.
    fn undelete(&self, pair: &Pair) {
        let of = |manifest: &Manifest| format!("team/app@{}", manifest.digest());
        let done = pair.json(&["undelete", &of(&self.index)]);
        assert_eq!(done["manifests"].as_array().map(Vec::len), Some(3), "{done}");
        assert_eq!((&done["missing"], &done["taken"]), (&Json::from([(); 0]), &Json::from([(); 0])), "{done}");
        pair.json(&["undelete", &of(&self.signature)]);
        pair.json(&["undelete", "team/app:arm"]);
    }
}

/// Collects garbage as if all times of grace were over.
fn collect(pair: &Pair) -> Json {
    let zero = ["gc", "--blob-grace", "0", "--keep-erased", "0"];
    pair.json(&zero)
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn what_two_machines_delete_a_third_undeletes_or_purges() {
    let pair = Pair::start("");
    let pushed = Pushed::to(&pair);
    let (targets, objects) = (pushed.targets(), pair.objects().len());
    let before = pair.seen(&targets);
    assert!(before.iter().all(|(status, _)| *status == 200));
    for _ in 0..2 {
        pushed.delete(&pair);
        collect(&pair);
        collect(&pair);
        assert_eq!(pair.objects().len(), objects, "what can be undeleted keeps its bytes");
        let listed = pair.json(&["deleted", "team/app"]);
        assert_eq!(listed["deleted"].as_array().map(Vec::len), Some(6), "{listed}");
        pushed.undelete(&pair);
        for ((target, seen), before) in targets.iter().zip(pair.seen(&targets)).zip(&before) {
            assert!(seen == *before, "{target}: {}", String::from_utf8_lossy(&seen.1));
        }
        assert_eq!(pair.json(&["deleted"])["deleted"], Json::from([(); 0]));
        pair.counts_right();
    }

    pushed.delete(&pair);
    let purged = pair.json(&["purge", "team/app"]);
    assert_eq!(purged["manifests"].as_array().map(Vec::len), Some(4), "{purged}");
    assert_eq!(purged["remaining"], Json::from([(); 0]), "{purged}");
    assert_eq!(pair.objects(), [] as [std::path::PathBuf; 0], "a purge erases at once");
    let refused = pair.refused(&["undelete", &format!("team/app@{}", pushed.index.digest())]);
    assert!(refused.contains("deleted"), "{refused}");
    let blobs: Vec<String> = targets.iter().filter(|target| target.contains("/blobs/")).cloned().collect();
    pair.both(&blobs, 404);
    pair.counts_right();
    // The list that the registry has made for a tag goes with a collection.
    pair.json(&["gc", "--blob-grace", "0", "--untagged-lifetime", "0"]);
    let left = pair.records(
        "SELECT string_agg(convert_from(key, 'UTF8'), ' ') FROM orlop.record \
         WHERE convert_from(key, 'UTF8') ~ 'team/app' AND convert_from(key, 'UTF8') !~ '^(usage|left)/'",
    );
    assert_eq!(left, "", "nothing is left of it: {purged}");
}

/// Of a push, an undelete and a collection that purges, one after the other wins, and what was acknowledged is there.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_push_an_undelete_and_a_purge_on_three_machines_leave_a_whole_image() {
    let pair = Pair::start("");
    for round in 0..6 {
        let image = Manifest::image(AMD64, &layer(&format!("round {round}")));
        pair.push(ONE, "team/race", "v1", &image);
        assert_eq!(pair.delete(OTHER, &format!("/v2/team/race/manifests/{}", image.digest())), 202);
        let undelete = |_: &Pair| {
            let image = format!("team/race@{}", image.digest());
            pair.run(&["undelete", &image]).status.success()
        };
        let (undeleted, pushed, collected) = thread::scope(|scope| {
            let undeleted = scope.spawn(|| undelete(&pair));
            let collected = scope.spawn(|| pair.run(&["gc", "--undelete-within", "1ms", "--blob-grace", "0"]));
            let pushed = scope.spawn(|| {
                let blobs = image.blobs().iter().map(|blob| pair.push_blob(OTHER, "team/race", blob).0);
                let blobs: Vec<u16> = blobs.collect();
                (blobs, pair.push_manifest(OTHER, "team/race", "v1", &image))
            });
            let ends = "it ends";
            (undeleted.join().expect(ends), pushed.join().expect(ends), collected.join().expect(ends))
        });
        let told = String::from_utf8_lossy(&collected.stderr).into_owned();
        assert!(collected.status.success(), "{told}");
        assert_eq!(pushed.0, [201, 201]);
        // The blobs of a push are there for the time of grace, which the collection was told to be none.
        let (status, body) = &pushed.1;
        assert!(matches!(status, 201 | 404), "{status}: {}", String::from_utf8_lossy(body));
        println!("round {round}: undeleted: {undeleted}, pushed: {status}");
        if *status == 201 {
            let blobs = image.blobs().iter().map(|blob| format!("blobs/{}", orlop_conformance::image::sha256(blob)));
            let all = blobs.chain(["manifests/v1".into(), format!("manifests/{}", image.digest())]);
            pair.both(&all.map(|target| format!("/v2/team/race/{target}")).collect::<Vec<_>>(), 200);
        }
        pair.counts_right();
    }
    let check = pair.run(&["check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn a_protect_mark_holds_on_every_machine() {
    let pair = Pair::start("");
    let image = Manifest::image(AMD64, &layer("kept"));
    pair.push(ONE, "team/app", "v1", &image);
    pair.done(&["protect", "team/*:v*"]);
    let targets = ["v1".into(), image.digest()].map(|reference| format!("/v2/team/app/manifests/{reference}"));
    for machine in [ONE, OTHER] {
        for target in &targets {
            let (status, _, body) = pair.machines[machine].ask("DELETE", target, "", b"");
            let told = String::from_utf8_lossy(&body).into_owned();
            assert!(status == 403 && told.contains("team/*:v*"), "{status}: {told}");
        }
    }
    let refused = pair.refused(&["purge", "team/app:v1"]);
    assert!(refused.contains("protect"), "{refused}");
    pair.both(&targets, 200);
    pair.done(&["unprotect", "team/*:v*"]);
    assert_eq!(pair.delete(OTHER, &targets[1]), 202);
    pair.both(&targets, 404);
}

const RULE: &str = "[[retention]]\nname = \"builds\"\nrepositories = [\"team/**\"]\ntags = [\"b*\"]\n\
                    keep-pulled-within = \"30d\"\nuntagged-after = \"1h\"\n";

/// Has all tags be pushed, and pulls be noted, since long ago.
fn age(pair: &Pair) {
    pair.records(
        "UPDATE orlop.record SET value = convert_to(regexp_replace(convert_from(value, 'UTF8'), \
         '\"(pushed|since)\":[0-9]+', '\"\\1\":1600000000000'), 'UTF8') \
         WHERE convert_from(key, 'UTF8') ~ '^(tag/|manifest/|meta/pulls-since)'",
    );
}

fn noted(pair: &Pair) -> String {
    pair.records("SELECT count(*) FROM orlop.record WHERE convert_from(key, 'UTF8') ~ '^pulled(manifest|tag)/'")
}

/// The tags that a plan deletes.
fn goes(plan: &Json) -> Vec<&str> {
    let tags = plan["plans"][0]["tags"].as_array().expect("a plan lists all tags");
    let gone = tags.iter().filter(|tag| tag["deleted"] == true);
    gone.map(|tag| tag["tag"].as_str().expect("a name")).collect()
}

#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn what_any_machine_was_asked_for_counts_for_retention() {
    let pair = Pair::start(&format!("retention-interval = \"0\"\n{RULE}"));
    for tag in ["b1", "b2", "b3", "b4", "b5", "stable"] {
        pair.push(ONE, "team/app", tag, &Manifest::image(AMD64, &layer(tag)));
    }
    let targets = |tags: &[&str]| tags.iter().map(|tag| format!("/v2/team/app/manifests/{tag}")).collect::<Vec<_>>();
    until("the first pulls are noted", || {
        pair.get(ONE, "/v2/team/app/manifests/stable");
        noted(&pair) == "2"
    });
    age(&pair);
    assert_eq!(pair.get(ONE, "/v2/team/app/manifests/b1").0, 200);
    assert_eq!(pair.get(OTHER, "/v2/team/app/manifests/b2").0, 200);
    assert_eq!(pair.machines[OTHER].ask("HEAD", "/v2/team/app/manifests/b3", "", b"").0, 200);
    until("what was pulled is noted", || noted(&pair) == "8");
    let before = pair.all_records();
    let plan = pair.json(&["retention", "plan"]);
    assert_eq!(goes(&plan), ["b4", "b5"], "{plan}");
    assert_eq!(pair.all_records(), before, "a plan changes nothing");
    let name = |plan: &Json| plan["plans"][0]["plan"].as_str().expect("a plan has a name").to_owned();
    let apply = |plan: &str, yes: &[&str]| {
        let done = pair.run(&[&["retention", "apply", "team/app", "--plan", plan], yes].concat());
        (
            done.status.success(),
            format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)),
        )
    };
    let (done, told) = apply(&name(&plan), &[]);
    assert!(!done && told.contains("--yes"), "{told}");

    // A pull on whichever machine makes it another plan.
    assert_eq!(pair.get(OTHER, "/v2/team/app/manifests/b4").0, 200);
    until("what was pulled is noted", || noted(&pair) == "10");
    let (done, told) = apply(&name(&plan), &["--yes"]);
    assert!(!done && told.contains("plan again"), "{told}");
    pair.both(&targets(&["b1", "b2", "b3", "b4", "b5", "stable"]), 200);
    let plan = pair.json(&["retention", "plan", "team/app"]);
    assert_eq!(goes(&plan), ["b5"]);
    let (done, told) = apply(&name(&plan), &[]);
    assert!(done && told.contains("1 tags"), "{told}");
    pair.both(&targets(&["b5"]), 404);
    pair.both(&targets(&["b1", "b2", "b3", "b4", "stable"]), 200);
    let deleted = pair.json(&["deleted", "team/app"]);
    assert!(
        deleted["deleted"].as_array().is_some_and(|all| all.iter().all(|one| one["by"] == "retention")),
        "{deleted}"
    );
    pair.done(&["undelete", "team/app:b5"]);
    pair.both(&targets(&["b5"]), 200);
    assert_eq!(goes(&pair.json(&["retention", "plan"])), [] as [&str; 0], "what was brought back stays");
}

/// Both would run it, and one does.
#[test]
#[ignore = "needs a database and an object store: `tests/run fleet` installs them and runs it"]
fn regular_retention_runs_on_one_of_the_machines() {
    let pair = Pair::start(
        "retention-interval = \"1m\"\n[[retention]]\nname = \"last\"\nrepositories = [\"team/**\"]\nkeep-last = 5\n",
    );
    let image = Manifest::image(AMD64, &layer("all"));
    let target = |number: usize| format!("/v2/team/app/manifests/v{number}");
    // Of six tags one goes, which is less than a fifth; of seven none would, if two were too many.
    for number in 0..6 {
        pair.push(number % 2, "team/app", &format!("v{number}"), &image);
    }
    until("retention runs", || pair.get(0, &target(0)).0 == 404);
    pair.both(&(1..6).map(target).collect::<Vec<_>>(), 200);
    let status = pair.json(&["retention", "status"]);
    assert!(status["began"].as_str().is_some_and(|began| began > "2020"), "{status}");
    assert_eq!(status["failed"], Json::from([(); 0]), "{status}");
}
