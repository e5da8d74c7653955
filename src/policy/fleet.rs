//! One budget among many sidecars: what one of them asks for, and what it lives on while nobody answers.
//!
//! The budget is a bucket that all sidecars share, kept where all of them reach it. Each takes a **slice** out of it in
//! advance, as much as its clients are likely to want until it asks again, puts it into its [`Purse`], and gives back
//! what they did not want. A token is taken out of the bucket before any client gets it, so whoever joins, leaves,
//! stalls or loses an answer cannot make the fleet grant more than the bucket does: it can only waste what it holds.
//!
//! ```text
//!              asks, regularly          ask, or answer, overdue
//!   Stranger ───── answer ─────► Leased ───────────────────────► Alone
//!      │                           ▲                               │
//!      └── overdue: a tenth        └─────────── answer ────────────┘  the mean of its last slices
//! ```
//!
//! While alone it grants itself what it was granted on average before, so that the fleet as a whole grants what it did;
//! what it granted itself is taken from the bucket when that is reached again.
//!
//! **Stated error** ([`Terms`]): over any time `t` the fleet grants at most `rate * t + depth`, and what sidecars hold at
//! its beginning: each at most what its clients took in one interval and an eighth more, and [`Terms::reserve`]. See
//! `docs/decisions/0007-fleet-budgets.md`.
//!
//! All times are nanoseconds of one monotonic clock of this process; of the bucket's own time nothing is known here.

use std::collections::VecDeque;
use std::sync::Arc;

use super::bucket::Pace;
use super::purse::{Purse, signed};

/// Asks out of turn are at least so far apart, in nanoseconds.
pub const LEAST_GAP: u64 = 10_000_000;

/// What the bucket holds at least, as time in which it comes, in nanoseconds: twice [`LEAST_GAP`], so that nothing
/// overflows between two asks.
const LEAST_DEPTH: u128 = 20_000_000;

/// The longest that a sidecar waits for tokens that nobody but itself wants, in nanoseconds.
const LONGEST_PAUSE: u64 = 10_000_000_000;

/// Of how many intervals the mean is what a sidecar lives on while it is alone.
const REMEMBERED: u64 = 32;

/// The part of the rate that a sidecar grants itself before it has ever had an answer: a tenth.
const STRANGERS_PART: u64 = 10;

/// The part of the rate that a sidecar grants itself at least: a hundredth. One that was idle would else refuse
/// everything while the bucket is away.
const LEAST_PART: u64 = 100;

/// The part of a burst that is held for clients that have been idle: a hundredth, but one token at least.
const RESERVED_PART: u64 = 100;

/// What a fleet may grant, and how often its sidecars ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The budget of the whole fleet.
    pub pace: Pace,
    /// Nanoseconds between two regular asks, at least [`LEAST_GAP`].
    pub interval: u64,
}

impl Terms {
    /// What the bucket holds when it is full: the burst, or what comes in 20 ms if that is more.
    pub fn depth(self) -> u64 {
        let comes = u128::from(self.pace.rate) * LEAST_DEPTH / u128::from(self.pace.per.max(1));
        narrowed(comes).max(self.pace.burst)
    }

    /// Tokens that come in a second.
    #[expect(clippy::cast_precision_loss, reason = "a rate is far below 2^53")]
    pub fn per_second(self) -> f64 {
        self.pace.rate as f64 * 1e9 / self.pace.per.max(1) as f64
    }

    /// What a sidecar holds though nobody wants it.
    pub fn reserve(self) -> u64 {
        (self.pace.burst / RESERVED_PART).max(1)
    }

    /// What the bucket may owe: what comes in one interval.
    pub fn most_debt(self) -> u64 {
        self.comes_in(self.interval)
    }

    /// What comes in `nanos`.
    fn comes_in(self, nanos: u64) -> u64 {
        narrowed(u128::from(self.pace.rate) * u128::from(nanos) / u128::from(self.pace.per.max(1)))
    }

    /// The shortest time between two asks while there is less than is wanted: half of what fills the bucket.
    fn gap(self) -> u64 {
        let fills = u128::from(self.depth()) * u128::from(self.pace.per) / u128::from(self.pace.rate.max(1));
        (narrowed(fills) / 2).min(self.interval / 2).max(LEAST_GAP)
    }
}

