//! `[tenant.NAME.limits]`, those of its users, and their classes of commands.

use super::document::{Table, Value, Written};
use super::keys::Section;
use super::mistake::{Place, ValueMistake};
use super::section::Reader;
use super::selections;
use crate::policy::bucket::{LONGEST_REFILL, Pace};
use crate::tenant::limits::{ClassRules, LimitRules, Measure, OnExceed, Rate, Rates, Scope};

/// How a rate is written.
pub const RATE_REMEDY: &str = "write a number per second (0.0001 to 1000000000), or { rate = 1000, burst = 100 } with what is allowed at once";

/// Parts of one that a rate may have: six digits behind the point.
const PARTS: u64 = 1_000_000;

/// The lowest rate, in parts: one in three hours.
const LEAST_RATE: u64 = 100;

/// The highest rate per second; beyond it a token would take less than a nanosecond to come.
const MOST_RATE: u64 = 1_000_000_000;

/// The largest burst.
const MOST_BURST: u64 = 1_000_000_000_000;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// How long a request may wait where nobody says: 1 s.
const DEFAULT_DELAY: u64 = NANOS_PER_SECOND;

/// What can be wrong with limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitMistake {
    /// Not a rate.
    #[error("is {found}, not a rate")]
    NotARate {
        /// What was written.
        found: &'static str,
    },
    /// Zero, negative, too small or too large.
    #[error("is out of range")]
    RateRange,
    /// Something else than a rate and a burst.
    #[error("no such key")]
    UnknownPart,
    /// A burst without a rate.
    #[error("has no rate")]
    NoRate,
    /// Not a burst.
    #[error("is not a whole number from 1 to {MOST_BURST}")]
    Burst,
    /// It would take weeks to be allowed again.
    #[error("would take more than 30 days to be allowed again")]
    SlowRefill,
    /// A longest delay where nothing is delayed.
    #[error("applies to on_exceed = \"delay\" only")]
    NothingIsDelayed,
    /// What is about rates where there are none.
    #[error("applies to rates only, and there is none")]
    RatesOnly,
    /// Another limit is reached first, always.
    #[error("is more than {other}, so it is never reached")]
    NeverReached {
        /// The other.
        other: String,
    },
    /// A section without a limit.
    #[error("limits nothing")]
    LimitsNothing,
    /// A name that has no environment variable.
    #[error("a class's name is made of a-z, 0-9 and '_'")]
    ClassName,
}

impl LimitMistake {
    pub(super) fn remedy(&self) -> String {
        match self {
            Self::NotARate { .. } | Self::RateRange | Self::NoRate => RATE_REMEDY.to_owned(),
            Self::UnknownPart => "known here: rate, burst".to_owned(),
            Self::Burst => "write how much is allowed at once, such as burst = 100".to_owned(),
            Self::SlowRefill => "lower the burst, or raise the rate".to_owned(),
            Self::NothingIsDelayed => "leave it out, or write on_exceed = \"delay\"".to_owned(),
            Self::RatesOnly => "leave it out, or add a rate, such as requests_per_second = 1000".to_owned(),
            Self::NeverReached { other } => format!("lower it, or raise {other}"),
            Self::LimitsNothing => {
                "add a limit, such as requests_per_second = 1000, or remove the section".to_owned()
            }
            Self::ClassName => "rename it".to_owned(),
        }
    }
}

/// The limits of a tenant or, with those `of_tenant`, of one of its users; all tenants together may have so many
/// connections.
pub(super) fn read(
    owner: &Reader<'_>,
    of_tenant: Option<&LimitRules>,
    most_connections: u64,
) -> Option<LimitRules> {
    if !owner.has("limits") {
        return None;
    }
    let reader = owner.section(Section::Limits, "limits");
    let found_before = reader.findings().count();
    let rates = rates(&reader);
    let classes = reader.named_sections(Section::LimitClass, "class");
    let classes: Vec<ClassRules> =
        classes.iter().filter_map(|(name, class)| read_class(name, class, &rates)).collect();
    let rules = LimitRules {
        rates,
        classes,
        connections: reader.written_integer("connections"),
        in_flight: reader.written_integer("in_flight"),
        on_exceed: on_exceed(&reader),
        is_dry_run: reader.truth("dry_run"),
        scope: if reader.choice("scope") == "fleet" { Scope::Fleet } else { Scope::Process },
    };
    if let Some(of_tenant) = of_tenant {
        refuse_more_than_tenant(&reader, &rules, of_tenant);
    }
    if rules.connections.is_some_and(|connections| connections > most_connections) {
        reader.refuse("connections", ValueMistake::AboveBound { bound: "downstream.max_connections" });
    }
    // What is wrong already may be what is missing here.
    if reader.findings().count() == found_before {
        refuse_idle(&reader, &rules);
    }
    Some(rules)
}

