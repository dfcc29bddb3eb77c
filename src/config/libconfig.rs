//! The syntax of `.jcfg` files: libconfig, read into a tree.
//!
//! Invariant: no input panics; what cannot be read is an error with its line and column.
//! Invariant: files are not opened here; `@include` asks the caller for the text.

use std::sync::Arc;

use super::tree::{ConfigError, Entry, Node, Position, Value};

/// Groups and lists inside each other; a hand-written file needs three.
const DEPTH_MAX: u32 = 32;
/// Files that include each other; libconfig has the same bound.
const INCLUDES_MAX: u32 = 10;

/// Reads a file's text. `include` turns the path of an `@include` into the text of that file.
///
/// # Errors
///
/// Names the place of the first thing that is not libconfig syntax, of a setting given twice in
/// one group, and of an `@include` that `include` refuses.
pub(super) fn parse(
    name: &str,
    text: &str,
    include: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Vec<Entry>, ConfigError> {
    let mut entries = Vec::new();
    let mut parser = Parser::new(name, text, include, 0);
    parser.settings(&mut entries, Until::End, 0)?;
    Ok(entries)
}

/// What ends a run of settings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Brace,
    End,
}

struct Parser<'a> {
    source: Arc<str>,
    rest: &'a str,
    line: u32,
    column: u32,
    include: &'a dyn Fn(&str) -> Result<String, String>,
    includes: u32,
}

impl<'a> Parser<'a> {
    fn new(
        name: &str,
        text: &'a str,
        include: &'a dyn Fn(&str) -> Result<String, String>,
        includes: u32,
    ) -> Self {
        Self {
            source: name.into(),
            rest: text.strip_prefix('\u{feff}').unwrap_or(text),
            line: 1,
            column: 1,
            include,
            includes,
        }
    }

    fn settings(
        &mut self,
        into: &mut Vec<Entry>,
        until: Until,
        depth: u32,
    ) -> Result<(), ConfigError> {
        loop {
            self.skip_blank()?;
            match (self.peek(), until) {
                (None, Until::End) => return Ok(()),
                (None, Until::Brace) => return Err(self.fail("a `}` is missing")),
                (Some('}'), Until::Brace) => {
                    self.bump();
                    return Ok(());
                }
                (Some('@'), _) => self.included(into, depth)?,
                (Some(_), _) => {
                    let entry = self.setting(depth)?;
                    if into.iter().any(|other| other.name == entry.name) {
                        let message = format!("`{}` is set twice", entry.name);
                        return Err(ConfigError::syntax(entry.at, message));
                    }
                    into.push(entry);
                }
            }
        }
    }

