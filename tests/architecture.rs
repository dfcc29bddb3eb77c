//! The rules of the house, checked: which module may use which, and what only the platform may do.
//!
//! A new top-level module needs a row in `LAYERS`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every top-level module with its rank: it may use lower ranks and itself.
const LAYERS: [(&str, u8); 11] = [
    ("base", 0),
    ("config", 1),
    ("metrics", 1),
    ("wire", 1),
    ("media", 2),
    ("gateway", 3),
    ("plugins", 4),
    ("transport", 4),
    ("shard", 5),
    ("driver", 6),
    ("platform", 7),
];

/// Crates that are named in one place only, so that they can be replaced there.
const OWNED_CRATES: [(&str, &str); 14] = [
    ("clap", "cli"),
    ("glommio", "platform/"),
    ("httparse", "wire/http/"),
    ("io_uring", "platform/uring/ring"),
    ("libc", "platform/"),
    ("mimalloc", "main.rs"),
    ("quinn_udp", "platform/"),
    ("rustix", "platform/"),
    ("rustls", "wire/"),
    ("signal_hook", "platform/"),
    ("socket2", "platform/"),
    ("str0m", "media/peer"),
    ("tracing_subscriber", "platform/"),
    ("tungstenite", "wire/ws"),
];

/// What only the platform may say. Whoever says it cannot be simulated.
const IMPURE: [&str; 19] = [
    "Instant::now",
    "SystemTime",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "std::fs",
    "std::thread",
    "std::env::",
    "std::process",
    "Mutex",
    "RwLock",
    "thread_local!",
    "getrandom",
    "fastrand",
    "Monotonic::from_nanos",
    "Boottime::from_nanos",
    "Realtime::from_unix_micros",
    "HashMap",
    "HashSet",
];

/// Words that say otherwise where they are defined or wrapped.
const EXEMPT: [(&str, &str); 8] = [
    // Wrong clocks on purpose, in test builds only.
    ("base/mutant.rs", "Monotonic::from_nanos"),
    ("base/mutant.rs", "Boottime::from_nanos"),
    ("base/clock.rs", "Monotonic::from_nanos"),
    ("base/clock.rs", "Boottime::from_nanos"),
    ("base/clock.rs", "Realtime::from_unix_micros"),
    // Look-ups only, with a seeded hasher; it cannot be iterated.
    ("base/index.rs", "HashMap"),
    // From a library's callback to its caller, within one call: nothing outlives a turn.
    ("media/peer_keys.rs", "thread_local!"),
    // The name of its own trait.
    ("driver/", "UdpSocket"),
];

/// Marks of unfinished work.
const LEFTOVERS: [&str; 6] = [
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    "dbg!(",
    "todo!(",
    "unimplemented!(",
    "XXX",
];

/// A file beyond this is two ideas.
const LINES_MAX: usize = 800;

/// What is wrong with a file of `src`, named by its path there.
fn check(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |what: String| faults.push(format!("{name}: {what}"));
    if !text.starts_with("//!") {
        fault("the first line must be a `//!` summary".to_owned());
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        fault(format!(
            "{lines} lines, more than {LINES_MAX}: find the seam"
        ));
    }
    for word in LEFTOVERS.iter().filter(|word| text.contains(**word)) {
        fault(format!("leftover `{word}`"));
    }
    if is_test(name) {
        return faults;
    }
    let code = code(text);
    for (owned, place) in OWNED_CRATES {
        if !name.starts_with(place) && names_crate(&code, owned) {
            fault(format!("only `{place}` may name the crate `{owned}`"));
        }
    }
    let top = name.split(['/', '.']).next().unwrap_or_default();
    if ["lib", "main", "cli"].contains(&top) {
        return faults;
    }
    let Some(here) = rank(top) else {
        fault(format!("the module `{top}` has no rank"));
        return faults;
    };
    for used in crate_uses(&code) {
        let used = home_of(used);
        match rank(&used) {
            Some(other) if other < here || used == top => {}
            Some(_) => fault(format!("`{top}` must not use `{used}`")),
            None => fault(format!("`{used}` has no rank")),
        }
    }
    if code.contains("unsafe ") && top != "platform" {
        fault("`unsafe` belongs to the platform".to_owned());
    }
    if top != "platform" {
        for word in IMPURE.iter().filter(|word| code.contains(**word)) {
            let is_exempt =
                |&(place, exempt): &(&str, &str)| name.starts_with(place) && exempt == *word;
            if !EXEMPT.iter().any(is_exempt) {
                fault(format!("`{word}` belongs to the platform"));
            }
        }
    }
    faults
}

/// Macros that are exported stand at the root of the crate, wherever they are written.
const MACROS: [(&str, &str); 1] = [("mutant", "base")];

/// The module that a name at the root of the crate belongs to.
fn home_of(name: String) -> String {
    let found = MACROS.iter().find(|(macro_name, _)| *macro_name == name);
    found.map_or(name, |(_, module)| (*module).to_owned())
}

