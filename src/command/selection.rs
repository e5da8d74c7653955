//! Some of the commands, chosen as Redis' ACL chooses them (*ACL*, "Command categories").
//!
//! What a user may run, what a limit counts and what a timeout is for are all a set of rows of the table: one bit
//! each, so that asking costs one load.

use super::category;
use super::spec::{CommandSpec, Subcommands};
use super::table::{COMMANDS, TABLE};

const WORDS: usize = COMMANDS.div_ceil(64);

/// A set of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection([u64; WORDS]);

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// It begins with neither `+` nor `-`.
    #[error("'{rule}' begins with neither '+' nor '-'")]
    NoSign {
        /// The rule.
        rule: String,
    },
    /// There is no such command.
    #[error("there is no command '{name}'")]
    UnknownCommand {
        /// The name.
        name: String,
    },
    /// Some uses of a command, told apart by its first argument.
    #[error("'{name}' chooses a first argument, which is not supported: the whole command is '{command}'")]
    FirstArgument {
        /// The rule without its sign.
        name: String,
        /// The command.
        command: String,
    },
    /// There is no such category.
    #[error("there is no category '@{name}'")]
    UnknownCategory {
        /// The name.
        name: String,
    },
}

impl Selection {
    /// No command.
    pub const NONE: Self = Self([0; WORDS]);

    /// Every command.
    pub fn all() -> Self {
        let mut all = Self::NONE;
        for row in &TABLE {
            all.set(row, true);
        }
        all
    }

    /// Rules such as `+@read -keys +config|get`, applied one after the other to `base`.
    pub fn parse(base: Self, rules: &str) -> Result<Self, SelectionError> {
        rules.split_whitespace().try_fold(base, Self::with)
    }

    /// What a class of commands is called: a category, a command, or `scan` for all walks over something.
    pub fn of_class(name: &str) -> Option<Self> {
        if name == "scan" {
            return Self::parse(Self::NONE, "+scan +sscan +hscan +zscan").ok();
        }
        let rules = [format!("+@{name}"), format!("+{name}")];
        rules.iter().find_map(|rule| Self::parse(Self::NONE, rule).ok())
    }

    /// Whether it has the command.
    #[inline]
    pub fn has(&self, spec: &'static CommandSpec) -> bool {
        let index = spec.index();
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// What both have.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (word, others) in both.0.iter_mut().zip(&other.0) {
            *word &= others;
        }
        both
    }

    /// How many commands it has.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    fn with(mut self, rule: &str) -> Result<Self, SelectionError> {
        let (is_in, name) = match rule.split_at_checked(1) {
            _ if rule.eq_ignore_ascii_case("allcommands") => (true, "@all"),
            _ if rule.eq_ignore_ascii_case("nocommands") => (false, "@all"),
            Some(("+", name)) => (true, name),
            Some(("-", name)) => (false, name),
            _ => return Err(SelectionError::NoSign { rule: rule.to_owned() }),
        };
        let chosen = match name.strip_prefix('@') {
            Some(category) => in_category(category)?,
            None => named(name)?,
        };
        for row in chosen {
            self.set(row, is_in);
        }
        Ok(self)
    }

    fn set(&mut self, spec: &'static CommandSpec, is_in: bool) {
        let index = spec.index();
        if let Some(word) = self.0.get_mut(index / 64) {
            *word = if is_in { *word | 1 << (index % 64) } else { *word & !(1 << (index % 64)) };
        }
    }
}

/// A command with its subcommands, or one of them.
fn named(name: &str) -> Result<Vec<&'static CommandSpec>, SelectionError> {
    let upper = name.to_ascii_uppercase();
    let unknown = || SelectionError::UnknownCommand { name: name.to_owned() };
    let (command, subcommand) = upper.split_once('|').map_or((upper.as_str(), None), |(a, b)| (a, Some(b)));
    let row = TABLE.iter().find(|row| row.name == command).ok_or_else(unknown)?;
    let is_of = |of: &&CommandSpec| of.container().is_some_and(|container| std::ptr::eq(container, row));
    let Some(subcommand) = subcommand else {
        return Ok(std::iter::once(row).chain(TABLE.iter().filter(is_of)).collect());
    };
    let is_meant = |of: &&CommandSpec| is_of(of) && of.name.ends_with(&format!(" {subcommand}"));
    match TABLE.iter().find(is_meant) {
        Some(subcommand) => Ok(vec![subcommand]),
        None if row.subcommands == Subcommands::None && !subcommand.is_empty() => {
            Err(SelectionError::FirstArgument { name: name.to_owned(), command: command.to_lowercase() })
        }
        None => Err(unknown()),
    }
}

fn in_category(name: &str) -> Result<Vec<&'static CommandSpec>, SelectionError> {
    let lower = name.to_ascii_lowercase();
    if lower != "all" && !category::exists(&lower) {
        return Err(SelectionError::UnknownCategory { name: name.to_owned() });
    }
    Ok(TABLE.iter().filter(|row| lower == "all" || category::has(&lower, row)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::find;

    fn chosen(rules: &str) -> Selection {
        Selection::parse(Selection::NONE, rules).expect("good rules")
    }

    fn row(name: &str) -> &'static CommandSpec {
        find(name).expect("a row")
    }

    fn refusal(rules: &str) -> String {
        Selection::parse(Selection::NONE, rules).expect_err("a bad rule").to_string()
    }

    #[test]
    fn rules_are_applied_in_order() {
        let reads = chosen("+@read -mget +config|get");
        let has = ["GET", "MGET", "SET", "CONFIG GET", "CONFIG SET"].map(|name| reads.has(row(name)));
        assert_eq!([true, false, false, true, false], has);
        assert_eq!(Selection::NONE, chosen("+@all -@all"));
        assert_eq!(Selection::all(), chosen("-get AllCommands"));
        assert_eq!(Selection::NONE, chosen("+get NOCOMMANDS"));
    }

    #[test]
    fn a_command_stands_for_its_subcommands_and_is_written_in_either_case() {
        let config = chosen("+Config -CONFIG|resetstat");
        let has = ["CONFIG GET", "CONFIG SET", "CONFIG RESETSTAT", "GET"].map(|name| config.has(row(name)));
        assert_eq!([true, true, false, false], has);
        assert_eq!(chosen("+@WRITE"), chosen("+@write"));
    }

    #[test]
    fn what_both_have_is_the_narrower_of_two() {
        assert_eq!(chosen("+get"), chosen("+get +set").and(&chosen("+get +del")));
    }

    #[test]
    fn a_rule_that_cannot_be_followed_says_why() {
        for (rule, expected) in [
            ("get", "'get' begins with neither '+' nor '-'"),
            ("+", "there is no command ''"),
            ("+nosuch", "there is no command 'nosuch'"),
            ("+acl|", "there is no command 'acl|'"),
            ("+config|foo", "there is no command 'config|foo'"),
            ("+config|get|x", "there is no command 'config|get|x'"),
            ("-@", "there is no category '@'"),
            ("-@nosuch", "there is no category '@nosuch'"),
            (
                "+select|0",
                "'select|0' chooses a first argument, which is not supported: the whole command is 'select'",
            ),
        ] {
            assert_eq!(expected, refusal(rule));
        }
    }
}
