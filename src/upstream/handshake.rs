//! What is said on a new upstream connection before anything is forwarded, and what is learned from the
//! answers.
//!
//! A script without I/O: the requests go out in one write, each reply is handed in, and the end is a
//! [`Greeting`] or the reason why this connection cannot be used. Wire: `HELLO`, `AUTH`, `SELECT`, `CLIENT
//! SETNAME`, `INFO server`, `CONFIG GET proto-max-bulk-len`, `CONFIG GET sanitize-dump-payload`, `COMMAND LIST`
//! (Redis 7; older servers answer an error, and then every command of the table is assumed to exist).

use std::collections::VecDeque;

use super::lane::Fingerprint;
use crate::resp::cursor::{Cursor, Value};
use crate::resp::{OwnedRequest, Version};
use crate::routing::Access;
use crate::settings::{Deployment, Password, UpstreamSettings};

/// The name that upstream operators see in `CLIENT LIST`.
const CLIENT_NAME: &str = "tenantry";

/// What an upstream said of itself. Fields are empty when it did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// `redis_version`.
    pub version: String,
    /// `proto-max-bulk-len`, bytes; `None` if `CONFIG GET` is not allowed to the proxy.
    pub max_bulk: Option<usize>,
    /// Whether it looks into what `RESTORE` brings (`sanitize-dump-payload`); `false` also if it does not say.
    pub checks_payloads: bool,
    /// Names of its commands, lower case, subcommands as `config|get`.
    pub commands: Vec<String>,
    /// `CLIENT ID` of a dedicated connection.
    pub client_id: u64,
}

/// What a connection will be used for, hence what is asked at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Everybody's requests: what the upstream is and accepts.
    Shared,
    /// One session's: who the connection is to the upstream.
    Dedicated,
}

/// Why a connection cannot be used. `Display` names the step and the upstream's own words, never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// An error reply to a step that must succeed.
    #[error("{step} failed: {reply}")]
    Step {
        /// The command of the step.
        step: &'static str,
        /// The error reply without its `-`.
        reply: String,
    },
    /// A node of a cluster where none is expected, or the other way round, or a sentinel.
    #[error("the upstream runs in {mode} mode: name {remedy}")]
    Mode {
        /// Its `redis_mode`.
        mode: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// A replica that was said to be the primary.
    #[error("the node is not a primary")]
    NotPrimary,
    /// More replies than requests, or a reply that cannot be read.
    #[error("the upstream does not speak the Redis protocol")]
    NotRedis,
}

/// One request of the script and what its reply is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// An error ends the connection.
    Must(&'static str),
    /// An error does not matter.
    May,
    /// `ROLE`: it must be the primary.
    Role,
    /// `INFO server`.
    Info,
    /// `CONFIG GET proto-max-bulk-len`.
    MaxBulk,
    /// `CONFIG GET sanitize-dump-payload`.
    Payloads,
    /// `COMMAND LIST`.
    Commands,
    /// `CLIENT ID`.
    ClientId,
}

/// The `redis_mode` that an upstream must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Standalone,
    Cluster,
}

impl Expected {
    fn of(deployment: &Deployment) -> Self {
        match deployment {
            Deployment::Cluster { .. } => Self::Cluster,
            Deployment::Node(_) | Deployment::Sentinel(_) => Self::Standalone,
        }
    }

    fn check(self, mode: &str) -> Result<(), Refused> {
        let remedy = match (self, mode) {
            (Self::Standalone, "standalone") | (Self::Cluster, "cluster") => return Ok(()),
            (_, "sentinel") => "the group it watches as redis+sentinel://host:port/name",
            (Self::Standalone, _) => "it as redis+cluster://host:port",
            (Self::Cluster, _) => "it as redis://host:port",
        };
        Err(Refused::Mode { mode: mode.to_owned(), remedy })
    }
}

/// The script of one connection.
#[derive(Debug)]
pub struct Handshake {
    pending: VecDeque<Step>,
    expects: Expected,
    greeting: Greeting,
}

