//! `replay --journal`: a real process's life, told to its shards once more, and what was kept of
//! what followed.

use std::path::{Path, PathBuf};
use std::time::Instant;

use bifrons::base::id::ShardId;
use bifrons::driver::journal::Entry;

use crate::cli::Exit;
use crate::cli::args::{Args, Usage};
use crate::journal::{Journal, Outcome, Tail, Told, Verdict, line, line_of_tail, replay};

/// Entries that are shown before the one at which a shard goes another way.
const CONTEXT: usize = 16;

/// Replays the journal of a file, or the newest of a folder.
pub(super) fn replay_journal(path: &str, mut args: Args) -> Result<Exit, Usage> {
    let is_traced = args.flag("--trace");
    args.finish()?;
    let path = newest(Path::new(path)).map_err(Usage)?;
    let file =
        std::fs::read(&path).map_err(|error| Usage(format!("{}: {error}", path.display())))?;
    let journal = match Journal::read(&file) {
        Ok(journal) => journal,
        Err(why) => {
            eprintln!("bifrons-sim: {}: {why}", path.display());
            show_tail(&path, None, is_traced)?;
            return Ok(Exit::Usage);
        }
    };
    println!("{}", path.display());
    introduce(&journal, file.len());
    let began = now();
    let outcome = replay(&journal, |shard, turn, entry| {
        if is_traced {
            println!("shard {shard} turn {turn}: {}", line(entry));
        }
    });
    let took = began.elapsed();
    let exit = match outcome {
        Err(why) => {
            eprintln!("bifrons-sim: {}: {why}", path.display());
            Exit::Usage
        }
        Ok(outcome) => {
            let speed = outcome.span.as_secs_f64() / took.as_secs_f64().max(1e-9);
            println!(
                "{} inputs in {} turns, {:.3} s replayed in {:.3} s ({speed:.0} times as fast)",
                outcome.inputs,
                outcome.turns,
                outcome.span.as_secs_f64(),
                took.as_secs_f64(),
            );
            conclude(&journal, &outcome)
        }
    };
    show_tail(&path, Some(&journal), is_traced)?;
    Ok(exit)
}

/// Shows what followed on a journal, if that was kept.
fn show_tail(path: &Path, journal: Option<&Journal>, is_traced: bool) -> Result<(), Usage> {
    let tail = Tail::beside(path).map_err(|error| Usage(format!("{}: {error}", path.display())))?;
    let Some(tail) = tail else { return Ok(()) };
    println!("\nwhat followed is in its tail, which is FOR READING ONLY: it cannot be replayed,");
    println!("because what led to it is missing");
    for file in tail.paths() {
        println!("  {}", file.display());
    }
    let (mut entries, mut turns, mut end) = (0_u64, 0_u64, None);
    let mut span = None::<(i64, i64)>;
    tail.tell(journal, |told| match told {
        Told::Broken { shard } => println!("tail: entries of shard {shard} cannot be read"),
        Told::Damaged { file, damage } => println!("tail: {}: {damage}", file.display()),
        Told::End { why } => end = Some(why),
        Told::Entry {
            shard,
            turn,
            reading,
            entry,
        } => {
            entries += 1;
            turns += u64::from(matches!(entry, Entry::Turn { .. }));
            let at = reading.realtime;
            span = Some(span.map_or((at, at), |(from, to)| (from.min(at), to.max(at))));
            if let Some(line) = line_of_tail(&entry).filter(|_| is_traced) {
                println!("tail {} shard {shard} turn {turn}: {line}", seconds(at));
            }
        }
        Told::Missing { shard, blocks } => {
            println!("tail: {blocks} blocks of shard {shard} are missing here");
        }
        Told::Overwritten { shard, blocks } => {
            println!("tail: {blocks} blocks of shard {shard} between journal and tail made room");
        }
    });
    let size = tail.size();
    print!("tail: {turns} turns of {entries} entries, {size} bytes");
    match span {
        Some((from, to)) => println!(", wall clock {} to {}", seconds(from), seconds(to)),
        None => println!(),
    }
    match end {
        Some(end) => println!("tail: it ends because {end}"),
        None => println!("tail: it was not ended: the process was killed, or still runs"),
    }
    Ok(())
}

fn seconds(micros: i64) -> String {
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    format!("{seconds}.{micros:06}")
}

fn introduce(journal: &Journal, size: usize) {
    let start = &journal.start;
    let here = (
        env!("CARGO_PKG_VERSION"),
        option_env!("BIFRONS_COMMIT").map(str::to_owned),
    );
    println!(
        "bifrons {} ({}), configuration {}, {} shards, {size} bytes",
        start.version,
        start.commit.as_deref().unwrap_or("commit not known"),
        start.config_hash,
        start.shards,
    );
    if (start.version.as_str(), &start.commit) != (here.0, &here.1) {
        println!(
            "note: this is {} ({:?}): it may well differ",
            here.0, here.1
        );
    }
    if !start.media {
        println!("note: without datagrams, so that media is not replayed");
    }
    match (&journal.end, journal.torn) {
        (Some(end), _) => println!("it ends because {end}"),
        (None, Some(torn)) => println!("it was not ended: {torn}"),
        (None, None) => println!("it was not ended"),
    }
}

fn conclude(journal: &Journal, outcome: &Outcome) -> Exit {
    for ((shard, verdict), hash) in (0..).zip(&outcome.verdicts).zip(&outcome.hashes) {
        let said = match verdict {
            Verdict::Differs(divergence) => {
                format!("DIFFERS in turn {}: {}", divergence.turn, divergence.what)
            }
            Verdict::Panicked => "panicked, as it did".to_owned(),
            Verdict::Same => "the same".to_owned(),
            Verdict::SameSoFar => "the same, as far as the journal goes".to_owned(),
            Verdict::Stopped => "not replayed to its end".to_owned(),
        };
        println!("shard {shard}: output {hash:016x}, {said}");
    }
    if let Some((shard, divergence)) = outcome.divergence() {
        println!("\nwhat shard {shard} was told last:");
        for line in before(journal, shard, divergence.at) {
            println!("  {line}");
        }
        return Exit::Nondeterminism;
    }
    if outcome.has_panicked() {
        return Exit::Violation;
    }
    Exit::Clean
}

/// The entries up to a place, the last ones.
fn before(journal: &Journal, shard: ShardId, at: usize) -> Vec<String> {
    let tape = &journal.tapes[usize::from(shard.0)];
    let entries = tape.entries().map_while(Result::ok);
    let told: Vec<(usize, Entry<'_>)> = entries.take_while(|(begin, _)| *begin <= at).collect();
    let from = told.len().saturating_sub(CONTEXT);
    told[from..].iter().map(|(_, entry)| line(entry)).collect()
}

fn newest(path: &Path) -> Result<PathBuf, String> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut newest: Option<(std::time::SystemTime, PathBuf)> = None;
    for entry in std::fs::read_dir(path).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        if entry.path().extension().is_none_or(|it| it != "journal") {
            continue;
        }
        let changed = entry
            .metadata()
            .and_then(|it| it.modified())
            .map_err(wrong)?;
        let found = (changed, entry.path());
        newest = newest.max(Some(found));
    }
    let (_, path) = newest.ok_or_else(|| format!("{}: there is no journal", path.display()))?;
    Ok(path)
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "to say how long it took")]
    Instant::now()
}
