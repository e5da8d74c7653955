//! One run of the oracle: epochs of drawn commands, and what to print when the sides differ.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::chance::is_unfit;
use super::compare::are_alike;
use super::exceptions::Exceptions;
use super::generate::{Case, Generator};
use super::grammar::Grammar;
use super::place::Place;
use super::sides::{self, Side, Snapshot};
use super::slots;
use crate::wire::{NoFrame, show};

/// Commands between two loads of the data: long enough for states that nobody thought of, short enough to
/// replay a failure many times.
const EPOCH: u64 = 500;

/// A run ends early after so many differences: more of them tell nothing new.
const ENOUGH: usize = 12;

/// Differences of one command that are printed in full.
const PER_COMMAND: usize = 2;

/// Whether somebody else's data lies beside the tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bystander {
    /// The server on the right holds nothing else.
    Nobody,
    /// Tenant `globex` holds keys of the same names, and nobody may touch them.
    Globex,
    /// Another run works on the server on the right at the same time, as another tenant.
    AtWork,
}

/// Two sides, and what has been sent to both since the data was loaded.
pub(super) struct Run {
    generator: Generator,
    exceptions: Exceptions,
    place: Place,
    seed: u64,
    left: Side,
    right: Side,
    bystander: Bystander,
    untouched: Snapshot,
    history: Vec<Case>,
    drawn: BTreeMap<String, usize>,
    succeeded: BTreeMap<String, usize>,
    reports: Vec<String>,
    reported: BTreeMap<String, usize>,
}

type Answer = Result<Vec<u8>, NoFrame>;

impl Run {
    pub(super) fn new(left: Side, right: Side, place: Place, bystander: Bystander, seed: u64) -> Self {
        Self {
            generator: Generator::new(Grammar::of(place), seed),
            exceptions: Exceptions::of(place),
            place,
            seed,
            left,
            right,
            bystander,
            untouched: Snapshot::new(),
            history: Vec::new(),
            drawn: BTreeMap::new(),
            succeeded: BTreeMap::new(),
            reports: Vec::new(),
            reported: BTreeMap::new(),
        }
    }

    /// Draws and compares; panics with a report if anything differed.
    pub(super) fn draw(mut self, cases: u64) {
        println!("oracle: TENANTRY_ORACLE_SEED={} TENANTRY_ORACLE_CASES={cases}", self.seed);
        self.begin_epoch();
        self.generator.take_dumps(self.left.store.only());
        for number in 1..=cases {
            let case = self.next_case();
            self.step(case);
            if number % EPOCH == 0 {
                self.end_epoch();
            }
            if self.reports.len() >= ENOUGH {
                break;
            }
        }
        self.end_epoch();
        self.conclude(cases);
    }

    fn next_case(&mut self) -> Case {
        loop {
            let case = self.generator.draw();
            let is_fit = !is_unfit(&case.argv, self.left.store.only());
            if is_fit && !self.exceptions.is_out_of_place(&case.argv) && !self.is_refused(&case) {
                *self.drawn.entry(case.command.clone()).or_default() += 1;
                return case;
            }
        }
    }

    /// Whether a case is refused, as it must be, because its keys lie in several slots. Then it changes nothing,
    /// and so the measure is not asked; otherwise it must say what the other side said.
    fn is_refused(&mut self, case: &Case) -> bool {
        let stem = self.right.stem();
        if self.place != Place::Spread || !slots::is_refused(&case.argv, stem, self.left.store.only()) {
            return false;
        }
        let answer = self.right.answer(case);
        if answer.as_deref() != Ok(slots::CROSSSLOT) {
            let direct = self.left.answer(case);
            let is_error = direct.as_ref().is_ok_and(|answer| answer.starts_with(b"-"));
            if !is_error || direct != answer {
                self.report(case, &Ok(slots::CROSSSLOT.to_vec()), &answer);
            }
        }
        true
    }

    fn step(&mut self, case: Case) {
        let (left, right) = (self.left.answer(&case), self.right.answer(&case));
        if left.as_ref().is_ok_and(|reply| !reply.starts_with(b"-")) {
            *self.succeeded.entry(case.command.clone()).or_default() += 1;
        }
        if agree(&self.exceptions, &case, &left, &right) {
            self.history.push(case);
        } else {
            self.report(&case, &left, &right);
        }
    }

    fn begin_epoch(&mut self) {
        self.history.clear();
        self.left.clear();
        if self.bystander == Bystander::AtWork {
            self.right.clear_own();
        } else {
            self.right.clear();
        }
        let grammar = &self.generator.grammar;
        self.left.load(grammar);
        self.right.load(grammar);
        if self.bystander == Bystander::Globex {
            sides::load_look_alikes(&mut self.right.store, grammar, self.place.globex());
            self.untouched = sides::dump_of(&mut self.right.store, self.place.globex());
        }
    }

    fn end_epoch(&mut self) {
        self.check_bystander();
        let differences = self.stored_differences();
        if !differences.is_empty() {
            let history = std::mem::take(&mut self.history);
            let history = self.shorten(history, None);
            let mut text = String::from("after this history the stored data differs:\n");
            for case in &history {
                writeln!(text, "  {case}").unwrap();
            }
            for line in &differences {
                writeln!(text, "  => {line}").unwrap();
            }
            self.reports.push(text);
        }
        self.begin_epoch();
    }

