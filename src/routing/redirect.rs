//! What an error says about the place it came from, and so whether the request can be served elsewhere.
//!
//! A server that is not, or not now, the right one for a request says so with an error, and it has not run the
//! request then. Such errors are the proxy's to deal with; all others are the client's to read.
//!
//! | error begins with | verdict | why |
//! |---|---|---|
//! | `MOVED slot host:port` | [`Verdict::Moved`] | the slot belongs to another node |
//! | `REDIRECT host:port` (Valkey) | [`Verdict::Moved`] | all of it belongs to another node |
//! | `ASK slot host:port` | [`Verdict::Ask`] | the slot is moving, and this key has moved |
//! | `TRYAGAIN` | [`Verdict::AfterWait`] | the slot is moving, and only some of the keys have moved |
//! | `LOADING` | [`Verdict::AfterWait`] | the node is starting |
//! | `CLUSTERDOWN` | [`Verdict::AfterRefresh`] | the node knows no owner, or not enough other nodes |
//! | `READONLY` | [`Verdict::AfterRefresh`] | the node is a replica now |
//! | `MASTERDOWN` | [`Verdict::AfterRefresh`] | the replica has lost its primary |
//! | `UNBLOCKED force unblock …` | [`Verdict::AfterRefresh`] | the node became a replica while the client blocked |
//! | `EXECABORT Transaction discarded because of: …` | that of the rest | nothing of the transaction ran |
//! | `MOVED` or `ASK` to `?` | [`Verdict::AfterRefresh`] | the node does not know the other's host name |
//! | anything else | [`Verdict::Never`] | another node would say the same, or the request may have run |
//!
//! Among the last are `BUSY` and `MISCONF`: this node is the right one, and what it says is for an operator.

use std::time::Duration;

use super::parse::is_host;
use crate::command::slot::SLOTS;

/// The wait before the first further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// How often it is doubled.
const DOUBLINGS: u8 = 4;
/// What stands before the reason for which a server discards a transaction.
const DISCARDED: &str = "EXECABORT Transaction discarded because of: ";
/// The one `UNBLOCKED` that no client has caused.
const FORCED: &str = "force unblock from blocking operation";

/// What is to be done about a request that was answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The error is the client's to read.
    Never,
    /// Send it to this node, and so whatever else goes there.
    Moved {
        /// The slot that has moved; `None`: all.
        slot: Option<u16>,
        /// The node.
        to: Target<'a>,
    },
    /// Send it to this node after `ASKING`, and only it.
    Ask {
        /// The slot that moves.
        slot: u16,
        /// The node.
        to: Target<'a>,
    },
    /// Send it again to the same node, later.
    AfterWait,
    /// Send it again later, and to whom it then belongs.
    AfterRefresh,
}

/// A node, as another one names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Its host, IPv6 without brackets; `None`: the host of the node that named it.
    pub host: Option<&'a str>,
    /// Its port.
    pub port: u16,
}

/// What `error` means: the line of an error reply without its `-` and without the line's end.
pub fn verdict(error: &[u8]) -> Verdict<'_> {
    let Ok(text) = std::str::from_utf8(error) else { return Verdict::Never };
    let text = text.strip_prefix(DISCARDED).unwrap_or(text);
    let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
    match code {
        "MOVED" => redirected(rest, |slot, to| Verdict::Moved { slot: Some(slot), to }),
        "ASK" => redirected(rest, |slot, to| Verdict::Ask { slot, to }),
        "REDIRECT" => to_target(rest, |to| Verdict::Moved { slot: None, to }),
        "TRYAGAIN" | "LOADING" => Verdict::AfterWait,
        "CLUSTERDOWN" | "READONLY" | "MASTERDOWN" => Verdict::AfterRefresh,
        "UNBLOCKED" if rest.starts_with(FORCED) => Verdict::AfterRefresh,
        _ => Verdict::Never,
    }
}

/// `slot host:port`.
fn redirected<'a>(rest: &'a str, to: impl FnOnce(u16, Target<'a>) -> Verdict<'a>) -> Verdict<'a> {
    let slot = rest.split_once(' ').and_then(|(slot, place)| Some((slot.parse().ok()?, place)));
    let Some((slot, place)) = slot.filter(|(slot, _)| *slot < SLOTS) else {
        return Verdict::Never;
    };
    to_target(place, |target| to(slot, target))
}

/// `host:port`, where the last colon separates: hosts may be IPv6 addresses.
fn to_target<'a>(place: &'a str, to: impl FnOnce(Target<'a>) -> Verdict<'a>) -> Verdict<'a> {
    let place = place.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match place {
        None | Some((_, 0)) => Verdict::Never,
        Some(("?", _)) => Verdict::AfterRefresh,
        Some(("", port)) => to(Target { host: None, port }),
        Some((host, port)) if is_host(host) => to(Target { host: Some(host), port }),
        Some(_) => Verdict::Never,
    }
}

