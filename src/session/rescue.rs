//! Every refusal and failure, as the error reply that the client reads. `docs/errors.md` has a row for each.
//!
//! Redis' own code and wording where the meaning is the same, so that client libraries react correctly;
//! `UNAVAILABLE` for what only a proxy can say. Texts carry the client's own arguments, never physical names,
//! addresses or other tenants.

use std::time::Duration;

use crate::command::{CommandSpec, Lacks};
use crate::routing::NoRoute;
use crate::tenant::limits::{Limit, Owner};
use crate::tenant::prefix::TenantName;
use crate::upstream::{Failure, Fate};

use super::persona::Persona;

/// A text of Redis without variables.
pub mod text {
    /// Before the connection is bound to a tenant.
    pub const NOAUTH: &[u8] = b"NOAUTH Authentication required.";
    /// Beyond `max_connections`.
    pub const TOO_MANY_CLIENTS: &[u8] = b"ERR max number of clients reached";
    /// Wrong password and unknown user alike.
    pub const WRONGPASS: &[u8] = b"WRONGPASS invalid username-password pair or user is disabled.";
    /// `AUTH <password>` where none is needed.
    pub const NO_PASSWORD_CONFIGURED: &[u8] = b"ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";
    /// Options that do not parse.
    pub const SYNTAX: &[u8] = b"ERR syntax error";
    /// A number that is none.
    pub const NOT_AN_INTEGER: &[u8] = b"ERR value is not an integer or out of range";
    /// `SELECT` of a number that is no C `int`; the missing word is Redis' own.
    pub const NOT_A_C_INT: &[u8] =
        b"ERR value is out of range, value must between -2147483648 and 2147483647";
    /// `SELECT` beyond the configured databases.
    pub const DATABASE_OUT_OF_RANGE: &[u8] = b"ERR DB index is out of range";
    /// `CLIENT SETNAME` and `HELLO … SETNAME`.
    pub const BAD_CLIENT_NAME: &[u8] =
        b"ERR Client names cannot contain spaces, newlines or special characters.";
    /// `HELLO x`.
    pub const BAD_PROTOCOL_VERSION: &[u8] = b"ERR Protocol version is not an integer or out of range";
    /// `HELLO 4`.
    pub const NOPROTO: &[u8] = b"NOPROTO unsupported protocol version";
    /// `HELLO` before authentication, Redis 7.0.
    pub const HELLO_NOAUTH_7_0: &[u8] = b"NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
    /// The same from Redis 7.2 on.
    pub const HELLO_NOAUTH: &[u8] = b"NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
    /// `CLUSTER`, `ASKING`, `READONLY`, `READWRITE` on a standalone server.
    pub const NO_CLUSTER: &[u8] = b"ERR This instance has cluster support disabled";
    /// `EXEC` without a transaction.
    pub const EXEC_WITHOUT_MULTI: &[u8] = b"ERR EXEC without MULTI";
    /// Keys of several slots in a request that cannot be cut.
    pub const CROSSSLOT: &[u8] = b"CROSSSLOT Keys in request don't hash to the same slot";
    /// `DISCARD` without a transaction.
    pub const DISCARD_WITHOUT_MULTI: &[u8] = b"ERR DISCARD without MULTI";
    /// `MULTI` in a transaction, which goes on.
    pub const NESTED_MULTI: &[u8] = b"ERR MULTI calls can not be nested";
    /// `WATCH` in a transaction, which goes on.
    pub const WATCH_INSIDE_MULTI: &[u8] = b"ERR WATCH inside MULTI is not allowed";
    /// `EXEC` after a refused request.
    pub const EXECABORT: &[u8] = b"EXECABORT Transaction discarded because of previous errors.";
    /// `EXEC` that was itself refused; the reason follows.
    pub const EXECABORT_BECAUSE: &[u8] = b"EXECABORT Transaction discarded because of: ";
    /// A client that monitors wants to read or write keys; the words are Redis' own.
    pub const MONITOR_WITH_KEYS: &[u8] = b"ERR Replica can't interact with the keyspace";
    /// A command whose answer cannot be one reply of a transaction.
    pub const NOT_IN_TRANSACTION: &[u8] = b"ERR Command not allowed inside a transaction";
    /// `HELLO` would change how replies look that the session's own connection is to send.
    pub const VERSION_IS_TIED: &[u8] =
        b"ERR the protocol version cannot change while keys are watched or tracked or channels are subscribed to";
    /// More subscriptions than one client may have.
    pub const TOO_MANY_SUBSCRIPTIONS: &[u8] =
        b"ERR client has too many subscriptions, limit is 100000, of them 1000 patterns";
    /// More prefixes than one client may track.
    pub const TOO_MANY_PREFIXES: &[u8] = b"ERR client tracks too many prefixes, limit is 64";
    /// More keys than one client may watch.
    pub const TOO_MANY_WATCHED: &[u8] = b"ERR client watches too many keys, limit is 1000";
    /// `RESTORE` where a forged payload would not be found out.
    pub const UNCHECKED_PAYLOAD: &[u8] = b"ERR RESTORE is refused: the upstream does not say that it checks payloads, and a forged one can crash it; its operator can set sanitize-dump-payload to 'clients' there";
    /// `RESTORE` while nothing is known of the upstream.
    pub const UNKNOWN_PAYLOAD_CHECK: &[u8] = b"UNAVAILABLE RESTORE is refused until the upstream has said whether it checks payloads; the command was not sent";
    /// Nobody owns the slot of the keys.
    pub const UNSERVED: &[u8] = b"CLUSTERDOWN Hash slot not served";
    /// The upstream's nodes are still being looked for.
    pub const NODES_UNKNOWN: &[u8] =
        b"UNAVAILABLE the nodes of the upstream are not known yet; the command was not sent";
    /// The tenant reads from replicas only.
    pub const NO_REPLICA: &[u8] =
        b"UNAVAILABLE no replica that could be read from is known; the command was not sent";
    /// Nodes of a cluster went on naming each other.
    pub const NODES_DISAGREE: &[u8] =
        b"UNAVAILABLE the upstream's nodes do not agree on where the keys are; the command was not executed";
    /// `CLIENT TRACKING ON` where keys are on several nodes.
    pub const NO_TRACKING_ON_CLUSTER: &[u8] =
        b"ERR CLIENT TRACKING is not supported by this version of Tenantry on a cluster";
    /// The upstream refused what the proxy sent in its own right.
    pub const UPSTREAM_REFUSED_PROXY: &[u8] = b"UNAVAILABLE the upstream does not let the proxy's user run this command; its operator must extend the user's ACL";
    /// A redirection from an upstream that was configured as standalone.
    pub const UPSTREAM_IS_CLUSTER: &[u8] =
        b"UNAVAILABLE the upstream is a cluster node but is configured as a standalone server";
    /// The upstream does not know a command that it listed.
    pub const UPSTREAM_UNKNOWN_COMMAND: &[u8] = b"ERR unknown command";
    /// A cursor of `SCAN` with more bits than a client's may have.
    pub const CURSOR_TOO_LARGE: &[u8] =
        b"UNAVAILABLE SCAN cannot go on: the upstream's cursor is too large to be hidden; please report this";
    /// A request while the process is short of memory.
    pub const SHORT_OF_MEMORY: &[u8] =
        b"UNAVAILABLE the proxy is short of memory; the command was not sent; retry in 100 ms";
    /// A connection while the process is short of memory.
    pub const NO_MEMORY_FOR_CONNECTION: &[u8] =
        b"UNAVAILABLE the proxy is short of memory and takes no new connections; retry in 1000 ms";
    /// A client that is closed because it holds most of what there is too little of.
    pub const EVICTED: &[u8] =
        b"UNAVAILABLE the proxy is short of memory, and the connection is closed because it holds much of it; retry in 1000 ms";
    /// A reply named something outside of the tenant; it was withheld.
    pub const WITHHELD: &[u8] = b"UNAVAILABLE the reply was withheld because it could not be scoped to the tenant; please report this";
}

