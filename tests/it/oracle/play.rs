//! Plays sessions to two sides and compares everything that every connection receives.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::time::Duration;

use super::chance::{depends_on_chance, depends_on_data};
use super::coverage;
use super::ear::{Answer, Apart, Ear, first_difference, set_apart, untangled};
use super::exceptions::{Exceptions, Likeness};
use super::neighbour::Neighbour;
use super::place::Place;
use super::scenes::Playwright;
use super::script::{Session, Step, name_of};
use super::slots::Bond;
use super::stage::{Cast, Heard, Stage, Stored};
use crate::wire::show;

/// A run ends early after so many differences: more of them tell nothing new.
const ENOUGH: usize = 12;

/// Sessions between two looks at another tenant's data.
const EPOCH: u64 = 100;

/// How long a frame may be awaited. Generous: the machine may be busy with other tests.
const LONG_PATIENCE: Duration = Duration::from_secs(10);

/// How long a frame may be awaited while a failure is made shorter: it is known then that something is wrong.
const SHORT_PATIENCE: Duration = Duration::from_millis(500);

/// What the two sides of a session do not have in common.
struct Difference {
    place: String,
    left: String,
    right: String,
}

fn different<T: PartialEq + Debug>(place: &str, left: &T, right: &T) -> Option<Difference> {
    let is_different = left != right;
    is_different.then(|| Difference {
        place: place.to_owned(),
        left: format!("{left:?}"),
        right: format!("{right:?}"),
    })
}

/// Two sides and a writer of sessions.
pub(super) struct Play {
    playwright: Playwright,
    exceptions: Exceptions,
    place: Place,
    seed: u64,
    left: Stage,
    right: Stage,
    neighbour: Option<Neighbour>,
    /// Commands that were sent, and how many of each were not answered with an error.
    sent: BTreeMap<String, usize>,
    succeeded: BTreeMap<String, usize>,
    reports: Vec<String>,
    reported: BTreeSet<String>,
}

/// Both casts of the session that is played.
struct Performance {
    left: Cast,
    right: Cast,
    ears: Vec<Ear>,
    bonds: Vec<Bond>,
    patience: Duration,
    pause: Pause,
    apart: Apart,
}

/// What `CLIENT PAUSE` has done. In which order several connections go on after it is not promised, so only one
/// of them speaks in the meantime.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pause {
    None,
    Begun,
    With(usize),
}

impl Pause {
    fn lets_speak(&mut self, step: &Step) -> bool {
        let (begins, ends) = (step.says("CLIENT PAUSE"), step.says("CLIENT UNPAUSE"));
        let next = match *self {
            _ if ends => Self::None,
            Self::None if begins => Self::Begun,
            Self::None => Self::None,
            Self::Begun => Self::With(step.speaker),
            Self::With(only) if only == step.speaker => Self::With(only),
            Self::With(_) => return false,
        };
        *self = next;
        true
    }
}

impl Play {
    pub(super) fn new(
        left: Stage,
        right: Stage,
        place: Place,
        neighbour: Option<Neighbour>,
        seed: u64,
    ) -> Self {
        let mut play = Self {
            playwright: Playwright::new(place, seed),
            exceptions: Exceptions::of(place),
            place,
            seed,
            left,
            right,
            neighbour,
            sent: BTreeMap::new(),
            succeeded: BTreeMap::new(),
            reports: Vec::new(),
            reported: BTreeSet::new(),
        };
        let generator = &mut play.playwright.generator;
        play.left.learn_data(&generator.grammar);
        play.right.learn_data(&generator.grammar);
        play.left.prepare(false);
        generator.take_dumps(play.left.store.only());
        play
    }

    /// Plays so many sessions; panics with a report if anything differed.
    pub(super) fn run(mut self, sessions: u64) {
        println!("oracle: TENANTRY_ORACLE_SEED={} TENANTRY_ORACLE_SESSIONS={sessions}", self.seed);
        for number in 1..=sessions {
            let session = self.playwright.draw();
            if let Some((step, difference)) = self.play(&session, LONG_PATIENCE) {
                self.report(number, &session, step, &difference);
            }
            if number % EPOCH == 0 || number == sessions {
                self.check_neighbour(number);
            }
            if self.reports.len() >= ENOUGH {
                break;
            }
        }
        self.conclude();
    }

