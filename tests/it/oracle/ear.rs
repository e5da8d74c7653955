//! What one connection hears: which frame answers which command, and whether two hear the same.

use std::collections::VecDeque;

use super::compare::are_alike;
use super::exceptions::{Exceptions, Likeness};
use super::identity::{named, written};
use super::stage::CLOSED;
use crate::wire::{Tree, show};
use tenantry::resp::{Progress, ReplyScanner, cursor};

/// What a frame is, as far as it matters for comparing it.
pub(super) struct Answer {
    likeness: Likeness,
    /// Of the elements, if it is what EXEC returned.
    elements: Vec<Likeness>,
    /// The command that it answers, unless with an error.
    pub(super) succeeded: Option<String>,
}

/// Remembers what a connection has asked for.
#[derive(Default)]
pub(super) struct Ear {
    unanswered: VecDeque<String>,
    /// Commands of the transaction that is open.
    queued: Vec<String>,
}

impl Ear {
    pub(super) fn expect_answer_to(&mut self, name: String) {
        self.unanswered.push_back(name);
    }

    /// Whether a command has no answer.
    pub(super) fn is_waiting(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// What has no answer yet will have none: the replies were held back, or came as pushes.
    pub(super) fn forget(&mut self) {
        self.unanswered.clear();
    }

    /// Finds out what each frame is.
    pub(super) fn attribute(&mut self, frames: &[Vec<u8>], exceptions: &Exceptions) -> Vec<Answer> {
        frames.iter().map(|frame| self.attribute_one(frame, exceptions)).collect()
    }

    fn attribute_one(&mut self, frame: &[u8], exceptions: &Exceptions) -> Answer {
        let mut answer = Answer { likeness: Likeness::Exact, elements: Vec::new(), succeeded: None };
        if is_monitor_line(frame) {
            answer.likeness = exceptions.likeness_of("MONITOR");
            return answer;
        }
        if let Some(kind) = unasked(frame) {
            answer.likeness = exceptions.likeness_of(&kind);
            if is_confirmation(&kind)
                && self.unanswered.front().is_some_and(|name| *name == kind.to_uppercase())
            {
                answer.succeeded = self.unanswered.pop_front();
                answer.likeness = exceptions.likeness_of(&kind.to_uppercase());
            }
            return answer;
        }
        let Some(name) = self.unanswered.pop_front() else { return answer };
        match name.as_str() {
            _ if frame == b"+QUEUED\r\n" => self.queued.push(name.clone()),
            "EXEC" => {
                answer.elements = self.queued.drain(..).map(|name| exceptions.likeness_of(&name)).collect();
            }
            "DISCARD" | "RESET" => self.queued.clear(),
            _ => {}
        }
        answer.likeness = exceptions.likeness_of(&name);
        answer.succeeded = (!frame.starts_with(b"-")).then_some(name);
        answer
    }
}

/// `+1700000000.123456 [0 127.0.0.1:1234] "GET" "k"`
fn is_monitor_line(frame: &[u8]) -> bool {
    frame.starts_with(b"+") && frame.len() > 20 && frame[1].is_ascii_digit() && frame.contains(&b'[')
}

/// The kind of a push, or of an array that serves as one in RESP2.
fn unasked(frame: &[u8]) -> Option<String> {
    const KINDS: [&[u8]; 11] = [
        b"message",
        b"pmessage",
        b"smessage",
        b"subscribe",
        b"psubscribe",
        b"ssubscribe",
        b"unsubscribe",
        b"punsubscribe",
        b"sunsubscribe",
        b"invalidate",
        b"tracking-redir-broken",
    ];
    if !frame.starts_with(b">") && !frame.starts_with(b"*3\r\n$") && !frame.starts_with(b"*4\r\n$") {
        return None;
    }
    let tree = Tree::of(frame);
    let kind = tree.elements().first()?.payload();
    KINDS.contains(&kind).then(|| String::from_utf8_lossy(kind).into_owned())
}

fn is_confirmation(kind: &str) -> bool {
    kind.ends_with("subscribe")
}

/// What a server said, with every push before the reply that it stands in: Redis 7.0 writes what a command makes
/// its own connection hear into the midst of the command's reply, and does not count it there. A reader that
/// counts it takes the reply to end early, so frames are found again.
pub(super) fn untangled(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (mut all, is_closed) = (Vec::new(), frames.last().is_some_and(|frame| *frame == CLOSED));
    let said = frames.concat();
    let mut rest = if is_closed { &said[..said.len() - CLOSED.len()] } else { &said[..] };
    while !rest.is_empty() {
        let Ok(Progress::Complete(len)) = ReplyScanner::default().advance(rest) else {
            panic!("no complete frame: {}", show(rest));
        };
        let (frame, after) = rest.split_at(len);
        match cursor::untangled(frame) {
            Some((frame, pushes)) => {
                all.extend(pushes.into_iter().map(<[u8]>::to_vec));
                all.push(frame);
            }
            None => all.push(frame.to_vec()),
        }
        rest = after;
    }
    all.extend(is_closed.then(|| CLOSED.to_vec()));
    all
}

/// What a connection hears in no certain place among the other frames, besides lines of MONITOR.
#[derive(Clone, Copy)]
pub(super) struct Apart {
    pub(super) invalidations: bool,
    /// Those of several channels in no certain order, either.
    pub(super) messages: bool,
}

/// Told of keys, or that all keys are invalid; in RESP3, or as a message to a redirection's target.
fn is_invalidation(frame: &[u8]) -> bool {
    frame.starts_with(b">2\r\n$10\r\ninvalidate\r\n") || frame.starts_with(REDIRECTED)
}

const REDIRECTED: &[u8] = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n";

/// Whether an invalidation names keys.
pub(super) fn invalidates_keys(frame: &[u8]) -> bool {
    is_invalidation(frame) && matches!(Tree::of(frame).elements().last(), Some(Tree::Node(..)))
}

/// Whether an invalidation is of everything.
fn invalidates_all(frame: &[u8]) -> bool {
    is_invalidation(frame) && !invalidates_keys(frame)
}

/// What is heard apart goes last.
pub(super) fn set_apart(frames: Vec<Vec<u8>>, apart: Apart) -> Vec<Vec<u8>> {
    let (lines, rest): (Vec<_>, Vec<_>) = frames.into_iter().partition(|frame| is_monitor_line(frame));
    let (invalidations, rest): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|frame| apart.invalidations && is_invalidation(frame));
    let (mut messages, rest): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|frame| apart.messages && channel_of(frame).is_some());
    messages.sort_by_key(|frame| channel_of(frame).map(|channel| (event_of(&channel, frame), channel)));
    [rest, messages, invalidations, lines].concat()
}

