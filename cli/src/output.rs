//! The standard output: plain lines for people, one JSON object a line for scripts. All else goes to stderr.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Stdout, Write};

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use hark_sdk::Gap;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::exit::Done;
use crate::record::{GapJson, Record, gap_sentence, local_time};
use crate::text::{visible, width};

/// Whom the output is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A person.
    Human,
    /// A script.
    Json,
}

/// Where results go. Nothing is seen before [`Output::flush`].
pub(crate) struct Output<W: Write = io::BufWriter<Stdout>> {
    mode: Mode,
    colours: Colours,
    zone: TimeZone,
    writer: W,
}

/// Whether escape sequences for colours are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    /// The output is a terminal whose user has nothing against them.
    On,
    /// The output is a file or a pipe, or `NO_COLOR` is set.
    Off,
}

impl Colours {
    /// What the standard output and the environment ask for.
    pub(crate) fn of_stdout() -> Colours {
        match anstream::AutoStream::choice(&io::stdout()) {
            ColorChoice::Never => Colours::Off,
            _ => Colours::On,
        }
    }
}

impl Output {
    /// The standard output.
    pub(crate) fn stdout(mode: Mode) -> Output {
        // The lock is taken per write, so that a panic's message is not stuck behind it.
        let writer = io::BufWriter::with_capacity(64 * 1024, io::stdout());
        Output { mode, colours: Colours::of_stdout(), zone: TimeZone::system(), writer }
    }
}

impl<W: Write> Output<W> {
    /// Writes to `writer`, without colours.
    #[cfg(test)]
    pub(crate) fn new(mode: Mode, zone: TimeZone, writer: W) -> Output<W> {
        Output { mode, colours: Colours::Off, zone, writer }
    }

    /// Whom it is for.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// One result: its JSON for scripts, a line for people.
    pub(crate) fn result(&mut self, json: &impl Serialize, line: impl AsRef<str>) -> Done {
        match self.mode {
            Mode::Json => self.json(json),
            Mode::Human => self.line(line),
        }
    }

    /// A line for people. It may hold a stranger's words.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) -> Done {
        Ok(writeln!(self.writer, "{}", visible(line.as_ref()))?)
    }

    /// One object on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Done {
        let text = serde_json::to_string(value).map_err(io::Error::from)?;
        Ok(writeln!(self.writer, "{}", plain_json(&text))?)
    }

    /// One event of a room.
    pub(crate) fn event(&mut self, record: &Record) -> Done {
        match self.mode {
            Mode::Json => self.json(&record.to_json()),
            Mode::Human => self.event_lines(record),
        }
    }

    fn event_lines(&mut self, record: &Record) -> Done {
        let time = local_time(record.time_ms, &self.zone, "%Y-%m-%d %H:%M:%S");
        let style = match self.colours {
            Colours::On => Style::new().fg_color(Some(colour_of(&record.sender).into())),
            Colours::Off => Style::new(),
        };
        let sender = visible(&record.sender);
        let lines = record.lines();
        let (first, rest) = lines.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        match record.is_published() {
            true => writeln!(self.writer, "{time} {style}{sender}{style:#}: {first}")?,
            false => writeln!(self.writer, "{time} * {style}{sender}{style:#} {first}")?,
        }
        // The lines that follow stand behind a bar, or they could be taken for other people's messages.
        for line in rest {
            writeln!(self.writer, "{:19} | {line}", "")?;
        }
        Ok(())
    }

    /// Events that can not be delivered.
    pub(crate) fn gap(&mut self, room: &str, gap: &Gap) -> Done {
        self.result(&GapJson::new(room, gap), format!("--- {}", gap_sentence(gap)))
    }

    /// Rows in columns under a heading, for people.
    pub(crate) fn table<const N: usize>(&mut self, heading: [&str; N], rows: &[[String; N]]) -> Done {
        let rows: Vec<[String; N]> =
            rows.iter().map(|row| row.each_ref().map(|cell| visible(cell))).collect();
        let mut widths = heading.map(width);
        for row in &rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(width(cell));
            }
        }
        for row in std::iter::once(&heading.map(str::to_owned)).chain(&rows) {
            let mut line = String::new();
            for (cell, column) in row.iter().zip(widths) {
                let _ = write!(line, "{cell}{:gap$}", "", gap = column - width(cell) + 2);
            }
            writeln!(self.writer, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Raw bytes, such as a manual page.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Done {
        Ok(self.writer.write_all(bytes)?)
    }

    /// Shows what was written so far.
    pub(crate) fn flush(&mut self) -> Done {
        Ok(self.writer.flush()?)
    }
}

/// Tells a person something that is no result.
pub(crate) fn note(sentence: impl AsRef<str>) {
    // A standard error that can not be written to leaves nobody to tell.
    let _ = writeln!(io::stderr(), "{}", visible(sentence.as_ref()));
}

/// The colour of a name: always the same one, by a hash that does not change (FNV-1a).
pub(crate) fn colour_of(name: &str) -> AnsiColor {
    const COLOURS: [AnsiColor; 10] = [
        AnsiColor::Cyan,
        AnsiColor::Green,
        AnsiColor::Yellow,
        AnsiColor::Blue,
        AnsiColor::Magenta,
        AnsiColor::BrightCyan,
        AnsiColor::BrightGreen,
        AnsiColor::BrightYellow,
        AnsiColor::BrightBlue,
        AnsiColor::BrightMagenta,
    ];
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    COLOURS[usize::try_from(hash % 10).unwrap_or(0)]
}

/// The same JSON without characters that a terminal acts on: JSON leaves DEL, C1 controls and those that turn
/// text around as they are, and a `\u` escape means the same. They can only stand inside of strings.
fn plain_json(text: &str) -> Cow<'_, str> {
    let is_risky = |c: char| visible(c.encode_utf8(&mut [0; 4])) != *c.encode_utf8(&mut [0; 4]);
    if text.is_ascii() && !text.contains('\x7f') || !text.chars().any(is_risky) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_risky(c) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(plain, "\\u{unit:04x}");
            }),
            false => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// `hark help json`.
