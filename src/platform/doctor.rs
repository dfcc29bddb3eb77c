//! `bifrons doctor`: is this host set up for the gateway, and if not, what is to be done?
//!
//! Each check has a page in `tuning/` that says what the setting is, why it matters, and what it
//! was measured to bring. Nothing is changed here.
//!
//! Invariant: what cannot be seen is said to be unknown, never to be well.

mod checks;
mod facts;

use std::fmt::Write as _;

use serde::Serialize;

use self::checks::CHECKS;
use self::facts::Facts;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The gateway runs, and could run better.
    Advice,
    /// The gateway does not start, or loses what it is given.
    Bad,
    /// As it should be.
    Good,
    /// Not to be seen from here.
    Unknown,
}

/// A check and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: &'static str,
    /// Is it as it should be?
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; empty when there is nothing to do.
    pub remedy: String,
    /// Where more is said about it.
    pub page: &'static str,
}

/// What a check says, to be put together with its name.
#[derive(Debug, PartialEq, Eq)]
struct Opinion {
    verdict: Verdict,
    found: String,
    remedy: String,
}

impl Opinion {
    fn good(found: impl Into<String>) -> Self {
        Self::new(Verdict::Good, found, "")
    }

    fn unknown(found: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, found, "")
    }

    fn new(verdict: Verdict, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict,
            found: found.into(),
            remedy: remedy.into(),
        }
    }
}

/// Looks at the host that this runs on.
pub fn examine() -> Vec<Finding> {
    examine_by(&Facts::of_this_host())
}

/// Whether nothing is bad.
pub fn is_fit(findings: &[Finding]) -> bool {
    findings.iter().all(|each| each.verdict != Verdict::Bad)
}

/// The findings as a table with remedies, for people.
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding {
        name,
        verdict,
        found,
        remedy,
        page,
    } in findings
    {
        let verdict = match verdict {
            Verdict::Advice => "advice",
            Verdict::Bad => "BAD",
            Verdict::Good => "good",
            Verdict::Unknown => "unknown",
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{verdict:<8} {name:<20} {found}");
        if !remedy.is_empty() {
            let _ = writeln!(text, "         {:<20} -> {remedy} (tuning/{page})", "");
        }
    }
    let count = |verdict| {
        findings
            .iter()
            .filter(|each| each.verdict == verdict)
            .count()
    };
    let _ = writeln!(
        text,
        "{} good, {} to improve, {} bad, {} unknown",
        count(Verdict::Good),
        count(Verdict::Advice),
        count(Verdict::Bad),
        count(Verdict::Unknown)
    );
    text
}

/// The findings for machines.
pub fn json(findings: &[Finding]) -> String {
    let whole = serde_json::json!({"fit": is_fit(findings), "checks": findings});
    format!("{whole:#}\n")
}

fn examine_by(facts: &Facts) -> Vec<Finding> {
    let finding = |check: &checks::Check| {
        let Opinion {
            verdict,
            found,
            remedy,
        } = (check.look)(facts);
        Finding {
            name: check.name,
            verdict,
            found,
            remedy,
            page: check.page,
        }
    };
    CHECKS.iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_its_page() {
        for check in CHECKS {
            let path = format!("{}/tuning/{}", env!("CARGO_MANIFEST_DIR"), check.page);
            let page = std::fs::read_to_string(&path).unwrap_or_default();
            for part in [
                "**What.**",
                "**Why.**",
                "**Set.**",
                "**Check.**",
                "**Effect.**",
            ] {
                assert!(page.contains(part), "{path} lacks {part}");
            }
        }
    }

    #[test]
    fn this_host_can_be_looked_at() {
        let findings = examine();
        assert_eq!(findings.len(), CHECKS.len());
        for finding in &findings {
            let needs_remedy = matches!(finding.verdict, Verdict::Advice | Verdict::Bad);
            assert_eq!(needs_remedy, !finding.remedy.is_empty(), "{finding:?}");
            assert!(!finding.found.is_empty(), "{finding:?}");
        }
        let read: serde_json::Value = serde_json::from_str(&json(&findings)).unwrap();
        assert_eq!(read["fit"], is_fit(&findings));
        assert_eq!(read["checks"].as_array().unwrap().len(), CHECKS.len());
        assert_eq!(
            text(&findings)
                .lines()
                .filter(|line| line.contains("good, "))
                .count(),
            1
        );
    }
}
