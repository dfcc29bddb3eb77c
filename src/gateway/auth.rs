//! Who may use the API.
//!
//! Invariant: secrets are compared as digests of fixed length and in constant time, before
//! anything is looked up, so neither the comparison nor the error tells what exists.

use base64ct::{Base64, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::base::clock::Realtime;
use crate::base::error::{ApiError, ErrorCode};
use crate::base::json::Fields;
use crate::config::{GeneralConfig, Secret, TokenAuth};
use crate::gateway::tokens::{TokenChange, Tokens};

/// A secret as it is kept and compared.
pub(super) type Digest = [u8; 32];

/// The realm of tokens that are meant for the core and not for a plugin.
const REALM: &str = "janus";

/// What a request shows to be let in.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The API secret.
    pub secret: Option<&'a str>,
    /// A token.
    pub token: Option<&'a str>,
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl<'a> Credentials<'a> {
    /// Takes them from a request. What is no string is as good as missing.
    pub fn of(fields: Fields<'a>) -> Self {
        Self {
            secret: fields.get("apisecret").and_then(Value::as_str),
            token: fields.get("token").and_then(Value::as_str),
        }
    }
}

/// What a request must show: the API secret or a token, where the configuration wants either.
#[derive(Clone, Debug)]
pub struct Auth {
    api_secret: Option<Digest>,
    admin_secret: Option<Digest>,
    mode: Mode,
}

#[derive(Clone, Debug)]
enum Mode {
    Off,
    Signed(Secret),
    Stored(Tokens),
}

impl Auth {
    /// Takes the secrets from the configuration. No tokens are stored yet.
    pub fn new(config: &GeneralConfig, admin_secret: Option<&Secret>) -> Self {
        let hashed = |secret: Option<&Secret>| secret.map(|secret| digest(secret.expose()));
        Self {
            api_secret: hashed(config.api_secret.as_ref()),
            admin_secret: hashed(admin_secret),
            mode: match &config.token_auth {
                TokenAuth::Off => Mode::Off,
                TokenAuth::Signed(key) => Mode::Signed(key.clone()),
                TokenAuth::Stored => Mode::Stored(Tokens::default()),
            },
        }
    }

    /// Takes other secrets; stored tokens stay, if tokens are still stored.
    pub(super) fn reload(&mut self, config: &GeneralConfig, admin_secret: Option<&Secret>) {
        let mut fresh = Self::new(config, admin_secret);
        if let (Mode::Stored(old), Mode::Stored(new)) = (&mut self.mode, &mut fresh.mode) {
            std::mem::swap(old, new);
        }
        *self = fresh;
    }

    /// Whether a request with these credentials may be served. Of secret and token, where both are
    /// configured, either suffices.
    pub fn allows(&self, now: Realtime, shown: Credentials<'_>) -> bool {
        let by_secret = self.api_secret.map(|expected| is(shown.secret, &expected));
        let by_token = match &self.mode {
            Mode::Off => None,
            Mode::Signed(key) => Some(
                shown
                    .token
                    .is_some_and(|token| Signed::verify(token, key, now, REALM).is_some()),
            ),
            Mode::Stored(tokens) => Some(shown.token.is_some_and(|token| tokens.contains(token))),
        };
        match (by_secret, by_token) {
            (None, None) => true,
            (by_secret, by_token) => by_secret == Some(true) || by_token == Some(true),
        }
    }

    /// Checks that a token, if there is one, opens a plugin. A right API secret does not help a
    /// token that does not, as in Janus.
    ///
    /// # Errors
    ///
    /// 405.
    pub(super) fn check_plugin(
        &self,
        now: Realtime,
        token: Option<&str>,
        package: &str,
    ) -> Result<(), ApiError> {
        let Some(token) = token else { return Ok(()) };
        let opens = match &self.mode {
            Mode::Off => true,
            Mode::Signed(key) => {
                let signed = Signed::verify(token, key, now, REALM);
                signed.is_some_and(|signed| signed.opens(package))
            }
            Mode::Stored(tokens) => tokens.opens(token, package),
        };
        if opens {
            return Ok(());
        }
        let reason = format!("Provided token can't access plugin '{package}'");
        Err(ApiError::new(ErrorCode::UnauthorizedPlugin, reason))
    }

    /// Whether an Admin request with this secret may be served. Without a configured one all may:
    /// the configuration sees to it that only this host can then ask.
    pub fn allows_admin(&self, secret: Option<&str>) -> bool {
        self.admin_secret
            .is_none_or(|expected| is(secret, &expected))
    }

    /// Whether tokens are checked, as `info` and `get_status` tell.
    pub(super) const fn has_tokens(&self) -> bool {
        !matches!(self.mode, Mode::Off)
    }

    /// Changes the stored tokens, of which the plugins `known` may be opened.
    ///
    /// # Errors
    ///
    /// 490 when tokens are not stored, else those of the change.
    pub(super) fn change_tokens(
        &mut self,
        change: &TokenChange,
        known: &[&'static str],
    ) -> Result<Option<Value>, ApiError> {
        match &mut self.mode {
            Mode::Stored(tokens) => tokens.change(change, known),
            Mode::Off | Mode::Signed(_) => Err(not_stored()),
        }
    }

    /// The stored tokens, as `list_tokens` has them.
    ///
    /// # Errors
    ///
    /// 490 when tokens are not stored.
    pub(super) fn list_tokens(&self) -> Result<Value, ApiError> {
        match &self.mode {
            Mode::Stored(tokens) => Ok(tokens.list()),
            Mode::Off | Mode::Signed(_) => Err(not_stored()),
        }
    }
}

pub(super) fn not_stored() -> ApiError {
    let reason = "Stored-Token based authentication disabled";
    ApiError::new(ErrorCode::Unknown, reason)
}

/// The claims of a signed token whose signature, expiry and realm are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Signed<'a> {
    descriptors: &'a str,
}

impl<'a> Signed<'a> {
    /// Reads `expiry "," realm { "," descriptor } ":" base64(mac)`. The length of the signature
    /// tells its algorithm: HMAC-SHA1, as Janus makes it, or HMAC-SHA256.
    fn verify(token: &'a str, key: &Secret, now: Realtime, realm: &str) -> Option<Self> {
        const MAC_BYTES_MAX: usize = 32;
        let (payload, signature) = token.rsplit_once(':')?;
        let mut mac = [0; MAC_BYTES_MAX];
        let mac = Base64::decode(signature, &mut mac).ok()?;
        let (key, text) = (key.expose().as_bytes(), payload.as_bytes());
        let is_right = match mac.len() {
            20 => {
                let hmac = Hmac::<Sha1>::new_from_slice(key).expect("a key has any length");
                hmac.chain_update(text).verify_slice(mac).is_ok()
            }
            32 => {
                let hmac = Hmac::<Sha256>::new_from_slice(key).expect("a key has any length");
                hmac.chain_update(text).verify_slice(mac).is_ok()
            }
            _ => false,
        };
        if !is_right {
            return None;
        }
        let (expiry, rest) = payload.split_once(',')?;
        let digits = expiry.bytes().take_while(u8::is_ascii_digit).count();
        let expires: i64 = expiry[..digits].parse().ok()?;
        let (named, descriptors) = rest.split_once(',').unwrap_or((rest, ""));
        (expires > now.unix_seconds() && named == realm).then_some(Self { descriptors })
    }

    fn opens(self, package: &str) -> bool {
        self.descriptors.split(',').any(|name| name == package)
    }
}

/// Whether a token was signed for a plugin and holds `descriptor`; `None` where tokens are not
/// signed. Such a token names the plugin where others name the core.
pub(super) fn is_signed_for(
    config: &GeneralConfig,
    now: Realtime,
    token: &str,
    package: &str,
    descriptor: &str,
) -> Option<bool> {
    let TokenAuth::Signed(key) = &config.token_auth else {
        return None;
    };
    let signed = Signed::verify(token, key, now, package);
    Some(signed.is_some_and(|signed| signed.opens(descriptor)))
}

/// A name for a token that can be shown: it tells two tokens apart and gives neither away.
pub(super) fn masked(token: &str) -> Box<str> {
    let mut shown = String::from("sha256:");
    for byte in &digest(token)[..8] {
        shown.push_str(&format!("{byte:02x}"));
    }
    shown.into()
}

fn is(shown: Option<&str>, expected: &Digest) -> bool {
    shown.is_some_and(|shown| digest(shown).ct_eq(expected).into())
}

pub(super) fn digest(secret: &str) -> Digest {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: &str = "janus.plugin.echotest";
    const ROOM: &str = "janus.plugin.videoroom";
    /// Made with `openssl dgst -hmac supersecret`, from the first payload.
    const SHA1: &str = "1999999999,janus,janus.plugin.videoroom:YUD93ti7Ps+W/3hifDANAh3+Hxc=";

    fn at(unix_seconds: i64) -> Realtime {
        #[allow(clippy::disallowed_methods, reason = "a test makes its time")]
        Realtime::from_unix_micros(unix_seconds * 1_000_000)
    }

    fn sign(payload: &str) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(b"supersecret").unwrap();
        let mac = mac.chain_update(payload.as_bytes()).finalize();
        format!("{payload}:{}", Base64::encode_string(&mac.into_bytes()))
    }

    fn signed() -> Auth {
        let config = GeneralConfig {
            token_auth: TokenAuth::Signed(Secret::new("supersecret")),
            ..GeneralConfig::default()
        };
        Auth::new(&config, None)
    }

    fn token(token: &str) -> Credentials<'_> {
        Credentials {
            secret: None,
            token: Some(token),
        }
    }

    fn secret(secret: &str) -> Credentials<'_> {
        Credentials {
            secret: Some(secret),
            token: None,
        }
    }

    #[test]
    fn only_the_right_secret_passes() {
        let config = GeneralConfig {
            api_secret: Some(Secret::new("right")),
            ..GeneralConfig::default()
        };
        let auth = Auth::new(&config, None);
        assert!(auth.allows(at(0), secret("right")));
        assert!(!auth.allows(at(0), secret("wrong")));
        assert!(!auth.allows(at(0), Credentials::default()));
        assert!(Auth::new(&GeneralConfig::default(), None).allows(at(0), Credentials::default()));
    }

    #[test]
    fn secret_and_token_are_alternatives() {
        let config = GeneralConfig {
            api_secret: Some(Secret::new("right")),
            token_auth: TokenAuth::Signed(Secret::new("supersecret")),
            ..GeneralConfig::default()
        };
        let auth = Auth::new(&config, None);
        assert!(auth.allows(at(0), secret("right")) && auth.allows(at(0), token(SHA1)));
        assert!(!auth.allows(at(0), token("right")));
        let refused = auth.check_plugin(at(0), Some(SHA1), ECHO).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "405 Provided token can't access plugin 'janus.plugin.echotest'"
        );
        assert!(auth.check_plugin(at(0), None, ECHO).is_ok());
    }

    #[test]
    fn both_signatures_are_known_and_a_changed_byte_breaks_either() {
        let auth = signed();
        for good in [SHA1, &sign("1999999999,janus,janus.plugin.videoroom")] {
            assert!(auth.allows(at(1_999_999_998), token(good)), "{good}");
            assert!(auth.check_plugin(at(0), Some(good), ROOM).is_ok());
            for at_byte in 0..good.len() {
                let mut bad = good.as_bytes().to_vec();
                bad[at_byte] ^= 1;
                let bad = String::from_utf8(bad).unwrap();
                assert!(!auth.allows(at(0), token(&bad)), "{bad}");
            }
        }
    }

    #[test]
    fn expiry_realm_and_form_are_checked() {
        let auth = signed();
        assert!(
            !auth.allows(at(1_999_999_999), token(SHA1)),
            "it has expired"
        );
        for (payload, passes) in [
            ("1999999999,janus", true),
            ("1999999999.9,janus", true),
            ("-1999999999,janus", false),
            (",janus", false),
            ("1999999999", false),
            ("1999999999,janus.plugin.videoroom,room=1", false),
            ("99999999999999999999,janus", false),
        ] {
            assert_eq!(
                auth.allows(at(0), token(&sign(payload))),
                passes,
                "{payload}"
            );
        }
        for text in ["", ":", "1999999999,janus:", "1999999999,janus:AAAA", "é:é"] {
            assert!(!auth.allows(at(0), token(text)), "{text}");
        }
    }

    #[test]
    fn an_admin_secret_is_needed_where_one_is_configured() {
        let auth = Auth::new(&GeneralConfig::default(), Some(&Secret::new("right")));
        assert!(auth.allows_admin(Some("right")));
        assert!(!auth.allows_admin(Some("wrong")) && !auth.allows_admin(None));
        assert!(signed().allows_admin(None));
    }

    #[test]
    fn a_masked_token_does_not_hold_the_token() {
        assert_eq!(&*masked("t"), "sha256:e3b98a4da31a127d");
    }
}
