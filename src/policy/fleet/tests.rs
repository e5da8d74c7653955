#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a simulation of small numbers"
)]

use std::ops::Range;

use super::*;
use proptest::prelude::*;

const MILLI: u64 = 1_000_000;
const INTERVAL: u64 = 100 * MILLI;
/// Milliseconds after which the shell gives an ask up.
const GIVEN_UP: u64 = 200;

/// A jitter that makes intervals neither longer nor shorter.
const EVEN: u8 = 128;

fn slice(rate: u64, burst: u64) -> (Slice, Arc<Purse>) {
    let pace = Pace::per_second(rate, burst);
    let purse = Arc::new(Purse::new(pace));
    (Slice::new(Terms { pace, interval: INTERVAL }, Arc::clone(&purse), 0), purse)
}

fn take(purse: &Purse, count: u64) -> u64 {
    (0..count).filter(|_| purse.take(1).is_ok()).count() as u64
}

/// Asks at `now` and is granted all that it wants.
fn ask_and_get(slice: &mut Slice, now: u64) -> Ask {
    assert!(slice.look(now * MILLI), "asks at {now} ms");
    let ask = slice.ask(now * MILLI, EVEN);
    slice.granted(now * MILLI, Grant { tokens: ask.want, left: 1000 });
    ask
}

#[test]
fn an_idle_sidecar_holds_its_reserve_and_asks_nothing() {
    let (mut slice, purse) = slice(1000, 300);
    assert_eq!(Standing::Stranger, slice.standing());
    assert_eq!(Ask { back: 0, want: 3 }, ask_and_get(&mut slice, 0));
    assert_eq!((Standing::Leased, 3, None), (slice.standing(), purse.tokens(), slice.rest()));
    assert!(!slice.look(3_600_000 * MILLI));
}

#[test]
fn who_runs_dry_asks_early_but_not_more_often_than_every_ten_milliseconds() {
    let (mut slice, purse) = slice(1000, 300);
    ask_and_get(&mut slice, 0);
    assert_eq!(3, take(&purse, 5));
    assert_eq!((false, Some(8 * MILLI)), (slice.look(2 * MILLI), slice.rest()));
    // 5 in 10 ms may be the first of 10 in an interval; an eighth more, and the reserve.
    assert_eq!(Ask { back: 0, want: 14 }, ask_and_get(&mut slice, 10));
    assert_eq!(14, take(&purse, 20));
    assert!(!slice.look(19 * MILLI) && slice.look(20 * MILLI));
}

#[test]
fn what_nobody_wants_any_more_is_given_back() {
    let (mut slice, purse) = slice(1000, 300);
    ask_and_get(&mut slice, 0);
    take(&purse, 100);
    let held = ask_and_get(&mut slice, 100).want;
    assert_eq!(115, held);
    let back: Vec<i64> = (2..9).map(|interval| ask_and_get(&mut slice, 100 * interval).back).collect();
    assert_eq!(vec![56, 28, 15, 7, 3, 2, 1], back);
    assert_eq!(3, purse.tokens());
}

#[test]
fn where_there_is_less_than_is_wanted_little_is_held_and_asked_for_more_often() {
    let (mut slice, purse) = slice(1000, 300);
    ask_and_get(&mut slice, 0);
    take(&purse, 100);
    assert!(slice.look(100 * MILLI));
    slice.ask(100 * MILLI, EVEN);
    slice.granted(100 * MILLI, Grant { tokens: 10, left: 0 });
    take(&purse, 50);
    assert!(!slice.look(149 * MILLI) && slice.look(150 * MILLI));
    // 100 in an interval and an eighth more; half of that.
    assert_eq!(Ask { back: 0, want: 56 }, slice.ask(150 * MILLI, EVEN));
}

#[test]
fn before_the_first_answer_a_tenth_of_the_rate_is_granted() {
    let (mut slice, purse) = slice(1000, 100);
    assert!(slice.look(0));
    slice.ask(0, EVEN);
    assert_eq!((false, Standing::Stranger, 0), (slice.look(49 * MILLI), slice.standing(), purse.tokens()));
    assert_eq!((false, Standing::Alone, 5), (slice.look(50 * MILLI), slice.standing(), purse.tokens()));
    slice.unanswered();
    // What nobody takes is not saved beyond an interval.
    slice.look(10_000 * MILLI);
    assert_eq!(11, purse.tokens());
    // It owes the 11 that it granted itself, and needs but one of them.
    assert_eq!(Ask { back: -1, want: 0 }, slice.ask(10_000 * MILLI, EVEN));
}

