//! Which requests are refused while the process is short of memory.
//!
//! What was accepted is finished, so nothing is refused that ends something or only changes what the proxy knows of the
//! client, and a transaction is never torn apart: `MULTI` and `EXEC` go through, and what is refused in between makes
//! `EXEC` fail. While memory is tight, only what takes much of it is refused; a small `GET` costs nearly nothing and is
//! what most clients live on.

use crate::command::{CommandSpec, Service};
use crate::resp::Request;
use crate::resp::send_queue::SHARED_FROM;

/// What of memory there is too little for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shortage {
    /// Nothing.
    #[default]
    None,
    /// Requests that are large, or whose answer is composed here.
    OfMuch,
    /// Any request.
    OfAll,
}

impl Shortage {
    /// Whether this request is refused.
    #[inline]
    pub fn refuses(self, spec: &CommandSpec, request: &Request<'_>) -> bool {
        self != Self::None && self.refuses_now(spec, request)
    }

    #[cold]
    fn refuses_now(self, spec: &CommandSpec, request: &Request<'_>) -> bool {
        let is_needed = match spec.service() {
            Service::Local | Service::Denied | Service::AdminOnly | Service::NotYet(_) => true,
            Service::Tied => ends_or_begins(spec.name),
            Service::Forward | Service::Guarded | Service::Reworded | Service::Composed => {
                spec.name.starts_with("TENANTRY")
            }
        };
        let takes_much = request.bytes().len() >= SHARED_FROM || spec.service() == Service::Composed;
        !is_needed && (self == Self::OfAll || takes_much)
    }
}

/// Commands without which a client could not give back what it holds, or would do by halves what it meant as one.
fn ends_or_begins(name: &str) -> bool {
    matches!(
        name,
        "MULTI"
            | "EXEC"
            | "DISCARD"
            | "UNWATCH"
            | "UNSUBSCRIBE"
            | "PUNSUBSCRIBE"
            | "SUNSUBSCRIBE"
            | "RESET"
            | "QUIT"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command;
    use crate::resp::OwnedRequest;

    fn refused(shortage: Shortage, words: &[&str]) -> bool {
        let request = OwnedRequest::from_args(words).expect("words");
        let request = request.as_request();
        shortage.refuses(command::identify(&request).expect("a known command"), &request)
    }

    #[test]
    fn without_a_shortage_nothing_is_refused() {
        let large = "x".repeat(SHARED_FROM);
        assert!(!refused(Shortage::None, &["SET", "k", &large]));
        assert!(!refused(Shortage::None, &["KEYS", "*"]));
    }

    #[test]
    fn while_memory_is_tight_only_what_takes_much_is_refused() {
        let large = "x".repeat(SHARED_FROM);
        for (words, expected) in [
            (&["GET", "k"][..], false),
            (&["SET", "k", "v"], false),
            (&["SET", "k", &large], true),
            (&["KEYS", "*"], true),
            (&["PING", &large], false),
            (&["MULTI"], false),
            (&["EXEC"], false),
        ] {
            assert_eq!(expected, refused(Shortage::OfMuch, words), "{}", words[0]);
        }
    }

    #[test]
    fn when_there_is_none_left_only_what_gives_back_or_keeps_together_goes_on() {
        for (words, expected) in [
            (&["GET", "k"][..], true),
            (&["SET", "k", "v"], true),
            (&["BLPOP", "k", "0"], true),
            (&["SUBSCRIBE", "c"], true),
            (&["WATCH", "k"], true),
            (&["DBSIZE"], true),
            (&["UNSUBSCRIBE"], false),
            (&["DISCARD"], false),
            (&["EXEC"], false),
            (&["MULTI"], false),
            (&["QUIT"], false),
            (&["AUTH", "secret"], false),
            (&["HELLO", "3"], false),
            (&["PING"], false),
        ] {
            assert_eq!(expected, refused(Shortage::OfAll, words), "{}", words[0]);
        }
    }
}
