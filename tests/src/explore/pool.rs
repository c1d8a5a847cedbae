//! Every operation on one well-filled store: pairs of them in full, and triples.

use orlop_core::Config;
use orlop_core::config::Pattern;

use super::sample::{
    artifact, ask, cancel, config, delete, delete_blob, digest, digest512, finish, get, get_blob, get_list, image,
    index, mount, mount_from_anywhere, patch, push, push_blob,
};
use super::scenario::{Call, HOUR, Scenario};

const LAYER: &[u8] = b"layer";

/// A store with a little of everything, each at the end of its grace, and every operation on it.
#[derive(Clone, Debug)]
pub struct Pool {
    store: Scenario,
    operations: Vec<(&'static str, Call)>,
}

impl Pool {
    /// Tags name what was pushed, and manifests stay.
    pub fn usual() -> Self {
        Self::new(Config::default())
    }

    /// Tags become lists, and manifests that nothing names go.
    pub fn assembling() -> Self {
        let assemble = vec![Pattern::new("**")];
        Self::new(Config { assemble, untagged_lifetime: Some(HOUR), ..Config::default() })
    }

    fn new(configuration: Config) -> Self {
        let (amd64, arm64) = (image("amd64", LAYER), image("arm64", LAYER));
        let (both, signature) = (index(&[&amd64, &arm64]), artifact(LAYER, &amd64));
        let mut store = Scenario::new("", configuration);
        for blob in [LAYER, &config("amd64"), &config("arm64"), b"unused"] {
            store = store.given(&push_blob("a", blob));
        }
        let store = store.given(&push("a", "v1", &amd64)).given(&push("a", "v2", &arm64));
        let store = store.given_session("a", &[b"12"]).later(HOUR * 24 * 8);
        let session = store.session();
        let operations = vec![
            ("push blob", push_blob("a", b"unused")),
            ("push blob elsewhere", push_blob("b", b"unused")),
            ("delete blob", delete_blob("a", b"unused")),
            ("delete used blob", delete_blob("a", LAYER)),
            ("mount", mount("b", b"unused", "a")),
            ("mount from anywhere", mount_from_anywhere("b", b"unused")),
            ("GET blob", get_blob("a", b"unused")),
            ("push amd64 to v1", push("a", "v1", &amd64)),
            ("push arm64 to v1", push("a", "v1", &arm64)),
            ("push amd64 to v2 and v3", push("a", format!("{}?tag=v2&tag=v3", digest(&amd64)), &amd64)),
            ("push index to v1", push("a", "v1", &both)),
            ("push referrer", push("a", digest(&signature), &signature)),
            ("delete v1", delete("a", "v1")),
            ("delete amd64", delete("a", digest(&amd64))),
            ("delete arm64", delete("a", digest(&arm64))),
            ("delete index", delete("a", digest(&both))),
            ("GET v1", get("a", "v1")),
            ("GET the list of v1", get_list("a", "v1")),
            ("list tags", ask("GET", "/v2/a/tags/list")),
            ("list referrers", ask("GET", format!("/v2/a/referrers/{}", digest(&amd64)))),
            ("open session", ask("POST", "/v2/a/blobs/uploads/")),
            ("PATCH", patch(&session, Some(2), b"345")),
            ("streamed PATCH", patch(&session, None, b"3")),
            ("PUT", finish(&session, &digest(b"12345"), b"345")),
            ("PUT sha512", finish(&session, &digest512(b"12345"), b"345")),
            ("PUT with a wrong digest", finish(&session, &digest(b"other"), b"345")),
            ("cancel", cancel(&session)),
            ("GET status", ask("GET", &session)),
            ("gc", Call::Gc),
        ];
        Self { store, operations }
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Whether more than one of these is a garbage collection: on a store as full as this one they make as many places
    /// as all other pairs together.
    pub fn is_large(&self, operations: &[usize]) -> bool {
        let collects = |operation: &&usize| matches!(self.operations[**operation].1, Call::Gc);
        operations.iter().filter(collects).count() > 1
    }

    /// These operations at once.
    pub fn at_once(&self, operations: &[usize]) -> Scenario {
        let names: Vec<_> = operations.iter().map(|operation| self.operations[*operation].0).collect();
        let calls = operations.iter().map(|operation| self.operations[*operation].1.clone());
        let mut scenario = self.store.clone().at_once(calls);
        scenario.name = names.join(" × ");
        scenario
    }

    /// Every choice of so many operations; an operation may meet itself.
    pub fn choices(&self, of: usize) -> Vec<Vec<usize>> {
        let Some(fewer) = of.checked_sub(1) else { return vec![Vec::new()] };
        let choices = self.choices(fewer).into_iter().flat_map(|choice| {
            let first = choice.last().copied().unwrap_or(0);
            (first..self.len()).map(move |next| [choice.as_slice(), &[next]].concat())
        });
        choices.collect()
    }
}
