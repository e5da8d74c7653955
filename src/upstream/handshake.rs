//! What is said on a new upstream connection before anything is forwarded, and what is learned from the
//! answers.
//!
//! A script without I/O: the requests go out in one write, each reply is handed in, and the end is a
//! [`Greeting`] or the reason why this connection cannot be used. Wire: `HELLO`, `AUTH`, `SELECT`, `CLIENT
//! SETNAME`, `INFO server`,
//! `CONFIG GET proto-max-bulk-len`, `COMMAND LIST` (Redis 7; older servers answer an error, and then every command of the table is assumed to exist).

use std::collections::VecDeque;

use crate::resp::cursor::{Cursor, Value};
use crate::resp::{OwnedRequest, Version};
use crate::settings::{Password, UpstreamSettings};

/// The name that upstream operators see in `CLIENT LIST`.
const CLIENT_NAME: &str = "tenantry";

/// What an upstream said of itself. Fields are empty when it did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// `redis_version`.
    pub version: String,
    /// `proto-max-bulk-len`, bytes; `None` if `CONFIG GET` is not allowed to the proxy.
    pub max_bulk: Option<usize>,
    /// Names of its commands, lower case, subcommands as `config|get`.
    pub commands: Vec<String>,
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
    /// A node of a cluster, or a sentinel.
    #[error(
        "the upstream runs in {mode} mode, which this version does not support: name a standalone server"
    )]
    Mode {
        /// Its `redis_mode`.
        mode: String,
    },
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
    /// `INFO server`.
    Info,
    /// `CONFIG GET proto-max-bulk-len`.
    MaxBulk,
    /// `COMMAND LIST`.
    Commands,
}

/// The script of one connection.
#[derive(Debug)]
pub struct Handshake {
    pending: VecDeque<Step>,
    greeting: Greeting,
}

impl Handshake {
    /// The requests to send, in one piece, and the script that reads their replies.
    pub fn begin(version: Version, settings: &UpstreamSettings) -> (Vec<u8>, Self) {
        let database = settings.database.to_string();
        let mut script: Vec<(Step, Vec<&str>)> = Vec::new();
        let user = settings.username.as_deref();
        match (version, settings.password.as_ref().map(Password::reveal)) {
            (Version::Resp3, Some(password)) => {
                script.push((
                    Step::Must("HELLO"),
                    vec!["HELLO", "3", "AUTH", user.unwrap_or("default"), password],
                ));
            }
            (Version::Resp3, None) => script.push((Step::Must("HELLO"), vec!["HELLO", "3"])),
            (Version::Resp2, Some(password)) => {
                let words = user.map_or_else(|| vec!["AUTH", password], |user| vec!["AUTH", user, password]);
                script.push((Step::Must("AUTH"), words));
            }
            (Version::Resp2, None) => {}
        }
        if settings.database != 0 {
            script.push((Step::Must("SELECT"), vec!["SELECT", &database]));
        }
        script.push((Step::May, vec!["CLIENT", "SETNAME", CLIENT_NAME]));
        script.push((Step::Info, vec!["INFO", "server"]));
        script.push((Step::MaxBulk, vec!["CONFIG", "GET", "proto-max-bulk-len"]));
        script.push((Step::Commands, vec!["COMMAND", "LIST"]));
        let mut bytes = Vec::new();
        for (_, words) in &script {
            if let Some(request) = OwnedRequest::from_args(words) {
                bytes.extend_from_slice(request.as_request().bytes());
            }
        }
        let pending = script.into_iter().map(|(step, _)| step).collect();
        (bytes, Self { pending, greeting: Greeting::default() })
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
            (Step::Info, Value::Bulk(text)) => self.learn_info(&String::from_utf8_lossy(text))?,
            (Step::MaxBulk, Value::Array(2) | Value::Map(1)) => self.learn_max_bulk(&mut cursor),
            (Step::Commands, Value::Array(count)) => self.learn_commands(&mut cursor, count),
            _ => {}
        }
        Ok(self.pending.is_empty().then(|| std::mem::take(&mut self.greeting)))
    }

    fn learn_info(&mut self, text: &str) -> Result<(), Refused> {
        for line in text.lines() {
            let Some((field, value)) = line.split_once(':') else { continue };
            match field {
                "redis_version" => value.clone_into(&mut self.greeting.version),
                "redis_mode" if value != "standalone" => {
                    return Err(Refused::Mode { mode: value.to_owned() });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn learn_max_bulk(&mut self, cursor: &mut Cursor<'_>) {
        if let (Some(_), Some(Value::Bulk(bytes))) = (cursor.next_value(), cursor.next_value()) {
            self.greeting.max_bulk = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Endpoint;
    use std::time::Duration;

    fn unauthenticated() -> UpstreamSettings {
        UpstreamSettings {
            name: "main".into(),
            endpoint: Endpoint::Tcp { host: "localhost".into(), port: 6379 },
            username: None,
            password: None,
            database: 0,
            connect_timeout: Duration::from_secs(1),
            reply_timeout: Duration::from_secs(1),
            reconnect_min: Duration::from_secs(1),
            reconnect_max: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            max_queued: 1,
        }
    }

    fn settings(username: Option<&str>, password: Option<&str>, database: u32) -> UpstreamSettings {
        let username = username.map(Into::into);
        let password = password.map(|clear| Password::new(clear.into()));
        UpstreamSettings { username, password, database, ..unauthenticated() }
    }

    fn script(version: Version, settings: &UpstreamSettings) -> String {
        let (bytes, _) = Handshake::begin(version, settings);
        let text = String::from_utf8(bytes).expect("ASCII");
        text.lines().filter(|line| !line.starts_with(['*', '$'])).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_script_is_as_short_as_the_credentials_allow() {
        let tail = "CLIENT SETNAME tenantry INFO server CONFIG GET proto-max-bulk-len COMMAND LIST";
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
    fn replies_become_a_greeting() {
        let (_, mut handshake) = Handshake::begin(Version::Resp2, &settings(None, None, 0));
        assert_eq!(Ok(None), handshake.on_reply(b"-NOPERM no\r\n"));
        assert_eq!(
            Ok(None),
            handshake.on_reply(b"$45\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\r\n")
        );
        let greeting = Greeting {
            version: "7.0.15".into(),
            max_bulk: Some(1024),
            commands: vec!["get".into(), "config|get".into()],
        };
        let reply = b"*2\r\n$18\r\nproto-max-bulk-len\r\n$4\r\n1024\r\n";
        assert_eq!(Ok(None), handshake.on_reply(reply));
        assert_eq!(Ok(Some(greeting)), handshake.on_reply(b"*2\r\n$3\r\nget\r\n$10\r\nconfig|get\r\n"));
        assert_eq!(Err(Refused::NotRedis), handshake.on_reply(b"+OK\r\n"));
    }

    #[test]
    fn a_wrong_password_refuses_the_connection_in_the_servers_words() {
        let (_, mut handshake) = Handshake::begin(Version::Resp2, &settings(None, Some("pw"), 0));
        let refused =
            handshake.on_reply(b"-WRONGPASS invalid username-password pair\r\n").expect_err("refused");
        assert_eq!("AUTH failed: WRONGPASS invalid username-password pair", refused.to_string());
    }
}
