//! The fetches of blobs, and the calls that follow them: what a host does of itself for [`Follow`].
//!
//! There is one fetch of a blob at a time on each host. A call that follows it is shown that the bytes come, or how it
//! ended, whichever happens to be so when the call goes on.

use orlop_core::effect::{BodyEnd, Effect, Fetch as Fetched, Follow};
use orlop_core::mirror::Followed;
use orlop_core::step::{Ask, Rest};
use orlop_core::{Body, Response};

use super::super::store::Store;
use super::{CUT, Fetch, Flight, Stage, World, stall};

impl World<'_> {
    /// Whether a call need not wait for another one.
    pub(super) fn can_go_on(&self, flight: &Flight) -> bool {
        let Some(followed) = flight.follows.map(|number| &self.flights[number]) else { return true };
        match &flight.stage {
            Stage::Following(_) => followed.is_over() || followed.fetch.as_ref().is_some_and(|f| f.size.is_some()),
            Stage::Streaming(..) => followed.is_over() || followed.fetch.as_ref().is_some_and(|f| f.bytes.is_some()),
            _ => true,
        }
    }

    /// Follows the fetch of a blob that is under way, or begins it.
    pub(super) fn follow(&mut self, call: usize, ask: Ask<Follow>) {
        let on_other = self.scenario.is_on_other(call);
        let same = |flight: &Flight| {
            let fetch = flight.fetch.as_ref();
            !flight.is_over() && fetch.is_some_and(|f| f.on_other == on_other && f.fetching == ask.effect.fetching)
        };
        let number = self.flights.iter().position(same).unwrap_or_else(|| {
            let fetching = ask.effect.fetching.clone();
            let heard = &self.flights[call].heard;
            let ambient = self.scenario.ambient_of_fetch(call, heard.outcomes, self.store.memory.now);
            let stage = Stage::fetching(fetching.clone().begin(ambient));
            let mut flight = Flight::of(stage, stall(self.scenario, self.store.mutation, on_other));
            flight.heard.known = heard.known;
            flight.fetch = Some(Fetch { on_other, fetching, size: None, bytes: None });
            self.flights.push(flight);
            self.flights.len() - 1
        });
        self.flights[call].follows = Some(number);
        self.flights[call].stage = Stage::Following(ask);
    }

    /// Shows a call how the fetch stands that it follows.
    pub(super) fn go_on_following(&mut self, call: usize, ask: Ask<Follow>) {
        let Some(followed) = self.flights[call].follows else { return };
        let followed = &self.flights[followed];
        let (failed, troubled) = (followed.failed, followed.troubled);
        let coming = followed.fetch.as_ref().and_then(|fetch| fetch.size);
        let outcome: <Follow as Effect>::Outcome = match (&followed.stage, coming) {
            (Stage::Fetched(result, _), _) => Followed::Over(result.clone()),
            (_, Some(size)) => Followed::Coming(size),
            (_, None) => return,
        };
        let flight = &mut self.flights[call];
        flight.failed |= failed;
        flight.troubled |= troubled;
        flight.heard.take_down(&outcome);
        flight.stage = Stage::of(ask.answer(Ok(outcome)), &self.store.memory);
    }

    /// Sends the bytes on that come, or breaks off with the fetch.
    pub(super) fn stream(&mut self, call: usize, response: Response, rest: Option<Rest>) {
        let followed = self.flights[call].follows.and_then(|number| self.flights[number].fetch.as_ref());
        let bytes = followed.and_then(|fetch| fetch.bytes.clone());
        let flight = &mut self.flights[call];
        flight.heard.take_down(&bytes);
        flight.stage = match (&response.body, bytes) {
            (Body::Coming(range), Some(bytes)) => {
                let (start, end) = (range.start as usize, range.end as usize);
                let body = Body::Bytes(bytes.slice(start..end));
                Stage::over(&Response { body, ..response }, rest)
            }
            _ => Stage::Over(CUT, String::new()),
        };
    }
}

impl Flight {
    /// Whether it is a fetch of which it is known what became of it.
    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Fetched(..))
    }
}

impl Fetch {
    /// Takes note of what the fetch has come to by this question to the upstream.
    pub(super) fn show(&mut self, asked: &Fetched, store: &mut Store) {
        let Some(received) = store.fetched.take() else { return };
        self.size = Some(store.size_upstream(&asked.source));
        if received.end == BodyEnd::Whole && received.meter.digest() == asked.source.digest {
            let stored = || store.memory.objects.get(&asked.object).map(|(bytes, _)| bytes.clone());
            self.bytes = Some(received.kept.or_else(stored).unwrap_or_default());
        }
    }
}
