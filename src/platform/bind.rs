//! Sockets, bound before anything is served.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::host::Trouble;
use crate::config::MediaConfig;

/// Connections that wait to be accepted, a listener and shard. The kernel cuts it to its own limit
/// (`net.core.somaxconn`, 4,096 by default).
const BACKLOG: i32 = 8_192;

/// What the kernel may hold of a socket for datagrams: 4 MiB are 30 ms at 1 Gbit/s. The kernel
/// cuts it to its own limit (`net.core.rmem_max`).
const UDP_BUFFER_BYTES: usize = 4 << 20;

/// Binds one socket per shard to an address; the kernel spreads connections over them. They
/// listen once [`listen`] is called.
///
/// # Errors
///
/// When the address is not ours, or somebody else listens there.
pub(super) fn tcp(address: SocketAddr, shards: u8) -> Result<Vec<Socket>, Trouble> {
    let trouble = |error: io::Error| match Errno::from_io_error(&error) {
        Some(Errno::ADDRINUSE) => Trouble::new(format!(
            "{address} (TCP) is taken: stop what listens there, or configure another port"
        )),
        Some(Errno::ADDRNOTAVAIL) => Trouble::new(format!(
            "{address} (TCP) is not an address of this host: configure one that is"
        )),
        Some(Errno::ACCESS) => Trouble::new(format!(
            "{address} (TCP) is not allowed: configure a port above 1023"
        )),
        _ => Trouble::new(format!("{address} (TCP): {error}")),
    };
    // A port that is shared between sockets of one user would be shared with another gateway of
    // that user too. Binding once without sharing finds out.
    let mut address = match tcp_socket(address, Sharing::No) {
        Ok(_) => address,
        Err(error) if is_without_ipv6(address, &error) => {
            let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
            tcp_socket(v4, Sharing::No).map_err(trouble)?;
            v4
        }
        Err(error) => return Err(trouble(error)),
    };
    let mut sockets = Vec::new();
    for _ in 0..shards {
        let socket = tcp_socket(address, Sharing::Yes).map_err(trouble)?;
        // A port that the kernel chose for the first holds for all.
        address = local_address(&socket).map_err(trouble)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Begins to listen on a socket of [`tcp`].
///
/// # Errors
///
/// When somebody else began first.
pub(super) fn listen(socket: &Socket) -> Result<(), Trouble> {
    socket
        .listen(BACKLOG)
        .map_err(|error| Trouble::new(format!("cannot listen: {error}")))
}

/// Binds the media socket of one shard and address.
///
/// # Errors
///
/// When the port is taken or beyond the configured range.
pub(super) fn udp(config: &MediaConfig, address: IpAddr, shard: u8) -> Result<Socket, Trouble> {
    let port = match config.port_base {
        Some(base) => base
            .checked_add(u16::from(shard))
            .filter(|port| config.port_last.is_none_or(|last| *port <= last))
            .ok_or_else(|| {
                Trouble::new(format!(
                    "shard {shard} has no media port: begin the port range lower or end it higher"
                ))
            })?,
        None => 0,
    };
    let address = SocketAddr::new(address, port);
    udp_socket(address).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::ADDRINUSE) => Trouble::new(format!(
            "{address} (UDP) is taken: stop what uses it, or configure another media port"
        )),
        Some(Errno::ADDRNOTAVAIL) => Trouble::new(format!(
            "{address} (UDP) is not an address of this host: configure one that is for media"
        )),
        _ => Trouble::new(format!("{address} (UDP): {error}")),
    })
}

/// Binds a socket for plain RTP, and says where.
///
/// # Errors
///
/// When the port is taken, the address is not ours, or there are no descriptors left.
pub(super) fn plain(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let socket = udp_socket(address)?;
    let bound = local_address(&socket)?;
    Ok((socket, bound))
}

/// The address that a socket has got.
///
/// # Errors
///
/// Never for a bound socket.
pub(super) fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("not an internet socket"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    No,
    Yes,
}

fn tcp_socket(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // `[::]` is every address of both families, whatever the host's default.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    if sharing == Sharing::Yes {
        socket.set_reuse_port(true)?;
    }
    // Accepted connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn udp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(UDP_BUFFER_BYTES)?;
    socket.set_send_buffer_size(UDP_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Whether every address of both families was asked for on a host that has one family.
fn is_without_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    let refused = matches!(
        Errno::from_io_error(error),
        Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT)
    );
    address.is_ipv6() && address.ip().is_unspecified() && refused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
    }

    #[test]
    fn the_sockets_of_all_shards_have_one_address() {
        let sockets = tcp(loopback(0), 3).unwrap();
        let ports: Vec<_> = sockets.iter().map(|s| local_address(s).unwrap()).collect();
        assert_eq!(ports, [ports[0]; 3]);
        assert_ne!(ports[0].port(), 0);
    }

    #[test]
    fn every_address_of_both_families_is_one_listener() {
        use std::net::{Ipv6Addr, TcpStream};
        let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
        let sockets = tcp(any, 1).unwrap();
        listen(&sockets[0]).unwrap();
        let bound = local_address(&sockets[0]).unwrap();
        TcpStream::connect(loopback(bound.port())).unwrap();
        if bound.is_ipv4() {
            eprintln!("skipped: this host has no IPv6");
            return;
        }
        TcpStream::connect((Ipv6Addr::LOCALHOST, bound.port())).unwrap();
    }

    #[test]
    fn a_host_without_ipv6_gets_every_address_that_it_has() {
        let refused = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].map(io::Error::from);
        for (address, wanted) in [
            ("[::]:80", true),
            ("[::1]:80", false),
            ("0.0.0.0:80", false),
        ] {
            let address = address.parse().unwrap();
            for error in &refused {
                assert_eq!(is_without_ipv6(address, error), wanted, "{address} {error}");
            }
            assert!(!is_without_ipv6(address, &Errno::ADDRINUSE.into()));
        }
    }

    #[test]
    fn a_port_that_another_process_shares_is_taken_all_the_same() {
        let other = tcp(loopback(0), 1).unwrap();
        listen(&other[0]).unwrap();
        let address = local_address(&other[0]).unwrap();
        let trouble = tcp(address, 1).unwrap_err().to_string();
        assert!(trouble.contains("is taken"), "{trouble}");
    }

    #[test]
    fn a_media_port_beyond_the_range_is_refused() {
        let config = MediaConfig {
            port_base: Some(40_000),
            port_last: Some(40_001),
            ..MediaConfig::default()
        };
        assert!(udp(&config, loopback(0).ip(), 2).is_err());
    }

    #[test]
    fn a_taken_media_port_is_refused() {
        let first = udp(&MediaConfig::default(), loopback(0).ip(), 0).unwrap();
        let config = MediaConfig {
            port_base: Some(local_address(&first).unwrap().port()),
            ..MediaConfig::default()
        };
        let trouble = udp(&config, loopback(0).ip(), 0).unwrap_err().to_string();
        assert!(trouble.contains("is taken"), "{trouble}");
    }
}
