//! A client's end of one HTTP connection: connects when needed, writes what fits, decodes
//! strictly.

use std::collections::VecDeque;

use crate::kernel::pipe::Read;
use crate::kernel::tcp::{HostId, Notice, Socket, Write};
use crate::models::decode::{Asked, Decoder, FramingError, Head, Piece};
use crate::models::request::Request;
use crate::world::physics::Physics;

/// What a link tells its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A part of the body of a response that is being streamed.
    Body(Vec<u8>),
    /// A response is complete. Its body is here unless it was streamed.
    Done(Head, Vec<u8>),
    /// A response begins.
    Head(Head),
    /// The connection is gone, with requests unanswered.
    Lost(Loss),
}

/// Why a connection is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// What came is no strict HTTP, or ended too early.
    Framing(FramingError),
    /// Nobody listened.
    Refused,
    /// It was reset.
    Reset,
}

/// A client's end of one HTTP connection.
#[derive(Debug)]
pub struct Link {
    me: HostId,
    to: HostId,
    socket: Option<Socket>,
    is_connected: bool,
    outgoing: Vec<u8>,
    /// Ends its sending once all of it is written.
    is_shutdown_due: bool,
    asked: VecDeque<Asked>,
    decoder: Decoder,
    inside: Option<(Head, Vec<u8>)>,
    read_max: usize,
    is_reading: bool,
    is_closing: bool,
}

impl Link {
    /// A link between two hosts, not yet connected.
    pub fn new(me: HostId, to: HostId) -> Self {
        Self {
            me,
            to,
            socket: None,
            is_connected: false,
            outgoing: Vec::new(),
            is_shutdown_due: false,
            asked: VecDeque::new(),
            decoder: Decoder::default(),
            inside: None,
            read_max: 64 << 10,
            is_reading: true,
            is_closing: false,
        }
    }

    /// Sends a request, over a new connection if there is none.
    pub fn send(&mut self, world: &mut Physics, request: &Request) {
        let asked = if request.method == "HEAD" {
            Asked::Head
        } else {
            Asked::Other
        };
        self.send_bytes(world, &request.encode(), asked);
    }

    /// Sends bytes to which one response is expected.
    pub fn send_bytes(&mut self, world: &mut Physics, bytes: &[u8], asked: Asked) {
        if self.is_closing {
            self.drop_connection(world);
        }
        if self.socket.is_none() {
            self.socket = Some(world.connect(self.me, self.to));
        }
        self.asked.push_back(asked);
        self.outgoing.extend_from_slice(bytes);
        self.flush(world);
    }

    /// Sends bytes that continue a request.
    pub fn send_more(&mut self, world: &mut Physics, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
        self.flush(world);
    }

    /// Sends FIN after what waits to be sent.
    pub fn shutdown(&mut self, world: &mut Physics) {
        self.is_shutdown_due = true;
        self.flush(world);
    }

    /// Closes the connection and forgets what was asked on it.
    pub fn close(&mut self, world: &mut Physics) {
        self.drop_connection(world);
        self.asked.clear();
    }

    /// Resets the connection and forgets what was asked on it.
    pub fn abort(&mut self, world: &mut Physics) {
        if let Some(socket) = self.socket.take() {
            world.watch.note_broken(socket);
            world.abort(socket);
        }
        self.close(world);
    }

    /// Reads, or lets bytes pile up.
    pub fn set_reading(&mut self, is_reading: bool) {
        self.is_reading = is_reading;
    }

    /// Reads at most this many bytes at a time.
    pub fn limit_reads(&mut self, most: usize) {
        self.read_max = most;
    }

    /// Takes in what the network tells of this link's socket.
    pub fn notice(&mut self, world: &mut Physics, notice: Notice) -> Vec<LinkEvent> {
        match notice {
            Notice::Connected => {
                self.is_connected = true;
                self.flush(world);
                Vec::new()
            }
            Notice::Writable => {
                self.flush(world);
                Vec::new()
            }
            Notice::Refused => self.lost(world, Loss::Refused),
            Notice::Readable | Notice::Reset if self.is_reading => self.read(world),
            Notice::Incoming | Notice::Readable | Notice::Reset => Vec::new(),
        }
    }

