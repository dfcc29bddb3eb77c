//! Each rule of a head, and any split of the input.

use proptest::prelude::*;

use super::*;

fn parse(bytes: &[u8]) -> Result<Option<(RequestHead, usize)>, Refusal> {
    parse_head(bytes, &Limits::default())
}

fn accepted(bytes: &[u8]) -> RequestHead {
    match parse(bytes) {
        Ok(Some((head, size))) => {
            assert_eq!(size, bytes.len(), "{}", bytes.escape_ascii());
            head
        }
        other => panic!("{} gives {other:?}", bytes.escape_ascii()),
    }
}

fn check_refused(bytes: &[u8], refusal: Refusal) {
    assert_eq!(parse(bytes), Err(refusal), "{}", bytes.escape_ascii());
}

/// A GET with some field lines beside `Host`.
fn with(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n").into_bytes()
}

/// A request with another request line.
fn line(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: x\r\n\r\n").into_bytes()
}

#[test]
fn a_request_of_a_browser_is_taken_apart() {
    let head = accepted(
        b"POST /janus/12/34?maxev=5&rid=%20 HTTP/1.1\r\n\
          Host: gateway.example:8088\r\n\
          Connection: keep-alive\r\n\
          Content-Length: 37\r\n\
          User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
          Accept: application/json, text/plain, */*\r\n\
          content-type: application/json\r\n\
          ORIGIN: https://app.example\r\n\
          Referer: https://app.example/call\r\n\
          X-Forwarded-For:  10.0.0.1, 10.0.0.2\t\r\n\
          Last-Event-ID: 7\r\n\
          Upgrade: h2c\r\n\
          Authorization: Bearer x\r\n\
          Access-Control-Request-Method: POST\r\n\
          Access-Control-Request-Headers: content-type\r\n\r\n",
    );
    assert_eq!(head.method(), Method::Post);
    assert_eq!(
        (head.path(), head.query()),
        ("/janus/12/34", Some("maxev=5&rid=%20"))
    );
    assert_eq!(
        (head.version(), head.body()),
        (Version::Http11, BodyLength::Length(37))
    );
    assert!(head.keep_alive() && !head.expect_continue());
    for (field, value) in [
        (Field::Accept, "application/json, text/plain, */*"),
        (Field::AccessControlRequestHeaders, "content-type"),
        (Field::AccessControlRequestMethod, "POST"),
        (Field::Authorization, "Bearer x"),
        (Field::ContentType, "application/json"),
        (Field::Host, "gateway.example:8088"),
        (Field::LastEventId, "7"),
        (Field::Origin, "https://app.example"),
        (Field::Referer, "https://app.example/call"),
        (Field::Upgrade, "h2c"),
        (Field::XForwardedFor, "10.0.0.1, 10.0.0.2"),
    ] {
        assert_eq!(head.text(field), Some(value), "{field:?}");
    }
    assert_eq!(head.fields().count(), 14);
    assert_eq!(
        head.fields().next(),
        Some(("Host", &b"gateway.example:8088"[..]))
    );
}

#[test]
fn of_a_repeated_field_the_first_line_counts() {
    let head = accepted(&with("Origin: a\r\norigin: b\r\n"));
    assert_eq!(head.text(Field::Origin), Some("a"));
    let all: Vec<_> = head.fields().collect();
    let expected: [(&str, &[u8]); 3] = [("Host", b"x"), ("Origin", b"a"), ("origin", b"b")];
    assert_eq!(all, expected);
}

#[test]
fn only_crlf_ends_a_line() {
    for bad in [
        &b"GET / HTTP/1.1\n"[..],
        b"GET / HTTP/1.1\r\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\n",
        b"GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
        b"GET / HTTP/1.1\rHost: x\r\r",
        b"GET / HTTP/1.1\r\nHost: x\r\r\n\r\n",
        b"GET / HTTP/1.1\r\n\rHost: x",
        b"G\nET / HTTP/1.1",
    ] {
        check_refused(bad, Refusal::LineEnd);
    }
}

#[test]
fn one_empty_line_before_a_request_is_skipped() {
    assert_eq!(
        accepted(b"\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n").path(),
        "/a"
    );
    check_refused(
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        Refusal::RequestLine,
    );
    check_refused(b"\n", Refusal::LineEnd);
}

