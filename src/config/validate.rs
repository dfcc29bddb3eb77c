//! Checks between settings, which no single key can make.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::schema::{Config, MediaConfig, TokenAuth};
use super::tree::ConfigError;
use super::value::Secret;

/// Shortest admin secret that may be used on an address that others can reach.
const SECRET_BYTES_MIN: usize = 16;
/// The secret of Janus' sample files, which is long enough in no case but known in every.
const SECRETS_KNOWN: [&str; 2] = ["janusoverlord", "janusrocks"];
/// Reverse proxies give up on an answer after 60 s.
const POLL_TIMEOUT_MAX: Duration = Duration::from_secs(60);

impl Config {
    /// Checks what settings mean together. The readers of files have done it already; whoever
    /// changes a field afterwards should do it again.
    ///
    /// # Errors
    ///
    /// Names the setting, by its name in TOML, and what to do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !self.http.enabled && !self.ws.enabled {
            return fail("http.enabled", "must not be off together with ws.enabled");
        }
        self.check_listeners()?;
        self.check_admin()?;
        self.check_tls()?;
        if self.events.post.enabled && self.events.post.backend.is_none() {
            return fail(
                "events.post.backend",
                "must name the server to post events to",
            );
        }
        if self.events.ws.enabled && self.events.ws.backend.is_none() {
            return fail(
                "events.ws.backend",
                "must name the server to send events to",
            );
        }
        self.media.check(self.shards.unwrap_or(1))?;
        if self.limits.poll_timeout > POLL_TIMEOUT_MAX {
            return fail(
                "limits.poll_timeout",
                "must be at most 60 s: proxies do not wait longer",
            );
        }
        if self.limits.session_events_bytes < self.limits.transaction_bytes {
            return fail(
                "limits.session_events_bytes",
                "must hold at least one event",
            );
        }
        Ok(())
    }

    fn check_listeners(&self) -> Result<(), ConfigError> {
        let listeners = [
            ("http.bind", self.http.enabled, &self.http.bind),
            ("admin.bind", self.admin.enabled, &self.admin.bind),
            ("ws.bind", self.ws.enabled, &self.ws.bind),
            ("ws.admin_bind", true, &self.ws.admin_bind),
            (
                "http.secure_bind",
                self.http.enabled,
                &self.http.secure_bind,
            ),
            (
                "admin.secure_bind",
                self.admin.enabled,
                &self.admin.secure_bind,
            ),
            ("ws.secure_bind", self.ws.enabled, &self.ws.secure_bind),
            ("ws.admin_secure_bind", true, &self.ws.admin_secure_bind),
        ];
        let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
        for (key, enabled, binds) in listeners {
            let is_optional = match key {
                "http.bind" => !self.http.secure_bind.is_empty(),
                "admin.bind" => !self.admin.secure_bind.is_empty(),
                "ws.bind" => !self.ws.secure_bind.is_empty(),
                _ => true,
            };
            if enabled && binds.is_empty() && !is_optional {
                return fail(key, "must name an address to listen on");
            }
            for bind in binds.iter().filter(|_| enabled) {
                if let Some((other, _)) = taken.iter().find(|(_, other)| collide(*other, *bind)) {
                    return fail(key, format!("{bind} is taken by {other}"));
                }
                taken.push((key, *bind));
            }
        }
        Ok(())
    }

    fn check_tls(&self) -> Result<(), ConfigError> {
        let http = self.http.enabled && !self.http.secure_bind.is_empty()
            || self.admin.enabled && !self.admin.secure_bind.is_empty();
        let ws = self.ws.enabled && !self.ws.secure_bind.is_empty()
            || !self.ws.admin_secure_bind.is_empty();
        for (is_wanted, tls, cert, key) in [
            (http, &self.http.tls, "http.cert_pem", "http.cert_key"),
            (ws, &self.ws.tls, "ws.cert_pem", "ws.cert_key"),
        ] {
            match (&tls.cert, &tls.key) {
                (None, None) if is_wanted => return fail(cert, "must be given for TLS"),
                (Some(_), None) => return fail(key, format!("must be given beside {cert}")),
                (None, Some(_)) => return fail(cert, format!("must be given beside {key}")),
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        Ok(())
    }

    fn check_admin(&self) -> Result<(), ConfigError> {
        let binds = [
            ("admin.bind", self.admin.enabled, &self.admin.bind),
            (
                "admin.secure_bind",
                self.admin.enabled,
                &self.admin.secure_bind,
            ),
            ("ws.admin_bind", true, &self.ws.admin_bind),
            ("ws.admin_secure_bind", true, &self.ws.admin_secure_bind),
        ];
        if self.general.token_auth == TokenAuth::Stored
            && !self.admin.enabled
            && self.ws.admin_bind.is_empty()
            && self.ws.admin_secure_bind.is_empty()
        {
            return fail(
                "general.token_auth",
                "needs the Admin API, which hands out the tokens: switch that on, or set \
                 token_auth_secret for signed tokens",
            );
        }
        for (key, enabled, binds) in binds {
            let open = |bind: &&SocketAddr| !bind.ip().to_canonical().is_loopback();
            let Some(bind) = binds.iter().filter(|_| enabled).find(open) else {
                continue;
            };
            let is_safe = |secret: &Secret| {
                let secret = secret.expose();
                secret.len() >= SECRET_BYTES_MIN && !SECRETS_KNOWN.contains(&secret)
            };
            if !self.admin.secret.as_ref().is_some_and(is_safe) {
                let message = format!(
                    "{bind} can be reached from elsewhere, so the admin secret must be at least \
                     {SECRET_BYTES_MIN} bytes and not that of a sample; set one, or listen on \
                     127.0.0.1"
                );
                return fail(key, message);
            }
        }
        Ok(())
    }
}

impl MediaConfig {
    /// Checks that each of `shards` has a port, and what else the section says.
    ///
    /// # Errors
    ///
    /// Names the setting, by its name in TOML.
    pub fn check(&self, shards: u8) -> Result<(), ConfigError> {
        if let Some(base) = self.port_base {
            let last = self.port_last.unwrap_or(u16::MAX);
            let needed = u32::from(base) + u32::from(shards.max(1)) - 1;
            if needed > u32::from(last) {
                let message = format!(
                    "{shards} shards need the ports {base} to {needed}, but {last} is the last; \
                     begin lower or use fewer shards"
                );
                return fail("media.port_base", message);
            }
        }
        match (&self.dtls_cert, &self.dtls_key) {
            (Some(_), None) => fail("media.dtls_cert", "needs media.dtls_key beside it"),
            (None, Some(_)) => fail("media.dtls_key", "needs media.dtls_cert beside it"),
            (Some(_), Some(_)) | (None, None) => Ok(()),
        }
    }

    /// Returns the UDP port of a shard; zero is any free one.
    ///
    /// # Panics
    ///
    /// When [`check`](Self::check) was not asked about that many shards.
    pub fn port_of(&self, shard: u8) -> u16 {
        let port = |base: u16| {
            base.checked_add(u16::from(shard))
                .expect("checked at the start")
        };
        self.port_base.map_or(0, port)
    }
}

/// Two sockets cannot have these addresses; port 0 never collides.
fn collide(one: SocketAddr, two: SocketAddr) -> bool {
    let (a, b) = (one.ip(), two.ip());
    let is_both_families = |ip: IpAddr| ip.is_ipv6() && ip.is_unspecified();
    let overlap = match a.is_ipv4() == b.is_ipv4() {
        true => a == b || a.is_unspecified() || b.is_unspecified(),
        false => is_both_families(a) || is_both_families(b),
    };
    one.port() != 0 && one.port() == two.port() && overlap
}

fn fail(key: &str, message: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError {
        at: None,
        key: key.to_owned(),
        message: message.into(),
    })
}
