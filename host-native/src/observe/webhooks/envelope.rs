//! What is sent: a CloudEvent, or the envelope of distribution's notifications.

use std::time::{Duration, SystemTime};

use orlop_core::Timestamp;
use orlop_core::event::{Event, Happening, Source};
use serde_json::{Value, json};

use crate::settings::Format;

/// The media type of what is sent.
pub(super) fn content_type(format: Format) -> &'static str {
    match format {
        Format::CloudEvents => "application/cloudevents+json",
        Format::Distribution => "application/vnd.docker.distribution.events.v1+json",
    }
}

/// What is sent of an event.
pub(super) fn envelope(format: Format, event: &Event) -> String {
    match format {
        Format::CloudEvents => cloud_event(event),
        Format::Distribution => notification(event),
    }
    .to_string()
}

fn action(event: &Event) -> &'static str {
    match event.happening {
        Happening::Push => "push",
        Happening::Pull => "pull",
        Happening::Delete => "delete",
        Happening::Quota => "quota",
        Happening::Damaged => "damaged",
    }
}

/// RFC 3339, in milliseconds.
fn time(Timestamp(milliseconds): Timestamp) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds));
    humantime::format_rfc3339_millis(time.unwrap_or(SystemTime::UNIX_EPOCH)).to_string()
}

/// The name of an event. One call may delete many, and find much damage; with its source each has a name of its own.
fn id(event: &Event) -> String {
    match (event.happening, &event.digest, event.tags.first()) {
        (Happening::Delete | Happening::Damaged, Some(digest), _) => format!("{}-{digest}", event.id),
        (Happening::Delete, None, Some(tag)) => format!("{}-{tag}", event.id),
        _ => match &event.quota {
            Some(exceeded) => format!("{}-{}", event.id, exceeded.name),
            None => event.id.to_string(),
        },
    }
}

/// What an event is about: `repository:tag`, `repository@digest`.
fn subject(event: &Event) -> String {
    match (event.tags.as_slice(), &event.digest) {
        // The tags went with it.
        (_, Some(digest)) if event.happening == Happening::Delete => format!("{}@{digest}", event.repository),
        ([tag], _) => format!("{}:{tag}", event.repository),
        (_, Some(digest)) => format!("{}@{digest}", event.repository),
        _ => event.repository.clone(),
    }
}

/// CloudEvents 1.0, JSON format.
fn cloud_event(event: &Event) -> Value {
    if let Some(exceeded) = &event.quota {
        return json!({
            "specversion": "1.0",
            "id": id(event),
            "type": "orlop.quota.exceeded",
            "source": format!("/v2/{}", event.repository),
            "subject": exceeded.name,
            "time": time(event.time),
            "datacontenttype": "application/json",
            "data": {
                "repository": event.repository,
                "quota": exceeded.name,
                "together": exceeded.together,
                "bytes": exceeded.bytes,
                "soft": exceeded.soft,
                "limit": exceeded.limit,
                "user": event.by,
            },
        });
    }
    json!({
        "specversion": "1.0",
        "id": id(event),
        "type": match event.happening {
            Happening::Damaged => "orlop.content.damaged".to_owned(),
            _ => format!("orlop.manifest.{}", action(event)),
        },
        "source": format!("/v2/{}", event.repository),
        "subject": subject(event),
        "time": time(event.time),
        "datacontenttype": "application/json",
        "data": {
            "repository": event.repository,
            "digest": event.digest,
            "tags": event.tags,
            "mediaType": event.media_type,
            "size": event.size,
            "user": event.by,
        },
    })
}