#[test]
fn versions_one_are_served_and_others_are_not() {
    for (text, version) in [
        ("1.0", Version::Http10),
        ("1.1", Version::Http11),
        ("1.2", Version::Http11),
        ("1.9", Version::Http11),
    ] {
        let head = accepted(&line(&format!("GET / HTTP/{text}")));
        assert_eq!(head.version(), version);
    }
    for text in ["HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/9.9"] {
        check_refused(&line(&format!("GET / {text}")), Refusal::Version);
    }
    check_refused(b"PRI * HTTP/2.0\r\n\r\n", Refusal::Version);
    for text in [
        "HTTP/1",
        "HTTP/1.",
        "HTTP/1.10",
        "HTTP/11",
        "http/1.1",
        "HTTP/a.b",
        "HTTP/ 1.1",
        "1.1",
        "HTTPS/1.1",
        "",
    ] {
        check_refused(&line(&format!("GET / {text}")), Refusal::RequestLine);
    }
}

#[test]
fn a_request_line_is_three_parts_with_one_space_between() {
    for bad in [
        "GET",
        "GET /",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "GET / a HTTP/1.1",
        "GET /\tHTTP/1.1",
        " GET / HTTP/1.1",
        "(GET) / HTTP/1.1",
        "G(T / HTTP/1.1",
        "\u{16}\u{3}\u{1} / HTTP/1.1",
    ] {
        check_refused(&line(bad), Refusal::RequestLine);
    }
}

#[test]
fn what_is_no_http_is_not_waited_for() {
    check_refused(b"\x16\x03\x01\x02\x00\x01", Refusal::RequestLine);
    check_refused(b"{\"janus\"", Refusal::RequestLine);
    check_refused(b"\r\n\x16", Refusal::RequestLine);
}

#[test]
fn methods_are_known_or_refused() {
    for method in [
        Method::Delete,
        Method::Get,
        Method::Head,
        Method::Options,
        Method::Patch,
        Method::Post,
        Method::Put,
        Method::Trace,
    ] {
        let head = accepted(&line(&format!("{} / HTTP/1.1", method.as_str())));
        assert_eq!(head.method(), method);
    }
    let long = "M".repeat(32);
    for other in ["BREW", "get", "CONNECT", "PROPFIND", &long] {
        check_refused(&line(&format!("{other} / HTTP/1.1")), Refusal::Method);
    }
    check_refused(&line(&format!("{long}M / HTTP/1.1")), Refusal::RequestLine);
}

#[test]
fn targets_have_three_forms() {
    for (target, path, query) in [
        ("/", "/", None),
        ("/?", "/", Some("")),
        ("/a/b?c=d?e", "/a/b", Some("c=d?e")),
        ("//janus/info", "//janus/info", None),
        ("/%00%zz", "/%00%zz", None),
        ("http://x/janus", "/janus", None),
        ("HTTPS://x:443/janus?a", "/janus", Some("a")),
        ("http://x", "/", None),
        ("http://x?a", "/", Some("a")),
        ("http://[::1]:80/", "/", None),
    ] {
        let head = accepted(&line(&format!("GET {target} HTTP/1.1")));
        assert_eq!((head.path(), head.query()), (path, query), "{target}");
    }
    assert_eq!(accepted(&line("OPTIONS * HTTP/1.1")).path(), "*");
    for bad in [
        "*",
        "a",
        "janus/info",
        "/a#b",
        "/ä",
        "/\u{7f}",
        "/\u{1}",
        "http:///a",
        "http://",
        "ftp://x/",
        "http://u@x/",
        "x:80",
        "http:/x",
        "*a",
        "?a",
    ] {
        check_refused(&line(&format!("GET {bad} HTTP/1.1")), Refusal::Target);
    }
}

#[test]
fn field_lines_follow_their_grammar() {
    for bad in [
        "a b: c\r\n",
        "a : c\r\n",
        ": c\r\n",
        "abc\r\n",
        " a: b\r\n",
        "a: b\r\n c\r\n",
        "a: b\r\n\tc\r\n",
        "a: \0\r\n",
        "a: \u{1}\r\n",
        "a: \u{7f}\r\n",
        "a\u{e4}: b\r\n",
        "a(: b\r\n",
        "a\0: b\r\n",
    ] {
        check_refused(&with(bad), Refusal::Field);
    }
    accepted(&with(
        "a:\r\nb:  \t \r\nc: \u{e4} d\te\r\n!#$%&'*+-.^_`|~: x\r\n",
    ));
}

