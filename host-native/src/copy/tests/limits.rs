//! How much a copy takes of a source, and when it gives one up.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_source_that_breaks_off_again_and_again_is_given_up() {
    for (breaks, size, expected) in [(0, 100, 6), (1, 100, 6), (1 << 20, 102 << 20, 101)] {
        let mut memory = Memory { breaks: Some(breaks), ..Memory::default() };
        let bytes = Bytes::from(vec![b'a'; size]);
        let layer = descriptor("application/octet-stream", &bytes);
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","layers":[{}]}}"#,
            serde_json::to_string(&layer).unwrap()
        );
        memory.blobs.insert(layer.digest, bytes);
        memory.add(Some("v1"), IMAGE, text);
        let (directory, told) = (TempDir::new().unwrap(), Counted::default());
        let layout = Layout::create(directory.path()).await.unwrap();
        let copied = copying(&memory, &layout, &told).copy("v1", Some("v1")).await.unwrap();
        assert_eq!(copied.failures.len(), 2, "{:?}", copied.failures);
        assert_eq!(Vec::from_iter(copied.reasons), [Reason::Unreachable]);
        assert_eq!(memory.asked.lock().unwrap().len(), expected, "after {breaks} bytes each time");
    }
}

/// The reason tells what else is to be asked of the registry: so it is not lost among the failures.
#[tokio::test]
async fn the_worst_failure_of_a_copy_is_told_and_a_login_that_is_refused_is_not_tried_again() {
    let mut memory = Memory::default();
    let layers: Vec<String> = (0..20).map(|layer| format!("layer {layer}")).collect();
    let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
    memory.image(Some("v1"), &layers, None);
    let (directory, told) = (TempDir::new().unwrap(), Counted::default());
    let layout = Layout::create(directory.path()).await.unwrap();
    let mut worst = async |fails: Failure| {
        memory.fails = Some(fails);
        let copied = copying(&memory, &layout, &told).copy("v1", Some("v1")).await.unwrap();
        assert_eq!(copied.failures.len(), 22, "each blob and the manifest: {:?}", copied.failures);
        (copied.worst, std::mem::take(&mut *memory.asked.lock().unwrap()).len())
    };
    let down = Failure::Unreachable("lost".into());
    assert_eq!(worst(down.clone()).await, (Some(down), 21));
    let denied = Failure::Denied("403".into());
    assert_eq!(worst(denied.clone()).await, (Some(denied), 21));
    let refused = Failure::LoginRefused("401".into());
    let (told, asked) = worst(refused.clone()).await;
    assert!(told == Some(refused) && asked <= 4, "those at once: {asked}");
    // Of several, what is about the whole registry.
    let all = ["a", "b", "c", "d"].map(String::from);
    let [a, b, c, d] = all;
    let mut weights = [Failure::Damaged(a), Failure::LoginRefused(b), Failure::Denied(c), Failure::Unreachable(d)];
    weights.sort_by_key(Failure::weight);
    assert_eq!(weights.iter().map(ToString::to_string).collect::<String>(), "acdb");
}

#[tokio::test]
async fn the_manifests_of_an_image_have_a_bound() {
    let index = |sizes: &[usize]| {
        let mut memory = Memory::default();
        let children = sizes.iter().enumerate().map(|(child, size)| {
            let text = format!(r#"{{"schemaVersion":2,"annotations":{{"{child}":"{}"}}}}"#, "a".repeat(*size));
            let found = memory.add(None, IMAGE, text);
            serde_json::to_string(&descriptor(IMAGE, &found.bytes)).unwrap()
        });
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#,
            children.collect::<Vec<_>>().join(",")
        );
        memory.add(Some("v1"), INDEX, text);
        memory
    };
    let (directory, told) = (TempDir::new().unwrap(), Counted::default());
    let layout = Layout::create(directory.path()).await.unwrap();
    let within = index(&[4 << 20; 15]);
    assert_eq!(counts(&copying(&within, &layout, &told).copy("v1", Some("v1")).await.unwrap()), (16, 0, 0));
    let tagged = copying(&within, &layout, &told).copy("v1", Some("v2")).await.unwrap();
    assert_eq!(counts(&tagged), (1, 0, 0), "of those that are there the bytes are not needed");
    let refused = copying(&index(&[4 << 20; 16]), &layout, &told).copy("v1", Some("v1")).await.unwrap_err();
    assert_eq!(refused.to_string(), "its manifests have more than 64 MiB");
}