    /// One session from fresh data to the last connection's end; how far it came, if something differed.
    fn play(&mut self, session: &Session, patience: Duration) -> Option<(usize, Difference)> {
        self.left.prepare(session.has_notifications);
        self.right.prepare(session.has_notifications);
        let mut performance = Performance {
            left: self.left.open(session, LONG_PATIENCE),
            right: self.right.open(session, patience),
            ears: session.speaks_resp3.iter().map(|_| Ear::default()).collect(),
            bonds: vec![Bond::default(); session.speaks_resp3.len()],
            patience,
            pause: Pause::None,
            apart: Apart { invalidations: session.tells_apart(), messages: self.place.is_cluster() },
        };
        for (index, step) in session.steps.iter().enumerate() {
            let is_unfit = self.is_left_out(step, session)
                || self.is_unfit(step, &performance.left)
                || self.is_cross_slot(step, &mut performance);
            if !is_unfit
                && performance.pause.lets_speak(step)
                && let Some(difference) = self.take_step(step, &mut performance)
            {
                return Some((index, difference));
            }
        }
        let last = session.steps.len();
        self.farewell(&mut performance).map(|difference| (last, difference))
    }

    fn take_step(&mut self, step: &Step, performance: &mut Performance) -> Option<Difference> {
        let Performance { left, right, ears, .. } = performance;
        let likeness = |argv| self.exceptions.likeness_of(&name_of(argv));
        let drops_keys = step.commands.iter().any(|argv| likeness(argv) == Likeness::KeysBeforeNull);
        left.drops_keys |= drops_keys;
        right.drops_keys |= drops_keys;
        left.send(step.speaker, &step.commands);
        right.send(step.speaker, &step.commands);
        for argv in &step.commands {
            let name = name_of(argv);
            *self.sent.entry(name.clone()).or_default() += 1;
            ears[step.speaker].expect_answer_to(name);
        }
        self.compare(Some(step), performance)
    }

    /// What everybody hears until nothing more follows from what was sent last.
    fn compare(&mut self, step: Option<&Step>, performance: &mut Performance) -> Option<Difference> {
        let Performance { left, right, ears, patience, pause, apart, .. } = performance;
        let (blocked, expected) = self.left.settle(left);
        let mut expected: Vec<Heard> = expected.iter().map(|frames| untangled(frames)).collect();
        let mut heard: Vec<Heard> =
            right.await_frames(&expected).iter().map(|frames| untangled(frames)).collect();
        if let Some(step) = step {
            left.follow_scan(step, &mut expected);
            right.follow_scan(step, &mut heard);
        }
        let as_compared = |frames| set_apart(frames, *apart);
        let expected: Vec<Heard> = expected.into_iter().map(as_compared).collect();
        let heard: Vec<Heard> = heard.into_iter().map(as_compared).collect();
        for (index, ear) in ears.iter_mut().enumerate() {
            let answers = ear.attribute(&expected[index], &self.exceptions);
            let ids = (left.ids.as_slice(), right.ids.as_slice());
            let place = || format!("connection {}", index + 1);
            if let Some(at) = first_difference(&answers, &expected[index], &heard[index], ids) {
                return Some(Difference {
                    place: place(),
                    left: show_from(at, &answers, &expected[index], &left.ids),
                    right: show_from(at, &answers, &heard[index], &right.ids),
                });
            }
            for name in answers.iter().filter_map(|answer| answer.succeeded.as_ref()) {
                *self.succeeded.entry(name.clone()).or_default() += 1;
            }
            if ear.is_waiting() && !self.left.moment_of(&left.ids[index]).is_blocked() {
                ear.forget();
            }
        }
        // A server counts whom it pauses as blocked.
        if *pause != Pause::None {
            return None;
        }
        different("blocked connections", &blocked, &self.right.await_blocked(blocked, *patience))
    }