/// What Redis' ACL answers to a user who may not run a command; from 7.2 on it names the user.
pub fn no_permission(spec: &'static CommandSpec, user: &str, persona: &Persona) -> Vec<u8> {
    let name = spec.full_name_lower();
    if persona.is_at_least(7, 2) {
        format!("NOPERM User {user} has no permissions to run the '{name}' command").into_bytes()
    } else {
        format!("NOPERM this user has no permissions to run the '{name}' command").into_bytes()
    }
}

/// A command that may change data, where nothing may. Not `READONLY`: clients take that for a replica, and look for
/// another server.
pub fn read_only(spec: &'static CommandSpec) -> Vec<u8> {
    format!(
        "NOPERM this tenant or user may only read (read_only), and '{}' may write",
        spec.full_name_lower()
    )
    .into_bytes()
}

/// A key's time to live cannot be seen to.
pub fn needs_expire_options(spec: &'static CommandSpec) -> Vec<u8> {
    format!("ERR '{}' is refused: default_ttl needs Redis 7.0 or later upstream", spec.full_name_lower())
        .into_bytes()
}

/// What a subscribed RESP2 client may not send.
pub fn only_subscriptions(spec: &'static CommandSpec) -> Vec<u8> {
    let name = spec.full_name_lower();
    format!("ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context").into_bytes()
}

