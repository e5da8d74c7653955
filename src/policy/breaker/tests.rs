use super::*;
use proptest::prelude::*;

const THRESHOLDS: Thresholds = Thresholds {
    consecutive: 3,
    failure_percent: 50,
    slow_percent: 0,
    min_requests: 10,
    window: 10_000,
    open_min: 1_000,
    open_max: 4_000,
    close_after: 2,
    probe_limit: 500,
};

/// One event.
#[derive(Clone, Copy, Debug)]
enum Event {
    Answered(u32),
    Slow(u32),
    Fault,
    /// One that began so many milliseconds ago.
    FaultSince(u64),
    /// So many requests that waited for a second.
    Silence(u32),
    Probe,
    ProbeAnswered,
    ProbeFailed,
}

/// A breaker that is opened as soon as it may be, without jitter, and the probe that is out.
struct Bench {
    breaker: Breaker,
    out: Option<Probe>,
}

impl Bench {
    fn new(thresholds: Thresholds) -> Self {
        Self { breaker: Breaker::new(thresholds), out: None }
    }

    /// What the breaker is after the event.
    fn at(&mut self, now: u64, event: Event) -> Phase {
        let answers = |all, slow| Answers { all, slow, ago: 0 };
        let breaker = &mut self.breaker;
        let evidence = match event {
            Event::Answered(all) => breaker.answered(now, answers(all, 0)),
            Event::Slow(all) => breaker.answered(now, answers(all, all)),
            Event::Fault => breaker.failed(now, Failure::Fault { lasted: 0 }),
            Event::FaultSince(lasted) => breaker.failed(now, Failure::Fault { lasted }),
            Event::Silence(requests) => breaker.failed(now, Failure::Silence { requests, lasted: 1_000 }),
            Event::Probe => {
                self.out = breaker.probe(now, 1.0).or(self.out.take());
                None
            }
            Event::ProbeAnswered => {
                if let Some(probe) = self.out.take() {
                    breaker.probe_answered(now, probe);
                }
                None
            }
            Event::ProbeFailed => {
                if let Some(probe) = self.out.take() {
                    breaker.probe_failed(now, probe, u64::MAX, 1.0);
                }
                None
            }
        };
        if let Some(evidence) = evidence {
            breaker.open(now, evidence, 1.0);
        }
        self.breaker.phase()
    }
}

/// Plays a table of times, events and what the breaker is afterwards.
fn play(thresholds: Thresholds, table: &[(u64, Event, Phase)]) {
    let mut bench = Bench::new(thresholds);
    for (row, (now, event, expected)) in table.iter().enumerate() {
        assert_eq!(*expected, bench.at(*now, *event), "row {row}: {event:?} at {now}");
    }
}

use Event::{Answered as Ok, Fault, FaultSince, Probe as Ask, ProbeAnswered, ProbeFailed, Silence, Slow};
use Phase::{Closed, HalfOpen, Open};

#[test]
fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
    play(
        THRESHOLDS,
        &[
            (0, Fault, Closed),
            (1, Fault, Closed),
            (2, Ok(1), Closed),
            (3, Fault, Closed),
            (4, Fault, Closed),
            (5, Fault, Open),
        ],
    );
}

#[test]
fn what_many_see_at_once_is_one_failure() {
    play(
        THRESHOLDS,
        &[
            (9_000, FaultSince(9_000), Closed),
            (9_000, FaultSince(8_000), Closed),
            (9_001, FaultSince(20), Closed),
            (9_040, FaultSince(30), Closed),
            (9_080, FaultSince(30), Open),
        ],
    );
}

#[test]
fn silence_is_as_many_failures_as_requests_that_wait() {
    play(THRESHOLDS, &[(5_000, Silence(2), Closed), (5_001, Silence(1), Open)]);
    play(THRESHOLDS, &[(5_000, Silence(3), Open)]);
}

#[test]
fn a_silent_connection_to_a_node_that_others_hear_is_one_failure() {
    play(THRESHOLDS, &[(4_600, Ok(1), Closed), (5_000, Silence(100), Closed), (5_001, Silence(100), Closed)]);
    // What was heard when the silence began says nothing.
    play(THRESHOLDS, &[(4_400, Ok(1), Closed), (5_000, Silence(3), Open)]);
}

