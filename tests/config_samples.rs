//! The sample files of an installed Janus load without an error.
//!
//! They are Janus' own and are not copied here; without them the test says so and ends.

use std::path::Path;

use bifrons::config::{Config, Warning, WarningKind};

const FOLDER: &str = "/etc/janus";

#[test]
fn all_sample_files_of_an_installed_janus_load() {
    let Some(files) = samples() else {
        println!("skipped: no .jcfg files in {FOLDER}; install the package `janus`");
        return;
    };
    let texts: Vec<(&str, &str)> = files
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();

    let (config, warnings) = Config::from_jcfg(&texts, &include).expect("the samples are valid");

    assert!(config.http.enabled);
    // Debian's MQTT sample has strings without quotes; Janus cannot read that file either.
    let is_odd = |warning: &&Warning| match warning.kind {
        WarningKind::Unknown => true,
        WarningKind::Suspicious => !warning.message.contains("is not served"),
        WarningKind::Ignored | WarningKind::NotServed => false,
    };
    let odd: Vec<String> = warnings
        .iter()
        .filter(is_odd)
        .map(ToString::to_string)
        .collect();
    assert_eq!(odd, [""; 0]);
}

#[test]
fn each_sample_file_loads_alone() {
    for (name, text) in samples().unwrap_or_default() {
        Config::from_jcfg(&[(&name, &text)], &include).expect("the sample is valid");
    }
}

fn include(path: &str) -> Result<String, String> {
    std::fs::read_to_string(Path::new(FOLDER).join(path)).map_err(|error| error.to_string())
}

fn samples() -> Option<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(FOLDER).ok()? {
        let path = entry.ok()?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "jcfg")
        {
            files.push((
                path.display().to_string(),
                std::fs::read_to_string(&path).ok()?,
            ));
        }
    }
    files.sort();
    (!files.is_empty()).then_some(files)
}
