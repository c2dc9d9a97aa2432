//! The terminal: entries above, a status line and the line being typed below. Entries go into the terminal's own
//! scrollback, so that the conversation stays when the program has ended.

use std::collections::VecDeque;

use ratatui::backend::{Backend, ClearType};
use ratatui::layout::{Constraint, Layout, Position};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use ratatui::{Terminal, TerminalOptions, Viewport};

use crate::chat::entry::Entry;
use crate::chat::input::Editor;
use crate::output::Colours;
use crate::text::{shorten, width};

/// The rows of a terminal that a conversation is shown in.
pub(crate) struct View<B: Backend> {
    terminal: Terminal<B>,
    colours: Colours,
    /// What was inserted last, at most as much as a screen can show.
    recent: VecDeque<Entry>,
}

/// Entries that are kept for a screen that has to be filled anew.
const RECENT_MAX: usize = 200;

/// The status line and the line being typed.
const ROWS: u16 = 2;

/// What stands before the line being typed.
const PROMPT: &str = "> ";

/// Rows that are inserted at once, so that the buffer for them stays small.
const CHUNK_ROWS: usize = 256;

impl<B: Backend> View<B> {
    /// Takes the rows below the cursor. Asks the terminal where that is, so nobody else may be reading from it.
    pub(crate) fn new(backend: B, colours: Colours) -> Result<View<B>, B::Error> {
        let options = TerminalOptions { viewport: Viewport::Inline(ROWS) };
        Ok(View { terminal: Terminal::with_options(backend, options)?, colours, recent: VecDeque::new() })
    }

    /// Adds entries above.
    pub(crate) fn insert(&mut self, entries: &[Entry]) -> Result<(), B::Error> {
        self.recent.extend(entries.iter().cloned());
        self.recent.drain(..self.recent.len().saturating_sub(RECENT_MAX));
        self.print(entries)
    }

    fn print(&mut self, entries: &[Entry]) -> Result<(), B::Error> {
        let columns = usize::from(self.terminal.get_frame().area().width).max(1);
        let rows: Vec<Line<'static>> =
            entries.iter().flat_map(|entry| entry.rows(columns, self.colours)).collect();
        for chunk in rows.chunks(CHUNK_ROWS) {
            let height = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
            self.terminal.insert_before(height, |buffer| {
                for (row, area) in chunk.iter().zip(buffer.area.rows()) {
                    row.render(area, buffer);
                }
            })?;
        }
        Ok(())
    }

    /// Draws the rows below.
    pub(crate) fn draw(&mut self, status: &str, editor: &Editor) -> Result<(), B::Error> {
        self.terminal.draw(|frame| {
            let area = frame.area();
            let [above, below] =
                Layout::vertical([Constraint::Length(area.height.saturating_sub(1)), Constraint::Length(1)])
                    .areas(area);
            if !above.is_empty() {
                let bar = Style::new().add_modifier(Modifier::REVERSED);
                let text = shorten(&format!(" {status}"), usize::from(above.width));
                let fill = usize::from(above.width).saturating_sub(width(&text));
                frame.render_widget(Line::styled(format!("{text}{:fill$}", ""), bar), above);
            }
            let columns = usize::from(below.width);
            let room = columns.saturating_sub(width(PROMPT));
            let (typed, cursor) = editor.window(room);
            frame.render_widget(Line::from(vec![Span::raw(PROMPT), Span::raw(typed)]), below);
            let x = u16::try_from(width(PROMPT) + cursor).unwrap_or(u16::MAX);
            frame.set_cursor_position(Position::new(below.x + x.min(below.width.saturating_sub(1)), below.y));
        })?;
        Ok(())
    }

    /// Draws everything below anew, whatever stands there, and takes in that the terminal has another size.
    pub(crate) fn redraw(&mut self, status: &str, editor: &Editor) -> Result<(), B::Error> {
        let (columns, size) = (self.terminal.get_frame().area().width, self.terminal.size()?);
        if size.width < columns {
            // A narrower terminal is cleared, because nobody knows where it broke its lines.
            self.terminal.autoresize()?;
            let recent: Vec<Entry> = self.recent.iter().cloned().collect();
            let shown = recent.len().saturating_sub(usize::from(size.height));
            self.print(&recent[shown..])?;
        } else {
            self.terminal.autoresize()?;
            self.terminal.clear()?;
        }
        self.draw(status, editor)
    }

