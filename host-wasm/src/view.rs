//! Effects and their outcomes as JSON, for people to look at. What is large is told by its size.

use std::ops::Range;
use std::time::Duration;

use orlop_core::Response;
use orlop_core::effect::{self, BodyEnd, Collected, Committed, Durability, Expect, Received, Step, Stored, Value};
use orlop_core::keys::{Key, Prefix};
use orlop_core::meter::Meter;
use orlop_core::mirror::{Answer, Fetching, Followed, Relayed, Source, Unmet, Wanted};
use orlop_core::object::ObjectId;
use serde_json::{Value as Json, json};

/// The longest value that is shown as text, in bytes.
const SHOWN: usize = 16 << 10;

/// Something that can be shown.
pub(crate) trait View {
    fn view(&self) -> Json;
}

/// Shows every effect with its fields as the core names them.
macro_rules! effects {
    ($( $name:ident { $( $field:ident )* } )*) => {
        $(
            impl View for effect::$name {
                fn view(&self) -> Json {
                    json!({ "effect": stringify!($name), $( stringify!($field): self.$field.view() ),* })
                }
            }
        )*

        /// What is asked, or that nothing is.
        pub(crate) fn view<R>(step: &Step<R>) -> Json {
            match step {
                $( Step::$name(ask) => ask.effect.view(), )*
                Step::Respond(_) | Step::Answered(..) => json!({ "effect": step.name() }),
            }
        }
    };
}

orlop_core::for_each_effect!(effects);

/// A number of bytes, milliseconds or entries; one that JavaScript cannot count is no bound, and shown as `null`.
fn number(number: impl TryInto<u64>) -> Json {
    json!(number.try_into().ok().filter(|number| *number < 1 << 53))
}

impl View for u64 {
    fn view(&self) -> Json {
        number(*self)
    }
}

impl View for i64 {
    fn view(&self) -> Json {
        json!(self)
    }
}

impl View for usize {
    fn view(&self) -> Json {
        number(*self)
    }
}

impl View for bool {
    fn view(&self) -> Json {
        json!(self)
    }
}

impl View for Duration {
    fn view(&self) -> Json {
        number(self.as_millis())
    }
}

impl View for ObjectId {
    fn view(&self) -> Json {
        json!(self)
    }
}

impl View for Key {
    fn view(&self) -> Json {
        json!(self.as_str())
    }
}

impl View for Prefix {
    fn view(&self) -> Json {
        json!(self.as_str())
    }
}

impl View for Durability {
    fn view(&self) -> Json {
        json!(match self {
            Self::Durable => "durable",
            Self::Eventual => "eventual",
        })
    }
}

impl View for Expect {
    fn view(&self) -> Json {
        match self {
            Self::Absent(key) => json!({ "kind": "absent", "key": key.as_str() }),
            Self::Present(key) => json!({ "kind": "present", "key": key.as_str() }),
            Self::Exactly(key, value) => json!({ "kind": "exactly", "key": key.as_str(), "value": value.view() }),
            Self::NoneUnder(prefix) => json!({ "kind": "none-under", "key": prefix.as_str() }),
        }
    }
}

impl View for Meter {
    fn view(&self) -> Json {
        json!({ "algorithm": self.algorithm().name(), "count": self.count(), "room": number(self.room()) })
    }
}

impl View for Value {
    fn view(&self) -> Json {
        match std::str::from_utf8(self) {
            Ok(text) if text.len() <= SHOWN => json!(text),
            _ => json!({ "bytes": self.len() }),
        }
    }
}

impl<A: View, B: View> View for (A, B) {
    fn view(&self) -> Json {
        json!([self.0.view(), self.1.view()])
    }
}

impl View for Collected {
    fn view(&self) -> Json {
        match self {
            Self::Whole(bytes) => json!({ "end": "whole", "body": bytes.view() }),
            Self::TooLarge => json!({ "end": "too-large" }),
            Self::Cut => json!({ "end": "cut" }),
            Self::NoRoom => json!({ "end": "no-room" }),
        }
    }
}

impl View for Received {
    fn view(&self) -> Json {
        let end = match self.end {
            BodyEnd::Whole => "whole",
            BodyEnd::TooLarge => "too-large",
            BodyEnd::Cut => "cut",
            BodyEnd::Later => "later",
        };
        let digest = self.meter.digest().to_string();
        json!({
            "end": end, "meter": self.meter.view(), "digest": digest, "kept": self.kept.view(), "took": self.took.as_millis() as u64,
        })
    }
}

impl View for Committed {
    fn view(&self) -> Json {
        json!(match self {
            Self::Done => "Done",
            Self::Conflict => "Conflict",
        })
    }
}

impl View for Stored {
    fn view(&self) -> Json {
        json!({ "object": self.object.view(), "size": self.size, "ageMs": self.age.view() })
    }
}

impl View for Wanted {
    fn view(&self) -> Json {
        json!({
            "upstream": self.upstream.as_str(), "method": self.method.to_string(), "repository": self.repository.as_str(),
            "resource": self.resource, "accept": self.accept, "via": self.via,
        })
    }
}

impl View for Source {
    fn view(&self) -> Json {
        json!({
            "upstream": self.upstream.as_str(), "repository": self.repository.as_str(),
            "digest": self.digest.to_string(), "via": self.via,
        })
    }
}

impl View for Fetching {
    fn view(&self) -> Json {
        json!({ "repository": self.repository.as_str(), "digest": self.digest.to_string() })
    }
}

impl View for Range<u64> {
    fn view(&self) -> Json {
        json!([self.start, self.end])
    }
}

impl View for Answer {
    fn view(&self) -> Json {
        json!({
            "mediaType": self.media_type, "digest": self.digest.map(|digest| digest.to_string()),
            "length": self.length.view(), "next": self.next, "body": self.body.view(),
        })
    }
}

impl View for Unmet {
    fn view(&self) -> Json {
        let kind = match self {
            Self::Absent => "absent",
            Self::Denied => "denied",
            Self::Paused(_) => "paused",
            Self::Failed(_) => "failed",
        };
        json!({ "unmet": kind, "reason": self.to_string() })
    }
}

impl<T: View> View for Result<T, Unmet> {
    fn view(&self) -> Json {
        self.as_ref().map_or_else(View::view, View::view)
    }
}

impl View for Followed {
    fn view(&self) -> Json {
        match self {
            Self::Coming(size) => json!({ "end": "coming", "size": number(*size) }),
            Self::Over(Ok(())) => json!({ "end": "kept" }),
            Self::Over(Err(error)) => json!({ "end": "failed", "status": Response::from(error.clone()).status }),
        }
    }
}

impl View for Relayed {
    fn view(&self) -> Json {
        json!({ "size": number(self.size) })
    }
}

impl View for () {
    fn view(&self) -> Json {
        json!("Done")
    }
}

impl<T: View> View for Option<T> {
    fn view(&self) -> Json {
        self.as_ref().map_or(Json::Null, View::view)
    }
}

impl<T: View> View for Vec<T> {
    fn view(&self) -> Json {
        self.iter().map(View::view).collect()
    }
}
