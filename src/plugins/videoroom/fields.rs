//! Members of a request, read by name and type.
//!
//! A member that is `null` is there and has the wrong type, as in Janus.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::plugins::videoroom::fault::{Code, Fault};
use crate::plugins::videoroom::ids::{Id, IdForm};

/// Bytes of what everybody is shown of somebody or something: a name, or metadata as JSON.
const LABEL_BYTES_MAX: usize = 16_384;

/// The members of an object, and the form of ids.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    members: &'a Map<String, Value>,
    form: IdForm,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(members: &'a Map<String, Value>, form: IdForm) -> Self {
        Self { members, form }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name)
    }

    pub(super) fn may_text(&self, name: &str) -> Result<Option<&'a str>, Fault> {
        self.read(name, "a string", Value::as_str)
    }

    pub(super) fn need_text(&self, name: &str) -> Result<&'a str, Fault> {
        self.may_text(name)?.ok_or_else(|| Fault::missing(name))
    }

    pub(super) fn may_flag(&self, name: &str) -> Result<Option<bool>, Fault> {
        self.read(name, "a boolean", Value::as_bool)
    }

    pub(super) fn need_flag(&self, name: &str) -> Result<bool, Fault> {
        self.may_flag(name)?.ok_or_else(|| Fault::missing(name))
    }

    /// An integer from zero on.
    pub(super) fn may_count(&self, name: &str) -> Result<Option<u64>, Fault> {
        self.read(name, "a positive integer", count)
    }

    pub(super) fn may_integer(&self, name: &str) -> Result<Option<i64>, Fault> {
        self.read(name, "an integer", Value::as_i64)
    }

    pub(super) fn may_array(&self, name: &str) -> Result<Option<&'a [Value]>, Fault> {
        self.read(name, "an array", |value| {
            value.as_array().map(Vec::as_slice)
        })
    }

    pub(super) fn may_object(&self, name: &str) -> Result<Option<&'a Value>, Fault> {
        self.read(name, "an object", |value| {
            value.is_object().then_some(value)
        })
    }

    /// A text that everybody in a room is shown.
    pub(super) fn may_label(&self, name: &str) -> Result<Option<&'a str>, Fault> {
        let text = self.may_text(name)?;
        match text {
            Some(text) if text.len() > LABEL_BYTES_MAX => Err(Fault::element(format!(
                "Invalid element value ({name} is too long)"
            ))),
            Some(_) | None => Ok(text),
        }
    }

    /// What else everybody in a room is to know of somebody.
    pub(super) fn may_metadata(&self) -> Result<Option<Value>, Fault> {
        let metadata = self.may_object("metadata")?;
        let is_big = |value: &&Value| value.to_string().len() > LABEL_BYTES_MAX;
        if metadata.filter(is_big).is_some() {
            return Err(Fault::element(
                "Invalid element value (metadata is too big)",
            ));
        }
        Ok(metadata.cloned())
    }

    pub(super) fn may_id(&self, name: &str) -> Result<Option<Id>, Fault> {
        match self.form {
            IdForm::Numbers => Ok(self.may_count(name)?.map(Id::Number)),
            IdForm::Texts => Ok(self.may_text(name)?.map(|text| Id::Text(text.into()))),
        }
    }

    pub(super) fn need_id(&self, name: &str) -> Result<Id, Fault> {
        self.may_id(name)?.ok_or_else(|| Fault::missing(name))
    }

    /// Texts, with the error that Janus has for other elements of the array.
    pub(super) fn may_texts(&self, name: &str) -> Result<Option<Vec<Box<str>>>, Fault> {
        let Some(array) = self.may_array(name)? else {
            return Ok(None);
        };
        let text = |value: &Value| value.as_str().map(Box::from);
        let texts: Option<Vec<Box<str>>> = array.iter().map(text).collect();
        texts.map(Some).ok_or_else(|| {
            Fault::element(format!(
                "Invalid element in the {name} array (not a string)"
            ))
        })
    }

    /// What the client gives as a secret, to be judged where the right one is known.
    pub(super) fn shown(&self, name: &'static str) -> Shown {
        Shown {
            name,
            given: match self.get(name) {
                None => Given::Nothing,
                Some(Value::String(text)) => Given::Text(digest(text)),
                Some(_) => Given::NoText,
            },
        }
    }

    fn read<T>(
        &self,
        name: &str,
        kind: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(Fault::wrong_type(name, kind)),
        }
    }
}

/// What a client gave as a secret.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    name: &'static str,
    given: Given,
}

#[derive(Clone, Debug)]
enum Given {
    Nothing,
    NoText,
    Text([u8; 32]),
}

impl Shown {
    /// Compares with the right secret, if there is one.
    ///
    /// # Errors
    ///
    /// 429, 430 or 433.
    pub(super) fn check(&self, expected: Option<&str>) -> Result<(), Fault> {
        let Some(expected) = expected else {
            return Ok(());
        };
        match &self.given {
            Given::Nothing => Err(Fault::missing(self.name)),
            Given::NoText => Err(Fault::wrong_type(self.name, "a string")),
            Given::Text(given) if given.ct_eq(&digest(expected)).into() => Ok(()),
            Given::Text(_) => Err(Fault {
                is_guess: true,
                ..Fault::new(
                    Code::Unauthorized,
                    format!("Unauthorized (wrong {})", self.name),
                )
            }),
        }
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn count(value: &Value) -> Option<u64> {
    value.as_i64().and_then(|number| u64::try_from(number).ok())
}
