//! How much memory the process takes, measured against its ceiling, for all threads to see.
//!
//! One task measures what the kernel counts as resident, since that is what a container is killed for. What follows is
//! decided by `policy/pressure.rs` and published as one number, which workers read once per turn. Orders to evict
//! clients go to all workers; each knows its own clients, and the heaviest of the others' by number.
//!
//! The allocator keeps what was freed for ten seconds, in case it is needed again. From [`Level::Elevated`] on it gives
//! it back at once: otherwise memory would look taken that nobody needs, and clients would be refused for it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tikv_jemalloc_ctl::{Access, AsName, arenas};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::policy::pressure::{Level, ORDER_EVERY_MS, Pressure, Verdict};
use crate::settings::{Amount, MemorySettings};

/// How often memory is measured while less than half of the ceiling is taken. A worker allocates some 2 GB/s at most.
const EASY_PACE: Duration = Duration::from_millis(20);
/// How often it is measured above: 10 MB, twice a worker's inboxes, may come in between.
const BRISK_PACE: Duration = Duration::from_millis(5);
/// Milliseconds that the allocator keeps what was freed; its own default.
const KEEP_FREED_MS: isize = 10_000;
/// The share of a machine's or a container's memory that `auto` stands for: the rest is for sockets' buffers, which the
/// kernel counts apart, and for what else runs there.
const AUTO_PERCENT: u64 = 75;
/// The numbers of the auxiliary vector under which the kernel hands out the size of a page.
const AUX_PAGE_SIZE: usize = 6;

/// What workers are told: the level, and how much their clients must give up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Orders are numbered from 1.
    pub number: u64,
    /// The level from now on.
    pub level: Level,
    /// What clients must give up, if anything.
    pub evict: Option<Eviction>,
}

/// What clients must give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// Bytes, of all workers together.
    pub bytes: u64,
    /// The ceiling that they are above.
    pub of: Ceiling,
    /// Whether clients go as well that asked not to be evicted: nobody else was left.
    pub is_last_resort: bool,
}

/// A ceiling of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// `max_memory`: of the process.
    Process,
    /// `max_client_memory`: of what clients' requests and replies take.
    Clients,
}

/// What one worker's clients hold, as others may know it.
#[derive(Debug, Default)]
struct Held {
    bytes: AtomicUsize,
    heaviest: AtomicUsize,
}

/// What all threads know of the process' memory.
#[derive(Debug)]
pub struct Gauge {
    ceiling: u64,
    client_ceiling: Option<u64>,
    level: AtomicU8,
    used: AtomicU64,
    held: Box<[Held]>,
    /// An order found somebody to evict since it was last looked at.
    has_evicted: AtomicBool,
    orders: watch::Sender<Order>,
    /// The number of the last one.
    last_order: AtomicU64,
    /// Bytes that it asks for and that nobody has given up yet.
    wanted: AtomicU64,
}

impl Gauge {
    /// For so many workers.
    pub fn new(settings: MemorySettings, workers: usize) -> Self {
        let ceiling = ceiling(settings.process);
        let client_ceiling = settings.clients.map(|amount| match amount {
            Amount::Bytes(bytes) => bytes,
            Amount::Percent(percent) => percent_of(ceiling, u64::from(percent)),
        });
        Self {
            ceiling,
            client_ceiling,
            level: AtomicU8::new(Level::Normal as u8),
            used: AtomicU64::new(0),
            held: (0..workers).map(|_| Held::default()).collect(),
            has_evicted: AtomicBool::new(false),
            orders: watch::Sender::new(Order::default()),
            last_order: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
        }
    }

    /// How short memory is.
    #[inline]
    pub fn level(&self) -> Level {
        Level::from_number(self.level.load(Ordering::Relaxed))
    }

    /// Bytes that the process may take.
    pub fn ceiling(&self) -> u64 {
        self.ceiling
    }

    /// Bytes that it took when it was last measured.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes of requests and replies that clients hold, over all workers.
    pub fn held_by_clients(&self) -> usize {
        self.held.iter().map(|held| held.bytes.load(Ordering::Relaxed)).sum()
    }

    /// By one worker: what its clients hold together.
    pub fn worker_holds(&self, worker: usize, bytes: usize) {
        if let Some(held) = self.held.get(worker) {
            held.bytes.store(bytes, Ordering::Relaxed);
        }
    }

