//! Effects and their outcomes as JSON, for people to look at. What is large is told by its size.

use orlop_core::effect::{
    Assemble, Collect, Collected, Commit, Committed, Durability, Erase, Expect, Get, Inventory, Load, Measure, Object,
    Receive, Received, Scan, Stored, Value,
};
use orlop_core::keys::Key;
use orlop_core::meter::Meter;
use serde_json::{Value as Json, json};

/// The longest value that is shown as text, in bytes.
const SHOWN: usize = 16 << 10;

/// Something that can be shown.
pub(crate) trait View {
    fn view(&self) -> Json;
}

impl View for Collect {
    fn view(&self) -> Json {
        json!({ "effect": "Collect", "limit": self.limit })
    }
}

impl View for Receive {
    fn view(&self) -> Json {
        json!({ "effect": "Receive", "part": self.part.to_string(), "meter": self.meter.view() })
    }
}

impl View for Assemble {
    fn view(&self) -> Json {
        let parts: Vec<String> = self.parts.iter().map(ToString::to_string).collect();
        json!({ "effect": "Assemble", "parts": parts, "content": self.content.to_string() })
    }
}

impl View for Load {
    fn view(&self) -> Json {
        json!({ "effect": "Load", "content": self.content.to_string(), "limit": self.limit })
    }
}

impl View for Measure {
    fn view(&self) -> Json {
        json!({ "effect": "Measure", "content": self.content.to_string(), "meter": self.meter.view() })
    }
}

impl View for Erase {
    fn view(&self) -> Json {
        json!({ "effect": "Erase", "target": self.target.view() })
    }
}

impl View for Inventory {
    fn view(&self) -> Json {
        json!({ "effect": "Inventory", "after": self.after.map(|after| after.view()), "limit": self.limit })
    }
}

impl View for Get {
    fn view(&self) -> Json {
        let keys: Vec<&str> = self.keys.iter().map(Key::as_str).collect();
        json!({ "effect": "Get", "keys": keys })
    }
}

impl View for Scan {
    fn view(&self) -> Json {
        let after = self.after.as_ref().map(Key::as_str);
        json!({ "effect": "Scan", "prefix": self.prefix.as_str(), "after": after, "limit": self.limit })
    }
}

impl View for Commit {
    fn view(&self) -> Json {
        let put: Vec<Json> = self.put.iter().map(View::view).collect();
        json!({
            "effect": "Commit",
            "expect": self.expect.iter().map(View::view).collect::<Vec<_>>(),
            "put": put,
            "delete": self.delete.iter().map(Key::as_str).collect::<Vec<_>>(),
            "durable": self.durability == Durability::Durable,
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

impl View for Object {
    fn view(&self) -> Json {
        match self {
            Self::Part(part) => json!({ "part": part.to_string() }),
            Self::Content(content) => json!({ "content": content.to_string() }),
        }
    }
}

impl View for Meter {
    fn view(&self) -> Json {
        let room = (self.room() < 1 << 53).then(|| self.room());
        json!({ "algorithm": self.algorithm().name(), "count": self.count(), "room": room })
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

impl View for (Key, Value) {
    fn view(&self) -> Json {
        json!([self.0.as_str(), self.1.view()])
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
        use orlop_core::effect::BodyEnd;
        let end = match self.end {
            BodyEnd::Whole => "whole",
            BodyEnd::TooLarge => "too-large",
            BodyEnd::Cut => "cut",
        };
        json!({ "end": end, "meter": self.meter.view(), "digest": self.meter.digest().to_string() })
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
        json!({ "object": self.object.view(), "size": self.size, "ageMs": self.age.as_millis() as u64 })
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