#[test]
fn obs_text_is_passed_as_bytes_but_not_as_text() {
    let head = accepted(b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: \xff\r\n\r\n");
    assert_eq!(head.field(Field::Origin), Some(&b"\xff"[..]));
    assert_eq!(head.text(Field::Origin), None);
}

#[test]
fn http_1_1_needs_exactly_one_valid_host() {
    check_refused(b"GET / HTTP/1.1\r\n\r\n", Refusal::Host);
    check_refused(&with("Host: x\r\n"), Refusal::Host);
    check_refused(
        b"GET / HTTP/1.0\r\nHost: x\r\nhost: x\r\n\r\n",
        Refusal::Host,
    );
    accepted(b"GET / HTTP/1.0\r\n\r\n");
    for good in [
        "a",
        "a.b:80",
        "127.0.0.1:8088",
        "[::1]",
        "[::1]:1",
        "a:",
        "A_b-c~",
        "%41",
        "a!$&'()*+,;=",
    ] {
        accepted(format!("GET / HTTP/1.1\r\nHost: {good}\r\n\r\n").as_bytes());
    }
    for bad in [
        "", "a b", "a/b", "a@b", "a:b", "a:123456", "[::1", "[]", "[::1]x", "[g]", "a?b", "a#b",
        "%4", "%zz", ":80", "a:80:80", "\"a\"", "\u{e4}",
    ] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n").into_bytes();
        check_refused(&bytes, Refusal::Host);
    }
}

#[test]
fn a_content_length_is_one_line_of_one_to_nineteen_digits() {
    for (text, length) in [
        ("0", 0),
        ("37", 37),
        ("007", 7),
        ("9999999999999999999", 9_999_999_999_999_999_999),
    ] {
        let head = accepted(&with(&format!("Content-Length: {text}\r\n")));
        assert_eq!(head.body(), BodyLength::Length(length));
    }
    for bad in [
        "",
        "abc",
        "-5",
        "+5",
        "0x10",
        "5,5",
        "5, 5",
        "5 5",
        "1.0",
        "12345678901234567890",
        "99999999999999999999999",
        "5;",
        "\u{0665}",
    ] {
        check_refused(
            &with(&format!("Content-Length: {bad}\r\n")),
            Refusal::ContentLength,
        );
    }
    check_refused(
        &with("Content-Length: 5\r\nContent-Length: 5\r\n"),
        Refusal::ContentLength,
    );
    assert_eq!(accepted(&with("")).body(), BodyLength::None);
}

#[test]
fn a_transfer_encoding_is_chunked_and_nothing_else() {
    for good in ["chunked", "Chunked", "CHUNKED", " chunked "] {
        let head = accepted(&with(&format!("Transfer-Encoding: {good}\r\n")));
        assert_eq!(head.body(), BodyLength::Chunked);
    }
    for coding in ["gzip", "identity", "xchunked", "chunked2"] {
        let bytes = with(&format!("Transfer-Encoding: {coding}\r\n"));
        check_refused(&bytes, Refusal::TransferCoding);
    }
    for bad in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: gzip\r\n",
    ] {
        check_refused(&with(bad), Refusal::TransferEncoding);
    }
    check_refused(
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        Refusal::TransferEncoding,
    );
}

