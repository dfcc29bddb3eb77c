//! Bodies by length and by chunks: each rule, and any split of the input.

use proptest::prelude::*;

use super::*;

/// Payload and the size of what belonged to it, or a refusal; `None` when more is to come.
fn read(
    length: BodyLength,
    input: &[u8],
    portion: usize,
) -> Option<Result<(Vec<u8>, usize), Refusal>> {
    read_with(&Limits::default(), length, input, portion)
}

fn read_with(
    limits: &Limits,
    length: BodyLength,
    input: &[u8],
    portion: usize,
) -> Option<Result<(Vec<u8>, usize), Refusal>> {
    let mut reader = match BodyReader::new(length, limits) {
        Ok(reader) => reader,
        Err(refusal) => return Some(Err(refusal)),
    };
    let (mut body, mut used) = (Vec::new(), 0);
    if reader.is_complete() {
        return Some(Ok((body, 0)));
    }
    for part in input.chunks(portion.max(1)) {
        match reader.read(part, limits, &mut body) {
            Ok(BodyProgress::Complete(size)) => return Some(Ok((body, used + size))),
            Ok(BodyProgress::Partial) => used += part.len(),
            Err(refusal) => return Some(Err(refusal)),
        }
    }
    None
}

fn check(input: &[u8], expected: Result<&[u8], Refusal>) {
    for portion in [1, 2, 3, 7, input.len()] {
        let got = read(BodyLength::Chunked, input, portion)
            .unwrap_or_else(|| panic!("{:?} is not decided", input.escape_ascii().to_string()));
        let got = got.map(|(body, used)| {
            assert_eq!(used, input.len(), "{:?}", input.escape_ascii().to_string());
            body
        });
        assert_eq!(
            got.as_deref().map_err(|refusal| *refusal),
            expected,
            "{:?} in portions of {portion}",
            input.escape_ascii().to_string()
        );
    }
}

