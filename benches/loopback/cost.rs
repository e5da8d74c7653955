//! What a process costs, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// CPU time the process has used so far, user and system, all its threads.
///
/// From the scheduler's own account (`schedstat`, nanoseconds): the times in `stat` count ticks of 10 ms,
/// which is several percent of what a proxy uses in a second. Threads that have ended are not in it; no
/// target ends any while it is measured.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let mut nanoseconds = 0;
    for thread in
        fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} has ended"))?
    {
        let path = thread?.path().join("schedstat");
        let account = fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}: the kernel needs CONFIG_SCHED_INFO", path.display()))?;
        let on_cpu = account.split(' ').next().context("schedstat is empty")?;
        nanoseconds += on_cpu.trim().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Memory of the process that is in RAM, in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} has ended"))?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.trim().strip_suffix(" kB"))
        .context("status has no line `VmRSS`")?
        .trim()
        .parse()?;
    Ok(kib << 10)
}
