//! What the operating system knows about this process, read from `/proc` when somebody asks.
//!
//! The units of `/proc/self/stat` are clock ticks, whose rate the kernel hands to each process in its
//! auxiliary vector (`AT_CLKTCK`): reading it from there needs neither `unsafe` nor a guess. On a system
//! without `/proc` the figures are absent, never wrong.

use super::names::{self, Family};
use super::text;
use std::fs;

/// `AT_CLKTCK` of the auxiliary vector: ticks per second.
const AUX_CLOCK_TICKS: usize = 17;
const MICROS_PER_SECOND: u64 = 1_000_000;

/// Appends the `process_…` families that this system can tell.
pub(super) fn render(out: &mut String) {
    single(out, &names::PROCESS_MEMORY, resident_bytes().map(|bytes| bytes.to_string()));
    single(out, &names::PROCESS_CPU, times().map(|times| text::seconds(times.cpu_micros)));
    single(out, &names::PROCESS_FDS, open_fds().map(|count| count.to_string()));
    single(out, &names::PROCESS_START, start_micros().map(text::seconds));
}

fn single(out: &mut String, family: &Family, value: Option<String>) {
    if let Some(value) = value {
        text::start(out, family);
        text::sample(out, family, "", &[], &value);
    }
}

fn resident_bytes() -> Option<u64> {
    parse_resident(&fs::read_to_string("/proc/self/status").ok()?)
}

fn times() -> Option<Times> {
    parse_stat(&fs::read_to_string("/proc/self/stat").ok()?, ticks_per_second()?)
}

fn open_fds() -> Option<usize> {
    // The listing holds a descriptor of its own while it is being read.
    fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1))
}

fn start_micros() -> Option<u64> {
    let boot = parse_boot_seconds(&fs::read_to_string("/proc/stat").ok()?)?;
    boot.checked_mul(MICROS_PER_SECOND)?.checked_add(times()?.started_after_boot_micros)
}

fn ticks_per_second() -> Option<u64> {
    parse_clock_ticks(&fs::read("/proc/self/auxv").ok()?)
}

/// The times of `/proc/self/stat`, in microseconds.
#[derive(Debug, PartialEq, Eq)]
struct Times {
    cpu_micros: u64,
    started_after_boot_micros: u64,
}

/// `proc(5)`, "/proc/pid/stat": fields 14 (utime), 15 (stime) and 22 (starttime). The program's name, field
/// 2, may hold blanks and parentheses, so fields are counted from the last closing one, which ends it.
fn parse_stat(stat: &str, ticks_per_second: u64) -> Option<Times> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let micros = |number: usize| {
        let ticks: u64 = fields.get(number - 3)?.parse().ok()?;
        ticks.checked_mul(MICROS_PER_SECOND)?.checked_div(ticks_per_second)
    };
    Some(Times { cpu_micros: micros(14)? + micros(15)?, started_after_boot_micros: micros(22)? })
}

/// `VmRSS:   1234 kB` of `/proc/self/status`.
fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// `btime 1234` of `/proc/stat`: when the system booted, in seconds since 1970.
fn parse_boot_seconds(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The auxiliary vector is a list of (type, value) pairs of machine words.
fn parse_clock_ticks(auxv: &[u8]) -> Option<u64> {
    let words: Vec<usize> = auxv
        .chunks_exact(size_of::<usize>())
        .filter_map(|word| word.try_into().ok().map(usize::from_ne_bytes))
        .collect();
    let ticks = words.chunks_exact(2).find(|pair| pair[0] == AUX_CLOCK_TICKS)?[1];
    u64::try_from(ticks).ok().filter(|ticks| *ticks > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_blanks_and_parentheses() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 3 0 12345 1000 200";
        let times = Times { cpu_micros: 2_000_000, started_after_boot_micros: 123_450_000 };
        assert_eq!(parse_stat(stat, 100), Some(times));
    }

    #[test]
    fn cut_stat_line_tells_nothing() {
        assert_eq!(parse_stat("42 (tenantry) S 1 42", 100), None);
        assert_eq!(parse_stat("", 100), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t    8124 kB\nThreads:\t2\n"), Some(8_318_976));
        assert_eq!(parse_resident("Name:\tx\n"), None);
    }

    #[test]
    fn boot_time_is_in_seconds() {
        assert_eq!(parse_boot_seconds("cpu 1 2\nbtime 1700000000\nprocesses 5\n"), Some(1_700_000_000));
    }

    #[test]
    fn clock_ticks_come_from_the_auxiliary_vector() {
        let auxv: Vec<u8> =
            [6_usize, 4096, 17, 100, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(parse_clock_ticks(&auxv), Some(100));
        assert_eq!(parse_clock_ticks(&auxv[..16]), None);
    }
}
