//! Request bodies by length or by chunks (RFC 9112 §6 and §7.1).
//!
//! Invariant: the result does not depend on how the bytes were split. Sizes are added with
//! checks, and a size that is too large is refused before a byte of it is read.

use crate::base::limits::Limits;
use crate::wire::http::field;
use crate::wire::http::request::BodyLength;
use crate::wire::http::status::Refusal;

/// Whether a body is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyProgress {
    /// It is, after so many bytes of this input.
    Complete(usize),
    /// All input belonged to it.
    Partial,
}

/// Reads one body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyReader {
    state: State,
    /// Payload that chunk sizes announced so far.
    announced: u64,
    /// Bytes of this chunk's extensions, and of all chunks'.
    extension_bytes: usize,
    extensions_bytes: usize,
    trailer_bytes: usize,
    trailers_count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Chunk { left: u64 },
    Complete,
    Framing(Framing),
    Length { left: u64 },
}

/// What comes next between two pieces of payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    ChunkSize { size: u64, digits: u8 },
    ChunkSizeLf { size: u64 },
    DataCr,
    DataLf,
    Extension { size: u64, at: Extension },
    LastLf,
    TrailerLf,
    TrailerName,
    TrailerStart,
    TrailerValue,
}

/// Where in `*( ";" BWS name [ BWS "=" BWS value ] )`, RFC 9112 §7.1.1. Blanks in front of the
/// first `;` and at the end of the line are not of the grammar here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    AfterName,
    AfterQuoted,
    AfterValue,
    BeforeName,
    BeforeValue,
    Name,
    Quoted,
    QuotedPair,
    Value,
}

const SIZE_START: Framing = Framing::ChunkSize { size: 0, digits: 0 };
/// Most digits of a chunk size; they fill a `u64`.
const SIZE_DIGITS: u8 = 16;

impl BodyReader {
    /// Begins a body.
    ///
    /// # Errors
    ///
    /// [`Refusal::BodyTooLarge`] when its length is known and larger than allowed.
    pub fn new(length: BodyLength, limits: &Limits) -> Result<Self, Refusal> {
        let state = match length {
            BodyLength::Chunked => State::Framing(SIZE_START),
            BodyLength::Length(0) => State::Complete,
            BodyLength::Length(left) if left > limits.body_bytes as u64 => {
                return Err(Refusal::BodyTooLarge);
            }
            BodyLength::Length(left) => State::Length { left },
            BodyLength::None => State::Complete,
        };
        Ok(Self {
            state,
            announced: 0,
            extension_bytes: 0,
            extensions_bytes: 0,
            trailer_bytes: 0,
            trailers_count: 0,
        })
    }

