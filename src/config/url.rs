//! An upstream's address in one line: `redis://user:password@host:port/db`, `unix:///path?db=n`, or
//! `host:port`.
//!
//! Errors never show any part of the URL but its scheme: a password with an unescaped `/` or `@` ends up
//! where the port or the host was expected.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::settings::{Endpoint, Password};

/// The port Redis listens on when nobody says otherwise.
pub const DEFAULT_PORT: u16 = 6379;

/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// The node.
    pub endpoint: Endpoint,
    /// User, percent-decoded; an empty one is none.
    pub username: Option<String>,
    /// Password, percent-decoded; an empty one is none.
    pub password: Option<Password>,
    /// Database, 0 unless given.
    pub database: u32,
}

/// Why a URL is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// A scheme that a later version will know.
    #[error("scheme {scheme}:// is not yet in this version")]
    NotYet {
        /// The scheme.
        scheme: &'static str,
    },
    /// A scheme that means nothing here.
    #[error("scheme is none of redis:// and unix://")]
    UnknownScheme,
    /// No host, or one with characters that no host has.
    #[error("host is empty or has characters that no host name has")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("port is not a number from 1 to 65535")]
    Port,
    /// The database is not a number.
    #[error("database is not a number from 0 to 4294967295")]
    Database,
    /// A Unix socket's path that does not begin with `/`.
    #[error("path of the unix socket is not absolute")]
    RelativePath,
    /// A parameter other than `db`, or one where none is known.
    #[error("parameter after '?' is not known")]
    Parameter,
    /// User, password or path do not decode to UTF-8.
    #[error("percent-encoded part is not UTF-8")]
    Encoding,
}

impl UrlError {
    /// What to write instead.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotYet { .. } => "use redis:// or unix:// to one node",
            Self::Parameter => {
                "only unix:///path?db=N has a parameter; redis:// has its database after the host: /N"
            }
            Self::UnknownScheme
            | Self::Host
            | Self::Port
            | Self::Database
            | Self::RelativePath
            | Self::Encoding => {
                "write redis://[user[:password]@]host[:port][/db] or unix:///path[?db=N], \
                 with '/', '@', ':', '?' and '%' in user and password percent-encoded"
            }
        }
    }
}

/// Reads an upstream URL; `host:port`, `host` and `unix:/path` are understood too.
pub fn parse(text: &str) -> Result<UpstreamUrl, UrlError> {
    match text.split_once("://") {
        Some(("redis", rest)) => parse_redis(rest),
        Some(("unix", rest)) => parse_unix(rest),
        Some(("rediss", _)) => Err(UrlError::NotYet { scheme: "rediss" }),
        Some(("redis+cluster", _)) => Err(UrlError::NotYet { scheme: "redis+cluster" }),
        Some(("redis+sentinel", _)) => Err(UrlError::NotYet { scheme: "redis+sentinel" }),
        Some(_) => Err(UrlError::UnknownScheme),
        None => match text.strip_prefix("unix:") {
            Some(path) => parse_unix(path),
            None => parse_redis(text),
        },
    }
}

fn parse_redis(rest: &str) -> Result<UpstreamUrl, UrlError> {
    if rest.contains(['?', '#']) {
        return Err(UrlError::Parameter);
    }
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (username, password, host_port) = credentials(authority)?;
    let (host, port) = split_port(host_port)?;
    let database = if database.is_empty() { 0 } else { decimal(database).ok_or(UrlError::Database)? };
    Ok(UpstreamUrl { endpoint: Endpoint::Tcp { host, port }, username, password, database })
}

fn parse_unix(rest: &str) -> Result<UpstreamUrl, UrlError> {
    let (location, parameter) = rest.split_once('?').unwrap_or((rest, ""));
    let path_at = location.find('/').ok_or(UrlError::RelativePath)?;
    let (authority, path) = location.split_at(path_at);
    let (username, password, host) = credentials(authority)?;
    if !host.is_empty() {
        return Err(UrlError::RelativePath);
    }
    let database = match parameter.strip_prefix("db=") {
        Some(database) => decimal(database).ok_or(UrlError::Database)?,
        None if parameter.is_empty() => 0,
        None => return Err(UrlError::Parameter),
    };
    Ok(UpstreamUrl { endpoint: Endpoint::Unix(PathBuf::from(decode(path)?)), username, password, database })
}

type Credentials<'a> = (Option<String>, Option<Password>, &'a str);

/// The last `@` ends the credentials, so that an unescaped one in a password does no harm.
fn credentials(authority: &str) -> Result<Credentials<'_>, UrlError> {
    let Some((credentials, host)) = authority.rsplit_once('@') else { return Ok((None, None, authority)) };
    let (username, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let given = |text: &str| Ok(Some(decode(text)?).filter(|text| !text.is_empty()));
    Ok((given(username)?, given(password)?.map(Password::new), host))
}

