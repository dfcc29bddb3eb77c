//! Entries of a journal as lines for people.

use bifrons::driver::journal::Entry;

/// Characters of a text that are shown.
const TEXT_MAX: usize = 160;

/// An entry in a line.
pub fn line(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Bytes { conn, bytes } => format!("bytes of {conn}: {}", text(bytes)),
        Entry::Closed { conn } => format!("{conn} failed"),
        Entry::Configure { .. } => "another configuration".to_owned(),
        Entry::Datagram {
            sock, from, size, ..
        } => format!("{size} bytes from {from} at socket {sock}"),
        Entry::Drain => "drain".to_owned(),
        Entry::End { how, hash } => format!("the end: {how:?}, output {hash:016x}"),
        Entry::Eof { conn } => format!("end of {conn}'s input"),
        Entry::Flush => "flush".to_owned(),
        Entry::LookedUp { id, address } => format!("name {} is {address:?}", id.0),
        Entry::Mesh { from } => format!("the next message of shard {from}"),
        Entry::Now(now) => format!(
            "now {}.{:09} monotonic, {} µs wall",
            now.monotonic / 1_000_000_000,
            now.monotonic % 1_000_000_000,
            now.realtime
        ),
        Entry::Opened {
            conn,
            listener,
            peer,
        } => format!("{conn} from {peer} at {listener:?}"),
        Entry::Signal(number) => format!("signal {number}"),
        Entry::Silent(shards) => format!("silent are {shards:?}"),
        Entry::SocketOpened { sock, bound } => format!("socket {sock} is at {bound:?}"),
        Entry::Stop => "stop".to_owned(),
        Entry::Tick => "tick".to_owned(),
        Entry::Turn { counters, hash } => {
            format!("turn {} is over, output {hash:08x}", counters.turns)
        }
        Entry::Written { id, written } => format!("file {} was written: {written:?}", id.0),
        Entry::Wrote { conn, count } => format!("{count} bytes of {conn} were taken"),
    }
}

/// An entry of a tail in a line; `None` for a reading of the clocks, which each line begins with.
/// There are no hashes of outputs in a tail.
pub fn line_of_tail(entry: &Entry<'_>) -> Option<String> {
    match entry {
        Entry::End { how, .. } => Some(format!("the end: {how:?}")),
        Entry::Now(_) => None,
        Entry::Turn { .. } => Some("the turn is over".to_owned()),
        Entry::Bytes { .. }
        | Entry::Closed { .. }
        | Entry::Configure { .. }
        | Entry::Datagram { .. }
        | Entry::Drain
        | Entry::Eof { .. }
        | Entry::Flush
        | Entry::LookedUp { .. }
        | Entry::Mesh { .. }
        | Entry::Opened { .. }
        | Entry::Signal(_)
        | Entry::Silent(_)
        | Entry::SocketOpened { .. }
        | Entry::Stop
        | Entry::Tick
        | Entry::Written { .. }
        | Entry::Wrote { .. } => Some(line(entry)),
    }
}

fn text(bytes: &[u8]) -> String {
    let shown = bytes[..bytes.len().min(TEXT_MAX)].escape_ascii();
    let more = if bytes.len() > TEXT_MAX { "…" } else { "" };
    format!("{shown}{more} ({} bytes)", bytes.len())
}