    fn stored_differences(&mut self) -> Vec<String> {
        sides::differences(&self.left.snapshot(), &self.right.snapshot())
    }

    fn check_bystander(&mut self) {
        if self.bystander != Bystander::Globex {
            return;
        }
        let now = sides::dump_of(&mut self.right.store, self.place.globex());
        for line in sides::differences(&self.untouched, &now) {
            self.reports.push(format!("another tenant's data changed in this epoch: {line}"));
        }
        for key in self.right.store.keys() {
            if !key.starts_with(self.place.acme()) && !key.starts_with(self.place.globex()) {
                self.reports.push(format!("a key without a prefix was written: {}", show(&key)));
            }
        }
    }

    fn report(&mut self, case: &Case, left: &Answer, right: &Answer) {
        let seen = self.reported.entry(case.command.clone()).or_default();
        *seen += 1;
        if *seen <= PER_COMMAND {
            let history = std::mem::take(&mut self.history);
            let history =
                if left.is_ok() && right.is_ok() { self.shorten(history, Some(case)) } else { history };
            let mut text = String::new();
            for case in &history {
                writeln!(text, "  {case}").unwrap();
            }
            let protocol = if case.is_resp3 { "RESP3" } else { "RESP2" };
            writeln!(text, "  {case}        ({protocol})").unwrap();
            writeln!(text, "  => {}: {}", self.left.name, show_answer(left)).unwrap();
            writeln!(text, "  => {}: {}", self.right.name, show_answer(right)).unwrap();
            self.reports.push(text);
        }
        if left.is_err() || right.is_err() {
            self.left.reconnect();
            self.right.reconnect();
        }
        self.begin_epoch();
    }

    /// Leaves out pieces of the history, large ones first, as long as the answers to `last`, or without one
    /// the stored data, still differ.
    fn shorten(&mut self, mut history: Vec<Case>, last: Option<&Case>) -> Vec<Case> {
        let mut piece = history.len();
        while piece > 0 {
            let mut start = 0;
            while start < history.len() {
                let mut shorter = history.clone();
                drop(shorter.drain(start..(start + piece).min(history.len())));
                if self.still_differs(&shorter, last) {
                    history = shorter;
                } else {
                    start += piece;
                }
            }
            piece /= 2;
        }
        history
    }

    fn still_differs(&mut self, history: &[Case], last: Option<&Case>) -> bool {
        self.begin_epoch();
        for case in history {
            if self.left.answer(case).is_err() || self.right.answer(case).is_err() {
                self.left.reconnect();
                self.right.reconnect();
                return false;
            }
        }
        let Some(last) = last else { return !self.stored_differences().is_empty() };
        let (left, right) = (self.left.answer(last), self.right.answer(last));
        !agree(&self.exceptions, last, &left, &right)
    }

    fn conclude(self, cases: u64) {
        assert!(self.reports.is_empty(), "{}", self.summary());
        // Most draws with several keys are refused where keys are spread.
        let part = if self.place == Place::Spread { 16 } else { 4 };
        let expected = cases / part / u64::try_from(self.generator.grammar.commands.len()).unwrap();
        let expected = usize::try_from(expected).unwrap();
        let seldom: Vec<_> = self
            .generator
            .grammar
            .commands
            .keys()
            .filter(|command| self.drawn.get(*command).copied().unwrap_or(0) < expected)
            .collect();
        assert!(seldom.is_empty(), "drawn fewer than {expected} times: {seldom:?}");
        let in_vain: Vec<_> =
            self.drawn.iter().filter(|(command, drawn)| self.is_in_vain(command, **drawn)).collect();
        assert!(in_vain.is_empty(), "the grammar of these almost only makes errors: {in_vain:?}");
    }

    /// Whether so many draws of a command were refused that the rest proves little.
    fn is_in_vain(&self, command: &str, drawn: usize) -> bool {
        /// Fewer draws than these say nothing about the grammar.
        const TELLING: usize = 50;
        /// What a server without a cluster, or any server, always refuses.
        const ALWAYS_REFUSED: [&str; 2] = ["CLUSTER HELP", "unknown"];
        let succeeded = self.succeeded.get(command).copied().unwrap_or(0);
        drawn >= TELLING && succeeded < drawn / 12 && !ALWAYS_REFUSED.contains(&command)
    }

    fn summary(&self) -> String {
        let mut text = format!(
            "{} and {} differ; TENANTRY_ORACLE_SEED={} repeats this run\ndifferences by command: {:?}\n\n",
            self.left.name, self.right.name, self.seed, self.reported
        );
        for report in &self.reports {
            writeln!(text, "{report}").unwrap();
        }
        text
    }
}

fn agree(exceptions: &Exceptions, case: &Case, left: &Answer, right: &Answer) -> bool {
    match (left, right) {
        (Ok(left), Ok(right)) => are_alike(exceptions.likeness_of(&case.command), left, right),
        _ => false,
    }
}

fn show_answer(answer: &Answer) -> String {
    match answer {
        Ok(bytes) => show(bytes),
        Err(none) => none.to_string(),
    }
}
