//! Heads of responses.

use super::*;

fn date(second: i64) -> String {
    let mut date = HttpDate::default();
    let text = date.at(Realtime::from_unix_micros(second.saturating_mul(1_000_000)));
    String::from_utf8(text.to_vec()).unwrap()
}

#[test]
fn dates_are_imf_fixdates() {
    for (second, text) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
        (978_307_199, "Sun, 31 Dec 2000 23:59:59 GMT"),
        (1_763_791_666, "Sat, 22 Nov 2025 06:07:46 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        assert_eq!(date(second), text);
    }
}

#[test]
fn a_wall_clock_out_of_range_shows_the_nearest_date() {
    assert_eq!(date(-5), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(date(LAST_SECOND + 1), "Fri, 31 Dec 9999 23:59:59 GMT");
}

#[test]
fn days_count_up_through_four_hundred_years_of_months() {
    let length = |year: i64, month: i64| match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let (mut year, mut month, mut day) = (1970, 1, 1);
    for days in 0..146_097 {
        assert_eq!(civil(days), (year, month, day));
        day += 1;
        if day > length(year, month) {
            (month, day) = (month + 1, 1);
        }
        if month > 12 {
            (year, month) = (year + 1, 1);
        }
    }
}

#[test]
fn the_date_is_formatted_again_when_the_clock_steps_back() {
    let mut cached = HttpDate::default();
    let mut at = |second: i64| {
        let text = cached.at(Realtime::from_unix_micros(second * 1_000_000));
        String::from_utf8(text.to_vec()).unwrap()
    };
    assert_eq!(at(86_400), "Fri, 02 Jan 1970 00:00:00 GMT");
    assert_eq!(at(86_400), "Fri, 02 Jan 1970 00:00:00 GMT");
    assert_eq!(at(10), "Thu, 01 Jan 1970 00:00:10 GMT");
}

fn head(response: &Response<'_>, connection: ConnectionField, cors: &Cors, end: BodyEnd) -> String {
    let mut head = Vec::new();
    write_head(&mut head, response, b"DATE", connection, cors, end);
    String::from_utf8(head).unwrap()
}

#[test]
fn fields_come_in_the_order_of_janus() {
    let response = Response {
        location: Some("/janus/1"),
        allow: Some("GET, POST"),
        retry_after_s: Some(1),
        preflight: Preflight::new(Some(b"POST"), Some(b"content-type, x-special")),
        ..Response::json(b"")
    };
    assert_eq!(
        head(
            &response,
            ConnectionField::Close,
            &Cors::any(),
            BodyEnd::Chunked
        ),
        "HTTP/1.1 200 OK\r\nDate: DATE\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Location: /janus/1\r\nAllow: GET, POST\r\nRetry-After: 1\r\n\
         X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\
         Access-Control-Allow-Origin: *\r\nAccess-Control-Max-Age: 86400\r\n\
         Access-Control-Allow-Methods: POST\r\n\
         Access-Control-Allow-Headers: content-type, x-special\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
}

#[test]
fn a_plain_answer_says_no_more_than_it_has_to() {
    assert_eq!(
        head(
            &Response::empty(Status::NotFound),
            ConnectionField::Omitted,
            &Cors::none(),
            BodyEnd::Length(0)
        ),
        "HTTP/1.1 404 Not Found\r\nDate: DATE\r\nX-Content-Type-Options: nosniff\r\n\
         Cache-Control: no-store\r\nContent-Length: 0\r\n\r\n"
    );
    let kept = head(
        &Response::empty(Status::NoContent),
        ConnectionField::KeepAlive,
        &Cors::none(),
        BodyEnd::NoBody,
    );
    assert!(kept.contains("\r\nConnection: keep-alive\r\n"));
    assert!(!kept.contains("Content-Length") && !kept.contains("Transfer-Encoding"));
}

#[test]
fn one_origin_comes_with_credentials() {
    let cors = Cors::only("https://app.example").unwrap();
    let text = head(
        &Response::json(b""),
        ConnectionField::Omitted,
        &cors,
        BodyEnd::Chunked,
    );
    for field in [
        "Access-Control-Allow-Origin: https://app.example\r\n",
        "Access-Control-Allow-Credentials: true\r\n",
        "Access-Control-Max-Age: 86400\r\n",
        "Vary: Origin\r\n",
    ] {
        assert!(text.contains(field), "{field} in {text}");
    }
}

#[test]
fn no_text_of_a_client_splits_a_response() {
    assert_eq!(Cors::only("https://a\r\nX: y"), None);
    assert_eq!(Cors::only(""), None);
    for bad in [
        &b"POST\r\nX: y"[..],
        b"a b",
        b"a, b\x01",
        b"",
        b" , ",
        b"a;b",
    ] {
        let preflight = Preflight::new(Some(bad), Some(bad));
        assert_eq!(preflight, Preflight::NONE, "{bad:?}");
    }
    let response = Response {
        location: Some("/janus/1\r\nX: y"),
        ..Response::empty(Status::Found)
    };
    let text = head(
        &response,
        ConnectionField::Omitted,
        &Cors::none(),
        BodyEnd::Length(0),
    );
    assert!(!text.contains("Location"));
}
