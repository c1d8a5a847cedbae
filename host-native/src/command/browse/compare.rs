//! `orlop compare`: what two images share, and what only one of them has, as the console shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use orlop_core::Registry;
use serde_json::{Value as Json, json};

use super::{API, Asked, ask, entries, get, plain, size, text};
use crate::command::cli;
use crate::command::config::Effective;
use crate::command::deleted::{Image, columns};
use crate::storage::Host;

/// Where a comparison is, for [`Asked`]: the API has the images.
pub(super) const PATH: &str = "compare";

/// The platform whose image is compared where an index has it, and none is asked for.
const USUAL: &str = "linux/amd64";

/// How many characters of a command or of a value are printed.
const SHOWN: usize = 160;

/// Reads both images; of an index the image for a platform.
///
/// # Errors
///
/// With what a client would be told, or the platforms that there are.
pub(super) async fn read(
    registry: &Registry,
    host: &Host,
    given: impl Fn(&str) -> Option<String>,
) -> Result<Json, String> {
    let platform = given("platform").filter(|platform| !platform.is_empty());
    let mut both = json!({});
    for side in ["a", "b"] {
        let name = given(side).unwrap_or_default();
        both[side] = image(registry, host, &name, platform.as_deref()).await.map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(both)
}

async fn image(registry: &Registry, host: &Host, name: &str, platform: Option<&str>) -> Result<Json, String> {
    let named: Image = name.parse()?;
    let reference = named.reference().ok_or("it is a repository, and no image")?;
    let path = format!("{API}repositories/{}/images", named.repository());
    let mut image = get(registry, host, format!("{path}/{reference}")).await?;
    let listed = |image: &Json| -> Vec<(String, String)> {
        let known = entries(image, "manifests").map(|child| (text(&child["platform"]), text(&child["digest"])));
        // Attestations of `docker buildx` say that they are for no platform.
        known.filter(|(platform, _)| platform != "-" && !platform.starts_with("unknown")).collect()
    };
    let children = listed(&image);
    if !children.is_empty() {
        let of = |wanted: &str| {
            let fits = |has: &str| has == wanted || has.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'));
            children.iter().find(|(has, _)| fits(has))
        };
        let chosen = match platform {
            Some(wanted) => of(wanted).ok_or_else(|| {
                let has: Vec<String> = children.iter().map(|(has, _)| plain(has)).collect();
                format!("it has no image for {wanted}, but for {}", has.join(", "))
            })?,
            None => of(USUAL).unwrap_or(&children[0]),
        };
        image = get(registry, host, format!("{path}/{}", chosen.1)).await?;
    }
    image["name"] = name.into();
    Ok(image)
}

/// `orlop compare`
///
/// # Errors
///
/// When one of them is not there, or cannot be looked up.
pub fn compare(command: &cli::Compare, effective: &[Effective]) -> Result<(), Box<dyn Error>> {
    for name in [&command.one, &command.other] {
        let image: Image = name.parse()?;
        image.reference().ok_or_else(|| format!("{image} is a repository: write {image}:TAG or {image}@DIGEST"))?;
    }
    let platform = command.platform.as_deref().unwrap_or_default();
    let parameters = [("a", command.one.as_str()), ("b", &command.other), ("platform", platform)];
    let both: Json = serde_json::from_str(&ask(&Asked::list(PATH, &parameters), &command.settings, effective)?)?;
    let compared = compared(&both["a"], &both["b"]);
    match command.json {
        true => out!("{compared}"),
        false => out!("{}", printed(&compared)),
    }
    Ok(())
}

/// What two images have together, and what not.
fn compared(a: &Json, b: &Json) -> Json {
    let (a_layers, b_layers) = (layers(a), layers(b));
    let digests = |layers: &[Json]| layers.iter().map(|layer| text(&layer["digest"])).collect::<BTreeSet<String>>();
    let (in_a, in_b) = (digests(&a_layers), digests(&b_layers));
    let has = |digests: &BTreeSet<String>, layer: &&Json| digests.contains(&text(&layer["digest"]));
    let head = |image: &Json, layers: &[Json]| {
        let platform = settings(image).remove("platform");
        json!({
            "name": image["name"],
            "digest": image["digest"],
            "kind": image["kind"],
            "platform": platform,
            "bytes": image["bytes"],
            "layers": layers.len(),
        })
    };
    json!({
        "a": head(a, &a_layers),
        "b": head(b, &b_layers),
        "same": a["digest"] == b["digest"],
        "config": differences(settings(a), settings(b)),
        "environment": differences(environment(a), environment(b)),
        "labels": differences(texts(&a["config"]["config"]["Labels"]), texts(&b["config"]["config"]["Labels"])),
        "annotations": differences(texts(&a["annotations"]), texts(&b["annotations"])),
        "layers": {
            "shared": a_layers.iter().filter(|layer| has(&in_b, layer)).collect::<Vec<_>>(),
            "onlyA": a_layers.iter().filter(|layer| !has(&in_b, layer)).collect::<Vec<_>>(),
            "onlyB": b_layers.iter().filter(|layer| !has(&in_a, layer)).collect::<Vec<_>>(),
        },
    })
}

/// The layers, without the steps that made none.
fn layers(image: &Json) -> Vec<Json> {
    let layers = entries(image, "layers").filter(|layer| layer["digest"].is_string());
    let layer = |layer: &Json| json!({ "digest": layer["digest"], "size": layer["size"], "command": layer["command"] });
    layers.map(layer).collect()
}

/// Where they differ, in the order of names.
fn differences(a: BTreeMap<String, String>, b: BTreeMap<String, String>) -> Vec<Json> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differ = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    differ.map(|name| json!({ "name": name, "a": a.get(name), "b": b.get(name) })).collect()
}