/// What is said to the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Tokens given back; less than nothing: granted to itself while nobody answered.
    pub back: i64,
    /// Tokens wanted.
    pub want: u64,
}

/// What the bucket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Tokens granted, at most what was wanted.
    pub tokens: u64,
    /// Tokens left in it.
    pub left: u64,
}

/// What a sidecar lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has never had an answer.
    Stranger,
    /// On what it was granted.
    Leased,
    /// On what it grants itself.
    Alone,
}

/// An ask that has not been answered.
#[derive(Clone, Copy, Debug)]
struct Open {
    back: i64,
    want: u64,
}

/// Since nobody answers.
#[derive(Clone, Copy, Debug)]
struct Silence {
    /// When what is not answered was asked.
    since: u64,
    /// What it grants itself: so many tokens in so many nanoseconds.
    pace: (u64, u64),
    /// How many came by that pace so far.
    come: u64,
}

/// One sidecar's part of one budget. Its owner lets it [`Slice::look`] when the time has come that it names, sends what
/// it wants to ask, and tells how that went.
#[derive(Debug)]
pub struct Slice {
    terms: Terms,
    purse: Arc<Purse>,
    time: Time,
    /// Tokens that were put into the purse, less those that were taken back.
    put: i64,
    /// What has been taken or refused so far, and when that was seen.
    seen: (u64, u64),
    /// What clients want in one interval, estimated.
    demand: u64,
    next_ask: u64,
    last_ask: u64,
    open: Option<Open>,
    silence: Option<Silence>,
    /// Tokens that it granted itself and the bucket does not know of.
    owed: u64,
    /// Whether the last answer was less than was wanted.
    is_scarce: bool,
    first_grant: Option<u64>,
    last_grant: Option<u64>,
    /// When what was granted, less what was given back, in the last [`REMEMBERED`] intervals.
    lately: VecDeque<(u64, i64)>,
}

/// A time that only goes forward: if the clock is set back, it goes on from where it was.
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    clock: u64,
    now: u64,
}

impl Time {
    fn read(&mut self, clock: u64) -> u64 {
        self.now = self.now.saturating_add(clock.saturating_sub(self.clock));
        self.clock = clock;
        self.now
    }
}

impl Slice {
    /// A slice that is empty, and wants to ask at once.
    pub fn new(terms: Terms, purse: Arc<Purse>, now: u64) -> Self {
        Self {
            terms,
            purse,
            time: Time { clock: now, now: 0 },
            put: 0,
            seen: (0, 0),
            demand: 0,
            next_ask: 0,
            last_ask: 0,
            open: None,
            silence: None,
            owed: 0,
            is_scarce: false,
            first_grant: None,
            last_grant: None,
            lately: VecDeque::new(),
        }
    }

    /// The budget.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// What it lives on.
    pub fn standing(&self) -> Standing {
        match (&self.silence, self.first_grant) {
            (Some(silence), _) if self.is_missed(silence) => Standing::Alone,
            (_, None) => Standing::Stranger,
            (_, Some(_)) => Standing::Leased,
        }
    }

    /// Nanoseconds since it was last granted anything; `None`: it never was.
    pub fn age(&self) -> Option<u64> {
        Some(self.time.now.saturating_sub(self.last_grant?))
    }

    /// Whether it wants to ask now. Grants itself what has come if nobody answers.
    pub fn look(&mut self, now: u64) -> bool {
        let now = self.time.read(now);
        self.look_after_itself(now);
        self.open.is_none() && self.asks_at().is_some_and(|at| at <= now)
    }

    /// Nanoseconds until it is to look again, as of when it last looked; `None`: when the alarm of its purse is raised.
    pub fn rest(&self) -> Option<u64> {
        let alone = self.silence.as_ref().map(|silence| {
            let missed = silence.since.saturating_add(self.grace());
            missed.max(self.time.now.saturating_add(LEAST_GAP))
        });
        let asks = if self.open.is_some() { None } else { self.asks_at() };
        let next = alone.into_iter().chain(asks).min()?;
        Some(next.saturating_sub(self.time.now))
    }

