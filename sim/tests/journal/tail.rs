//! A process that is killed when its journal is full leaves the newest that happened, to be read.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use bifrons::config::Runtime;
use bifrons::driver::journal::{Entry, FILES};
use bifrons_sim::journal::{Journal, Tail, Told, Verdict};

use super::load;
use super::server::{JOURNAL_BYTES, Server, TAIL_BYTES};
use super::{no_secret_is_in, put_unhidden, replayed};

const FIRST: &str = "GET /janus/the-first-of-all HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &str = "GET /janus/the-last-of-all HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_process_that_is_killed_leaves_a_tail_on_the_own_ring() {
    check(Runtime::Uring);
}

#[test]
fn a_process_that_is_killed_leaves_a_tail_on_glommio() {
    check(Runtime::Glommio);
}

fn check(runtime: Runtime) {
    let Some(server) = Server::start(runtime, "short") else {
        return;
    };
    // Its journal takes half of what one round is, and its tail two of them.
    load::apply(&server);
    server.send(FIRST);
    for _ in 0..4 {
        load::apply(&server);
    }
    assert!(load::metric(&server, "bifrons_journal_tail_bytes_total") > TAIL_BYTES);
    assert!(load::metric(&server, "bifrons_journal_tail_turns_total") > 100);
    assert_eq!(load::metric(&server, "bifrons_journal_lost_turns_total"), 0);
    assert_eq!(load::metric(&server, "bifrons_journal_lost_bytes_total"), 0);
    server.send(LAST);
    let path = server.journal_path();
    wait_until_written(&path);
    let folder = server.kill();

    let file = std::fs::read(&path).unwrap();
    assert!(file.len() as u64 <= JOURNAL_BYTES + 100, "{}", file.len());
    let journal = Journal::read(&file).unwrap();
    assert_eq!(journal.end.as_deref(), Some("it was full"));
    let outcome = replayed(&journal);
    assert_eq!(outcome.verdicts, [const { Verdict::SameSoFar }; 2]);
    the_tail_is_what_came_last(&path, &journal);
    the_replay_shows_it(&folder);
    what_is_torn_is_told(&path, &journal);
    std::fs::remove_dir_all(folder).unwrap();
}

/// What is handed over is on its way to the disk; a shard hands over once a second at least.
fn wait_until_written(path: &Path) {
    for _ in 0..100 {
        let tail = Tail::beside(path).unwrap().expect("there is a tail");
        if requests(&tail, None)
            .iter()
            .any(|text| text == LAST.as_bytes())
        {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("what came last is not in the tail");
}

fn the_tail_is_what_came_last(path: &Path, journal: &Journal) {
    let tail = Tail::beside(path).unwrap().unwrap();
    assert!(tail.paths().count() as u64 <= FILES);
    let size = tail.size() as u64;
    assert!(size <= TAIL_BYTES, "{size}");
    assert!(size > TAIL_BYTES / 2, "{size}");

    let requests = requests(&tail, Some(journal));
    let is_there = |text: &str| requests.iter().any(|bytes| bytes == text.as_bytes());
    assert!(is_there(LAST));
    assert!(!is_there(FIRST), "it made room");
    let (mut turns, mut unhidden) = ([0; 2], Vec::new());
    tail.tell(Some(journal), |told| match told {
        Told::Entry {
            shard, turn, entry, ..
        } => {
            let latest = &mut turns[usize::from(shard.0)];
            assert!(turn == *latest || turn == *latest + 1 || *latest == 0);
            *latest = turn;
            put_unhidden(&entry, &mut unhidden);
        }
        Told::Overwritten { .. } => {}
        told @ (Told::Broken { .. }
        | Told::Damaged { .. }
        | Told::End { .. }
        | Told::Missing { .. }) => panic!("{told:?}"),
    });
    assert!(unhidden.len() > 10_000);
    no_secret_is_in(&unhidden);
    for file in tail.paths() {
        no_secret_is_in(&std::fs::read(file).unwrap());
    }
}

fn the_replay_shows_it(folder: &Path) {
    let shown = Command::new(env!("CARGO_BIN_EXE_bifrons-sim"))
        .args(["replay", "--trace", "--journal"])
        .arg(folder)
        .output()
        .unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success(), "{}", &text[text.len() - 2_000..]);
    let (replay, tail) = text.split_once("FOR READING ONLY").expect("it says so");
    assert!(replay.contains("shard 1: output"));
    assert!(tail.contains("GET /janus/the-last-of-all"));
    assert!(tail.contains("the process was killed"), "{tail}");
}

fn what_is_torn_is_told(path: &Path, journal: &Journal) {
    let whole = Tail::beside(path).unwrap().unwrap();
    let last = whole.paths().last().unwrap().to_owned();
    let mut bytes = std::fs::read(&last).unwrap();
    bytes.pop();
    std::fs::write(last, bytes).unwrap();
    let torn = Tail::beside(path).unwrap().unwrap();
    let (mut damages, mut entries) = (0, 0);
    torn.tell(Some(journal), |told| match told {
        Told::Damaged { .. } => damages += 1,
        Told::Entry { .. } => entries += 1,
        Told::Broken { .. }
        | Told::End { .. }
        | Told::Missing { .. }
        | Told::Overwritten { .. } => {}
    });
    assert_eq!(damages, 1);
    assert!(entries > 100);
}

/// What clients sent, by portions.
fn requests(tail: &Tail, journal: Option<&Journal>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    tail.tell(journal, |told| {
        if let Told::Entry {
            entry: Entry::Bytes { bytes, .. },
            ..
        } = told
        {
            all.push(bytes.to_vec());
        }
    });
    all
}