    /// Reads what is there.
    pub fn read(&mut self, world: &mut Physics) -> Vec<LinkEvent> {
        let mut events = Vec::new();
        while let Some(socket) = self.socket {
            let mut bytes = Vec::new();
            let outcome = world.read(socket, self.read_max, &mut bytes);
            match outcome {
                Read::Bytes(_) => {
                    self.decoder.push(&bytes);
                    if let Err(error) = self.decode(world, &mut events) {
                        events.extend(self.lost(world, Loss::Framing(error)));
                    }
                    if self.read_max < 4096 {
                        break;
                    }
                }
                Read::Eof => {
                    let expects = !self.asked.is_empty();
                    match self.decoder.end(expects) {
                        Ok(Some(_)) => self.complete(world, &mut events),
                        Ok(None) => {}
                        Err(error) => {
                            events.extend(self.lost(world, Loss::Framing(error)));
                            break;
                        }
                    }
                    self.close(world);
                }
                Read::Reset => {
                    let is_idle = self.asked.is_empty();
                    let lost = self.lost(world, Loss::Reset);
                    if !is_idle {
                        events.extend(lost);
                    }
                }
                Read::WouldBlock => break,
            }
        }
        events
    }

    /// The socket, while there is one.
    pub const fn socket(&self) -> Option<Socket> {
        self.socket
    }

    /// Whether a request is unanswered.
    pub fn is_busy(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Bytes that wait to be sent.
    pub fn waiting(&self) -> usize {
        self.outgoing.len()
    }

    fn flush(&mut self, world: &mut Physics) {
        let Some(socket) = self.socket.filter(|_| self.is_connected) else {
            return;
        };
        while !self.outgoing.is_empty() {
            match world.write(socket, &self.outgoing) {
                Write::Taken(count) => {
                    self.outgoing.drain(..count);
                }
                Write::Blocked | Write::Broken => return,
            }
        }
        if self.is_shutdown_due {
            self.is_shutdown_due = false;
            self.is_closing = true;
            world.shutdown(socket);
        }
    }

    fn decode(
        &mut self,
        world: &mut Physics,
        events: &mut Vec<LinkEvent>,
    ) -> Result<(), FramingError> {
        loop {
            let Some(&asked) = self.asked.front() else {
                return if self.decoder.waiting() > 0 {
                    Err(FramingError::Unasked)
                } else {
                    Ok(())
                };
            };
            match self.decoder.piece(asked)? {
                None => return Ok(()),
                Some(Piece::Head(head)) => {
                    events.push(LinkEvent::Head(head.clone()));
                    self.inside = Some((head, Vec::new()));
                }
                Some(Piece::Body(bytes)) => {
                    if let Some((head, body)) = &mut self.inside {
                        if head.is_event_stream() {
                            events.push(LinkEvent::Body(bytes));
                        } else {
                            body.extend_from_slice(&bytes);
                        }
                    }
                }
                Some(Piece::End) => self.complete(world, events),
            }
        }
    }

    fn complete(&mut self, _world: &mut Physics, events: &mut Vec<LinkEvent>) {
        self.asked.pop_front();
        if let Some((head, body)) = self.inside.take() {
            self.is_closing |= head.is_last();
            events.push(LinkEvent::Done(head, body));
        }
    }

    fn lost(&mut self, world: &mut Physics, loss: Loss) -> Vec<LinkEvent> {
        self.close(world);
        vec![LinkEvent::Lost(loss)]
    }

    fn drop_connection(&mut self, world: &mut Physics) {
        if let Some(socket) = self.socket.take() {
            world.close(socket);
        }
        self.is_connected = false;
        self.is_closing = false;
        self.is_shutdown_due = false;
        self.outgoing.clear();
        self.decoder = Decoder::default();
        self.inside = None;
    }
}
