//! A client that says what a [`Conversation`] says.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::conformance::{Act, Conversation, Line};
use crate::faults::scenario::Link as Which;
use crate::kernel::pipe::Read;
use crate::kernel::tcp::{HostId, Notice, Socket, Write};
use crate::models::frames::{FrameReader, Item, Opcode, Writer, frame};
use crate::models::link::{Link, LinkEvent};
use crate::models::socket::HANDSHAKE;
use crate::models::{Model, Progress};
use crate::world::physics::{GATEWAY, Physics};

/// A client that follows a script.
#[derive(Debug)]
pub struct Script {
    me: HostId,
    talk: Rc<RefCell<Conversation>>,
    control: Link,
    poll: Link,
    wire: Wire,
    /// What has come and was not waited for yet.
    came: VecDeque<(Line, LinkEvent)>,
    told: VecDeque<String>,
    waits: Option<Line>,
    progress: Progress,
}

/// The socket, and what is on its way.
#[derive(Debug)]
struct Wire {
    socket: Option<Socket>,
    is_connected: bool,
    outgoing: Vec<u8>,
    /// The answer to the handshake so far; nothing once it is over.
    handshake: Option<Vec<u8>>,
    /// What is to be sent after it.
    later: Vec<u8>,
    reader: FrameReader,
}

impl Script {
    /// A client on host `me`; the conversation stays with whoever wants its transcript.
    pub fn new(me: HostId, talk: Rc<RefCell<Conversation>>) -> Self {
        Self {
            me,
            talk,
            control: Link::new(me, GATEWAY),
            poll: Link::new(me, GATEWAY),
            wire: Wire {
                socket: None,
                is_connected: false,
                outgoing: Vec::new(),
                handshake: Some(Vec::new()),
                later: Vec::new(),
                reader: FrameReader::new(Writer::Server),
            },
            came: VecDeque::new(),
            told: VecDeque::new(),
            waits: None,
            progress: Progress::default(),
        }
    }

    /// Goes on as far as the script does without waiting.
    fn go_on(&mut self, world: &mut Physics) {
        loop {
            if let Some(line) = self.waits {
                if !self.take(line) {
                    return;
                }
                self.waits = None;
            }
            let act = self.talk.borrow_mut().next_act();
            match act {
                None => return,
                Some(Act::Await(line)) => self.waits = Some(line),
                Some(Act::Rest(span)) => return world.wake(self.me, span, 0),
                Some(Act::Say(text)) => {
                    let bytes = frame(Opcode::Text, true, text.as_bytes(), Some([1, 2, 3, 4]));
                    self.wire.send(world, self.me, &bytes);
                }
                Some(Act::Send(Line::Poll, request)) => self.poll.send(world, &request),
                Some(Act::Send(Line::Control | Line::Socket, request)) => {
                    self.control.send(world, &request);
                }
            }
        }
    }

    /// Takes in what is waited for, if it has come.
    fn take(&mut self, line: Line) -> bool {
        let mut talk = self.talk.borrow_mut();
        if line == Line::Socket {
            let text = self.told.pop_front();
            return text.inspect(|text| talk.heard(text)).is_some();
        }
        let Some(at) = self.came.iter().position(|came| came.0 == line) else {
            return false;
        };
        if let Some((_, LinkEvent::Done(head, body))) = self.came.remove(at) {
            talk.answered(line, head.status, &head.fields, &body);
        }
        true
    }
}

impl Model for Script {
    fn start(&mut self, world: &mut Physics) {
        self.go_on(world);
    }

    fn notice(&mut self, world: &mut Physics, socket: Socket, notice: Notice) {
        let mut links = [
            (Line::Control, &mut self.control),
            (Line::Poll, &mut self.poll),
        ];
        let link = links
            .iter_mut()
            .find(|(_, link)| link.socket() == Some(socket));
        if let Some((line, link)) = link {
            for event in link.notice(world, notice) {
                if matches!(event, LinkEvent::Done(..)) {
                    self.came.push_back((*line, event));
                }
            }
        } else if self.wire.socket == Some(socket) {
            self.wire.notice(world, notice, &mut self.told);
        }
        self.go_on(world);
    }

    fn timer(&mut self, world: &mut Physics, _token: u64) {
        self.go_on(world);
    }

    fn leave(&mut self, world: &mut Physics) {
        self.control.close(world);
        self.poll.close(world);
        if let Some(socket) = self.wire.socket.take() {
            world.close(socket);
        }
    }

    fn link(&self, link: Which) -> Option<Socket> {
        match link {
            Which::Control => self.control.socket(),
            Which::Poll => self.poll.socket(),
            Which::Upstream => None,
        }
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl Wire {
    /// Sends a frame, after the handshake if there is no socket yet.
    fn send(&mut self, world: &mut Physics, me: HostId, bytes: &[u8]) {
        if self.socket.is_none() {
            self.socket = Some(world.connect(me, GATEWAY));
            self.outgoing = HANDSHAKE.to_vec();
        }
        if self.handshake.is_some() {
            self.later.extend_from_slice(bytes);
        } else {
            self.outgoing.extend_from_slice(bytes);
            self.flush(world);
        }
    }

    fn flush(&mut self, world: &mut Physics) {
        let Some(socket) = self.socket.filter(|_| self.is_connected) else {
            return;
        };
        while let Write::Taken(count) = world.write(socket, &self.outgoing) {
            self.outgoing.drain(..count);
            if self.outgoing.is_empty() {
                return;
            }
        }
    }

    fn notice(&mut self, world: &mut Physics, notice: Notice, told: &mut VecDeque<String>) {
        self.is_connected |= notice == Notice::Connected;
        self.flush(world);
        while let Some(socket) = self.socket {
            let mut bytes = Vec::new();
            match world.read(socket, 64 << 10, &mut bytes) {
                Read::Bytes(_) => self.take_in(bytes, told),
                Read::Eof | Read::Reset => {
                    world.close(socket);
                    self.socket = None;
                }
                Read::WouldBlock => break,
            }
        }
        self.flush(world);
    }

    fn take_in(&mut self, mut bytes: Vec<u8>, told: &mut VecDeque<String>) {
        if let Some(head) = &mut self.handshake {
            head.append(&mut bytes);
            let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
                return;
            };
            bytes = head.split_off(end + 4);
            self.handshake = None;
            self.outgoing.append(&mut self.later);
        }
        self.reader.push(&bytes);
        while let Ok(Some(item)) = self.reader.item() {
            if let Item::Text(text) = item {
                told.push_back(text);
            }
        }
    }
}
