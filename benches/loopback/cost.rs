//! What a process costs, from `/proc`.

use std::collections::HashSet;
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

/// Connections of the process to a TCP port of this host.
pub(crate) fn connections(pid: u32, port: u16) -> anyhow::Result<usize> {
    let sockets = fs::read_to_string("/proc/net/tcp")?;
    let port = format!(":{port:04X}");
    // Remote address, state (1 is established) and inode of a row.
    let inode = |row: &str| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        let is_one = fields.get(2)?.ends_with(&port) && *fields.get(3)? == "01";
        is_one.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
    };
    let inodes: HashSet<String> = sockets.lines().filter_map(inode).collect();
    let files =
        fs::read_dir(format!("/proc/{pid}/fd")).with_context(|| format!("process {pid} has ended"))?;
    // A file may be closed while the directory is read.
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    Ok(links.filter(|link| inodes.contains(&*link.to_string_lossy())).count())
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