impl Handshake {
    /// The requests to send, in one piece, and the script that reads their replies.
    pub fn begin(fingerprint: Fingerprint, purpose: Script, settings: &UpstreamSettings) -> (Vec<u8>, Self) {
        let database = fingerprint.database.unwrap_or(settings.database);
        let number = database.to_string();
        let mut script = introduction(fingerprint.version, settings);
        if database != 0 {
            script.push((Step::Must("SELECT"), vec!["SELECT", &number]));
        }
        match (&settings.deployment, fingerprint.access) {
            (Deployment::Cluster { .. }, Access::ReadOnly) => {
                script.push((Step::Must("READONLY"), vec!["READONLY"]));
            }
            // Who was said to be the primary may have been told otherwise since.
            (Deployment::Sentinel(_), Access::ReadWrite) => script.push((Step::Role, vec!["ROLE"])),
            (Deployment::Node(_) | Deployment::Cluster { .. } | Deployment::Sentinel(_), _) => {}
        }
        script.push((Step::May, vec!["CLIENT", "SETNAME", CLIENT_NAME]));
        match purpose {
            Script::Shared => {
                script.push((Step::Info, vec!["INFO", "server"]));
                script.push((Step::MaxBulk, vec!["CONFIG", "GET", "proto-max-bulk-len"]));
                // One request each: Redis before 7 takes one name only.
                script.push((Step::Payloads, vec!["CONFIG", "GET", "sanitize-dump-payload"]));
                script.push((Step::Commands, vec!["COMMAND", "LIST"]));
            }
            Script::Dedicated => script.push((Step::ClientId, vec!["CLIENT", "ID"])),
        }
        let mut bytes = Vec::new();
        for (_, words) in &script {
            if let Some(request) = OwnedRequest::from_args(words) {
                bytes.extend_from_slice(request.as_request().bytes());
            }
        }
        let pending = script.into_iter().map(|(step, _)| step).collect();
        let expects = Expected::of(&settings.deployment);
        (bytes, Self { pending, expects, greeting: Greeting::default() })
    }

    /// Takes one complete reply. `Some` once the last one has been read.
    pub fn on_reply(&mut self, reply: &[u8]) -> Result<Option<Greeting>, Refused> {
        let step = self.pending.pop_front().ok_or(Refused::NotRedis)?;
        let mut cursor = Cursor::new(reply);
        match (step, cursor.next_value().ok_or(Refused::NotRedis)?) {
            (Step::Must(step), Value::Line(b'-', text)) => {
                return Err(Refused::Step { step, reply: String::from_utf8_lossy(text).into_owned() });
            }
            // Before authentication has succeeded INFO is refused: the connection is of no use.
            (Step::Info, Value::Line(b'-', text)) => {
                return Err(Refused::Step {
                    step: "INFO",
                    reply: String::from_utf8_lossy(text).into_owned(),
                });
            }
            (Step::Role, Value::Array(_)) => match cursor.next_value() {
                Some(Value::Bulk(b"master")) => {}
                _ => return Err(Refused::NotPrimary),
            },
            (Step::Info, Value::Bulk(text)) => self.learn_info(&String::from_utf8_lossy(text))?,
            (Step::MaxBulk, Value::Array(2) | Value::Map(1)) => self.learn_max_bulk(&mut cursor),
            (Step::Payloads, Value::Array(2) | Value::Map(1)) => {
                let value = value_of_parameter(&mut cursor);
                self.greeting.checks_payloads = matches!(value, Some(b"yes" | b"clients"));
            }
            (Step::Commands, Value::Array(count)) => self.learn_commands(&mut cursor, count),
            // Without it a blocked client could not be unblocked.
            (Step::ClientId, Value::Line(b':', number)) => {
                let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
                self.greeting.client_id = number.ok_or(Refused::NotRedis)?;
            }
            (Step::ClientId, Value::Line(b'-', text)) => {
                return Err(Refused::Step {
                    step: "CLIENT ID",
                    reply: String::from_utf8_lossy(text).into_owned(),
                });
            }
            _ => {}
        }
        Ok(self.pending.is_empty().then(|| std::mem::take(&mut self.greeting)))
    }

