//! The line being typed: keys in, a line out, and when to tell others that somebody is typing.

use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use hark_sdk::SignalKind;
use ratatui::text::Span;
use tui_input::{Input, InputRequest};

use crate::text::{visible, width};

/// What a key or a paste comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing that anybody sees.
    Nothing,
    /// The line changed, or the cursor did.
    Edited,
    /// The line was entered.
    Entered(String),
    /// The screen is to be drawn anew.
    Redraw,
    /// The end.
    Quit,
}

/// The line editor, with the lines that were entered before.
#[derive(Debug, Default)]
pub(crate) struct Editor {
    input: Input,
    before: Vec<String>,
    /// Which of the lines before is shown, counted from the end; 0 = the one being typed.
    shown: usize,
    /// The line being typed while another one is shown.
    draft: String,
}

/// Lines that are remembered.
const BEFORE_MAX: usize = 200;

/// Bytes of a line, well below what any server takes of a message.
const LINE_BYTES_MAX: usize = 16 * 1024;

impl Editor {
    /// Takes a key, a paste or anything else that a terminal tells.
    pub(crate) fn on(&mut self, event: &Event) -> Action {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.on_key(*key),
            Event::Paste(text) => {
                // Line ends stay what they are: pasting is not entering.
                text.replace("\r\n", "\n").replace('\r', "\n").chars().for_each(|c| self.insert(c));
                Action::Edited
            }
            Event::Resize(..) => Action::Redraw,
            _ => Action::Nothing,
        }
    }

    fn on_key(&mut self, key: KeyEvent) -> Action {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        let request = match key.code {
            KeyCode::Char('c' | 'd') if control => return Action::Quit,
            KeyCode::Char('l') if control => return Action::Redraw,
            KeyCode::Enter if alt => {
                self.insert('\n');
                return Action::Edited;
            }
            KeyCode::Enter => return self.enter(),
            KeyCode::Up => return self.recall(self.shown + 1),
            KeyCode::Down => return self.recall(self.shown.saturating_sub(1)),
            KeyCode::Left if control => InputRequest::GoToPrevWord,
            KeyCode::Right if control => InputRequest::GoToNextWord,
            KeyCode::Left => InputRequest::GoToPrevChar,
            KeyCode::Right => InputRequest::GoToNextChar,
            KeyCode::Home => InputRequest::GoToStart,
            KeyCode::End => InputRequest::GoToEnd,
            KeyCode::Backspace if alt => InputRequest::DeletePrevWord,
            KeyCode::Backspace => InputRequest::DeletePrevChar,
            KeyCode::Delete => InputRequest::DeleteNextChar,
            KeyCode::Char(c) if control => match control_request(c) {
                Some(request) => request,
                None => return Action::Nothing,
            },
            KeyCode::Char('b') if alt => InputRequest::GoToPrevWord,
            KeyCode::Char('f') if alt => InputRequest::GoToNextWord,
            KeyCode::Char(c) => {
                self.insert(c);
                return Action::Edited;
            }
            _ => return Action::Nothing,
        };
        self.input.handle(request);
        Action::Edited
    }

    fn insert(&mut self, c: char) {
        if self.input.value().len() + c.len_utf8() <= LINE_BYTES_MAX {
            self.input.handle(InputRequest::InsertChar(c));
        }
    }

    fn enter(&mut self) -> Action {
        let line = self.input.value_and_reset();
        self.shown = 0;
        self.draft.clear();
        if !line.trim().is_empty() && self.before.last() != Some(&line) {
            self.before.push(line.clone());
            if self.before.len() > BEFORE_MAX {
                self.before.remove(0);
            }
        }
        Action::Entered(line)
    }

    /// Shows a line that was entered before, or what was being typed.
    fn recall(&mut self, shown: usize) -> Action {
        if self.shown == 0 {
            self.draft = self.input.value().to_owned();
        }
        let line = match shown {
            0 => self.draft.clone(),
            back => match self.before.len().checked_sub(back) {
                Some(at) => self.before[at].clone(),
                None => return Action::Nothing,
            },
        };
        self.shown = shown;
        self.input = Input::new(line);
        Action::Edited
    }

    /// What has been typed.
    pub(crate) fn value(&self) -> &str {
        self.input.value()
    }

    /// The part of the line that a window of `columns` shows, and the column of the cursor in it.
    pub(crate) fn window(&self, columns: usize) -> (String, usize) {
        // Made visible first: each character has one picture, so places stay what they are.
        let shown = visible(self.input.value());
        let before: String = shown.chars().take(self.input.cursor()).collect();
        let cursor = width(&before);
        let from = cursor.saturating_sub(columns.saturating_sub(1));
        let (mut at, mut start, mut part) = (0, None, String::new());
        for cluster in Span::raw(shown.as_str()).styled_graphemes(ratatui::style::Style::new()) {
            let wide = width(cluster.symbol);
            if at >= from {
                let start = *start.get_or_insert(at);
                if at + wide - start > columns {
                    break;
                }
                part.push_str(cluster.symbol);
            }
            at += wide;
        }
        (part, cursor - start.unwrap_or(cursor))
    }
}

fn control_request(c: char) -> Option<InputRequest> {
    Some(match c {
        'a' => InputRequest::GoToStart,
        'e' => InputRequest::GoToEnd,
        'b' => InputRequest::GoToPrevChar,
        'f' => InputRequest::GoToNextChar,
        'h' => InputRequest::DeletePrevChar,
        'w' => InputRequest::DeletePrevWord,
        'u' => InputRequest::DeleteFromStart,
        'k' => InputRequest::DeleteTillEnd,
        'y' => InputRequest::Yank,
        _ => return None,
    })
}

