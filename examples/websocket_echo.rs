//! Echoes WebSocket messages with the gateway's own codec, for suites that test the protocol:
//! `cargo run --example websocket_echo -- 127.0.0.1:9001`. One connection at a time, no limits
//! worth the name; not a server for anything else.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use bifrons::base::limits::Limits;
use bifrons::wire::http::HeadReader;
use bifrons::wire::ws::frame::ServerHeader;
use bifrons::wire::ws::{Bounds, Incoming, Opcode, Reader, handshake};

/// Suites send messages of 16 MiB, and such in a quarter of a million fragments.
const BOUNDS: Bounds = Bounds {
    message_bytes: 64 << 20,
    fragments_count: 1 << 20,
};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:9001"))?;
    eprintln!("echoes on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        // A client that leaves as it likes is part of the test.
        if let Err(error) = stream.and_then(serve) {
            eprintln!("{error}");
        }
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    let mut reader = HeadReader::default();
    let head = loop {
        receive(&mut stream, &mut input)?;
        match reader.read(&input, &Limits::default()) {
            Ok(Some((head, size))) => {
                input.drain(..size);
                break head;
            }
            Ok(None) => {}
            Err(refusal) => return Err(io::Error::other(refusal.text().trim_end())),
        }
    };
    let accept = head
        .fields()
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .and_then(|(_, key)| handshake::accept(key))
        .ok_or_else(|| io::Error::other("no key"))?;
    stream.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Accept: ",
    )?;
    stream.write_all(&accept)?;
    stream.write_all(b"\r\n\r\n")?;
    echo(&mut stream, input)
}

fn echo(stream: &mut TcpStream, mut input: Vec<u8>) -> io::Result<()> {
    let mut reader = Reader::default();
    loop {
        let mut used = 0;
        loop {
            match reader.read(&input[used..], &BOUNDS) {
                Ok((_, None)) => break,
                Ok((size, Some(incoming))) => {
                    used += size;
                    if !answer(stream, incoming)? {
                        return Ok(());
                    }
                }
                Err(fault) => {
                    return send(stream, Opcode::Close, &fault.code().number().to_be_bytes());
                }
            }
        }
        input.clear();
        receive(stream, &mut input)?;
    }
}

/// Answers what came; `false` when that was the last.
fn answer(stream: &mut TcpStream, incoming: Incoming) -> io::Result<bool> {
    match incoming {
        Incoming::Binary(message) => send(stream, Opcode::Binary, &message)?,
        Incoming::Text(message) => send(stream, Opcode::Text, &message)?,
        Incoming::Ping(payload) => send(stream, Opcode::Pong, &payload)?,
        Incoming::Pong(_) => {}
        Incoming::Close(close) => {
            let payload = close.map_or_else(Vec::new, |(code, reason)| {
                [&code.number().to_be_bytes(), reason.as_bytes()].concat()
            });
            send(stream, Opcode::Close, &payload)?;
            return Ok(false);
        }
    }
    Ok(true)
}

fn send(stream: &mut TcpStream, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
    stream.write_all(ServerHeader::new(opcode, payload.len()).bytes())?;
    stream.write_all(payload)
}

fn receive(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    match stream.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            input.extend_from_slice(&buffer[..count]);
            Ok(())
        }
    }
}
