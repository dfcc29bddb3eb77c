//! What the table of metrics is made of: values that can be added up and visited, and the macros
//! that turn a table into types.

/// What kind of thing a metric is; decides its type and the suffix of its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A metric's name and meaning; what does not change while counting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static [&'static str],
}

/// One number, with its label if the metric has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) label: Option<(&'static str, &'static str)>,
    pub(super) number: u64,
}

/// The value of a metric: one number, or one for each label.
pub(super) trait Family {
    fn add(&mut self, other: &Self);
    fn visit(&self, see: &mut dyn FnMut(Sample));
}

impl Family for u64 {
    fn add(&mut self, other: &Self) {
        *self = self.wrapping_add(*other);
    }

    fn visit(&self, see: &mut dyn FnMut(Sample)) {
        see(Sample {
            label: None,
            number: *self,
        });
    }
}

/// Declares a family of counters: a field for each value of one label.
macro_rules! family {
    ($label:ident: $family:ident { $($field:ident = $text:literal),+ $(,)? }) => {
        #[doc = concat!("Counts by `", stringify!($label), "`.")]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $family {
            $(#[doc = concat!("`", $text, "`")] pub $field: u64,)+
        }

        impl Family for $family {
            fn add(&mut self, other: &Self) {
                $(self.$field.add(&other.$field);)+
            }

            fn visit(&self, see: &mut dyn FnMut(Sample)) {
                $(see(Sample {
                    label: Some((stringify!($label), $text)),
                    number: self.$field,
                });)+
            }
        }
    };
}

/// Declares [`Metrics`](super::Metrics) from the table of names.
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $kind:ident $field:ident $(: $family:ident)?,)+) => {
        /// What one shard has counted, or several together after [`merge`](Self::merge).
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Metrics {
            $($(#[doc = $help])+ pub $field: metrics!(@type $kind $($family)?),)+
        }

        impl Metrics {
            /// Adds what another shard has counted. Gauges add up as well: each shard knows its
            /// own sessions only.
            pub fn merge(&mut self, other: &Self) {
                $(self.$field.add(&other.$field);)+
            }

            /// Shows each metric and its samples, in the order of the table.
            pub(super) fn visit(&self, see: &mut dyn FnMut(Name, &mut dyn FnMut(&mut dyn FnMut(Sample)))) {
                $(see(
                    Name {
                        name: concat!("bifrons_", stringify!($field)),
                        kind: metrics!(@kind $kind),
                        help: &[$($help),+],
                    },
                    &mut |sample| self.$field.visit(sample),
                );)+
            }
        }
    };
    (@type counter) => { u64 };
    (@type counter $family:ident) => { $family };
    (@type gauge) => { u64 };
    (@type gauge $family:ident) => { $family };
    (@kind counter) => { Kind::Counter };
    (@kind gauge) => { Kind::Gauge };
}

pub(super) use {family, metrics};