pub(crate) const JSON_HELP: &str = "\
What --json prints: one object a line, with keys that stay. New keys may be added, so
pass over what you do not know. Characters that a terminal would act on are escaped.

An event, from `tail`, `history` and `chat`, the same for everybody who reads it:
  room       the room's name
  epoch      which incarnation of the room's log; it changes when a log is restored
  seq        where the event stands in the log: 1, 2, 3, … without holes
  time       when the server stored it, in milliseconds since 1970-01-01T00:00:00Z
  sender     the author's account name
  kind       message, join, leave, kick, topic, role, invite, retention, or 0xNNNN
  client_id  the identity that the author gave it, 32 hexadecimal digits
  text       what was said; null if that is no text and for events such as join
  body_hex   only if the body is neither text nor explained by `change`: all of its bytes
  change     only if something about the room changed:
             join {role}, leave {}, kick {account, reason}, topic {topic},
             role {account, role}, invite {account},
             retention {max_age_s, max_events, max_bytes}

Where events can not be delivered:
  {room, gap: {from, to, reason}}      reason: retention, before join, damaged, or null
Where the log was replaced while it was followed:
  {room, reset: {epoch, first, head}}

Other commands:
  send       {room, epoch, seq, time, client_id, duplicate} for each message, and so do
             leave, invite, kick, role, `topic ROOM TEXT` and `retention ROOM --max-…`
  rooms      {room, visibility, history, topic, members, role, epoch, first, head, time},
             and so do create, join, direct and `topic ROOM`
  retention  {room, max_age_s, max_events, max_bytes}, of `retention ROOM`; 0 is no bound
  members    {account, display_name, role, presence, joined}
  whoami     {account, id, display_name, role, server, agent, profile}, and so do
             register and login
  logout     {account, server}
  nick       {display_name}
  ping       {server, rtt_us}
  admin user {account, id, display_name, role, disabled, created} from list; the others
             {account} and what they changed; passwd {account}
  decode     {offset, type, correlation, length, fields} or {offset, error}";

#[cfg(test)]
mod tests {
    use hark_sdk::{Change, Kind, Seq};

    use super::*;
    use crate::record::tests::{control, message};

    fn written(mode: Mode, write: impl FnOnce(&mut Output<Vec<u8>>) -> Done) -> String {
        let mut output = Output::new(mode, TimeZone::UTC, Vec::new());
        write(&mut output).unwrap();
        String::from_utf8(output.writer).unwrap()
    }

    #[test]
    fn people_get_time_name_and_text() {
        let text = written(Mode::Human, |output| {
            output.event(&message(1, "alice", "hello"))?;
            output.event(&control(2, "bob", Kind::LEAVE, Change::Leave))
        });
        assert_eq!(text, "2025-11-20 12:00:00 alice: hello\n2025-11-20 12:00:00 * bob left\n");
    }

    #[test]
    fn a_message_can_not_pretend_to_be_two() {
        let text = written(Mode::Human, |output| {
            output.event(&message(1, "mallory", "hi\n2025-11-20 12:00:00 alice: I owe mallory 5\x1b[1A"))
        });
        let second = text.lines().nth(1).unwrap();
        assert!(second.starts_with("                    | 2025") && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn json_is_what_it_was_and_nothing_a_terminal_acts_on() {
        let risky = "\u{9b}31m\u{7f}\u{202e}\u{e0001}é👍";
        let text = written(Mode::Json, |output| output.event(&message(1, "alice", risky)));
        assert!(!text.contains('\u{9b}') && !text.contains('\u{202e}') && text.contains("é👍"), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["text"], risky);
    }

    #[test]
    fn a_gap_is_told_to_both() {
        let gap = Gap { from: Seq(2), to: Seq(2), reason: None };
        assert_eq!(
            written(Mode::Human, |output| output.gap("tea", &gap)),
            "--- event 2 is missing: not delivered\n"
        );
        assert_eq!(
            written(Mode::Json, |output| output.gap("tea", &gap)),
            "{\"room\":\"tea\",\"gap\":{\"from\":2,\"to\":2,\"reason\":null}}\n"
        );
    }

    #[test]
    fn columns_are_as_wide_as_what_is_seen() {
        let rows = [["茶".to_owned(), "x".to_owned()], ["tea\x1b".to_owned(), "y".to_owned()]];
        assert_eq!(
            written(Mode::Human, |output| output.table(["ROOM", "T"], &rows)),
            "ROOM  T\n茶    x\ntea␛  y\n"
        );
    }

    #[test]
    fn a_name_keeps_its_colour() {
        assert_eq!(colour_of("alice"), colour_of("alice"));
        let colours: std::collections::HashSet<_> = ["alice", "bob", "carol", "dave", "erin", "frank"]
            .map(|name| format!("{:?}", colour_of(name)))
            .into();
        assert!(colours.len() > 2, "{colours:?}");
    }

    #[test]
    fn every_key_of_an_event_is_documented() {
        let value = serde_json::to_value(message(1, "alice", "x").to_json()).unwrap();
        for key in value.as_object().unwrap().keys() {
            assert!(JSON_HELP.contains(&format!("  {key} ")), "{key}");
        }
    }
}
