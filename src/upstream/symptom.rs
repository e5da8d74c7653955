//! What is a node's own failure, and what is not: the table that breakers go by.
//!
//! A breaker takes a node from everybody, so what opens it must be something that no tenant can bring about alone.
//!
//! | what happened | counts | why |
//! |---|---|---|
//! | no reply within `reply_timeout`, on a shared connection | yes, each request that waited | a node that serves others meanwhile is not silent, and then it is one failure; who can hang the whole node has taken it from everybody already |
//! | no connection within `connect_timeout` | yes, each request that waited | the same |
//! | connection refused or unreachable | yes | nobody is there |
//! | handshake refused | yes | the node takes no requests of the proxy |
//! | shared connection closed, lost, or no RESP on it | yes, once for all that close together | reconnecting tells at once whether it was more |
//! | `LOADING` | yes | the node serves nobody, and says so to `PING` as well |
//! | `MASTERDOWN` | yes | the same, of a replica |
//! | the same on a client's own connection, where it was not silence or nobody there | no | a client can have its connection closed, and use up the node's `maxclients` |
//! | closed while nothing was asked | no | the node's `timeout` |
//! | the node is a replica now | no | it is well; discovery finds the primary |
//! | `CLUSTERDOWN` | no | every node says it when the cluster is not: retrying and discovery deal with that |
//! | `MOVED`, `ASK`, `TRYAGAIN`, `READONLY` | no | the node is well |
//! | `BUSY` | no | it is at once what a breaker could say, and one client's script is enough for it |
//! | `MISCONF`, `OOM`, `NOREPLICAS` | no | reads are served |
//! | any other error (`WRONGTYPE`, …) | no | it is the request's |

use std::io::ErrorKind;

use super::connect::ConnectError;
use super::handshake::{Refused, Script};
use super::lane::Ended;

/// A node's own failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symptom {
    /// Nothing came in time.
    Silent,
    /// There is no connection, or it has ended.
    Away,
}

impl Symptom {
    /// What the end of a connection for this purpose is a symptom of.
    pub fn of(ended: &Ended, purpose: Script) -> Option<Self> {
        match ended {
            Ended::NotConnected(ConnectError::TimedOut(_)) => Some(Self::Silent),
            Ended::NotConnected(ConnectError::Io(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                Some(Self::Away)
            }
            Ended::NotConnected(ConnectError::Refused(Refused::NotPrimary)) => None,
            _ if purpose == Script::Dedicated => None,
            Ended::ReplyTimeout(_) => Some(Self::Silent),
            Ended::NotConnected(
                ConnectError::Io(_) | ConnectError::Refused(_) | ConnectError::Protocol(_),
            )
            | Ended::Closed
            | Ended::Lost(_)
            | Ended::Protocol(_)
            | Ended::Unowed => Some(Self::Away),
            Ended::HugePush | Ended::Unwanted | Ended::NotAsked(_) => None,
        }
    }

    /// What an error reply is a symptom of, and its words for operators and clients. Begins with `-`.
    pub fn of_reply(reply: &[u8]) -> Option<&'static str> {
        let code = reply.strip_prefix(b"-")?.split(u8::is_ascii_whitespace).next()?;
        match code {
            b"LOADING" => Some("the node answers LOADING"),
            b"MASTERDOWN" => Some("the node answers MASTERDOWN"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::time::Duration;

    #[test]
    fn failures_are_told_apart_by_whose_fault_they_can_be() {
        use Script::{Dedicated, Shared};
        let io = |kind: ErrorKind| Ended::NotConnected(ConnectError::Io(io::Error::from(kind)));
        let step = || Refused::Step { step: "AUTH", reply: "WRONGPASS".into() };
        let second = Duration::from_secs(1);
        let table: Vec<(Ended, Option<Symptom>, Option<Symptom>)> = vec![
            (Ended::ReplyTimeout(second), Some(Symptom::Silent), None),
            (
                Ended::NotConnected(ConnectError::TimedOut(second)),
                Some(Symptom::Silent),
                Some(Symptom::Silent),
            ),
            (io(ErrorKind::ConnectionRefused), Some(Symptom::Away), Some(Symptom::Away)),
            (io(ErrorKind::UnexpectedEof), Some(Symptom::Away), None),
            (Ended::NotConnected(ConnectError::Refused(step())), Some(Symptom::Away), None),
            (Ended::NotConnected(ConnectError::Refused(Refused::NotPrimary)), None, None),
            (Ended::Closed, Some(Symptom::Away), None),
            (Ended::Lost(io::Error::from(ErrorKind::ConnectionReset)), Some(Symptom::Away), None),
            (Ended::Unowed, Some(Symptom::Away), None),
            (Ended::HugePush, None, None),
            (Ended::Unwanted, None, None),
        ];
        for (ended, shared, dedicated) in table {
            assert_eq!(
                (shared, dedicated),
                (Symptom::of(&ended, Shared), Symptom::of(&ended, Dedicated)),
                "{ended}"
            );
        }
    }

    #[test]
    fn errors_count_that_say_that_nobody_is_served() {
        for (reply, counts) in [
            ("-LOADING Redis is loading the dataset in memory\r\n", true),
            ("-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n", true),
            ("-CLUSTERDOWN The cluster is down\r\n", false),
            ("-BUSY Redis is busy running a script.\r\n", false),
            ("-MISCONF Redis is configured to save RDB snapshots\r\n", false),
            ("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", false),
            ("-LOADINGS\r\n", false),
            ("+LOADING\r\n", false),
        ] {
            assert_eq!(counts, Symptom::of_reply(reply.as_bytes()).is_some(), "{reply}");
        }
    }
}