    fn learn_info(&mut self, text: &str) -> Result<(), Refused> {
        for line in text.lines() {
            let Some((field, value)) = line.split_once(':') else { continue };
            match field {
                "redis_version" => value.clone_into(&mut self.greeting.version),
                "redis_mode" => self.expects.check(value)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn learn_max_bulk(&mut self, cursor: &mut Cursor<'_>) {
        let value = value_of_parameter(cursor).and_then(|value| std::str::from_utf8(value).ok());
        self.greeting.max_bulk = value.and_then(|text| text.parse().ok());
    }

    fn learn_commands(&mut self, cursor: &mut Cursor<'_>, count: usize) {
        for _ in 0..count {
            match cursor.next_value() {
                Some(Value::Bulk(name) | Value::Line(b'+', name)) => {
                    self.greeting.commands.push(String::from_utf8_lossy(name).to_ascii_lowercase());
                }
                _ => return,
            }
        }
    }
}

/// The value of the one parameter that `CONFIG GET` answers.
fn value_of_parameter<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    match (cursor.next_value(), cursor.next_value()) {
        (Some(_), Some(Value::Bulk(value))) => Some(value),
        _ => None,
    }
}

/// Protocol version and credentials.
fn introduction(version: Version, settings: &UpstreamSettings) -> Vec<(Step, Vec<&str>)> {
    let user = settings.username.as_deref();
    match (version, settings.password.as_ref().map(Password::reveal)) {
        (Version::Resp3, Some(password)) => {
            vec![(Step::Must("HELLO"), vec!["HELLO", "3", "AUTH", user.unwrap_or("default"), password])]
        }
        (Version::Resp3, None) => vec![(Step::Must("HELLO"), vec!["HELLO", "3"])],
        (Version::Resp2, Some(password)) => {
            let words = user.map_or_else(|| vec!["AUTH", password], |user| vec!["AUTH", user, password]);
            vec![(Step::Must("AUTH"), words)]
        }
        (Version::Resp2, None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::topology::NodeId;
    use crate::settings::{
        BreakerSettings, ClassTimeouts, Endpoint, Restore, RetrySettings, TopologySettings,
    };
    use crate::upstream::Load;
    use std::time::Duration;

    fn unauthenticated() -> UpstreamSettings {
        UpstreamSettings {
            name: "main".into(),
            deployment: Deployment::Node(Endpoint::Tcp { host: "localhost".into(), port: 6379 }),
            address_map: Vec::new(),
            topology: TopologySettings {
                refresh_every: Duration::from_secs(1),
                refresh_min: Duration::from_secs(1),
            },
            measures_nodes: false,
            max_redirects: 5,
            username: None,
            password: None,
            database: 0,
            connect_timeout: Duration::from_secs(1),
            reply_timeout: Duration::from_secs(1),
            class_timeouts: ClassTimeouts::default(),
            retry: RetrySettings { percent: 0, minimum: 0 },
            reconnect_min: Duration::from_secs(1),
            reconnect_max: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            window: 1,
            max_leases: 1,
            lease_wait: Duration::from_secs(1),
            restore: Restore::Checked,
            breaker: BreakerSettings::OFF,
        }
    }

    fn settings(username: Option<&str>, password: Option<&str>, database: u32) -> UpstreamSettings {
        let username = username.map(Into::into);
        let password = password.map(|clear| Password::new(clear.into()));
        UpstreamSettings { username, password, database, ..unauthenticated() }
    }

    fn shared(version: Version) -> Fingerprint {
        let (node, access, load) = (NodeId(0), Access::ReadWrite, Load::Light);
        Fingerprint { upstream: 0, node, access, version, database: None, load }
    }

    fn script(version: Version, settings: &UpstreamSettings) -> String {
        let (bytes, _) = Handshake::begin(shared(version), Script::Shared, settings);
        let text = String::from_utf8(bytes).expect("ASCII");
        text.lines().filter(|line| !line.starts_with(['*', '$'])).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_script_is_as_short_as_the_credentials_allow() {
        let tail = "CLIENT SETNAME tenantry INFO server CONFIG GET proto-max-bulk-len CONFIG GET sanitize-dump-payload \
                    COMMAND LIST";
        assert_eq!(tail, script(Version::Resp2, &settings(None, None, 0)));
        assert_eq!(format!("AUTH pw {tail}"), script(Version::Resp2, &settings(None, Some("pw"), 0)));
        assert_eq!(
            format!("AUTH me pw SELECT 3 {tail}"),
            script(Version::Resp2, &settings(Some("me"), Some("pw"), 3))
        );
        assert_eq!(
            format!("HELLO 3 AUTH default pw {tail}"),
            script(Version::Resp3, &settings(None, Some("pw"), 0))
        );
    }

    #[test]
    fn a_dedicated_connection_learns_its_number_and_selects_its_database() {
        let fingerprint = Fingerprint { database: Some(4), ..shared(Version::Resp3) };
        let (bytes, mut handshake) =
            Handshake::begin(fingerprint, Script::Dedicated, &settings(None, None, 0));
        assert!(String::from_utf8(bytes).expect("ASCII").contains("SELECT\r\n$1\r\n4\r\n"));
        for reply in [b"%0\r\n".as_slice(), b"+OK\r\n", b"+OK\r\n"] {
            assert_eq!(Ok(None), handshake.on_reply(reply));
        }
        let greeting = Greeting { client_id: 77, ..Greeting::default() };
        assert_eq!(Ok(Some(greeting)), handshake.on_reply(b":77\r\n"));
    }

    #[test]
    fn replies_become_a_greeting() {
        let (_, mut handshake) =
            Handshake::begin(shared(Version::Resp2), Script::Shared, &settings(None, None, 0));
        assert_eq!(Ok(None), handshake.on_reply(b"-NOPERM no\r\n"));
        assert_eq!(
            Ok(None),
            handshake.on_reply(b"$45\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\r\n")
        );
        let greeting = Greeting {
            version: "7.0.15".into(),
            max_bulk: Some(1024),
            checks_payloads: true,
            commands: vec!["get".into(), "config|get".into()],
            client_id: 0,
        };
        let reply = b"*2\r\n$18\r\nproto-max-bulk-len\r\n$4\r\n1024\r\n";
        assert_eq!(Ok(None), handshake.on_reply(reply));
        let reply = b"*2\r\n$21\r\nsanitize-dump-payload\r\n$7\r\nclients\r\n";
        assert_eq!(Ok(None), handshake.on_reply(reply));
        assert_eq!(Ok(Some(greeting)), handshake.on_reply(b"*2\r\n$3\r\nget\r\n$10\r\nconfig|get\r\n"));
        assert_eq!(Err(Refused::NotRedis), handshake.on_reply(b"+OK\r\n"));
    }

    #[test]
    fn payloads_are_checked_by_an_upstream_that_says_so() {
        let learned = |version, reply: &[u8]| {
            let (_, mut handshake) =
                Handshake::begin(shared(version), Script::Shared, &settings(None, None, 0));
            let rest: usize = handshake.pending.iter().take_while(|step| **step != Step::Payloads).count();
            for _ in 0..rest {
                assert_eq!(Ok(None), handshake.on_reply(b"+OK\r\n"));
            }
            assert_eq!(Ok(None), handshake.on_reply(reply));
            handshake
                .on_reply(b"-ERR no\r\n")
                .map(|greeting| greeting.map(|greeting| greeting.checks_payloads))
        };
        for (expected, reply) in [
            (true, b"*2\r\n$21\r\nsanitize-dump-payload\r\n$3\r\nyes\r\n".as_slice()),
            (false, b"*2\r\n$21\r\nsanitize-dump-payload\r\n$2\r\nno\r\n"),
            // Redis 6.0 has no such parameter, and checks nothing.
            (false, b"*0\r\n"),
            (false, b"-NOPERM no\r\n"),
        ] {
            assert_eq!(Ok(Some(expected)), learned(Version::Resp2, reply), "{}", reply.escape_ascii());
        }
        let reply = b"%1\r\n$21\r\nsanitize-dump-payload\r\n$7\r\nclients\r\n";
        assert_eq!(Ok(Some(true)), learned(Version::Resp3, reply));
    }

    #[test]
    fn a_wrong_password_refuses_the_connection_in_the_servers_words() {
        let (_, mut handshake) =
            Handshake::begin(shared(Version::Resp2), Script::Shared, &settings(None, Some("pw"), 0));
        let refused =
            handshake.on_reply(b"-WRONGPASS invalid username-password pair\r\n").expect_err("refused");
        assert_eq!("AUTH failed: WRONGPASS invalid username-password pair", refused.to_string());
    }
}
