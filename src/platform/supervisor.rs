//! What the process tells the service manager that started it, if one did.
//!
//! The protocol is that of `sd_notify(3)`: datagrams with `NAME=value` lines to the socket that
//! `NOTIFY_SOCKET` names.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The way to the service manager.
#[derive(Debug, Default)]
pub(super) struct Supervisor(Option<(UnixDatagram, SocketAddr)>);

/// What it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// All listeners are open.
    Ready,
    /// The process ends soon.
    Stopping,
    /// All shards take their turns.
    Well,
}

impl Supervisor {
    /// The one that the environment names. One that cannot be reached is none.
    pub(super) fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else {
            return Self::default();
        };
        match Self::at(name.as_encoded_bytes()) {
            Ok(supervisor) => supervisor,
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told anything");
                Self::default()
            }
        }
    }

    fn at(name: &[u8]) -> io::Result<Self> {
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(String::from_utf8_lossy(name).as_ref())?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self(Some((socket, address))))
    }

    /// Tells it something. What it does not take is lost, and said again by what follows.
    pub(super) fn tell(&self, state: State) {
        let text: &[u8] = match state {
            State::Ready => b"READY=1\n",
            State::Stopping => b"STOPPING=1\n",
            State::Well => b"WATCHDOG=1\n",
        };
        if let Some((socket, address)) = &self.0 {
            let _ = socket.send_to_addr(text, address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_hears_what_it_is_told() {
        let name = format!("bifrons-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let supervisor = Supervisor::at(format!("@{name}").as_bytes()).unwrap();
        for (state, wanted) in [
            (State::Ready, "READY=1\n"),
            (State::Well, "WATCHDOG=1\n"),
            (State::Stopping, "STOPPING=1\n"),
        ] {
            supervisor.tell(state);
            let mut got = [0; 64];
            let size = manager.recv(&mut got).unwrap();
            assert_eq!(&got[..size], wanted.as_bytes());
        }
    }

    #[test]
    fn without_one_nothing_happens() {
        Supervisor::default().tell(State::Ready);
    }
}
