//! Passwords: from the environment, from a file, or asked for on a terminal; never from an argument.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::Path;

use hark_sdk::limits::{PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN};

use crate::context::SecretSource;
use crate::exit::{Done, Failure};
use crate::output::note;
use crate::text::visible;

/// Whether somebody is there to be asked.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Reads a secret from where it is.
pub(crate) fn read(source: &SecretSource) -> Done<String> {
    match source {
        SecretSource::Given(secret) => Ok(secret.clone()),
        SecretSource::File(path) if path == Path::new("-") => {
            first_line(io::stdin().lock(), "the standard input")
        }
        SecretSource::File(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
            first_line(BufReader::new(file), &name)
        }
    }
}

/// The first line, without its end. No more is read than a password can have.
fn first_line(reader: impl BufRead, name: &str) -> Done<String> {
    let mut line = String::new();
    let bound = PASSWORD_BYTES_MAX as u64 + 2;
    reader.take(bound).read_line(&mut line).map_err(|error| unreadable(name, &error))?;
    match line.trim_end_matches(['\r', '\n']) {
        "" => Err(Failure::usage(format!("the first line of {name} is empty; write the password there"))),
        secret => Ok(secret.to_owned()),
    }
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::usage(format!("the password can not be read from {name}: {error}"))
}

/// An account's present password: from `source`, or asked for.
pub(crate) fn present(source: Option<&SecretSource>, account: &str) -> Done<String> {
    match source {
        Some(source) => read(source),
        None if is_interactive() => ask(&format!("Password for {account}: ")),
        None => Err(Failure::usage(
            "there is no password: set HARK_PASSWORD or HARK_PASSWORD_FILE, or log in on a terminal with `hark login`",
        )),
    }
}

/// A password that is to be set: from `source`, or asked for twice.
pub(crate) fn new(source: Option<&SecretSource>, account: &str, variables: &str) -> Done<String> {
    match source {
        Some(source) => {
            let password = read(source)?;
            check_length(&password).map(|()| password)
        }
        None if is_interactive() => ask_for_new(account),
        None => Err(Failure::usage(format!("there is no password to set: set {variables}"))),
    }
}

/// How often a person may mistype a new password.
const TRIES_MAX: usize = 3;

fn ask_for_new(account: &str) -> Done<String> {
    let mut failure = Failure::usage("no password was chosen");
    for _ in 0..TRIES_MAX {
        let password = ask(&format!("New password for {account}: "))?;
        failure = match check_length(&password) {
            Err(failure) => failure,
            Ok(()) if ask("The same again: ")? == password => return Ok(password),
            Ok(()) => Failure::usage("the two passwords are not the same"),
        };
        note(failure.sentence().unwrap_or_default());
    }
    Err(failure)
}

fn check_length(password: &str) -> Done {
    match password.len() {
        PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX => Ok(()),
        found => Err(Failure::usage(format!(
            "a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes and this one has {found}; choose another"
        ))),
    }
}

fn ask(prompt: &str) -> Done<String> {
    rpassword::prompt_password(visible(prompt))
        .map_err(|error| Failure::usage(format!("the password could not be asked for: {error}")))
}

/// Asks a yes-or-no question; anything but a yes is a no.
pub(crate) fn confirm(question: &str) -> bool {
    eprint!("{} [y/N] ", visible(question));
    let mut answer = String::new();
    let bound = 64;
    let read = io::stdin().lock().take(bound).read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_first_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "correct horse \r\nsecond").unwrap();
        let source = SecretSource::File(file.path().to_owned());
        assert_eq!(read(&source).unwrap(), "correct horse ");
        std::fs::write(file.path(), "\n").unwrap();
        assert_eq!(read(&source).unwrap_err().code(), 2);
    }

    #[test]
    fn a_missing_file_is_named() {
        let failure = read(&SecretSource::File("/nonexistent/password".into())).unwrap_err();
        assert!(failure.sentence().unwrap().contains("/nonexistent/password"));
        assert_eq!(failure.code(), 2);
    }

    #[test]
    fn a_new_password_is_long_enough() {
        let given = |text: &str| Some(SecretSource::Given(text.to_owned()));
        assert!(new(given("12345678").as_ref(), "bob", "X").is_ok());
        assert_eq!(new(given("1234567").as_ref(), "bob", "X").unwrap_err().code(), 2);
        let failure = new(given("1234567").as_ref(), "bob", "X").unwrap_err();
        assert!(!failure.sentence().unwrap().contains("1234567"));
    }
}
