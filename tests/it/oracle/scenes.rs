//! Reads `scenes.txt` and weaves sessions from its scenes.

use super::generate::Generator;
use super::grammar::{Grammar, Shape, shape};
use super::place::Place;
use super::script::{Argv, Session, Step, name_of};

/// A few lines that belong together: a transaction, a subscriber and his publisher.
struct Scene {
    has_notifications: bool,
    lines: Vec<Line>,
}

/// How often a line of a scene is said.
#[derive(Clone, Copy)]
enum Times {
    Once,
    Perhaps,
    UpToThree,
    OneToThree,
}

struct Line {
    times: Times,
    /// Who says it; the scene does not know which connection that will be.
    role: usize,
    /// One command, or several with `;;` between them; `...` is any command of `grammar.txt`.
    words: Shape,
}

/// Draws sessions.
pub(super) struct Playwright {
    pub(super) generator: Generator,
    /// As often in here as its weight says.
    scenes: Vec<Scene>,
    raffle: Vec<usize>,
}

/// Of one hundred commands of scenes, so many have an argument too few or too many.
const MISCOUNTED_PERCENT: u32 = 6;

/// What waits, stops others or disconnects them if an argument is missing or a number takes another's place.
const NEVER_MISCOUNTED: [&str; 16] = [
    "BLPOP",
    "BRPOP",
    "BLMOVE",
    "BLMPOP",
    "BRPOPLPUSH",
    "BZPOPMIN",
    "BZPOPMAX",
    "BZMPOP",
    "XREAD",
    "XREADGROUP",
    "WAIT",
    "CLIENT",
    "CONFIG",
    "COMMAND",
    "SCAN",
    "LATENCY",
];

impl Playwright {
    pub(super) fn new(place: Place, seed: u64) -> Self {
        let text = include_str!("scenes.txt");
        let mut generator = Generator::new(Grammar::of(place), seed);
        generator.grammar.take_slots(text);
        if place == Place::Spread {
            generator.grammar.give_second_names_to(&["queue", "zqueue"]);
        }
        let (mut scenes, mut raffle) = (Vec::new(), Vec::new());
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("slot ")) {
            if let Some(title) = line.strip_prefix("scene ") {
                let weight = title.split(' ').find_map(|word| word.parse().ok()).unwrap_or(1);
                raffle.extend(std::iter::repeat_n(scenes.len(), weight));
                scenes.push(Scene { has_notifications: title.ends_with("notifications"), lines: Vec::new() });
            } else if !line.is_empty() {
                scenes.last_mut().expect("a line belongs to a scene").lines.push(read_line(line));
            }
        }
        Self { generator, scenes, raffle }
    }

    /// The next session.
    pub(super) fn draw(&mut self) -> Session {
        let connections = self.generator.rng.usize(2..=4);
        let speaks_resp3 = (0..connections).map(|_| self.generator.rng.bool()).collect();
        let mut threads = Vec::new();
        let mut has_notifications = false;
        for _ in 0..self.generator.rng.usize(1..=3) {
            let scene = self.raffle[self.generator.rng.usize(..self.raffle.len())];
            has_notifications |= self.scenes[scene].has_notifications;
            let mut roles: Vec<usize> = (0..connections).collect();
            self.generator.rng.shuffle(&mut roles);
            threads.push(self.stage(scene, &roles));
        }
        Session { speaks_resp3, has_notifications, steps: self.weave(threads) }
    }

    /// The steps of one scene, its roles given to connections.
    fn stage(&mut self, scene: usize, roles: &[usize]) -> Vec<Step> {
        let mut steps = Vec::new();
        for line in &self.scenes[scene].lines {
            let rng = &mut self.generator.rng;
            let times = match line.times {
                Times::Once => 1,
                Times::Perhaps => rng.usize(0..=1),
                Times::UpToThree => rng.usize(0..=3),
                Times::OneToThree => rng.usize(1..=3),
            };
            for _ in 0..times {
                let speaker = roles[line.role % roles.len()];
                let words = self.generator.write(&line.words);
                let holds_replies_back = words.iter().any(|word| word.eq_ignore_ascii_case(b"REPLY"));
                let commands = words
                    .split(|word| word == b";;")
                    .map(|argv| utter(&mut self.generator, argv, roles, !holds_replies_back));
                let commands = commands.collect();
                steps.push(Step { speaker, commands });
            }
        }
        steps
    }

    /// Scenes go on side by side, each in its own order.
    fn weave(&mut self, threads: Vec<Vec<Step>>) -> Vec<Step> {
        /// How often the next step belongs to the scene that had the last.
        const STAYS_PERCENT: u32 = 60;
        let mut threads: Vec<_> = threads.into_iter().map(Vec::into_iter).collect();
        let mut steps = Vec::new();
        let mut current = 0;
        while !threads.is_empty() {
            if self.generator.rng.u32(..100) >= STAYS_PERCENT || current >= threads.len() {
                current = self.generator.rng.usize(..threads.len());
            }
            match threads[current].next() {
                Some(step) => steps.push(step),
                None => drop(threads.remove(current)),
            }
        }
        steps
    }
}

/// What a connection says for a command as the scene has it.
fn utter(generator: &mut Generator, argv: &[Vec<u8>], roles: &[usize], may_err: bool) -> Argv {
    if argv == [b"..."] {
        return generator.draw().argv;
    }
    let mut argv = argv.to_vec();
    for word in &mut argv {
        // `@b` is whoever has the second role.
        if let [b'@', role @ b'a'..=b'd'] = word[..] {
            let connection = roles[usize::from(role - b'a') % roles.len()] + 1;
            *word = format!("@{connection}").into_bytes();
        }
    }
    let name = name_of(&argv);
    let may_be_miscounted =
        may_err && !NEVER_MISCOUNTED.contains(&name.split(' ').next().unwrap_or_default());
    if may_be_miscounted && generator.rng.u32(..100) < MISCOUNTED_PERCENT {
        generator.miscount(&mut argv);
    }
    argv
}

/// `* b SET <str> <value> ;; PING`
fn read_line(line: &str) -> Line {
    let (mark, rest) = line.split_at(2);
    let times = match mark {
        "  " => Times::Once,
        "? " => Times::Perhaps,
        "* " => Times::UpToThree,
        "+ " => Times::OneToThree,
        _ => panic!("a line of a scene starts with a mark and a blank, not `{mark}`"),
    };
    let (role, said) = rest.split_once(' ').unwrap_or_else(|| panic!("nobody says `{line}`"));
    let role = usize::from(role.as_bytes()[0] - b'a');
    Line { times, role, words: shape(said) }
}
