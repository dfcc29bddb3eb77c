//! Session descriptions (RFC 8866) as WebRTC uses them: parser, writer, offer and answer.