#[test]
fn the_share_of_failures_opens_it_once_there_are_enough_requests() {
    play(
        Thresholds { consecutive: 0, ..THRESHOLDS },
        &[
            (0, Fault, Closed),
            (1, Fault, Closed),
            (2, Fault, Closed),
            (3, Fault, Closed),
            (4, Ok(5), Closed),
            (5, Fault, Open),
        ],
    );
    // Those of long ago do not count.
    play(
        Thresholds { consecutive: 0, ..THRESHOLDS },
        &[
            (0, Silence(9), Closed),
            (10_000, Fault, Closed),
            (10_001, Silence(8), Closed),
            (10_002, Fault, Open),
        ],
    );
}

#[test]
fn slow_replies_open_it_if_they_are_looked_at() {
    play(THRESHOLDS, &[(0, Slow(1_000), Closed)]);
    let slow = Thresholds { slow_percent: 50, ..THRESHOLDS };
    play(slow, &[(0, Ok(6), Closed), (1, Slow(5), Closed), (2, Slow(1), Open)]);
}

#[test]
fn it_closes_after_so_many_probes_one_after_the_other() {
    play(
        THRESHOLDS,
        &[
            (0, Silence(3), Open),
            (999, Ask, Open),
            (1_000, Ask, HalfOpen),
            (1_001, ProbeAnswered, HalfOpen),
            (1_002, Ask, HalfOpen),
            (1_003, ProbeAnswered, Closed),
        ],
    );
}

#[test]
fn each_failed_probe_doubles_the_open_time_up_to_the_cap() {
    play(
        THRESHOLDS,
        &[
            (0, Silence(3), Open),
            (1_000, Ask, HalfOpen),
            (1_000, ProbeFailed, Open),
            (2_999, Ask, Open),
            (3_000, Ask, HalfOpen),
            (3_000, ProbeFailed, Open),
            (7_000, Ask, HalfOpen),
            (7_000, ProbeFailed, Open),
            (10_999, Ask, Open),
            (11_000, Ask, HalfOpen),
        ],
    );
}

#[test]
fn a_node_that_may_be_asked_again_soon_is_open_for_no_longer() {
    let mut breaker = Breaker::new(THRESHOLDS);
    breaker.open(0, Evidence::Consecutive, 1.0);
    let mut now = 0;
    for (at_most, open_for) in [(1_500, 1_500), (1_500, 1_500), (10, 1_000), (u64::MAX, 2_000)] {
        now += breaker.wait(now).unwrap();
        let probe = breaker.probe(now, 1.0).unwrap();
        assert_eq!(Some(open_for), breaker.probe_failed(now, probe, at_most, 1.0));
    }
}

#[test]
fn open_times_begin_anew_after_it_was_closed_for_as_long() {
    let open_for = |closed_for: u64| {
        let mut breaker = Breaker::new(Thresholds { close_after: 1, ..THRESHOLDS });
        assert_eq!(1_000, breaker.open(0, Evidence::Ratio, 1.0));
        let probe = breaker.probe(1_000, 1.0).unwrap();
        assert_eq!(Answered::Closed, breaker.probe_answered(1_000, probe));
        breaker.open(1_000 + closed_for, Evidence::Ratio, 1.0)
    };
    assert_eq!((2_000, 1_000), (open_for(999), open_for(1_000)));
}

#[test]
fn jitter_takes_up_to_half_of_the_open_time() {
    let open_for = |jitter| Breaker::new(THRESHOLDS).open(0, Evidence::Ratio, jitter);
    assert_eq!([500, 750, 1_000, 1_000], [0.0, 0.5, 1.0, 7.0].map(open_for));
}

#[test]
fn a_probe_that_nobody_hears_of_again_has_failed_and_its_late_answer_does_not_count() {
    let mut breaker = Breaker::new(THRESHOLDS);
    breaker.open(0, Evidence::Consecutive, 1.0);
    let lost = breaker.probe(1_000, 1.0).unwrap();
    assert_eq!((None, Some(500)), (breaker.probe(1_000, 1.0), breaker.wait(1_000)));
    assert_eq!((None, Open), (breaker.probe(1_500, 1.0), breaker.phase()));
    assert_eq!(Some(2_000), breaker.wait(1_500));
    assert_eq!(Answered::TooLate, breaker.probe_answered(1_600, lost));
    assert!(breaker.probe(3_500, 1.0).is_some());
}

#[test]
fn an_answer_from_before_brings_the_first_probe_forward_once() {
    play(
        THRESHOLDS,
        &[
            (0, Silence(3), Open),
            (10, Ok(1), Open),
            (10, Ask, HalfOpen),
            (10, ProbeFailed, Open),
            (11, Ok(1), Open),
            (11, Ask, HalfOpen),
        ],
    );
    // What was opened by a share is not, but for a probe's late answer.
    let by_share = Thresholds { consecutive: 0, min_requests: 1, ..THRESHOLDS };
    let mut breaker = Breaker::new(by_share);
    breaker.open(0, Evidence::Ratio, 1.0);
    breaker.show_life(10);
    assert_eq!(Some(0), breaker.wait(10));
    play(by_share, &[(0, Silence(3), Open), (10, Ok(1), Open), (10, Ask, Open)]);
}

