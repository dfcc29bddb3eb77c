//! Replays every scenario that ever mattered: none may break a rule.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bifrons_sim::faults::scenario::Scenario;
use bifrons_sim::world::World;

/// Held while the switches of mutants must stay as they are: they are global.
static SWITCHES: Mutex<()> = Mutex::new(());

fn corpus() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the corpus is in the repository")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "scn"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("it is text");
            (path, text)
        })
        .collect()
}

fn parse(path: &Path, text: &str) -> Scenario {
    text.parse()
        .unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

#[test]
fn the_corpus_is_clean_on_this_code() {
    let _switches = SWITCHES.lock().unwrap_or_else(PoisonError::into_inner);
    let corpus = corpus();
    assert!(corpus.len() >= 20, "{} scenarios", corpus.len());
    for (path, text) in &corpus {
        let violation = World::judge(&parse(path, text)).violation;
        assert_eq!(violation, None, "{}", path.display());
    }
}

#[test]
fn each_mutant_that_an_oracle_claims_is_in_the_corpus_under_its_name() {
    let corpus = corpus();
    for oracle in bifrons_sim::oracle::all() {
        let about = oracle.about();
        for id in about.kills {
            let expected = format!("# expect {} mutant {id}\n", about.id);
            assert!(
                corpus.iter().any(|(_, text)| text.contains(&expected)),
                "{expected}"
            );
        }
    }
}

#[cfg(feature = "mutants")]
#[test]
fn each_mutant_of_the_corpus_is_still_found_and_3405_needs_clocks_that_differ() {
    use bifrons::base::mutant::{Mutant, set};
    use bifrons_sim::faults::profile::Profile;
    use bifrons_sim::kernel::clock::ClockOrigins;

    let _switches = SWITCHES.lock().unwrap_or_else(PoisonError::into_inner);
    for (path, text) in &corpus() {
        let Some(expected) = text.lines().find_map(|line| line.strip_prefix("# expect ")) else {
            continue;
        };
        let words: Vec<_> = expected.split_whitespace().collect();
        let [invariant, "mutant", id] = words[..] else {
            continue;
        };
        let mutant = Mutant::ALL.iter().copied().find(|mutant| mutant.id() == id);
        set(Some(mutant.expect("the corpus names mutants that exist")));
        let found = World::judge(&parse(path, text)).violation;
        set(None);
        let found = found.map(|violation| violation.invariant);
        assert_eq!(found, Some(invariant), "{}", path.display());
    }
    for mutant in [Mutant::UptimeKeepalive, Mutant::UptimeTeardown] {
        set(Some(mutant));
        let mut seen = 0;
        for seed in 0..40 {
            let mut scenario = Profile::Calm.scenario(seed);
            seen += u32::from(World::judge(&scenario).violation.is_some());
            scenario.clocks.origins = ClockOrigins::ZERO;
            scenario.clocks.are_apart = false;
            // The other form cuts every keepalive, the rightful ones too.
            if mutant == Mutant::UptimeKeepalive {
                let blind = World::judge(&scenario).violation;
                assert_eq!(blind, None, "one clock for all cannot show {}", mutant.id());
            }
        }
        set(None);
        assert_eq!(seen, 40, "{} is found by every seed", mutant.id());
    }
}