/// A section that limits nothing, and keys that are about nothing.
fn refuse_idle(reader: &Reader<'_>, rules: &LimitRules) {
    let has_rates = rules.rates.each().next().is_some() || !rules.classes.is_empty();
    if !has_rates && rules.connections.is_none() && rules.in_flight.is_none() {
        return reader.findings().add(reader.place(), reader.path(), LimitMistake::LimitsNothing);
    }
    for key in ["on_exceed", "scope"] {
        if !has_rates && reader.has(key) {
            reader.refuse(key, LimitMistake::RatesOnly);
        }
    }
}

fn on_exceed(reader: &Reader<'_>) -> OnExceed {
    let is_delayed = reader.choice("on_exceed") == "delay";
    let max_delay = reader.has("max_delay").then(|| reader.duration("max_delay"));
    if max_delay.is_some() && !is_delayed {
        reader.refuse("max_delay", LimitMistake::NothingIsDelayed);
    }
    let nanos = |delay: std::time::Duration| u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
    if is_delayed { OnExceed::Delay(max_delay.map_or(DEFAULT_DELAY, nanos)) } else { OnExceed::Reject }
}

fn rates(reader: &Reader<'_>) -> Rates {
    let rate = |measure: Measure| rate(reader, measure.key());
    Rates {
        requests: rate(Measure::Requests),
        request_bytes: rate(Measure::RequestBytes),
        reply_bytes: rate(Measure::ReplyBytes),
    }
}

fn read_class(name: &str, reader: &Reader<'_>, of_all: &Rates) -> Option<ClassRules> {
    let found_before = reader.findings().count();
    if !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
        reader.findings().add(reader.place(), reader.path(), LimitMistake::ClassName);
    }
    let commands = selections::of_class(name, reader);
    let rates = rates(reader);
    for (measure, rate) in rates.each() {
        let key = measure.key();
        let bound = of_all.each().find(|(other, _)| *other == measure).map(|(_, rate)| rate);
        if bound.is_some_and(|bound| is_faster(rate, bound)) {
            reader.refuse(key, LimitMistake::NeverReached { other: format!("{key} of all commands") });
        }
    }
    if rates.each().next().is_none() && reader.findings().count() == found_before {
        reader.findings().add(reader.place(), reader.path(), LimitMistake::LimitsNothing);
    }
    Some(ClassRules { name: name.to_owned(), commands: commands?, rates })
}

/// What a user may take more of than its tenant, which is a slip.
fn refuse_more_than_tenant(reader: &Reader<'_>, rules: &LimitRules, of_tenant: &LimitRules) {
    let refuse = |key: &str| {
        reader.refuse(key, LimitMistake::NeverReached { other: format!("the tenant's {key}") });
    };
    for (measure, rate) in rules.rates.each() {
        let bound = of_tenant.rates.each().find(|(other, _)| *other == measure).map(|(_, rate)| rate);
        if bound.is_some_and(|bound| is_faster(rate, bound)) {
            refuse(measure.key());
        }
    }
    let counts = [
        ("connections", rules.connections, of_tenant.connections),
        ("in_flight", rules.in_flight, of_tenant.in_flight),
    ];
    for (key, count, bound) in counts {
        if count.zip(bound).is_some_and(|(count, bound)| count > bound) {
            refuse(key);
        }
    }
}

fn is_faster(rate: &Rate, than: &Rate) -> bool {
    let (a, b) = (rate.pace, than.pace);
    u128::from(a.rate) * u128::from(b.per) > u128::from(b.rate) * u128::from(a.per)
}

