//! The oracle: what a tenant reads through the proxy is what a Redis of its own would have said.
//!
//! One Redis holds only tenant `acme`'s data under its logical names and is asked directly. Another holds the
//! same data under `acme:` and a second tenant's look-alikes under `globex:`, and is asked through the proxy.
//! Commands are drawn from `grammar.txt`, sent to both, and the replies must be the same bytes; after every
//! epoch the stored data must be the same as well, and the second tenant's data untouched.
//!
//! That is done twice. `run.rs` draws single commands, each with one reply. `play.rs` draws sessions: what several
//! connections say in turn, with transactions, waiting, messages and tracking, woven from the scenes of
//! `scenes.txt`; every frame that any of the connections receives is compared, in its place.
//!
//! `exceptions.txt` lists all that is not compared byte for byte, and is the only such list.
//! `TENANTRY_ORACLE_CASES` and `TENANTRY_ORACLE_SESSIONS` set how many commands and sessions are drawn,
//! `TENANTRY_ORACLE_SEED` which ones. A failure prints the seed and the shortest history found that leads to the
//! difference, as one would type it into redis-cli.

mod chance;
mod compare;
mod coverage;
mod ear;
mod exceptions;
mod generate;
mod grammar;
mod identity;
mod neighbour;
mod play;
mod run;
mod scenes;
mod script;
mod sides;
mod stage;

use crate::servers::{Proxy, RedisServer};
use neighbour::Neighbour;
use play::Play;
use run::{Bystander, Run};
use sides::Side;
use stage::{Door, Stage};

/// Commands drawn when nothing else is asked for.
const DEFAULT_CASES: u64 = 20_000;

/// Sessions played when nothing else is asked for.
const DEFAULT_SESSIONS: u64 = 2_000;

/// Any number will do; a fixed one makes a red run red again.
const DEFAULT_SEED: u64 = 0x7e4a_4712_0001;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not `{text}`")),
        Err(_) => default,
    }
}

/// If this fails, the generator draws something that two servers answer differently, and the oracle proves
/// nothing about the proxy until that is repaired.
#[test]
fn two_servers_answer_generated_commands_alike() {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    let left = Side::new("first", one.port, one.client(), b"");
    let right = Side::new("second", other.port, other.client(), b"");
    let cases = setting("TENANTRY_ORACLE_CASES", DEFAULT_CASES);
    Run::new(left, right, Bystander::Nobody, setting("TENANTRY_ORACLE_SEED", DEFAULT_SEED)).draw(cases);
}

#[test]
fn tenant_behind_the_proxy_reads_what_a_redis_of_its_own_would_say() {
    let (own, shared) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::before(&shared);
    let left = Side::new("direct", own.port, own.client(), b"");
    let right = Side::new("proxied", proxy.acme_port(), shared.client(), b"acme:");
    let cases = setting("TENANTRY_ORACLE_CASES", DEFAULT_CASES);
    Run::new(left, right, Bystander::Globex, setting("TENANTRY_ORACLE_SEED", DEFAULT_SEED)).draw(cases);
}

/// The same, twice at once: two tenants on the proxy's shared upstream connections, each compared with a
/// Redis of its own. A reply that goes to the wrong one of them is a difference.
#[test]
fn two_tenants_at_work_at_once_read_what_a_redis_of_their_own_would_say() {
    let shared = RedisServer::start();
    let proxy = Proxy::before(&shared);
    let own = [RedisServer::start(), RedisServer::start()];
    let cases = setting("TENANTRY_ORACLE_CASES", DEFAULT_CASES) / 2;
    let seed = setting("TENANTRY_ORACLE_SEED", DEFAULT_SEED);
    std::thread::scope(|scope| {
        let tenants = [(proxy.acme_port(), &b"acme:"[..]), (proxy.globex_port(), b"globex:")];
        for (index, (port, prefix)) in tenants.into_iter().enumerate() {
            let left = Side::new("direct", own[index].port, own[index].client(), b"");
            let right = Side::new("proxied", port, shared.client(), prefix);
            scope.spawn(move || Run::new(left, right, Bystander::AtWork, seed ^ (1 << index)).draw(cases));
        }
    });
}

/// If this fails, a scene has something that two servers answer differently, or the test does not wait for all
/// that follows from a step.
#[test]
fn two_servers_answer_generated_sessions_alike() {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    let left = Stage::new("first", Door::Socket(one.socket()), one.client(), None);
    let right = Stage::new("second", Door::Socket(other.socket()), other.client(), None);
    let sessions = setting("TENANTRY_ORACLE_SESSIONS", DEFAULT_SESSIONS);
    Play::new(left, right, None, setting("TENANTRY_ORACLE_SEED", DEFAULT_SEED)).run(sessions);
}

#[test]
fn tenant_behind_the_proxy_has_sessions_as_with_a_redis_of_its_own() {
    let (own, shared) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::before(&shared);
    let neighbour = Neighbour::new(&proxy, &shared);
    let left = Stage::new("direct", Door::Socket(own.socket()), own.client(), None);
    let right = Stage::new("proxied", Door::Port(proxy.acme_port()), shared.client(), Some("acme"));
    let sessions = setting("TENANTRY_ORACLE_SESSIONS", DEFAULT_SESSIONS);
    Play::new(left, right, Some(neighbour), setting("TENANTRY_ORACLE_SEED", DEFAULT_SEED)).run(sessions);
}
