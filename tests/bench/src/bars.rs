//! What is asked of Orlop, and whether it was reached, by the results as they stand.

use std::cell::Cell;

use serde_json::Value;

use crate::congestion::{BY_LOSS, BY_MODEL};
use crate::report::{BUSY, number};
use crate::workloads::commits::RECORDS;
use crate::workloads::mirror::{BOTH_WAYS, OWN};
use crate::workloads::pull::{MANY_OBJECTS, ONE_OBJECT};
use crate::workloads::push::DURABLE_CHUNKS;
use crate::workloads::shared::{COLD, HOT};
use crate::workloads::{quota, scrub};

/// A bar: a figure that may not be above, or not be below, another.
struct Bar {
    what: &'static str,
    against: &'static str,
    asked: &'static str,
    /// What was reached, or nothing when it was not measured.
    reached: fn(&Results<'_>) -> Option<Reached>,
}

struct Reached {
    text: String,
    met: bool,
}

/// The results to look figures up in.
struct Results<'r> {
    results: &'r Value,
    /// Whether the machine was busy when something was measured that has been looked up.
    busy: Cell<bool>,
}

impl Results<'_> {
    /// The median of a figure.
    fn median(&self, workload: &str, server: &str, variant: &str, figure: &str) -> Option<f64> {
        let lines = self.results["workloads"][workload]["lines"].as_array()?;
        let line = lines.iter().find(|line| line["peer"] == server && line["variant"] == variant)?;
        self.busy.set(self.busy.get() || line["others"].as_f64().unwrap_or_default() > BUSY);
        line["figures"].as_array()?.iter().find(|found| found["name"] == figure)?["median"].as_f64()
    }

    /// How many times as much of it Orlop has as another.
    fn ratio(&self, workload: &str, server: &str, variant: &str, figure: &str) -> Option<f64> {
        Some(self.median(workload, "orlop", variant, figure)? / self.median(workload, server, variant, figure)?)
    }

    /// A ratio that may be this much at most.
    fn at_most(&self, most: f64, workload: &str, server: &str, figure: &str) -> Option<Reached> {
        self.variant_at_most(most, workload, server, "", figure)
    }

    /// The same of a variant.
    fn variant_at_most(&self, most: f64, workload: &str, server: &str, variant: &str, figure: &str) -> Option<Reached> {
        let ratio = self.ratio(workload, server, variant, figure)?;
        let text = if most < 1.0 { format!("1/{}", number(1.0 / ratio)) } else { format!("{}×", number(ratio)) };
        Some(Reached { text, met: ratio <= most })
    }

    /// A ratio to a variant that only the other server has.
    fn over(&self, most: f64, workload: &str, server: &str, variant: &str, figure: &str) -> Option<Reached> {
        let ratio = self.median(workload, "orlop", "", figure)? / self.median(workload, server, variant, figure)?;
        Some(Reached { text: format!("{}×", number(ratio)), met: ratio <= most })
    }

    /// The processor time of a pull under a congestion control that reacts to loss, whichever was measured.
    fn by_loss(&self, most: f64, workload: &str, server: &str) -> Option<Reached> {
        BY_LOSS.iter().find_map(|tcp| self.variant_at_most(most, workload, server, tcp, "CPU s/GiB"))
    }

    /// The same under BBR.
    fn by_model(&self, most: f64, workload: &str, server: &str) -> Option<Reached> {
        self.variant_at_most(most, workload, server, BY_MODEL, "CPU s/GiB")
    }

    /// A figure of Orlop itself that may be this much at most, in its unit.
    fn no_more_than(&self, most: f64, workload: &str, figure: &str) -> Option<Reached> {
        let median = self.median(workload, "orlop", "", figure)?;
        Some(Reached { text: number(median), met: median <= most })
    }

    /// A ratio that must be this much at least.
    fn at_least(&self, least: f64, workload: &str, server: &str, variant: &str, figure: &str) -> Option<Reached> {
        let ratio = self.ratio(workload, server, variant, figure)?;
        Some(Reached { text: format!("{}×", number(ratio)), met: ratio >= least })
    }

    /// The ratio of two variants of Orlop.
    fn grown(&self, most: f64, workload: &str, before: &str, after: &str, figure: &str) -> Option<Reached> {
        let median = |variant| self.median(workload, "orlop", variant, figure);
        let ratio = median(after)? / median(before)?;
        Some(Reached { text: format!("{}×", number(ratio)), met: ratio <= most })
    }
}

