//! What is said to Redis about budgets, and what it answers: one script for all buckets of a request.
//!
//! A bucket is a hash of its level and of when that was, by the server's own clock, so that the clocks of sidecars do
//! not matter. The script writes what depends on that clock: Redis 5 and later replicate its effects by themselves,
//! Redis 3.2 to 4 because the script asks for it; older ones refuse it. Wire: `SCRIPT LOAD` once for each connection,
//! `EVALSHA`, and `EVAL` once a server says `NOSCRIPT`.

use crate::policy::fleet::{Ask, Grant, Terms};
use crate::resp::OwnedRequest;
use crate::resp::cursor::{Cursor, Value};
use crate::tenant::prefix::RESERVED;

/// What Redis runs.
pub(super) const LEASE: &str = include_str!("lease.lua");

/// The name of the bucket of a tenant's limit, or of its user's. All of a tenant have one hash tag, hence one slot: they
/// are asked for together. A user's name may have any byte, so it comes last.
pub(super) fn key(tenant: &str, limit: &str, user: Option<&str>) -> String {
    let (at, user) = user.map_or(("", ""), |user| ("@", user));
    format!("{RESERVED}{{{tenant}}}:{limit}{at}{user}")
}

/// What is asked of one bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Its name.
    pub(super) key: &'a str,
    /// Its budget.
    pub(super) terms: Terms,
    /// What is asked.
    pub(super) ask: Ask,
}

/// The arguments that follow `EVALSHA digest` or `EVAL script`.
#[derive(Clone, Debug)]
pub(super) struct Arguments(Vec<String>);

impl Arguments {
    /// Of these buckets, all of which must be on one node, and in one slot if there are slots.
    pub(super) fn new(lines: &[Line<'_>]) -> Self {
        let mut words = vec![lines.len().to_string()];
        words.extend(lines.iter().map(|line| line.key.to_owned()));
        for Line { terms, ask, .. } in lines {
            words.push(terms.per_second().to_string());
            words.extend([terms.depth(), terms.most_debt()].map(|number| number.to_string()));
            words.push(ask.back.to_string());
            words.push(ask.want.to_string());
        }
        Self(words)
    }

    /// The request that names the script.
    pub(super) fn by_digest(&self, digest: &str) -> Vec<u8> {
        self.request("EVALSHA", digest)
    }

    /// The request that brings it.
    pub(super) fn with_script(&self) -> Vec<u8> {
        self.request("EVAL", LEASE)
    }

    fn request(&self, command: &str, script: &str) -> Vec<u8> {
        let words: Vec<&str> =
            [command, script].into_iter().chain(self.0.iter().map(String::as_str)).collect();
        OwnedRequest::from_args(&words)
            .map(|request| request.as_request().bytes().to_vec())
            .unwrap_or_default()
    }
}

/// The digest that `SCRIPT LOAD` answers.
pub(super) fn digest(reply: &[u8]) -> Option<String> {
    let Value::Bulk(digest) = Cursor::new(reply).next_value()? else { return None };
    let is_digest = digest.len() == 40 && digest.iter().all(u8::is_ascii_hexdigit);
    is_digest.then(|| String::from_utf8(digest.to_vec()).ok()).flatten()
}

/// What `count` buckets grant; `None`: the reply says something else.
pub(super) fn grants(reply: &[u8], count: usize) -> Option<Vec<Grant>> {
    let mut cursor = Cursor::new(reply);
    let Value::Array(numbers) = cursor.next_value()? else { return None };
    if numbers != count.checked_mul(2)? {
        return None;
    }
    let mut number = || {
        let Value::Line(b':', digits) = cursor.next_value()? else { return None };
        std::str::from_utf8(digits).ok()?.parse::<u64>().ok()
    };
    (0..count).map(|_| Some(Grant { tokens: number()?, left: number()? })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::bucket::Pace;

    #[test]
    fn a_request_names_all_buckets_and_then_what_is_asked_of_each() {
        let terms = |rate, burst| Terms { pace: Pace::per_second(rate, burst), interval: 100_000_000 };
        let (one, two) = (key("acme", "requests", None), key("acme", "request_bytes", Some("bob")));
        let lines = [
            Line { key: &one, terms: terms(1000, 100), ask: Ask { back: 0, want: 7 } },
            Line {
                key: &two,
                terms: Terms { pace: Pace { rate: 1, per: 4_000_000_000, burst: 9 }, interval: 100_000_000 },
                ask: Ask { back: -3, want: 0 },
            },
        ];
        let request = Arguments::new(&lines).by_digest("d1");
        let expected = "*15 EVALSHA d1 2 tenantry@fleet:{acme}:requests tenantry@fleet:{acme}:request_bytes@bob \
                        1000 100 100 0 7 0.25 9 0 -3 0";
        let words: Vec<String> = String::from_utf8(request).unwrap().lines().map(str::to_owned).collect();
        let shown: Vec<&str> =
            words.iter().map(String::as_str).filter(|word| !word.starts_with('$')).collect();
        assert_eq!(expected, shown.join(" "));
    }

    #[test]
    fn grants_are_read_or_nothing_is() {
        let expected = vec![Grant { tokens: 5, left: 0 }, Grant { tokens: 0, left: 12 }];
        assert_eq!(Some(expected), grants(b"*4\r\n:5\r\n:0\r\n:0\r\n:12\r\n", 2));
        for broken in [
            "*4\r\n:5\r\n:0\r\n:0\r\n",
            "*2\r\n:5\r\n:0\r\n",
            "*4\r\n:5\r\n:0\r\n:-1\r\n:1\r\n",
            "+OK\r\n",
            "-ERR\r\n",
        ] {
            assert_eq!(None, grants(broken.as_bytes(), 2), "{broken}");
        }
    }

    #[test]
    fn a_digest_is_forty_digits() {
        let digits = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(Some(digits.to_owned()), digest(format!("$40\r\n{digits}\r\n").as_bytes()));
        assert_eq!((None, None), (digest(b"$2\r\nab\r\n"), digest(b"-NOPERM no\r\n")));
    }
}
