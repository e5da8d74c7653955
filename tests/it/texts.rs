//! What the proxy itself says, in one place: tests elsewhere compare with Redis or with these.

/// Redis 7.0's text for a command that a user may not run; `command` in lower case, a subcommand after a bar.
pub(crate) fn no_permission(command: &str) -> String {
    format!("-NOPERM this user has no permissions to run the '{command}' command\r\n")
}

/// How every refusal of a command starts that this version does not offer; its name follows in quotes.
pub(crate) const REFUSED: &str = "-ERR ";

/// How such a refusal goes on after the name.
pub(crate) const NOT_YET: &str = "is not supported by this version of Tenantry yet";

/// How the answer starts when the upstream was lost or did not answer.
pub(crate) const UNAVAILABLE: &str = "-UNAVAILABLE ";

/// The command did not reach the upstream.
pub(crate) const NOT_SENT: &str = "was not sent";

/// The command may have reached the upstream.
pub(crate) const PERHAPS_EXECUTED: &str = "may have been executed";

/// What answers a command that cannot be one reply of a transaction.
pub(crate) const NOT_IN_TRANSACTION: &str = "-ERR Command not allowed inside a transaction\\r\\n";
