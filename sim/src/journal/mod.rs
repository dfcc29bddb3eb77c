//! Journals of real processes: read, and replayed to the same output.
//!
//! What a journal is and what it holds is said in `bifrons::driver::journal`, which writes it.

mod memory;
mod player;
mod show;
mod tail;
mod tape;

pub use memory::{Memory, MemorySink};
pub use player::{Divergence, Outcome, Verdict, replay};
pub use show::{line, line_of_tail};
pub use tail::{Tail, Told};
pub use tape::{Journal, Tape};
