//! What stands in the conversation: one entry for each thing that happened, and the rows it takes up.

use anstyle::AnsiColor;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::output::{Colours, colour_of};
use crate::text::{width, wrap};

/// One thing that happened. Everything in it is visible text already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When, as people read it; empty where that says nothing.
    pub(crate) time: String,
    /// What it is.
    pub(crate) body: Body,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Somebody said something.
    Message {
        /// Who, by the account's name, which gives the colour.
        name: String,
        /// Who, as people know them.
        label: String,
        /// Whether that is the person at this terminal.
        by: By,
        /// What they said.
        lines: Vec<String>,
    },
    /// Something changed.
    Notice(String),
    /// Something did not go as it should.
    Warning(String),
}

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The person at this terminal.
    Me,
    /// Somebody else.
    Other,
}

impl Entry {
    /// Something changed just now.
    pub(crate) fn notice(text: impl Into<String>) -> Entry {
        Entry { time: String::new(), body: Body::Notice(text.into()) }
    }

    /// Something went wrong just now.
    pub(crate) fn warning(text: impl Into<String>) -> Entry {
        Entry { time: String::new(), body: Body::Warning(text.into()) }
    }

    /// The rows of a terminal `columns` wide. Rows behind the first are indented, so that no text can look like
    /// an entry of its own.
    pub(crate) fn rows(&self, columns: usize, colours: Colours) -> Vec<Line<'static>> {
        let paint = |style: Style| if colours == Colours::On { style } else { style.fg(Color::Reset) };
        let dim = paint(Style::new().fg(Color::DarkGray));
        let (head, lines, style) = match &self.body {
            Body::Message { name, label, by, lines } => {
                let style = paint(Style::new().fg(terminal_colour(colour_of(name))));
                let (mark, style) = match by {
                    By::Me => ("» ", style.add_modifier(Modifier::BOLD)),
                    By::Other => ("  ", style),
                };
                let head =
                    vec![Span::styled(mark, style), Span::styled(label.clone(), style), Span::raw(": ")];
                (head, lines.clone(), Style::new())
            }
            Body::Notice(text) => (vec![Span::styled("* ", dim)], vec![text.clone()], dim),
            Body::Warning(text) => {
                let style = paint(Style::new().fg(Color::Red));
                (vec![Span::styled("! ", style)], vec![text.clone()], style)
            }
        };
        let time = Span::styled(format!("{:5} ", self.time), dim);
        lay_out(std::iter::once(time).chain(head).collect(), &lines, style, columns)
    }

    /// The rows without a terminal: one for each line, however long.
    #[cfg(test)]
    pub(crate) fn plain(&self) -> Vec<String> {
        let rows = self.rows(usize::MAX, Colours::Off);
        rows.iter().map(|row| row.spans.iter().map(|span| span.content.as_ref()).collect()).collect()
    }
}

