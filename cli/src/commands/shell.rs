//! `hark completions` and `hark man`: what the shell and the manual need, made from the arguments' declaration.

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::{Done, Failure};
use crate::output::Output;

/// Prints the completions for a shell.
pub(crate) fn completions(shell: Shell, output: &mut Output) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hark", &mut script);
    output.raw(&script)
}

/// Prints a manual page.
pub(crate) fn man(command: &[String], output: &mut Output) -> Done {
    let mut page = Vec::new();
    clap_mangen::Man::new(find(command)?).render(&mut page)?;
    output.raw(&page)
}

/// The command that the words name, with the options that it has in common with all of them.
fn find(words: &[String]) -> Done<Command> {
    let mut found = Cli::command();
    found.build();
    for word in words {
        found = found.find_subcommand(word).cloned().ok_or_else(|| {
            Failure::usage(format!("there is no command `hark {}`; see `hark help`", words.join(" ")))
        })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(words: &[&str]) -> Done<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut page = Vec::new();
        clap_mangen::Man::new(find(&words)?).render(&mut page)?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    }

    #[test]
    fn every_command_has_a_page() {
        assert!(page(&[]).unwrap().contains("hark"));
        for command in Cli::command().get_subcommands() {
            let page = page(&[command.get_name()]).unwrap();
            assert!(page.contains(&format!("hark\\-{}", command.get_name())), "{}", command.get_name());
        }
        assert!(page(&["admin", "user", "add"]).unwrap().contains("password\\-file"));
        assert_eq!(page(&["brew"]).unwrap_err().code(), 2);
    }

    #[test]
    fn every_shell_has_completions() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hark", &mut script);
            assert!(String::from_utf8_lossy(&script).contains("history"), "{shell}");
        }
    }
}
