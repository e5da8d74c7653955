//! The worker's clock: read once per turn of the event loop, not once per command.
//!
//! Latencies are differences of two readings in microseconds. A clock read costs 25 to 40 ns, a tenth of a
//! pipelined command's whole budget, so readings are cached until the worker's thread has slept or a lane
//! begins a batch.

use std::cell::Cell;
use std::time::Instant;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// A moment, in microseconds since the worker started; wraps after 71 minutes, so only differences mean
/// anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Micros(pub u32);

impl Micros {
    /// Microseconds from `earlier` to this moment, if they are less than 71 minutes apart.
    pub fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
}

thread_local! {
    /// The cached reading may be old.
    static IS_STALE: Cell<bool> = const { Cell::new(true) };
}

/// The thread has slept: its cached reading is old. For the runtime's unpark hook, which has no access to the
/// worker.
pub fn thread_woke() {
    IS_STALE.set(true);
}

/// One worker's clock.
#[derive(Debug)]
pub struct Clock {
    origin: Instant,
    now: Cell<Micros>,
    /// Nanoseconds since `origin` when it was last read.
    nanos: Cell<u64>,
}

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the shell's clock")]
    pub fn start() -> Self {
        Self::since(Instant::now())
    }

    /// A clock that started at `origin`: those of several workers agree if they share it.
    pub fn since(origin: Instant) -> Self {
        Self { origin, now: Cell::default(), nanos: Cell::default() }
    }

    /// Milliseconds since the clock's start, as old as [`Clock::now`]; does not wrap.
    pub fn millis(&self) -> u64 {
        self.nanos() / NANOS_PER_MILLI
    }

    /// Nanoseconds since the clock's start, as old as [`Clock::now`]; does not wrap.
    pub fn nanos(&self) -> u64 {
        self.now();
        self.nanos.get()
    }

    /// As [`Clock::millis`], of this very moment.
    pub fn read_millis(&self) -> u64 {
        self.read();
        self.millis()
    }

    /// The moment that is so many nanoseconds after the clock's start.
    pub fn at_nanos(&self, nanos: u64) -> Instant {
        self.origin + std::time::Duration::from_nanos(nanos)
    }

    /// The moment that is so many milliseconds after the clock's start.
    pub fn at(&self, millis: u64) -> Instant {
        self.origin + std::time::Duration::from_millis(millis)
    }

    /// The current turn's time.
    pub fn now(&self) -> Micros {
        if IS_STALE.get() { self.read() } else { self.now.get() }
    }

    /// Reads the time anew and keeps it for the rest of the turn.
    pub fn read(&self) -> Micros {
        let elapsed = self.origin.elapsed();
        #[expect(clippy::cast_possible_truncation, reason = "wraps by design, see Micros")]
        let now = Micros(elapsed.as_micros() as u32);
        self.now.set(now);
        self.nanos.set(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
        IS_STALE.set(false);
        now
    }
}