fn rank(module: &str) -> Option<u8> {
    LAYERS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|&(_, rank)| rank)
}

/// Whether a file holds nothing but tests.
fn is_test(name: &str) -> bool {
    let is_test = |part: &str| {
        let stem = part.trim_end_matches(".rs");
        stem == "tests" || stem.ends_with("_tests") || ["mock", "scripted"].contains(&stem)
    };
    name.split('/').any(is_test)
}

/// The code of a file without its comments and without the tests at its end.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    body.lines()
        .map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n")
        .collect()
}

/// Whether code names a crate: as the first part of a path.
fn names_crate(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// The top-level modules that code names behind `crate::`, groups included.
fn crate_uses(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => drop(found.insert(identifier(rest))),
            Some(group) => found.extend(group_members(group).iter().map(|item| identifier(item))),
        }
    }
    found.remove("");
    found
}

/// The members of a `{…}` group up to its end, each with what is nested in it.
fn group_members(group: &str) -> Vec<String> {
    let (mut members, mut depth) = (vec![String::new()], 0_usize);
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => members.push(String::new()),
            _ => {
                depth = match c {
                    '{' => depth + 1,
                    '}' => depth - 1,
                    _ => depth,
                };
                if let Some(member) = members.last_mut() {
                    member.push(c);
                }
            }
        }
    }
    members
}

fn identifier(text: &str) -> String {
    let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
    text.trim_start().chars().take_while(is_part).collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    for entry in entries {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

#[test]
fn the_source_keeps_the_rules() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    assert!(files.len() > 100, "the source was found");
    let faults: Vec<_> = files
        .iter()
        .flat_map(|path| {
            let name = path
                .strip_prefix(&src)
                .expect("it is below")
                .to_string_lossy();
            check(
                &name,
                &fs::read_to_string(path).expect("a file can be read"),
            )
        })
        .collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// The checker itself: each rule, broken once.
#[test]
fn the_checker_finds_each_kind_of_mistake() {
    for (name, text, fault) in [
        (
            "base/a.rs",
            "pub struct A;\n",
            "the first line must be a `//!` summary",
        ),
        ("base/a.rs", "//! x\n// FIXME later\n", "leftover `FIXME`"),
        ("extra/a.rs", "//! x\n", "the module `extra` has no rank"),
        (
            "wire/a.rs",
            "//! x\nuse crate::gateway::Gateway;\n",
            "`wire` must not use `gateway`",
        ),
        (
            "wire/a.rs",
            "//! x\nuse crate::{base::{id, rng}, shard::{A, B}};\n",
            "`wire` must not use `shard`",
        ),
        (
            "plugins/a.rs",
            "//! x\nlet a = crate::transport::a();\n",
            "`plugins` must not use `transport`",
        ),
        (
            "gateway/a.rs",
            "//! x\nlet t = std::time::Instant::now();\n",
            "`Instant::now` belongs to the platform",
        ),
        (
            "shard/a.rs",
            "//! x\nuse std::collections::HashMap;\n",
            "`HashMap` belongs to the platform",
        ),
        (
            "shard/a.rs",
            "//! x\nlet t = Monotonic::from_nanos(1);\n",
            "`Monotonic::from_nanos` belongs to the platform",
        ),
        (
            "driver/a.rs",
            "//! x\nunsafe { a() }\n",
            "`unsafe` belongs to the platform",
        ),
        (
            "gateway/a.rs",
            "//! x\nuse str0m::Rtc;\n",
            "only `media/peer` may name the crate `str0m`",
        ),
        (
            "driver/a.rs",
            "//! x\nuse glommio::Task;\n",
            "only `platform/` may name the crate `glommio`",
        ),
    ] {
        assert_eq!(check(name, text), [format!("{name}: {fault}")]);
    }
    let long = format!("//! x\n{}", "\n".repeat(LINES_MAX));
    assert_eq!(
        check("base/a.rs", &long),
        ["base/a.rs: 801 lines, more than 800: find the seam"]
    );
}

#[test]
fn the_checker_lets_pass_what_is_right() {
    for (name, text) in [
        ("media/peer_io.rs", "//! x\nuse str0m::Rtc;\n"),
        (
            "media/a.rs",
            "//! x\n// crate::shard in a comment\nuse crate::wire::rtp;\n",
        ),
        (
            "media/a.rs",
            "//! x\n#[cfg(test)]\nmod tests { use crate::shard::Shard; }\n",
        ),
        ("platform/a.rs", "//! x\nlet t = Instant::now();\n"),
        ("gateway/tests.rs", "//! x\nlet t = Instant::now();\n"),
        ("main.rs", "//! x\nuse crate::shard::Shard;\n"),
    ] {
        assert_eq!(check(name, text), [] as [String; 0], "{name}");
    }
}