/// A command that a later version will serve.
pub fn not_yet(spec: &'static CommandSpec, lacks: Lacks) -> Vec<u8> {
    let name = spec.full_name_lower();
    format!("ERR '{name}' is not supported by this version of Tenantry yet: it {}", lacks.reason())
        .into_bytes()
}

/// A command, or a form of it, that would see how values are stored.
pub fn sees_stored(spec: &'static CommandSpec, tenant: &TenantName) -> Vec<u8> {
    let name = spec.full_name_lower();
    format!("ERR '{name}' would see compressed values: compression is on for tenant '{tenant}'").into_bytes()
}

/// A request that got no reply.
pub fn unavailable(upstream: &str, failure: &Failure) -> Vec<u8> {
    let what = match failure.fate {
        Fate::NotSent => "the command was not sent",
        Fate::MayHaveRun => "the command may have been executed",
    };
    let retry = failure.retry_in.map(|wait| format!("; retry in {} ms", round_up(wait))).unwrap_or_default();
    format!("UNAVAILABLE upstream '{upstream}': {}; {what}{retry}", failure.reason).into_bytes()
}

/// A request that has no node.
pub fn no_route(error: NoRoute) -> Vec<u8> {
    match error {
        NoRoute::Unknown => text::NODES_UNKNOWN,
        NoRoute::Unserved => text::UNSERVED,
        NoRoute::CrossSlot => text::CROSSSLOT,
        NoRoute::NoReplica => text::NO_REPLICA,
    }
    .to_vec()
}

/// A client that got no connection of its own in time.
pub fn no_lease(upstream: &str, waited: Duration) -> Vec<u8> {
    format!(
        "UNAVAILABLE upstream '{upstream}': no connection of its own for this client within {} ms; the command was not sent",
        waited.as_millis()
    )
    .into_bytes()
}

/// A request beyond a rate that would be carried out in so many nanoseconds.
pub fn rate_limited(owner: &Owner, limit: &Limit, retry_in: u64) -> Vec<u8> {
    let retry = retry_in.div_ceil(1_000_000).max(1);
    format!("RATELIMITED {owner} exceeded {limit}; retry in {retry} ms").into_bytes()
}

/// A request beyond those that may be in flight.
pub fn too_many_in_flight(owner: &Owner, most: u64) -> Vec<u8> {
    format!("RATELIMITED {owner} has {most} requests in flight, limit is {most}").into_bytes()
}

/// A connection beyond those that there may be.
pub fn too_many_connections(owner: &Owner, most: u64) -> Vec<u8> {
    format!("ERR max number of clients reached: {owner} has {most} connections, limit is {most}").into_bytes()
}

/// Milliseconds, never 0: a client that retries at once would be refused again.
fn round_up(wait: Duration) -> u128 {
    wait.as_millis().saturating_add(1)
}

/// What a tenant reads instead of an error reply that is about the proxy or the upstream's deployment.
/// `None`: the error is the tenant's own.
pub fn replaces(error: &[u8]) -> Option<&'static [u8]> {
    let code = error.split(|byte| *byte == b' ').next().unwrap_or_default();
    match code {
        b"NOAUTH" | b"NOPERM" | b"WRONGPASS" => Some(text::UPSTREAM_REFUSED_PROXY),
        b"MOVED" | b"ASK" | b"REDIRECT" => Some(text::UPSTREAM_IS_CLUSTER),
        b"ERR" if error.starts_with(b"ERR unknown command") => Some(text::UPSTREAM_UNKNOWN_COMMAND),
        _ => None,
    }
}