    /// By one worker: what its heaviest client holds that may be evicted.
    pub fn heaviest_is(&self, worker: usize, bytes: usize) {
        if let Some(held) = self.held.get(worker) {
            held.heaviest.store(bytes, Ordering::Relaxed);
        }
    }

    /// What the heaviest client of all workers holds.
    pub fn heaviest(&self) -> usize {
        self.held.iter().map(|held| held.heaviest.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// By one worker: whether a client that holds so much is to be evicted. `false`: enough have been.
    pub fn claim(&self, held: usize) -> bool {
        let held = u64::try_from(held).unwrap_or(u64::MAX);
        let less = |wanted: u64| (wanted > 0).then(|| wanted.saturating_sub(held));
        let is_wanted = self.wanted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        if is_wanted {
            self.has_evicted.store(true, Ordering::Relaxed);
        }
        is_wanted
    }

    /// The last order.
    pub fn order(&self) -> Order {
        *self.orders.borrow()
    }

    /// What workers are told from now on.
    pub fn orders(&self) -> watch::Receiver<Order> {
        self.orders.subscribe()
    }

    /// The number of the last order; 0: there was none.
    #[inline]
    pub fn last_order(&self) -> u64 {
        self.last_order.load(Ordering::Relaxed)
    }

    fn give_order(&self, level: Level, evict: Option<Eviction>) {
        let number = self.last_order().saturating_add(1);
        self.wanted.store(evict.map_or(0, |eviction| eviction.bytes), Ordering::Relaxed);
        self.orders.send_replace(Order { number, level, evict });
        self.last_order.store(number, Ordering::Relaxed);
    }

    /// Measures until it is dropped. Cancel safe.
    pub async fn watch(&self) -> std::convert::Infallible {
        let Some(meter) = Meter::open() else {
            tracing::warn!("memory cannot be measured here: max_memory is not watched");
            return std::future::pending().await;
        };
        tracing::info!(ceiling = self.ceiling, "max_memory");
        let (mut pressure, mut given) = (Pressure::new(self.ceiling), Given::default());
        let begin = Instant::now();
        loop {
            let used = meter.resident().unwrap_or(0);
            let now_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
            let before = pressure.level();
            let verdict = pressure.observe(now_ms, used);
            self.used.store(used, Ordering::Relaxed);
            self.enter(before, verdict.level, used);
            let excess = self.client_excess();
            let evict = self.eviction(verdict, excess, &mut given, now_ms);
            if evict.is_some() || before != verdict.level {
                self.give_order(verdict.level, evict);
            }
            let is_calm = used < self.ceiling / 2 && excess == 0;
            tokio::time::sleep(if is_calm { EASY_PACE } else { BRISK_PACE }).await;
        }
    }

    fn enter(&self, before: Level, level: Level, used: u64) {
        if before == level {
            return;
        }
        self.level.store(level as u8, Ordering::Relaxed);
        match (before >= Level::Elevated, level >= Level::Elevated) {
            (false, true) => keep_freed_for(0),
            (true, false) => keep_freed_for(KEEP_FREED_MS),
            (false, false) | (true, true) => {}
        }
        let (from, level_name) = (before.name(), level.name());
        let (held, ceiling) = (self.held_by_clients(), self.ceiling);
        if level.is_short() && level > before {
            tracing::warn!(used, ceiling, held_by_clients = held, from, to = level_name, "memory is short");
        } else if before.is_short() {
            tracing::info!(
                used,
                ceiling,
                held_by_clients = held,
                from,
                to = level_name,
                "memory is less short"
            );
        }
    }

    /// Bytes that clients hold above `max_client_memory`.
    fn client_excess(&self) -> u64 {
        let held = u64::try_from(self.held_by_clients()).unwrap_or(u64::MAX);
        self.client_ceiling.map_or(0, |ceiling| held.saturating_sub(ceiling))
    }

    fn eviction(&self, verdict: Verdict, excess: u64, given: &mut Given, now_ms: u64) -> Option<Eviction> {
        if !verdict.level.is_short() {
            given.is_unanswered = false;
        }
        if verdict.evict > 0 {
            let was_in_vain = given.is_unanswered && !self.has_evicted.load(Ordering::Relaxed);
            self.has_evicted.store(false, Ordering::Relaxed);
            given.is_unanswered = true;
            let is_last_resort = verdict.level == Level::Critical && was_in_vain;
            return Some(Eviction { bytes: verdict.evict, of: Ceiling::Process, is_last_resort });
        }
        let is_spaced = given.for_clients_at.is_none_or(|at| now_ms.saturating_sub(at) >= ORDER_EVERY_MS);
        (excess > 0 && is_spaced).then(|| {
            given.for_clients_at = Some(now_ms);
            Eviction { bytes: excess, of: Ceiling::Clients, is_last_resort: false }
        })
    }
}

/// The orders to evict that were given before.
#[derive(Default)]
struct Given {
    /// One was given because the process is short of memory, and it is not known that it found anybody.
    is_unanswered: bool,
    /// Milliseconds, when one was given because of `max_client_memory`.
    for_clients_at: Option<u64>,
}

/// Where the kernel says how much the process takes. Kept open: it is read up to 200 times a second.
struct Meter {
    statm: File,
    page: u64,
}

impl Meter {
    fn open() -> Option<Self> {
        let page = page_size(&std::fs::read("/proc/self/auxv").ok()?)?;
        let meter = Self { statm: File::open("/proc/self/statm").ok()?, page };
        meter.resident().is_some().then_some(meter)
    }

    /// The second number (*proc(5)*, "/proc/pid/statm"), which is in pages.
    fn resident(&self) -> Option<u64> {
        let mut buffer = [0; 128];
        let len = self.statm.read_at(&mut buffer, 0).ok()?;
        let text = std::str::from_utf8(buffer.get(..len)?).ok()?;
        let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
        Some(pages.saturating_mul(self.page))
    }
}

/// The auxiliary vector is a list of (type, value) pairs of machine words.
fn page_size(auxv: &[u8]) -> Option<u64> {
    const WORD: usize = size_of::<usize>();
    let mut pairs = auxv.chunks_exact(2 * WORD).filter_map(|pair| {
        let (kind, value) = pair.split_at_checked(WORD)?;
        Some((usize::from_ne_bytes(kind.try_into().ok()?), usize::from_ne_bytes(value.try_into().ok()?)))
    });
    let (_, size) = pairs.find(|(kind, _)| *kind == AUX_PAGE_SIZE)?;
    u64::try_from(size).ok().filter(|size| *size > 0)
}

/// How long the allocator keeps what was freed, in milliseconds. Where another allocator is in use, nothing happens.
fn keep_freed_for(milliseconds: isize) {
    let Ok(count) = arenas::narenas::read() else { return };
    let of_new = "arenas.dirty_decay_ms\0".to_owned();
    let names = (0..count).map(|arena| format!("arena.{arena}.dirty_decay_ms\0"));
    for name in names.chain([of_new]) {
        if let Err(error) = name.as_str().name().write(milliseconds) {
            // An arena that nobody has used yet.
            tracing::trace!(%error, name, "the allocator was told in vain");
        }
    }
}

/// Bytes of the ceiling.
fn ceiling(amount: Option<Amount>) -> u64 {
    match amount {
        Some(Amount::Bytes(bytes)) => bytes,
        Some(Amount::Percent(percent)) => percent_of(available(), u64::from(percent)),
        None => percent_of(available(), AUTO_PERCENT),
    }
}

fn percent_of(bytes: u64, percent: u64) -> u64 {
    (bytes / 100).saturating_mul(percent)
}

/// What the control group allows, or else what the machine has; where neither is known, everything.
fn available() -> u64 {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).as_deref().and_then(machine_memory).unwrap_or(u64::MAX);
    let group = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = limit_files(&group).into_iter().filter_map(|path| group_limit(&read(&path)?));
    limits.fold(machine, u64::min)
}

/// `MemTotal:       24684808 kB`
fn machine_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// A number of bytes, or `max`.
fn group_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The files that may hold the limit of the process' control group or of one above it (*cgroups(7)*): those of version
/// 2 as seen from the host and from inside of a container, and that of version 1.
fn limit_files(cgroup: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let mut files = vec![root.join("memory.max"), root.join("memory/memory.limit_in_bytes")];
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let relative = Path::new(path.trim_start_matches('/'));
        let (base, file) = match controllers {
            "" => (root.to_path_buf(), "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        files.extend(relative.ancestors().map(|above| base.join(above).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_page_comes_from_the_auxiliary_vector() {
        let auxv: Vec<u8> =
            [17_usize, 100, 6, 16384, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(Some(16384), page_size(&auxv));
        assert_eq!(None, page_size(&auxv[..16]));
        assert_eq!(None, page_size(&[]));
    }

    #[test]
    fn what_a_machine_has_is_in_bytes() {
        assert_eq!(Some(25_277_243_392), machine_memory("MemTotal:       24684808 kB\nMemFree: 1 kB\n"));
        assert_eq!(None, machine_memory("MemFree: 1 kB\n"));
    }

    #[test]
    fn a_group_without_limit_says_max() {
        assert_eq!(Some(268_435_456), group_limit("268435456\n"));
        assert_eq!(None, group_limit("max\n"));
    }

    #[test]
    fn limits_of_groups_above_count_too() {
        let files = |text: &str| -> Vec<String> {
            limit_files(text).iter().skip(2).map(|path| path.display().to_string()).collect()
        };
        let expected =
            ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"];
        assert_eq!(expected.map(str::to_owned).to_vec(), files("0::/a/b\n"));
        let expected =
            ["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        assert_eq!(expected.map(str::to_owned).to_vec(), files("5:cpu,cpuacct:/x\n4:memory:/a\n"));
    }

    #[test]
    fn a_share_of_the_ceiling_is_what_clients_may_hold() {
        let settings =
            MemorySettings { process: Some(Amount::Bytes(1000)), clients: Some(Amount::Percent(30)) };
        let gauge = Gauge::new(settings, 2);
        gauge.worker_holds(0, 200);
        assert_eq!(0, gauge.client_excess());
        gauge.worker_holds(1, 150);
        assert_eq!((350, 50), (gauge.held_by_clients(), gauge.client_excess()));
    }

    fn gauge() -> Gauge {
        Gauge::new(
            MemorySettings { process: Some(Amount::Bytes(1000)), clients: Some(Amount::Bytes(500)) },
            2,
        )
    }

    #[test]
    fn several_workers_together_give_up_what_is_asked_for_and_no_more() {
        let gauge = gauge();
        assert!(!gauge.claim(1), "nothing is asked for");
        let eviction = Eviction { bytes: 100, of: Ceiling::Process, is_last_resort: false };
        gauge.give_order(Level::Critical, Some(eviction));
        assert_eq!((1, Some(eviction)), (gauge.last_order(), gauge.order().evict));
        assert!(gauge.claim(60) && gauge.claim(60));
        assert!(!gauge.claim(1));
    }

    #[test]
    fn clients_that_asked_not_to_be_evicted_go_when_an_order_has_found_nobody_else() {
        let (gauge, mut given) = (gauge(), Given::default());
        let critical = Verdict { level: Level::Critical, evict: 50 };
        let mut is_last_resort = || {
            let eviction = gauge.eviction(critical, 0, &mut given, 0).expect("an order");
            gauge.give_order(Level::Critical, Some(eviction));
            eviction.is_last_resort
        };
        assert!(!is_last_resort(), "the first");
        assert!(is_last_resort(), "it found nobody");
        assert!(is_last_resort());
        assert!(gauge.claim(20));
        assert!(!is_last_resort(), "it found somebody");
    }

    #[test]
    fn what_clients_hold_beyond_their_own_ceiling_is_asked_for_in_steps() {
        let (gauge, mut given) = (gauge(), Given::default());
        gauge.worker_holds(1, 620);
        let calm = Verdict { level: Level::Normal, evict: 0 };
        let mut asked = |now_ms| gauge.eviction(calm, gauge.client_excess(), &mut given, now_ms);
        let expected = Some(Eviction { bytes: 120, of: Ceiling::Clients, is_last_resort: false });
        assert_eq!([expected, None, expected], [0, 9, 10].map(&mut asked));
        gauge.worker_holds(1, 500);
        assert_eq!(None, asked(100));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_can_be_measured() {
        let meter = Meter::open().expect("Linux tells");
        let block = vec![1_u8; 64 << 20];
        let resident = meter.resident().expect("it is measured");
        assert!(resident >= 64 << 20, "{resident} bytes, {} of them in one block", block.len());
    }
}
