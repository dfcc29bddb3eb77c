//! From bytes to messages: frames put together, control frames between them, text checked.
//!
//! Invariant: what comes out does not depend on how the bytes were split. Memory grows with what
//! came and not with what was announced. After a close frame or a fault nothing more is read.

use super::close::{CloseCode, Fault};
use super::frame::{HEADER_BYTES, Header, Opcode, Side, mask_part};
use crate::mutant;

/// What the other side may send.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a message, and so of a frame.
    pub message_bytes: usize,
    /// Frames of a message.
    pub fragments_count: usize,
}

/// What came, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A message of bytes.
    Binary(Vec<u8>),
    /// The other side's last frame, with its code and reason if it gave one.
    Close(Option<(CloseCode, Box<str>)>),
    /// To be answered by a pong with the same payload.
    Ping(Vec<u8>),
    /// Answers the ping with the same payload, or nothing.
    Pong(Vec<u8>),
    /// A message of text, which is UTF-8.
    Text(Vec<u8>),
}

/// Reads the frames of one client, or of the server.
#[derive(Debug, Default)]
pub struct Reader {
    writer: Side,
    /// The header that is being read.
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The message that is being read.
    message: Option<Message>,
    /// The payload of the control frame that is being read.
    control: Vec<u8>,
    is_over: bool,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    header: Header,
    read_bytes: u64,
}

#[derive(Debug)]
struct Message {
    kind: Kind,
    bytes: Vec<u8>,
    /// So much of a text is known to be UTF-8.
    checked: usize,
    fragments: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Binary,
    Text,
}

impl Reader {
    /// A reader of what `writer` writes; that of a client is the default.
    pub fn of(writer: Side) -> Self {
        Self {
            writer,
            ..Self::default()
        }
    }

    /// Reads on. Returns how many of the bytes were used, and what is complete with them; with
    /// `None` all of them were.
    ///
    /// # Errors
    ///
    /// [`Fault`], after which nothing more is read.
    pub fn read(
        &mut self,
        bytes: &[u8],
        bounds: &Bounds,
    ) -> Result<(usize, Option<Incoming>), Fault> {
        let mut used = 0;
        while !self.is_over {
            let rest = &bytes[used..];
            let step = match self.frame {
                Some(frame) => self.read_payload(frame, rest),
                None if rest.is_empty() => return Ok((used, None)),
                None => self.read_header(rest, bounds).map(|size| (size, None)),
            };
            let (size, incoming) = step.inspect_err(|_| self.is_over = true)?;
            used += size;
            if incoming.is_some() {
                return Ok((used, incoming));
            }
            if used == bytes.len() && !self.is_frame_complete() {
                return Ok((used, None));
            }
        }
        Ok((bytes.len(), None))
    }

    /// Whether a frame of which everything came waits to be taken in; it may have no payload.
    fn is_frame_complete(&self) -> bool {
        self.frame
            .is_some_and(|frame| frame.read_bytes == frame.header.payload_bytes)
    }

    /// Reads on in a header; returns how many bytes it used.
    fn read_header(&mut self, rest: &[u8], bounds: &Bounds) -> Result<usize, Fault> {
        let before = self.header_bytes;
        let count = rest.len().min(HEADER_BYTES - before);
        self.header[before..before + count].copy_from_slice(&rest[..count]);
        let known = &self.header[..before + count];
        let Some(header) = Header::parse(known, self.writer)? else {
            self.header_bytes += count;
            return Ok(count);
        };
        self.header_bytes = 0;
        self.begin_frame(header, bounds)?;
        Ok(header.size() - before)
    }

