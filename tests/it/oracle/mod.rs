//! The oracle: what a tenant reads through the proxy is what a Redis of its own would have said.
//!
//! One Redis, the measure, holds only tenant `acme`'s data under its logical names and is asked directly. Another
//! holds the same data under `acme:` and a second tenant's look-alikes under `globex:`, and is asked through the
//! proxy. The measure is always a single server, since that is what a client may think it speaks to; the other may be
//! any deployment (`place.rs`).
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
mod place;
mod play;
mod run;
mod scenes;
mod script;
mod sides;
mod slots;
mod stage;
mod store;

use crate::servers::{Deployment, Proxy, RedisServer, Setup};
use neighbour::Neighbour;
use place::{Place, in_every_place};
use play::Play;
use run::{Bystander, Run};
use sides::Side;
use stage::{Door, Stage};
use store::Store;

/// Commands drawn when nothing else is asked for.
const DEFAULT_CASES: u64 = 20_000;

/// Sessions played before a single server when nothing else is asked for.
const DEFAULT_SESSIONS: u64 = 2_000;

/// Sessions played in every other place.
const SESSIONS_ELSEWHERE: u64 = 500;

/// Any number will do; a fixed one makes a red run red again.
const DEFAULT_SEED: u64 = 0x7e4a_4712_0001;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not `{text}`")),
        Err(_) => default,
    }
}

fn cases() -> u64 {
    setting("TENANTRY_ORACLE_CASES", DEFAULT_CASES)
}

fn sessions(place: Place) -> u64 {
    let default = if place == Place::Standalone { DEFAULT_SESSIONS } else { SESSIONS_ELSEWHERE };
    setting("TENANTRY_ORACLE_SESSIONS", default)
}

fn seed() -> u64 {
    setting("TENANTRY_ORACLE_SEED", DEFAULT_SEED)
}

/// The side of the measure, for single commands.
fn direct(own: &RedisServer) -> Side {
    Side::new("direct", own.port, Store::of_server(own), b"")
}

/// The other one: tenant `acme`.
fn proxied(proxy: &Proxy, deployment: &Deployment, place: Place) -> Side {
    Side::new("proxied", proxy.acme_port(), Store::of(deployment), place.acme())
}

/// If this fails, the generator draws something that two servers answer differently, and the oracle proves
/// nothing about the proxy until that is repaired.
#[test]
fn two_servers_answer_generated_commands_alike() {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    let place = Place::Standalone;
    Run::new(direct(&one), direct(&other), place, Bystander::Nobody, seed()).draw(cases());
}

in_every_place! { tenant_behind_the_proxy_reads_what_a_redis_of_its_own_would_say }

fn tenant_behind_the_proxy_reads_what_a_redis_of_its_own_would_say(place: Place) {
    let (own, shared) = (RedisServer::start(), place.deploy());
    let proxy = place.proxy(&shared);
    let right = proxied(&proxy, &shared, place);
    Run::new(direct(&own), right, place, Bystander::Globex, seed()).draw(cases());
}

/// Rules that allow everything are asked about every request. (A `max_value_size` refuses in its own words what a server
/// refuses in others: offsets beyond 512 MiB.)
const RULES: &str = r#"
commands = "+@all"
max_arguments = 1000000
max_key_size = "512MiB"
"#;

#[test]
fn tenant_with_rules_that_allow_everything_reads_what_a_redis_of_its_own_would_say() {
    let place = Place::Standalone;
    let (own, shared) = (RedisServer::start(), place.deploy());
    let proxy = Proxy::start(&Setup { tenant_lines: RULES, ..Setup::for_upstream(shared.url()) });
    let right = proxied(&proxy, &shared, place);
    Run::new(direct(&own), right, place, Bystander::Globex, seed()).draw(cases() / 2);
}

in_every_place! { two_tenants_at_work_at_once_read_what_a_redis_of_their_own_would_say }

/// The same, twice at once: two tenants on the proxy's shared upstream connections, each compared with a
/// Redis of its own. A reply that goes to the wrong one of them is a difference.
fn two_tenants_at_work_at_once_read_what_a_redis_of_their_own_would_say(place: Place) {
    let shared = place.deploy();
    let proxy = place.proxy(&shared);
    let own = [RedisServer::start(), RedisServer::start()];
    std::thread::scope(|scope| {
        let tenants = [(proxy.acme_port(), place.acme()), (proxy.globex_port(), place.globex())];
        for (index, (port, prefix)) in tenants.into_iter().enumerate() {
            let right = Side::new("proxied", port, Store::of(&shared), prefix);
            let run = Run::new(direct(&own[index]), right, place, Bystander::AtWork, seed() ^ (1 << index));
            scope.spawn(move || run.draw(cases() / 2));
        }
    });
}

/// If this fails, a scene has something that two servers answer differently, or the test does not wait for all
/// that follows from a step.
#[test]
fn two_servers_answer_generated_sessions_alike() {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    let left = Stage::new("first", Door::Socket(one.socket()), Store::of_server(&one), None);
    let right = Stage::new("second", Door::Socket(other.socket()), Store::of_server(&other), None);
    Play::new(left, right, Place::Standalone, None, seed()).run(sessions(Place::Standalone));
}

in_every_place! { tenant_behind_the_proxy_has_sessions_as_with_a_redis_of_its_own }

fn tenant_behind_the_proxy_has_sessions_as_with_a_redis_of_its_own(place: Place) {
    let (own, shared) = (RedisServer::start(), place.deploy());
    let proxy = place.proxy(&shared);
    let neighbour = Neighbour::new(&proxy, Store::of(&shared), place);
    let left = Stage::new("direct", Door::Socket(own.socket()), Store::of_server(&own), None);
    let door = Door::Port(proxy.acme_port());
    let right = Stage::new("proxied", door, Store::of(&shared), Some(place.acme_stem()));
    Play::new(left, right, place, Some(neighbour), seed()).run(sessions(place));
}
