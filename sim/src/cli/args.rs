//! Words of the command line as options.

use std::str::FromStr;

/// What is wrong with the command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Usage(pub String);

/// The words that have not been taken yet.
#[derive(Debug)]
pub struct Args {
    words: Vec<String>,
}

impl Args {
    /// Takes all words after the program's name.
    pub fn new(words: impl Iterator<Item = String>) -> Self {
        Self {
            words: words.collect(),
        }
    }

    /// Takes the first word.
    pub fn command(&mut self) -> Option<String> {
        (!self.words.is_empty()).then(|| self.words.remove(0))
    }

    /// Takes an option's value, if the option is there.
    ///
    /// # Errors
    ///
    /// When there is no value, or it does not fit.
    pub fn option<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Usage> {
        let Some(at) = self.words.iter().position(|word| word == name) else {
            return Ok(None);
        };
        self.words.remove(at);
        if at >= self.words.len() {
            return Err(Usage(format!("{name} wants a value")));
        }
        let value = self.words.remove(at);
        let parsed = value.parse();
        parsed
            .map(Some)
            .map_err(|_| Usage(format!("{name} cannot be {value:?}")))
    }

    /// Takes a flag.
    pub fn flag(&mut self, name: &str) -> bool {
        let count = self.words.len();
        self.words.retain(|word| word != name);
        self.words.len() < count
    }

    /// Takes the next word that is no option.
    pub fn word(&mut self) -> Option<String> {
        let at = self.words.iter().position(|word| !word.starts_with('-'))?;
        Some(self.words.remove(at))
    }

    /// Checks that every word was taken.
    ///
    /// # Errors
    ///
    /// When one was not.
    pub fn finish(self) -> Result<(), Usage> {
        match self.words.first() {
            Some(word) => Err(Usage(format!("{word:?} means nothing here"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Args {
        Args::new(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_flags_and_words_are_taken_in_any_order() {
        let mut args = args("replay --trace file.scn --seed 7");
        assert_eq!(args.command().as_deref(), Some("replay"));
        assert_eq!(args.option("--seed"), Ok(Some(7_u64)));
        assert!(args.flag("--trace") && !args.flag("--json"));
        assert_eq!(args.word().as_deref(), Some("file.scn"));
        assert_eq!(args.finish(), Ok(()));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        assert!(args("--seed").option::<u64>("--seed").is_err());
        assert!(args("--seed x").option::<u64>("--seed").is_err());
        assert!(args("--what").finish().is_err());
    }
}