/// A config, but for the environment and the labels. It is read leniently: whoever pushed it may have written anything.
fn settings(image: &Json) -> BTreeMap<String, String> {
    let (whole, config) = (&image["config"], &image["config"]["config"]);
    let one = |value: &Json| value.as_str().map(str::to_owned);
    let names = |value: &Json| {
        let names = value.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        Some(names.collect::<Vec<_>>().join(", "))
    };
    let platform: Vec<&str> =
        ["os", "architecture", "variant"].iter().filter_map(|part| whole[part].as_str()).collect();
    let all = [
        ("platform", Some(platform.join("/"))),
        ("created", one(&whole["created"])),
        ("author", one(&whole["author"])),
        ("entrypoint", words(&config["Entrypoint"])),
        ("command", words(&config["Cmd"])),
        ("user", one(&config["User"])),
        ("working directory", one(&config["WorkingDir"])),
        ("ports", names(&config["ExposedPorts"])),
        ("volumes", names(&config["Volumes"])),
        ("stop signal", one(&config["StopSignal"])),
        ("health check", words(&config["Healthcheck"]["Test"])),
    ];
    let set = all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.filter(|it| !it.is_empty())?)));
    set.collect()
}

/// Arguments as a shell would take them. Old images have one text, which a shell reads.
fn words(value: &Json) -> Option<String> {
    let word = |word: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
        match !word.is_empty() && word.chars().all(plain) {
            true => word.to_owned(),
            false => format!("'{}'", word.replace('\'', "'\\''")),
        }
    };
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Array(words) => Some(words.iter().filter_map(Json::as_str).map(word).collect::<Vec<_>>().join(" ")),
        _ => None,
    }
}

