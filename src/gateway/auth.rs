//! Who may use the API.
//!
//! Invariant: secrets are compared as digests of fixed length and in constant time, before
//! anything is looked up, so neither the comparison nor the error tells what exists.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::GeneralConfig;

/// What a request must show.
#[derive(Clone, Debug)]
pub struct Auth {
    api_secret: Option<[u8; 32]>,
}

impl Auth {
    /// Takes the secrets from the configuration.
    pub fn new(config: &GeneralConfig) -> Self {
        Self {
            api_secret: config
                .api_secret
                .as_ref()
                .map(|secret| digest(secret.expose())),
        }
    }

    /// Whether a request with these credentials may be served. What is no string is wrong.
    pub fn allows(&self, secret: Option<&Value>) -> bool {
        self.allows_text(secret.and_then(Value::as_str))
    }

    /// Whether a poll with these credentials, from its query, may be served.
    pub fn allows_text(&self, secret: Option<&str>) -> bool {
        let Some(expected) = &self.api_secret else {
            return true;
        };
        secret.is_some_and(|secret| digest(secret).ct_eq(expected).into())
    }

    /// Whether requests need the API secret, as `info` tells.
    pub const fn has_secret(&self) -> bool {
        self.api_secret.is_some()
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn only_the_right_secret_passes() {
        let config = GeneralConfig {
            api_secret: Some(Secret::new("right")),
            ..GeneralConfig::default()
        };
        let auth = Auth::new(&config);
        assert!(auth.allows_text(Some("right")));
        assert!(!auth.allows_text(Some("wrong")) && !auth.allows_text(None));
        assert!(!auth.allows(Some(&Value::from(7))));
        assert!(Auth::new(&GeneralConfig::default()).allows(None));
    }
}
