//! What to do and for how long, from arguments or the environment.

use std::time::Duration;

use anyhow::ensure;

/// Offers more than there is room for, and verifies what was promised.
#[derive(clap::Parser)]
pub(crate) struct Options {
    /// Ten times as much as `max_memory` allows.
    #[arg(long, env = "SOAK_OVERLOAD")]
    overload: bool,

    /// Minutes of load.
    #[arg(long, env = "MINUTES", default_value_t = 10.0, value_parser = minutes)]
    minutes: f64,

    /// The proxy's `max_memory`, in MiB.
    #[arg(long, env = "SOAK_MAX_MEMORY", default_value_t = 256, value_parser = clap::value_parser!(u64).range(96..=65_536))]
    max_memory: u64,

    /// Given by `cargo bench` to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// There is one kind so far; it is named so that others can join it.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.overload, "say what is to be tried: make soak ARGS=--overload");
        Ok(())
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0)
    }

    /// What is about to happen, and the heads of the lines that are printed meanwhile.
    pub(crate) fn head(&self) -> String {
        let minutes = self.minutes;
        let (memory, cores) = (self.max_memory, std::thread::available_parallelism().map_or(1, usize::from));
        format!(
            "overload for {minutes} min, max_memory = {memory} MiB, {cores} cores\n{:>7} {:>9} {:>9} {:>6} {:>12} {:>10} {:>10} {:>9}",
            "time", "resident", "largest", "level", "replies", "refused", "evicted", "counted"
        )
    }

    /// Bytes of `max_memory`.
    pub(crate) fn ceiling(&self) -> u64 {
        self.max_memory << 20
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.05..=1440.0).contains(&minutes) => Ok(minutes),
        _ => Err(format!("expected minutes from 0.05 to 1440, got `{text}`")),
    }
}
