//! The conformance tester in a browser tab: the checks and histories of `orlop-conformance`, against whatever a
//! JavaScript function answers.

#![forbid(unsafe_code)]

use bytes::Bytes;
use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use orlop_conformance::tester::run::{Profile, Progress, Settings, run};
use orlop_conformance::tester::{Answer, Exchange, Payload, Target, Unreachable, report};
use serde_json::Value as Json;
use std::rc::Rc;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};
use wasm_bindgen_futures::JsFuture;

/// Tests a registry and tells, as JSON, what was found.
///
/// `settings` is JSON: `{ "seed", "prefix", "histories", "operations", "concurrent", "checks", "profile",
/// "reuse" }`. `send` is
/// called with method, target, headers (names and values in turns), bytes, framing (`none`, `whole`, `chunked`, `cut`)
/// and promises `{ status, headers, body }`. `tell` is called with what is done, and how many steps of it are to come;
/// or with a step and -1.
///
/// # Errors
///
/// When the settings are not understood.
#[wasm_bindgen]
pub async fn test(base: String, settings: String, send: Function, tell: Function) -> Result<String, JsError> {
    let settings = read(&serde_json::from_str(&settings)?)?;
    let target = Rc::new(Page { send });
    let findings = run(target, &base, settings, &Teller { tell }).await;
    Ok(report::json(&findings).to_string())
}

fn read(given: &Json) -> Result<Settings, JsError> {
    let number = |name: &str, standard: usize| given[name].as_u64().map_or(standard, |number| number as usize);
    let text = |name: &str| given[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let profile: Profile =
        text("profile").unwrap_or_else(|| "auto".into()).parse().map_err(|e: String| JsError::new(&e))?;
    let seed = given["seed"].as_u64().unwrap_or_default();
    Ok(Settings {
        checks: text("checks"),
        histories: number("histories", 50),
        operations: number("operations", 40),
        concurrent: number("concurrent", 30),
        seed,
        prefix: text("prefix").unwrap_or_else(|| format!("orlop-conformance/{seed:x}")),
        profile,
        reuse: given["reuse"] == true,
    })
}

/// A registry behind a function of the page.
struct Page {
    send: Function,
}

impl Page {
    async fn ask(&self, exchange: Exchange) -> Result<Answer, JsValue> {
        let headers = Array::new();
        for (name, value) in &exchange.headers {
            headers.push(&name.as_str().into());
            headers.push(&value.as_str().into());
        }
        let framing = match &exchange.body {
            Payload::None => "none",
            Payload::Whole(_) => "whole",
            Payload::Chunked(_) => "chunked",
            Payload::Cut(..) => "cut",
        };
        let arguments: [JsValue; 5] = [
            exchange.method.as_str().into(),
            exchange.target.as_str().into(),
            headers.into(),
            Uint8Array::from(exchange.body.bytes()).into(),
            framing.into(),
        ];
        let promise = self.send.apply(&JsValue::NULL, &arguments.iter().collect::<Array>())?;
        let answer = JsFuture::from(Promise::resolve(&promise)).await?;
        let field = |name: &str| Reflect::get(&answer, &name.into());
        let list: Array = field("headers")?.unchecked_into();
        let texts: Vec<String> = list.iter().map(|text| text.as_string().unwrap_or_default()).collect();
        let headers = texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        let status = field("status")?.as_f64().unwrap_or_default() as u16;
        let body = Bytes::from(field("body")?.unchecked_into::<Uint8Array>().to_vec());
        Ok(Answer { status, headers, body })
    }
}

impl Target for Page {
    async fn send(&self, exchange: Exchange) -> Result<Answer, Unreachable> {
        self.ask(exchange).await.map_err(|why| {
            let text = why.as_string().or_else(|| Some(String::from(why.dyn_ref::<js_sys::Error>()?.message())));
            Unreachable::Gone(text.unwrap_or_else(|| "no reason was given".into()))
        })
    }
}

/// Tells a function of the page how far the run is.
struct Teller {
    tell: Function,
}

impl Progress for Teller {
    fn begins(&self, what: &str, steps: usize) {
        // A page that cannot be told is none of the tester's business.
        let _ = self.tell.call2(&JsValue::NULL, &what.into(), &(steps as f64).into());
    }

    fn step(&self, what: &str) {
        let _ = self.tell.call2(&JsValue::NULL, &what.into(), &(-1.0).into());
    }
}
