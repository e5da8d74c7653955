//! `compression` and `compress_above`, of a tenant and of its users.
//!
//! Whoever reads a value must know that it may be compressed, so what is said of one user holds for all who have
//! the same keys, as far as reading goes.

use std::collections::BTreeSet;

use super::section::Reader;
use crate::tenant::compression::Compression;
use crate::tenant::prefix::Prefix;

/// What one section says; `None`: nothing.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    mode: Option<Mode>,
    above: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Off,
    Read,
    Lz4,
}

impl Wish {
    /// Of a tenant, whose keys have defaults.
    pub(super) fn of_tenant(reader: &Reader<'_>) -> Self {
        Self { mode: Some(mode(reader)), above: Some(above(reader)) }
    }

    /// Of a user, who takes over from its tenant what it does not say.
    pub(super) fn of_user(reader: &Reader<'_>) -> Self {
        let has = |key| reader.has(key).then_some(reader);
        Self { mode: has("compression").map(mode), above: has("compress_above").map(above) }
    }
}

/// The compression of a tenant's own connections, and of its users in their order. Each user comes with the prefix
/// that its keys have inside the tenant's.
pub(super) fn settled<'u>(
    tenant: Wish,
    users: impl Iterator<Item = (Wish, Option<&'u Prefix>)>,
) -> (Option<Compression>, Vec<Option<Compression>>) {
    let with_defaults = |(wish, feature): (Wish, Option<&'u Prefix>)| {
        let mode = wish.mode.or(tenant.mode).unwrap_or(Mode::Off);
        (mode, wish.above.or(tenant.above), feature)
    };
    let wishes: Vec<_> = std::iter::once((tenant, None)).chain(users).map(with_defaults).collect();
    let read: BTreeSet<Option<&Prefix>> =
        wishes.iter().filter(|(mode, ..)| *mode != Mode::Off).map(|(.., feature)| *feature).collect();
    let mut settled = wishes.iter().map(|(mode, above, feature)| match mode {
        Mode::Lz4 => Some(Compression { above: *above }),
        Mode::Read | Mode::Off => read.contains(feature).then_some(Compression { above: None }),
    });
    (settled.next().flatten(), settled.collect())
}

fn above(reader: &Reader<'_>) -> u32 {
    u32::try_from(reader.size("compress_above")).unwrap_or(u32::MAX)
}

fn mode(reader: &Reader<'_>) -> Mode {
    match reader.choice("compression") {
        "lz4" => Mode::Lz4,
        "read" => Mode::Read,
        _ => Mode::Off,
    }
}
