//! Finds the secrets in what clients send and are sent, wherever the stream is cut.
//!
//! Secrets are the strings of some members of JSON objects, two parameters of a query, and the
//! values of header fields that proxies and browsers add. What is found is known by its form
//! alone, so that the same places are found in a masked text.

use memchr::{memchr2, memchr3};

use super::mask::{Mask, Walk};

/// Names of members whose strings are secrets. The index is the kind of secret.
const MEMBERS: [&[u8]; 11] = [
    b"apisecret",
    b"token",
    b"admin_secret",
    b"secret",
    b"pin",
    b"admin_key",
    b"new_secret",
    b"new_pin",
    b"allowed",
    b"backend_pwd",
    b"password",
];

/// The one member that is a list.
const ALLOWED: usize = 8;

/// Names of parameters of a query that are secrets; they are of the first kinds of members.
const PARAMETERS: [&[u8]; 2] = [b"apisecret", b"token"];

/// Header fields whose whole values are secrets. Nobody reads them here.
const FIELDS: [&[u8]; 3] = [b"authorization", b"cookie", b"proxy-authorization"];

/// Kinds of secrets.
pub(super) const KINDS: usize = MEMBERS.len();

/// The field that begins a WebSocket.
const SOCKET_FIELD: &[u8] = b"sec-websocket-key";

/// The longest name, with what must stand around it.
const BEHIND_MAX: usize = 32;

/// Whether a setting of a room is a secret, by its name.
pub(super) fn is_secret_setting(name: &str) -> bool {
    MEMBERS.contains(&name.as_bytes())
}

/// A place in a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    at: At,
    /// The last bytes before the portion at hand, and how many there are.
    behind: [u8; BEHIND_MAX],
    behind_count: usize,
    /// A field said that the head begins a WebSocket.
    is_upgrade: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    /// In a header field that is a secret.
    Field,
    /// Before the value of a member that is a secret.
    Member { kind: usize, in_list: bool },
    /// In a parameter that is a secret.
    Parameter {
        kind: usize,
        walk: Option<Walk>,
        escape: Escape,
    },
    /// In the string of a member that is a secret.
    Secret {
        kind: usize,
        walk: Option<Walk>,
        in_list: bool,
        escape: Escape,
    },
    #[default]
    Text,
}

/// Part of an escape that was read: its bytes so far.
#[derive(Clone, Copy, Debug, Default)]
struct Escape {
    bytes: [u8; 6],
    count: usize,
}

/// What becomes of the letters of secrets.
pub(super) trait Treat {
    /// The place before a secret's first letter; `None` where that does not matter.
    fn begin(&mut self) -> Option<Walk>;
    /// What takes a letter's place.
    fn letter(&mut self, kind: usize, walk: &mut Option<Walk>, plain: u8) -> u8;
}

/// They are masked.
impl Treat for Mask {
    fn begin(&mut self) -> Option<Walk> {
        Some(Mask::begin(self))
    }

    fn letter(&mut self, kind: usize, walk: &mut Option<Walk>, plain: u8) -> u8 {
        match walk {
            Some(walk) => self.byte(kind, walk, plain),
            None => Blank.letter(kind, walk, plain),
        }
    }
}

/// They all look alike, masked or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blank;

impl Treat for Blank {
    fn begin(&mut self) -> Option<Walk> {
        None
    }

    fn letter(&mut self, _: usize, _: &mut Option<Walk>, plain: u8) -> u8 {
        if plain.is_ascii_alphanumeric() {
            b'x'
        } else {
            plain
        }
    }
}

impl Place {
    /// Whether the portion at hand may hold a secret: if not, there is no need to copy it. Says
    /// too much rather than too little.
    pub(super) fn goes_by(&mut self, bytes: &[u8]) -> bool {
        if !matches!(self.at, At::Text) || self.is_upgrade {
            return false;
        }
        if self.next(bytes, 0).is_some() {
            return false;
        }
        self.keep(bytes);
        true
    }