/// How long to wait before attempt number `attempt`, the first that follows an error being 1: at most 25 ms,
/// doubling up to 400 ms, and at least half of that, by `jitter`, which is uniform in 0..1.
pub fn pause(attempt: u8, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(DOUBLINGS);
    let step = FIRST_PAUSE.saturating_mul(1 << doublings);
    step.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(slot: u16, host: Option<&str>, port: u16) -> Verdict<'_> {
        Verdict::Moved { slot: Some(slot), to: Target { host, port } }
    }

    /// Texts of Redis 7.0.15, captured or from its source.
    #[test]
    fn errors_of_the_wrong_place_are_told_from_the_clients_own() {
        for (expected, error) in [
            (moved(12182, Some("127.0.0.1"), 17303), "MOVED 12182 127.0.0.1:17303"),
            (
                Verdict::Ask { slot: 0, to: Target { host: Some("127.0.0.1"), port: 17302 } },
                "ASK 0 127.0.0.1:17302",
            ),
            (Verdict::AfterWait, "TRYAGAIN Multiple keys request during rehashing of slot"),
            (Verdict::AfterWait, "LOADING Redis is loading the dataset in memory"),
            (Verdict::AfterRefresh, "CLUSTERDOWN The cluster is down"),
            (Verdict::AfterRefresh, "CLUSTERDOWN The cluster is down and only accepts read commands"),
            (Verdict::AfterRefresh, "CLUSTERDOWN Hash slot not served"),
            (Verdict::AfterRefresh, "READONLY You can't write against a read only replica."),
            (
                Verdict::AfterRefresh,
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            ),
            (
                Verdict::AfterRefresh,
                "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
            ),
            (Verdict::Never, "UNBLOCKED client unblocked via CLIENT UNBLOCK"),
            (Verdict::Never, "UNBLOCKED the stream key no longer exists"),
            (Verdict::Never, "CROSSSLOT Keys in request don't hash to the same slot"),
            (
                Verdict::Never,
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            ),
            (Verdict::Never, "MISCONF Errors writing to the AOF file: No space left on device"),
            (Verdict::Never, "NOREPLICAS Not enough good replicas to write."),
            (Verdict::Never, "EXECABORT Transaction discarded because of previous errors."),
            (Verdict::Never, "WRONGTYPE Operation against a key holding the wrong kind of value"),
            (Verdict::Never, "ERR unknown command 'MOVED', with args beginning with: '1' 'localhost:1' "),
            (Verdict::Never, ""),
        ] {
            assert_eq!(expected, verdict(error.as_bytes()), "{error}");
        }
    }

    #[test]
    fn a_discarded_transaction_is_judged_by_its_reason() {
        let reason = "READONLY You can't write against a read only replica.";
        let error = format!("EXECABORT Transaction discarded because of: {reason}");
        assert_eq!(Verdict::AfterRefresh, verdict(error.as_bytes()));
    }

    #[test]
    fn hosts_are_read_in_every_form_that_a_server_announces() {
        assert_eq!(moved(1, Some("::1"), 6379), verdict(b"MOVED 1 ::1:6379"));
        assert_eq!(moved(12182, Some("one.example"), 17301), verdict(b"MOVED 12182 one.example:17301"));
        // cluster-preferred-endpoint-type unknown-endpoint
        assert_eq!(moved(12182, None, 17303), verdict(b"MOVED 12182 :17303"));
        // cluster-preferred-endpoint-type hostname, and the other node has none
        assert_eq!(Verdict::AfterRefresh, verdict(b"MOVED 12182 ?:17303"));
        assert_eq!(
            Verdict::Moved { slot: None, to: Target { host: Some("10.0.0.2"), port: 6380 } },
            verdict(b"REDIRECT 10.0.0.2:6380")
        );
    }

    #[test]
    fn a_redirection_that_names_no_place_is_none() {
        let long = format!("MOVED 1 {}:6379", "h".repeat(256));
        let broken =
            ["MOVED", "MOVED 1", "MOVED 1 host", "MOVED 1 host:", "MOVED 1 host:0", "MOVED 1 host:65536"];
        let broken =
            broken.into_iter().chain(["MOVED x host:1", "MOVED 16384 host:1", "ASK 1 a host:1", "ASK"]);
        for error in broken.chain(["REDIRECT", "REDIRECT host", "MOVEDX 1 host:1", &long]) {
            assert_eq!(Verdict::Never, verdict(error.as_bytes()), "{error}");
        }
        assert_eq!(Verdict::Never, verdict(b"MOVED 1 \xff:1"));
    }

    #[test]
    fn waits_double_up_to_the_longest_and_jitter_takes_at_most_half() {
        let longest: Vec<u128> = (1..=7).map(|attempt| pause(attempt, 1.0).as_millis()).collect();
        assert_eq!(vec![25, 50, 100, 200, 400, 400, 400], longest);
        assert_eq!(Duration::from_millis(200), pause(u8::MAX, 0.0));
        assert_eq!(pause(1, 0.0), pause(0, -1.0));
    }
}