    /// What to ask. The next regular ask is in one interval, a tenth more or less by `jitter`, which is uniform in 0 to
    /// 255.
    pub fn ask(&mut self, now: u64, jitter: u8) -> Ask {
        let now = self.time.read(now);
        self.estimate(now);
        let target = self.target();
        let held = self.purse.tokens();
        let surplus = self.purse.take_up_to(held.saturating_sub(signed(target)).max(0).unsigned_abs());
        self.put = self.put.saturating_sub(signed(surplus));
        let back = signed(surplus).saturating_sub(signed(std::mem::take(&mut self.owed)));
        let want = signed(target).saturating_sub(held).max(0).unsigned_abs();
        self.open = Some(Open { back, want });
        self.last_ask = now;
        self.next_ask = now.saturating_add(self.pause(jitter));
        if self.silence.is_none() {
            self.silence = Some(Silence { since: now, pace: self.own_pace(now), come: 0 });
        }
        self.purse.quiet(self.low(target));
        Ask { back, want }
    }

    /// The answer.
    pub fn granted(&mut self, now: u64, grant: Grant) {
        let now = self.time.read(now);
        let Some(Open { back, want }) = self.open.take() else { return };
        self.put_in(grant.tokens);
        self.silence = None;
        self.is_scarce = grant.tokens < want || grant.left < self.terms.depth() / 8;
        self.first_grant.get_or_insert(now);
        self.last_grant = Some(now);
        self.remember(now, signed(grant.tokens).saturating_sub(back));
        // While there is enough, more comes with the next answer.
        let Pace { rate, per, .. } = self.terms.pace;
        let (tokens, nanos) = if self.is_scarce { self.own_pace(now) } else { (rate, per) };
        self.purse.comes_at(tokens, nanos);
        self.purse.left_elsewhere(grant.left);
    }

    /// There is somebody to ask: it does so at once, if it could not before.
    pub fn hurry(&mut self) {
        if self.silence.is_some() {
            self.next_ask = self.next_ask.min(self.time.now);
        }
    }

    /// It has not been sent.
    pub fn unsent(&mut self) {
        let Some(Open { back, .. }) = self.open.take() else { return };
        self.put_in(back.max(0).unsigned_abs());
        self.owe(back.min(0).unsigned_abs());
    }

    /// It has been sent, and there will be no answer: what was given back is gone, and what was granted too. What it
    /// granted itself is told again, perhaps: the fleet grants too little for a moment rather than too much.
    pub fn unanswered(&mut self) {
        let Some(Open { back, .. }) = self.open.take() else { return };
        self.owe(back.min(0).unsigned_abs());
    }

    /// When to ask; `None`: when the alarm is raised.
    fn asks_at(&self) -> Option<u64> {
        if self.purse.is_low() {
            // While there is less than is wanted everybody asks less often: then there is something for everybody.
            let gap = if self.is_scarce { self.terms.gap() } else { LEAST_GAP };
            let early = self.last_ask.saturating_add(gap).min(self.next_ask);
            return Some(if self.first_grant.is_none() { self.next_ask } else { early });
        }
        let held = self.purse.tokens();
        let is_content = held == signed(self.terms.reserve()) && self.owed == 0 && self.silence.is_none();
        (!is_content || self.demand > 0 || self.taken() != self.seen.0).then_some(self.next_ask)
    }

    /// Until the next regular ask. Who wants nothing but its reserve, and did not get it, does not ask much more often
    /// than a token comes.
    fn pause(&self, jitter: u8) -> u64 {
        let interval = if self.is_scarce { self.terms.interval / 2 } else { self.terms.interval };
        let token = self.terms.pace.per / self.terms.pace.rate.max(1);
        let is_patient = self.demand == 0 && self.is_scarce && self.first_grant.is_some();
        let base = if is_patient { token.clamp(interval, interval.max(LONGEST_PAUSE)) } else { interval };
        (base - base / 10).saturating_add(base / 10 / 128 * u64::from(jitter))
    }

    /// Grants itself what has come since nobody answers.
    fn look_after_itself(&mut self, now: u64) {
        let Some(silence) = self.silence.filter(|silence| self.is_missed(silence)) else { return };
        let (tokens, nanos) = silence.pace;
        let comes_in = |time: u64| narrowed(u128::from(tokens) * u128::from(time) / u128::from(nanos.max(1)));
        let come = comes_in(now.saturating_sub(silence.since));
        self.silence = Some(Silence { come, ..silence });
        // What nobody wants is not saved: it would be a burst of each sidecar's own.
        let most = comes_in(self.terms.interval).saturating_add(self.terms.reserve());
        let room = signed(most).saturating_sub(self.purse.tokens()).max(0).unsigned_abs();
        let granted = come.saturating_sub(silence.come).min(room);
        self.put_in(granted);
        self.owe(granted);
        self.purse.comes_at(tokens, nanos);
        self.purse.left_elsewhere(0);
    }

