//! WebSocket frames (RFC 6455) as clients write them, and a strict reader for either direction,
//! sharing nothing with the gateway's codec.
//!
//! Invariant: what a lenient reader would repair is an error here: lengths that are not minimal,
//! masks where there must be none, fragments out of order, text that is no UTF-8, anything after
//! a close.

/// Who wrote the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A client: every frame is masked.
    Client,
    /// A server: none is.
    Server,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The end of the connection.
    Close = 8,
    /// A further part of a message.
    Continuation = 0,
    /// A question whether the other side is there.
    Ping = 9,
    /// The answer to it.
    Pong = 10,
    /// A text, or its first part.
    Text = 1,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A close frame, with its code if it has one.
    Close(Option<u16>),
    /// A ping and what it carries.
    Ping(Vec<u8>),
    /// A pong and what it carries.
    Pong(Vec<u8>),
    /// A whole message.
    Text(String),
}

/// A frame on the wire, masked if it comes from a client.
pub fn frame(opcode: Opcode, is_last: bool, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = vec![opcode as u8 | if is_last { 0x80 } else { 0 }];
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..=125 => bytes.push(masked | length as u8),
        length @ 126..=65_535 => {
            bytes.push(masked | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(masked | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = mask.inspect(|mask| bytes.extend_from_slice(mask));
    let mask = mask.unwrap_or_default();
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}

/// Takes bytes in any portions and gives out what is whole in them.
#[derive(Debug)]
pub struct FrameReader {
    writer: Writer,
    bytes: Vec<u8>,
    /// The parts of a message so far.
    message: Option<Vec<u8>>,
    is_closed: bool,
}

struct Frame {
    opcode: u8,
    is_last: bool,
    payload: Vec<u8>,
    size: usize,
}

impl FrameReader {
    /// A reader of what `writer` wrote.
    pub const fn new(writer: Writer) -> Self {
        Self {
            writer,
            bytes: Vec::new(),
            message: None,
            is_closed: false,
        }
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next item, if enough bytes are there.
    ///
    /// # Errors
    ///
    /// When the bytes are no strict frames. The reader is of no use after it.
    pub fn item(&mut self) -> Result<Option<Item>, &'static str> {
        while let Some(frame) = self.frame()? {
            self.bytes.drain(..frame.size);
            if let Some(item) = self.take(frame)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// Whether a frame or a message has begun and not ended.
    pub fn is_inside(&self) -> bool {
        !self.bytes.is_empty() || self.message.is_some()
    }

    fn frame(&self) -> Result<Option<Frame>, &'static str> {
        let [first, second, rest @ ..] = &self.bytes[..] else {
            return Ok(None);
        };
        if self.is_closed {
            return Err("a frame after the close");
        }
        if first & 0x70 != 0 {
            return Err("a reserved bit");
        }
        let is_masked = second & 0x80 != 0;
        if is_masked != (self.writer == Writer::Client) {
            return Err("a mask that must not be, or none that must");
        }
        let (length, used) = match second & 0x7f {
            126 => match rest.first_chunk() {
                None => return Ok(None),
                Some(bytes) if u16::from_be_bytes(*bytes) < 126 => {
                    return Err("a length that is not minimal");
                }
                Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2),
            },
            127 => match rest.first_chunk() {
                None => return Ok(None),
                Some(bytes) if u64::from_be_bytes(*bytes) < 65_536 => {
                    return Err("a length that is not minimal");
                }
                Some(bytes) => (u64::from_be_bytes(*bytes), 8),
            },
            short => (u64::from(short), 0),
        };
        let length = usize::try_from(length).map_err(|_| "a length beyond memory")?;
        let (mask, used) = if is_masked {
            match rest[used..].first_chunk::<4>() {
                None => return Ok(None),
                Some(mask) => (*mask, used + 4),
            }
        } else {
            ([0; 4], used)
        };
        let Some(payload) = rest.get(used..used + length) else {
            return Ok(None);
        };
        let payload = payload.iter().zip(mask.iter().cycle());
        Ok(Some(Frame {
            opcode: first & 0x0f,
            is_last: first & 0x80 != 0,
            payload: payload.map(|(b, m)| b ^ m).collect(),
            size: 2 + used + length,
        }))
    }

    fn take(&mut self, frame: Frame) -> Result<Option<Item>, &'static str> {
        let Frame {
            opcode,
            is_last,
            payload,
            ..
        } = frame;
        if opcode >= 8 && (!is_last || payload.len() > 125) {
            return Err("a control frame in parts, or too long");
        }
        match (opcode, self.message.is_some()) {
            (1, false) => self.message = Some(payload),
            (0, true) => self.message.as_mut().expect("it is there").extend(payload),
            (0 | 1, _) => return Err("a fragment out of order"),
            (8, _) => {
                self.is_closed = true;
                return close(&payload).map(|code| Some(Item::Close(code)));
            }
            (9, _) => return Ok(Some(Item::Ping(payload))),
            (10, _) => return Ok(Some(Item::Pong(payload))),
            _ => return Err("an unknown opcode"),
        }
        if !is_last {
            return Ok(None);
        }
        let bytes = self.message.take().expect("it was just there");
        let text = String::from_utf8(bytes).map_err(|_| "text that is no UTF-8")?;
        Ok(Some(Item::Text(text)))
    }
}

fn close(payload: &[u8]) -> Result<Option<u16>, &'static str> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err("half a close code")
        };
    };
    let code = u16::from_be_bytes(*code);
    let is_known = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if !is_known || std::str::from_utf8(reason).is_err() {
        return Err("a close code or reason that must not be");
    }
    Ok(Some(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    #[test]
    fn what_is_written_is_read_at_any_split() {
        let long = "x".repeat(70_000);
        let bytes = [
            frame(Opcode::Text, false, b"{\"a\"", Some(MASK)),
            frame(Opcode::Ping, true, b"p", Some(MASK)),
            frame(Opcode::Continuation, true, b":1}", Some(MASK)),
            frame(Opcode::Text, true, &[b'y'; 126], Some(MASK)),
            frame(Opcode::Text, true, long.as_bytes(), Some(MASK)),
            frame(Opcode::Close, true, &1000_u16.to_be_bytes(), Some(MASK)),
        ]
        .concat();
        for step in [1, 2, 3, 7, 1_000, bytes.len()] {
            let mut reader = FrameReader::new(Writer::Client);
            let mut items = Vec::new();
            for portion in bytes.chunks(step) {
                reader.push(portion);
                while let Some(item) = reader.item().expect("they are strict") {
                    items.push(item);
                }
            }
            let wanted = [
                Item::Ping(b"p".to_vec()),
                Item::Text("{\"a\":1}".to_owned()),
                Item::Text("y".repeat(126)),
                Item::Text(long.clone()),
                Item::Close(Some(1000)),
            ];
            assert_eq!(items, wanted);
            assert!(!reader.is_inside());
        }
    }

    #[test]
    fn each_looseness_is_an_error() {
        let cases: [&[u8]; 9] = [
            &[0x81, 0x81, 0, 0, 0, 0, b'x'],
            &[0xc1, 0x01, b'x'],
            &[0x81, 126, 0, 1, b'x'],
            &[0x81, 127, 0, 0, 0, 0, 0, 0, 0, 1, b'x'],
            &[0x09, 0x00],
            &[0x80, 0x01, b'x'],
            &[0x01, 0x01, b'x', 0x01, 0x01, b'x'],
            &[0x81, 0x01, 0xff],
            &[0x88, 0x02, 0x03, 0xed],
        ];
        for case in cases {
            let mut reader = FrameReader::new(Writer::Server);
            reader.push(case);
            let mut outcome = reader.item();
            while let Ok(Some(_)) = outcome {
                outcome = reader.item();
            }
            assert!(outcome.is_err(), "{case:?}");
        }
    }
}