#[test]
fn a_clock_that_goes_back_neither_ends_an_opening_nor_keeps_it() {
    let mut breaker = Breaker::new(THRESHOLDS);
    breaker.open(1_000_000, Evidence::Consecutive, 1.0);
    assert_eq!(Some(1_000), breaker.wait(5));
    assert_eq!(Some(400), breaker.wait(605));
    assert!(breaker.probe(1_005, 1.0).is_some());
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..5_u32).prop_map(Ok),
        (0..5_u32).prop_map(Slow),
        Just(Fault),
        (0..2_000_u64).prop_map(FaultSince),
        (0..4_u32).prop_map(Silence),
        Just(Ask),
        Just(ProbeAnswered),
        Just(ProbeFailed),
    ]
}

/// Mostly forward, sometimes far back.
fn step() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0..1_500_i64, 1 => -100_000..0_i64]
}

fn thresholds() -> impl Strategy<Value = Thresholds> {
    (0..5_u32, 0..=100_u8, 0..=100_u8, 1..20_u32, 1..4_u32).prop_map(
        |(consecutive, failure_percent, slow_percent, min_requests, close_after)| Thresholds {
            consecutive,
            failure_percent,
            slow_percent,
            min_requests,
            close_after,
            ..THRESHOLDS
        },
    )
}

proptest! {
    #[test]
    fn at_most_one_probe_is_out_and_every_opening_ends(
        thresholds in thresholds(),
        events in prop::collection::vec((step(), event(), 0.0..1.0_f64), 0..200),
    ) {
        let mut bench = Bench::new(thresholds);
        let mut now = 1_000_000_u64;
        for (step, event, jitter) in events {
            now = now.saturating_add_signed(step);
            bench.at(now, event);
            if let State::HalfOpen { out: Some(out), .. } = &bench.breaker.state {
                // The one that is out is the only one whose outcome counts, and nobody gets another.
                let number = out.number;
                let is_overdue = bench.breaker.wait(now) == Some(0);
                prop_assert_eq!(None, bench.breaker.probe(now, jitter));
                prop_assert_eq!(Answered::TooLate, bench.breaker.probe_answered(now, Probe(number.wrapping_sub(1))));
                prop_assert_eq!(is_overdue, bench.breaker.phase() == Open);
            }
        }
        // Whatever has happened: who waits as long as he is told, twice at most, may ask.
        let mut waited = 0;
        while let Some(wait) = bench.breaker.wait(now) {
            let longest = thresholds.open_max + thresholds.probe_limit;
            prop_assert!(wait <= longest, "told to wait for {wait} ms");
            now += wait;
            if bench.breaker.probe(now, 0.5).is_some() {
                break;
            }
            waited += 1;
            prop_assert!(waited < 3, "no probe after {waited} waits");
        }
    }

    #[test]
    fn nothing_opens_it_but_the_configured_evidence(
        thresholds in thresholds(),
        events in prop::collection::vec((0..1_500_u64, event()), 0..200),
    ) {
        let mut bench = Bench::new(thresholds);
        let mut now = 0;
        // What a naive reading of the thresholds would have counted at most.
        let (mut failures, mut requests, mut slow) = (0_u32, 0_u32, 0_u32);
        for (step, event) in events {
            now += step;
            let was_closed = bench.breaker.phase() == Closed;
            match event {
                Ok(all) => requests += all,
                Slow(all) => (requests, slow) = (requests + all, slow + all),
                Fault | FaultSince(_) => (failures, requests) = (failures + 1, requests + 1),
                Silence(all) => (failures, requests) = (failures + all.max(1), requests + all.max(1)),
                Ask | ProbeAnswered | ProbeFailed => {}
            }
            let is_closed = bench.at(now, event) == Closed;
            if was_closed && !is_closed {
                let by_row = thresholds.consecutive > 0 && failures >= thresholds.consecutive;
                let is_enough = requests >= thresholds.min_requests;
                let by_failures = thresholds.failure_percent > 0 && failures > 0 && is_enough;
                let by_slow = thresholds.slow_percent > 0 && slow > 0 && is_enough;
                prop_assert!(by_row || by_failures || by_slow, "{event:?} at {now}");
            }
            if !is_closed {
                (failures, requests, slow) = (0, 0, 0);
            }
        }
    }
}
