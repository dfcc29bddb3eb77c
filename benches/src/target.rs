//! The server under load: its name, its address, and its process.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

/// A server, written `NAME=URL,PID`.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) url: Url,
    pub(crate) pid: u32,
}

/// The base of the API: `http://HOST:PORT/PATH`, or `ws://HOST:PORT/PATH`.
#[derive(Clone, Debug)]
pub(crate) struct Url {
    pub(crate) scheme: Scheme,
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
}

/// What requests are carried by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Ws,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(name, rest)| {
            let (url, pid) = rest.rsplit_once(',')?;
            Some((name, url, pid))
        });
        let (name, url, pid) = parts.ok_or("a server is NAME=URL,PID")?;
        Ok(Self {
            name: name.to_owned(),
            url: url.parse()?,
            pid: pid.parse().map_err(|_| format!("no process id: {pid}"))?,
        })
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let schemes = [(Scheme::Http, "http://"), (Scheme::Ws, "ws://")];
        let (scheme, rest) = schemes
            .iter()
            .find_map(|(scheme, prefix)| Some((*scheme, text.strip_prefix(prefix)?)))
            .ok_or("only http:// and ws:// can be measured")?;
        let (host, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None if scheme == Scheme::Ws => (rest, "/"),
            None => (rest, "/janus"),
        };
        let address = host
            .to_socket_addrs()
            .map_err(|error| format!("{host}: {error}; it must be HOST:PORT"))?
            .next()
            .ok_or_else(|| format!("{host} has no address"))?;
        Ok(Self {
            scheme,
            host: host.to_owned(),
            address,
            path: path.trim_end_matches('/').to_owned(),
        })
    }
}

impl Url {
    /// A complete request that sends `body` to the path below the base.
    pub(crate) fn post(&self, below: &str, body: &str) -> Vec<u8> {
        let Self { host, path, .. } = self;
        let size = body.len();
        format!(
            "POST {path}{below} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {size}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    /// A complete request for what is at the path below the base.
    pub(crate) fn get(&self, below: &str) -> Vec<u8> {
        let Self { host, path, .. } = self;
        format!("GET {path}{below} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_name_a_url_and_a_process() {
        let target: Target = "janus=http://127.0.0.1:8088/janus/,77".parse().unwrap();
        assert_eq!((target.name.as_str(), target.pid), ("janus", 77));
        assert_eq!(target.url.address.port(), 8088);
        assert!(
            target
                .url
                .get("/info")
                .starts_with(b"GET /janus/info HTTP/1.1\r\n")
        );
        let plain: Url = "http://127.0.0.1:80".parse().unwrap();
        assert_eq!(
            (plain.scheme, plain.path.as_str()),
            (Scheme::Http, "/janus")
        );
        let socket: Url = "ws://127.0.0.1:80".parse().unwrap();
        assert_eq!((socket.scheme, socket.path.as_str()), (Scheme::Ws, ""));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, named) in [
            ("janus", "NAME=URL,PID"),
            ("a=http://127.0.0.1:1/x,y", "process id"),
            ("a=https://127.0.0.1:1/x,1", "http://"),
            ("a=http://127.0.0.1/x,1", "HOST:PORT"),
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
