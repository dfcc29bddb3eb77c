//! Numbers and addresses as bytes, small ones as few.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// What is read is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Seven bits a byte, the lowest first.
pub(super) fn put(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

pub(super) fn put_signed(into: &mut Vec<u8>, number: i64) {
    put(into, (number << 1 ^ number >> 63).cast_unsigned());
}

pub(super) fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    put(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

/// An address; its first byte tells the family.
pub(super) fn put_address(into: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(v4) => {
            into.push(4);
            into.extend_from_slice(&v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            into.push(6);
            into.extend_from_slice(&v6.ip().octets());
            put(into, v6.flowinfo().into());
            put(into, v6.scope_id().into());
        }
    }
    put(into, address.port().into());
}

/// An address, or that there is none.
pub(super) fn put_maybe_address(into: &mut Vec<u8>, address: Option<SocketAddr>) {
    match address {
        None => into.push(0),
        Some(address) => put_address(into, address),
    }
}

/// Takes things off the front of some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taker<'a>(pub(super) &'a [u8]);

impl<'a> Taker<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, Broken> {
        let (&byte, rest) = self.0.split_first().ok_or(Broken)?;
        self.0 = rest;
        Ok(byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, Broken> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Broken);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Broken)
    }

    /// A number of a type that is smaller.
    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Broken> {
        T::try_from(self.number()?).map_err(|_| Broken)
    }

    pub(super) fn signed(&mut self) -> Result<i64, Broken> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Broken> {
        let count = self.small()?;
        self.exactly(count)
    }

    pub(super) fn exactly(&mut self, count: usize) -> Result<&'a [u8], Broken> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Broken)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let bytes = self.exactly(N)?;
        Ok(bytes.try_into().expect("so many were asked for"))
    }

    pub(super) fn address(&mut self) -> Result<SocketAddr, Broken> {
        self.maybe_address()?.ok_or(Broken)
    }

    pub(super) fn maybe_address(&mut self) -> Result<Option<SocketAddr>, Broken> {
        let address = match self.byte()? {
            0 => return Ok(None),
            4 => {
                let ip = IpAddr::V4(Ipv4Addr::from(self.array()?));
                SocketAddr::new(ip, self.small()?)
            }
            6 => {
                let ip = Ipv6Addr::from(self.array()?);
                let (flow, scope) = (self.small()?, self.small()?);
                SocketAddrV6::new(ip, self.small()?, flow, scope).into()
            }
            _ => return Err(Broken),
        };
        Ok(Some(address))
    }
}
