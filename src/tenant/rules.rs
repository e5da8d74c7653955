//! What applies to one connection besides whose it is: which commands it may run, how large things may be, how long
//! keys live.
//!
//! A tenant has rules and so may each of its users; a connection gets both as one, joined when the configuration is
//! loaded. A user's can only narrow its tenant's, so what an operator promises of a tenant holds for all of it. Where
//! nothing is configured there are no rules at all, and a session asks one bit.

use std::sync::Arc;

use super::compression::Compression;
use crate::command::Selection;

/// What a connection must keep to.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What it may run; `None`: whatever tenants are served.
    pub commands: Option<Selection>,
    /// Whether it may change nothing.
    pub is_read_only: bool,
    /// How large a request and its parts may be.
    pub sizes: Sizes,
    /// How long keys live.
    pub ttl: Ttl,
    /// How values are stored; `None`: as they come. The same for all who have the same keys, as far as reading goes:
    /// whoever reads a value must know how it may be stored.
    pub compression: Option<Compression>,
}

/// Bounds of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Arguments of a request, the command's name included.
    pub max_arguments: Option<usize>,
    /// Bytes of a key as the client calls it, without its tenant's prefix.
    pub max_key: Option<usize>,
    /// Bytes of any other argument of a command that writes.
    pub max_value: Option<usize>,
}

/// Times to live, in milliseconds, at least 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ttl {
    /// Of a key that is created without one; never more than `max`. In the rules of a connection there is one if there
    /// is a `max`.
    pub default: Option<u64>,
    /// The longest.
    pub max: Option<u64>,
}

impl Rules {
    /// A tenant's and a user's together; `None`: there are none.
    pub fn joined(tenant: &Self, user: Option<&Self>) -> Option<Arc<Self>> {
        let mut rules = user.map_or_else(|| tenant.clone(), |user| tenant.narrowed(user));
        // What may live for so long at most does not live for ever.
        rules.ttl.default = rules.ttl.default.or(rules.ttl.max);
        (!rules.is_empty()).then(|| Arc::new(rules))
    }

    /// Whether they depend on what a request's arguments are, or change them.
    #[inline]
    pub fn look_at_arguments(&self) -> bool {
        self.sizes != Sizes::default() || self.ttl != Ttl::default()
    }

    fn narrowed(&self, user: &Self) -> Self {
        let commands = match (&self.commands, &user.commands) {
            (Some(tenant), Some(user)) => Some(tenant.and(user)),
            (one, other) => one.as_ref().or(other.as_ref()).cloned(),
        };
        Self {
            commands,
            is_read_only: self.is_read_only || user.is_read_only,
            sizes: Sizes {
                max_arguments: least(self.sizes.max_arguments, user.sizes.max_arguments),
                max_key: least(self.sizes.max_key, user.sizes.max_key),
                max_value: least(self.sizes.max_value, user.sizes.max_value),
            },
            ttl: self.ttl.narrowed(user.ttl),
            // What the user takes over from its tenant is in the user's already.
            compression: user.compression,
        }
    }

    fn is_empty(&self) -> bool {
        let Self { commands, is_read_only, sizes, ttl, compression } = self;
        commands.is_none()
            && !is_read_only
            && *sizes == Sizes::default()
            && *ttl == Ttl::default()
            && compression.is_none()
    }
}

impl Ttl {
    /// A user's default replaces its tenant's; neither is longer than what either allows.
    fn narrowed(self, user: Self) -> Self {
        let max = least(self.max, user.max);
        let default = user.default.or(self.default).map(|default| default.min(max.unwrap_or(u64::MAX)));
        Self { default, max }
    }
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
