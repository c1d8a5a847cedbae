//! The end: everything that was acknowledged is asked for once more.

use futures_util::{StreamExt, stream};

use super::key::there;
use super::round::Round;
use super::{Fleet, Wrong, wrong};
use crate::tester::chance::Chance;
use crate::tester::exchange::Exchange;
use crate::tester::lab::get_manifest;
use crate::tester::linear::Seen;

/// How many rounds are looked at together.
const TOGETHER: usize = 8;

impl Fleet<'_> {
    /// Reads all keys of all rounds, and all images, which nobody has deleted.
    pub(super) async fn audit(&self, rounds: Vec<Round>) {
        self.played.borrow_mut().histories += rounds.iter().map(|round| round.keys.len()).sum::<usize>();
        let looks = rounds.iter().map(|round| async move {
            let mut chance = Chance::of(self.settings.seed, &format!("audit {}", round.number));
            round.read(self, "at the end", &mut chance).await;
            round.judge(self);
            if let Err(Wrong { expected, came }) = self.whole(round, &mut chance).await {
                self.failed(round.number, &expected, &came, Vec::new());
            }
        });
        stream::iter(looks).buffer_unordered(TOGETHER).collect::<Vec<()>>().await;
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
}
