//! The chunked transfer coding (RFC 9112 §7.1), written by hand, with its life in its types.
//!
//! Invariant: a body that was begun can always be ended, because room for the zero chunk is held
//! before the head is written; and it is ended once, because ending it consumes it. An empty
//! chunk cannot end it by accident.
//!
//! ```
//! use bifrons::base::outbuf::OutBuf;
//! use bifrons::wire::http::ChunkedBody;
//!
//! let mut out = OutBuf::new(1024);
//! let mut body = ChunkedBody::begin(&mut out, b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
//! body.chunk(b"hello").unwrap();
//! body.chunk(b"").unwrap();
//! let finished = body.finish();
//! assert_eq!(out.pending(), b"HTTP/1.1 200 OK\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
//! assert_eq!(finished.end(), out.written_total());
//! ```
//!
//! Nothing can be written after the end, and a body does not end twice:
//!
//! ```compile_fail,E0382
//! # use bifrons::base::outbuf::OutBuf;
//! # use bifrons::wire::http::ChunkedBody;
//! # let mut out = OutBuf::new(1024);
//! let mut body = ChunkedBody::begin(&mut out, b"").unwrap();
//! body.finish();
//! body.chunk(b"too late");
//! ```
//!
//! ```compile_fail,E0382
//! # use bifrons::base::outbuf::OutBuf;
//! # use bifrons::wire::http::ChunkedBody;
//! # let mut out = OutBuf::new(1024);
//! let body = ChunkedBody::begin(&mut out, b"").unwrap();
//! body.finish();
//! body.finish();
//! ```
//!
//! While a body is being written, nothing else gets between its chunks:
//!
//! ```compile_fail,E0499
//! # use bifrons::base::outbuf::OutBuf;
//! # use bifrons::wire::http::ChunkedBody;
//! # let mut out = OutBuf::new(1024);
//! let mut body = ChunkedBody::begin(&mut out, b"").unwrap();
//! out.write(&[b"noise"]);
//! body.chunk(b"late");
//! ```
//!
//! ```compile_fail,E0382
//! # use bifrons::base::outbuf::OutBuf;
//! # use bifrons::wire::http::ChunkedBody;
//! # let mut out = OutBuf::new(1024);
//! let mut stream = ChunkedBody::begin(&mut out, b"").unwrap().leave_open();
//! stream.finish(&mut out);
//! stream.chunk(&mut out, b"too late");
//! ```

use crate::base::outbuf::{Full, Hold, OutBuf};
use crate::mutant;

/// The zero chunk without trailers. It ends a body.
const LAST: &[u8] = b"0\r\n\r\n";
/// The end of a chunk, and the zero chunk.
const LINE_END_AND_LAST: &[u8] = b"\r\n0\r\n\r\n";

/// A chunked body that is written in one go, and ended when it goes out of scope at the latest.
#[derive(Debug)]
#[must_use = "a body that is begun has to be finished"]
pub struct ChunkedBody<'a> {
    out: &'a mut OutBuf,
    /// Taken when the body ends or is left open.
    hold: Option<Hold>,
}

impl<'a> ChunkedBody<'a> {
    /// Writes a response's head and begins its body.
    ///
    /// # Errors
    ///
    /// [`Full`] when the head and the end of the body do not both fit. Nothing was written.
    pub fn begin(out: &'a mut OutBuf, head: &[u8]) -> Result<Self, Full> {
        let hold = out.hold(LAST.len())?;
        if let Err(full) = out.write(&[head]) {
            out.write_held(hold, b"");
            return Err(full);
        }
        Ok(Self {
            out,
            hold: Some(hold),
        })
    }

    /// Writes a whole response at once: head, one chunk and the zero chunk.
    ///
    /// # Errors
    ///
    /// [`Full`] when it does not fit. Nothing was written.
    pub fn whole(out: &mut OutBuf, head: &[u8], data: &[u8]) -> Result<Finished, Full> {
        if data.is_empty() {
            out.write(&[head, LAST])?;
        } else {
            let size = ChunkSize::new(data.len());
            if mutant!(ChunkEmptyFirst) {
                out.write(&[head, LAST, size.line(), data, LINE_END_AND_LAST])?;
            } else {
                out.write(&[head, size.line(), data, LINE_END_AND_LAST])?;
            }
        }
        Ok(Finished::at(out))
    }

    /// Writes one chunk of a chunked body.
    ///
    /// Empty `data` writes nothing, because an empty chunk would end the body (RFC 9112 §7.1).
    ///
    /// # Errors
    ///
    /// [`Full`] when the chunk does not fit. Nothing was written; the body can go on.
    pub fn chunk(&mut self, data: &[u8]) -> Result<(), Full> {
        write_chunk(self.out, data)
    }

    /// Ends the body.
    pub fn finish(mut self) -> Finished {
        self.end();
        Finished::at(self.out)
    }

    /// Detaches the body from the buffer, for a response that goes on for a long time. It goes
    /// on in the same buffer, and nothing else may be written there until it is finished.
    pub fn leave_open(mut self) -> OpenBody {
        let hold = self.hold.take().expect("a body holds room until it ends");
        OpenBody { hold }
    }

    fn end(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.out.write_held(hold, LAST);
        }
    }
}

impl Drop for ChunkedBody<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// A chunked body that lives across calls, beside the buffer that it is written to. Either it is
/// finished, or it is lost together with that buffer and its connection.
#[derive(Debug)]
#[must_use = "a body that is begun has to be finished"]
pub struct OpenBody {
    hold: Hold,
}

impl OpenBody {
    /// Writes one chunk; empty `data` writes nothing.
    ///
    /// # Errors
    ///
    /// [`Full`] when the chunk does not fit. Nothing was written; the body can go on.
    pub fn chunk(&mut self, out: &mut OutBuf, data: &[u8]) -> Result<(), Full> {
        write_chunk(out, data)
    }

    /// Ends the body. There is always room for this.
    pub fn finish(self, out: &mut OutBuf) -> Finished {
        out.write_held(self.hold, LAST);
        Finished::at(out)
    }
}

/// The proof that a response was written to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    end: u64,
}

impl Finished {
    /// A response without chunks whose last byte was just written to `out`.
    pub(crate) const fn at(out: &OutBuf) -> Self {
        Self {
            end: out.written_total(),
        }
    }

    /// The position after the last byte, counted from the connection's first byte.
    pub const fn end(self) -> u64 {
        self.end
    }
}

fn write_chunk(out: &mut OutBuf, data: &[u8]) -> Result<(), Full> {
    if data.is_empty() {
        return Ok(());
    }
    let size = ChunkSize::new(data.len());
    out.write(&[size.line(), data, b"\r\n"])
}

/// A chunk's size in upper-case hexadecimal digits, with CRLF.
struct ChunkSize {
    text: [u8; Self::ROOM],
    start: usize,
}

impl ChunkSize {
    /// Sixteen digits and CRLF.
    const ROOM: usize = 18;

    fn new(mut size: usize) -> Self {
        let mut text = [0; Self::ROOM];
        let mut start = Self::ROOM - 2;
        text[start..].copy_from_slice(b"\r\n");
        loop {
            start -= 1;
            let base = if mutant!(ChunkDecimal) { 10 } else { 16 };
            text[start] = b"0123456789ABCDEF"[size % base];
            size /= base;
            if size == 0 {
                return Self { text, start };
            }
        }
    }

    fn line(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

#[cfg(test)]
mod tests;