/// Puts the lines behind the head, where a narrow terminal leaves room for that; what does not fit goes on below,
/// as far in as the first word of the head.
fn lay_out(head: Vec<Span<'static>>, lines: &[String], style: Style, columns: usize) -> Vec<Line<'static>> {
    let taken: usize = head.iter().map(|span| width(&span.content)).sum();
    let room = columns.saturating_sub(taken);
    let indent = if columns.saturating_sub(INDENT) < NARROW { 0 } else { INDENT };
    let rest_room = columns.saturating_sub(indent).max(1);
    let first_room = if room < NARROW { rest_room } else { room };
    let mut rows = Vec::new();
    let mut row = head;
    if room < NARROW {
        rows.push(Line::from(std::mem::take(&mut row)));
    }
    for (number, line) in lines.iter().enumerate() {
        let pieces = match number {
            0 => pieces(line, first_room, rest_room),
            _ => wrap(line, rest_room),
        };
        for piece in pieces {
            if rows.is_empty() && !row.is_empty() {
                row.push(Span::styled(piece, style));
                rows.push(Line::from(std::mem::take(&mut row)));
            } else {
                rows.push(Line::from(vec![Span::raw(" ".repeat(indent)), Span::styled(piece, style)]));
            }
        }
    }
    rows
}

/// Breaks a line whose first piece has less room than those that follow.
fn pieces(line: &str, first: usize, rest: usize) -> Vec<String> {
    let first_piece = wrap(line, first).swap_remove(0);
    // What wrapping left out between the pieces is the space at which it broke.
    let behind = line.get(first_piece.len()..).unwrap_or("").trim_start_matches(' ');
    let mut pieces = vec![first_piece];
    if !behind.is_empty() {
        pieces.extend(wrap(behind, rest));
    }
    pieces
}

/// Columns before the second row of an entry: below the name, behind time and mark.
const INDENT: usize = 8;

/// Columns in which text is not worth setting beside anything.
const NARROW: usize = 8;

fn terminal_colour(colour: AnsiColor) -> Color {
    match colour {
        AnsiColor::Cyan => Color::Cyan,
        AnsiColor::Green => Color::Green,
        AnsiColor::Yellow => Color::Yellow,
        AnsiColor::Blue => Color::Blue,
        AnsiColor::Magenta => Color::Magenta,
        AnsiColor::BrightCyan => Color::LightCyan,
        AnsiColor::BrightGreen => Color::LightGreen,
        AnsiColor::BrightYellow => Color::LightYellow,
        AnsiColor::BrightBlue => Color::LightBlue,
        AnsiColor::BrightMagenta => Color::LightMagenta,
        _ => Color::Reset,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(by: By, text: &str) -> Entry {
        Entry {
            time: "12:03".into(),
            body: Body::Message {
                name: "bob".into(),
                label: "bob".into(),
                by,
                lines: text.split('\n').map(str::to_owned).collect(),
            },
        }
    }

    fn texts(rows: &[Line<'_>]) -> Vec<String> {
        rows.iter().map(|row| row.spans.iter().map(|span| span.content.as_ref()).collect()).collect()
    }

    #[test]
    fn an_entry_says_when_who_and_what() {
        assert_eq!(message(By::Other, "hi").plain(), ["12:03   bob: hi"]);
        assert_eq!(message(By::Me, "hi").plain(), ["12:03 » bob: hi"]);
        assert_eq!(Entry::notice("bob joined").plain(), ["      * bob joined"]);
        assert_eq!(Entry::warning("not sent").plain(), ["      ! not sent"]);
    }

    #[test]
    fn rows_behind_the_first_are_indented() {
        let rows = texts(&message(By::Other, "one two three\nfour").rows(24, Colours::On));
        assert_eq!(rows, ["12:03   bob: one two ", "        three", "        four"]);
        assert_eq!(message(By::Other, "a\n12:04   alice: b").plain()[1], "        12:04   alice: b");
    }

    #[test]
    fn a_terminal_too_narrow_for_both_has_the_text_below_the_name() {
        let rows = texts(&message(By::Other, "hello there").rows(10, Colours::On));
        assert_eq!(rows, ["12:03   bob: ", "hello ", "there"]);
    }

    #[test]
    fn names_have_colours_and_no_colour_is_respected() {
        let coloured = message(By::Other, "hi").rows(80, Colours::On);
        assert!(
            coloured[0]
                .spans
                .iter()
                .any(|span| matches!(span.style.fg, Some(colour) if colour != Color::Reset))
        );
        for entry in [message(By::Me, "hi"), Entry::warning("x"), Entry::notice("x")] {
            let rows = entry.rows(80, Colours::Off);
            let fg = |span: &Span<'_>| !matches!(span.style.fg, None | Some(Color::Reset));
            assert!(!rows.iter().flat_map(|row| &row.spans).any(fg));
        }
    }

    proptest! {
        #[test]
        fn nothing_of_a_message_is_lost(text in "[ a-z日é]{1,80}", columns in 1_usize..60) {
            let rows = texts(&message(By::Other, &text).rows(columns, Colours::Off)).concat();
            let without_spaces = |text: &str| text.replace(' ', "");
            let expected = format!("12:03bob:{}", without_spaces(&text));
            prop_assert_eq!(without_spaces(&rows), expected);
        }

        #[test]
        fn text_is_never_wider_than_the_terminal(text in "[ a-z日é\n]{1,80}", columns in 2_usize..60) {
            let rows = texts(&message(By::Other, &text).rows(columns, Colours::Off));
            // The name has a row of its own where the terminal is narrow; there it may be cut.
            let names = usize::from(columns < 21);
            prop_assert!(rows.iter().skip(names).all(|row| width(row) <= columns), "{:?}", rows);
        }
    }
}
