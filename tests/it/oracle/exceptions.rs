//! The exception list: which replies are not compared byte for byte. It is data, in `exceptions.txt`.

use std::collections::{BTreeMap, BTreeSet};

use super::place::Place;
use super::script::{Session, name_of};

/// What a comparison may overlook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// Nothing.
    Exact,
    /// The order of the elements.
    AnyOrder,
    /// The order of the elements inside the second element.
    AnyOrderInPage,
    /// The order of name and value pairs in a flat array or a map.
    AnyOrderOfPairs,
    /// The order of confirmations that follow each other.
    AnyOrderOfFrames,
    /// Elements of the left that the right does not have, and the order.
    Part,
    /// Everything but the type and the number of elements.
    Shape,
    /// Everything but the type.
    Type,
    /// A difference of two integers up to this.
    Near(i64),
    /// How long an entry or a consumer has been idle, in milliseconds.
    IdleTime,
    /// Points in time in milliseconds that lie less than a minute apart.
    Clock,
    /// Which number a server gave to a connection of the session.
    Ids,
    /// Addresses, ages and buffers in lines that describe connections.
    Clients,
    /// Time and address of a line that MONITOR shows.
    Monitor,
    /// Invalidations of single keys before the one of all keys.
    KeysBeforeNull,
    /// Numbers of INFO, and fields that the right does not have.
    Fields,
}

impl Likeness {
    /// Whether replies must be the same bytes, perhaps after something was made equal (`identity.rs`).
    pub(super) fn is_about_bytes(self) -> bool {
        [Self::Exact, Self::Ids, Self::Clients, Self::Monitor, Self::AnyOrderOfFrames, Self::KeysBeforeNull]
            .contains(&self)
    }
}

/// The whole list.
pub(super) struct Exceptions {
    rules: BTreeMap<&'static str, Likeness>,
    not_in_transactions: BTreeSet<&'static str>,
    not_with_notifications: BTreeSet<&'static str>,
    not_with_tracking: BTreeSet<&'static str>,
    not_with_monitor: BTreeSet<&'static str>,
    not_at_all: BTreeSet<&'static str>,
    without_patterns: BTreeSet<&'static str>,
}

impl Exceptions {
    /// Reads what the file that lies beside this one says of a place.
    pub(super) fn of(place: Place) -> Self {
        let mut exceptions = Self {
            rules: BTreeMap::new(),
            not_in_transactions: BTreeSet::new(),
            not_with_notifications: BTreeSet::new(),
            not_with_tracking: BTreeSet::new(),
            not_with_monitor: BTreeSet::new(),
            not_at_all: BTreeSet::new(),
            without_patterns: BTreeSet::new(),
        };
        let lines = include_str!("exceptions.txt").lines();
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            let [command, rule, reason] = columns[..] else { panic!("three columns, not `{line}`") };
            assert!(!reason.is_empty(), "an exception has a reason: {line}");
            let (rule, condition) = rule.split_once(", ").map_or((rule, None), |(rule, at)| (rule, Some(at)));
            if condition.is_some_and(|condition| !place.is(condition)) {
                continue;
            }
            let is_new = match rule {
                "not in MULTI" => exceptions.not_in_transactions.insert(command),
                "no notifications" => exceptions.not_with_notifications.insert(command),
                "no tracking" => exceptions.not_with_tracking.insert(command),
                "no monitor" => exceptions.not_with_monitor.insert(command),
                "not drawn" => exceptions.not_at_all.insert(command),
                "no patterns" => exceptions.without_patterns.insert(command),
                // These are about states of a session; play.rs and ear.rs know them.
                "apart" | "alone" | "one speaker" | "not while tied" => true,
                // What holds in one place only comes last.
                _ => exceptions.rules.insert(command, likeness(rule)).is_none() || condition.is_some(),
            };
            assert!(is_new, "{command} stands twice on the list");
        }
        exceptions
    }

    /// Whether a command that others queue after MULTI is refused there.
    pub(super) fn is_refused_in_transactions(&self, command: &str) -> bool {
        self.not_in_transactions.contains(command)
    }

    /// Every command that is refused there.
    pub(super) fn refused_in_transactions(&self) -> impl Iterator<Item = &'static str> {
        self.not_in_transactions.iter().copied()
    }

    /// Whether a command has other notifications, or other invalidations, than in Redis.
    pub(super) fn is_left_out_of(&self, session: &Session, command: &str) -> bool {
        (session.has_notifications && self.not_with_notifications.contains(command))
            || (session.says("CLIENT TRACKING") && self.not_with_tracking.contains(command))
            || (session.says("MONITOR") && self.not_with_monitor.contains(command))
    }

    /// Whether a command, by its name, is not drawn in this place.
    pub(super) fn is_out_of_place(&self, argv: &[Vec<u8>]) -> bool {
        let name = name_of(argv);
        let has_pattern =
            || argv.iter().any(|word| [&b"BY"[..], b"GET"].iter().any(|one| word.eq_ignore_ascii_case(one)));
        self.not_at_all.contains(name.as_str())
            || (self.without_patterns.contains(name.as_str()) && has_pattern())
    }

    /// How replies of a command are compared.
    pub(super) fn likeness_of(&self, command: &str) -> Likeness {
        self.rules.get(command).copied().unwrap_or(Likeness::Exact)
    }
}

fn likeness(rule: &str) -> Likeness {
    match rule {
        "any order" => Likeness::AnyOrder,
        "any order in page" => Likeness::AnyOrderInPage,
        "any order of pairs" => Likeness::AnyOrderOfPairs,
        "any order of frames" => Likeness::AnyOrderOfFrames,
        "part" => Likeness::Part,
        "shape" => Likeness::Shape,
        "type" => Likeness::Type,
        "idle time" => Likeness::IdleTime,
        "clock" => Likeness::Clock,
        "ids" => Likeness::Ids,
        "clients" => Likeness::Clients,
        "monitor" => Likeness::Monitor,
        "keys before null" => Likeness::KeysBeforeNull,
        "fields" => Likeness::Fields,
        _ => {
            let distance = rule.strip_prefix("near ").and_then(|number| number.parse().ok());
            Likeness::Near(distance.unwrap_or_else(|| panic!("no rule is called `{rule}`")))
        }
    }
}
