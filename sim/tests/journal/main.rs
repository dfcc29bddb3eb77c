//! The real gateway under real load is recorded, and replayed here to the same output.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "clients of a real process, on real time"
)]

mod load;
mod server;
mod tail;

use bifrons::base::id::ShardId;
use bifrons::config::Runtime;
use bifrons::driver::journal::{Blocks, Entry, Kind, MAGIC, head};
use bifrons_sim::journal::{Journal, Outcome, Tape, Verdict, replay};

use server::Server;

/// What clients show; nothing of it may be in a journal.
const SECRETS: [&str; 5] = [
    "the-api-secret-17",
    "AdminSecret42",
    "RoomPin2048",
    "roomSecret99",
    "StoredToken-x1",
];

/// This is the gateway when it is asked to be.
#[test]
fn serves_when_asked() {
    server::serve_if_asked();
}

#[test]
fn a_run_on_the_own_ring_is_replayed_to_the_same_output() {
    check(Runtime::Uring);
}

#[test]
fn a_run_on_glommio_is_replayed_to_the_same_output() {
    check(Runtime::Glommio);
}

fn check(runtime: Runtime) {
    let Some(server) = Server::start(runtime, "normal") else {
        return;
    };
    load::apply(&server);
    let file = server.stop();
    let journal = Journal::read(&file).unwrap();
    assert_eq!(journal.end.as_deref(), Some("all shards ended"));

    let outcome = replayed(&journal);
    let same = outcome.verdicts.iter().all(|it| *it == Verdict::Same);
    assert!(same, "{outcome:?}");
    assert_eq!(outcome.verdicts.len(), 2);
    assert!(outcome.inputs > 1_000, "{outcome:?}");
    assert_eq!(replayed(&journal).hashes, outcome.hashes);

    let messages = count(&journal, |entry| matches!(entry, Entry::Mesh { .. }));
    assert!(messages > 100, "{messages} messages between shards");
    no_secret_is_in(&unhidden(&journal));
    no_secret_is_in(&file);
    a_changed_input_is_noticed(&file, &journal);
    a_cut_journal_is_replayed_as_far_as_it_goes(&file, outcome.turns);
}

/// Another transaction in the last request of shard 0: the answer names it.
fn a_changed_input_is_noticed(file: &[u8], journal: &Journal) {
    const MEMBER: &[u8] = b"\"transaction\":\"changeable-";
    let changed = with_changed_tapes(file, |tapes| {
        let at = memchr::memmem::rfind(&tapes[0].bytes, MEMBER).expect("there is a request");
        tapes[0].bytes[at + MEMBER.len() - 2] ^= 1;
    });
    let outcome = replayed(&Journal::read(&changed).unwrap());
    let (shard, divergence) = outcome.divergence().expect("it is noticed");
    let wrong = "its output is";
    assert!(divergence.what.starts_with(wrong), "{divergence:?}");

    let (mut turn, mut expected) = (0, 0);
    for entry in journal.tapes[0].entries() {
        match entry.unwrap().1 {
            Entry::Bytes { bytes, .. } if memchr::memmem::find(bytes, MEMBER).is_some() => {
                expected = turn + 1;
            }
            Entry::Turn { counters, .. } => turn = counters.turns,
            _ => {}
        }
    }
    // It may be the other shard that tells the client of it, in an event.
    if shard == ShardId(0) {
        assert!(divergence.turn >= expected, "{divergence:?}, {expected}");
    }
}

fn a_cut_journal_is_replayed_as_far_as_it_goes(file: &[u8], turns: u64) {
    let cut = Journal::read(&file[..file.len() * 2 / 3]).unwrap();
    assert!(cut.end.is_none());
    let outcome = replayed(&cut);
    assert_eq!(outcome.divergence(), None);
    assert!(outcome.verdicts.contains(&Verdict::SameSoFar));
    assert!((1..turns).contains(&outcome.turns), "{outcome:?}");
}

#[test]
fn a_shard_that_panics_is_in_the_journal_with_what_made_it_panic() {
    let Some(server) = Server::start(Runtime::Uring, "fragile") else {
        return;
    };
    load::apply(&server);
    server.send("GET /janus/panic HTTP/1.1\r\nHost: a\r\n\r\n");
    let journal = Journal::read(&server.wait()).unwrap();
    assert_eq!(journal.end.as_deref(), Some("a shard failed"));
    // The shard that is replayed has not the fault that was put around the real one.
    let outcome = replayed(&journal);
    let (shard, divergence) = outcome.divergence().expect("it does not panic");
    assert_eq!(divergence.what, "it panicked, and does not here");
    let tape = &journal.tapes[usize::from(shard.0)];
    let told = tape.entries().map(|entry| entry.unwrap());
    let last = told.filter_map(|(at, entry)| (at < divergence.at).then_some(entry));
    let Some(Entry::Bytes { bytes, .. }) = last.last() else {
        panic!("the last is what made it panic")
    };
    assert!(bytes.starts_with(b"GET /janus/panic"));
}

fn replayed(journal: &Journal) -> Outcome {
    replay(journal, |_, _, _| {}).unwrap()
}

fn count(journal: &Journal, is_it: impl Fn(&Entry<'_>) -> bool) -> usize {
    let entries = journal.tapes.iter().flat_map(|tape| tape.entries());
    entries
        .filter(|entry| is_it(&entry.as_ref().unwrap().1))
        .count()
}

/// What clients sent, with the frames of WebSockets brought to light.
fn unhidden(journal: &Journal) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in journal.tapes.iter().flat_map(|tape| tape.entries()) {
        put_unhidden(&entry.unwrap().1, &mut all);
    }
    all
}

fn put_unhidden(entry: &Entry<'_>, all: &mut Vec<u8>) {
    if let Entry::Bytes { bytes, .. } = entry {
        all.extend_from_slice(bytes);
        // The clients of this test send whole frames with 16 bits of length.
        if let [0x81, 0xfe, _, _, a, b, c, d, payload @ ..] = bytes {
            let mask = [a, b, c, d].into_iter().cycle();
            all.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
        }
    }
}

fn no_secret_is_in(bytes: &[u8]) {
    for secret in SECRETS {
        let found = memchr::memmem::find(bytes, secret.as_bytes());
        assert_eq!(found, None, "{secret}");
    }
}

/// The same journal with other entries: of each shard in one block, with sums that are right.
fn with_changed_tapes(file: &[u8], change: impl FnOnce(&mut [Tape])) -> Vec<u8> {
    let mut tapes = Journal::read(file).unwrap().tapes;
    change(&mut tapes);
    let mut changed = MAGIC.to_vec();
    let mut put = |owner: u8, kind: Kind, number: u32, content: &[u8]| {
        changed.extend_from_slice(&head(owner, kind, number, content));
        changed.extend_from_slice(content);
    };
    let mut blocks = Blocks::new(file).unwrap();
    while let Some(block) = blocks.next_block().unwrap() {
        if block.kind == Kind::Start {
            put(block.owner, block.kind, 0, block.content);
        }
    }
    for (shard, tape) in (0..).zip(&tapes) {
        put(shard, Kind::Entries, 1, &tape.bytes);
    }
    changed
}
