//! `/api/v1/activity`: what happened in the repositories that the caller may pull from, and to administrators in all (SPEC
//! AF20 to AF27).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use orlop_core::config::Pattern;
use orlop_core::error::Error;
use orlop_core::event::{Event, Happening, Looked};
use orlop_core::{Caller, Rights, Timestamp, http};
use serde_json::{Value as Json, json};

use crate::auth::identity::Identity;
use crate::auth::refusal::unauthorized;
use crate::crowd::Client;
use crate::observe::date::rfc3339;
use crate::request::administer::{Refused, administrator, csv, page_size};
use crate::request::answer::Service;
use crate::request::live::Live;
use crate::request::sign_in::{private, unshared};
use crate::request::source::Origin;
use crate::storage::{RequestBody, ambient};

/// How many a page has when it is not said, and at most; and the same of a table.
const PAGE: (usize, usize) = (50, 100);
const TABLE: (usize, usize) = (1000, 1000);

/// The longest `after` that can come of a page, in bytes: a time, a call, and a tag, or a digest and a repository.
const AFTER: usize = 600;

/// What of happenings is written how. Pulls are not kept.
const HAPPENINGS: [(&str, Happening); 4] = [
    ("push", Happening::Push),
    ("delete", Happening::Delete),
    ("damaged", Happening::Damaged),
    ("quota", Happening::Quota),
];

/// The names of the columns of a table.
const COLUMNS: [&str; 11] =
    ["id", "time", "happening", "repository", "tags", "digest", "media_type", "size", "by", "address", "agent"];

/// What a client or a command wants to see, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Wanted {
    pub(crate) repository: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) happening: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) until: Option<String>,
}

impl Wanted {
    /// What that looks for.
    ///
    /// # Errors
    ///
    /// When a word is none that it can be.
    pub(crate) fn looked(&self, n: usize, after: Option<String>) -> Result<Looked, Error> {
        let happening = match &self.happening {
            None => None,
            Some(name) => match HAPPENINGS.iter().find(|(written, _)| written == name) {
                Some((_, happening)) => Some(*happening),
                None => {
                    let expected = HAPPENINGS.map(|(name, _)| name).join(", ");
                    return Err(Error::Parameter { name: "happening", expected: format!("one of {expected}") });
                }
            },
        };
        Ok(Looked {
            repository: self.repository.as_ref().map(Pattern::new),
            user: self.user.clone(),
            happening,
            from: self.from.as_ref().map(|from| time("from", from, Duration::ZERO)).transpose()?,
            until: self.until.as_ref().map(|until| time("until", until, DAY)).transpose()?,
            n,
            after,
        })
    }
}

/// The last moment of a day, counted from its first.
const DAY: Duration = Duration::from_millis(24 * 3600 * 1000 - 1);

/// A time in UTC, or a day: the moment of it that is so long after its beginning.
fn time(name: &'static str, text: &str, of_day: Duration) -> Result<Timestamp, Error> {
    let wrong = || {
        let expected = "a time in UTC or a day, such as 2027-01-15T08:00:00Z or 2027-01-15".to_owned();
        Error::Parameter { name, expected }
    };
    let (whole, more) = match text.len() {
        10 => (format!("{text}T00:00:00Z"), of_day),
        _ => (text.to_owned(), Duration::ZERO),
    };
    let time = humantime::parse_rfc3339(&whole).map_err(|_| wrong())? + more;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| wrong())?;
    u64::try_from(since.as_millis()).map(Timestamp).map_err(|_| wrong())
}

/// What is told of an event; of whom it came from only to administrators.
pub(crate) fn told(name: &str, event: &Event, whence: bool) -> Json {
    let mut told = json!({
        "id": name,
        "time": rfc3339(event.time),
        "happening": event.happening,
        "repository": event.repository,
        "digest": event.digest,
        "tags": event.tags,
        "media_type": event.media_type,
        "size": event.size,
        "by": event.by,
    });
    if let Some(quota) = &event.quota {
        told["quota"] = json!(quota);
    }
    if let Some(source) = event.request.as_ref().filter(|_| whence) {
        told["address"] = source.address.as_str().into();
        told["agent"] = source.agent.as_str().into();
    }
    told
}

