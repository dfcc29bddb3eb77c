//! Tests of how secrets are found.

use proptest::prelude::*;

use super::*;

/// Treats a text as a whole, and cut everywhere.
fn masked(text: &str) -> String {
    let whole = in_portions(text, &[]);
    for cut in 1..text.len() {
        assert_eq!(in_portions(text, &[cut]), whole, "cut at {cut}");
    }
    let letters: Vec<usize> = (1..text.len()).collect();
    assert_eq!(in_portions(text, &letters), whole, "letter by letter");
    whole
}

fn in_portions(text: &str, cuts: &[usize]) -> String {
    let (mut place, mut mask) = (Place::default(), Mask::new([5; 16]));
    let mut bytes = text.as_bytes().to_vec();
    let mut from = 0;
    for &cut in cuts.iter().chain([&text.len()]) {
        let mut looked = place;
        let goes_by = looked.goes_by(&bytes[from..cut]);
        let before = bytes[from..cut].to_vec();
        assert_eq!(place.treat(&mut bytes[from..cut], &mut mask), None);
        assert!(!goes_by || before == bytes[from..cut], "{text}");
        from = cut;
    }
    String::from_utf8(bytes).unwrap()
}

fn mask(text: &str) -> String {
    Mask::new([5; 16]).text(text)
}

#[test]
fn members_that_are_secrets_are_masked() {
    for (text, secrets) in [
        (r#"{"janus":"info","apisecret":"abc-9"}"#, &["abc-9"][..]),
        (
            r#"{"token" : "t1", "x":1,"admin_secret":"äb"}"#,
            &["t1", "äb"],
        ),
        ("{\"pin\":\n\t \"1234\",\"secret\":\"\"}", &["1234"]),
        (r#"{"allowed":["aa", "bb"],"b":["cc"]}"#, &["aa", "bb"]),
        (
            r#"{"new_pin":"p1","admin_key":"k:=","a":"b"}"#,
            &["p1", "k:="],
        ),
        (
            "GET /janus/1?apisecret=abc&rid=1 HTTP/1.1\r\nHost: a\r\n\r\n",
            &["abc"],
        ),
        ("GET /a?x=1&token=a:b%2fc HTTP/1.1\r\n\r\n", &["a:b"]),
    ] {
        let mut wanted = text.to_owned();
        for secret in secrets {
            wanted = wanted.replace(secret, &mask(secret));
        }
        // What follows a slash is masked by what stands before it.
        wanted = wanted.replace("%2fc", &format!("%2f{}", &mask("a:b/c")[4..]));
        assert_eq!(masked(text), wanted);
    }
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        r#"{"janus":"create","transaction":"token","tokens":"a","pins":["b"]}"#,
        r#"{"body":{"text":"my \"pin\":\"1\" is"},"pin":5,"allowed":{"a":"b"}}"#,
        "GET /janus/1?maxev=5&mytoken=7 HTTP/1.1\r\nAccept: a=b\r\n\r\n",
        r#"{"sdp":"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\na=pin:x"}"#,
    ] {
        assert_eq!(masked(text), text);
    }
}

#[test]
fn a_secret_that_is_written_otherwise_is_the_same_secret() {
    let plain = masked(r#"{"pin":"ab/c"}"#);
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    for text in [r#"{"pin":"ab\/c"}"#, r#"{"pin":"\u0061b/\u0063"}"#] {
        let other = in_portions(text, &[]);
        assert_ne!(other, text);
        assert_eq!(read(&other), read(&plain), "{other}");
    }
    let query = in_portions("GET /a?token=%61b%2Fc HTTP/1.1\r\n\r\n", &[]);
    let value = query.split(['=', ' ']).nth(2).unwrap();
    let first = u8::from_str_radix(&value[1..3], 16).unwrap();
    let value = format!("{}{}", char::from(first), value[3..].replace("%2F", "/"));
    assert_eq!(value, mask("ab/c"));
}

#[test]
fn each_name_that_is_a_secret_is_found() {
    for name in MEMBERS.iter().map(|name| str::from_utf8(name).unwrap()) {
        let text = format!(r#"{{"janus":"info","{name}":"abc-9","{name}" : "d"}}"#);
        let wanted = text.replace("abc-9", &mask("abc-9"));
        let wanted = wanted.replace(r#""d""#, &format!("\"{}\"", mask("d")));
        assert_eq!(masked(&text), wanted);
    }
    for name in PARAMETERS.iter().map(|name| str::from_utf8(name).unwrap()) {
        let text = format!("GET /janus/info?{name}=abc-9&{name}=d HTTP/1.1\r\n\r\n");
        let wanted = text.replace("abc-9", &mask("abc-9"));
        let wanted = wanted.replace("=d", &format!("={}", mask("d")));
        assert_eq!(masked(&text), wanted);
    }
    for name in FIELDS.iter().map(|name| str::from_utf8(name).unwrap()) {
        for name in [name.to_owned(), name.to_uppercase()] {
            let text = format!("GET / HTTP/1.1\r\n{name}: abc-9\r\n{name}:d\r\n\r\n");
            let wanted = text.replace("abc-9", "xxx-x").replace(":d", ":x");
            assert_eq!(masked(&text), wanted);
        }
    }
}

#[test]
fn header_fields_of_proxies_are_blanked() {
    let head =
        "GET / HTTP/1.1\r\nAuthorization: Basic YWxhZGRpbg==\r\nCookie: a=b; token=7\r\n\r\n";
    let wanted =
        "GET / HTTP/1.1\r\nAuthorization: xxxxx xxxxxxxxxx==\r\nCookie: x=x; xxxxx=x\r\n\r\n";
    assert_eq!(masked(head), wanted);
}

#[test]
fn a_head_that_begins_a_socket_ends_the_portion() {
    let head = "GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n";
    for cut in 0..head.len() {
        let mut place = Place::default();
        let mut bytes = [head.as_bytes(), b"\x81\x80"].concat();
        let (first, rest) = bytes.split_at_mut(cut);
        assert_eq!(place.treat(first, &mut Mask::new([5; 16])), None);
        let end = place.treat(rest, &mut Mask::new([5; 16]));
        assert_eq!(end, Some(head.len() - cut));
    }
}

proptest! {
    #[test]
    fn masked_and_not_look_alike_when_blanked(
        text in r#"(\{"pin": ?"[a-c:\\"u0-9]{0,9}"[,}]|"token" ?:|[?&]token=|[a-c%& =":\[\]\n]|"allowed":\["){0,9}"#,
        cuts in proptest::collection::vec(any::<usize>(), 0..4),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
        cuts.sort_unstable();
        let treat = |bytes: &mut [u8], with: &mut dyn FnMut(&mut Place, &mut [u8])| {
            let (mut place, mut from) = (Place::default(), 0);
            for &cut in cuts.iter().chain([&text.len()]) {
                with(&mut place, &mut bytes[from..cut]);
                from = cut;
            }
        };
        let (mut plain, mut masked) = (text.clone().into_bytes(), text.clone().into_bytes());
        let mut mask = Mask::new([6; 16]);
        treat(&mut masked, &mut |place, bytes| { place.treat(bytes, &mut mask); });
        treat(&mut plain, &mut |place, bytes| { place.treat(bytes, &mut Blank); });
        treat(&mut masked, &mut |place, bytes| { place.treat(bytes, &mut Blank); });
        prop_assert_eq!(String::from_utf8_lossy(&plain), String::from_utf8_lossy(&masked));
    }
}
