//! A line on the terminal that says how far the work is; nothing where there is no terminal.

use std::io::{IsTerminal as _, Write as _};

/// Overwrites the line. `done` is a share between 0 and 1.
pub(crate) fn show(what: &str, done: f64) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let filled = (done.clamp(0.0, 1.0) * 30.0) as usize;
        // A terminal that cannot be written to misses nothing but this.
        let _ = write!(err, "\r\x1b[K{what} [{:30}] ", "#".repeat(filled));
        let _ = err.flush();
    }
}

/// Takes the line away.
pub(crate) fn clear() {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K");
        let _ = err.flush();
    }
}
