//! TLS between a connection and its socket.
//!
//! The connection below it knows plaintext only. What the kernel takes is ciphertext, so each
//! portion of plaintext is remembered with the place where its last record ends; it counts as
//! taken when that has been taken.
//!
//! Invariant: at most [`SEALED_BYTES`] and a handshake are encrypted ahead of the kernel.

use std::collections::VecDeque;

use crate::base::clock::Now;
use crate::base::id::ConnId;
use crate::base::outbuf::OutBuf;
use crate::config::{Config, TlsConfig};
use crate::shard::{Listener, Outbox, Shard, TcpAction};
use crate::transport::conn::Conn;
use crate::wire::tls::{Identity, Incoming, Tls, TlsFault};

/// Plaintext that may be encrypted and not taken. It bounds memory, not throughput: the kernel's
/// own buffer is larger.
const SEALED_BYTES: usize = 64 * 1024;
/// Plaintext encrypted at once: a full record.
const PORTION_BYTES: usize = 16 * 1024;
/// Room for sealed plaintext with what records add to it, for a handshake with a long chain, and
/// for answers to key updates.
const OUT_BYTES: usize = 4 * SEALED_BYTES;

/// The TLS of one connection.
#[derive(Debug)]
pub(super) struct Secured {
    tls: Tls,
    out: OutBuf,
    /// Where in the output each portion ends, and how much plaintext it is.
    portions: VecDeque<(u64, usize)>,
    /// Plaintext that is encrypted and not taken.
    sealed_bytes: usize,
    ending: Ending,
    was_handshaking: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It goes on.
    No,
    /// The sending half is to be closed when the output has been taken.
    Wanted,
    /// It has been.
    Done,
}

impl Secured {
    pub(super) fn new(identity: &Identity) -> Self {
        Self {
            tls: Tls::new(identity),
            out: OutBuf::new(OUT_BYTES),
            portions: VecDeque::new(),
            sealed_bytes: 0,
            ending: Ending::No,
            was_handshaking: true,
        }
    }

    /// Takes in ciphertext, and appends what it says to `plain`. Answers of the protocol are put
    /// out, also those to a fault.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<Incoming, TlsFault> {
        let received = self.tls.receive(bytes, plain);
        let has_room = self.tls.take_output(&mut self.out).is_ok();
        received.and_then(|incoming| has_room.then_some(incoming).ok_or(TlsFault))
    }

    /// Whether the handshake was completed since this was asked last.
    pub(super) fn take_handshaken(&mut self) -> bool {
        let is_new = self.was_handshaking && !self.tls.is_handshaking();
        self.was_handshaking &= !is_new;
        is_new
    }

    /// Encrypts what the connection has to say, as much as may be under way.
    pub(super) fn seal(&mut self, conn: &Conn) {
        while !self.tls.is_handshaking() && self.sealed_bytes < SEALED_BYTES {
            let rest = &conn.pending()[self.sealed_bytes..];
            let portion = &rest[..rest.len().min(PORTION_BYTES)];
            if portion.is_empty() {
                return;
            }
            self.tls.send(portion);
            self.tls
                .take_output(&mut self.out)
                .expect("there is room for what may be sealed");
            self.sealed_bytes += portion.len();
            let end = self.out.written_total();
            self.portions.push_back((end, portion.len()));
        }
    }

    /// The kernel took ciphertext; says how much plaintext it has taken with it.
    pub(super) fn wrote(&mut self, count: usize) -> usize {
        self.out.consume(count);
        let taken = self.out.taken_total();
        let mut plain = 0;
        while let Some(&(end, size)) = self.portions.front()
            && end <= taken
        {
            self.portions.pop_front();
            plain += size;
        }
        self.sealed_bytes -= plain;
        plain
    }

    /// What becomes of an action of the connection below.
    pub(super) fn action(&mut self, conn: &Conn, action: TcpAction) -> Option<TcpAction> {
        match action {
            TcpAction::Abort | TcpAction::Close | TcpAction::PauseRead | TcpAction::ResumeRead => {
                Some(action)
            }
            TcpAction::ShutdownWrite => {
                self.tls.send_close();
                // Without room the client learns it from the end of the stream alone.
                let _ = self.tls.take_output(&mut self.out);
                self.ending = Ending::Wanted;
                self.next_action()
            }
            TcpAction::Write => {
                self.seal(conn);
                self.next_action()
            }
        }
    }

    /// What is to be done with the socket for the output's sake.
    pub(super) fn next_action(&mut self) -> Option<TcpAction> {
        if !self.out.is_empty() {
            return Some(TcpAction::Write);
        }
        if self.ending == Ending::Wanted {
            self.ending = Ending::Done;
            return Some(TcpAction::ShutdownWrite);
        }
        None
    }

    /// Ciphertext that the kernel is to take next.
    pub(super) fn pending(&self) -> &[u8] {
        self.out.pending()
    }
}