    fn setting(&mut self, depth: u32) -> Result<Entry, ConfigError> {
        let at = self.position();
        let name = self.take_while(is_name).to_owned();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*') {
            return Err(ConfigError::syntax(at, "expected the name of a setting"));
        }
        self.skip_blank()?;
        if !self.eat('=') && !self.eat(':') {
            return Err(self.fail(format!("expected `=` or `:` after `{name}`")));
        }
        let node = self.value(depth)?;
        self.skip_blank()?;
        if !self.eat(';') {
            self.eat(',');
        }
        Ok(Entry { name, at, node })
    }

    fn included(&mut self, into: &mut Vec<Entry>, depth: u32) -> Result<(), ConfigError> {
        let at = self.position();
        self.bump();
        if self.take_while(is_name) != "include" {
            return Err(ConfigError::syntax(at, "expected `@include`"));
        }
        self.skip_blank()?;
        let path = self.string()?;
        if self.includes == INCLUDES_MAX {
            let message = format!("more than {INCLUDES_MAX} files include each other");
            return Err(ConfigError::syntax(at, message));
        }
        let text = (self.include)(&path)
            .map_err(|why| ConfigError::syntax(at, format!("cannot include {path}: {why}")))?;
        let mut parser = Parser::new(&path, &text, self.include, self.includes + 1);
        parser.settings(into, Until::End, depth)
    }

    fn value(&mut self, depth: u32) -> Result<Node, ConfigError> {
        self.skip_blank()?;
        if depth == DEPTH_MAX {
            return Err(self.fail(format!("nested deeper than {DEPTH_MAX}")));
        }
        let at = self.position();
        let value = match self.peek() {
            Some('{') => {
                self.bump();
                let mut entries = Vec::new();
                self.settings(&mut entries, Until::Brace, depth + 1)?;
                Value::Group(entries)
            }
            Some('[') => self.list(']', depth)?,
            Some('(') => self.list(')', depth)?,
            Some('"') => Value::Text(self.strings()?),
            Some(_) => self.scalar()?,
            None => return Err(self.fail("a value is missing")),
        };
        Ok(Node { at, value })
    }

    /// Arrays and lists differ in what they may hold; that nothing but scalars of one type stand
    /// in an array is checked where it is read.
    fn list(&mut self, close: char, depth: u32) -> Result<Value, ConfigError> {
        self.bump();
        let mut nodes = Vec::new();
        loop {
            self.skip_blank()?;
            if self.eat(close) {
                return Ok(Value::List(nodes));
            }
            nodes.push(self.value(depth + 1)?);
            self.skip_blank()?;
            if !self.eat(',') && self.peek() != Some(close) {
                return Err(self.fail(format!("expected `,` or `{close}`")));
            }
        }
    }

    /// Adjacent strings are one string.
    fn strings(&mut self) -> Result<String, ConfigError> {
        let mut text = self.string()?;
        loop {
            self.skip_blank()?;
            if self.peek() != Some('"') {
                return Ok(text);
            }
            text.push_str(&self.string()?);
        }
    }

    fn string(&mut self) -> Result<String, ConfigError> {
        let at = self.position();
        if !self.eat('"') {
            return Err(self.fail("expected a string in double quotes"));
        }
        let mut bytes = Vec::new();
        loop {
            match self.bump() {
                Some('"') => break,
                Some('\\') => self.escape(&mut bytes)?,
                Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                None => return Err(ConfigError::syntax(at, "the string has no end")),
            }
        }
        String::from_utf8(bytes).map_err(|_| ConfigError::syntax(at, "the string is not UTF-8"))
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), ConfigError> {
        let byte = match self.peek() {
            Some('a') => 0x07,
            Some('b') => 0x08,
            Some('f') => 0x0c,
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('v') => 0x0b,
            Some('"') => b'"',
            Some('\\') => b'\\',
            Some('x') => {
                self.bump();
                let digits = self.rest.get(..2).unwrap_or_default();
                let byte = parse_radix(digits, 16)
                    .and_then(|number| u8::try_from(number).ok())
                    .ok_or_else(|| self.fail("expected two hexadecimal digits after `\\x`"))?;
                self.bump();
                byte
            }
            // libconfig keeps the backslash of an escape that it does not know.
            Some(_) | None => {
                bytes.push(b'\\');
                return Ok(());
            }
        };
        self.bump();
        bytes.push(byte);
        Ok(())
    }

    fn scalar(&mut self) -> Result<Value, ConfigError> {
        let at = self.position();
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        if word.eq_ignore_ascii_case("true") {
            return Ok(Value::Bool(true));
        }
        if word.eq_ignore_ascii_case("false") {
            return Ok(Value::Bool(false));
        }
        if word.is_empty() {
            return Err(ConfigError::syntax(at, "expected a value"));
        }
        if let Some(number) = integer(word) {
            return Ok(Value::Int(number));
        }
        match float(word) {
            Some(number) => Ok(Value::Float(number)),
            None if word.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let message = format!("text needs quotes: \"{word}\"");
                Err(ConfigError::syntax(at, message))
            }
            None => {
                let message = format!("`{word}` is not a number that fits 64 bits");
                Err(ConfigError::syntax(at, message))
            }
        }
    }

    fn skip_blank(&mut self) -> Result<(), ConfigError> {
        loop {
            self.take_while(|c| c.is_ascii_whitespace() || c == '\u{b}');
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if self.rest.starts_with("/*") {
                let at = self.position();
                let Some(end) = self.rest[2..].find("*/") else {
                    return Err(ConfigError::syntax(at, "the comment has no end"));
                };
                self.advance(end + 4);
            } else {
                return Ok(());
            }
        }
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let length = self.rest.find(|c| !keep(c)).unwrap_or(self.rest.len());
        let taken = &self.rest[..length];
        self.advance(length);
        taken
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.advance(next.len_utf8());
        Some(next)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.bump();
        }
        found
    }

    fn advance(&mut self, length: usize) {
        let (passed, rest) = self.rest.split_at(length);
        for c in passed.chars() {
            if c == '\n' {
                self.line = self.line.saturating_add(1);
                self.column = 1;
            } else {
                self.column = self.column.saturating_add(1);
            }
        }
        self.rest = rest;
    }

    fn position(&self) -> Position {
        Position {
            source: Arc::clone(&self.source),
            line: self.line,
            column: self.column,
        }
    }

    fn fail(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::syntax(self.position(), message)
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*')
}

