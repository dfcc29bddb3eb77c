//! Arbitrary text, and offers with arbitrary changes.

use proptest::prelude::*;

use super::answers::{Wishes, echo_plan, transport};
use super::*;

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(v=0\n)?([ovscbtamz]=[ -~]{0,40}\r?\n|.{0,9}){0,40}") {
        let _ = SessionDescription::parse(&text);
    }

    #[test]
    fn mutated_offers_are_refused_or_written_back_and_answered(
        which in 0..OFFERS.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), edit()), 1..8),
    ) {
        let mut lines: Vec<String> = OFFERS[which].1.lines().map(str::to_owned).collect();
        for (index, edit) in &edits {
            edit.apply(index.index(lines.len()), &mut lines);
        }
        if let Ok(read) = SessionDescription::parse(&lines.join("\n")) {
            prop_assert_eq!(&SessionDescription::parse(&read.to_string()), &Ok(read.clone()));
            let mut offer = read;
            if offer.normalise().is_ok() {
                let plan = echo_plan(&offer, &Wishes::default());
                let answer = build_answer(&offer, &plan, &transport(Trickle::Half));
                prop_assert_eq!(SessionDescription::parse(&answer.to_string()), Ok(answer));
            }
        }
    }
}

/// A change to one line of an offer.
#[derive(Clone, Debug)]
enum Edit {
    Cut(prop::sample::Index),
    Drop,
    Insert(prop::sample::Index, String),
    Repeat,
}

fn edit() -> impl Strategy<Value = Edit> {
    let scrap = "[ -~]{1,6}|:|;|/| 0|~|\\PC";
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Edit::Cut),
        Just(Edit::Drop),
        (any::<prop::sample::Index>(), scrap).prop_map(|(at, text)| Edit::Insert(at, text)),
        Just(Edit::Repeat),
    ]
}

impl Edit {
    fn apply(&self, index: usize, lines: &mut Vec<String>) {
        let place = |at: &prop::sample::Index, line: &str| {
            line.char_indices()
                .map(|(place, _)| place)
                .nth(at.index(line.chars().count()))
        };
        match self {
            Self::Cut(at) if !lines[index].is_empty() => {
                let place = place(at, &lines[index]).unwrap();
                lines[index].truncate(place);
            }
            Self::Insert(at, text) if !lines[index].is_empty() => {
                let place = place(at, &lines[index]).unwrap();
                lines[index].insert_str(place, text);
            }
            Self::Cut(_) | Self::Insert(..) => {}
            Self::Drop if lines.len() > 1 => drop(lines.remove(index)),
            Self::Drop => {}
            Self::Repeat => lines.insert(index, lines[index].clone()),
        }
    }
}
