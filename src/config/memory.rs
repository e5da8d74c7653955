//! Reads what the process and its clients may take of memory, and refuses what contradicts itself.

use std::time::Duration;

use super::mistake::ValueMistake;
use super::section::Reader;
use crate::settings::{Amount, DownstreamLimits, MemorySettings, OutputLimit};

/// Redis' own soft limit for subscribers.
pub(super) const SUBSCRIBER_SOFT: usize = 8 << 20;

/// What the program takes when it is idle, and what everything that is not counted below takes of it.
const PROGRAM: u64 = 16 << 20;
/// What a worker takes: the inboxes and queues of a few connections to an upstream.
const WORKER: u64 = 4 << 20;
/// What an idle connection takes, with its task and its socket (`docs/performance.md`).
const CONNECTION: u64 = 1 << 10;
/// Percent of `max_memory` from which on new connections are refused (`policy/pressure.rs`).
const TIGHT_PERCENT: u64 = 80;

/// `max_memory` and `max_client_memory`.
pub(super) fn process(top: &Reader<'_>, downstream: &DownstreamLimits, workers: usize) -> MemorySettings {
    let settings =
        MemorySettings { process: top.amount("max_memory"), clients: top.amount("max_client_memory") };
    if let Some(Amount::Bytes(bytes)) = settings.process {
        let connections = downstream.max_connections;
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let taken = PROGRAM
            .saturating_add(WORKER.saturating_mul(number(workers)))
            .saturating_add(CONNECTION.saturating_mul(number(connections)));
        // In whole MiB, as people would write it.
        let least = (taken / TIGHT_PERCENT).saturating_mul(100).div_ceil(1 << 20) << 20;
        if bytes < least {
            top.refuse("max_memory", ValueMistake::TooLittleMemory { connections, workers, least });
        }
        if let Some(Amount::Bytes(of_clients)) = settings.clients
            && of_clients > bytes
        {
            top.refuse("max_client_memory", ValueMistake::AboveBound { bound: "max_memory" });
        }
    }
    settings
}

/// The limit whose hard part is `name`. Without a soft part it is `usual`, as far as that is below the hard one.
pub(super) fn output(reader: &Reader<'_>, name: &'static str, usual: Option<usize>) -> OutputLimit {
    let (soft_name, for_name) = (format!("{name}_soft"), format!("{name}_soft_for"));
    let hard = reader.size(name);
    let written = reader.written_size(&soft_name);
    if written.is_some_and(|soft| soft > hard) {
        reader.refuse(&soft_name, ValueMistake::AboveBound { bound: name });
    }
    let soft_for: Duration = reader.duration(&for_name);
    OutputLimit { hard, soft: written.or(usual.map(|usual| usual.min(hard))), soft_for }
}