/// What is asked of several machines: names in the results.
const SHARED: &str = "orlop, shared";
const ON_S3: &str = "distribution v3, S3";

impl Results<'_> {
    /// How many times as much of a figure Orlop on shared engines has as another server.
    fn shared(&self, workload: &str, variant: &str, other: (&str, &str), figure: &str) -> Option<f64> {
        Some(self.median(workload, SHARED, variant, figure)? / self.median(workload, other.0, other.1, figure)?)
    }

    fn shared_at_most(
        &self,
        most: f64,
        workload: &str,
        variant: &str,
        other: (&str, &str),
        figure: &str,
    ) -> Option<Reached> {
        let ratio = self.shared(workload, variant, other, figure)?;
        Some(Reached { text: format!("{}×", number(ratio)), met: ratio <= most })
    }

    fn shared_at_least(&self, least: f64, workload: &str, variant: &str, figure: &str) -> Option<Reached> {
        let ratio = self.shared(workload, variant, (ON_S3, variant), figure)?;
        Some(Reached { text: format!("{}×", number(ratio)), met: ratio >= least })
    }

    /// The ratio of what a request costs with many manifests to what it costs with few: of the registry and of the database.
    fn shared_grown(&self, most: f64, kind: &str) -> Option<Reached> {
        let median = |count: &str, figure| self.median("shared-growth", SHARED, &format!("{kind}, {count}"), figure);
        let ratio = |figure| Some(median("1000000", figure)? / median("1000", figure)?);
        let (registry, database) = (ratio("CPU µs/request")?, ratio("database µs/request")?);
        let text = format!("{}×, database {}×", number(registry), number(database));
        Some(Reached { text, met: registry <= most && database <= most })
    }

    /// A figure of Orlop on shared engines that may be this much at most, in its unit.
    fn shared_no_more_than(&self, most: f64, workload: &str, figure: &str) -> Option<Reached> {
        let median = self.median(workload, SHARED, "", figure)?;
        Some(Reached { text: number(median), met: median <= most })
    }
}