/// Decimal, `0x`, `0b`, `0o`, with `L` or `LL` behind it for 64 bits.
fn integer(word: &str) -> Option<i64> {
    let digits = word
        .strip_suffix("LL")
        .unwrap_or_else(|| word.strip_suffix('L').unwrap_or(word));
    for (prefix, radix) in [
        ("0x", 16),
        ("0X", 16),
        ("0b", 2),
        ("0B", 2),
        ("0o", 8),
        ("0O", 8),
    ] {
        if let Some(digits) = digits.strip_prefix(prefix) {
            // A bit pattern: the top bit makes a negative number.
            return parse_radix(digits, radix).map(u64::cast_signed);
        }
    }
    // `from_str` takes a sign itself, and nothing else that is not a digit.
    digits.parse().ok()
}

fn parse_radix(digits: &str, radix: u32) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    all_digits.then(|| u64::from_str_radix(digits, radix).ok())?
}

/// A float has a point or an exponent, so that a long integer is an error and not rounded.
fn float(word: &str) -> Option<f64> {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let shaped = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.contains(['.', 'e', 'E']);
    shaped
        .then(|| word.parse().ok())?
        .filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn settings_take_either_sign_and_any_separator() {
        let text = "a = 1; b : 2, c=3 d:4\n g: { x = true; }; h = { }";

        assert_eq!(shown(text), "a=1 b=2 c=3 d=4 g={x=true} h={}");
    }

    #[test]
    fn comments_of_all_three_kinds_are_blanks() {
        let text = "a # one\n = // two\n /* three\n still * / */ 1 /**/ b=2//end";

        assert_eq!(shown(text), "a=1 b=2");
    }

    #[test]
    fn numbers_are_read_in_every_form() {
        check_value("-17", "-17");
        check_value("+17", "17");
        check_value("0xfF", "255");
        check_value("0b101", "5");
        check_value("0o17", "15");
        check_value("9007199254740991L", "9007199254740991");
        check_value("-9223372036854775808LL", "-9223372036854775808");
        check_value("0xFFFFFFFFFFFFFFFFL", "-1");
        check_value("1.5", "1.5");
        check_value("-.5", "-0.5");
        check_value("2e3", "2000.0");
        check_value("TRUE", "true");
        check_value("False", "false");
    }

    #[test]
    fn strings_have_escapes_and_are_joined() {
        check_value(r#""a\tb\"\\\x1b[0m""#, r#""a\tb\"\\\u{1b}[0m""#);
        check_value("\"one\" /* and */\n \"two\"", r#""onetwo""#);
        check_value(r#""\xc3\xa9 ü""#, r#""é ü""#);
        check_value(r#""C:\dir""#, r#""C:\\dir""#);
    }

    #[test]
    fn arrays_and_lists_may_be_nested_and_end_in_a_comma() {
        check_value(r#"[ "a", "b", ]"#, r#"["a","b"]"#);
        check_value("( 1, [2, 3], { x = (4); } )", "[1,[2,3],{x=[4]}]");
        check_value("()", "[]");
    }

    #[test]
    fn an_include_is_read_where_it_stands() {
        let files = |path: &str| match path {
            "inner" => Ok("b = 2\n@include \"innermost\"".to_owned()),
            "innermost" => Ok("c = 3;".to_owned()),
            _ => Err("no such file".to_owned()),
        };

        let entries = parse("f", "g: {\n a = 1\n @include \"inner\"\n d = 4 }", &files).unwrap();
        assert_eq!(show(&entries), "g={a=1 b=2 c=3 d=4}");

        let error = parse("f", "a = 1\n  @include \"nowhere\"", &files).unwrap_err();
        assert_eq!(
            error.to_string(),
            "f:2:3: cannot include nowhere: no such file"
        );
    }

    #[test]
    fn an_error_inside_an_include_names_the_inner_file() {
        let files = |_: &str| Ok("a = 1\n b = ".to_owned());

        let error = parse("outer", "@include \"inner\"", &files).unwrap_err();
        assert_eq!(error.to_string(), "inner:2:6: a value is missing");
    }

    #[test]
    fn files_that_include_themselves_end() {
        let files = |_: &str| Ok("@include \"again\"".to_owned());

        let error = parse("f", "@include \"again\"", &files).unwrap_err();
        assert_eq!(
            error.to_string(),
            "again:1:1: more than 10 files include each other"
        );
    }

    #[test]
    fn errors_name_line_and_column() {
        check_error("a = 1\n\tb = hello", "f:2:6: text needs quotes: \"hello\"");
        check_error("a 1", "f:1:3: expected `=` or `:` after `a`");
        check_error("a = {\n b = 1", "f:2:7: a `}` is missing");
        check_error("a = 1 }", "f:1:7: expected the name of a setting");
        check_error("é = 1", "f:1:1: expected the name of a setting");
        check_error("a = \"é\" b = ~", "f:1:13: expected a value");
        check_error("a = \"x\n", "f:1:5: the string has no end");
        check_error(
            "a = \"\\xg0\"",
            "f:1:8: expected two hexadecimal digits after `\\x`",
        );
        check_error("a = \"\\xff\"", "f:1:5: the string is not UTF-8");
        check_error("a = 1 /* b", "f:1:7: the comment has no end");
        check_error("a = [1 2]", "f:1:8: expected `,` or `]`");
        check_error("a = 1\na = 2", "f:2:1: `a` is set twice");
        check_error("@includes \"x\"", "f:1:1: expected `@include`");
        let too_long = "f:1:5: `9223372036854775808` is not a number that fits 64 bits";
        check_error("a = 9223372036854775808", too_long);
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |levels: usize| format!("a = {}1{}", "(".repeat(levels), ")".repeat(levels));

        assert!(parse("f", &deep(31), &no_files).is_ok());
        let error = parse("f", &deep(100_000), &no_files).unwrap_err();
        assert_eq!(error.to_string(), "f:1:37: nested deeper than 32");
    }

    proptest! {
        #[test]
        fn any_text_is_a_tree_or_an_error(text in ".*") {
            let _ = parse("f", &text, &no_files);
        }

        #[test]
        fn any_run_of_tokens_is_a_tree_or_an_error(
            tokens in proptest::collection::vec(
                prop_oneof![
                    Just("a"), Just("="), Just(":"), Just("{"), Just("}"), Just("("), Just(")"),
                    Just("["), Just("]"), Just(","), Just(";"), Just("\""), Just("\\x4"), Just("1"),
                    Just("0x"), Just("-"), Just("1e"), Just("true"), Just("/*"), Just("*/"),
                    Just("#"), Just("\n"), Just("@include"), Just("é"), Just("\u{b}"),
                ],
                0..40,
            ),
        ) {
            let _ = parse("f", &tokens.concat(), &no_files);
        }

        #[test]
        fn a_written_tree_reads_back(
            tree in tree(),
            style in any::<u8>(),
        ) {
            let text = write_entries(&tree, style);
            let entries = parse("f", &text, &no_files)
                .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
            prop_assert_eq!(show(&entries), show(&tree), "{}", text);
        }
    }

    fn no_files(path: &str) -> Result<String, String> {
        Err(format!("{path} does not exist here"))
    }

    fn shown(text: &str) -> String {
        show(&parse("f", text, &no_files).unwrap())
    }

    fn check_value(text: &str, expected: &str) {
        assert_eq!(shown(&format!("a = {text}")), format!("a={expected}"));
    }

    fn check_error(text: &str, expected: &str) {
        assert_eq!(
            parse("f", text, &no_files).unwrap_err().to_string(),
            expected
        );
    }

    fn show(entries: &[Entry]) -> String {
        let shown = entries
            .iter()
            .map(|e| format!("{}={}", e.name, show_value(&e.node.value)));
        shown.collect::<Vec<_>>().join(" ")
    }

    fn show_value(value: &Value) -> String {
        match value {
            Value::Bool(value) => value.to_string(),
            Value::Float(value) => format!("{value:?}"),
            Value::Group(entries) => format!("{{{}}}", show(entries)),
            Value::Int(value) => value.to_string(),
            Value::List(nodes) => {
                let shown = nodes.iter().map(|node| show_value(&node.value));
                format!("[{}]", shown.collect::<Vec<_>>().join(","))
            }
            Value::Text(text) => format!("{text:?}"),
        }
    }

    fn tree() -> impl Strategy<Value = Vec<Entry>> {
        let scalar = prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            (-1e15f64..1e15).prop_map(Value::Float),
            ".*".prop_map(Value::Text),
            "[a-z\"\\\\\\x00-\\x1f]{0,8}".prop_map(Value::Text),
        ];
        let value = scalar.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone().prop_map(node), 0..5).prop_map(Value::List),
                entries(inner).prop_map(Value::Group),
            ]
        });
        entries(value)
    }

    fn entries(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<Entry>> {
        proptest::collection::btree_map("[a-zA-Z*][-_*a-zA-Z0-9]{0,6}", value, 0..5).prop_map(
            |members| {
                let entry = |(name, value)| Entry {
                    name,
                    at: nowhere(),
                    node: node(value),
                };
                members.into_iter().map(entry).collect()
            },
        )
    }

    fn node(value: Value) -> Node {
        Node {
            at: nowhere(),
            value,
        }
    }

    fn nowhere() -> Position {
        Position::whole("generated")
    }

    /// Writes settings in one of the many ways that the syntax allows; `style` chooses.
    fn write_entries(entries: &[Entry], style: u8) -> String {
        let (sign, end) = match style & 3 {
            0 => ("=", ";"),
            1 => (" : ", "\n"),
            2 => (" = // why\n", " # so\n"),
            _ => (":/* * */", ","),
        };
        let write =
            |e: &Entry| format!("{}{sign}{}{end}", e.name, write_value(&e.node.value, style));
        entries.iter().map(write).collect()
    }

    fn write_value(value: &Value, style: u8) -> String {
        match value {
            Value::Bool(value) if style & 4 == 0 => value.to_string().to_uppercase(),
            Value::Bool(value) => value.to_string(),
            Value::Float(value) => format!("{value:?}"),
            Value::Group(entries) => format!("{{{}}}", write_entries(entries, style)),
            Value::Int(value) if style & 4 == 0 => format!("{:#x}L", value),
            Value::Int(value) => value.to_string(),
            Value::List(nodes) => {
                let written = nodes.iter().map(|node| write_value(&node.value, style));
                let written = written.collect::<Vec<_>>().join(" , ");
                if style & 8 == 0 {
                    format!("({written})")
                } else {
                    format!("[ {written} ]")
                }
            }
            Value::Text(text) => write_text(text, style),
        }
    }

    fn write_text(text: &str, style: u8) -> String {
        let mut written = String::from("\"");
        for c in text.chars() {
            match c {
                '"' => written.push_str("\\\""),
                '\\' => written.push_str("\\\\"),
                c if c.is_ascii_control() => written.push_str(&format!("\\x{:02x}", c as u32)),
                c => written.push(c),
            }
            if style & 16 == 0 {
                written.push_str("\"\n\"");
            }
        }
        written + "\""
    }
}
