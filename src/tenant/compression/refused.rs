//! Requests that would see how values are stored.

use super::is_always_plain;
use crate::command::{CommandSpec, Shows, Unless, Values};
use crate::resp::Request;

/// Whether `request`, which is one of `spec`, would see how values are stored.
#[inline]
pub fn sees_stored(spec: &CommandSpec, request: &Request<'_>) -> bool {
    match spec.values() {
        Values::Refused(unless) => is_refused(spec, unless, request),
        // `SET` alone has options behind its value that compare.
        Values::Understood { after_key: 1, shows: Shows::One } => {
            request.argc() > 4 && compares_long(request, 3)
        }
        Values::Elsewhere
        | Values::Whatever
        | Values::HandedOn
        | Values::Described
        | Values::Uncompressed
        | Values::Understood { .. } => false,
    }
}

#[inline(never)]
fn is_refused(spec: &CommandSpec, unless: Unless, request: &Request<'_>) -> bool {
    match unless {
        Unless::Never => true,
        Unless::ComparesShort if spec.name == "DELIFEQ" => {
            request.arg(2).is_some_and(|value| !is_always_plain(value))
        }
        Unless::ComparesShort => compares_long(request, 2),
        Unless::FollowsNothing => follows_patterns(request),
    }
}

/// Whether one of the options from `first` on compares the stored value with one that may be stored otherwise than
/// it is written, or by its digest.
fn compares_long(request: &Request<'_>, first: usize) -> bool {
    let mut args = request.args().skip(first);
    while let Some(option) = args.next() {
        let is = |words: &[&str]| words.iter().any(|word| option.eq_ignore_ascii_case(word.as_bytes()));
        if is(&["IFEQ", "IFNE"]) {
            if args.next().is_some_and(|value| !is_always_plain(value)) {
                return true;
            }
        } else if is(&["IFDEQ", "IFDNE"]) {
            return true;
        } else if is(&["EX", "PX", "EXAT", "PXAT"]) {
            args.next();
        }
    }
    false
}

/// Whether `SORT` reads strings by a pattern (Redis: `lookupKeyByPattern`): one with `*`, and without a field of a
/// hash after it.
fn follows_patterns(request: &Request<'_>) -> bool {
    let mut args = request.args().skip(2);
    while let Some(option) = args.next() {
        let is = |words: &[&str]| words.iter().any(|word| option.eq_ignore_ascii_case(word.as_bytes()));
        if is(&["LIMIT"]) {
            args.nth(1);
        } else if is(&["STORE"]) {
            args.next();
        } else if is(&["BY", "GET"]) && args.next().is_some_and(leads_to_strings) {
            return true;
        }
    }
    false
}

fn leads_to_strings(pattern: &[u8]) -> bool {
    let Some(star) = memchr::memchr(b'*', pattern) else { return false };
    let after = pattern.get(star.saturating_add(1)..).unwrap_or_default();
    let arrow = after.windows(2).position(|two| two == b"->");
    arrow.is_none_or(|arrow| arrow.saturating_add(2) >= after.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::identify;
    use crate::resp::OwnedRequest;

    #[test]
    fn what_would_see_stored_bytes_is_found() {
        let long = "v".repeat(65);
        for (line, expected) in [
            ("GET k", false),
            ("APPEND k v", true),
            ("STRLEN k", true),
            ("HSET k f v", false),
            ("INCR k", false),
            ("DELIFEQ k token", false),
            ("DELIFEQ k LONG", true),
            ("DELEX k", false),
            ("DELEX k IFEQ token", false),
            ("DELEX k ifne LONG", true),
            ("DELEX k IFDEQ 0011", true),
            ("SET k v", false),
            ("SET k LONG", false),
            ("SET k v EX 10 IFEQ token", false),
            ("SET k v IFEQ IFDEQ", false),
            ("SET k v GET IFEQ LONG", true),
            ("SET k v IFDNE 0011", true),
            ("SORT k", false),
            ("SORT k BY nosort GET # LIMIT 0 1", false),
            ("SORT k BY w_*", true),
            ("SORT k GET # get o_*", true),
            ("SORT k BY w_*->f GET o_*->f", false),
            ("SORT k BY w_*->", true),
            ("SORT k LIMIT BY x_* ALPHA", false),
            ("SORT_RO k GET *", true),
        ] {
            let words: Vec<&str> =
                line.split(' ').map(|word| if word == "LONG" { &long } else { word }).collect();
            let request = OwnedRequest::from_args(&words).expect("words");
            let request = request.as_request();
            let spec = identify(&request).expect("known");
            assert_eq!(expected, sees_stored(spec, &request), "{line}");
        }
    }
}