const BARS: &[Bar] = &[
    Bar {
        what: "mirror, pull of 1 GiB that is there, CPU",
        against: "a blob of its own",
        asked: "≤ 1.05×",
        reached: |results| results.grown(1.05, "mirror-hit", OWN, "", "CPU s/GiB"),
    },
    Bar {
        what: "mirror, pull of 1 GiB that is not there, CPU",
        against: "a push and a pull",
        asked: "≤ 1.3×",
        reached: |results| results.grown(1.3, "mirror-miss", BOTH_WAYS, "", "CPU s/GiB"),
    },
    Bar {
        what: "mirror, pull of 1 GiB that is not there, first byte",
        against: "the upstream",
        asked: "≤ 50 ms more",
        reached: |results| {
            let median = |variant| results.median("mirror-miss", "orlop", variant, "first byte ms");
            let more = median("")? - median(BOTH_WAYS)?;
            Some(Reached { text: format!("{} ms more", number(more)), met: more <= 50.0 })
        },
    },
    Bar {
        what: "mirror, 64 pulls of one blob at once: bytes that the upstream sends for each",
        against: "",
        asked: "≤ 1.01",
        reached: |results| results.no_more_than(1.01, "mirror-together", "read/stored"),
    },
    Bar {
        what: "several machines, push of 1 GiB streamed, throughput",
        against: ON_S3,
        asked: "≥ 1.5×",
        reached: |results| results.shared_at_least(1.5, "shared-push", "", "GB/s"),
    },
    Bar {
        what: "several machines, push of 1 GiB streamed, CPU",
        against: ON_S3,
        asked: "≤ 0.6×",
        reached: |results| results.shared_at_most(0.6, "shared-push", "", (ON_S3, ""), "CPU s/GiB"),
    },
    Bar {
        what: "several machines, the last PUT of 6 GiB",
        against: "",
        asked: "≤ 0.2 s",
        reached: |results| results.shared_no_more_than(0.2, "shared-last-put", "s"),
    },
    Bar {
        what: "several machines, memory under 64 pushes",
        against: "",
        asked: "≤ 192 MiB",
        reached: |results| results.shared_no_more_than(192.0, "shared-memory", "peak MiB"),
    },
    Bar {
        what: "several machines, pull of 1 GiB that is in the object cache, CPU",
        against: "orlop by itself",
        asked: "≤ 1.2×",
        reached: |results| results.shared_at_most(1.2, "shared-pull", HOT, ("orlop", ""), "CPU s/GiB"),
    },
    Bar {
        what: "several machines, pull of 1 GiB that is not, CPU",
        against: ON_S3,
        asked: "≤ 1.0×",
        reached: |results| results.shared_at_most(1.0, "shared-pull", COLD, (ON_S3, ""), "CPU s/GiB"),
    },
    Bar {
        what: "several machines, 200 pulls of one blob at once: bytes that the store sends for each",
        against: "",
        asked: "≤ 1.1",
        reached: |results| results.shared_no_more_than(1.1, "shared-together", "read/stored"),
    },
    Bar {
        what: "several machines, GET of a manifest by tag, CPU",
        against: ON_S3,
        asked: "≤ 1/8",
        reached: |results| results.shared_at_most(0.125, "shared-tag", "", (ON_S3, ""), "CPU µs/request"),
    },
    Bar {
        what: "several machines, GET of a manifest by tag, requests/s",
        against: ON_S3,
        asked: "≥ 8×",
        reached: |results| results.shared_at_least(8.0, "shared-tag", "", "requests/s"),
    },
    Bar {
        what: "several machines, GET of a manifest by tag, p99",
        against: "",
        asked: "≤ 5 ms",
        reached: |results| results.shared_no_more_than(5.0, "shared-tag", "p99 ms"),
    },
    Bar {
        what: "several machines, push of small images, 8 clients, images/s",
        against: ON_S3,
        asked: "≥ 8×",
        reached: |results| results.shared_at_least(8.0, "shared-images", "8 clients", "images/s"),
    },
    Bar {
        what: "several machines, commits of three processes on one database",
        against: "",
        asked: "≥ 10,000/s",
        reached: |results| {
            let median = results.median("shared-commits", SHARED, RECORDS, "commits/s")?;
            Some(Reached { text: number(median), met: median >= 10_000.0 })
        },
    },
    Bar {
        what: "several machines, memory when idle",
        against: "",
        asked: "≤ 24 MiB",
        reached: |results| results.shared_no_more_than(24.0, "shared-idle", "RSS MiB"),
    },
    Bar {
        what: "several machines, GET of a manifest by tag in 1,000,000, CPU",
        against: "in 1,000",
        asked: "≤ 1.3×",
        reached: |results| results.shared_grown(1.3, "get"),
    },
    Bar {
        what: "several machines, PUT of a manifest into 1,000,000, CPU",
        against: "into 1,000",
        asked: "≤ 1.3×",
        reached: |results| results.shared_grown(1.3, "push"),
    },
    Bar {
        what: "pull of 1 GiB by 1 client under cubic or reno, CPU",
        against: "nginx sendfile",
        asked: "≤ 1.1×",
        reached: |results| results.by_loss(1.1, "pull-1", "nginx sendfile"),
    },
    Bar {
        what: "pull of 1 GiB by 1 client under cubic or reno, CPU",
        against: "olareg",
        asked: "≤ 1.0×",
        reached: |results| results.by_loss(1.0, "pull-1", "olareg"),
    },
    Bar {
        what: "pull of 1 GiB by 1 client under BBR, CPU",
        against: "nginx sendfile",
        asked: "≤ 1.1×",
        reached: |results| results.by_model(1.1, "pull-1", "nginx sendfile"),
    },
    Bar {
        what: "pull of 1 GiB by 1 client under BBR, CPU",
        against: "olareg",
        asked: "≤ 1.0×",
        reached: |results| results.by_model(1.0, "pull-1", "olareg"),
    },
    Bar {
        what: "pull of 1 GiB by 8 clients under cubic or reno, CPU",
        against: "nginx sendfile",
        asked: "≤ 1.1×",
        reached: |results| results.by_loss(1.1, "pull-8", "nginx sendfile"),
    },
    Bar {
        what: "pull of 1 GiB by 8 clients under cubic or reno, CPU",
        against: "olareg",
        asked: "≤ 1.0×",
        reached: |results| results.by_loss(1.0, "pull-8", "olareg"),
    },
    Bar {
        what: "pull of 1 GiB by 8 clients under BBR, CPU",
        against: "nginx sendfile",
        asked: "≤ 1.1×",
        reached: |results| results.by_model(1.1, "pull-8", "nginx sendfile"),
    },
    Bar {
        what: "pull of 1 GiB by 8 clients under BBR, CPU",
        against: "olareg",
        asked: "≤ 1.0×",
        reached: |results| results.by_model(1.0, "pull-8", "olareg"),
    },
    Bar {
        what: "pull of 1 GiB, throughput",
        against: "distribution v3",
        asked: "≥ 4×",
        reached: |results| {
            BY_LOSS.iter().find_map(|tcp| results.at_least(4.0, "pull-1", "distribution v3", tcp, "GB/s"))
        },
    },
    Bar {
        what: "pull of 1 GiB that lies in 256 objects, CPU",
        against: "in one",
        asked: "≤ 1.1×",
        reached: |results| results.grown(1.1, "pull-objects", ONE_OBJECT, MANY_OBJECTS, "CPU s/GiB"),
    },
    Bar {
        what: "push of 1 GiB streamed, durable, throughput",
        against: "distribution v3",
        asked: "≥ 2×",
        reached: |results| results.at_least(2.0, "push-streamed", "distribution v3", "", "GB/s"),
    },
    Bar {
        what: "push of 1 GiB in one PUT, CPU",
        against: "SHA-256 and write",
        asked: "≤ 1.25×",
        reached: |results| results.at_most(1.25, "push-whole", "floor", "CPU s/GiB"),
    },
    Bar {
        what: "push of 1 GiB streamed, CPU",
        against: "SHA-256 and write",
        asked: "≤ 1.25×",
        reached: |results| results.at_most(1.25, "push-streamed", "floor", "CPU s/GiB"),
    },
    Bar {
        what: "push of 1 GiB in chunks of 4 MiB, CPU",
        against: "SHA-256 and write",
        asked: "≤ 1.25×",
        reached: |results| results.at_most(1.25, "push-chunks", "floor", "CPU s/GiB"),
    },
    Bar {
        what: "push of 1 GiB in chunks of 4 MiB, CPU",
        against: "the same, each chunk durable",
        asked: "≤ 1.25×",
        reached: |results| results.over(1.25, "push-chunks", "floor", DURABLE_CHUNKS, "CPU s/GiB"),
    },
    Bar {
        what: "push of 1 GiB in chunks of 4 MiB, bytes written a byte",
        against: "",
        asked: "≤ 1.02",
        reached: |results| results.no_more_than(1.02, "push-chunks", "written/pushed"),
    },
    Bar {
        what: "push of 1 GiB in chunks of 1 MiB, CPU",
        against: "SHA-256 and write",
        asked: "≤ 1.6×",
        reached: |results| results.at_most(1.6, "push-chunks-1m", "floor", "CPU s/GiB"),
    },
    Bar {
        what: "push of 1 GiB in chunks of 1 MiB, CPU",
        against: "the same, each chunk durable",
        asked: "≤ 1.25×",
        reached: |results| results.over(1.25, "push-chunks-1m", "floor", DURABLE_CHUNKS, "CPU s/GiB"),
    },
    Bar {
        what: "GET of a manifest by tag, CPU",
        against: "distribution v3",
        asked: "≤ 1/14",
        reached: |results| results.at_most(1.0 / 14.0, "small-tag", "distribution v3", "CPU µs/request"),
    },
    Bar {
        what: "GET of a manifest by tag, CPU",
        against: "olareg",
        asked: "≤ 1/2.5",
        reached: |results| results.at_most(1.0 / 2.5, "small-tag", "olareg", "CPU µs/request"),
    },
    Bar {
        what: "GET of a manifest by tag, CPU",
        against: "axum from memory",
        asked: "≤ 1.5×",
        reached: |results| results.at_most(1.5, "small-tag", "floor", "CPU µs/request"),
    },
    Bar {
        what: "HEAD of a blob, CPU",
        against: "distribution v3",
        asked: "≤ 1/10",
        reached: |results| results.at_most(0.1, "small-head-blob", "distribution v3", "CPU µs/request"),
    },
    Bar {
        what: "push of small images, 32 clients, durable, images/s",
        against: "distribution v3",
        asked: "≥ 3×",
        reached: |results| results.at_least(3.0, "images", "distribution v3", "32 clients", "images/s"),
    },
    Bar {
        what: "push of small images, 1 client, CPU",
        against: "olareg",
        asked: "≤ 1.0×",
        reached: |results| results.variant_at_most(1.0, "images", "olareg", "1 clients", "CPU ms/image"),
    },
    Bar {
        what: "push of small images, 8 clients, CPU",
        against: "olareg",
        asked: "≤ 1.0×",
        reached: |results| results.variant_at_most(1.0, "images", "olareg", "8 clients", "CPU ms/image"),
    },
    Bar {
        what: "push of small images, 32 clients, CPU",
        against: "olareg",
        asked: "≤ 1.0×",
        reached: |results| results.variant_at_most(1.0, "images", "olareg", "32 clients", "CPU ms/image"),
    },
    Bar {
        what: "push of small images, 32 clients, images/s",
        against: "olareg, which never waits for the disk",
        asked: "≥ 1.0×",
        reached: |results| results.at_least(1.0, "images", "olareg", "32 clients", "images/s"),
    },
    Bar {
        what: "fsyncs of a small image",
        against: "",
        asked: "≤ 16",
        reached: |results| results.no_more_than(16.0, "fsyncs", "fsyncs/image"),
    },
    Bar {
        what: "late page of 100 in 1,000,000 tags",
        against: "distribution v3, ten times its 100,000",
        asked: "≤ 1 ms, 1,000×",
        reached: |results| {
            let ours = results.median("tags", "orlop", "late page of 1000000", "p50 ms")?;
            // It reads all tags for each page.
            let theirs = 10.0 * results.median("tags", "distribution v3", "late page of 100000", "p50 ms")?;
            let text = format!("{} ms, {}×", number(ours), number(theirs / ours));
            Some(Reached { text, met: ours <= 1.0 && theirs / ours >= 1000.0 })
        },
    },
    Bar {
        what: "memory when idle",
        against: "docker-registry 2",
        asked: "≤ 1/2",
        reached: |results| results.at_most(0.5, "memory-idle", "docker-registry 2", "RSS MiB"),
    },
    Bar {
        what: "memory under 64 pushes",
        against: "",
        asked: "≤ 64 MiB",
        reached: |results| results.no_more_than(64.0, "memory-pushes", "peak MiB"),
    },
    Bar {
        what: "start with 1,000,000 manifests",
        against: "",
        asked: "≤ 500 ms",
        reached: |results| {
            let start = results.median("memory-million", "orlop", "", "start ms")?;
            let rss = results.median("memory-million", "orlop", "", "RSS MiB")?;
            Some(Reached { text: format!("{} ms, {} MiB", number(start), number(rss)), met: start <= 500.0 })
        },
    },
    Bar {
        what: "start with 1,000,000 manifests after kill -9",
        against: "",
        asked: "≤ 1000 ms",
        reached: |results| results.no_more_than(1000.0, "memory-million", "killed ms"),
    },
    Bar {
        what: "a registry's day at 50 requests/s, p99.9 with garbage collection running",
        against: "without",
        asked: "≤ 1.5×",
        reached: |results| results.grown(1.5, "trace", "50/s", "50/s, gc", "p99.9 ms"),
    },
    Bar {
        what: "a registry's day at 150 requests/s, p99.9 with garbage collection running",
        against: "without",
        asked: "≤ 1.5×",
        reached: |results| results.grown(1.5, "trace", "150/s", "150/s, gc", "p99.9 ms"),
    },
    Bar {
        what: "GET of a manifest by tag in 1,000,000, CPU",
        against: "in 1,000",
        asked: "≤ 1.3×",
        reached: |results| results.grown(1.3, "growth", "get, 1000", "get, 1000000", "CPU µs/request"),
    },
    Bar {
        what: "PUT of a manifest into 1,000,000, CPU",
        against: "into 1,000",
        asked: "≤ 1.3×",
        reached: |results| results.grown(1.3, "growth", "push, 1000", "push, 1000000", "CPU µs/request"),
    },
    Bar {
        what: "import of 1,000,000 blobs and 100,000 tags by hard links",
        against: "",
        asked: "≤ 60 s",
        reached: |results| results.no_more_than(60.0, "import", "import s"),
    },
    Bar {
        what: "the same, the most memory of it, MiB",
        against: "",
        asked: "≤ 256 MiB",
        reached: |results| results.no_more_than(256.0, "import", "peak MiB"),
    },
    Bar {
        what: "the same once more, with nothing new",
        against: "",
        asked: "≤ 10 s",
        reached: |results| results.no_more_than(10.0, "import", "again s"),
    },
    Bar {
        what: "switch from distribution with 100,000 tags: how long it is read-only",
        against: "",
        asked: "≤ 10 s",
        reached: |results| results.no_more_than(10.0, "cut-over", "read-only s"),
    },
    Bar {
        what: "pulls while everything is read again, p99",
        against: "while not",
        asked: "≤ 1.05×",
        reached: |results| results.grown(1.05, "scrub", scrub::WITHOUT, scrub::WITH, "p99 ms"),
    },
    Bar {
        what: "push of a small blob under a quota into 100,000 blobs, median",
        against: "into 10",
        asked: "≤ 1.1×",
        reached: |results| results.grown(1.1, "quota", quota::FEW, quota::MANY, "p50 ms"),
    },
    Bar {
        what: "push of a small blob under a quota into 100,000 blobs, CPU",
        against: "into 10",
        asked: "≤ 1.1×",
        reached: |results| results.grown(1.1, "quota", quota::FEW, quota::MANY, "CPU µs/push"),
    },
];

/// The rows of the table of bars, its head first.
pub(crate) fn rows(results: &Value) -> Vec<Vec<String>> {
    let head = ["what", "against", "bar", "reached", "met"].map(String::from).to_vec();
    let row = |bar: &Bar| {
        let results = Results { results, busy: Cell::new(false) };
        let (text, met) = match (bar.reached)(&results) {
            Some(Reached { text, met }) => {
                let busy = if results.busy.get() { " *busy*" } else { "" };
                (text + busy, if met { "yes" } else { "**no**" })
            }
            None => ("not measured".into(), ""),
        };
        vec![bar.what.into(), bar.against.into(), bar.asked.into(), text, met.into()]
    };
    std::iter::once(head).chain(BARS.iter().map(row)).collect()
}