#[test]
fn while_alone_it_lives_on_the_mean_of_its_last_slices() {
    let (mut slice, purse) = slice(1000, 100);
    for interval in 0..40 {
        ask_and_get(&mut slice, 100 * interval);
        assert_eq!(if interval == 0 { 1 } else { 30 }, take(&purse, 30));
    }
    assert!(slice.look(4_000 * MILLI));
    slice.ask(4_000 * MILLI, EVEN);
    slice.unsent();
    let mut granted = 0;
    for now in 4_000..5_000 {
        slice.look(now * MILLI);
        granted += take(&purse, 5);
    }
    // 30 of each 100 ms, and what was held.
    assert!((300..=340).contains(&granted), "{granted}");
}

#[test]
fn an_answer_that_is_late_is_taken_and_what_was_granted_meanwhile_given_for_it() {
    let (mut slice, purse) = slice(1000, 100);
    slice.look(0);
    slice.ask(0, EVEN);
    slice.look(80 * MILLI);
    assert_eq!((8, Standing::Alone), (purse.tokens(), slice.standing()));
    slice.granted(90 * MILLI, Grant { tokens: 1, left: 99 });
    assert_eq!((9, Standing::Leased), (purse.tokens(), slice.standing()));
    assert!(slice.look(100 * MILLI));
    // 8 that nobody needed are given back, and 8 are owed.
    assert_eq!(Ask { back: 0, want: 0 }, slice.ask(100 * MILLI, EVEN));
    assert_eq!(1, purse.tokens());
}

#[test]
fn what_was_not_sent_is_not_given_back() {
    let (mut slice, purse) = slice(1000, 100);
    ask_and_get(&mut slice, 0);
    purse.put(10);
    assert!(slice.look(100 * MILLI));
    assert_eq!(10, slice.ask(100 * MILLI, EVEN).back);
    slice.unsent();
    assert_eq!(11, purse.tokens());
}

#[test]
fn a_clock_that_is_set_back_neither_grants_nor_stops_anything() {
    let (mut slice, purse) = slice(1000, 100);
    let start = 3_600_000;
    ask_and_get(&mut slice, start);
    take(&purse, 1);
    assert!(!slice.look(0), "an hour back");
    assert!(slice.look(10 * MILLI));
    slice.ask(10 * MILLI, EVEN);
    slice.look(0);
    assert_eq!(0, purse.tokens());
    slice.look(50 * MILLI);
    assert_eq!(Standing::Alone, slice.standing());
}

/// The bucket, as the script keeps it.
struct Bucket {
    level: f64,
    at: u64,
}

impl Bucket {
    fn answer(&mut self, now: u64, terms: Terms, ask: Ask) -> Grant {
        let Pace { rate, per, .. } = terms.pace;
        let depth = terms.depth() as f64;
        let come = (now - self.at) as f64 * rate as f64 / per as f64;
        self.at = now;
        self.level = (self.level + come).min(depth);
        self.level = (self.level + ask.back as f64).clamp(-(terms.most_debt() as f64), depth);
        let tokens = self.level.min(ask.want as f64).floor().max(0.0);
        self.level -= tokens;
        Grant { tokens: tokens as u64, left: self.level.max(0.0) as u64 }
    }
}

/// Numbers of chance that are the same for the same seed.
struct Chance(u64);

impl Chance {
    /// Less than `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// An ask under way: when it reaches the bucket, and when its answer comes back, if it does.
enum Way {
    There { at: u64, ask: Ask, sent: u64 },
    Back { at: u64, grant: Grant },
    Lost { sent: u64 },
}

struct Sidecar {
    slice: Slice,
    purse: Arc<Purse>,
    way: Option<Way>,
    /// Tokens its clients want in a second.
    load: f64,
    wanted: f64,
}

/// What happens in a simulation.
#[derive(Clone, Debug)]
struct Play {
    seed: u64,
    sidecars: usize,
    rate: u64,
    burst: u64,
    /// All clients' load as a part of the budget, in hundredths, for each phase of half a second.
    loads: Vec<u64>,
    /// Whether each sidecar has the same part of the load all the time.
    is_even: bool,
    /// Of a hundred sidecars, so many are replaced at the beginning of each phase.
    churn: u64,
    /// Of a thousand asks, so many are not answered.
    lost: u64,
    /// Phases in which nobody reaches the bucket.
    away: Range<usize>,
}

const PHASE: u64 = 500;

/// What was granted and wanted in each millisecond.
struct Ledger {
    granted: Vec<u64>,
    wanted: Vec<f64>,
}

impl Ledger {
    /// What was granted in the most generous second from `from` on.
    fn most(&self, from: u64) -> u64 {
        self.seconds(from).map(|second| self.granted_in(second)).max().unwrap_or(0)
    }

