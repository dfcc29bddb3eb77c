//! What subscribers ask for: streams of others, and how they want them.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::media::LayerTarget;
use crate::plugins::videoroom::delay::DelayWish;
use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::fields::Fields;
use crate::plugins::videoroom::ids::{Id, IdForm};
use crate::plugins::videoroom::stream::{StreamInfo, StreamKind};

/// Streams of one publisher.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) feed: Id,
    /// One of them; all otherwise.
    pub(super) mid: Option<Box<str>>,
    pub(super) crossref: Option<Box<str>>,
    pub(super) send: Option<bool>,
    pub(super) layers: LayerWish,
    pub(super) delay: DelayWish,
    /// Kinds that are left out.
    pub(super) without: Vec<StreamKind>,
}

/// Which layers are wanted, where it is said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LayerWish {
    pub(super) substream: Option<u8>,
    pub(super) temporal: Option<u8>,
    fallback: Option<Duration>,
}

/// What feeds a line from now on.
#[derive(Debug)]
pub(super) struct SwitchWish {
    pub(super) feed: Id,
    pub(super) mid: Box<str>,
    pub(super) sub_mid: Box<str>,
    pub(super) layers: LayerWish,
}

/// What is wanted no more.
#[derive(Debug)]
pub(super) struct Unwish {
    pub(super) feed: Option<Id>,
    pub(super) mid: Option<Box<str>>,
    pub(super) sub_mid: Option<Box<str>>,
}

/// How one line is wanted, or all.
#[derive(Debug)]
pub(super) struct LineWish {
    pub(super) mid: Option<Box<str>>,
    pub(super) send: Option<bool>,
    pub(super) layers: LayerWish,
    pub(super) delay: DelayWish,
    /// Only lines of this kind.
    pub(super) kind: Option<StreamKind>,
}

impl Wish {
    /// Reads the streams that a subscriber joins with, in the form of today or of Janus 0.x; the
    /// latter is named by the second value.
    ///
    /// # Errors
    ///
    /// 429 or 430.
    pub(super) fn read_joined(
        fields: &Fields<'_>,
        form: IdForm,
    ) -> Result<(Vec<Self>, bool), Fault> {
        if let Some(streams) = fields
            .may_array("streams")?
            .filter(|array| !array.is_empty())
        {
            return Ok((Self::read_all(streams, form)?, false));
        }
        let feed = fields.need_id("feed")?;
        let mut without = Vec::new();
        for (name, kind) in [
            ("offer_audio", StreamKind::Audio),
            ("offer_video", StreamKind::Video),
            ("offer_data", StreamKind::Data),
        ] {
            if fields.may_flag(name)? == Some(false) {
                without.push(kind);
            }
        }
        let wish = Self {
            feed,
            mid: None,
            crossref: None,
            send: None,
            layers: LayerWish::read_unchecked(fields)?,
            delay: DelayWish::read(fields)?,
            without,
        };
        Ok((vec![wish], true))
    }

    /// Reads an array of streams to subscribe to.
    ///
    /// # Errors
    ///
    /// 429 or 430.
    pub(super) fn read_all(array: &[Value], form: IdForm) -> Result<Vec<Self>, Fault> {
        each(array, form, |item| {
            Ok(Self {
                mid: item.may_text("mid")?.map(Box::from),
                crossref: item.may_text("crossrefid")?.map(Box::from),
                send: item.may_flag("send")?,
                layers: LayerWish::read_unchecked(item)?,
                delay: DelayWish::read(item)?,
                without: Vec::new(),
                feed: item.need_id("feed")?,
            })
        })
    }

    /// The streams of a publisher that are wished for. Whether there may be such layers counts
    /// after whether there are such streams.
    ///
    /// # Errors
    ///
    /// 428 if the one that is named does not exist, 430.
    pub(super) fn pick<'a>(&self, streams: &'a [StreamInfo]) -> Result<Vec<&'a StreamInfo>, Fault> {
        let is_wanted = |stream: &&StreamInfo| match &self.mid {
            None => !self.without.contains(&stream.kind),
            Some(mid) => stream.mid == *mid,
        };
        let picked: Vec<&StreamInfo> = streams.iter().filter(is_wanted).collect();
        if let Some(mid) = self.mid.as_ref().filter(|_| picked.is_empty()) {
            let text = format!("No such mid '{mid}' in feed ({})", self.feed);
            return Err(Fault::new(Code::NoSuchFeed, text));
        }
        self.layers.check()?;
        Ok(picked)
    }
}