    /// Goes on with the body: appends payload to `body` until the body or the input ends.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when the body is malformed or too large. The reader is of no more use then.
    pub fn read(
        &mut self,
        input: &[u8],
        limits: &Limits,
        body: &mut Vec<u8>,
    ) -> Result<BodyProgress, Refusal> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            match self.state {
                State::Complete => return Ok(BodyProgress::Complete(used)),
                State::Chunk { .. } | State::Framing(_) | State::Length { .. }
                    if rest.is_empty() =>
                {
                    return Ok(BodyProgress::Partial);
                }
                State::Chunk { left } => {
                    let left = copy(rest, left, body, &mut used);
                    self.state = if left == 0 {
                        State::Framing(Framing::DataCr)
                    } else {
                        State::Chunk { left }
                    };
                }
                State::Framing(framing) => {
                    self.state = self.step(framing, rest[0], limits)?;
                    used += 1;
                }
                State::Length { left } => {
                    let left = copy(rest, left, body, &mut used);
                    self.state = if left == 0 {
                        State::Complete
                    } else {
                        State::Length { left }
                    };
                }
            }
        }
    }

    /// Whether nothing more belongs to the body.
    pub const fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    fn step(&mut self, framing: Framing, byte: u8, limits: &Limits) -> Result<State, Refusal> {
        let next = match framing {
            Framing::ChunkSize { size, digits } => self.step_size(size, digits, byte, limits)?,
            Framing::ChunkSizeLf { size } => {
                expect(byte, b'\n', Refusal::Chunk)?;
                return self.begin_chunk(size);
            }
            Framing::DataCr => {
                expect(byte, b'\r', Refusal::Chunk)?;
                Framing::DataLf
            }
            Framing::DataLf => {
                expect(byte, b'\n', Refusal::Chunk)?;
                SIZE_START
            }
            Framing::Extension { size, at } => self.step_extension(size, at, byte, limits)?,
            Framing::LastLf => {
                expect(byte, b'\n', Refusal::Trailer)?;
                return Ok(State::Complete);
            }
            Framing::TrailerLf
            | Framing::TrailerName
            | Framing::TrailerStart
            | Framing::TrailerValue => self.step_trailer(framing, byte, limits)?,
        };
        Ok(State::Framing(next))
    }

    fn begin_chunk(&mut self, size: u64) -> Result<State, Refusal> {
        Ok(if size == 0 {
            State::Framing(Framing::TrailerStart)
        } else {
            State::Chunk { left: size }
        })
    }

    fn step_size(
        &mut self,
        size: u64,
        digits: u8,
        byte: u8,
        limits: &Limits,
    ) -> Result<Framing, Refusal> {
        if let Some(digit) = (byte as char).to_digit(16) {
            if digits == SIZE_DIGITS {
                return Err(Refusal::Chunk);
            }
            return Ok(Framing::ChunkSize {
                size: size << 4 | u64::from(digit),
                digits: digits + 1,
            });
        }
        if digits == 0 || !matches!(byte, b'\r' | b';') {
            return Err(Refusal::Chunk);
        }
        self.announced = self
            .announced
            .checked_add(size)
            .filter(|&sum| sum <= limits.body_bytes as u64)
            .ok_or(Refusal::BodyTooLarge)?;
        self.extension_bytes = 0;
        self.end_size_or_extend(size, byte, limits)
    }

    /// After a size or a complete extension: the end of the line, or one more extension.
    fn end_size_or_extend(
        &mut self,
        size: u64,
        byte: u8,
        limits: &Limits,
    ) -> Result<Framing, Refusal> {
        match byte {
            b'\r' => Ok(Framing::ChunkSizeLf { size }),
            b';' => {
                self.count_extension_byte(limits)?;
                let at = Extension::BeforeName;
                Ok(Framing::Extension { size, at })
            }
            _ => Err(Refusal::Chunk),
        }
    }

    fn step_extension(
        &mut self,
        size: u64,
        at: Extension,
        byte: u8,
        limits: &Limits,
    ) -> Result<Framing, Refusal> {
        let blank = matches!(byte, b' ' | b'\t');
        let token = field::is_token_byte(byte);
        let next = match at {
            Extension::AfterName if blank => Extension::AfterName,
            Extension::AfterName if byte == b'=' => Extension::BeforeValue,
            Extension::AfterName if byte == b';' => Extension::BeforeName,
            Extension::AfterName => return Err(Refusal::Chunk),
            Extension::AfterQuoted if blank => Extension::AfterValue,
            Extension::AfterQuoted => return self.end_size_or_extend(size, byte, limits),
            Extension::AfterValue if blank => Extension::AfterValue,
            Extension::AfterValue if byte == b';' => Extension::BeforeName,
            Extension::AfterValue => return Err(Refusal::Chunk),
            Extension::BeforeName if blank => Extension::BeforeName,
            Extension::BeforeName if token => Extension::Name,
            Extension::BeforeName => return Err(Refusal::Chunk),
            Extension::BeforeValue if blank => Extension::BeforeValue,
            Extension::BeforeValue if byte == b'"' => Extension::Quoted,
            Extension::BeforeValue if token => Extension::Value,
            Extension::BeforeValue => return Err(Refusal::Chunk),
            Extension::Name if token => Extension::Name,
            Extension::Name if blank => Extension::AfterName,
            Extension::Name if byte == b'=' => Extension::BeforeValue,
            Extension::Name => return self.end_size_or_extend(size, byte, limits),
            Extension::Quoted if byte == b'"' => Extension::AfterQuoted,
            Extension::Quoted if byte == b'\\' => Extension::QuotedPair,
            Extension::Quoted if field::is_text_byte(byte) => Extension::Quoted,
            Extension::Quoted => return Err(Refusal::Chunk),
            Extension::QuotedPair if field::is_text_byte(byte) => Extension::Quoted,
            Extension::QuotedPair => return Err(Refusal::Chunk),
            Extension::Value if token => Extension::Value,
            Extension::Value if blank => Extension::AfterValue,
            Extension::Value => return self.end_size_or_extend(size, byte, limits),
        };
        self.count_extension_byte(limits)?;
        Ok(Framing::Extension { size, at: next })
    }

    fn count_extension_byte(&mut self, limits: &Limits) -> Result<(), Refusal> {
        self.extension_bytes += 1;
        self.extensions_bytes += 1;
        let fits = self.extension_bytes <= limits.chunk_extension_bytes
            && self.extensions_bytes <= limits.chunk_extensions_message_bytes;
        fits.then_some(()).ok_or(Refusal::Chunk)
    }

    /// Trailer fields are checked and dropped: nothing here needs one (RFC 9112 §7.1.2).
    fn step_trailer(&mut self, at: Framing, byte: u8, limits: &Limits) -> Result<Framing, Refusal> {
        if at == Framing::TrailerStart && byte == b'\r' {
            return Ok(Framing::LastLf);
        }
        self.trailer_bytes += 1;
        if at == Framing::TrailerStart {
            self.trailers_count += 1;
        }
        if self.trailer_bytes > limits.trailer_bytes
            || self.trailers_count > limits.trailer_fields_count
        {
            return Err(Refusal::TrailersTooLarge);
        }
        let in_name = matches!(at, Framing::TrailerStart | Framing::TrailerName);
        if in_name && field::is_token_byte(byte) {
            Ok(Framing::TrailerName)
        } else if at == Framing::TrailerName && byte == b':' {
            Ok(Framing::TrailerValue)
        } else if at == Framing::TrailerValue && byte == b'\r' {
            Ok(Framing::TrailerLf)
        } else if at == Framing::TrailerValue && field::is_text_byte(byte) {
            Ok(Framing::TrailerValue)
        } else if at == Framing::TrailerLf && byte == b'\n' {
            Ok(Framing::TrailerStart)
        } else {
            Err(Refusal::Trailer)
        }
    }
}

/// Copies payload, and says how much of it is left.
fn copy(input: &[u8], left: u64, body: &mut Vec<u8>, used: &mut usize) -> u64 {
    let size = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
    body.extend_from_slice(&input[..size]);
    *used += size;
    left - size as u64
}

fn expect(byte: u8, wanted: u8, otherwise: Refusal) -> Result<(), Refusal> {
    if byte == wanted {
        Ok(())
    } else {
        Err(otherwise)
    }
}

#[cfg(test)]
mod tests;