    /// Gives the rows back and leaves the cursor where they began.
    pub(crate) fn finish(&mut self) -> Result<(), B::Error> {
        let place = self.terminal.get_frame().area().as_position();
        let backend = self.terminal.backend_mut();
        backend.set_cursor_position(place)?;
        backend.clear_region(ClearType::AfterCursor)?;
        backend.show_cursor()?;
        backend.flush()
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::Event;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::chat::entry::{Body, By};

    fn view(columns: u16, rows: u16) -> View<TestBackend> {
        View::new(TestBackend::new(columns, rows), Colours::Off).unwrap()
    }

    fn typed(text: &str) -> Editor {
        let mut editor = Editor::default();
        editor.on(&Event::Paste(text.into()));
        editor
    }

    fn message(number: usize) -> Entry {
        let lines = vec![format!("message {number}")];
        let body = Body::Message { name: "bob".into(), label: "bob".into(), by: By::Other, lines };
        Entry { time: "12:03".into(), body }
    }

    #[test]
    fn entries_stand_above_the_line_being_typed() {
        let mut view = view(24, 5);
        view.draw("tea", &typed("half a th")).unwrap();
        view.insert(&[message(1), message(2)]).unwrap();
        view.draw("tea", &typed("half a thought")).unwrap();
        view.terminal.backend().assert_buffer_lines([
            Line::raw("12:03   bob: message 1  "),
            Line::raw("12:03   bob: message 2  "),
            Line::styled(" tea                    ", Style::new().add_modifier(Modifier::REVERSED)),
            Line::raw("> half a thought        "),
            Line::raw("                        "),
        ]);
        view.terminal.backend_mut().assert_cursor_position(Position::new(16, 3));
    }

    #[test]
    fn what_does_not_fit_is_in_the_scrollback_and_nowhere_else() {
        let mut view = view(32, 4);
        for number in 1..=1000 {
            view.insert(&[message(number)]).unwrap();
        }
        view.insert(&(1001..=2000).map(message).collect::<Vec<_>>()).unwrap();
        view.draw("tea", &typed("")).unwrap();
        let scrollback = view.terminal.backend().scrollback();
        let rows: Vec<String> = scrollback
            .content
            .chunks(32)
            .map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>())
            .collect();
        assert_eq!(rows.len(), 1998);
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(row.trim_end(), format!("12:03   bob: message {}", number + 1));
        }
        view.terminal.backend().assert_buffer_lines([
            Line::raw("12:03   bob: message 1999       "),
            Line::raw("12:03   bob: message 2000       "),
            Line::styled(format!("{:32}", " tea"), Style::new().add_modifier(Modifier::REVERSED)),
            Line::raw(format!("{:32}", ">")),
        ]);
    }

    #[test]
    fn a_terminal_of_any_size_is_survived() {
        for (columns, rows) in [(1, 1), (2, 1), (3, 2), (10, 1), (200, 2)] {
            let mut view = view(columns, rows);
            view.insert(&[message(1), Entry::notice("日本語")]).unwrap();
            view.draw("tea · 2 of 3 here", &typed("日本語 and more")).unwrap();
            view.finish().unwrap();
        }
    }

    #[test]
    fn a_narrower_terminal_shows_the_conversation_again() {
        let mut view = view(40, 6);
        view.insert(&[message(1), message(2)]).unwrap();
        view.draw("tea", &typed("draft")).unwrap();
        view.terminal.backend_mut().resize(30, 6);
        view.redraw("tea", &typed("draft")).unwrap();
        view.terminal.backend().assert_buffer_lines([
            Line::raw(format!("{:30}", "12:03   bob: message 1")),
            Line::raw(format!("{:30}", "12:03   bob: message 2")),
            Line::styled(format!("{:30}", " tea"), Style::new().add_modifier(Modifier::REVERSED)),
            Line::raw(format!("{:30}", "> draft")),
            Line::raw(" ".repeat(30)),
            Line::raw(" ".repeat(30)),
        ]);
    }

    #[test]
    fn drawing_anew_changes_nothing_that_was_right() {
        let mut view = view(24, 6);
        view.insert(&[message(1)]).unwrap();
        view.draw("tea", &typed("draft")).unwrap();
        let before = view.terminal.backend().buffer().clone();
        view.redraw("tea", &typed("draft")).unwrap();
        assert_eq!(*view.terminal.backend().buffer(), before);
    }

    #[test]
    fn the_end_leaves_the_conversation_and_takes_the_rest_away() {
        let mut view = view(24, 5);
        view.insert(&[message(1)]).unwrap();
        view.draw("tea", &typed("x")).unwrap();
        view.finish().unwrap();
        view.terminal.backend().assert_buffer_lines([
            "12:03   bob: message 1  ",
            "                        ",
            "                        ",
            "                        ",
            "                        ",
        ]);
        view.terminal.backend_mut().assert_cursor_position(Position::new(0, 1));
    }
}