    /// Treats the secrets of a portion in place. Stops behind a head that begins a WebSocket, and
    /// says where.
    pub(super) fn treat(&mut self, bytes: &mut [u8], with: &mut impl Treat) -> Option<usize> {
        let mut index = 0;
        let mut head_end = None;
        // What stands behind a name is looked at as it came: names are never changed.
        while index < bytes.len() {
            let byte = bytes[index];
            match &mut self.at {
                At::Text => {
                    let Some((found_at, found)) = self.next(bytes, index) else {
                        break;
                    };
                    index = found_at;
                    self.at = match found {
                        Found::Nothing => At::Text,
                        Found::Field => At::Field,
                        Found::Member(kind) => At::Member {
                            kind,
                            in_list: false,
                        },
                        Found::Parameter(kind) => At::Parameter {
                            kind,
                            walk: with.begin(),
                            escape: Escape::default(),
                        },
                        Found::Upgrade => {
                            self.is_upgrade = true;
                            At::Text
                        }
                        Found::HeadEnd => {
                            self.is_upgrade = false;
                            head_end = Some(index + 1);
                            break;
                        }
                    };
                }
                At::Field if matches!(byte, b'\r' | b'\n') => {
                    self.at = At::Text;
                    continue;
                }
                At::Field => bytes[index] = Blank.letter(0, &mut None, byte),
                At::Member { kind, in_list } => {
                    let (kind, in_list) = (*kind, *in_list);
                    self.at = match byte {
                        b' ' | b'\t' | b'\r' | b'\n' => At::Member { kind, in_list },
                        b',' if in_list => At::Member { kind, in_list },
                        b'[' if kind == ALLOWED && !in_list => At::Member {
                            kind,
                            in_list: true,
                        },
                        b'"' => At::Secret {
                            kind,
                            walk: with.begin(),
                            in_list,
                            escape: Escape::default(),
                        },
                        _ => At::Text,
                    };
                    if matches!(self.at, At::Text) {
                        continue;
                    }
                }
                At::Parameter { kind, walk, escape } => {
                    let is_over = matches!(byte, b'&' | b' ' | b'#' | b'\r' | b'\n');
                    if is_over && escape.count == 0 {
                        self.at = At::Text;
                        continue;
                    }
                    match escape.percent(byte) {
                        Escaped::No => bytes[index] = with.letter(*kind, walk, byte),
                        Escaped::Under => {}
                        Escaped::Is(plain) => {
                            let masked = with.letter(*kind, walk, plain);
                            if masked != plain {
                                put_hex(bytes, index, masked);
                            }
                        }
                    }
                }
                At::Secret {
                    kind,
                    in_list,
                    walk,
                    escape,
                } => {
                    if byte == b'"' && escape.count == 0 {
                        self.at = match *in_list {
                            true => At::Member {
                                kind: *kind,
                                in_list: true,
                            },
                            false => At::Text,
                        };
                    } else {
                        match escape.backslash(byte) {
                            Escaped::No => bytes[index] = with.letter(*kind, walk, byte),
                            Escaped::Under => {}
                            Escaped::Is(plain) => {
                                let masked = with.letter(*kind, walk, plain);
                                if masked != plain {
                                    put_hex(bytes, index, masked);
                                }
                            }
                        }
                    }
                }
            }
            index += 1;
        }
        self.keep(&bytes[..head_end.unwrap_or(bytes.len())]);
        head_end
    }

    /// The next place from some byte on that ends what is looked for.
    fn next(&self, bytes: &[u8], mut from: usize) -> Option<(usize, Found)> {
        loop {
            let rest = &bytes[from..];
            // Where a line ends matters only where a head does.
            let next = match self.is_upgrade {
                true => memchr3(b':', b'=', b'\n', rest),
                false => memchr2(b':', b'=', rest),
            };
            let at = from + next?;
            if may_end_a_name(bytes, at) {
                let found = self.look(bytes, at);
                if !matches!(found, Found::Nothing) {
                    return Some((at, found));
                }
            }
            from = at + 1;
        }
    }

    /// What a colon, an equals sign or a line break ends.
    fn look(&self, bytes: &[u8], at: usize) -> Found {
        if let Some(from) = at.checked_sub(BEHIND_MAX) {
            return found(&bytes[from..at], bytes[at]);
        }
        // What is before the stream's begin is as good as a line's end.
        let mut window = [b'\n'; 2 * BEHIND_MAX];
        let (behind, here) = window.split_at_mut(BEHIND_MAX);
        behind[BEHIND_MAX - self.behind_count..].copy_from_slice(&self.behind[..self.behind_count]);
        here[..at].copy_from_slice(&bytes[..at]);
        found(&window[at..BEHIND_MAX + at], bytes[at])
    }

    /// Remembers the end of what was looked at.
    fn keep(&mut self, bytes: &[u8]) {
        if let Some(end) = bytes.last_chunk::<BEHIND_MAX>() {
            self.behind = *end;
            self.behind_count = BEHIND_MAX;
            return;
        }
        let drop = (self.behind_count + bytes.len()).saturating_sub(BEHIND_MAX);
        self.behind.copy_within(drop..self.behind_count, 0);
        self.behind_count -= drop;
        self.behind[self.behind_count..][..bytes.len()].copy_from_slice(bytes);
        self.behind_count += bytes.len();
    }
}

