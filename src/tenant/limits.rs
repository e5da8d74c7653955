//! What a tenant, or one of its users, may take: the configured rules, and what is left of each for all workers.
//!
//! [`LimitRules`] is what the configuration says; [`Limits`] is the same with its buckets and ceilings, made once when
//! the directory is, and shared by every connection that it applies to. Where the tokens of a rate come from is
//! [`Grants`]: a bucket of this process, or whatever else hands them out.

use std::fmt;
use std::sync::Arc;

use super::prefix::TenantName;
use crate::command::{CommandSpec, Selection};
use crate::policy::bucket::{Level, Pace};
use crate::policy::in_flight::Ceiling;
use crate::policy::tokens::{Grants, Tokens as _};

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Requests.
    Requests,
    /// Bytes of requests, as they were sent.
    RequestBytes,
    /// Bytes of replies, known only after the fact.
    ReplyBytes,
}

impl Measure {
    /// As in `1000 requests/s`.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::RequestBytes => "request bytes",
            Self::ReplyBytes => "reply bytes",
        }
    }

    /// The key of the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_second",
            Self::RequestBytes => "request_bytes_per_second",
            Self::ReplyBytes => "reply_bytes_per_second",
        }
    }
}

/// A configured rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// As it was written, per second: `1000`, `0.5`.
    pub written: String,
    /// The same, with its burst.
    pub pace: Pace,
}

/// The rates of a tenant, user or class, by [`Measure`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Requests per second.
    pub requests: Option<Rate>,
    /// Bytes of requests per second.
    pub request_bytes: Option<Rate>,
    /// Bytes of replies per second.
    pub reply_bytes: Option<Rate>,
}

impl Rates {
    /// Those that are configured.
    pub fn each(&self) -> impl Iterator<Item = (Measure, &Rate)> {
        let all = [
            (Measure::Requests, &self.requests),
            (Measure::RequestBytes, &self.request_bytes),
            (Measure::ReplyBytes, &self.reply_bytes),
        ];
        all.into_iter().filter_map(|(measure, rate)| Some((measure, rate.as_ref()?)))
    }
}

/// What becomes of a request beyond a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExceed {
    /// It is refused.
    Reject,
    /// It waits for this many nanoseconds at most, and is refused if that would not do.
    Delay(u64),
}

/// Who shares a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The workers of this process.
    #[default]
    Process,
    /// All processes that are configured so.
    Fleet,
}

/// The rates of some of the commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRules {
    /// Its name in the configuration.
    pub name: String,
    /// The commands.
    pub commands: Selection,
    /// Their rates.
    pub rates: Rates,
}

/// What is configured for a tenant or a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRules {
    /// Rates of all commands together.
    pub rates: Rates,
    /// Rates of some of them.
    pub classes: Vec<ClassRules>,
    /// Connections at a time.
    pub connections: Option<u64>,
    /// Requests in flight at a time.
    pub in_flight: Option<u64>,
    /// What becomes of a request beyond a rate.
    pub on_exceed: OnExceed,
    /// Whether what exceeds a limit is only counted.
    pub is_dry_run: bool,
    /// Who shares the rates.
    pub scope: Scope,
}

/// One rate, shared by all workers.
#[derive(Debug)]
pub struct Limit {
    /// What it counts.
    pub measure: Measure,
    /// The class of commands that it is about; `None`: all.
    pub class: Option<Class>,
    /// As it was written, per second.
    written: String,
    /// Where its tokens come from.
    pub grants: Grants,
}

/// Some of the commands.
#[derive(Debug)]
pub struct Class {
    /// Its name in the configuration.
    pub name: String,
    /// The commands.
    pub commands: Selection,
}

impl Limit {
    fn new(measure: Measure, rate: &Rate, class: Option<&ClassRules>, scope: Scope) -> Self {
        let class = class.map(|rules| Class { name: rules.name.clone(), commands: rules.commands.clone() });
        let grants = match scope {
            Scope::Process => Grants::of_process(rate.pace),
            Scope::Fleet => Grants::of_fleet(rate.pace),
        };
        Self { measure, class, written: rate.written.clone(), grants }
    }

