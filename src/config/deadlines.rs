//! `[upstream.NAME.class.CLASS]` and `[upstream.NAME.retry]`: how long replies may take, and how much is tried again.

use std::time::Duration;

use super::keys::Section;
use super::mistake::ValueMistake;
use super::section::Reader;
use super::selections;
use crate::command::{Selection, Service, TABLE};
use crate::settings::{ClassTimeouts, RetrySettings};

/// A class of commands, and how long their replies may take.
struct Class {
    commands: Selection,
    timeout: Duration,
}

/// The timeouts of all classes. Of several classes that have a command the smallest counts, and of two that are as
/// small the shorter timeout: so it is no matter in which order they are written.
pub(super) fn class_timeouts(upstream: &Reader<'_>) -> ClassTimeouts {
    let sections = upstream.named_sections(Section::UpstreamClass, "class");
    let mut classes: Vec<Class> = sections.iter().filter_map(|(name, reader)| class(name, reader)).collect();
    if classes.is_empty() {
        return ClassTimeouts::default();
    }
    classes.sort_by_key(|class| (class.commands.count(), class.timeout));
    let of_command = |row| classes.iter().find(|class| class.commands.has(row)).map(|class| class.timeout);
    ClassTimeouts::new(TABLE.iter().map(of_command))
}

/// `None` without a timeout, or with findings.
fn class(name: &str, reader: &Reader<'_>) -> Option<Class> {
    let commands = selections::of_class(name, reader)?;
    let is_sent =
        |service| matches!(service, Service::Forward | Service::Guarded | Service::Reworded | Service::Tied);
    if !TABLE.iter().any(|row| commands.has(row) && is_sent(row.service())) {
        let key = if reader.has("commands") { reader.path_of("commands") } else { reader.path().to_owned() };
        reader.findings().add(&reader.place_of("commands"), key, ValueMistake::NothingIsSent);
    }
    let timeout = reader.has("reply_timeout").then(|| reader.duration("reply_timeout"))?;
    Some(Class { commands, timeout })
}

/// How many requests may be sent again.
pub(super) fn retry(upstream: &Reader<'_>) -> RetrySettings {
    let reader = upstream.section(Section::UpstreamRetry, "retry");
    let number = |key| u32::try_from(reader.integer(key)).unwrap_or(u32::MAX);
    RetrySettings { percent: number("percent"), minimum: number("minimum") }
}