impl SwitchWish {
    /// Reads the array of `switch`.
    ///
    /// # Errors
    ///
    /// 429 or 430.
    pub(super) fn read_all(fields: &Fields<'_>, form: IdForm) -> Result<Vec<Self>, Fault> {
        let feed = fields.may_id("feed")?;
        let array = fields.may_array("streams")?;
        if array.is_none() && feed.is_none() {
            let text = "At least one between 'streams' and 'feed' must be specified";
            return Err(Fault::new(Code::MissingElement, text));
        }
        // A feed alone, the form of Janus 0.x, says nothing of lines: Janus finds none either.
        let array = array.unwrap_or_default();
        if array.is_empty() {
            return Err(Fault::element("Empty switch list"));
        }
        each(array, form, |item| {
            Ok(Self {
                mid: item.need_text("mid")?.into(),
                sub_mid: item.need_text("sub_mid")?.into(),
                layers: LayerWish::read(item)?,
                feed: item.need_id("feed")?,
            })
        })
    }
}

impl Unwish {
    /// Reads an array of streams to do without.
    ///
    /// # Errors
    ///
    /// 430.
    pub(super) fn read_all(array: &[Value], form: IdForm) -> Result<Vec<Self>, Fault> {
        each(array, form, |item| {
            Ok(Self {
                feed: item.may_id("feed")?,
                mid: item.may_text("mid")?.map(Box::from),
                sub_mid: item.may_text("sub_mid")?.map(Box::from),
            })
        })
    }
}

impl LineWish {
    /// Reads what `configure` says of lines.
    ///
    /// # Errors
    ///
    /// 430.
    pub(super) fn read_all(fields: &Fields<'_>, form: IdForm) -> Result<Vec<Self>, Fault> {
        let Some(array) = fields.may_array("streams")? else {
            return Self::read_short(fields);
        };
        let wishes = each(array, form, Self::read)?;
        if wishes.len() > 1 && wishes.iter().any(|wish| wish.mid.is_none()) {
            let text = "Invalid value (mid can't be null in a streams array)";
            return Err(Fault::element(text));
        }
        Ok(wishes)
    }

    /// Reads what stands beside `configure` itself: one wish, or one for each kind in the way of
    /// Janus 0.x.
    fn read_short(fields: &Fields<'_>) -> Result<Vec<Self>, Fault> {
        let wish = Self::read(fields)?;
        let mut wishes = Vec::new();
        for (name, kind) in [
            ("audio", StreamKind::Audio),
            ("video", StreamKind::Video),
            ("data", StreamKind::Data),
        ] {
            let send = fields.may_flag(name)?;
            if send.is_some() && wish.mid.is_none() {
                wishes.push(Self {
                    mid: None,
                    send,
                    layers: LayerWish::default(),
                    delay: DelayWish::default(),
                    kind: Some(kind),
                });
            }
        }
        wishes.push(wish);
        Ok(wishes)
    }

    fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        Ok(Self {
            mid: fields.may_text("mid")?.map(Box::from),
            send: fields.may_flag("send")?,
            layers: LayerWish::read(fields)?,
            delay: DelayWish::read(fields)?,
            kind: None,
        })
    }
}

impl LayerWish {
    fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        let wish = Self::read_unchecked(fields)?;
        wish.check()?;
        Ok(wish)
    }

    /// Reads what is said; [`LayerWish::check`] follows.
    fn read_unchecked(fields: &Fields<'_>) -> Result<Self, Fault> {
        let layer = |name, other| {
            let (layer, other) = (fields.may_count(name)?, fields.may_count(other)?);
            let number = layer.or(other);
            Ok::<_, Fault>(number.map(|number| u8::try_from(number).unwrap_or(u8::MAX)))
        };
        Ok(Self {
            substream: layer("substream", "spatial_layer")?,
            temporal: layer("temporal", "temporal_layer")?,
            fallback: fields.may_count("fallback")?.map(Duration::from_micros),
        })
    }

    /// Whether there may be such layers.
    fn check(self) -> Result<(), Fault> {
        for (layer, text) in [
            (self.substream, "substream/spatial_layer"),
            (self.temporal, "temporal/temporal_layer"),
        ] {
            if layer.is_some_and(|layer| layer > 2) {
                let text = format!("Invalid value ({text} should be 0, 1 or 2)");
                return Err(Fault::element(text));
            }
        }
        Ok(())
    }

    /// Changes what is said of.
    pub(super) fn apply(self, target: &mut LayerTarget) {
        target.substream = self.substream.unwrap_or(target.substream);
        target.temporal = self.temporal.unwrap_or(target.temporal);
        target.fallback = self.fallback.unwrap_or(target.fallback);
    }
}

/// Reads each item of an array. As in Janus, one that is no object has no members.
fn each<T>(
    array: &[Value],
    form: IdForm,
    read: impl Fn(&Fields<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let nothing = Map::new();
    let item = |item: &Value| read(&Fields::new(item.as_object().unwrap_or(&nothing), form));
    array.iter().map(item).collect()
}
