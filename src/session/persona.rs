//! Which server a client believes to talk to: the upstream's version, and the commands it has.
//!
//! A reply must be what the upstream would have said, and that includes not knowing a command. The upstream
//! would quote the arguments of a command it does not know, prefix and all, so it is never asked: the proxy
//! learns the list of commands when a connection is made, and refuses what is not on it in the upstream's own
//! words.

use crate::command::{COMMANDS, CommandSpec, TABLE};
use crate::upstream::Greeting;

const WORDS: usize = COMMANDS.div_ceil(64);

/// What becomes of a payload in the server's own encoding (`RESTORE`). One that is forged can end a server that
/// decodes it without looking (*redis.conf*: `sanitize-dump-payload`), and with it every tenant's service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payloads {
    /// The upstream checks it, or its operator trusts the tenants.
    Forwarded,
    /// The upstream does not check it, or does not say.
    Unchecked,
    /// The upstream has not answered yet.
    Unknown,
    /// Its operator wants none.
    Denied,
}

/// What is known about an upstream's kind and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persona {
    /// As `HELLO` and `INFO` say it, `7.0.15`.
    pub version: String,
    /// Major and minor version.
    release: (u32, u32),
    /// One bit per row of the table.
    has: [u64; WORDS],
}

impl Default for Persona {
    /// Until the upstream has answered: a Redis 7.0 that has every command of the table.
    fn default() -> Self {
        Self { version: "7.0.0".to_owned(), release: (7, 0), has: [u64::MAX; WORDS] }
    }
}

impl Persona {
    /// From what the upstream said of itself.
    pub fn from_greeting(greeting: &Greeting) -> Self {
        let mut persona = Self::default();
        if !greeting.version.is_empty() {
            let mut numbers = greeting.version.split('.').map(|part| part.parse().unwrap_or(0));
            persona.release = (numbers.next().unwrap_or(7), numbers.next().unwrap_or(0));
            persona.version.clone_from(&greeting.version);
        }
        // `COMMAND LIST` came with Redis 7; an older server's table is taken for complete.
        if !greeting.commands.is_empty() {
            persona.has = [0; WORDS];
            let known: std::collections::HashSet<&str> =
                greeting.commands.iter().map(String::as_str).collect();
            for (index, row) in TABLE.iter().enumerate() {
                let name = row.name.to_ascii_lowercase().replace(' ', "|");
                // A flat subcommand (`JSON.DEBUG MEMORY`) is no command to the server: its first word is.
                let is_known = row.is_ours()
                    || known.contains(name.as_str())
                    || name
                        .split_once('|')
                        .is_some_and(|(word, _)| word.contains('.') && known.contains(word));
                if is_known && let Some(word) = persona.has.get_mut(index / 64) {
                    *word |= 1 << (index % 64);
                }
            }
        }
        persona
    }

    /// What two servers that are one upstream have in common: the older version, and the commands that both have.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        let (older, newer) = if other.release < self.release { (other, self) } else { (self, other) };
        let mut has = older.has;
        has.iter_mut().zip(newer.has).for_each(|(word, other)| *word &= other);
        Self { has, ..older }
    }

    /// Whether the upstream has this command.
    pub fn has(&self, spec: &'static CommandSpec) -> bool {
        let index = spec.index();
        self.has.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// `COMMAND COUNT`: as many commands as `COMMAND` shows to a tenant.
    pub fn served_commands(&self) -> usize {
        let of_server = TABLE.iter().filter(|row| !row.is_subcommand() && !row.is_ours());
        of_server.filter(|row| self.has(row) && row.is_served()).count()
    }

    /// Major and minor version.
    pub fn release(&self) -> (u32, u32) {
        self.release
    }

    /// Whether the upstream is at least this release; error texts differ between releases.
    pub fn is_at_least(&self, major: u32, minor: u32) -> bool {
        self.release >= (major, minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::find;

    #[test]
    fn a_persona_has_what_its_upstream_listed() {
        let greeting = Greeting {
            version: "7.0.15".into(),
            commands: vec!["get".into(), "client|setname".into()],
            ..Greeting::default()
        };
        let persona = Persona::from_greeting(&greeting);
        assert!(persona.has(find("GET").expect("in the table")));
        assert!(persona.has(find("CLIENT SETNAME").expect("in the table")));
        assert!(!persona.has(find("CLIENT SETINFO").expect("in the table")));
        assert!(persona.is_at_least(7, 0) && !persona.is_at_least(7, 2));
    }

    #[test]
    fn commands_are_counted_that_the_upstream_has_and_tenants_are_served() {
        let commands = ["get", "debug", "client", "client|setname", "slaveof"].map(str::to_owned).to_vec();
        let persona = Persona::from_greeting(&Greeting { commands, ..Greeting::default() });
        // GET and CLIENT.
        assert_eq!(2, persona.served_commands());
    }

    #[test]
    fn an_unknown_upstream_is_taken_to_have_everything() {
        assert!(TABLE.iter().all(|row| Persona::default().has(row)));
    }
}