/// When to tell others that somebody is typing: at once, then every few seconds as long as the line changes, and
/// when it is empty again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Typist {
    told: Option<Instant>,
}

/// Well within the six seconds after which typing is forgotten.
const TELL_EVERY: Duration = Duration::from_secs(3);

impl Typist {
    /// The line is `line` now; what to tell, if anything.
    pub(crate) fn on_line(&mut self, line: &str, now: Instant) -> Option<SignalKind> {
        // What is done here is nobody else's business.
        let is_message = !line.is_empty() && (!line.starts_with('/') || line.starts_with("//"));
        match (is_message, self.told) {
            (true, Some(told)) if now.saturating_duration_since(told) < TELL_EVERY => None,
            (true, _) => {
                self.told = Some(now);
                Some(SignalKind::TYPING)
            }
            (false, Some(_)) => {
                self.told = None;
                Some(SignalKind::IDLE)
            }
            (false, None) => None,
        }
    }

    /// The line was sent, which says by itself that nobody is typing it any more.
    pub(crate) fn on_sent(&mut self) {
        self.told = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(code, modifiers))
    }

    fn plain(code: KeyCode) -> Event {
        key(code, KeyModifiers::NONE)
    }

    fn control(c: char) -> Event {
        key(KeyCode::Char(c), KeyModifiers::CONTROL)
    }

    fn type_in(editor: &mut Editor, text: &str) {
        text.chars().for_each(|c| assert_eq!(editor.on(&plain(KeyCode::Char(c))), Action::Edited));
    }

    #[test]
    fn what_is_typed_is_entered() {
        let mut editor = Editor::default();
        type_in(&mut editor, "helo");
        editor.on(&plain(KeyCode::Left));
        type_in(&mut editor, "l");
        assert_eq!(editor.on(&plain(KeyCode::Enter)), Action::Entered("hello".into()));
        assert_eq!(editor.value(), "");
    }

    #[test]
    fn control_c_and_control_d_end_whatever_was_typed() {
        let mut editor = Editor::default();
        assert_eq!(editor.on(&control('c')), Action::Quit);
        type_in(&mut editor, "half a sent");
        assert_eq!(editor.on(&control('d')), Action::Quit);
    }

    #[test]
    fn the_usual_editing_keys_work() {
        let mut editor = Editor::default();
        type_in(&mut editor, "one two three");
        editor.on(&control('w'));
        assert_eq!(editor.value(), "one two ");
        editor.on(&control('a'));
        editor.on(&plain(KeyCode::Delete));
        assert_eq!(editor.value(), "ne two ");
        editor.on(&control('e'));
        editor.on(&control('u'));
        assert_eq!(editor.value(), "");
    }

    #[test]
    fn lines_entered_before_come_back_and_the_draft_is_kept() {
        let mut editor = Editor::default();
        for line in ["one", "two"] {
            type_in(&mut editor, line);
            editor.on(&plain(KeyCode::Enter));
        }
        type_in(&mut editor, "draft");
        editor.on(&plain(KeyCode::Up));
        editor.on(&plain(KeyCode::Up));
        assert_eq!(editor.value(), "one");
        assert_eq!(editor.on(&plain(KeyCode::Up)), Action::Nothing);
        editor.on(&plain(KeyCode::Down));
        editor.on(&plain(KeyCode::Down));
        assert_eq!(editor.value(), "draft");
    }

    #[test]
    fn a_paste_of_lines_is_one_message_until_it_is_entered() {
        let mut editor = Editor::default();
        assert_eq!(editor.on(&Event::Paste("a\r\nb\x1b[2J".into())), Action::Edited);
        assert_eq!(editor.window(80), ("a␊b␛[2J".into(), 7));
        assert_eq!(editor.on(&plain(KeyCode::Enter)), Action::Entered("a\nb\x1b[2J".into()));
    }

    #[test]
    fn a_flood_of_input_is_bounded() {
        let mut editor = Editor::default();
        editor.on(&Event::Paste("x".repeat(10 * LINE_BYTES_MAX)));
        assert_eq!(editor.value().len(), LINE_BYTES_MAX);
    }

    #[test]
    fn the_window_follows_the_cursor() {
        let mut editor = Editor::default();
        type_in(&mut editor, "abcdef");
        assert_eq!(editor.window(10), ("abcdef".into(), 6));
        assert_eq!(editor.window(4), ("def".into(), 3));
        editor.on(&control('a'));
        assert_eq!(editor.window(4), ("abcd".into(), 0));
        let mut wide = Editor::default();
        type_in(&mut wide, "日本語");
        assert_eq!(wide.window(4), ("語".into(), 2));
        assert_eq!(Editor::default().window(0), (String::new(), 0));
    }

    #[test]
    fn typing_is_told_at_once_then_seldom_and_its_end_once() {
        let (mut typist, begun) = (Typist::default(), Instant::now());
        assert_eq!(typist.on_line("h", begun), Some(SignalKind::TYPING));
        assert_eq!(typist.on_line("he", begun + Duration::from_secs(1)), None);
        assert_eq!(typist.on_line("hel", begun + TELL_EVERY), Some(SignalKind::TYPING));
        assert_eq!(typist.on_line("", begun + TELL_EVERY), Some(SignalKind::IDLE));
        assert_eq!(typist.on_line("", begun + TELL_EVERY), None);
        assert_eq!(typist.on_line("/who", begun + TELL_EVERY), None);
    }

    #[test]
    fn a_sent_line_needs_no_word_that_typing_ended() {
        let (mut typist, now) = (Typist::default(), Instant::now());
        typist.on_line("hi", now);
        typist.on_sent();
        assert_eq!(typist.on_line("", now), None);
    }
}