/// A rate; `None` if there is none, or a wrong one, which is noted.
fn rate(reader: &Reader<'_>, key: &str) -> Option<Rate> {
    let written = reader.written(key)?;
    match read_rate(written) {
        Ok(rate) => Some(rate),
        Err(mistakes) => {
            for (part, place, mistake) in mistakes {
                let path = reader.path_of(key);
                let path = if part.is_empty() { path } else { format!("{path}.{part}") };
                reader.findings().add(&place, path, mistake);
            }
            None
        }
    }
}

type Misread = Vec<(String, Place, LimitMistake)>;

fn read_rate(written: &Written<Value>) -> Result<Rate, Misread> {
    let Some(table) = written.value.as_table() else {
        let parts =
            parts_of(written).map_err(|mistake| vec![(String::new(), written.place.clone(), mistake)])?;
        return Ok(rate_of(parts, parts.div_ceil(PARTS)));
    };
    let mut misread: Misread = Vec::new();
    for (part, entry) in table.in_order() {
        if !matches!(part, "rate" | "burst") {
            misread.push((part.to_owned(), entry.key_place.clone(), LimitMistake::UnknownPart));
        }
    }
    let rate = part_of(table, "rate", parts_of).map_err(|found| misread.push(found)).ok();
    let burst = part_of(table, "burst", burst_of).map_err(|found| misread.push(found)).ok();
    let Some(parts) = rate.flatten() else {
        if table.get("rate").is_none() {
            misread.push((String::new(), written.place.clone(), LimitMistake::NoRate));
        }
        return Err(misread);
    };
    let rate = rate_of(parts, burst.flatten().unwrap_or_else(|| parts.div_ceil(PARTS)));
    if rate.pace.refill() > LONGEST_REFILL {
        misread.push((String::new(), written.place.clone(), LimitMistake::SlowRefill));
    }
    if misread.is_empty() { Ok(rate) } else { Err(misread) }
}

/// A part of a rate, if it is there.
fn part_of<T>(
    table: &Table,
    part: &str,
    read: impl Fn(&Written<Value>) -> Result<T, LimitMistake>,
) -> Result<Option<T>, (String, Place, LimitMistake)> {
    let Some(entry) = table.get(part) else { return Ok(None) };
    let found = |mistake| (part.to_owned(), entry.value.place.clone(), mistake);
    read(&entry.value).map(Some).map_err(found)
}

/// Tokens per second, in parts.
fn parts_of(written: &Written<Value>) -> Result<u64, LimitMistake> {
    let is_file = matches!(written.place, Place::File { .. });
    let parts = match &written.value {
        Value::Integer(whole) => u64::try_from(*whole).ok().and_then(|whole| whole.checked_mul(PARTS)),
        Value::Fraction(text) => decimal_parts(text),
        Value::Text(text) if !is_file && text.starts_with(|c: char| c.is_ascii_digit()) => {
            decimal_parts(text)
        }
        other @ (Value::Text(_) | Value::Truth(_) | Value::List(_) | Value::Table(_) | Value::Other(_)) => {
            return Err(LimitMistake::NotARate { found: other.type_name() });
        }
    };
    let range = LEAST_RATE..=MOST_RATE.saturating_mul(PARTS);
    parts.filter(|parts| range.contains(parts)).ok_or(LimitMistake::RateRange)
}

/// `12`, `0.25`, with six digits behind the point at most.
fn decimal_parts(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.len() > 6 || !is_number(fraction) || !is_number(whole) {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(PARTS)?.checked_add(fraction)
}

fn burst_of(written: &Written<Value>) -> Result<u64, LimitMistake> {
    let number = written.value.as_integer().and_then(|number| u64::try_from(number).ok());
    number.filter(|burst| (1..=MOST_BURST).contains(burst)).ok_or(LimitMistake::Burst)
}

fn rate_of(parts: u64, burst: u64) -> Rate {
    let (whole, fraction) = (parts / PARTS, parts % PARTS);
    if fraction == 0 {
        return Rate { written: whole.to_string(), pace: Pace::per_second(whole, burst) };
    }
    let written = format!("{whole}.{fraction:06}");
    let per = NANOS_PER_SECOND.saturating_mul(PARTS);
    Rate { written: written.trim_end_matches('0').to_owned(), pace: Pace { rate: parts, per, burst } }
}
