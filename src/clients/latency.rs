//! `LATENCY`, as a Redis answers it whose latency monitor is off (`latency-monitor-threshold 0`, the default).
//!
//! `HISTOGRAM` is empty: times per command and tenant would have to be counted on the path of every command.

use super::answer::Question;
use super::c_string;
use crate::resp::reply::ReplyWriter;

/// `LATENCY DOCTOR`.
const DOCTOR: &[u8] = b"I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. You may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it. If we weren't in a deep space mission I'd suggest to take a look at https://redis.io/topics/latency-monitor.\n";

/// `LATENCY LATEST` and `LATENCY HISTORY`: nothing was sampled.
pub(super) fn samples(reply: &mut ReplyWriter<'_>) {
    reply.array(0);
}

/// `LATENCY RESET`: no event was forgotten.
pub(super) fn reset(reply: &mut ReplyWriter<'_>) {
    reply.integer(0);
}

/// `LATENCY GRAPH`.
pub(super) fn graph(question: &Question<'_>, reply: &mut ReplyWriter<'_>) {
    let event = c_string(question.request.arg(2).unwrap_or_default());
    reply.error(&[b"ERR No samples available for event '", event, b"'"].concat());
}

/// `LATENCY DOCTOR`.
pub(super) fn doctor(reply: &mut ReplyWriter<'_>) {
    reply.verbatim(DOCTOR);
}

/// `LATENCY HISTOGRAM`.
pub(super) fn histogram(reply: &mut ReplyWriter<'_>) {
    reply.map(0);
}

/// `LATENCY HELP`.
pub(super) const HELP: &[&str] = &[
    "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "GRAPH <event>",
    "    Return an ASCII latency graph for the <event> class.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
    "    If no commands are specified then all histograms are replied.",
    "HELP",
    "    Prints this help.",
];
