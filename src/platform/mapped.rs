//! This host's address as a STUN server sees it. Blocks, so it belongs on a thread of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::Clocks;
use crate::base::clock::Monotonic;
use crate::wire::stun;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The wait after the first request; it doubles with each (RFC 8489 section 6.2.1).
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Asks `server` from `local_port`, or from any if it is zero.
pub(super) fn mapped_address(server: SocketAddr, local_port: u16) -> io::Result<SocketAddr> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, local_port))?;
    // Only the server's datagrams are let in.
    socket.connect(server)?;
    let mut transaction = [0; 12];
    rustix::rand::getrandom(&mut transaction, rustix::rand::GetRandomFlags::empty())?;
    let request = stun::binding_request(transaction);
    let clocks = Clocks::default();
    let now = || clocks.monotonic();
    let end = now() + PATIENCE;
    let mut wait = FIRST_WAIT;
    loop {
        socket.send(&request)?;
        if let Some(address) = answer(&socket, transaction, &now, end.min(now() + wait))? {
            return Ok(address);
        }
        if now() >= end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        wait *= 2;
    }
}

/// Waits for the answer until a time.
fn answer(
    socket: &UdpSocket,
    transaction: [u8; 12],
    now: &dyn Fn() -> Monotonic,
    until: Monotonic,
) -> io::Result<Option<SocketAddr>> {
    let mut datagram = [0; 1_500];
    loop {
        let left = until.saturating_since(now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut datagram) {
            Ok(size) => {
                if let Some(address) = stun::peek_mapped(&datagram[..size], transaction) {
                    return Ok(Some(address));
                }
            }
            Err(error) if is_no_answer(error.kind()) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

const fn is_no_answer(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// A server that ignores the first request, and answers the second with the address that it
    /// came from, after an answer to somebody else.
    fn serve(socket: &UdpSocket) {
        let mut request = [0; 100];
        socket.recv_from(&mut request).unwrap();
        let (size, from) = socket.recv_from(&mut request).unwrap();
        assert_eq!(size, 20);
        let transaction: [u8; 12] = request[8..20].try_into().unwrap();
        for transaction in [[0; 12], transaction] {
            let mut answer = vec![1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42];
            answer.extend_from_slice(&transaction);
            answer.extend_from_slice(&[0, 0x20, 0, 8, 0, 1]);
            answer.extend_from_slice(&(from.port() ^ 0x2112).to_be_bytes());
            let IpAddr::V4(address) = from.ip() else {
                unreachable!()
            };
            answer.extend_from_slice(&(address.to_bits() ^ 0x2112_a442).to_be_bytes());
            socket.send_to(&answer, from).unwrap();
        }
    }

    #[test]
    fn a_server_is_asked_again_until_it_answers() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let serving = thread::Builder::new()
            .spawn(move || serve(&server))
            .unwrap();
        let mapped = mapped_address(address, 0).unwrap();
        serving.join().unwrap();
        assert_eq!(mapped.ip(), address.ip());
        assert!(mapped.port() != 0 && mapped.port() != address.port());
    }
}
