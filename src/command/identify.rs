//! From the words of a request to the row of its command.
//!
//! The words are folded to upper case on the stack and looked up in one open-addressed table that the
//! compiler built: there is nothing to initialize and nothing to allocate.

use std::sync::LazyLock;

use crate::resp::Request;

use super::spec::{CommandSpec, Subcommands, TOP_LEVEL};
use super::table::{COMMANDS, TABLE};
use super::word::Word;

/// Why a request has no row, or may not use it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum Unidentified {
    /// No command has this name.
    #[error("unknown command")]
    UnknownCommand,
    /// The command exists and none of its subcommands has this name.
    #[error("unknown subcommand of {}", container.name)]
    UnknownSubcommand {
        /// The command's row.
        container: &'static CommandSpec,
    },
    /// The command takes another number of words.
    #[error("wrong number of arguments for {}", spec.full_name_lower())]
    WrongArity {
        /// The command's (or subcommand's) row.
        spec: &'static CommandSpec,
    },
}

impl Unidentified {
    /// The row of a command that is known.
    pub fn spec(&self) -> Option<&'static CommandSpec> {
        match self {
            Self::WrongArity { spec } => Some(spec),
            Self::UnknownCommand | Self::UnknownSubcommand { .. } => None,
        }
    }

    /// The server's error, without the leading `-` and the line end: it quotes the request, so it is bytes.
    pub fn refusal(&self, request: &Request<'_>) -> Vec<u8> {
        match self {
            Self::UnknownCommand => unknown_command(request),
            Self::UnknownSubcommand { container } => {
                let mut text = b"ERR unknown subcommand '".to_vec();
                quote(&mut text, request.arg(1).unwrap_or_default(), QUOTED);
                text.extend_from_slice(format!("'. Try {} HELP.", container.name).as_bytes());
                text
            }
            Self::WrongArity { spec } => {
                let name = spec.full_name_lower();
                format!("ERR wrong number of arguments for '{name}' command").into_bytes()
            }
        }
    }
}

/// Most bytes of a name that an error quotes, and of all quoted arguments together (give or take the last
/// quote).
const QUOTED: usize = 128;

fn unknown_command(request: &Request<'_>) -> Vec<u8> {
    let mut text = b"ERR unknown command '".to_vec();
    quote(&mut text, request.name(), QUOTED);
    text.extend_from_slice(b"', with args beginning with: ");
    let beginning = text.len();
    for arg in request.args().skip(1) {
        let quoted = text.len() - beginning;
        if quoted >= QUOTED {
            break;
        }
        text.push(b'\'');
        quote(&mut text, arg, QUOTED - quoted);
        text.extend_from_slice(b"' ");
    }
    text
}

/// Appends at most `limit` bytes of `arg` as C prints a string: up to its first zero. Line ends become
/// blanks, for they would end the reply.
fn quote(text: &mut Vec<u8>, arg: &[u8], limit: usize) {
    let shown = arg.iter().take(limit).take_while(|&&byte| byte != 0);
    text.extend(shown.map(|&byte| if byte == b'\r' || byte == b'\n' { b' ' } else { byte }));
}

/// The row of `request`, whose number of words is checked against it. A command that has only subcommands is
/// never the result: alone it is [`Unidentified::WrongArity`].
pub fn identify(request: &Request<'_>) -> Result<&'static CommandSpec, Unidentified> {
    let command = lookup(TOP_LEVEL, request.name()).ok_or(Unidentified::UnknownCommand)?;
    let spec = match command.subcommands {
        Subcommands::None => command,
        Subcommands::Named | Subcommands::Flat => resolve(command, request)?,
    };
    if spec.accepts(request.argc()) { Ok(spec) } else { Err(Unidentified::WrongArity { spec }) }
}

/// The row that the second word of `request` selects.
fn resolve(
    command: &'static CommandSpec,
    request: &Request<'_>,
) -> Result<&'static CommandSpec, Unidentified> {
    let Some(word) = request.arg(1) else { return Ok(command) };
    match (lookup(command.derived.index, word), command.subcommands) {
        (Some(subcommand), _) => Ok(subcommand),
        (None, Subcommands::Named) => Err(Unidentified::UnknownSubcommand { container: command }),
        (None, Subcommands::Flat | Subcommands::None) => Ok(command),
    }
}

/// The row of a name in either notation (`config get`, `CONFIG|GET`), in any case.
pub fn find(words: &str) -> Option<&'static CommandSpec> {
    match words.split_once([' ', '|']) {
        None => lookup(TOP_LEVEL, words.as_bytes()),
        Some((command, word)) => {
            let command = lookup(TOP_LEVEL, command.as_bytes())?;
            lookup(command.derived.index, word.as_bytes())
        }
    }
}

impl CommandSpec {
    /// The name as Redis writes it in arity errors and in `COMMAND`: `config|get`.
    pub fn full_name_lower(&self) -> &'static str {
        static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| TABLE.iter().map(lower_name).collect());
        NAMES.get(usize::from(self.derived.index)).map_or("", String::as_str)
    }

    /// The row of which this one is a subcommand.
    pub fn container(&self) -> Option<&'static CommandSpec> {
        TABLE.get(usize::from(self.derived.container))
    }
}

fn lower_name(spec: &CommandSpec) -> String {
    match spec.container() {
        // To the server such a row is not a subcommand, only a value of an argument.
        Some(container) if container.subcommands == Subcommands::Flat => container.name.to_ascii_lowercase(),
        _ => spec.name.to_ascii_lowercase().replace(' ', "|"),
    }
}