fn environment(image: &Json) -> BTreeMap<String, String> {
    let lines = image["config"]["config"]["Env"].as_array().into_iter().flatten().filter_map(Json::as_str);
    lines
        .map(|line| line.split_once('=').unwrap_or((line, "")))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn texts(value: &Json) -> BTreeMap<String, String> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// For people: behind `-` what only the first has, behind `+` what only the second has.
fn printed(compared: &Json) -> String {
    let head = |sign: &str, side: &str| {
        let of = &compared[side];
        [
            sign.into(),
            shortened(&of["name"]),
            shortened(&of["platform"]),
            size(&of["bytes"]),
            text(&of["layers"]),
            text(&of["digest"]),
        ]
    };
    let heads = [head("-", "a"), head("+", "b")].into_iter();
    let mut parts = vec![columns(["", "IMAGE", "PLATFORM", "BYTES", "LAYERS", "DIGEST"], heads)];
    if compared["same"] == true {
        parts.push("they are the same image".into());
        return parts.join("\n\n");
    }
    for (list, title, between) in [
        ("config", "CONFIG", ": "),
        ("environment", "ENVIRONMENT", "="),
        ("labels", "LABELS", "="),
        ("annotations", "ANNOTATIONS", "="),
    ] {
        let mut lines = vec![title.to_owned()];
        for difference in entries(compared, list) {
            for (sign, side) in [("-", "a"), ("+", "b")] {
                if difference[side].is_string() {
                    lines.push(format!(
                        "{sign} {}{between}{}",
                        shortened(&difference["name"]),
                        shortened(&difference[side])
                    ));
                }
            }
        }
        if lines.len() > 1 {
            parts.push(lines.join("\n"));
        }
    }
    let layers = &compared["layers"];
    let signed = [(" ", "shared"), ("-", "onlyA"), ("+", "onlyB")];
    let rows = signed.iter().flat_map(|(sign, list)| entries(layers, list).map(move |layer| (sign, layer)));
    let row = |(sign, layer): (&&str, &Json)| {
        [(*sign).to_owned(), size(&layer["size"]), text(&layer["digest"]), step(&layer["command"])]
    };
    let mut rows = rows.map(row).peekable();
    if rows.peek().is_some() {
        parts.push(columns(["", "BYTES", "LAYER", "COMMAND"], rows));
        let told = signed.map(|(_, list)| sum(layers, list));
        parts.push(format!("shared: {}; only the first has {}, only the second {}", told[0], told[1], told[2]));
    }
    parts.join("\n\n")
}

fn sum(layers: &Json, list: &str) -> String {
    let bytes = entries(layers, list).filter_map(|layer| layer["size"].as_u64()).fold(0, u64::saturating_add);
    let count = entries(layers, list).count();
    format!("{count} {} ({})", if count == 1 { "layer" } else { "layers" }, size(&bytes.into()))
}

/// The command of a step as a Dockerfile has it.
fn step(command: &Json) -> String {
    let Some(command) = command.as_str() else { return "-".into() };
    let command = command.trim_end().trim_end_matches("# buildkit").trim_end();
    let bare = command.strip_prefix("RUN ").unwrap_or(command);
    let shown = match bare.split_once("/bin/sh -c ") {
        Some(("", rest)) if rest.starts_with("#(nop)") => rest.trim_start_matches("#(nop)").trim_start().to_owned(),
        Some((before, rest)) if before.is_empty() || before.starts_with('|') => format!("RUN {rest}"),
        _ => command.to_owned(),
    };
    shortened(&shown.into())
}

/// The beginning of a text, on one line.
fn shortened(value: &Json) -> String {
    let text = text(value);
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    plain(&shown) + more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, layers: &[(&str, u64, &str)], config: Json) -> Json {
        let layer =
            |(digest, size, command): &(&str, u64, &str)| json!({ "digest": digest, "size": size, "command": command });
        let layers: Vec<Json> = [json!({ "command": "ENV A=1" })].into_iter().chain(layers.iter().map(layer)).collect();
        json!({
            "name": name, "digest": format!("sha256:{name}"), "kind": "image", "bytes": 2048, "layers": layers,
            "annotations": { "a": "1" }, "config": { "os": "linux", "architecture": "arm64", "config": config },
        })
    }

    fn both() -> (Json, Json) {
        let base = ("sha256:0", 1024, "/bin/sh -c #(nop) ADD file:1 in /");
        let one = json!({ "Env": ["A=1", "B=2"], "Cmd": ["sh", "-c", "a b"], "Labels": { "v": "1" }, "ExposedPorts": { "80/tcp": {} } });
        let other = json!({ "Env": ["A=1", "B=\u{1b}[31m"], "Cmd": "run", "Labels": { "v": 2 }, "User": 7 });
        let a = image("a:1", &[base, ("sha256:1", 1, "RUN |1 X=y /bin/sh -c make # buildkit")], one);
        (a, image("a:2", &[base, ("sha256:2", 2, "COPY . /"), ("sha256:3", 3, "")], other))
    }

    #[test]
    fn what_both_have_and_what_differs_is_told() {
        let (a, b) = both();
        let told = compared(&a, &b);
        let digests = |list: &str| entries(&told["layers"], list).map(|it| text(&it["digest"])).collect::<Vec<_>>();
        assert_eq!(digests("shared"), ["sha256:0"]);
        assert_eq!(digests("onlyA"), ["sha256:1"]);
        assert_eq!(digests("onlyB"), ["sha256:2", "sha256:3"]);
        assert_eq!(told["config"][0], json!({ "name": "command", "a": "sh -c 'a b'", "b": "run" }));
        assert_eq!(told["config"][1], json!({ "name": "ports", "a": "80/tcp", "b": null }));
        assert_eq!(told["config"].as_array().map(Vec::len), Some(2), "{told}");
        assert_eq!(told["environment"].as_array().map(Vec::len), Some(1), "{told}");
        assert_eq!(told["labels"], json!([{ "name": "v", "a": "1", "b": "2" }]));
        assert_eq!((&told["annotations"], &told["same"]), (&json!([]), &false.into()));
        assert_eq!((&told["a"]["layers"], &told["b"]["platform"]), (&json!(2), &json!("linux/arm64")));
    }

    #[test]
    fn it_is_read_by_people_and_no_terminal_obeys_it() {
        let (a, b) = both();
        let told = printed(&compared(&a, &b));
        for line in [
            "- command: sh -c 'a b'",
            "+ command: run",
            "- B=2",
            "+ B=\\u{1b}[31m",
            "   1.0 KiB  sha256:0  ADD file:1 in /",
            "-  1 B      sha256:1  RUN make",
            "+  2 B      sha256:2  COPY . /",
            "shared: 1 layer (1.0 KiB); only the first has 1 layer (1 B), only the second 2 layers (5 B)",
        ] {
            assert!(told.lines().any(|has| has == line), "{line:?} is not in\n{told}");
        }
        assert!(!told.contains("ANNOTATIONS") && !told.contains('\u{1b}'), "{told}");
        assert!(printed(&compared(&a, &a)).ends_with("they are the same image"));
    }

    #[test]
    fn what_no_image_has_is_nothing() {
        let odd = json!({ "name": "a:1", "digest": "sha256:1", "config": [1], "layers": null, "annotations": 7 });
        let other = json!({ "name": "a:2", "digest": "sha256:2", "config": { "config": { "Env": 7, "Cmd": {}, "Labels": [] } } });
        let told = compared(&odd, &other);
        assert_eq!((&told["config"], &told["environment"], &told["labels"]), (&json!([]), &json!([]), &json!([])));
        assert!(!printed(&told).contains("LAYER "), "{}", printed(&told));
    }
}
