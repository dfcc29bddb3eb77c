//! Why a WebSocket ends: codes of close frames, and the faults of the other side.

/// A code that a close frame may carry (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// Everything is done.
    pub const NORMAL: Self = Self(1000);
    /// The server stops.
    pub const GOING_AWAY: Self = Self(1001);
    /// The client broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// Text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// The client did what is not allowed here.
    pub const POLICY: Self = Self(1008);
    /// A message is too large.
    pub const TOO_BIG: Self = Self(1009);
    /// The server cannot go on with this client; another attempt may succeed.
    pub const TRY_AGAIN: Self = Self(1013);

    /// Reads a code. `None` for those that no frame may carry.
    pub const fn new(number: u16) -> Option<Self> {
        match number {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(number)),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// What the other side did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A close frame of one byte, or with a code that no frame may carry.
    CloseFrame,
    /// A continuation without a beginning.
    Continuation,
    /// A control frame that is fragmented, or longer than 125 bytes.
    ControlFrame,
    /// A new message before the last fragment of the one that is being read.
    Interleaved,
    /// A length that could have been written shorter, or does not fit 63 bits.
    Length,
    /// A server's frame with a mask.
    Masked,
    /// An opcode that does not exist.
    Opcode,
    /// A reserved bit; no extension is ever agreed on.
    ReservedBit,
    /// A message, or a frame of it, is too large.
    TooBig,
    /// A message in too many fragments.
    TooManyFragments,
    /// A client's frame without mask.
    Unmasked,
    /// Text that is not UTF-8.
    Utf8,
}

impl Fault {
    /// The code to close with.
    pub const fn code(self) -> CloseCode {
        match self {
            Self::CloseFrame => CloseCode::PROTOCOL,
            Self::Continuation => CloseCode::PROTOCOL,
            Self::ControlFrame => CloseCode::PROTOCOL,
            Self::Interleaved => CloseCode::PROTOCOL,
            Self::Length => CloseCode::PROTOCOL,
            Self::Masked => CloseCode::PROTOCOL,
            Self::Opcode => CloseCode::PROTOCOL,
            Self::ReservedBit => CloseCode::PROTOCOL,
            Self::TooBig => CloseCode::TOO_BIG,
            Self::TooManyFragments => CloseCode::TOO_BIG,
            Self::Unmasked => CloseCode::PROTOCOL,
            Self::Utf8 => CloseCode::INVALID_DATA,
        }
    }

    /// The reason to close with.
    pub const fn text(self) -> &'static str {
        match self {
            Self::CloseFrame => "malformed close frame",
            Self::Continuation => "continuation without a beginning",
            Self::ControlFrame => "control frame fragmented or too long",
            Self::Interleaved => "message within a message",
            Self::Length => "malformed frame length",
            Self::Masked => "frame with a mask",
            Self::Opcode => "unknown opcode",
            Self::ReservedBit => "reserved bit set",
            Self::TooBig => "message too big",
            Self::TooManyFragments => "too many fragments",
            Self::Unmasked => "frame without mask",
            Self::Utf8 => "text is not UTF-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_a_frame_may_carry() {
        let allowed = |number| CloseCode::new(number).is_some();
        for number in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3504, 4999] {
            assert!(allowed(number), "{number}");
        }
        for number in [
            0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
        ] {
            assert!(!allowed(number), "{number}");
        }
    }
}