/// What is told if the channel has events of many keys: several nodes tell it then.
fn event_of(channel: &[u8], frame: &[u8]) -> Option<Vec<u8>> {
    channel.starts_with(b"__keyevent@").then(|| frame.to_vec())
}

/// The channel of a message.
fn channel_of(frame: &[u8]) -> Option<Vec<u8>> {
    let place = match unasked(frame)?.as_str() {
        "message" | "smessage" => 1,
        "pmessage" => 2,
        _ => return None,
    };
    Some(Tree::of(frame).elements()[place].payload().to_vec())
}

/// The first frame that differs; `ids` are those of the two casts.
pub(super) fn first_difference(
    answers: &[Answer],
    left: &[Vec<u8>],
    right: &[Vec<u8>],
    ids: (&[Vec<u8>], &[Vec<u8>]),
) -> Option<usize> {
    let leaves_all = answers.iter().any(|answer| answer.likeness == Likeness::AnyOrderOfFrames);
    let (left, right) = (in_order(left, leaves_all), in_order(right, leaves_all));
    let is_alike = |index: usize| match (left.get(index), right.get(index), answers.get(index)) {
        (Some(left), Some(right), Some(answer)) => answer.accepts(left, right, ids),
        _ => false,
    };
    (0..left.len().max(right.len())).find(|index| !is_alike(*index))
}

impl Answer {
    /// A frame as it is compared, as far as it is text.
    pub(super) fn shown(&self, frame: &[u8], ids: &[Vec<u8>]) -> String {
        show(&named(self.likeness, frame, ids))
    }

    fn accepts(&self, left: &[u8], right: &[u8], ids: (&[Vec<u8>], &[Vec<u8>])) -> bool {
        if left == right {
            return true;
        }
        if [left, right].contains(&CLOSED) {
            return false;
        }
        if self.elements.is_empty() {
            return is_alike(self.likeness, left, right, ids);
        }
        let (Tree::Node(kind, left), Tree::Node(other, right)) = (Tree::of(left), Tree::of(right)) else {
            return false;
        };
        let mut elements = left.iter().zip(&right).zip(&self.elements);
        kind == other
            && left.len() == right.len()
            && left.len() == self.elements.len()
            && elements
                .all(|((left, right), likeness)| is_alike(*likeness, &written(left), &written(right), ids))
    }
}

fn is_alike(likeness: Likeness, left: &[u8], right: &[u8], ids: (&[Vec<u8>], &[Vec<u8>])) -> bool {
    let (left, right) = (named(likeness, left, ids.0), named(likeness, right, ids.1));
    let is_error = left.starts_with(b"-") || right.starts_with(b"-");
    left == right || (!is_error && are_alike(likeness, &left, &right))
}

/// Puts in one order what a server says in the order of a hash table: the patterns of a subscriber that match
/// one message, and the channels of a subscriber who leaves them all.
fn in_order(frames: &[Vec<u8>], leaves_all: bool) -> Vec<Vec<u8>> {
    let mut frames = frames.to_vec();
    frames
        .chunk_by_mut(|one, other| message_of(one).is_some_and(|message| message_of(other) == Some(message)))
        .for_each(<[_]>::sort);
    // Of several that track and redirect to one, each is told in its turn.
    frames.chunk_by_mut(|one, other| invalidates_all(one) && invalidates_all(other)).for_each(<[_]>::sort);
    if leaves_all {
        frames.chunk_by_mut(|one, other| is_departure(one) && is_departure(other)).for_each(sort_names);
    }
    frames
}

/// Channel and payload of a `pmessage`.
fn message_of(frame: &[u8]) -> Option<Vec<Tree>> {
    (unasked(frame)? == "pmessage").then(|| Tree::of(frame).elements()[2..].to_vec())
}

fn is_departure(frame: &[u8]) -> bool {
    unasked(frame).is_some_and(|kind| kind == "unsubscribe" || kind == "sunsubscribe")
}

/// Names in alphabetical order; the counts stay, which go down whatever the order.
fn sort_names(frames: &mut [Vec<u8>]) {
    if frames.len() < 2 {
        return;
    }
    let trees: Vec<Tree> = frames.iter().map(|frame| Tree::of(frame)).collect();
    let mut names: Vec<Tree> = trees.iter().map(|tree| tree.elements()[1].clone()).collect();
    names.sort();
    for ((frame, tree), name) in frames.iter_mut().zip(trees).zip(names) {
        let Tree::Node(kind, mut elements) = tree else { continue };
        elements[1] = name;
        *frame = written(&Tree::Node(kind, elements));
    }
}