    /// Ends everything that may still wait, hears what comes of it, and lets everybody quit.
    fn farewell(&mut self, performance: &mut Performance) -> Option<Difference> {
        /// A connection can wait again for what it had sent behind the command that is unblocked.
        const AGAIN: usize = 20;
        let unpaused = [self.left.unpause(), self.right.unpause()];
        performance.pause = Pause::None;
        let found = different("CLIENT UNPAUSE", &unpaused[0], &unpaused[1]);
        let mut found = found.or_else(|| self.compare(None, performance));
        for index in 0..performance.ears.len() {
            for _ in 0..AGAIN {
                let left = self.left.unblock(&performance.left.ids[index]);
                let right = self.right.unblock(&performance.right.ids[index]);
                let was_blocked = left.starts_with(b":1");
                found = found.or_else(|| different(&format!("CLIENT UNBLOCK @{}", index + 1), &left, &right));
                found = found.or_else(|| self.compare(None, performance));
                if !was_blocked || found.is_some() {
                    break;
                }
            }
        }
        for speaker in 0..performance.ears.len() {
            let quit = Step { speaker, commands: vec![vec![b"QUIT".to_vec()]] };
            found = found.or_else(|| self.take_step(&quit, performance));
        }
        found.or_else(|| self.compare_stored()).or_else(|| {
            let overheard = self.neighbour.as_mut().map(Neighbour::overheard).unwrap_or_default();
            different("what another tenant hears", &Vec::new(), &overheard)
        })
    }

    fn check_neighbour(&mut self, number: u64) {
        let damage = self.neighbour.as_mut().map(Neighbour::damage).unwrap_or_default();
        if !damage.is_empty() {
            let since = number.saturating_sub(EPOCH) + 1;
            self.reports
                .push(format!("sessions {since} to {number} changed another tenant's data:\n{damage:?}"));
        }
    }

    fn compare_stored(&mut self) -> Option<Difference> {
        let (left, right) = (self.left.contents(), self.right.contents());
        let only = |one: &[Stored], other: &[Stored]| -> Vec<String> {
            one.iter().filter(|stored| !other.contains(stored)).map(ToString::to_string).collect()
        };
        different("what is stored (database, key, digest)", &only(&left, &right), &only(&right, &left))
    }

    /// Whether a step is left out of this session altogether.
    fn is_left_out(&self, step: &Step, session: &Session) -> bool {
        (step.says("HELLO") && session.watches(step.speaker))
            || (step.commands.len() > 1 && step.says("RESET") && session.tells_apart())
            || step.commands.iter().any(|argv| self.exceptions.is_out_of_place(argv))
            || step.commands.iter().any(|argv| self.exceptions.is_left_out_of(session, &name_of(argv)))
    }

    /// Whether a step has what is refused because its keys lie in several slots.
    fn is_cross_slot(&mut self, step: &Step, performance: &mut Performance) -> bool {
        if self.place != Place::Spread {
            return false;
        }
        let bond = &mut performance.bonds[step.speaker];
        bond.begin_step(self.left.moment_of(&performance.left.ids[step.speaker]).database());
        let after = bond.after(&step.commands, self.place.acme_stem(), self.left.store.only());
        let is_refused = after.is_none();
        *bond = after.unwrap_or_else(|| bond.clone());
        is_refused
    }

    /// Whether a step is left out, because two servers may answer it differently at this moment, or because it
    /// is not offered at this moment and the list says so.
    fn is_unfit(&mut self, step: &Step, cast: &Cast) -> bool {
        if cast.is_closed[step.speaker] {
            return true;
        }
        let mut moment = None;
        let mut in_transaction = false;
        for (index, argv) in step.commands.iter().enumerate() {
            let (looks, is_refused) =
                (depends_on_data(argv), self.exceptions.is_refused_in_transactions(&name_of(argv)));
            let changes_version = argv[0].eq_ignore_ascii_case(b"HELLO");
            if looks || is_refused || changes_version {
                let now = moment.get_or_insert_with(|| self.left.moment_of(&cast.ids[step.speaker]));
                if changes_version && !now.is_untied() {
                    return true;
                }
                if in_transaction || !now.is_free() || (looks && (index > 0 || !now.is_in_first_database())) {
                    return true;
                }
            }
            if coverage::is_refused(&name_of(argv)) || depends_on_chance(argv, self.left.store.only()) {
                return true;
            }
            in_transaction |= argv[0].eq_ignore_ascii_case(b"MULTI");
        }
        false
    }

