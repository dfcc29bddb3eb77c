//! What can be set, in two syntaxes: Janus' `.jcfg` files and one TOML file.
