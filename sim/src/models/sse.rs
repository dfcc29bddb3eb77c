//! A reader of server-sent events, after the HTML standard, that accepts no looseness.

/// What an event stream carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamItem {
    /// A line that begins with a colon.
    Comment,
    /// An event.
    Event {
        /// `id`, if there was one.
        id: Option<String>,
        /// `event`, if there was one.
        name: Option<String>,
        /// `data`, its lines joined.
        data: String,
    },
}

/// Takes the body of an event stream in any portions.
#[derive(Debug, Default)]
pub struct StreamReader {
    buffer: Vec<u8>,
}

impl StreamReader {
    /// Adds bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item, once its empty line is there.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn item(&mut self) -> Result<Option<StreamItem>, String> {
        let Some(end) = self.buffer.windows(2).position(|window| window == b"\n\n") else {
            return Ok(None);
        };
        let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
        let text = std::str::from_utf8(&block[..end]).map_err(|_| "not UTF-8".to_owned())?;
        parse_block(text).map(Some)
    }

    /// Whether an item has begun and not ended.
    pub fn is_inside(&self) -> bool {
        !self.buffer.is_empty()
    }
}

fn parse_block(text: &str) -> Result<StreamItem, String> {
    let (mut id, mut name, mut data) = (None, None, Vec::new());
    let mut is_comment = false;
    for line in text.split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.starts_with(':') => is_comment = true,
            "id" => id = Some(value.to_owned()),
            "event" => name = Some(value.to_owned()),
            "data" => data.push(value),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => is_comment = true,
            _ => return Err(format!("an unknown line: {line:?}")),
        }
    }
    if data.is_empty() {
        return if is_comment && id.is_none() && name.is_none() {
            Ok(StreamItem::Comment)
        } else {
            Err(format!("an event without data: {text:?}"))
        };
    }
    Ok(StreamItem::Event {
        id,
        name,
        data: data.join("\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_comments_come_out_at_any_split() {
        let text = b": hello\n\nid: 7\ndata: {\"a\":1}\n\nid: 8\nevent: x\ndata: 1\ndata: 2\n\n";
        for step in 1..text.len() {
            let mut reader = StreamReader::default();
            let mut items = Vec::new();
            for portion in text.chunks(step) {
                reader.push(portion);
                while let Some(item) = reader.item().expect("it is well formed") {
                    items.push(item);
                }
            }
            assert_eq!(items.len(), 3);
            assert_eq!(items[0], StreamItem::Comment);
            let StreamItem::Event { id, data, .. } = &items[2] else {
                panic!("{items:?}");
            };
            assert_eq!((id.as_deref(), data.as_str()), (Some("8"), "1\n2"));
            assert!(!reader.is_inside());
        }
    }

    #[test]
    fn an_id_without_data_is_an_error() {
        let mut reader = StreamReader::default();
        reader.push(b"id: 7\n\n");
        assert!(reader.item().is_err());
    }
}
