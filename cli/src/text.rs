//! Text from elsewhere, made safe to show: nothing that a peer wrote can move a cursor, change a colour, turn
//! the direction of a line or look like another line.

use ratatui::style::Style;
use ratatui::text::Span;

/// `text` as one line that can be written to a terminal as it is.
///
/// Control characters become their visible pictures (`ESC` is `␛`), and what would turn the direction of
/// writing, break a line or hide in it becomes `\u{fffd}`. Everything a person shows goes through here.
pub(crate) fn visible(text: &str) -> String {
    text.chars().map(visible_character).collect()
}

fn visible_character(c: char) -> char {
    match c {
        '\u{00}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(REPLACEMENT),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' => REPLACEMENT,
        _ if is_misleading(c) => REPLACEMENT,
        other => other,
    }
}

/// Characters that are no control characters but still rule over others: marks, embeddings, overrides and
/// isolates of direction (Unicode TR9), separators of lines and paragraphs, annotation and language tags.
fn is_misleading(c: char) -> bool {
    matches!(c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0001}')
}

const REPLACEMENT: char = '\u{fffd}';

/// `text` as the lines its author wrote, each of them [`visible`].
pub(crate) fn visible_lines(text: &str) -> Vec<String> {
    text.split('\n').map(|line| visible(line.strip_suffix('\r').unwrap_or(line))).collect()
}

/// Columns that `text` takes up on a terminal.
pub(crate) fn width(text: &str) -> usize {
    clusters(&Span::raw(text)).map(|(_, columns)| columns).sum()
}

/// The characters of a visible text as a person counts them, and how many columns each takes up.
fn clusters<'a>(span: &'a Span<'a>) -> impl Iterator<Item = (&'a str, usize)> {
    span.styled_graphemes(Style::new()).map(|cluster| (cluster.symbol, Span::raw(cluster.symbol).width()))
}

/// Breaks one visible line into pieces of at most `columns` each, at spaces where there are any. A character
/// wider than that stands alone. There is always at least one piece.
pub(crate) fn wrap(line: &str, columns: usize) -> Vec<String> {
    let mut wrapping =
        Wrapping { columns: columns.max(1), pieces: Vec::new(), piece: String::new(), used: 0 };
    line.split_inclusive(' ').for_each(|word| wrapping.push_word(word));
    wrapping.pieces.push(wrapping.piece);
    wrapping.pieces
}

struct Wrapping {
    columns: usize,
    pieces: Vec<String>,
    piece: String,
    /// Columns of `piece`, kept by hand so that a text full of invisible characters costs no more than others.
    used: usize,
}

impl Wrapping {
    fn push_word(&mut self, word: &str) {
        let columns = width(word.trim_end_matches(' '));
        if self.used + columns > self.columns && columns <= self.columns {
            self.break_line();
        }
        for (cluster, columns) in clusters(&Span::raw(word)) {
            if self.used + columns > self.columns {
                self.break_line();
                // The space at which a line is broken is the break.
                if cluster == " " {
                    continue;
                }
            }
            self.piece.push_str(cluster);
            self.used += columns;
        }
    }

    fn break_line(&mut self) {
        if !self.piece.is_empty() {
            self.pieces.push(std::mem::take(&mut self.piece));
            self.used = 0;
        }
    }
}

/// `text` cut to at most `columns`, with `…` where something was cut.
pub(crate) fn shorten(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 1;
    for (cluster, width) in clusters(&Span::raw(text)) {
        used += width;
        if used > columns {
            break;
        }
        short.push_str(cluster);
    }
    if columns > 0 {
        short.push('…');
    }
    short
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a terminal acts on, and what turns text around: none of it may come out of [`visible`].
    fn is_dangerous(c: char) -> bool {
        c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    }

    #[test]
    fn an_escape_sequence_is_shown_and_not_obeyed() {
        assert_eq!(visible("\x1b[2Jhi\x07"), "␛[2Jhi␇");
        assert_eq!(visible("\u{9b}31mred\x7f"), "\u{fffd}31mred␡");
        assert_eq!(visible("\u{202e}olleh"), "\u{fffd}olleh");
        assert_eq!(visible("a\nb\tc"), "a␊b␉c");
        assert_eq!(visible("naïve 👍🏽 שלום 日本"), "naïve 👍🏽 שלום 日本");
    }

    #[test]
    fn only_line_feeds_make_lines() {
        assert_eq!(visible_lines("a\r\nb\nc\u{2028}d"), ["a", "b", "c\u{fffd}d"]);
        assert_eq!(visible_lines(""), [""]);
    }

    #[test]
    fn lines_break_at_spaces_and_words_only_where_they_must() {
        assert_eq!(wrap("the quick brown fox", 10), ["the quick ", "brown fox"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("日本語です", 4), ["日本", "語で", "す"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("日", 1), ["日"]);
    }

    #[test]
    fn shortening_says_that_it_was_done() {
        assert_eq!(shorten("hello", 5), "hello");
        assert_eq!(shorten("hello", 4), "hel…");
        assert_eq!(shorten("日本語", 4), "日…");
        assert_eq!(shorten("hello", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_dangerous_is_ever_visible(text in any::<String>()) {
            prop_assert!(!visible(&text).chars().any(is_dangerous));
            prop_assert!(!visible_lines(&text).concat().chars().any(is_dangerous));
        }

        #[test]
        fn visible_text_is_left_as_it_is(text in any::<String>()) {
            let once = visible(&text);
            prop_assert_eq!(visible(&once), once);
        }

        #[test]
        fn no_piece_is_wider_than_the_terminal(text in "[ a-z日👍é]{0,60}", columns in 2_usize..20) {
            let pieces = wrap(&text, columns);
            prop_assert!(pieces.iter().all(|piece| width(piece) <= columns), "{:?}", pieces);
        }

        #[test]
        fn wrapping_loses_nothing_but_spaces(text in "[ a-z日👍é]{0,60}", columns in 1_usize..20) {
            let without_spaces = |text: &str| text.replace(' ', "");
            prop_assert_eq!(without_spaces(&wrap(&text, columns).concat()), without_spaces(&text));
        }

        #[test]
        fn a_shortened_text_fits(text in "[ a-z日👍é]{0,60}", columns in 0_usize..20) {
            prop_assert!(width(&shorten(&text, columns)) <= columns);
        }
    }
}