#[test]
fn a_body_by_length_ends_after_so_many_bytes() {
    for portion in [1, 2, 100] {
        let got = read(BodyLength::Length(5), b"hello, more", portion);
        assert_eq!(got, Some(Ok((b"hello".to_vec(), 5))));
    }
    assert_eq!(read(BodyLength::Length(5), b"hell", 1), None);
    assert_eq!(
        read(BodyLength::Length(0), b"x", 1),
        Some(Ok((Vec::new(), 0)))
    );
    assert_eq!(read(BodyLength::None, b"x", 1), Some(Ok((Vec::new(), 0))));
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_a_byte_is_read() {
    let limit = Limits::default().body_bytes as u64;
    let new = |size| BodyReader::new(BodyLength::Length(size), &Limits::default());
    assert!(new(limit).is_ok());
    assert_eq!(new(limit + 1), Err(Refusal::BodyTooLarge));
    assert_eq!(new(u64::MAX), Err(Refusal::BodyTooLarge));
}

#[test]
fn chunks_are_put_together() {
    check(b"0\r\n\r\n", Ok(b""));
    check(b"5\r\nhello\r\n0\r\n\r\n", Ok(b"hello"));
    check(
        b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        Ok(b"hello world"),
    );
    check(b"a\r\n0123456789\r\n0\r\n\r\n", Ok(b"0123456789"));
    check(b"A\r\n0123456789\r\n0\r\n\r\n", Ok(b"0123456789"));
    check(b"0000000000000001\r\nx\r\n0000\r\n\r\n", Ok(b"x"));
    check(b"2\r\n\r\n\r\n0\r\n\r\n", Ok(b"\r\n"));
}

#[test]
fn a_chunk_size_is_one_to_sixteen_hexadecimal_digits() {
    for bad in [
        &b"\r\n"[..],
        b"zz\r\n",
        b"0x5\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b" 5\r\n",
        b"5 \r\n",
        b"5\t\r\n",
        b"5 ;a\r\n",
        b"00000000000000001\r\n",
        b";a\r\n",
        b"5,\r\n",
        b"\x005\r\n",
    ] {
        check(bad, Err(Refusal::Chunk));
    }
}

#[test]
fn sizes_neither_overflow_nor_pass_the_limit() {
    let limit = Limits::default().body_bytes;
    check(b"ffffffffffffffff\r", Err(Refusal::BodyTooLarge));
    check(
        format!("{:x}\r", limit + 1).as_bytes(),
        Err(Refusal::BodyTooLarge),
    );
    check(b"1\r\nx\r\nffffffffffffffff\r", Err(Refusal::BodyTooLarge));
    check(
        format!("1\r\nx\r\n{limit:x}\r").as_bytes(),
        Err(Refusal::BodyTooLarge),
    );
    let limits = Limits {
        body_bytes: 3,
        ..Limits::default()
    };
    let got = read_with(
        &limits,
        BodyLength::Chunked,
        b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        1,
    );
    assert_eq!(got.unwrap().unwrap().0, b"abc");
    let got = read_with(&limits, BodyLength::Chunked, b"2\r\nab\r\n2\r\n", 1);
    assert_eq!(got, Some(Err(Refusal::BodyTooLarge)));
}

#[test]
fn lines_of_the_framing_end_with_crlf() {
    for bad in [
        &b"5\n"[..],
        b"5\r\r",
        b"5\rx",
        b"1\r\nx\n",
        b"1\r\nxy",
        b"1\r\nx\r\r",
        b"1\r\nx\rx",
        b"1;a\n",
        b"1;a\rb",
        b"1;a=b\n",
        b"1;a=\"b\n",
        b"1;a=\"b\"\n",
    ] {
        check(bad, Err(Refusal::Chunk));
    }
    for bad in [
        &b"0\r\n\rx"[..],
        b"0\r\n\n",
        b"0\r\na: b\n",
        b"0\r\na: b\rc",
    ] {
        check(bad, Err(Refusal::Trailer));
    }
}

#[test]
fn extensions_follow_their_grammar_and_are_dropped() {
    for good in [
        &b";a"[..],
        b";a=b",
        b";a=b;c",
        b"; a = b ;c",
        b";a\t=\tb",
        b";a=\"\"",
        b";a=\"b;c\\\"d\"",
        b";a=\"b\";c=d",
        b";a=\"b\" ;c",
        b";a=\"\xc3\xa4\t\"",
        b";a ;b",
    ] {
        let input = [b"1", good, b"\r\nx\r\n0", good, b"\r\n\r\n"].concat();
        check(&input, Ok(b"x"));
    }
    for bad in [
        &b";\r"[..],
        b"; \r",
        b";;",
        b";a;\r",
        b";=b",
        b";a=\r",
        b";a=;",
        b";a \r",
        b";a=b \r",
        b";a=\"b\" \r",
        b";a=\"b\"c",
        b";a=\"\x00",
        b";a=\"\\\x7f",
        b";a=b\"",
        b";a\0",
        b";a b",
        b";a=b c",
        b";a(",
    ] {
        check(&[b"1", bad].concat(), Err(Refusal::Chunk));
    }
}

#[test]
fn extensions_are_bounded_by_chunk_and_by_message() {
    let limits = Limits::default();
    let extension = |size: usize| [b";", "a".repeat(size - 1).as_bytes()].concat();
    let chunk = |size| [b"1", &extension(size)[..], b"\r\nx\r\n"].concat();
    let fits = limits.chunk_extension_bytes;
    let whole = [&chunk(fits)[..], b"0\r\n\r\n"].concat();
    check(&whole, Ok(b"x"));
    check(
        &[b"1", &extension(fits + 1)[..]].concat(),
        Err(Refusal::Chunk),
    );
    let count = limits.chunk_extensions_message_bytes / fits;
    let full = chunk(fits).repeat(count);
    check(&[&full[..], b"0\r\n\r\n"].concat(), Ok(&b"x".repeat(count)));
    check(&[&full[..], b"1;"].concat(), Err(Refusal::Chunk));
}

#[test]
fn trailers_are_checked_and_dropped() {
    check(b"0\r\na: b\r\nC-d:\r\n\r\n", Ok(b""));
    for bad in [
        &b"0\r\n: b"[..],
        b"0\r\na b",
        b"0\r\na\r",
        b"0\r\n a",
        b"0\r\na: b\r\n c",
        b"0\r\na: \0",
        b"0\r\na: \x7f",
        b"0\r\na : b",
    ] {
        let end = if bad.ends_with(b" : b") {
            bad.len() - 2
        } else {
            bad.len()
        };
        check(&bad[..end], Err(Refusal::Trailer));
    }
}

#[test]
fn trailers_are_bounded() {
    let limits = Limits::default();
    let lines = |count: usize| "a: b\r\n".repeat(count);
    let most = limits.trailer_fields_count;
    check(format!("0\r\n{}\r\n", lines(most)).as_bytes(), Ok(b""));
    check(
        format!("0\r\n{}a", lines(most)).as_bytes(),
        Err(Refusal::TrailersTooLarge),
    );
    // Line ends count, but not the one that ends the section.
    let value = "v".repeat(limits.trailer_bytes - "a:\r\n".len());
    check(format!("0\r\na:{value}\r\n\r\n").as_bytes(), Ok(b""));
    check(
        format!("0\r\na:{value}v\r\n").as_bytes(),
        Err(Refusal::TrailersTooLarge),
    );
}

/// Bytes that look like chunks often enough to get deep into the grammar.
fn framing_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(&b"5\r\nhello\r\n"[..]),
        Just(&b"1;a=\"b\"\r\nx\r\n"[..]),
        Just(&b"0\r\n"[..]),
        Just(&b"a: b\r\n"[..]),
        Just(&b"\r\n"[..]),
        Just(&b"\r"[..]),
        Just(&b"\n"[..]),
        Just(&b"1"[..]),
        Just(&b"; a = b"[..]),
        Just(&b" "[..]),
        Just(&b"z"[..]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_body(input in framing_like(), portion in 1_usize..20) {
        let whole = read(BodyLength::Chunked, &input, input.len());
        prop_assert_eq!(read(BodyLength::Chunked, &input, portion), whole);
    }

    #[test]
    fn a_chunked_payload_comes_back(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..10),
        portion in 1_usize..60,
    ) {
        let mut input = Vec::new();
        for chunk in &chunks {
            input.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            input.extend_from_slice(chunk);
            input.extend_from_slice(b"\r\n");
        }
        input.extend_from_slice(b"0\r\n\r\nmore");
        let expected = (chunks.concat(), input.len() - 4);
        prop_assert_eq!(read(BodyLength::Chunked, &input, portion), Some(Ok(expected)));
    }
}
