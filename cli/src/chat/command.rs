//! What a person in a conversation types: messages, and commands that begin with a slash.

/// A line that was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// Nothing.
    Nothing,
    /// Something to say.
    Message(String),
    /// Something to do.
    Command(Command),
    /// Something that looks like a command and is none; why.
    Mistaken(String),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Enter another room, as a member.
    Join(String),
    /// Stop being a member of this room.
    Leave,
    /// List the rooms one is in.
    Rooms,
    /// List the room's members.
    Who,
    /// Change the name that people see.
    Nick(String),
    /// Show the topic.
    ShowTopic,
    /// Change the topic.
    Topic(String),
    /// Let somebody join.
    Invite(String),
    /// Remove somebody; why.
    Kick(String, String),
    /// Show so many earlier events.
    History(u64),
    /// Explain the commands.
    Help,
    /// End.
    Quit,
}

/// How many earlier events `/history` shows unless told otherwise.
const HISTORY_DEFAULT: u64 = 20;

/// More than a person wants to see at once.
const HISTORY_MAX: u64 = 1000;

/// What `/help` shows.
pub(crate) const HELP: &[&str] = &[
    "/join ROOM             enter another room",
    "/leave                 stop being a member of this room",
    "/rooms                 the rooms you are in",
    "/who                   who is in this room, and whether they are there",
    "/nick NAME             change the name that people see",
    "/topic [TEXT]          show or change the topic",
    "/invite NAME           let somebody join a private room",
    "/kick NAME [REASON]    remove somebody",
    "/history [N]           show N earlier events (20)",
    "/quit                  end; so do Ctrl-C and Ctrl-D",
    "//text                 say something that begins with a slash",
];

impl Entered {
    /// Reads a line.
    pub(crate) fn parse(line: &str) -> Entered {
        if line.trim().is_empty() {
            return Entered::Nothing;
        }
        let Some(rest) = line.strip_prefix('/') else { return Entered::Message(line.to_owned()) };
        if rest.starts_with('/') {
            return Entered::Message(rest.to_owned());
        }
        let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match command(word, rest.trim()) {
            Ok(command) => Entered::Command(command),
            Err(why) => Entered::Mistaken(why),
        }
    }
}

fn command(word: &str, rest: &str) -> Result<Command, String> {
    let needed = |what: &str| match rest {
        "" => Err(format!("/{word} needs {what}; see /help")),
        rest => Ok(rest.to_owned()),
    };
    Ok(match word {
        "join" => Command::Join(needed("a room")?),
        "leave" => Command::Leave,
        "rooms" => Command::Rooms,
        "who" => Command::Who,
        "nick" => Command::Nick(needed("a name")?),
        "topic" if rest.is_empty() => Command::ShowTopic,
        "topic" => Command::Topic(rest.to_owned()),
        "invite" => Command::Invite(needed("a name")?),
        "kick" => {
            let whole = needed("a name")?;
            let (name, reason) = whole.split_once(char::is_whitespace).unwrap_or((&whole, ""));
            Command::Kick(name.to_owned(), reason.trim().to_owned())
        }
        "history" if rest.is_empty() => Command::History(HISTORY_DEFAULT),
        "history" => match rest.parse() {
            Ok(count @ 1..=HISTORY_MAX) => Command::History(count),
            _ => return Err(format!("/history shows 1 to {HISTORY_MAX} events")),
        },
        "help" => Command::Help,
        "quit" => Command::Quit,
        _ => return Err(format!("there is no command /{word}; see /help, or begin with // to say it")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message_unless_it_begins_with_one_slash() {
        assert_eq!(Entered::parse("hello /quit"), Entered::Message("hello /quit".into()));
        assert_eq!(Entered::parse(" /quit"), Entered::Message(" /quit".into()));
        assert_eq!(Entered::parse("//etc/passwd"), Entered::Message("/etc/passwd".into()));
        assert_eq!(Entered::parse("  \t"), Entered::Nothing);
    }

    #[test]
    fn commands_are_read_with_what_they_need() {
        for (line, expected) in [
            ("/join tea", Command::Join("tea".into())),
            ("/leave", Command::Leave),
            ("/rooms", Command::Rooms),
            ("/who", Command::Who),
            ("/nick Ann Lee", Command::Nick("Ann Lee".into())),
            ("/topic", Command::ShowTopic),
            ("/topic  leaf and cup", Command::Topic("leaf and cup".into())),
            ("/invite bob", Command::Invite("bob".into())),
            ("/kick bob", Command::Kick("bob".into(), String::new())),
            ("/kick bob too loud", Command::Kick("bob".into(), "too loud".into())),
            ("/history", Command::History(20)),
            ("/history 5", Command::History(5)),
            ("/help", Command::Help),
            ("/quit", Command::Quit),
        ] {
            assert_eq!(Entered::parse(line), Entered::Command(expected), "{line}");
        }
    }

    #[test]
    fn a_mistake_is_told_and_not_said_to_everybody() {
        for line in ["/jion tea", "/join", "/kick", "/nick ", "/history 0", "/history all", "/"] {
            assert!(matches!(Entered::parse(line), Entered::Mistaken(_)), "{line}");
        }
    }

    #[test]
    fn every_command_is_explained() {
        for word in ["join", "leave", "rooms", "who", "nick", "topic", "invite", "kick", "history", "quit"] {
            assert!(HELP.iter().any(|line| line.starts_with(&format!("/{word}"))), "{word}");
        }
    }
}
