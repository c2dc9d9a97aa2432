//! Rust source as text: enough of its grammar to find code, items and functions without a compiler.
//!
//! The heuristics lean on rustfmt, which every file passes: an item closes with a brace at its own indentation.

/// Blanks comments and the contents of string and character literals, and keeps every line break: what is left
/// can be searched for code, at the same lines.
pub fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let literal = literal_or_comment(rest, out.chars().next_back());
        if literal == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..literal].chars().map(|it| if it == '\n' { '\n' } else { ' ' }));
            rest = &rest[literal..];
        }
    }
    out
}

/// The bytes of the comment or literal that `rest` begins with, or 0.
fn literal_or_comment(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    let in_word = before.is_some_and(|it| it.is_alphanumeric() || it == '_');
    if in_word { 0 } else { prefixed(rest) }
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// A literal up to its closing quote; a backslash takes the next character with it.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, it) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if it == '\\' {
            escaped = true;
        } else if it == quote {
            return at + it.len_utf8();
        }
    }
    rest.len()
}

/// `'x'` and `'\n'` are characters, `'a` is a lifetime or a label.
fn character(rest: &str) -> usize {
    let mut inside = rest[1..].chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), _) => quoted(rest, '\''),
        (Some(it), Some('\'')) => 2 + it.len_utf8(),
        _ => 0,
    }
}

/// Byte, C and raw strings: `b"…"`, `c"…"`, `b'…'`, `r"…"`, `br##"…"##`.
fn prefixed(rest: &str) -> usize {
    let letters = rest.find(|it| !matches!(it, 'b' | 'c' | 'r')).unwrap_or(rest.len());
    if letters == 0 || letters > 2 {
        return 0;
    }
    let (prefix, body) = rest.split_at(letters);
    if !prefix.contains('r') {
        return match body.chars().next() {
            Some('"') => letters + quoted(body, '"'),
            Some('\'') if prefix == "b" => letters + quoted(body, '\''),
            _ => 0,
        };
    }
    let hashes = body.find(|it| it != '#').unwrap_or(body.len());
    if !body[hashes..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let opened = letters + hashes + 1;
    rest[opened..].find(&close).map_or(rest.len(), |at| opened + at + close.len())
}

/// Blanks every item under `#[cfg(test)]`, and keeps every line break.
pub fn without_test_items(code: &str) -> String {
    let lines: Vec<&str> = code.lines().collect();
    let mut out = String::with_capacity(code.len());
    let mut at = 0;
    while at < lines.len() {
        if lines[at].trim_start().starts_with("#[cfg(test)]") {
            let end = item_end(&lines, at);
            out.extend((at..=end).map(|_| '\n'));
            at = end + 1;
        } else {
            out.push_str(lines[at]);
            out.push('\n');
            at += 1;
        }
    }
    out
}

/// The last line of the item that begins at `begin`, its attributes included.
fn item_end(lines: &[&str], begin: usize) -> usize {
    let indent = indentation(lines[begin]);
    for (at, line) in lines.iter().enumerate().skip(begin) {
        let ends = line.trim_end();
        let own = indentation(line) == indent && !ends.trim_start().starts_with('#');
        if own && (ends.ends_with(';') || ends.ends_with('}')) {
            return at;
        }
    }
    lines.len() - 1
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// One function of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// How many lines it has, from the `fn` to the closing brace.
    pub lines: usize,
}

/// All functions with a body, in order; `code` is without comments and literals.
pub fn functions(code: &str) -> Vec<Function> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if let Some(name) = function_name(line) {
            let end = item_end(&lines, at);
            found.push(Function { name: name.to_owned(), line: at + 1, lines: end + 1 - at });
        }
    }
    found
}

/// The name in a line that begins with a function's signature.
fn function_name(line: &str) -> Option<&str> {
    let words_before = ["pub", "const", "async", "unsafe", "default", "extern"];
    let mut rest = line.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix("fn ") {
            let end = after.find(|it: char| !(it.is_alphanumeric() || it == '_')).unwrap_or(after.len());
            return (end > 0).then(|| &after[..end]);
        }
        let word = words_before.iter().find(|word| rest.starts_with(**word))?;
        rest = rest[word.len()..].trim_start();
        if rest.starts_with('(') {
            rest = rest[rest.find(')')? + 1..].trim_start();
        }
    }
}

/// Whether a line names `needle` as a whole word: not as a part of a longer name.
pub fn names(line: &str, needle: &str) -> bool {
    let part_of_name = |it: Option<char>| it.is_some_and(|it| it.is_alphanumeric() || it == '_');
    line.match_indices(needle).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + needle.len()..].chars().next();
        !part_of_name(before) && !part_of_name(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_kept() {
        for (text, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("x(\"a \\\" b\") y", "x(        ) y"),
            ("x(r#\"a \" b\"#) y", "x(          ) y"),
            ("x(b\"a\", b'\\'', '\"', 'a') y", "x(    ,      ,    ,    ) y"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("attr\"x\"", "attr   "),
            ("a /* b\n c */ d", "a     \n      d"),
        ] {
            assert_eq!(code_only(text), code, "{text}");
        }
    }

    #[test]
    fn test_items_are_cut_and_what_follows_stays() {
        let code =
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n#[cfg(test)]\nmod c;\nfn d() {}\n";
        assert_eq!(without_test_items(code), "fn a() {}\n\n\n\n\n\n\nfn d() {}\n");
    }

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let code = "impl A {\n    pub(crate) async fn b(\n        x: u8,\n    ) -> u8\n    where\n        A: B,\n    {\n        x\n    }\n\n    fn c(&self);\n}\nconst fn d() {}\n";
        let measured: Vec<(String, usize, usize)> =
            functions(code).into_iter().map(|it| (it.name, it.line, it.lines)).collect();
        assert_eq!(measured, [("b".to_owned(), 2, 8), ("c".to_owned(), 11, 1), ("d".to_owned(), 13, 1)]);
    }

    #[test]
    fn a_name_is_not_found_inside_a_longer_one() {
        assert!(names("use tokio::net;", "tokio"));
        assert!(!names("use tokio_util::codec;", "tokio"));
        assert!(names("std::fs::read(x)", "std::fs"));
    }
}