fn split_port(host_port: &str) -> Result<(String, u16), UrlError> {
    if let Some(rest) = host_port.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(UrlError::Host)?;
        let host: Ipv6Addr = host.parse().map_err(|_| UrlError::Host)?;
        let port = if port.is_empty() { DEFAULT_PORT } else { parse_port(port.strip_prefix(':'))? };
        return Ok((host.to_string(), port));
    }
    let (host, port) = match host_port.split_once(':') {
        Some((host, port)) => (host, parse_port(Some(port))?),
        None => (host_port, DEFAULT_PORT),
    };
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_host = !host.is_empty() && host.bytes().all(is_host_byte);
    if is_host { Ok((host.to_owned(), port)) } else { Err(UrlError::Host) }
}

fn parse_port(text: Option<&str>) -> Result<u16, UrlError> {
    let port = text.and_then(decimal).and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port != 0).ok_or(UrlError::Port)
}

/// Digits only: `u32::from_str` would take a sign.
pub(super) fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn decode(text: &str) -> Result<String, UrlError> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| UrlError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, user: Option<&str>, password: Option<&str>, database: u32) -> UpstreamUrl {
        UpstreamUrl {
            endpoint: Endpoint::Tcp { host: host.to_owned(), port },
            username: user.map(str::to_owned),
            password: password.map(|p| Password::new(p.to_owned())),
            database,
        }
    }

    #[test]
    fn redis_urls_say_host_port_credentials_and_database() {
        let urls = [
            ("redis://127.0.0.1:6379", tcp("127.0.0.1", 6379, None, None, 0)),
            ("redis://cache", tcp("cache", 6379, None, None, 0)),
            ("redis://cache/", tcp("cache", 6379, None, None, 0)),
            ("redis://cache:7000/3", tcp("cache", 7000, None, None, 3)),
            ("redis://u:p@cache", tcp("cache", 6379, Some("u"), Some("p"), 0)),
            ("redis://:p@cache", tcp("cache", 6379, None, Some("p"), 0)),
            ("redis://u%40x:p%2Fq%25@cache", tcp("cache", 6379, Some("u@x"), Some("p/q%"), 0)),
            ("redis://:p@q@cache", tcp("cache", 6379, None, Some("p@q"), 0)),
            ("redis://[::1]:7000/1", tcp("::1", 7000, None, None, 1)),
            ("redis://[::1]", tcp("::1", 6379, None, None, 0)),
            ("127.0.0.1:7000", tcp("127.0.0.1", 7000, None, None, 0)),
            ("cache", tcp("cache", 6379, None, None, 0)),
        ];
        for (text, expected) in urls {
            assert_eq!(Ok(expected), parse(text), "{text}");
        }
    }

    #[test]
    fn unix_urls_say_path_and_database() {
        let unix = |path: &str, database| UpstreamUrl {
            endpoint: Endpoint::Unix(PathBuf::from(path)),
            username: None,
            password: None,
            database,
        };
        assert_eq!(Ok(unix("/run/redis.sock", 0)), parse("unix:///run/redis.sock"));
        assert_eq!(Ok(unix("/run/redis.sock", 2)), parse("unix:/run/redis.sock?db=2"));
        assert_eq!(Ok(unix("/run/my redis", 0)), parse("unix:///run/my%20redis"));
        let with_credentials = parse("unix://u:p@/run/redis.sock").unwrap();
        assert_eq!(Some("u"), with_credentials.username.as_deref());
    }

    #[test]
    fn refused_urls_say_why() {
        let refusals = [
            ("rediss://cache", UrlError::NotYet { scheme: "rediss" }),
            ("redis+cluster://a:1,b:2", UrlError::NotYet { scheme: "redis+cluster" }),
            ("redis+sentinel://a:1/mymaster", UrlError::NotYet { scheme: "redis+sentinel" }),
            ("http://cache", UrlError::UnknownScheme),
            ("redis://", UrlError::Host),
            ("redis://ca che", UrlError::Host),
            ("redis://a,b", UrlError::Host),
            ("redis://[::1", UrlError::Host),
            ("redis://cache:0", UrlError::Port),
            ("redis://cache:+1", UrlError::Port),
            ("redis://cache:65536", UrlError::Port),
            ("redis://cache:", UrlError::Port),
            ("redis://:pass/word@cache", UrlError::Port),
            ("redis://cache/x", UrlError::Database),
            ("redis://cache/-1", UrlError::Database),
            ("redis://cache?db=1", UrlError::Parameter),
            ("unix://run/redis.sock", UrlError::RelativePath),
            ("unix:redis.sock", UrlError::RelativePath),
            ("unix:///run/redis.sock?database=1", UrlError::Parameter),
            ("redis://:%ff@cache", UrlError::Encoding),
        ];
        for (text, expected) in refusals {
            assert_eq!(Err(expected), parse(text), "{text}");
        }
    }
}
