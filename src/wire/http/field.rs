//! Character classes of HTTP fields (RFC 9110 §5).

const TOKEN: u8 = 1;
const TEXT: u8 = 2;
const HOST: u8 = 4;

/// Which classes each byte belongs to.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() {
            table[byte] |= TOKEN | HOST;
        }
        // field-vchar, SP, HTAB and obs-text.
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            table[byte] |= TEXT;
        }
        byte += 1;
    }
    let table = with(table, TOKEN, b"!#$%&'*+-.^_`|~");
    with(table, HOST, b"-._~!$&'()*+,;=")
}

const fn with(mut table: [u8; 256], class: u8, members: &[u8]) -> [u8; 256] {
    let mut at = 0;
    while at < members.len() {
        table[members[at] as usize] |= class;
        at += 1;
    }
    table
}

/// Whether `byte` may be part of a token: `tchar` (RFC 9110 §5.6.2).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// Whether `byte` may be part of a field value: visible, blank or obs-text (RFC 9110 §5.5).
pub(super) const fn is_text_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & TEXT != 0
}

/// Whether `byte` may stand for itself in a host's name: `unreserved` or `sub-delims` (RFC 3986
/// §2).
pub(super) const fn is_host_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & HOST != 0
}

/// Whether `bytes` are a token.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// The members of a comma-separated list, without the blanks around them and without empty ones
/// (RFC 9110 §5.6.1.2).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}
