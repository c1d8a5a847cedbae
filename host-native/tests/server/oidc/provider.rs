//! A small identity provider: what a registry asks of one, and tokens that it signs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ED25519, SigningKey};
use serde_json::{Value, json};

/// A provider on a port of its own.
pub(super) struct Provider {
    pub(super) issuer: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    keys: Vec<Value>,
    /// What it says of itself, in the place of what is right.
    says: Option<String>,
    down: bool,
    /// What it answers to a code: a status and a body. Without it, it never answers.
    gives: Option<(u16, String)>,
    /// The forms with which codes came.
    forms: Vec<String>,
    /// The paths that were asked for, and what was sent along to log in.
    asked: Vec<(String, Option<String>)>,
}

/// A key of a provider, and its name.
pub(super) struct Key {
    pair: KeyPair,
    name: String,
}

impl Key {
    pub(super) fn new(name: &str) -> Self {
        Self { pair: KeyPair::generate_for(&PKCS_ED25519).unwrap(), name: name.into() }
    }

    pub(super) fn public(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key_raw());
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.name, "x": x })
    }

    /// A token with these claims.
    pub(super) fn sign(&self, claims: &Value) -> String {
        let encoded = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", encoded(&json!({ "alg": "EdDSA", "kid": self.name })), encoded(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()).unwrap());
        format!("{message}.{signature}")
    }
}

pub(super) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

impl Provider {
    /// A provider that has these keys.
    pub(super) fn with(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let (served, own) = (state.clone(), issuer.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(stream, &served, &own);
            }
        });
        let provider = Self { issuer, state };
        provider.has(keys);
        provider
    }

    /// It has these keys from now on, and beside them one of a kind that nobody knows.
    pub(super) fn has(&self, keys: &[&Key]) {
        let unknown = json!({ "kty": "AKP", "kid": "future", "alg": "ML-DSA-87", "pub": "AAAA" });
        let keys = std::iter::once(unknown).chain(keys.iter().map(|key| key.public())).collect();
        self.state.lock().unwrap().keys = keys;
    }

    /// Whether it answers at all.
    pub(super) fn is_down(&self, down: bool) {
        self.state.lock().unwrap().down = down;
    }

    /// It says that of itself.
    pub(super) fn says(&self, text: &str) {
        self.state.lock().unwrap().says = Some(text.into());
    }

    /// It answers that to a code.
    pub(super) fn gives(&self, status: u16, body: impl Into<String>) {
        self.state.lock().unwrap().gives = Some((status, body.into()));
    }

    /// It leaves whoever has a code without an answer.
    pub(super) fn hangs(&self) {
        self.state.lock().unwrap().gives = None;
    }

    /// The form with which the last code came.
    pub(super) fn form(&self) -> String {
        self.state.lock().unwrap().forms.last().cloned().unwrap_or_default()
    }

    /// How often its keys were asked for.
    pub(super) fn fetched(&self) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|(path, _)| path == "/keys").count()
    }

    /// What was sent along with each request.
    pub(super) fn sent_along(&self) -> Vec<Option<String>> {
        self.state.lock().unwrap().asked.iter().map(|(_, sent)| sent.clone()).collect()
    }

    /// Claims of a token of it, with others in their place or beside them; null takes one away.
    pub(super) fn claims(&self, more: &Value) -> Value {
        let mut claims = json!({
            "iss": self.issuer, "aud": "registry.example", "sub": "repo:acme/app:ref:refs/heads/main", "iat": now(),
            "exp": now() + 300, "repository": "acme/app", "repository_owner": "acme", "ref": "refs/heads/main",
        });
        let all = claims.as_object_mut().unwrap();
        for (name, value) in more.as_object().unwrap() {
            match value {
                Value::Null => all.remove(name),
                value => all.insert(name.clone(), value.clone()),
            };
        }
        claims
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>, issuer: &str) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut form = vec![0; length];
    if stream.read_exact(&mut form).is_err() {
        return;
    }
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let field = head.lines().find_map(|line| line.strip_prefix("authorization: ").map(String::from));
    let mut state = state.lock().unwrap();
    if state.down {
        return;
    }
    state.asked.push((path.clone(), field));
    let (status, body) = match path.as_str() {
        "/.well-known/openid-configuration" => {
            let right = json!({
                "issuer": issuer, "jwks_uri": format!("{issuer}/keys"), "token_endpoint": format!("{issuer}/token"),
                "authorization_endpoint": format!("{issuer}/authorize?realm=x"),
            });
            let right = right.to_string();
            (200, state.says.clone().unwrap_or(right))
        }
        "/keys" => (200, json!({ "keys": state.keys }).to_string()),
        "/token" => {
            state.forms.push(String::from_utf8(form).unwrap());
            let Some(given) = state.gives.clone() else {
                // It waits until the client has enough of it.
                std::thread::spawn(move || stream.read(&mut byte));
                return;
            };
            given
        }
        _ => (404, String::new()),
    };
    let length = body.len();
    let _ = write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
}