/// What a byte ends that stands behind `before`.
fn found(before: &[u8], byte: u8) -> Found {
    match byte {
        b'\n' if before.ends_with(b"\n") || before.ends_with(b"\n\r") => Found::HeadEnd,
        b'\n' => Found::Nothing,
        b'=' => {
            let is_it = |name: &&[u8]| {
                let before = before.strip_suffix(*name).and_then(<[u8]>::last);
                matches!(before, Some(b'?' | b'&'))
            };
            let kind = PARAMETERS.iter().position(is_it);
            kind.map_or(Found::Nothing, Found::Parameter)
        }
        _ => {
            if let Some(named) = before.trim_ascii_end().strip_suffix(b"\"") {
                let is_it = |name: &&[u8]| {
                    let before = named.strip_suffix(*name);
                    before.is_some_and(|before| before.ends_with(b"\""))
                };
                let kind = MEMBERS.iter().position(is_it);
                return kind.map_or(Found::Nothing, Found::Member);
            }
            let line = before.rsplit(|byte| *byte == b'\n').next();
            let line = line.filter(|line| line.len() < before.len());
            let is_field = |name: &[u8]| line.is_some_and(|line| line.eq_ignore_ascii_case(name));
            if FIELDS.iter().any(|name| is_field(name)) {
                Found::Field
            } else if is_field(SOCKET_FIELD) {
                Found::Upgrade
            } else {
                Found::Nothing
            }
        }
    }
}

/// Whether a colon or equals sign may stand behind a name that is looked for, by the last letters
/// before it. Most do not, and this is asked of each.
fn may_end_a_name(bytes: &[u8], at: usize) -> bool {
    let Some(&[first, ref rest @ ..]) = bytes[..at].last_chunk::<5>() else {
        return true; // It begins in the portion before.
    };
    let letters = |four: &[u8; 4]| u32::from_le_bytes(*four);
    let is_any = |of: [&[u8; 4]; 7]| of.into_iter().any(|it| letters(it) == letters(rest));
    // The names of fields are the same in capitals.
    let small = letters(rest) | letters(&[0x20; 4]);
    match (bytes[at], rest[3]) {
        (b'\n', _) => true,
        (b'=', _) => matches!(rest, b"cret" | b"oken"),
        (_, b'"') => is_any([
            b"ret\"", b"ken\"", b"pin\"", b"key\"", b"wed\"", b"pwd\"", b"ord\"",
        ]),
        (_, b' ' | b'\t' | b'\r' | b'\n' | 0x0c) => true,
        _ => match first | 0x20 {
            b'a' => small == letters(b"tion"),
            b'o' => small == letters(b"okie"),
            b't' => small == letters(b"-key"),
            _ => false,
        },
    }
}

#[derive(Clone, Copy, Debug)]
enum Found {
    Field,
    HeadEnd,
    Member(usize),
    Nothing,
    Parameter(usize),
    Upgrade,
}

enum Escaped {
    /// The byte stands for itself.
    No,
    /// The byte is part of an escape that goes on, or stands for no letter.
    Under,
    /// The byte ends an escape that stands for this. If that is a letter or digit, the last two
    /// digits of the escape say which.
    Is(u8),
}

impl Escape {
    /// Goes on with a byte of a JSON string.
    fn backslash(&mut self, byte: u8) -> Escaped {
        if self.count == 0 && byte != b'\\' {
            return Escaped::No;
        }
        self.take(byte);
        if self.count == 2 && byte != b'u' {
            self.count = 0;
            return Escaped::Is(match byte {
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'"' | b'/' | b'\\' => byte,
                // Whoever reads it refuses it.
                _ => return Escaped::Under,
            });
        } else if self.count == 6 {
            self.count = 0;
            let is_small = self.bytes[2..4] == *b"00";
            if let Some(plain) = hex(&self.bytes[4..]).filter(|_| is_small) {
                return Escaped::Is(plain);
            }
        }
        Escaped::Under
    }

    /// Goes on with a byte of a query.
    fn percent(&mut self, byte: u8) -> Escaped {
        if self.count == 0 && byte != b'%' {
            return Escaped::No;
        }
        self.take(byte);
        if self.count == 3 {
            self.count = 0;
            if let Some(plain) = hex(&self.bytes[1..3]) {
                return Escaped::Is(plain);
            }
        }
        Escaped::Under
    }

    fn take(&mut self, byte: u8) {
        self.bytes[self.count] = byte;
        self.count += 1;
    }
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    u8::from_str_radix(digits, 16).ok()
}

/// Puts a letter's number where the last two digits of an escape are. Where the portion begins
/// between them, the first is left: then the escape says another letter than is meant.
fn put_hex(bytes: &mut [u8], last: usize, letter: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes[last] = DIGITS[usize::from(letter & 15)];
    if let Some(first) = last.checked_sub(1) {
        bytes[first] = DIGITS[usize::from(letter >> 4)];
    }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
