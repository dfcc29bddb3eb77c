//! Status codes that the gateway sends, and the reasons for which a message is refused.

/// A status of an answer (RFC 9110 §15), in the order of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Status {
    /// 101; never has a body.
    SwitchingProtocols = 101,
    /// 200.
    Ok = 200,
    /// 204; never has a body.
    NoContent = 204,
    /// 302.
    Found = 302,
    /// 304; never has a body.
    NotModified = 304,
    /// 400.
    BadRequest = 400,
    /// 403.
    Forbidden = 403,
    /// 404.
    NotFound = 404,
    /// 405; goes with `Allow`.
    MethodNotAllowed = 405,
    /// 406.
    NotAcceptable = 406,
    /// 408.
    RequestTimeout = 408,
    /// 413.
    ContentTooLarge = 413,
    /// 414.
    UriTooLong = 414,
    /// 417.
    ExpectationFailed = 417,
    /// 426; goes with `Upgrade`, which is WebSocket here.
    UpgradeRequired = 426,
    /// 429.
    TooManyRequests = 429,
    /// 431.
    FieldsTooLarge = 431,
    /// 500.
    InternalServerError = 500,
    /// 501.
    NotImplemented = 501,
    /// 503.
    ServiceUnavailable = 503,
    /// 505.
    VersionNotSupported = 505,
}

impl Status {
    /// The number.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// Whether an answer with this status can have a body (RFC 9110 §6.4.1).
    pub const fn may_have_body(self) -> bool {
        !matches!(
            self,
            Self::SwitchingProtocols | Self::NoContent | Self::NotModified
        )
    }

    /// The status line with its CRLF.
    pub(crate) const fn line(self) -> &'static str {
        match self {
            Self::SwitchingProtocols => "HTTP/1.1 101 Switching Protocols\r\n",
            Self::Ok => "HTTP/1.1 200 OK\r\n",
            Self::NoContent => "HTTP/1.1 204 No Content\r\n",
            Self::Found => "HTTP/1.1 302 Found\r\n",
            Self::NotModified => "HTTP/1.1 304 Not Modified\r\n",
            Self::BadRequest => "HTTP/1.1 400 Bad Request\r\n",
            Self::Forbidden => "HTTP/1.1 403 Forbidden\r\n",
            Self::NotFound => "HTTP/1.1 404 Not Found\r\n",
            Self::MethodNotAllowed => "HTTP/1.1 405 Method Not Allowed\r\n",
            Self::NotAcceptable => "HTTP/1.1 406 Not Acceptable\r\n",
            Self::RequestTimeout => "HTTP/1.1 408 Request Timeout\r\n",
            Self::ContentTooLarge => "HTTP/1.1 413 Content Too Large\r\n",
            Self::UriTooLong => "HTTP/1.1 414 URI Too Long\r\n",
            Self::ExpectationFailed => "HTTP/1.1 417 Expectation Failed\r\n",
            Self::UpgradeRequired => "HTTP/1.1 426 Upgrade Required\r\n",
            Self::TooManyRequests => "HTTP/1.1 429 Too Many Requests\r\n",
            Self::FieldsTooLarge => "HTTP/1.1 431 Request Header Fields Too Large\r\n",
            Self::InternalServerError => "HTTP/1.1 500 Internal Server Error\r\n",
            Self::NotImplemented => "HTTP/1.1 501 Not Implemented\r\n",
            Self::ServiceUnavailable => "HTTP/1.1 503 Service Unavailable\r\n",
            Self::VersionNotSupported => "HTTP/1.1 505 HTTP Version Not Supported\r\n",
        }
    }
}

/// Why a message is refused before anybody looks at what it asks for. The connection is closed
/// after the answer, because the next message's beginning is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// All bodies that are being read are together too large.
    BodiesTooLarge,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// Chunk size, extension or framing is not of the grammar, or the extensions are too long.
    Chunk,
    /// `Content-Length` is repeated, or not 1 to 19 digits.
    ContentLength,
    /// An expectation other than `100-continue`.
    Expectation,
    /// A field line is not of the grammar.
    Field,
    /// A field line, or all of them, or their count is too large.
    FieldsTooLarge,
    /// `Host` is missing, repeated or not a host.
    Host,
    /// A line does not end with CRLF, or CR or LF stands alone.
    LineEnd,
    /// The method is not one that is known here.
    Method,
    /// The request line is not three parts with one space between them.
    RequestLine,
    /// The request line is too long.
    RequestLineTooLong,
    /// The body came too slowly.
    SlowBody,
    /// The head came too slowly.
    SlowHead,
    /// The request target is not of the grammar.
    Target,
    /// A trailer line is not of the grammar.
    Trailer,
    /// The trailer section is too large.
    TrailersTooLarge,
    /// A transfer coding other than `chunked`.
    TransferCoding,
    /// `Transfer-Encoding` with HTTP/1.0 or with `Content-Length`, repeated or a list.
    TransferEncoding,
    /// A major version other than 1.
    Version,
}

impl Refusal {
    /// What the client is told.
    pub const fn status(self) -> Status {
        match self {
            Self::BodiesTooLarge => Status::ServiceUnavailable,
            Self::BodyTooLarge => Status::ContentTooLarge,
            Self::Chunk => Status::BadRequest,
            Self::ContentLength => Status::BadRequest,
            Self::Expectation => Status::ExpectationFailed,
            Self::Field => Status::BadRequest,
            Self::FieldsTooLarge => Status::FieldsTooLarge,
            Self::Host => Status::BadRequest,
            Self::LineEnd => Status::BadRequest,
            Self::Method => Status::NotImplemented,
            Self::RequestLine => Status::BadRequest,
            Self::RequestLineTooLong => Status::UriTooLong,
            Self::SlowBody => Status::RequestTimeout,
            Self::SlowHead => Status::RequestTimeout,
            Self::Target => Status::BadRequest,
            Self::Trailer => Status::BadRequest,
            Self::TrailersTooLarge => Status::FieldsTooLarge,
            Self::TransferCoding => Status::NotImplemented,
            Self::TransferEncoding => Status::BadRequest,
            Self::Version => Status::VersionNotSupported,
        }
    }

    /// One line of text for the body of the answer.
    pub const fn text(self) -> &'static str {
        match self {
            Self::BodiesTooLarge => "too many request bodies at once, try again\n",
            Self::BodyTooLarge => "the request body is too large\n",
            Self::Chunk => "malformed chunk\n",
            Self::ContentLength => "malformed Content-Length\n",
            Self::Expectation => "only 100-continue can be expected\n",
            Self::Field => "malformed header field\n",
            Self::FieldsTooLarge => "the header fields are too large\n",
            Self::Host => "missing or malformed Host\n",
            Self::LineEnd => "lines end with CRLF\n",
            Self::Method => "unknown method\n",
            Self::RequestLine => "malformed request line\n",
            Self::RequestLineTooLong => "the request line is too long\n",
            Self::SlowBody => "the request body came too slowly\n",
            Self::SlowHead => "the request head came too slowly\n",
            Self::Target => "malformed request target\n",
            Self::Trailer => "malformed trailer field\n",
            Self::TrailersTooLarge => "the trailer fields are too large\n",
            Self::TransferCoding => "unknown transfer coding\n",
            Self::TransferEncoding => "malformed Transfer-Encoding\n",
            Self::Version => "unknown HTTP version\n",
        }
    }
}