/// Events as a table, the names of the columns first.
pub(crate) fn table<'e>(events: impl IntoIterator<Item = &'e Json>) -> String {
    let mut text = csv::line(COLUMNS);
    for event in events {
        let cells = COLUMNS.map(|column| match &event[column] {
            Json::String(text) => text.clone(),
            Json::Number(number) => number.to_string(),
            Json::Array(tags) => tags.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" "),
            _ => String::new(),
        });
        text += &csv::line(cells.iter().map(String::as_str));
    }
    text
}

/// `GET`: a page of what happened.
pub(super) async fn list(
    service: &Service,
    live: &Live,
    from: Origin<'_>,
    identity: &Identity,
) -> Result<http::Response, http::Response> {
    let (asked, query) = (&from.line.asked, from.line.asked.query());
    let given = |name: &str| query.get(name).filter(|value| !value.is_empty()).map(ToOwned::to_owned);
    let as_table = match query.get("format") {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(Error::Parameter { name: "format", expected: "json or csv".into() }.into()),
    };
    let n = page_size(query, if as_table { TABLE } else { PAGE })?;
    let after = given("after");
    if after.as_ref().is_some_and(|after| after.len() > AFTER || !after.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(Error::Parameter { name: "after", expected: "what `next` of the page before has".into() }.into());
    }
    let wanted = Wanted {
        repository: given("repository"),
        user: given("user"),
        happening: query.get("happening").map(ToOwned::to_owned),
        from: query.get("from").map(ToOwned::to_owned),
        until: query.get("until").map(ToOwned::to_owned),
    };
    let looked = wanted.looked(n, after)?;
    // Of whom nothing is known may have a token that says as much.
    if identity.is_anonymous() && live.identities.can_ask() {
        return Err(unauthorized(live.identities.challenges(&[], None), None));
    }
    let client = Client::of(&identity.name(), from.line.client);
    let _making = service.memory.making(&client, true, false).await.ok_or(Error::Busy)?;
    // Whoever administers the registry sees all of it, as who has its command line does (SPEC AF23).
    let whence = administrator(live, identity).is_ok();
    let rights = if whence { Rights::all() } else { live.rules.rights(identity) };
    let caller = Caller { name: identity.name(), rights, ..Caller::anybody() };
    let step = live.registry.activity(Arc::new(caller), looked, ambient());
    let page = service.host.run(step, &mut RequestBody::empty()).await.map_err(Refused::from)?;
    let events: Vec<Json> = page.events.iter().map(|(name, event)| told(name, event, whence)).collect();
    let path = asked.request.target.split('?').next().unwrap_or_default();
    let next = page.next.map(|next| format!("{path}?{}", query.with("after", &next)));
    if as_table {
        let response = http::Response::new(200).with_bytes("text/csv; charset=utf-8", table(&events));
        let response = response.with("Content-Disposition", "attachment; filename=\"activity.csv\"");
        let response = unshared(response.with("X-Content-Type-Options", "nosniff"));
        return Ok(match next {
            Some(next) => response.with("Link", format!("<{next}>; rel=\"next\"")),
            None => response,
        });
    }
    let mut body = json!({ "activity": events });
    if let Some(next) = next {
        body["next"] = next.into();
    }
    Ok(private(200, &body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_days_are_read_and_nothing_else() {
        let read = |text, of_day| time("from", text, of_day).ok().map(|time| time.0);
        assert_eq!(read("2027-01-15T08:00:00Z", DAY), Some(1_800_000_000_000));
        assert_eq!(read("1970-01-02", Duration::ZERO), Some(86_400_000));
        assert_eq!(read("1970-01-02", DAY), Some(2 * 86_400_000 - 1));
        for wrong in
            ["", "yesterday", "2027-01-32", "1969-12-31", "2027-01-15T08:00:00", "2027-01-15T08:00:00+01:00", "é€é€"]
        {
            assert_eq!(read(wrong, DAY), None, "{wrong}");
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_event() {
        let event = json!({
            "id": "1", "time": "t", "happening": "push", "repository": "a", "tags": ["v1", "v2"], "digest": null,
            "media_type": "m", "size": 7, "by": "=cmd()", "agent": "docker, \"x\"",
        });
        let table = table([&event]);
        assert_eq!(table.lines().next(), Some(COLUMNS.join(",").as_str()));
        assert_eq!(table.lines().nth(1), Some("1,t,push,a,v1 v2,,m,7,'=cmd(),,\"docker, \"\"x\"\"\""));
    }
}
