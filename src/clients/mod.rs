//! Who is connected, per tenant, over all workers, and every answer that is made from it.
//!
//! A connection that is bound to a tenant has one [`Card`]. Its own session writes the card, sessions on other
//! workers read it: `CLIENT LIST` is the cards of one tenant, `CLIENT KILL` and `CLIENT UNBLOCK` post a
//! [`Note`] to one, `MONITOR` posts to those that watch. What concerns a tenant as a whole (pause, slow log,
//! patterns subscribed to) stands beside its cards in [`TenantClients`].
//!
//! Invariants: two tenants share nothing here, not even a lock, so neither can see or slow the other; what
//! the path of a command touches are single atomic loads and stores; a lock is held for a copy or a push,
//! and no other one is taken nor anybody woken meanwhile.

mod answer;
mod card;
mod kill;
mod latency;
mod listing;
mod mailbox;
mod monitor;
mod pause;
mod roll;
mod slow_log;
#[cfg(test)]
mod tests;
mod traffic;

pub use answer::{Outcome, Question, answer};
pub use card::{Card, ClientType, Facts, Marks, Origin};
pub use listing::client_line;
pub use mailbox::{Note, UnblockAs};
pub use monitor::monitor_line;
pub use pause::Pause;
pub use roll::{Clients, TenantClients};
pub use slow_log::{SlowEntry, SlowLog, logged_args};
pub use traffic::{Totals, Traffic};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mutex guards. Every change under one of this module's locks is complete after each statement, so
/// what a thread left that panicked is still good.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An argument as C reads a string: up to its first zero.
fn c_string(arg: &[u8]) -> &[u8] {
    arg.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Whether an argument is this word in any case, compared as C strings as the server does.
fn is_word(arg: &[u8], word: &[u8]) -> bool {
    c_string(arg).eq_ignore_ascii_case(word)
}