/// What the listeners show to their clients.
#[derive(Debug, Default)]
pub(super) struct Identities {
    http: Option<Identity>,
    ws: Option<Identity>,
}

impl Identities {
    /// Reads them from the configuration, which was checked for that.
    pub(super) fn new(config: &Config) -> Self {
        let read = |tls: &TlsConfig| {
            let pem = tls.pem.as_ref()?;
            Identity::from_pem(&pem.chain, pem.key.expose()).ok()
        };
        Self {
            http: read(&config.http.tls),
            ws: read(&config.ws.tls),
        }
    }

    /// The TLS of a listener's new connection; `None` where there is none, or nothing to show.
    pub(super) fn secure(&self, listener: Listener) -> Option<Box<Secured>> {
        let identity = match listener {
            Listener::Admin | Listener::AdminWebSocket | Listener::Rest | Listener::WebSocket => {
                None
            }
            Listener::AdminTls | Listener::RestTls => self.http.as_ref(),
            Listener::AdminWebSocketTls | Listener::WebSocketTls => self.ws.as_ref(),
        };
        identity.map(|identity| Box::new(Secured::new(identity)))
    }
}

impl Shard {
    /// Takes in what came on a socket.
    pub(super) fn receive(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(conn) else {
            return;
        };
        let Some(tls) = client.tls.as_mut() else {
            self.with_client(conn, |client, shared| {
                client.conn.receive(shared, now, bytes);
            });
            return;
        };
        let mut plain = Vec::new();
        let received = tls.receive(bytes, &mut plain);
        self.metrics.tls_handshakes += u64::from(tls.take_handshaken());
        self.metrics.tls_faults += u64::from(received.is_err());
        self.with_client(conn, |client, shared| {
            if !plain.is_empty() {
                client.conn.receive(shared, now, &plain);
            }
            match received {
                Ok(Incoming::Open) => {}
                Ok(Incoming::Ended) => client.conn.eof(shared, now),
                Err(TlsFault) => client.conn.give_up(shared, now),
            }
            client.conn.offer();
        });
    }

    /// The kernel took output of a socket.
    pub(super) fn wrote(&mut self, now: Now, conn: ConnId, count: usize, out: &mut Outbox) {
        let Some(client) = self.clients.get_mut(conn) else {
            return;
        };
        let Some(tls) = client.tls.as_mut() else {
            self.with_client(conn, |client, shared| client.conn.wrote(shared, now, count));
            return;
        };
        let plain = tls.wrote(count);
        if plain > 0 {
            self.with_client(conn, |client, shared| client.conn.wrote(shared, now, plain));
        }
        if let Some(client) = self.clients.get_mut(conn)
            && let Some(tls) = client.tls.as_mut()
        {
            tls.seal(&client.conn);
            out.tcp
                .extend(tls.next_action().map(|action| (conn, action)));
        }
    }
}