/// Slots of the lookup table: a power of two, at most a third of them taken, so that a search ends after a
/// step or two.
const SLOTS: usize = 2048;

/// A slot without a row.
const VACANT: u16 = u16::MAX;

/// Positions in [`TABLE`], each at the hash of its row's word under its container (or, when that slot was
/// taken, at the next vacant one).
static LOOKUP: [u16; SLOTS] = {
    assert!(COMMANDS * 3 <= SLOTS);
    let mut slots = [VACANT; SLOTS];
    let mut index = 0;
    while index < COMMANDS {
        let row = &TABLE[index].derived;
        let mut slot = first_slot(row.container, &row.word);
        while slots[slot] != VACANT {
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = row.index;
        index += 1;
    }
    slots
};

/// Where the search for `word` begins.
#[inline]
const fn first_slot(container: u16, word: &Word) -> usize {
    #[allow(clippy::cast_possible_truncation, reason = "as many bits as SLOTS has")]
    let slot = (word.hash(container) >> (u64::BITS - SLOTS.ilog2())) as usize;
    slot
}

/// The row of `word` under the row at `container`.
#[inline]
fn lookup(container: u16, word: &[u8]) -> Option<&'static CommandSpec> {
    let word = Word::fold(word)?;
    let mut slot = first_slot(container, &word);
    loop {
        // `VACANT` is no position in the table, so the search ends there.
        let row = TABLE.get(usize::from(*LOOKUP.get(slot)?))?;
        if row.derived.word == word && row.derived.container == container {
            return Some(row);
        }
        slot = (slot + 1) % SLOTS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedRequest;

    fn identified(line: &str) -> Result<&'static str, Unidentified> {
        let request =
            OwnedRequest::from_args(&line.split(' ').collect::<Vec<_>>()).expect("a request has words");
        identify(&request.as_request()).map(|spec| spec.name)
    }

    #[track_caller]
    fn assert_identified(line: &str, name: &str) {
        assert_eq!(identified(line).unwrap_or_else(|error| panic!("{line}: {error}")), name);
    }

    #[test]
    fn every_row_is_found_by_its_name() {
        for row in &TABLE {
            for name in [row.name.to_owned(), row.name.to_ascii_lowercase(), row.name.replace(' ', "|")] {
                let found = find(&name).unwrap_or_else(|| panic!("{name} is not found"));
                assert_eq!(found.name, row.name);
            }
        }
    }

    #[test]
    fn searches_are_short() {
        let longest = TABLE
            .iter()
            .map(|row| {
                let first = first_slot(row.derived.container, &row.derived.word);
                let slot = (0..SLOTS).find(|step| LOOKUP[(first + step) % SLOTS] == row.derived.index);
                slot.expect("every row has a slot")
            })
            .max();
        assert!(longest <= Some(6), "{longest:?} steps");
    }

    #[test]
    fn case_of_ascii_is_ignored() {
        assert_identified("GET k", "GET");
        assert_identified("gEt k", "GET");
        assert_identified("client setName x", "CLIENT SETNAME");
        assert_identified("bf.add k x", "BF.ADD");
        assert!(matches!(identified("geť k"), Err(Unidentified::UnknownCommand)));
    }

    #[test]
    fn a_subcommand_has_a_row_of_its_own() {
        assert_identified("CONFIG GET *", "CONFIG GET");
        assert_identified("COMMAND", "COMMAND");
        assert_identified("COMMAND COUNT", "COMMAND COUNT");
        assert_identified("XGROUP HELP", "XGROUP HELP");
    }

    #[test]
    fn a_second_word_that_the_server_takes_for_an_argument_is_one() {
        assert_identified("GET HELP", "GET");
        assert_identified("JSON.DEBUG MEMORY k", "JSON.DEBUG MEMORY");
        assert_identified("JSON.DEBUG FIELDS k", "JSON.DEBUG");
        assert_identified("DEBUG OBJECT k", "DEBUG");
    }

    #[test]
    fn names_that_are_no_commands_are_unknown() {
        for line in ["FOO", "", "CONFIG|GET x", "A_NAME_THAT_IS_LONGER_THAN_ANY_COMMAND x"] {
            assert!(matches!(identified(line), Err(Unidentified::UnknownCommand)), "{line}");
        }
        let one_word = OwnedRequest::from_args(&["CONFIG GET", "x"]).expect("a request has words");
        assert!(matches!(identify(&one_word.as_request()), Err(Unidentified::UnknownCommand)));
    }

    #[test]
    fn an_unknown_subcommand_tells_its_container() {
        for line in ["CONFIG FOO", "COMMAND foo", "CLIENT GET"] {
            let Err(Unidentified::UnknownSubcommand { container }) = identified(line) else {
                panic!("{line} is known");
            };
            assert!(line.starts_with(container.name), "{line}: {}", container.name);
        }
    }

    #[test]
    fn arity_counts_every_word() {
        let refused = [
            ("GET", "get"),
            ("GET a b", "get"),
            ("CONFIG", "config"),
            ("CONFIG GET", "config|get"),
            ("object encoding", "object|encoding"),
            ("JSON.DEBUG", "json.debug"),
        ];
        for (line, name) in refused {
            let Err(Unidentified::WrongArity { spec }) = identified(line) else {
                panic!("{line} is accepted")
            };
            assert_eq!(spec.full_name_lower(), name);
        }
        assert_identified("DEL a b c d", "DEL");
    }
}
