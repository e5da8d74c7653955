//! `CONFIG SET` for a tenant. One parameter may be set, and only to what it already is or less: libraries
//! that rely on keyspace notifications set `notify-keyspace-events` when they start (*Redis keyspace
//! notifications*, "Configuration"), and must not fail where the operator has switched them on.

use crate::resp::Request;

use super::rescue::text;

/// The parameter that may be set.
pub const NOTIFICATIONS: &[u8] = b"notify-keyspace-events";

/// What `CONFIG SET` comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Configuration {
    /// The upstream notifies of all that is asked for.
    InForce,
    /// It would change the server for everybody: what a user without the permission is told.
    NoPermission,
    /// It is refused in Redis' words.
    Refused(Vec<u8>),
}

/// What `CONFIG SET` of `request` comes to on a server that notifies of `upstream_flags` (its answer to
/// `CONFIG GET notify-keyspace-events`).
pub fn configuration(request: &Request<'_>, upstream_flags: &[u8]) -> Configuration {
    // Pairs follow the two words of the command.
    if !request.argc().is_multiple_of(2) {
        return Configuration::Refused(text::SYNTAX.to_vec());
    }
    let is_ours = |name: &[u8]| name.eq_ignore_ascii_case(NOTIFICATIONS);
    if !request.args().skip(2).step_by(2).all(is_ours) {
        return Configuration::NoPermission;
    }
    if request.argc() > 4 {
        return Configuration::Refused(failed("duplicate parameter"));
    }
    let wanted = request.arg(3).unwrap_or_default();
    if is_superset(upstream_flags, wanted) {
        Configuration::InForce
    } else if wanted.iter().all(|flag| FLAGS.contains(flag)) {
        Configuration::NoPermission
    } else {
        Configuration::Refused(failed("Invalid event class character. Use 'Ag$lshzxeKEtmdn'."))
    }
}

fn failed(reason: &str) -> Vec<u8> {
    format!("ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - {reason}")
        .into_bytes()
}

/// All flags of Redis 7.0. A later one is accepted if the upstream has it.
const FLAGS: &[u8] = b"Ag$lshzxeKEtmdn";

/// The flags that `A` stands for. Not `m` (misses) and `n` (new keys), which are rarely wanted.
const ALL: &[u8] = b"g$lshzxetd";

/// Whether a server that notifies of `upstream_flags` notifies of all that `wanted` asks for.
pub fn is_superset(upstream_flags: &[u8], wanted: &[u8]) -> bool {
    let has =
        |flag: &u8| upstream_flags.contains(flag) || upstream_flags.contains(&b'A') && ALL.contains(flag);
    wanted.iter().all(|flag| has(flag) || *flag == b'A' && ALL.iter().all(has))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedRequest;

    #[test]
    fn flags_are_sets_and_a_stands_for_most() {
        for (upstream, wanted) in [
            ("AKE", "AKE"),
            ("AKE", "Egx"),
            ("AKE", "g$lshzxetdKE"),
            ("g$lshzxetdK", "AK"),
            ("Egx", "xgE"),
            ("", ""),
            ("AKEm", "mK"),
            ("AKEo", "o"),
        ] {
            assert!(is_superset(upstream.as_bytes(), wanted.as_bytes()), "{upstream:?} has {wanted:?}");
        }
        for (upstream, wanted) in
            [("", "K"), ("Egx", "Kgx"), ("g$lshzxeK", "AK"), ("AKE", "m"), ("AKE", "n"), ("AKE", "q")]
        {
            assert!(!is_superset(upstream.as_bytes(), wanted.as_bytes()), "{upstream:?} lacks {wanted:?}");
        }
    }

    fn set(words: &[&str], upstream_flags: &str) -> Configuration {
        let request = OwnedRequest::from_args(&[&["CONFIG", "SET"], words].concat()).expect("words");
        configuration(&request.as_request(), upstream_flags.as_bytes())
    }

    #[test]
    fn notifications_that_the_operator_switched_on_may_be_asked_for() {
        assert_eq!(Configuration::InForce, set(&["notify-keyspace-events", "Egx"], "AKE"));
        assert_eq!(Configuration::InForce, set(&["NOTIFY-keyspace-events", ""], ""));
        assert_eq!(Configuration::NoPermission, set(&["notify-keyspace-events", "Egx"], ""));
    }

    #[test]
    fn nothing_else_may_be_set() {
        assert_eq!(Configuration::NoPermission, set(&["maxmemory", "1"], "AKE"));
        assert_eq!(Configuration::NoPermission, set(&["notify-keyspace-events", "K", "save", ""], "AKE"));
        assert_eq!(Configuration::NoPermission, set(&["nosuch", "1"], "AKE"));
    }

    /// Texts of Redis 7.0.15.
    #[test]
    fn what_is_malformed_is_refused_in_the_words_of_redis() {
        for (words, expected) in [
            (&["notify-keyspace-events", "K", "save"][..], "ERR syntax error"),
            (
                &["notify-keyspace-events", "Kq"],
                "ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - \
                 Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
            ),
            (
                &["notify-keyspace-events", "K", "notify-keyspace-events", "E"],
                "ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - \
                 duplicate parameter",
            ),
        ] {
            assert_eq!(Configuration::Refused(expected.as_bytes().to_vec()), set(words, "AKE"));
        }
    }
}