#[test]
fn connections_are_kept_as_the_version_says() {
    let kept = |version: &str, fields: &str| {
        accepted(format!("GET / HTTP/{version}\r\nHost: x\r\n{fields}\r\n").as_bytes()).keep_alive()
    };
    assert!(kept("1.1", ""));
    assert!(!kept("1.0", ""));
    assert!(kept("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!kept("1.1", "Connection: Close\r\n"));
    assert!(!kept("1.1", "Connection: te, close\r\n"));
    assert!(!kept(
        "1.1",
        "Connection: keep-alive\r\nConnection: close\r\n"
    ));
    assert!(!kept("1.0", "Connection: keep-alive, close\r\n"));
    assert!(kept("1.1", "Connection: closed\r\n"));
}

#[test]
fn only_100_continue_can_be_expected() {
    assert!(accepted(&with("Expect: 100-Continue\r\n")).expect_continue());
    assert!(!accepted(b"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expect_continue());
    for bad in ["", "200-ok", "100-continue, x"] {
        check_refused(&with(&format!("Expect: {bad}\r\n")), Refusal::Expectation);
    }
}

#[test]
fn the_request_line_is_bounded() {
    let limit = Limits::default().request_line_bytes;
    let target = |line_size: usize| "a".repeat(line_size - "GET / HTTP/1.1".len());
    let sized = |size| line(&format!("GET /{} HTTP/1.1", target(size)));
    accepted(&sized(8_000));
    accepted(&sized(limit));
    check_refused(&sized(limit + 1), Refusal::RequestLineTooLong);
    check_refused(&b"G".repeat(limit + 1), Refusal::RequestLineTooLong);
    assert_eq!(parse(&b"G".repeat(limit)), Ok(None));
}

#[test]
fn the_header_section_is_bounded() {
    let limits = Limits::default();
    let field = |size: usize| format!("a:{}\r\n", "b".repeat(size - 2));
    accepted(&with(&field(limits.field_line_bytes)));
    check_refused(
        &with(&field(limits.field_line_bytes + 1)),
        Refusal::FieldsTooLarge,
    );
    // "Host: x", two long lines and their ends.
    let rest = limits.head_bytes - "Host: x\r\n".len() - limits.field_line_bytes - 2;
    let long = field(limits.field_line_bytes);
    accepted(&with(&format!("{long}{}", field(rest - 2))));
    check_refused(
        &with(&format!("{long}{}", field(rest + 1))),
        Refusal::FieldsTooLarge,
    );
    let many = |count: usize| with(&"a: b\r\n".repeat(count - 1));
    accepted(&many(24));
    accepted(&many(25));
    accepted(&many(limits.fields_count));
    check_refused(&many(limits.fields_count + 1), Refusal::FieldsTooLarge);
}

#[test]
fn a_head_that_is_not_complete_is_waited_for() {
    let whole = with("a: b\r\n");
    for size in 0..whole.len() {
        assert_eq!(parse(&whole[..size]), Ok(None), "{size}");
    }
}

/// Reads as a connection does: bytes are added, and the reader looks again.
fn read_in_portions(
    bytes: &[u8],
    portions: &[usize],
) -> Result<Option<(RequestHead, usize)>, Refusal> {
    let (mut reader, mut end) = (HeadReader::default(), 0_usize);
    let limits = Limits {
        request_line_bytes: 40,
        field_line_bytes: 24,
        head_bytes: 60,
        fields_count: 4,
        ..Limits::default()
    };
    for portion in portions.iter().chain([&usize::MAX]) {
        end = end.saturating_add(*portion).min(bytes.len());
        if let Some(done) = reader.read(&bytes[..end], &limits)? {
            assert_eq!(reader, HeadReader::default(), "ready for another head");
            return Ok(Some(done));
        }
    }
    Ok(None)
}

/// Bytes that look like heads often enough to get to every rule.
fn head_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(&b"GET / HTTP/1.1\r\n"[..]),
        4 => Just(&b"Host: x\r\n"[..]),
        4 => Just(&b"\r\n"[..]),
        1 => Just(&b"a: b\r\n"[..]),
        1 => Just(&b"Content-Length: 5\r\n"[..]),
        1 => Just(&b"\r"[..]),
        1 => Just(&b"\n"[..]),
        1 => Just(&b"a"[..]),
        1 => Just(&b" "[..]),
        1 => Just(&b"aaaaaaaaaaaaaaaaaaaaaaaaa"[..]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_head(
        bytes in head_like(),
        portions in prop::collection::vec(1_usize..12, 0..40),
    ) {
        let whole = read_in_portions(&bytes, &[]);
        prop_assert_eq!(read_in_portions(&bytes, &portions), whole);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let _ = parse(&[b"GET / HTTP/1.1\r\n", &bytes[..], b"\r\n\r\n"].concat());
    }
}