/// An envelope has an event for each tag; of the end of a manifest one for that, and one for each tag that goes with it.
fn notification(event: &Event) -> Value {
    let ends = event.happening == Happening::Delete && event.digest.is_some();
    let one = |tag: Option<&String>| {
        let mut target = json!({ "repository": event.repository });
        // What tells of a tag that ends has no digest: consumers take that for the end of the manifest.
        let digest = event.digest.as_ref().filter(|_| !(ends && tag.is_some()));
        let about = digest.is_some() || event.digest.is_none();
        let fields = [
            ("digest", json!(digest)),
            ("mediaType", json!(event.media_type.as_ref().filter(|_| about))),
            ("size", json!(event.size.filter(|_| about))),
            ("length", json!(event.size.filter(|_| about))),
            ("tag", json!(tag)),
        ];
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
            target[name] = value;
        }
        // Each has a name of its own.
        let name = match tag {
            Some(tag) if ends || event.tags.len() > 1 => format!("{}-{tag}", id(event)),
            _ if event.happening == Happening::Damaged => format!("{}-{}", id(event), event.repository),
            _ => id(event),
        };
        let mut told = json!({
            "id": name,
            "timestamp": time(event.time),
            "action": action(event),
            "target": target,
            "request": { "id": event.id },
            "actor": { "name": event.by },
            "source": {},
        });
        if let Some(exceeded) = &event.quota {
            told["quota"] = json!(exceeded);
        }
        if let Some(request) = &event.request {
            // Consumers fetch what they are told of by this.
            let reference = digest.map(ToString::to_string);
            let to_fetch = event.happening != Happening::Damaged;
            if let Some(reference) = reference.as_ref().or(tag).filter(|_| to_fetch) {
                let Source { base, .. } = request;
                told["target"]["url"] = format!("{base}/v2/{}/manifests/{reference}", event.repository).into();
            }
            told["request"] = json!({
                "id": event.id,
                "addr": request.address,
                "host": request.host,
                "method": request.method,
                "useragent": request.agent,
            });
            told["source"] = json!({ "addr": request.server, "instanceID": request.instance });
        }
        told
    };
    let events: Vec<Value> = match event.tags.as_slice() {
        [] => vec![one(None)],
        tags if ends => std::iter::once(one(None)).chain(tags.iter().map(|tag| one(Some(tag)))).collect(),
        tags => tags.iter().map(|tag| one(Some(tag))).collect(),
    };
    json!({ "events": events })
}

#[cfg(test)]
mod tests {
    use orlop_core::event::Exceeded;
    use uuid::Uuid;

    use super::*;

    fn event(happening: Happening) -> Event {
        Event {
            id: Uuid::nil(),
            time: Timestamp(0),
            happening,
            repository: "a".into(),
            digest: None,
            tags: Vec::new(),
            media_type: None,
            size: None,
            quota: None,
            by: "alice".into(),
            request: None,
        }
    }

    /// Consumers know a delete by a digest from one by a tag, and drop a second event of the same name.
    #[test]
    fn the_end_of_a_manifest_is_told_apart_from_that_of_its_tags() {
        let digest = orlop_core::digest::Algorithm::Sha256.digest(b"");
        let tags = vec!["v1".to_owned()];
        let whole = Event { digest: Some(digest), tags: tags.clone(), size: Some(3), ..event(Happening::Delete) };
        let told = cloud_event(&whole);
        assert_eq!(told["subject"], format!("a@{digest}"));
        assert_eq!((&told["data"]["digest"], &told["data"]["tags"]), (&json!(digest), &json!(tags)));
        let part = cloud_event(&Event { tags: vec!["v2".to_owned()], ..event(Happening::Delete) });
        assert_eq!((&part["subject"], &part["data"]["digest"]), (&json!("a:v2"), &Value::Null));
        assert_ne!(told["id"], part["id"]);
        let told = notification(&whole);
        let targets: Vec<&Value> =
            told["events"].as_array().expect("events").iter().map(|one| &one["target"]).collect();
        let manifest = json!({ "repository": "a", "digest": digest, "size": 3, "length": 3 });
        assert_eq!(targets, [&manifest, &json!({ "repository": "a", "tag": "v1" })]);
    }

    #[test]
    fn a_quota_is_told_by_name_in_both_formats() {
        let exceeded = Exceeded { name: "team".into(), together: true, bytes: 60, soft: 50, limit: Some(100) };
        let event = Event { quota: Some(exceeded), ..event(Happening::Quota) };
        let told = cloud_event(&event);
        assert_eq!((&told["type"], &told["subject"]), (&"orlop.quota.exceeded".into(), &"team".into()));
        assert_eq!((&told["data"]["bytes"], &told["data"]["limit"]), (&60.into(), &100.into()));
        let told = &notification(&event)["events"][0];
        assert_eq!((&told["action"], &told["quota"]["soft"]), (&"quota".into(), &50.into()));
        assert_eq!(told["target"], json!({ "repository": "a" }));
    }
}