    /// How long an answer may take before it is missed.
    fn grace(&self) -> u64 {
        self.terms.interval / 2
    }

    fn is_missed(&self, silence: &Silence) -> bool {
        self.time.now.saturating_sub(silence.since) >= self.grace()
    }

    /// What has been taken or refused so far.
    fn taken(&self) -> u64 {
        let spent = self.put.saturating_sub(self.purse.tokens()).max(0).unsigned_abs();
        spent.saturating_add(self.purse.refused())
    }

    /// Estimates what clients want: more at once, less by half in each interval.
    fn estimate(&mut self, now: u64) {
        let (before, at) = self.seen;
        let taken = self.taken().max(before);
        let elapsed = now.saturating_sub(at);
        let span = elapsed.max(self.terms.interval / 2).max(1);
        let wanted =
            narrowed(u128::from(taken - before) * u128::from(self.terms.interval) / u128::from(span));
        let less = self.demand.saturating_sub(wanted);
        let faded = u128::from(less) * u128::from(elapsed.min(self.terms.interval));
        let faded = narrowed(faded.div_ceil(2 * u128::from(self.terms.interval.max(1))));
        // Where there is less than is wanted, nobody keeps what others could use.
        self.demand = if less == 0 || self.is_scarce { wanted } else { self.demand - faded.min(less) };
        self.seen = (taken, now);
    }

    /// What it wants to hold.
    fn target(&self) -> u64 {
        let most = self.terms.depth().saturating_add(self.terms.most_debt());
        let wanted = self.demand.saturating_add(self.demand / 8).min(most);
        if self.is_scarce { wanted.div_ceil(2).max(1) } else { wanted.saturating_add(self.terms.reserve()) }
    }

    /// With less than this it asks out of turn: with anything less than its reserve if it was idle, with a quarter left
    /// else.
    fn low(&self, target: u64) -> u64 {
        (target / 4).max(self.terms.reserve().min(target))
    }

    fn put_in(&mut self, tokens: u64) {
        self.put = self.put.saturating_add(signed(tokens));
        self.purse.put(tokens);
    }

    fn owe(&mut self, tokens: u64) {
        self.owed = self.owed.saturating_add(tokens).min(self.terms.most_debt().max(1));
    }

    /// What it was granted on average, as tokens in nanoseconds: not more than the whole budget, nor less than
    /// [`LEAST_PART`] of it; before the first answer [`STRANGERS_PART`].
    fn own_pace(&self, now: u64) -> (u64, u64) {
        let Pace { rate, per, .. } = self.terms.pace;
        let Some(first) = self.first_grant else { return (rate, per.saturating_mul(STRANGERS_PART)) };
        let since = first.max(self.forgotten(now));
        let span = now.saturating_sub(since).max(self.terms.interval).max(1);
        let remembered = self.lately.iter().filter(|(at, _)| *at >= since);
        let sum = remembered.fold(0, |sum: i64, (_, tokens)| sum.saturating_add(*tokens));
        let granted = u128::from(sum.max(0).unsigned_abs());
        let (part, whole) = (granted * u128::from(per), u128::from(rate) * u128::from(span));
        if part >= whole {
            (rate, per)
        } else if part.saturating_mul(u128::from(LEAST_PART)) <= whole {
            (rate, per.saturating_mul(LEAST_PART))
        } else {
            (narrowed(granted), span)
        }
    }

    fn remember(&mut self, now: u64, tokens: i64) {
        let from = self.forgotten(now);
        while self.lately.front().is_some_and(|(at, _)| *at < from) {
            self.lately.pop_front();
        }
        let is_same = |at: u64| now.saturating_sub(at) < self.terms.interval / 4;
        match self.lately.back_mut().filter(|(at, _)| is_same(*at)) {
            Some((_, sum)) => *sum = sum.saturating_add(tokens),
            None => self.lately.push_back((now, tokens)),
        }
    }

    /// What was before that is not remembered.
    fn forgotten(&self, now: u64) -> u64 {
        now.saturating_sub(self.terms.interval.saturating_mul(REMEMBERED))
    }
}

fn narrowed(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
