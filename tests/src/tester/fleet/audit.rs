//! What was acknowledged is asked for again: some rounds later, and at the end.

use std::sync::atomic::Ordering;

use futures_util::{StreamExt, stream};

use super::key::{Kind, there};
use super::round::Round;
use super::{Fleet, Wrong, wrong};
use crate::tester::chance::Chance;
use crate::tester::exchange::Exchange;
use crate::tester::lab::get_manifest;
use crate::tester::linear::Seen;

/// How many rounds are looked at together.
const TOGETHER: usize = 8;

impl Fleet<'_> {
    /// Asks for all rounds that are left, at the end, and deletes them.
    pub(super) async fn audit(&self, rounds: Vec<Round>) {
        let looks = rounds.iter().map(|round| async move {
            self.ask_again(round, "at the end").await;
            self.delete(round, &mut Chance::of(self.settings.seed, &format!("delete {}", round.number))).await;
        });
        stream::iter(looks).buffer_unordered(TOGETHER).collect::<Vec<()>>().await;
    }

    /// Reads all keys of a round, and all of its images and blobs, which nobody has deleted.
    pub(super) async fn ask_again(&self, round: &Round, name: &str) {
        if self.has_told_enough() {
            return;
        }
        let mut chance = Chance::of(self.settings.seed, &format!("{name}, {}", round.number));
        round.read(self, name, &mut chance).await;
        round.judge(self);
        if let Err(Wrong { expected, came }) = self.whole(round, &mut chance).await {
            self.failed(round.number, &expected, &came, Vec::new());
        }
        self.settings.progress.asked_again.fetch_add(1, Ordering::Relaxed);
    }

    async fn whole(&self, round: &Round, chance: &mut Chance) -> Result<(), Wrong> {
        let repo = &round.repo;
        for image in &round.images {
            let got = self.insist(chance, get_manifest(repo, &image.digest())).await?;
            if got.status != 200 || got.body != image.bytes() {
                return wrong(format!("200 of {repo}@{}, which was acknowledged", image.digest()), got);
            }
        }
        let blobs = round.blobs.borrow().clone();
        for blob in blobs {
            let target = format!("/v2/{repo}/blobs/{}", blob.digest);
            let got = self.insist(chance, Exchange::new("GET", target)).await?;
            if there(&got, &blob.bytes(), false)? != Some(Seen::Got(Some(0))) {
                return wrong(format!("200 of {repo}@{}, which was acknowledged", blob.digest), got);
            }
        }
        Ok(())
    }

    /// Deletes what a round has left, where that is offered.
    pub(super) async fn delete(&self, round: &Round, chance: &mut Chance) {
        // What is wrong can be looked at.
        if !self.played.borrow().failures.is_empty() {
            return;
        }
        let repo = &round.repo;
        let manifest = |digest: String| format!("/v2/{repo}/manifests/{digest}");
        let blob = |digest: &str| format!("/v2/{repo}/blobs/{digest}");
        let mut targets: Vec<String> = round.images.iter().map(|image| manifest(image.digest())).collect();
        targets.extend(round.keys.iter().filter_map(|key| match &key.kind {
            Kind::Manifest(image) => Some(manifest(image.digest())),
            Kind::Blob(shared) => Some(blob(&shared.digest)),
            Kind::Tag(_) | Kind::Upload(..) => None,
        }));
        targets.extend(round.blobs.borrow().iter().map(|left| blob(&left.digest)));
        for target in targets {
            let deleted = match self.insist(chance, Exchange::new("DELETE", &target)).await {
                Ok(answer) if matches!(answer.status, 202 | 404 | 400 | 405) => Ok(()),
                Ok(answer) => wrong(format!("202, or 404, of DELETE {target}"), answer),
                Err(lost) => Err(lost),
            };
            if let Err(Wrong { expected, came }) = deleted {
                return self.failed(round.number, &expected, &came, Vec::new());
            }
        }
        self.played.borrow_mut().deleted += 1;
    }
}
