//! The tokens that the Admin API hands out, and which plugins each of them opens.
//!
//! Invariant: every shard has the same tokens, because every change is applied by all of them in
//! one order before it is answered.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::base::error::{ApiError, ErrorCode};
use crate::gateway::auth::{Digest, digest};

/// Tokens that are kept; more are refused.
const TOKENS_MAX: usize = 100_000;

/// Stored tokens. Looked up by digest, so that the time it takes tells nothing of their text.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens {
    entries: BTreeMap<Digest, Entry>,
}

#[derive(Clone)]
struct Entry {
    token: Box<str>,
    plugins: Vec<&'static str>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("plugins", &self.plugins)
            .finish_non_exhaustive()
    }
}

/// What the Admin API does to the stored tokens. Plugins are named as they were sent.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenChange {
    /// What to do.
    pub act: TokenAct,
    /// To which token.
    pub token: Box<str>,
    /// For which plugins.
    pub plugins: Vec<Box<str>>,
}

impl std::fmt::Debug for TokenChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenChange")
            .field("act", &self.act)
            .finish_non_exhaustive()
    }
}

/// Kinds of changes to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAct {
    /// Adds it, or adds to it; without plugins it opens all.
    Add,
    /// Opens more plugins.
    Allow,
    /// Closes plugins.
    Disallow,
    /// Forgets it.
    Remove,
}

impl Tokens {
    /// Whether there is such a token.
    pub(super) fn contains(&self, token: &str) -> bool {
        self.entries.contains_key(&digest(token))
    }

    /// Whether a token opens a plugin.
    pub(super) fn opens(&self, token: &str, package: &str) -> bool {
        let entry = self.entries.get(&digest(token));
        entry.is_some_and(|entry| entry.plugins.contains(&package))
    }

    /// Carries out a change, and returns the `data` of the reply, if it has some.
    ///
    /// # Errors
    ///
    /// 467, 470 or 490, as Janus has them.
    pub(super) fn change(
        &mut self,
        change: &TokenChange,
        known: &[&'static str],
    ) -> Result<Option<Value>, ApiError> {
        let key = digest(&change.token);
        let named = |package: &&&'static str| {
            let name: &str = package;
            change.plugins.iter().any(|wanted| **wanted == *name)
        };
        match change.act {
            TokenAct::Add => {
                if self.entries.len() >= TOKENS_MAX && !self.entries.contains_key(&key) {
                    return Err(ApiError::new(ErrorCode::Unknown, "Error adding token"));
                }
                let entry = self.entries.entry(key).or_insert_with(|| Entry {
                    token: change.token.clone(),
                    plugins: Vec::new(),
                });
                let all = change.plugins.is_empty();
                for package in known.iter().filter(|package| all || named(package)) {
                    if !entry.plugins.contains(package) {
                        entry.plugins.push(package);
                    }
                }
                Ok(Some(json!({ "plugins": entry.plugins })))
            }
            TokenAct::Allow | TokenAct::Disallow => {
                let Some(entry) = self.entries.get_mut(&key) else {
                    let reason = format!("Token {} not found", change.token);
                    return Err(ApiError::new(ErrorCode::TokenNotFound, reason));
                };
                if change.plugins.is_empty() {
                    return Err(ApiError::invalid_type("plugins", "a non-empty array"));
                }
                let mut wanted = change.plugins.iter();
                if !wanted.all(|wanted| known.iter().any(|name| **wanted == **name)) {
                    return Err(ApiError::new(
                        ErrorCode::InvalidElementType,
                        "Invalid element type (some of the provided plugins are invalid)",
                    ));
                }
                entry
                    .plugins
                    .retain(|package| !change.plugins.iter().any(|wanted| **wanted == **package));
                if change.act == TokenAct::Allow {
                    entry.plugins.extend(known.iter().filter(named));
                }
                Ok(Some(json!({ "plugins": entry.plugins })))
            }
            TokenAct::Remove => match self.entries.remove(&key) {
                Some(_) => Ok(None),
                None => Err(ApiError::new(ErrorCode::Unknown, "Error removing token")),
            },
        }
    }

    /// The tokens that open a plugin at all, in the order of their text, as `list_tokens` has them.
    pub(super) fn list(&self) -> Value {
        let entries = self.entries.values().filter(|e| !e.plugins.is_empty());
        let mut entries: Vec<&Entry> = entries.collect();
        entries.sort_by(|a, b| a.token.cmp(&b.token));
        let shown =
            |entry: &&Entry| json!({"token": entry.token, "allowed_plugins": entry.plugins});
        entries.iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 2] = ["janus.plugin.echotest", "janus.plugin.videoroom"];

    fn change(act: TokenAct, plugins: &[&str]) -> TokenChange {
        TokenChange {
            act,
            token: "t".into(),
            plugins: plugins.iter().map(|&name| name.into()).collect(),
        }
    }

    #[track_caller]
    fn check(tokens: &mut Tokens, act: TokenAct, plugins: &[&str], expected: &str) {
        let shown = match tokens.change(&change(act, plugins), &KNOWN) {
            Ok(data) => data.map_or("done".to_owned(), |data| data.to_string()),
            Err(fault) => fault.to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_token_opens_what_it_was_given() {
        let tokens = &mut Tokens::default();
        let [echo, room] = KNOWN;
        check(tokens, TokenAct::Allow, &[echo], "470 Token t not found");
        check(
            tokens,
            TokenAct::Add,
            &[echo],
            r#"{"plugins":["janus.plugin.echotest"]}"#,
        );
        assert!(tokens.contains("t") && tokens.opens("t", echo) && !tokens.opens("t", room));
        check(
            tokens,
            TokenAct::Allow,
            &[room],
            r#"{"plugins":["janus.plugin.echotest","janus.plugin.videoroom"]}"#,
        );
        check(
            tokens,
            TokenAct::Disallow,
            &[echo],
            r#"{"plugins":["janus.plugin.videoroom"]}"#,
        );
        check(
            tokens,
            TokenAct::Disallow,
            &[],
            "467 Invalid element type (plugins should be a non-empty array)",
        );
        check(
            tokens,
            TokenAct::Allow,
            &[echo, "none"],
            "467 Invalid element type (some of the provided plugins are invalid)",
        );
        check(tokens, TokenAct::Remove, &[], "done");
        check(tokens, TokenAct::Remove, &[], "490 Error removing token");
        assert!(!tokens.contains("t"));
    }

    #[test]
    fn without_plugins_it_opens_all_and_with_unknown_ones_none() {
        let tokens = &mut Tokens::default();
        check(tokens, TokenAct::Add, &["none"], r#"{"plugins":[]}"#);
        assert!(tokens.contains("t"));
        assert_eq!(
            tokens.list(),
            json!([]),
            "a token without plugins is not listed"
        );
        check(
            tokens,
            TokenAct::Add,
            &[],
            r#"{"plugins":["janus.plugin.echotest","janus.plugin.videoroom"]}"#,
        );
        assert_eq!(tokens.list()[0]["token"], "t");
    }
}
