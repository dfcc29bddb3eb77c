//! A WebSocket client, as far as the Janus API needs one: text, one message at a time.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use crate::target::Url;

/// Any sixteen bytes in base64 do: nothing here depends on them.
const KEY: &str = "Ymlmcm9ucy1sb2FkLTAwMQ==";

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a server may send at once; more is a mistake.
const FRAME_BYTES_MAX: u64 = 1 << 24;

/// A WebSocket that is open.
#[derive(Debug)]
pub(super) struct WebSocket {
    stream: TcpStream,
}

impl WebSocket {
    /// Shakes hands over a connection.
    pub(super) fn open(mut stream: TcpStream, url: &Url) -> io::Result<Self> {
        let path = if url.path.is_empty() { "/" } else { &url.path };
        let host = &url.host;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: janus-protocol\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            let head = String::from_utf8_lossy(&head);
            return Err(io::Error::other(format!("no WebSocket: {head}")));
        }
        Ok(Self { stream })
    }

    /// Sends a message.
    pub(super) fn send(&mut self, text: &str) -> io::Result<()> {
        self.write(TEXT, text.as_bytes())
    }

    /// Waits for the next message.
    pub(super) fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let (head, payload) = self.read()?;
            match head & 0x0f {
                CLOSE => return Err(io::Error::other("the server closed the WebSocket")),
                PING => self.write(PONG, &payload)?,
                PONG => {}
                _ => {
                    message.extend_from_slice(&payload);
                    let is_last = head & 0x80 != 0;
                    if is_last {
                        return Ok(message);
                    }
                }
            }
        }
    }

    fn write(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![0x80 | kind];
        match payload.len() {
            size @ 0..126 => frame.push(0x80 | size as u8),
            size @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(size as u16).to_be_bytes());
            }
            size => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(size as u64).to_be_bytes());
            }
        }
        // Masked with zeros, which leaves the payload as it is.
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame)
    }

    fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let size = match head[1] & 0x7f {
            126 => {
                let mut size = [0; 2];
                self.stream.read_exact(&mut size)?;
                u64::from(u16::from_be_bytes(size))
            }
            127 => {
                let mut size = [0; 8];
                self.stream.read_exact(&mut size)?;
                u64::from_be_bytes(size)
            }
            size => u64::from(size),
        };
        if size > FRAME_BYTES_MAX {
            return Err(io::Error::other("a frame of more than 16 MiB"));
        }
        let mut payload = vec![0; size as usize];
        self.stream.read_exact(&mut payload)?;
        Ok((head[0], payload))
    }
}
