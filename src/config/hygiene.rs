//! What a tenant or a user may do, how large things may be and how long keys live: rows for both sections, and what
//! reads them. A user's can only narrow its tenant's, so one that would widen them is a mistake.

use std::time::Duration;

use super::keys::{Fallback, Key, Kind, LARGEST_REQUEST, Section};
use super::mistake::ValueMistake;
use super::section::Reader;
use super::selections;
use crate::command::Selection;
use crate::tenant::rules::{Rules, Sizes, Ttl};

/// A hundred years, in milliseconds: added to any time, it is still one that Redis takes.
const LONGEST: u64 = 100 * 366 * 24 * 3_600_000;

const fn row(name: &'static str, kind: Kind, without: &'static str, example: &'static str) -> Key {
    Key { section: Section::Tenant, name, kind, fallback: Fallback::Absent(without), example, purpose: "" }
}

impl Key {
    const fn saying(self, purpose: &'static str) -> Self {
        Self { purpose, ..self }
    }

    /// The same key of a user.
    pub(super) const fn of_user(self) -> Self {
        let (fallback, purpose) = match self.kind {
            Kind::Truth => (self.fallback, "The same for this user alone; true for all if the tenant's is."),
            Kind::Text
            | Kind::Texts
            | Kind::Integer { .. }
            | Kind::Size { .. }
            | Kind::Amount { .. }
            | Kind::Duration { .. }
            | Kind::Choice(_)
            | Kind::Rate => (
                Fallback::Absent("the tenant's"),
                "The same for this user alone, within what the tenant may.",
            ),
        };
        Self { section: Section::User, fallback, purpose, ..self }
    }
}

pub(super) const COMMANDS: Key = row("commands", Kind::Text, "all that tenants are served", "+@all -@dangerous +info")
    .saying(
        "Which commands it may run, in the words of Redis' ACL: +command, -command, +command|subcommand, +@category,\n\
         applied in order, beginning with none. AUTH, HELLO, QUIT and RESET are always allowed.",
    );

pub(super) const READ_ONLY: Key =
    Key { fallback: Fallback::Truth(false), ..row("read_only", Kind::Truth, "", "") }
        .saying("true: commands that may change data are refused.");

pub(super) const MAX_ARGUMENTS: Key =
    row("max_arguments", Kind::Integer { least: 2, most: 1 << 20 }, "no limit of its own", "10000")
        .saying("Arguments of one request, the command's name included.");

pub(super) const MAX_KEY_SIZE: Key =
    row("max_key_size", Kind::Size { least: 1, most: LARGEST_REQUEST }, "no limit of its own", "1KiB")
        .saying("Bytes of a key, without the tenant's prefix.");

pub(super) const MAX_VALUE_SIZE: Key =
    row("max_value_size", Kind::Size { least: 1, most: LARGEST_REQUEST }, "no limit of its own", "1MiB").saying(
        "Bytes of each argument that is no key of a command that writes: a value, a field, a member, a payload of \
         RESTORE;\nand how long SETRANGE and SETBIT may make a value. What APPEND adds up to is not limited.",
    );

pub(super) const DEFAULT_TTL: Key =
    row("default_ttl", Kind::Duration { least: 1, most: LONGEST }, "max_ttl if there is one, else such keys stay", "24h").saying(
        "How long a key lives that is created without a time to live; one that has its own keeps it. Needs Redis 7.0 or\n\
         Valkey. docs/hygiene.md says what is done about each command.",
    );

pub(super) const MAX_TTL: Key = row("max_ttl", Kind::Duration { least: 1, most: LONGEST }, "any", "720h")
    .saying(
        "The longest time to live that a key may be given; longer ones are cut to it. PERSIST is refused.",
    );

/// What is written in a tenant's section.
pub(super) fn of_tenant(reader: &Reader<'_>) -> Rules {
    read(reader)
}

/// What is written in a user's section.
pub(super) fn of_user(reader: &Reader<'_>, tenant: &Rules) -> Rules {
    let user = read(reader);
    let bounded: [(&str, Option<u64>, Option<u64>, &'static str); 5] = [
        (
            "max_arguments",
            wide(user.sizes.max_arguments),
            wide(tenant.sizes.max_arguments),
            "its tenant's max_arguments",
        ),
        ("max_key_size", wide(user.sizes.max_key), wide(tenant.sizes.max_key), "its tenant's max_key_size"),
        (
            "max_value_size",
            wide(user.sizes.max_value),
            wide(tenant.sizes.max_value),
            "its tenant's max_value_size",
        ),
        ("default_ttl", user.ttl.default, tenant.ttl.max, "its tenant's max_ttl"),
        ("max_ttl", user.ttl.max, tenant.ttl.max, "its tenant's max_ttl"),
    ];
    for (key, written, most, bound) in bounded {
        if written.zip(most).is_some_and(|(written, most)| written > most) {
            reader.refuse(key, ValueMistake::AboveBound { bound });
        }
    }
    if let (Some(users), Some(tenants)) = (&user.commands, &tenant.commands)
        && users.and(tenants) == Selection::NONE
    {
        reader.refuse("commands", ValueMistake::NothingOfItsTenant);
    }
    user
}

fn read(reader: &Reader<'_>) -> Rules {
    let size = |key| reader.has(key).then(|| reader.size(key)).filter(|size| *size > 0);
    let duration = |key| reader.has(key).then(|| milliseconds(reader.duration(key))).filter(|time| *time > 0);
    let max_arguments = reader.written_integer("max_arguments");
    let rules = Rules {
        commands: selections::written(reader),
        is_read_only: reader.truth("read_only"),
        sizes: Sizes {
            max_arguments: max_arguments.and_then(|most| usize::try_from(most).ok()),
            max_key: size("max_key_size"),
            max_value: size("max_value_size"),
        },
        ttl: Ttl { default: duration("default_ttl"), max: duration("max_ttl") },
        compression: None,
    };
    if rules.ttl.default.zip(rules.ttl.max).is_some_and(|(default, max)| default > max) {
        reader.refuse("default_ttl", ValueMistake::AboveBound { bound: "max_ttl" });
    }
    rules
}

fn wide(number: Option<usize>) -> Option<u64> {
    number.map(|number| number as u64)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