    /// What was granted in the meanest second from `from` on, of those in which more than `rate` was wanted all the
    /// time, and for half a second before.
    fn least(&self, rate: u64, from: u64) -> Option<u64> {
        let is_busy = |second: &Range<usize>| {
            let wanted = &self.wanted[second.start - 500..second.end];
            wanted.iter().all(|wanted| wanted * 1000.0 >= rate as f64)
        };
        self.seconds(from.max(1000)).filter(is_busy).map(|second| self.granted_in(second)).min()
    }

    fn seconds(&self, from: u64) -> impl Iterator<Item = Range<usize>> {
        let last = self.granted.len().saturating_sub(999);
        (from as usize..last).step_by(10).map(|from| from..from + 1000)
    }

    fn granted_in(&self, span: Range<usize>) -> u64 {
        self.granted[span].iter().sum()
    }
}

impl Play {
    fn terms(&self) -> Terms {
        Terms { pace: Pace::per_second(self.rate, self.burst), interval: INTERVAL }
    }

    fn sidecar(&self, now: u64) -> Sidecar {
        let purse = Arc::new(Purse::new(self.terms().pace));
        let slice = Slice::new(self.terms(), Arc::clone(&purse), now * MILLI);
        Sidecar { slice, purse, way: None, load: 0.0, wanted: 0.0 }
    }

    /// Shares the phase's load out, unevenly.
    fn share(&self, load: u64, team: &mut [Sidecar], chance: &mut Chance) {
        let of_chance = &mut Chance(self.seed | 1);
        let chance = if self.is_even { of_chance } else { chance };
        let parts: Vec<u64> = team.iter().map(|_| chance.below(10).pow(2) + 1).collect();
        let sum: u64 = parts.iter().sum();
        for (sidecar, part) in team.iter_mut().zip(parts) {
            sidecar.load = (self.rate * load) as f64 / 100.0 * part as f64 / sum as f64;
        }
    }

    fn run(&self) -> Ledger {
        let mut chance = Chance(self.seed | 1);
        let mut bucket = Bucket { level: self.terms().depth() as f64, at: 0 };
        let mut team: Vec<Sidecar> = (0..self.sidecars).map(|_| self.sidecar(0)).collect();
        let mut ledger = Ledger { granted: Vec::new(), wanted: Vec::new() };
        for now in 0..PHASE * self.loads.len() as u64 {
            let phase = (now / PHASE) as usize;
            if now % PHASE == 0 {
                for sidecar in &mut team {
                    if now > 0 && chance.below(100) < self.churn {
                        *sidecar = self.sidecar(now);
                    }
                }
                self.share(self.loads[phase], &mut team, &mut chance);
            }
            let (mut granted, mut wanted) = (0, 0.0);
            for sidecar in &mut team {
                granted += sidecar.serve();
                wanted += sidecar.load / 1000.0;
                let is_away = self.away.contains(&phase) || chance.below(1000) < self.lost;
                sidecar.talk(now, &mut bucket, is_away, &mut chance);
            }
            ledger.granted.push(granted);
            ledger.wanted.push(wanted);
        }
        ledger
    }
}

impl Sidecar {
    /// One millisecond of clients.
    fn serve(&mut self) -> u64 {
        self.wanted += self.load / 1000.0;
        let mut granted = 0;
        while self.wanted >= 1.0 {
            self.wanted -= 1.0;
            granted += u64::from(self.purse.take(1).is_ok());
        }
        granted
    }

