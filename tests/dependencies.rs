//! What the packages that we build on may be: their licences, and what must not come along.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Licences that dependencies may have, one of those that they offer at least.
const LICENCES: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Packages that may be under another licence, each with who needs it.
const EXCEPTIONS: [(&str, &str); 1] = [
    // glommio's. The Mozilla licence asks for the changes to its own files only; there are none.
    ("bitmaps", "MPL-2.0+"),
];

/// Packages of other systems are not even fetched.
const LINUX: &str = "--filter-platform=x86_64-unknown-linux-gnu";

/// Whether a licence expression can be met with the list: one side of each `OR`, both of an `AND`.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let plain = expression.replace(['(', ')'], "");
    plain.split(" AND ").all(|part| {
        part.split(" OR ")
            .any(|licence| LICENCES.contains(&licence.trim()))
    })
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

#[test]
fn every_package_has_a_licence_of_the_list() {
    let metadata: Value = serde_json::from_str(&cargo(&[
        "metadata",
        "--format-version=1",
        "--locked",
        "--offline",
        LINUX,
    ]))
    .expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    assert!(packages.len() > 50, "the packages were found");
    let refused: BTreeSet<String> = packages
        .iter()
        .filter(|package| {
            let (name, licence) = (&package["name"], package["license"].as_str());
            let is_exempt = EXCEPTIONS
                .iter()
                .any(|pair| name == pair.0 && licence == Some(pair.1));
            !is_exempt && !licence.is_some_and(is_allowed)
        })
        .map(|package| format!("{} {}", package["name"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn the_licence_reader_reads_expressions() {
    for (expression, allowed) in [
        ("MIT OR Apache-2.0", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0", false),
        ("MIT AND GPL-2.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
    ] {
        assert_eq!(is_allowed(expression), allowed, "{expression}");
    }
}

#[test]
fn the_gateway_has_one_runtime() {
    let tree = cargo(&[
        "tree",
        "--package=bifrons",
        "--edges=normal",
        "--prefix=none",
        "--locked",
        "--offline",
    ]);
    assert!(
        tree.lines().any(|line| line.starts_with("glommio ")),
        "the tree was found"
    );
    for other in ["tokio ", "async-std ", "openssl "] {
        assert!(
            !tree.lines().any(|line| line.starts_with(other)),
            "{other}came along"
        );
    }
}