/// The same where redirections are followed: these went on too long.
pub fn replaces_in_cluster(error: &[u8]) -> Option<&'static [u8]> {
    let text = replaces(error)?;
    Some(if text == text::UPSTREAM_IS_CLUSTER { text::NODES_DISAGREE } else { text })
}

/// Whether an error says that nobody can be asked now: nothing is wrong with the request, and nothing was found out.
pub fn is_unavailability(error: &[u8]) -> bool {
    let code = error.split(|byte| *byte == b' ').next().unwrap_or_default();
    // What follows `upstream` in other errors of this code is wrong with it, or with its reply.
    error.starts_with(b"UNAVAILABLE upstream '")
        || [text::NODES_UNKNOWN, text::NO_REPLICA, text::NODES_DISAGREE].contains(&error)
        || [b"CLUSTERDOWN".as_slice(), b"LOADING", b"MASTERDOWN"].contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn an_unavailable_upstream_says_what_became_of_the_command() {
        let mut failure = Failure {
            fate: Fate::NotSent,
            reason: Rc::from("connection refused"),
            retry_in: Some(Duration::from_millis(49)),
        };
        assert_eq!(
            b"UNAVAILABLE upstream 'main': connection refused; the command was not sent; retry in 50 ms"
                .to_vec(),
            unavailable("main", &failure)
        );
        failure = Failure { fate: Fate::MayHaveRun, retry_in: None, ..failure };
        assert_eq!(
            b"UNAVAILABLE upstream 'main': connection refused; the command may have been executed".to_vec(),
            unavailable("main", &failure)
        );
    }

    #[test]
    fn an_unavailability_is_nobodys_fault() {
        let failure = Failure { fate: Fate::MayHaveRun, reason: Rc::from("lost"), retry_in: None };
        for error in [
            &unavailable("main", &failure),
            &no_lease("main", Duration::from_secs(2)),
            &no_route(NoRoute::Unknown),
            &no_route(NoRoute::Unserved),
            &no_route(NoRoute::NoReplica),
            &b"LOADING Redis is loading the dataset in memory".to_vec(),
            &b"CLUSTERDOWN The cluster is down".to_vec(),
        ] {
            assert!(is_unavailability(error), "{}", String::from_utf8_lossy(error));
        }
        for error in [
            text::WITHHELD,
            text::UPSTREAM_REFUSED_PROXY,
            text::UPSTREAM_IS_CLUSTER,
            text::UNKNOWN_PAYLOAD_CHECK,
            text::CROSSSLOT,
            b"RATELIMITED tenant 'acme' exceeded 1000 requests/s; retry in 12 ms",
            b"BUSY Redis is busy running a script.",
            b"",
        ] {
            assert!(!is_unavailability(error), "{}", String::from_utf8_lossy(error));
        }
    }

    #[test]
    fn errors_about_the_proxy_are_not_shown_as_the_tenants_own() {
        assert_eq!(Some(text::UPSTREAM_REFUSED_PROXY), replaces(b"NOAUTH Authentication required."));
        assert_eq!(Some(text::UPSTREAM_IS_CLUSTER), replaces(b"MOVED 1 10.0.0.1:6379"));
        assert_eq!(Some(text::NODES_DISAGREE), replaces_in_cluster(b"MOVED 1 10.0.0.1:6379"));
        assert_eq!(
            Some(text::UPSTREAM_REFUSED_PROXY),
            replaces_in_cluster(b"NOAUTH Authentication required.")
        );
        assert_eq!(
            Some(text::UPSTREAM_UNKNOWN_COMMAND),
            replaces(b"ERR unknown command 'X', with args beginning with: 'acme:k' ")
        );
        // Redis 6 quotes with backticks.
        assert_eq!(
            Some(text::UPSTREAM_UNKNOWN_COMMAND),
            replaces(b"ERR unknown command `X`, with args beginning with: `acme:k`, ")
        );
        assert_eq!(None, replaces(b"WRONGTYPE Operation against a key holding the wrong kind of value"));
    }
}
