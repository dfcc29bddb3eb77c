//! Writing a session description.
//!
//! The order of the lines is that of Janus, since some clients rewrite them by position. Every line
//! goes through one function that keeps a value on its line, whatever it holds.

use std::fmt::{self, Write};

use super::{
    Attribute, Bandwidth, Codec, Fingerprint, IceParameters, MediaDescription, MediaKind,
    SessionDescription, Setup, Simulcast, SimulcastRid,
};

impl fmt::Display for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write_to(&mut text);
        f.write_str(&text)
    }
}

impl fmt::Display for Fingerprint {
    /// Writes the value of the attribute: `sha-256 12:AB:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.hash)?;
        for (index, byte) in self.bytes.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl SessionDescription {
    /// Appends the description as text; lines end in CRLF.
    pub fn write_to(&self, text: &mut String) {
        let mut out = Lines { text };
        let origin = &self.origin;
        let address = Address(&origin.address);
        out.line(format_args!("v=0"));
        out.line(format_args!(
            "o={} {} {} {address}",
            origin.username, origin.session_id, origin.version
        ));
        out.line(format_args!("s={}", self.name));
        out.connection(self.connection.as_deref());
        out.bandwidth(&self.bandwidth);
        out.line(format_args!("t=0 0"));
        if !self.bundle.is_empty() {
            out.line(format_args!("a=group:BUNDLE {}", self.bundle.join(" ")));
        }
        out.credentials(self.ice.as_ref(), &self.ice_options);
        out.certificates(&self.fingerprints, self.setup);
        if self.extmap_allow_mixed {
            out.line(format_args!("a=extmap-allow-mixed"));
        }
        if let Some(semantic) = &self.msid_semantic {
            out.line(format_args!("a=msid-semantic: {semantic}"));
        }
        if self.ice_lite {
            out.line(format_args!("a=ice-lite"));
        }
        out.attributes(&self.attributes);
        for media in &self.media {
            out.media(media);
        }
    }
}

struct Lines<'a> {
    text: &'a mut String,
}

