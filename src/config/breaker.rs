//! `[upstream.NAME.breaker]`: when a node is asked nothing.

use std::time::Duration;

use super::keys::Section;
use super::mistake::ValueMistake;
use super::section::Reader;
use super::upstreams::least_and_most;
use crate::policy::breaker::Thresholds;
use crate::settings::BreakerSettings;

/// Slow replies in a hundred that open a breaker, where nobody says more than what is slow.
const SLOW_PERCENT: u64 = 50;

/// Reads the section of one upstream.
pub(super) fn read(
    upstream: &Reader<'_>,
    connect_timeout: Duration,
    reply_timeout: Duration,
) -> BreakerSettings {
    let reader = upstream.section(Section::Breaker, "breaker");
    let found_before = reader.findings().count();
    let (open_min, open_max) = least_and_most(&reader, "open_for_min", "open_for_max");
    let slow_reply = reader.has("slow_reply").then(|| reader.duration("slow_reply"));
    let (window, is_enabled) = (reader.duration("window"), reader.truth("enabled"));
    let thresholds = Thresholds {
        consecutive: number(&reader, "consecutive_failures"),
        failure_percent: percent(&reader, "failure_percent"),
        slow_percent: 0,
        min_requests: number(&reader, "min_requests"),
        window: millis(window),
        open_min: millis(open_min),
        open_max: millis(open_max),
        close_after: number(&reader, "close_after"),
        // So long may its connection take, and so long its `PING`.
        probe_limit: millis(connect_timeout.saturating_mul(3)),
    };
    let max_ejected_percent = percent(&reader, "max_ejected_percent");
    let slow_percent = reader.written_integer("slow_percent").unwrap_or(SLOW_PERCENT);
    if reader.findings().count() == found_before {
        refuse_contradictions(&reader, slow_reply, reply_timeout);
        let is_by_failures = thresholds.consecutive > 0 || thresholds.failure_percent > 0;
        if is_enabled && !is_by_failures && slow_reply.is_none() {
            reader.findings().add(reader.place(), reader.path(), ValueMistake::NeverOpens);
        }
    }
    let slow_percent = slow_reply.map_or(0, |_| u8::try_from(slow_percent).unwrap_or(100));
    if !is_enabled {
        return BreakerSettings { max_ejected_percent, ..BreakerSettings::OFF };
    }
    BreakerSettings {
        thresholds: Thresholds { slow_percent, ..thresholds },
        slow_micros: slow_reply.map_or(u32::MAX, micros),
        max_ejected_percent,
    }
}

fn refuse_contradictions(reader: &Reader<'_>, slow_reply: Option<Duration>, reply_timeout: Duration) {
    if slow_reply.is_none() && reader.has("slow_percent") {
        reader.refuse("slow_percent", ValueMistake::NothingIsSlow);
    }
    if slow_reply.is_some_and(|slow| slow >= reply_timeout) {
        reader.refuse("slow_reply", ValueMistake::SlowAfterTimeout);
    }
}

fn number(reader: &Reader<'_>, key: &str) -> u32 {
    u32::try_from(reader.integer(key)).unwrap_or(u32::MAX)
}

fn percent(reader: &Reader<'_>, key: &str) -> u8 {
    u8::try_from(reader.integer(key)).unwrap_or(100)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