    /// Whether it is about this command.
    #[inline]
    pub fn concerns(&self, spec: &'static CommandSpec) -> bool {
        self.class.as_ref().is_none_or(|class| class.commands.has(spec))
    }

    /// `class.keys.requests_per_second`: where it stands in its section.
    pub fn name(&self) -> String {
        let key = self.measure.key();
        self.class.as_ref().map_or_else(|| key.to_owned(), |class| format!("class.{}.{key}", class.name))
    }

    /// How much of it is taken.
    pub fn level(&self, now: u64) -> Level {
        self.grants.level(now)
    }

    /// The rate per second, as it was written.
    pub fn rate(&self) -> &str {
        &self.written
    }
}

/// `1000 requests/s`, `10 keys requests/s`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.written)?;
        if let Some(class) = &self.class {
            write!(f, "{} ", class.name)?;
        }
        write!(f, "{}/s", self.measure.unit())
    }
}

/// Whose limits they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The tenant.
    pub tenant: TenantName,
    /// Its user, if they are one user's.
    pub user: Option<String>,
}

/// `tenant 'acme'`, `user 'bob' of tenant 'acme'`.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "user '{user}' of ")?;
        }
        write!(f, "tenant '{}'", self.tenant.as_str())
    }
}

/// The limits of a tenant or of a user, shared by all workers.
#[derive(Debug)]
pub struct Limits {
    /// Position among all limits of the directory: what per-worker tables are indexed by.
    pub number: usize,
    /// Whose they are.
    pub owner: Owner,
    /// The rates.
    pub rates: Vec<Limit>,
    /// Connections at a time.
    pub connections: Option<Ceiling>,
    /// Requests in flight at a time.
    pub in_flight: Option<Ceiling>,
    /// What becomes of a request beyond a rate.
    pub on_exceed: OnExceed,
    /// Whether what exceeds a limit is only counted.
    pub is_dry_run: bool,
    /// Who shares the rates.
    pub scope: Scope,
}

impl Limits {
    /// Nothing is taken yet.
    pub fn new(number: usize, owner: Owner, rules: &LimitRules) -> Self {
        let of_all = rules.rates.each().map(|(measure, rate)| Limit::new(measure, rate, None, rules.scope));
        let of_classes = rules.classes.iter().flat_map(|class| {
            class.rates.each().map(move |(measure, rate)| Limit::new(measure, rate, Some(class), rules.scope))
        });
        Self {
            number,
            owner,
            rates: of_all.chain(of_classes).collect(),
            connections: rules.connections.map(Ceiling::new),
            in_flight: rules.in_flight.map(Ceiling::new),
            on_exceed: rules.on_exceed,
            is_dry_run: rules.is_dry_run,
            scope: rules.scope,
        }
    }
}

/// A connection's place among those that limits allow; given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    limits: Arc<Limits>,
    is_beyond: bool,
}

impl Seat {
    /// Takes a place; beyond the limit only in a dry run. `Err`: how many there are, all taken.
    pub fn take(limits: &Arc<Limits>) -> Result<Self, u64> {
        let Some(ceiling) = &limits.connections else {
            return Ok(Self { limits: Arc::clone(limits), is_beyond: false });
        };
        let is_beyond = ceiling.take_up_to(1) == 0;
        if is_beyond && !limits.is_dry_run {
            return Err(ceiling.most());
        }
        if is_beyond {
            ceiling.take_anyway();
        }
        Ok(Self { limits: Arc::clone(limits), is_beyond })
    }

    /// Whether it is one among these.
    pub fn is_of(&self, limits: &Arc<Limits>) -> bool {
        Arc::ptr_eq(&self.limits, limits)
    }

    /// Whether there was none left, and it is a dry run.
    pub fn is_beyond(&self) -> bool {
        self.is_beyond
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(ceiling) = &self.limits.connections {
            ceiling.give_back(1);
        }
    }
}
