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

/// What an event is about: `repository:tag`, `repository@digest`.
fn subject(event: &Event) -> String {
    match (event.tags.as_slice(), &event.digest) {
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
            "id": format!("{}-{}", event.id, exceeded.name),
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
        "id": event.id,
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

/// An envelope has an event for each tag.
fn notification(event: &Event) -> Value {
    let one = |tag: Option<&String>| {
        let mut target = json!({ "repository": event.repository });
        let fields = [
            ("digest", json!(event.digest)),
            ("mediaType", json!(event.media_type)),
            ("size", json!(event.size)),
            ("length", json!(event.size)),
            ("tag", json!(tag)),
        ];
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
            target[name] = value;
        }
        let mut told = json!({
            "id": event.id,
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
            let reference = event.digest.as_ref().map(ToString::to_string);
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
        tags => tags.iter().map(|tag| one(Some(tag))).collect(),
    };
    json!({ "events": events })
}

#[cfg(test)]
mod tests {
    use orlop_core::event::Exceeded;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_quota_is_told_by_name_in_both_formats() {
        let exceeded = Exceeded { name: "team".into(), together: true, bytes: 60, soft: 50, limit: Some(100) };
        let event = Event {
            id: Uuid::nil(),
            time: Timestamp(0),
            happening: Happening::Quota,
            repository: "a".into(),
            digest: None,
            tags: Vec::new(),
            media_type: None,
            size: None,
            quota: Some(exceeded),
            by: "alice".into(),
            request: None,
        };
        let told = cloud_event(&event);
        assert_eq!((&told["type"], &told["subject"]), (&"orlop.quota.exceeded".into(), &"team".into()));
        assert_eq!((&told["data"]["bytes"], &told["data"]["limit"]), (&60.into(), &100.into()));
        let told = &notification(&event)["events"][0];
        assert_eq!((&told["action"], &told["quota"]["soft"]), (&"quota".into(), &50.into()));
        assert_eq!(told["target"], json!({ "repository": "a" }));
    }
}