    fn talk(&mut self, now: u64, bucket: &mut Bucket, is_away: bool, chance: &mut Chance) {
        self.way = match self.way.take() {
            Some(Way::There { at, sent, .. }) if at <= now && is_away => Some(Way::Lost { sent }),
            Some(Way::There { at, ask, .. }) if at <= now => {
                let grant = bucket.answer(now * MILLI, self.slice.terms(), ask);
                Some(Way::Back { at: now + chance.below(3), grant })
            }
            Some(Way::Back { at, grant }) if at <= now => {
                self.slice.granted(now * MILLI, grant);
                None
            }
            Some(Way::Lost { sent }) if sent + GIVEN_UP <= now => {
                self.slice.unanswered();
                None
            }
            way => way,
        };
        if self.slice.look(now * MILLI) && self.way.is_none() {
            let ask = self.slice.ask(now * MILLI, chance.below(256) as u8);
            self.way = Some(Way::There { at: now + chance.below(3), ask, sent: now });
        }
    }
}

/// Loads in hundredths of the budget, half a second each.
fn plays(loads: impl Strategy<Value = Vec<u64>>) -> impl Strategy<Value = Play> {
    let scale = (any::<u64>(), 1_usize..=20, 200_u64..5_000, 1_u64..=100);
    (scale, loads).prop_map(|((seed, sidecars, rate, part), loads)| Play {
        seed,
        sidecars,
        rate,
        burst: (rate * part / 100).max(1),
        loads,
        is_even: false,
        churn: 0,
        lost: 0,
        away: 0..0,
    })
}

fn any_loads() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(0_u64..500, 8..20)
}

impl Play {
    /// What the fleet may grant in a second: the budget, what is in reserve everywhere, and what comes in an interval.
    fn most(&self) -> u64 {
        let terms = self.terms();
        self.rate + terms.depth() + self.sidecars as u64 * terms.reserve() + self.interval()
    }

    /// What comes in an interval, and one for all that is rounded.
    fn interval(&self) -> u64 {
        self.rate / 10 + 1
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn however_load_moves_a_second_is_right_within_an_interval(play in plays(any_loads())) {
        let ledger = play.run();
        prop_assert!(ledger.most(0) <= play.most(), "{} of {}", ledger.most(0), play.most());
        let least = ledger.least(play.rate, 0).unwrap_or(u64::MAX);
        prop_assert!(least >= play.rate - play.interval(), "{least} of {}", play.rate);
    }

    #[test]
    fn under_a_load_that_stays_each_second_is_right_within_a_twentieth(
        play in plays((105_u64..500).prop_map(|load| vec![load; 12])),
    ) {
        let play = Play { is_even: true, ..play };
        let ledger = play.run();
        // The burst has been taken by then.
        let (least, most) = (ledger.least(play.rate, 3000), ledger.most(3000));
        let twentieth = play.rate / 20 + 1;
        prop_assert!(least >= Some(play.rate - twentieth), "{least:?} of {}", play.rate);
        prop_assert!(play.burst > play.rate / 20 || most <= play.rate + twentieth, "{most} of {}", play.rate);
    }

    #[test]
    fn sidecars_that_come_and_go_take_nothing_with_them_but_what_they_hold(
        play in plays(any_loads()),
        churn in 1_u64..40,
    ) {
        let play = Play { churn, ..play };
        let ledger = play.run();
        prop_assert!(ledger.most(0) <= play.most(), "{} of {}", ledger.most(0), play.most());
        let least = ledger.least(play.rate, 0).unwrap_or(u64::MAX);
        prop_assert!(least >= play.rate - 2 * play.interval(), "{least} of {}", play.rate);
    }

    /// Each answer lost is an ask for which nobody is charged until the next one: seconds are less exact, no more.
    #[test]
    fn lost_answers_cost_exactness_and_nothing_else(play in plays(any_loads()), lost in 1_u64..20) {
        let play = Play { lost, ..play };
        let ledger = play.run();
        let most = play.most() + 4 * play.interval();
        prop_assert!(ledger.most(0) <= most, "{} of {most}", ledger.most(0));
    }

    #[test]
    fn while_nobody_answers_the_fleet_grants_what_it_did_before(
        play in plays(any_loads()),
        from in 2_usize..8,
        churn in 0_u64..20,
    ) {
        let phases = play.loads.len();
        let play = Play { churn, away: from..phases, ..play };
        let ledger = play.run();
        // What was held when the silence began has been taken by then.
        let silent = (from as u64 + 2) * PHASE;
        // Whoever is new grants itself a tenth of the budget, whoever is idle a hundredth.
        let strangers = play.sidecars as u64 * if churn > 0 { play.rate / 10 } else { play.rate / 100 + 1 };
        let most = play.rate + play.terms().depth() + strangers + play.interval();
        prop_assert!(ledger.most(silent) <= most, "{} of {most}", ledger.most(silent));
    }
}
