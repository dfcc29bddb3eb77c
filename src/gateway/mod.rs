//! The nouns of the Janus API: sessions, handles, transactions, events, plugins.