impl Lines<'_> {
    /// Writes one line; control characters become spaces, so that no value can begin a new one.
    fn line(&mut self, line: fmt::Arguments<'_>) {
        let start = self.text.len();
        self.text.write_fmt(line).expect("a string takes all text");
        if self.text[start..]
            .bytes()
            .any(|byte| byte.is_ascii_control() && byte != b'\t')
        {
            let written = self.text.split_off(start);
            let is_kept = |each: char| !each.is_ascii_control() || each == '\t';
            self.text.extend(
                written
                    .chars()
                    .map(|each| if is_kept(each) { each } else { ' ' }),
            );
        }
        self.text.push_str("\r\n");
    }

    fn media(&mut self, media: &MediaDescription) {
        self.media_line(media);
        self.connection(media.connection.as_deref());
        self.bandwidth(&media.bandwidth);
        self.line(format_args!("a={}", media.direction.as_str()));
        if let Some(mid) = &media.mid {
            self.line(format_args!("a=mid:{mid}"));
        }
        if media.bundle_only {
            self.line(format_args!("a=bundle-only"));
        }
        if media.rtcp_mux {
            self.line(format_args!("a=rtcp-mux"));
        }
        if media.rtcp_rsize {
            self.line(format_args!("a=rtcp-rsize"));
        }
        self.sctp(media);
        self.credentials(media.ice.as_ref(), &media.ice_options);
        self.certificates(&media.fingerprints, media.setup);
        match media.kind {
            MediaKind::Video => self.video_codecs(media),
            MediaKind::Application | MediaKind::Audio | MediaKind::Other(_) => {
                self.audio_codecs(media);
            }
        }
        if let Some(ptime) = media.ptime {
            self.line(format_args!("a=ptime:{ptime}"));
        }
        self.sources(media);
        self.encodings(media);
        self.attributes(&media.attributes);
        for candidate in &media.candidates {
            self.line(format_args!("a={candidate}"));
        }
        if media.end_of_candidates {
            self.line(format_args!("a=end-of-candidates"));
        }
    }

    fn media_line(&mut self, media: &MediaDescription) {
        let numbers = media.codecs.iter().map(|codec| codec.pt.to_string());
        let formats = numbers
            .chain(media.formats.iter().cloned())
            .collect::<Vec<_>>()
            .join(" ");
        let (kind, port, protocol) = (media.kind.as_str(), media.port, &media.protocol);
        self.line(format_args!("m={kind} {port} {protocol} {formats}"));
    }

    /// Names and parameters of all codecs before the extensions.
    fn audio_codecs(&mut self, media: &MediaDescription) {
        for codec in &media.codecs {
            self.rtpmap(codec);
        }
        for codec in &media.codecs {
            self.fmtp(codec);
        }
        for codec in &media.codecs {
            self.feedback(codec);
        }
        self.extensions(media);
    }

    /// The extensions between the preferred codec and its parameters.
    fn video_codecs(&mut self, media: &MediaDescription) {
        let (preferred, others) = match media.codecs.split_first() {
            Some((preferred, others)) => (Some(preferred), others),
            None => (None, media.codecs.as_slice()),
        };
        if let Some(codec) = preferred {
            self.rtpmap(codec);
            self.feedback(codec);
        }
        self.extensions(media);
        if let Some(codec) = preferred {
            self.fmtp(codec);
        }
        for codec in others {
            self.rtpmap(codec);
            self.feedback(codec);
            self.fmtp(codec);
        }
    }

    fn rtpmap(&mut self, codec: &Codec) {
        let Codec {
            pt,
            name,
            clock_rate,
            ..
        } = codec;
        match codec.channels {
            Some(channels) => {
                self.line(format_args!("a=rtpmap:{pt} {name}/{clock_rate}/{channels}"));
            }
            None => self.line(format_args!("a=rtpmap:{pt} {name}/{clock_rate}")),
        }
    }

    fn fmtp(&mut self, codec: &Codec) {
        if let Some(parameters) = &codec.fmtp {
            self.line(format_args!("a=fmtp:{} {parameters}", codec.pt));
        }
    }

    fn feedback(&mut self, codec: &Codec) {
        for message in &codec.feedback {
            self.line(format_args!("a=rtcp-fb:{} {message}", codec.pt));
        }
    }

    fn extensions(&mut self, media: &MediaDescription) {
        for extension in &media.extensions {
            let (id, uri) = (extension.id, &extension.uri);
            match extension.direction {
                Some(direction) => {
                    self.line(format_args!("a=extmap:{id}/{} {uri}", direction.as_str()));
                }
                None => self.line(format_args!("a=extmap:{id} {uri}")),
            }
        }
    }

    fn sources(&mut self, media: &MediaDescription) {
        for group in &media.ssrc_groups {
            let members: Vec<_> = group.ssrcs.iter().map(u32::to_string).collect();
            self.line(format_args!(
                "a=ssrc-group:{} {}",
                group.semantics,
                members.join(" ")
            ));
        }
        if let Some(msid) = &media.msid {
            self.line(format_args!("a=msid:{msid}"));
        }
        for ssrc in &media.ssrcs {
            if ssrc.cname.is_none() && ssrc.msid.is_none() {
                self.line(format_args!("a=ssrc:{}", ssrc.id));
            }
            if let Some(cname) = &ssrc.cname {
                self.line(format_args!("a=ssrc:{} cname:{cname}", ssrc.id));
            }
            if let Some(msid) = &ssrc.msid {
                self.line(format_args!("a=ssrc:{} msid:{msid}", ssrc.id));
            }
        }
    }

    fn encodings(&mut self, media: &MediaDescription) {
        for rid in &media.rids {
            let direction = rid.direction.as_str();
            match &rid.parameters {
                Some(parameters) => {
                    self.line(format_args!("a=rid:{} {direction} {parameters}", rid.id));
                }
                None => self.line(format_args!("a=rid:{} {direction}", rid.id)),
            }
        }
        if let Some(simulcast) = &media.simulcast {
            self.line(format_args!("a=simulcast:{simulcast}"));
        }
    }

    fn sctp(&mut self, media: &MediaDescription) {
        if let Some(port) = media.sctp_port {
            if media.protocol == "DTLS/SCTP" {
                // The form before RFC 8841, for clients that use it; 16 is the number of streams.
                self.line(format_args!("a=sctpmap:{port} webrtc-datachannel 16"));
            } else {
                self.line(format_args!("a=sctp-port:{port}"));
            }
        }
        if let Some(size) = media.max_message_size {
            self.line(format_args!("a=max-message-size:{size}"));
        }
    }

    fn connection(&mut self, address: Option<&str>) {
        if let Some(address) = address {
            self.line(format_args!("c={}", Address(address)));
        }
    }

    fn bandwidth(&mut self, limits: &[Bandwidth]) {
        for limit in limits {
            self.line(format_args!("b={}:{}", limit.kind, limit.value));
        }
    }

    fn credentials(&mut self, ice: Option<&IceParameters>, options: &[String]) {
        if let Some(ice) = ice {
            self.line(format_args!("a=ice-ufrag:{}", ice.ufrag));
            self.line(format_args!("a=ice-pwd:{}", ice.pwd));
        }
        if !options.is_empty() {
            self.line(format_args!("a=ice-options:{}", options.join(" ")));
        }
    }

    fn certificates(&mut self, fingerprints: &[Fingerprint], setup: Option<Setup>) {
        for fingerprint in fingerprints {
            self.line(format_args!("a=fingerprint:{fingerprint}"));
        }
        if let Some(setup) = setup {
            self.line(format_args!("a=setup:{}", setup.as_str()));
        }
    }

    fn attributes(&mut self, attributes: &[Attribute]) {
        for attribute in attributes {
            match &attribute.value {
                Some(value) => self.line(format_args!("a={}:{value}", attribute.name)),
                None => self.line(format_args!("a={}", attribute.name)),
            }
        }
    }
}

/// An address after its type, which its form tells.
struct Address<'a>(&'a str);

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = if self.0.contains(':') { 6 } else { 4 };
        write!(f, "IN IP{version} {}", self.0)
    }
}

impl fmt::Display for super::Msid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stream)?;
        match &self.track {
            Some(track) => write!(f, " {track}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Simulcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [("send", &self.send), ("recv", &self.recv)];
        let mut space = "";
        for (direction, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            let entries: Vec<String> = list.iter().map(|entry| alternatives(entry)).collect();
            write!(f, "{space}{direction} {}", entries.join(";"))?;
            space = " ";
        }
        Ok(())
    }
}

fn alternatives(entry: &[SimulcastRid]) -> String {
    let word = |each: &SimulcastRid| format!("{}{}", if each.paused { "~" } else { "" }, each.rid);
    entry.iter().map(word).collect::<Vec<_>>().join(",")
}