    fn report(&mut self, number: u64, session: &Session, step: usize, difference: &Difference) {
        let steps = session.steps[..session.steps.len().min(step + 1)].to_vec();
        let (session, shortest) = self.shorten(session.with(steps));
        let difference = shortest.as_ref().unwrap_or(difference);
        if !self.is_news(&session, difference) {
            return;
        }
        let mut text = format!("session {number}:\n{session}");
        writeln!(text, "  {} differs:", difference.place).unwrap();
        writeln!(text, "  => {}: {}", self.left.name, difference.left).unwrap();
        writeln!(text, "  => {}: {}", self.right.name, difference.right).unwrap();
        self.reports.push(text);
    }

    /// Whether nothing like it has been reported: the same errors, or other answers to the same commands.
    fn is_news(&mut self, session: &Session, difference: &Difference) -> bool {
        let answers = [&difference.left, &difference.right];
        let letters =
            |answer: &String| answer.chars().filter(|c| !c.is_ascii_digit()).take(40).collect::<String>();
        let mut like = answers.map(letters).join(" ");
        if !answers.iter().any(|answer| answer.starts_with('-')) {
            let said = session.steps.last().map(|step| step.commands.iter().map(|argv| name_of(argv)));
            said.into_iter().flatten().for_each(|name| like.push_str(&name));
        }
        self.reported.insert(like)
    }

    /// Leaves out steps, many at once first, as long as the sides still differ.
    fn shorten(&mut self, mut session: Session) -> (Session, Option<Difference>) {
        let mut found = None;
        let mut piece = session.steps.len();
        while piece > 0 {
            let mut start = 0;
            while start < session.steps.len() {
                let mut steps = session.steps.clone();
                drop(steps.drain(start..(start + piece).min(steps.len())));
                let shorter = session.with(steps);
                if let Some((_, difference)) = self.play(&shorter, SHORT_PATIENCE) {
                    (session, found) = (shorter, Some(difference));
                } else {
                    start += piece;
                }
            }
            piece /= 2;
        }
        (session, found)
    }

    fn conclude(mut self) {
        /// So many refusals in a row are no chance.
        const TELLING: usize = 40;
        /// What a server without a cluster, a monitor of latencies, or users always refuses.
        const ALWAYS_REFUSED: [&str; 3] = ["CLUSTER ", "LATENCY GRAPH", "AUTH"];
        assert!(self.reports.is_empty(), "{}", self.summary());
        let mut in_vain = coverage::commands_of(self.left.store.only());
        in_vain.retain(|name| {
            let sent = self.sent.get(name).copied().unwrap_or(0);
            let is_refused = ALWAYS_REFUSED.iter().any(|refused| name.starts_with(refused));
            sent >= TELLING && !is_refused && !self.succeeded.contains_key(name)
        });
        assert!(in_vain.is_empty(), "these were always refused: {in_vain:?}");
    }

    fn summary(&self) -> String {
        format!(
            "{} and {} differ; TENANTRY_ORACLE_SEED={} repeats this run\n\n{}",
            self.left.name,
            self.right.name,
            self.seed,
            self.reports.join("\n")
        )
    }
}

fn show_from(at: usize, answers: &[Answer], frames: &[Vec<u8>], ids: &[Vec<u8>]) -> String {
    let shown = |(index, frame): (usize, &Vec<u8>)| match answers.get(index) {
        Some(answer) => answer.shown(frame, ids),
        None => show(frame),
    };
    let rest: Vec<String> = frames.iter().enumerate().skip(at).map(shown).collect();
    if rest.is_empty() { "nothing".into() } else { rest.join("   ") }
}
