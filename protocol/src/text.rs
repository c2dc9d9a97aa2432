//! Text on the wire: names that are proofs of their own shape, lines without control characters, and secrets
//! that do not print themselves.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::bounded::check;
use crate::limits::{ACCOUNT_NAME_BYTES_MAX, ACCOUNT_NAME_BYTES_MIN, ROOM_NAME_BYTES_MAX};
use crate::wire::{DecodeError, Reader, Wire};

/// Why a text is not what its type asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadText {
    /// Shorter or longer than the type allows.
    #[error("it has {found} bytes; between {min} and {max} are allowed")]
    Length {
        /// Bytes given.
        found: usize,
        /// Fewest allowed.
        min: usize,
        /// Most allowed.
        max: usize,
    },
    /// A character that the type does not allow.
    #[error("the character {0:?} is not allowed")]
    Character(char),
    /// A direct room's name that does not hold two account names in order.
    #[error("a name that begins with @ is @FIRST+SECOND, two account names in order")]
    NotDirect,
}

/// An account's name: 2 to 32 of `a-z 0-9 . _ -`. Unique on a server, never changed. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(Arc<str>);

impl AccountName {
    /// Checks `text` and keeps it.
    pub fn parse(text: &str) -> Result<AccountName, BadText> {
        length_between(text, ACCOUNT_NAME_BYTES_MIN, ACCOUNT_NAME_BYTES_MAX)?;
        plain_characters(text)?;
        Ok(AccountName(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A room's name: 1 to 64 of `a-z 0-9 . _ -`, or `@FIRST+SECOND` for the direct room of two accounts, whose
/// names stand in byte order. Unique on a server, never changed. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// Checks `text` and keeps it.
    pub fn parse(text: &str) -> Result<RoomName, BadText> {
        match text.strip_prefix('@') {
            Some(pair) => RoomName::parse_direct(text, pair),
            None => {
                length_between(text, 1, ROOM_NAME_BYTES_MAX)?;
                plain_characters(text)?;
                Ok(RoomName(text.into()))
            }
        }
    }

    fn parse_direct(text: &str, pair: &str) -> Result<RoomName, BadText> {
        let (first, second) = pair.split_once('+').ok_or(BadText::NotDirect)?;
        let (first, second) = (AccountName::parse(first)?, AccountName::parse(second)?);
        if first < second { Ok(RoomName(text.into())) } else { Err(BadText::NotDirect) }
    }

    /// The name of the direct room of two accounts, whichever of them asks; `None` for one account twice.
    pub fn direct(one: &AccountName, other: &AccountName) -> Option<RoomName> {
        let (first, second) = if one < other { (one, other) } else { (other, one) };
        (first != second).then(|| RoomName(format!("@{first}+{second}").into()))
    }

    /// Whether this is the name of a direct room of that account.
    pub fn is_of(&self, account: &AccountName) -> bool {
        let pair = self.0.strip_prefix('@').and_then(|pair| pair.split_once('+'));
        pair.is_some_and(|(first, second)| [first, second].contains(&account.as_str()))
    }

    /// Whether this is the name of a direct room.
    pub fn is_direct(&self) -> bool {
        self.0.starts_with('@')
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One line of free text of at most `MAX` bytes: no control characters and no bidirectional overrides, so that
/// it can be shown in a line of a log or a terminal without moving anything else.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line<const MAX: usize>(Box<str>);

impl<const MAX: usize> Line<MAX> {
    /// Checks `text` and keeps it.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        length_between(text, 0, MAX)?;
        match text.chars().find(|c| !is_line_character(*c)) {
            Some(bad) => Err(BadText::Character(bad)),
            None => Ok(Line(text.into())),
        }
    }

    /// As much of `text` as a line can hold: unacceptable characters become `?`, and the end is cut at a
    /// character's boundary. For our own words, such as an error's text.
    pub fn lossy(text: &str) -> Self {
        let mut line = String::new();
        for c in text.chars().map(|c| if is_line_character(c) { c } else { '?' }) {
            if line.len() + c.len_utf8() > MAX {
                break;
            }
            line.push(c);
        }
        Line(line.into())
    }

    /// The line as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// At most `MAX` bytes of UTF-8 that never appear in a log: `Debug` prints their number only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret<const MAX: usize>(Box<str>);

impl<const MAX: usize> Secret<MAX> {
    /// Checks the length of `text` and keeps it.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        length_between(text, 0, MAX)?;
        Ok(Secret(text.into()))
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const MAX: usize> fmt::Debug for Secret<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

fn length_between(text: &str, min: usize, max: usize) -> Result<(), BadText> {
    match text.len() {
        found if found < min || found > max => Err(BadText::Length { found, min, max }),
        _ => Ok(()),
    }
}

fn plain_characters(text: &str) -> Result<(), BadText> {
    let is_plain = |c: &char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
    text.chars().find(|c| !is_plain(c)).map_or(Ok(()), |bad| Err(BadText::Character(bad)))
}

/// Neither a control character, nor a line or paragraph separator, nor one that turns the direction of text
/// (Unicode TR9: the embeddings, overrides and isolates).
fn is_line_character(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Implements what all text types share: `Display`, `FromStr`, and [`Wire`] behind a length of `$length` bits.
macro_rules! text_wire {
    ([$($generics:tt)*] $type:ty, $name:literal, $length:ty, $max:expr) => {
        impl<$($generics)*> FromStr for $type {
            type Err = BadText;
            fn from_str(text: &str) -> Result<Self, BadText> {
                Self::parse(text)
            }
        }

        impl<$($generics)*> Wire for $type {
            const NAME: &'static str = $name;
            fn size(&self) -> usize {
                size_of::<$length>() + self.0.len()
            }
            fn put(&self, out: &mut Vec<u8>) {
                <$length>::try_from(self.0.len())
                    .expect("invariant: parse() holds the length to a maximum below the prefix's")
                    .put(out);
                out.extend_from_slice(self.0.as_bytes());
            }
            fn take(reader: &mut Reader) -> Result<Self, DecodeError> {
                let length = usize::from(<$length>::take(reader)?);
                check(length, $max)?;
                let bytes = reader.bytes(length)?;
                let text = str::from_utf8(&bytes).map_err(|_| DecodeError::NotUtf8)?;
                Ok(Self::parse(text)?)
            }
        }
    };
}

text_wire!([] AccountName, "account name", u8, ACCOUNT_NAME_BYTES_MAX);
text_wire!([] RoomName, "room name", u8, ROOM_NAME_BYTES_MAX + 2);
text_wire!([const MAX: usize] Line<MAX>, "line", u16, MAX);
text_wire!([const MAX: usize] Secret<MAX>, "secret", u16, MAX);

/// Implements the ways to print a text that may be printed.
macro_rules! text_print {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl<$($generics)*> fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

text_print!([] AccountName);
text_print!([] RoomName);
text_print!([const MAX: usize] Line<MAX>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_bounded() {
        for good in ["al", "a.b_c-9", &"x".repeat(32)] {
            assert!(AccountName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "Al", "al ", "ål", "a/b", "a\0", &"x".repeat(33)] {
            assert!(AccountName::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "tea", "@ann+bob", &"x".repeat(64)] {
            assert!(RoomName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "Tea", "@ann", "@bob+ann", "@ann+ann", "a+b", "@a+b", &"x".repeat(65)] {
            assert!(RoomName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_longest_direct_name_is_a_room_name() {
        let one = AccountName::parse(&"a".repeat(32)).unwrap();
        let other = AccountName::parse(&"b".repeat(32)).unwrap();
        let direct = RoomName::direct(&other, &one).unwrap();
        assert_eq!(direct.as_str().len(), ROOM_NAME_BYTES_MAX + 2);
        assert_eq!(RoomName::parse(direct.as_str()), Ok(direct));
        assert_eq!(RoomName::direct(&one, &one), None);
    }

    #[test]
    fn a_line_can_not_move_the_cursor() {
        for bad in ["a\nb", "\x1b[2J", "\u{9b}1m", "\u{202e}abc", "\u{2066}x", "\u{2028}"] {
            assert!(Line::<64>::parse(bad).is_err(), "{bad:?}");
            assert!(Line::<64>::parse(Line::<64>::lossy(bad).as_str()).is_ok(), "{bad:?}");
        }
        assert_eq!(Line::<4>::lossy("aaaé").as_str(), "aaa");
        assert!(Line::<64>::parse("naïve 👍 שלום").is_ok());
    }

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = Secret::<64>::parse("hunter22").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(8 bytes)");
    }
}
