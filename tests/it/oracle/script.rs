//! What is played to both sides: a session, step by step.

use std::fmt;

use super::grammar::{CONTAINERS, quote};

/// A command as it is typed. `@2` stands for the id of connection 2, which differs on the two sides.
pub(super) type Argv = Vec<Vec<u8>>;

/// One write of one connection; more than one command makes a pipeline.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// The connection that says it; the first is 0.
    pub(super) speaker: usize,
    pub(super) commands: Vec<Argv>,
}

/// Several connections of one tenant and what they say, in order.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// Of each connection, whether it speaks RESP3.
    pub(super) speaks_resp3: Vec<bool>,
    /// Whether the server publishes what happens to keys while it lasts.
    pub(super) has_notifications: bool,
    pub(super) steps: Vec<Step>,
}

impl Step {
    /// Whether one of its commands has this name.
    pub(super) fn says(&self, name: &str) -> bool {
        self.commands.iter().any(|argv| name_of(argv) == name)
    }

    /// Whether it asks for invalidations that come in no certain place: those of another connection, or those
    /// that Redis keeps until the end of a turn of its event loop.
    pub(super) fn is_told_apart(&self) -> bool {
        let is_word =
            |word: &Vec<u8>| [&b"REDIRECT"[..], b"BCAST"].iter().any(|one| word.eq_ignore_ascii_case(one));
        self.commands.iter().any(|argv| name_of(argv) == "CLIENT TRACKING" && argv.iter().any(is_word))
    }
}

impl Session {
    /// Whether one of its steps has a command of this name.
    pub(super) fn says(&self, name: &str) -> bool {
        self.steps.iter().any(|step| step.says(name))
    }

    /// Whether invalidations come in no certain place.
    pub(super) fn tells_apart(&self) -> bool {
        self.steps.iter().any(Step::is_told_apart)
    }

    /// Whether a connection watches keys at any moment.
    pub(super) fn watches(&self, speaker: usize) -> bool {
        self.steps.iter().any(|step| step.speaker == speaker && step.says("WATCH"))
    }

    /// The same with other steps.
    pub(super) fn with(&self, steps: Vec<Step>) -> Self {
        Self { speaks_resp3: self.speaks_resp3.clone(), has_notifications: self.has_notifications, steps }
    }
}

/// The name under which lists and counters know a command: upper case, with its subcommand.
pub(super) fn name_of(argv: &[Vec<u8>]) -> String {
    let word = |index: usize| argv.get(index).map(|word| String::from_utf8_lossy(word).to_uppercase());
    let first = word(0).unwrap_or_default();
    match word(1) {
        Some(second) if CONTAINERS.contains(&first.as_str()) => format!("{first} {second}"),
        _ => first,
    }
}

/// A command as it would be typed into redis-cli.
pub(super) fn typed(argv: &[Vec<u8>]) -> String {
    argv.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands: Vec<String> = self.commands.iter().map(|argv| typed(argv)).collect();
        write!(f, "{}> {}", self.speaker + 1, commands.join(" ;; "))
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, resp3) in self.speaks_resp3.iter().enumerate() {
            write!(
                f,
                "{}connection {} speaks RESP{}",
                ["  ", ", "][index.min(1)],
                index + 1,
                2 + u8::from(*resp3)
            )?;
        }
        writeln!(f, "{}", if self.has_notifications { "; notify-keyspace-events KEA" } else { "" })?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}
