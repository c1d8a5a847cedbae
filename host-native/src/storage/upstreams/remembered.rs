//! What an upstream has said a moment ago, so that it is not asked again at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use orlop_core::http::Method;
use orlop_core::mirror::{Answer, As, Unmet, Wanted};
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::time::Instant;

/// How long it is remembered that an upstream does not have something: shorter than people wait before they try again
/// what they have just pushed.
const ABSENT: Duration = Duration::from_secs(30);

/// How long it is remembered that a caller may see something: so long may one that has lost the right still see it.
const VOUCHED: Duration = Duration::from_secs(60);

/// How long it is remembered that a caller may not see something: who is given the right tries again soon.
const REFUSED: Duration = Duration::from_secs(10);

/// How many answers are remembered at most, each some hundred bytes.
const MOST: usize = 4096;

/// Stands for a question. A login is not to be had from it.
type Mark = [u8; 32];

/// What an upstream has said.
pub(super) struct Remembered {
    key: hmac::Key,
    said: Mutex<HashMap<Mark, Said>>,
}

/// An answer, and until when it is believed.
struct Said {
    until: Instant,
    answer: Result<Answer, Unmet>,
}

impl Remembered {
    /// Nothing yet.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub(super) fn new() -> Result<Self, String> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self { key: key.map_err(|_| "the system gives no random numbers")?, said: Mutex::default() })
    }

    /// What it has said to a question a moment ago.
    pub(super) fn get(&self, wanted: &Wanted) -> Option<Result<Answer, Unmet>> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let Said { until, answer } = said.get(&self.mark(wanted))?;
        (Instant::now() < *until).then(|| answer.clone())
    }

    /// It has said this, which is remembered if it is small and will hold for a while: that it has nothing there, and what
    /// a caller may see.
    pub(super) fn add(&self, wanted: &Wanted, answer: Result<&Answer, &Unmet>) {
        // What has come through other registries may be refused for where it has been.
        if wanted.via.contains(',') {
            return;
        }
        let time = match (&wanted.login, answer) {
            (As::Mirror, Err(Unmet::Absent)) => ABSENT,
            (As::Caller(_), Err(Unmet::Absent | Unmet::Denied)) => REFUSED,
            (As::Caller(_), Ok(_)) if wanted.method == Method::Head => VOUCHED,
            _ => return,
        };
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if said.len() >= MOST {
            said.retain(|_, said| now < said.until);
        }
        // With as many as this a client guesses names; the upstream is asked for others again.
        if said.len() < MOST {
            let answer = answer.cloned().map_err(Unmet::clone);
            said.insert(self.mark(wanted), Said { until: now + time, answer });
        }
    }

    fn mark(&self, wanted: &Wanted) -> Mark {
        let mut context = hmac::Context::with_key(&self.key);
        // What is not there for a GET is not there for a HEAD; to callers, upstreams may answer them differently.
        let (whose, method) = match &wanted.login {
            As::Mirror => ("mirror", String::new()),
            As::Caller(None) => ("anonymous", wanted.method.to_string()),
            As::Caller(Some(login)) => (login.authorization(), wanted.method.to_string()),
        };
        for part in [whose, &method, wanted.repository.as_str(), &wanted.resource] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut mark = [0; 32];
        mark.copy_from_slice(context.sign().as_ref());
        mark
    }
}

#[cfg(test)]
mod tests {
    use orlop_core::mirror::{Login, UpstreamName};

    use super::*;

    fn wanted(method: Method, resource: &str, login: As) -> Wanted {
        Wanted {
            upstream: UpstreamName::new("https://registry.example.com"),
            method,
            repository: "library/app".parse().unwrap(),
            resource: resource.into(),
            accept: Vec::new(),
            login,
            via: String::new(),
        }
    }

    fn answer() -> Result<Answer, Unmet> {
        Ok(Answer { media_type: None, digest: None, length: Some(7), next: None, body: bytes::Bytes::new() })
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_absent_is_remembered_for_half_a_minute_whatever_the_method() {
        let remembered = Remembered::new().unwrap();
        remembered.add(&wanted(Method::Get, "manifests/v1", As::Mirror), Err(&Unmet::Absent));
        remembered.add(&wanted(Method::Get, "manifests/v2", As::Mirror), answer().as_ref());
        remembered.add(&wanted(Method::Get, "manifests/v3", As::Mirror), Err(&Unmet::Denied));
        let head = wanted(Method::Head, "manifests/v1", As::Mirror);
        assert_eq!(remembered.get(&head), Some(Err(Unmet::Absent)));
        assert_eq!(remembered.get(&wanted(Method::Get, "manifests/v2", As::Mirror)), None);
        assert_eq!(remembered.get(&wanted(Method::Get, "manifests/v3", As::Mirror)), None);
        tokio::time::advance(ABSENT).await;
        assert_eq!(remembered.get(&head), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_caller_may_see_says_nothing_of_another() {
        let remembered = Remembered::new().unwrap();
        let login = |text| As::Caller(Some(Login::new(text)));
        let head = |login| wanted(Method::Head, "manifests/v1", login);
        remembered.add(&head(login("Basic YTpi")), answer().as_ref());
        remembered.add(&head(As::Caller(None)), Err(&Unmet::Denied));
        assert_eq!(remembered.get(&head(login("Basic YTpi"))), Some(answer()));
        assert_eq!(remembered.get(&head(As::Caller(None))), Some(Err(Unmet::Denied)));
        assert_eq!(remembered.get(&head(login("Basic YTpj"))), None);
        assert_eq!(remembered.get(&head(As::Mirror)), None);
        // A caller that was refused is asked for again first.
        tokio::time::advance(REFUSED).await;
        assert_eq!(remembered.get(&head(As::Caller(None))), None);
        assert_eq!(remembered.get(&head(login("Basic YTpi"))), Some(answer()));
        tokio::time::advance(VOUCHED - REFUSED).await;
        assert_eq!(remembered.get(&head(login("Basic YTpi"))), None);
    }

    #[tokio::test(start_paused = true)]
    async fn guessed_names_take_no_more_memory_than_there_is() {
        let remembered = Remembered::new().unwrap();
        for number in 0..2 * MOST {
            let guessed = wanted(Method::Get, &format!("manifests/v{number}"), As::Mirror);
            remembered.add(&guessed, Err(&Unmet::Absent));
        }
        assert_eq!(remembered.said.lock().unwrap().len(), MOST);
        tokio::time::advance(ABSENT).await;
        remembered.add(&wanted(Method::Get, "manifests/v1", As::Mirror), Err(&Unmet::Absent));
        assert_eq!(remembered.said.lock().unwrap().len(), 1);
    }
}