    fn begin_frame(&mut self, header: Header, bounds: &Bounds) -> Result<(), Fault> {
        let kind = match header.opcode {
            Opcode::Binary => Some(Kind::Binary),
            Opcode::Text => Some(Kind::Text),
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => None,
        };
        if let Some(kind) = kind {
            if self.message.is_some() {
                return Err(Fault::Interleaved);
            }
            self.message = Some(Message {
                kind,
                bytes: Vec::new(),
                checked: 0,
                fragments: 0,
            });
        }
        if !header.opcode.is_control() {
            let message = self.message.as_mut().ok_or(Fault::Continuation)?;
            let room = (bounds.message_bytes - message.bytes.len()) as u64;
            if header.payload_bytes > room {
                return Err(Fault::TooBig);
            }
            message.fragments += 1;
            if message.fragments > bounds.fragments_count {
                return Err(Fault::TooManyFragments);
            }
        }
        self.frame = Some(Frame {
            header,
            read_bytes: 0,
        });
        Ok(())
    }

    fn read_payload(
        &mut self,
        frame: Frame,
        rest: &[u8],
    ) -> Result<(usize, Option<Incoming>), Fault> {
        let Frame { header, read_bytes } = frame;
        let left = usize::try_from(header.payload_bytes - read_bytes).unwrap_or(usize::MAX);
        let part = &rest[..rest.len().min(left)];
        let into = match (&mut self.message, header.opcode.is_control()) {
            (_, true) => &mut self.control,
            (Some(message), false) => &mut message.bytes,
            (None, false) => unreachable!("a data frame belongs to a message"),
        };
        let start = into.len();
        into.extend_from_slice(part);
        if let Some(mask) = header.mask {
            mask_part(&mut into[start..], mask, read_bytes);
        }
        let is_complete = part.len() == left;
        self.frame = (!is_complete).then_some(Frame {
            header,
            read_bytes: read_bytes + part.len() as u64,
        });
        let incoming = if header.opcode.is_control() {
            is_complete
                .then(|| self.end_control(header.opcode))
                .transpose()?
        } else {
            self.go_on(is_complete && (header.is_last || mutant!(WsFirstFragment)))?
        };
        Ok((part.len(), incoming))
    }

    fn end_control(&mut self, opcode: Opcode) -> Result<Incoming, Fault> {
        let payload = std::mem::take(&mut self.control);
        match opcode {
            Opcode::Close => {
                self.is_over = true;
                read_close(&payload).map(Incoming::Close)
            }
            Opcode::Ping => Ok(Incoming::Ping(payload)),
            Opcode::Pong => Ok(Incoming::Pong(payload)),
            Opcode::Binary | Opcode::Continuation | Opcode::Text => {
                unreachable!("these are no control frames")
            }
        }
    }

    /// Goes on with a message of which more came, and takes it out if that was all.
    fn go_on(&mut self, is_complete: bool) -> Result<Option<Incoming>, Fault> {
        let message = self
            .message
            .as_mut()
            .expect("a data frame belongs to a message");
        if message.kind == Kind::Text {
            message.check_text()?;
        }
        if !is_complete {
            return Ok(None);
        }
        let message = self.message.take().expect("it was just there");
        match message.kind {
            Kind::Binary => Ok(Some(Incoming::Binary(message.bytes))),
            Kind::Text if message.checked < message.bytes.len() => Err(Fault::Utf8),
            Kind::Text => Ok(Some(Incoming::Text(message.bytes))),
        }
    }
}

impl Message {
    /// Checks what was not checked yet, but for a character that may be incomplete.
    fn check_text(&mut self) -> Result<(), Fault> {
        match std::str::from_utf8(&self.bytes[self.checked..]) {
            Ok(_) => self.checked = self.bytes.len(),
            Err(error) if error.error_len().is_some() => return Err(Fault::Utf8),
            Err(error) => self.checked += error.valid_up_to(),
        }
        Ok(())
    }
}

fn read_close(payload: &[u8]) -> Result<Option<(CloseCode, Box<str>)>, Fault> {
    if payload.is_empty() {
        return Ok(None);
    }
    let (number, reason) = payload.split_first_chunk().ok_or(Fault::CloseFrame)?;
    let code = CloseCode::new(u16::from_be_bytes(*number)).ok_or(Fault::CloseFrame)?;
    let reason = std::str::from_utf8(reason).map_err(|_| Fault::Utf8)?;
    Ok(Some((code, reason.into())))
}

#[cfg(test)]
mod tests;
