//! `TENANTRY`: what a client may ask the proxy about itself.

use super::quota::Budget;
use crate::resp::reply::ReplyWriter;
use crate::tenant::limits::{Limit, Limits, Scope};

/// `TENANTRY HELP`.
const HELP: &[&str] = &[
    "TENANTRY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "LIMITS",
    "    Return what the connection's tenant and user may take, and what is left of it.",
    "HELP",
    "    Print this help.",
];

/// `TENANTRY HELP`.
pub(super) fn help(reply: &mut ReplyWriter<'_>) {
    reply.array(HELP.len());
    for line in HELP {
        reply.simple(line);
    }
}

/// One limit as it is told.
struct Told {
    name: String,
    /// Who shares it.
    scope: &'static str,
    /// As it was written.
    limit: String,
    burst: u64,
    current: u64,
    remaining: u64,
    /// Milliseconds.
    reset: u64,
}

/// `TENANTRY LIMITS`: an array with a map for each limit, which RESP2 clients read as an array of names and values.
pub(super) fn limits(budget: Option<Budget<'_>>, reply: &mut ReplyWriter<'_>) {
    let told: Vec<Told> = budget
        .iter()
        .flat_map(|budget| budget.quota.limits().flat_map(|limits| all_of(limits, budget.now)))
        .collect();
    reply.array(told.len());
    for Told { name, scope, limit, burst, current, remaining, reset } in told {
        reply.map(7);
        for (field, text) in [("name", name), ("scope", scope.to_owned()), ("limit", limit)] {
            reply.bulk(field.as_bytes());
            reply.bulk(text.as_bytes());
        }
        for (field, number) in
            [("burst", burst), ("current", current), ("remaining", remaining), ("reset", reset)]
        {
            reply.bulk(field.as_bytes());
            reply.integer(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }
}

fn all_of(limits: &Limits, now: u64) -> Vec<Told> {
    let owner = if limits.owner.user.is_some() { "user" } else { "tenant" };
    let rates = limits.rates.iter().map(|limit| rate(owner, limit, limits.scope, now));
    let counts = [("connections", &limits.connections), ("in_flight", &limits.in_flight)].into_iter();
    let counts = counts.filter_map(|(key, ceiling)| {
        let ceiling = ceiling.as_ref()?;
        let (most, taken) = (ceiling.most(), ceiling.taken());
        let name = format!("{owner}.{key}");
        let remaining = most.saturating_sub(taken);
        Some(Told {
            name,
            scope: "process",
            limit: most.to_string(),
            burst: most,
            current: taken,
            remaining,
            reset: 0,
        })
    });
    rates.chain(counts).collect()
}

fn rate(owner: &str, limit: &Limit, scope: Scope, now: u64) -> Told {
    let level = limit.level(now);
    Told {
        name: format!("{owner}.{}", limit.name()),
        scope: match scope {
            Scope::Process => "process",
            Scope::Fleet => "fleet",
        },
        limit: limit.rate().to_owned(),
        burst: level.burst,
        current: level.current,
        remaining: level.remaining,
        reset: level.reset.div_ceil(1_000_000),
    }
}
