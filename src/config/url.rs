//! An upstream's address in one line: `redis://user:password@host:port/db`, `unix:///path?db=n`, `host:port`,
//! `redis+cluster://user:password@host:port,host:port`, or
//! `redis+sentinel://user:password@host:port,host:port/group/db`, where the hosts are the sentinels', and user and
//! password those of the nodes that they watch.
//!
//! Errors never show any part of the URL but its scheme: a password with an unescaped `/` or `@` ends up
//! where the port or the host was expected.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::settings::{Deployment, Endpoint, Password, SentinelSettings};

/// The port Redis listens on when nobody says otherwise.
pub const DEFAULT_PORT: u16 = 6379;

/// The port a sentinel listens on when nobody says otherwise.
pub const DEFAULT_SENTINEL_PORT: u16 = 26379;

/// Most seeds or sentinels: each is asked in its turn, so more would only make a failure last longer.
pub const MAX_HOSTS: usize = 100;

/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// The node, the seeds, or the sentinels, who need no credentials as far as the URL says.
    pub deployment: Deployment,
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
    #[error("scheme is none of redis://, redis+cluster://, redis+sentinel:// and unix://")]
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
    /// A database of a cluster other than its only one.
    #[error("a cluster has database 0 only")]
    ClusterDatabase,
    /// No name behind the sentinels, or one with spaces, which sentinels separate words with.
    #[error("name of the sentinels' group is empty or has spaces")]
    Group,
    /// More than [`MAX_HOSTS`], each counted once.
    #[error("has more than {MAX_HOSTS} hosts")]
    TooManyHosts,
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
            Self::NotYet { .. } => "use redis://, redis+cluster://, redis+sentinel:// or unix://",
            Self::Parameter => {
                "only unix:///path?db=N has a parameter; redis:// has its database after the host: /N"
            }
            Self::ClusterDatabase => {
                "leave it out: tenants have their databases all the same, told apart by their keys' prefixes"
            }
            Self::TooManyHosts => "name a few of them: the others are learned from these",
            Self::UnknownScheme
            | Self::Host
            | Self::Port
            | Self::Database
            | Self::Group
            | Self::RelativePath
            | Self::Encoding => {
                "write redis://[user[:password]@]host[:port][/db], \
                 redis+cluster://[user[:password]@]host[:port],…, \
                 redis+sentinel://[user[:password]@]host[:port],…/group[/db] or unix:///path[?db=N], \
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
        Some(("redis+cluster", rest)) => parse_cluster(rest),
        Some(("redis+sentinel", rest)) => parse_sentinel(rest),
        Some(_) => Err(UrlError::UnknownScheme),
        None => match text.strip_prefix("unix:") {
            Some(path) => parse_unix(path),
            None => parse_redis(text),
        },
    }
}

/// One node as it announces itself or is to be reached; the port must be there.
pub fn parse_node(text: &str) -> Result<Endpoint, UrlError> {
    let (host, port) = split_port(text)?;
    Ok(Endpoint::Tcp { host, port: port.ok_or(UrlError::Port)? })
}

fn parse_redis(rest: &str) -> Result<UpstreamUrl, UrlError> {
    let (authority, database) = authority_and_path(rest)?;
    let (username, password, host_port) = credentials(authority)?;
    let deployment = Deployment::Node(endpoint(host_port, DEFAULT_PORT)?);
    Ok(UpstreamUrl { deployment, username, password, database: parse_database(database)? })
}

fn parse_cluster(rest: &str) -> Result<UpstreamUrl, UrlError> {
    let (authority, database) = authority_and_path(rest)?;
    let (username, password, hosts) = credentials(authority)?;
    let deployment = Deployment::Cluster { seeds: endpoints(hosts, DEFAULT_PORT)? };
    match parse_database(database)? {
        0 => Ok(UpstreamUrl { deployment, username, password, database: 0 }),
        _ => Err(UrlError::ClusterDatabase),
    }
}

fn parse_sentinel(rest: &str) -> Result<UpstreamUrl, UrlError> {
    let (authority, path) = authority_and_path(rest)?;
    let (username, password, hosts) = credentials(authority)?;
    let sentinels = endpoints(hosts, DEFAULT_SENTINEL_PORT)?;
    let (group, database) = path.split_once('/').unwrap_or((path, ""));
    let group = decode(group)?;
    if group.is_empty() || group.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(UrlError::Group);
    }
    let asked = SentinelSettings { sentinels, group, username: None, password: None };
    let deployment = Deployment::Sentinel(asked);
    Ok(UpstreamUrl { deployment, username, password, database: parse_database(database)? })
}

/// What stands before the first `/`, and what behind it.
fn authority_and_path(rest: &str) -> Result<(&str, &str), UrlError> {
    if rest.contains(['?', '#']) {
        return Err(UrlError::Parameter);
    }
    Ok(rest.split_once('/').unwrap_or((rest, "")))
}

fn parse_database(text: &str) -> Result<u32, UrlError> {
    if text.is_empty() { Ok(0) } else { decimal(text).ok_or(UrlError::Database) }
}

/// Each of them once, in the order in which they are written.
fn endpoints(hosts: &str, default_port: u16) -> Result<Vec<Endpoint>, UrlError> {
    let mut found = Vec::new();
    for host_port in hosts.split(',') {
        let endpoint = endpoint(host_port, default_port)?;
        if found.contains(&endpoint) {
            continue;
        }
        if found.len() == MAX_HOSTS {
            return Err(UrlError::TooManyHosts);
        }
        found.push(endpoint);
    }
    Ok(found)
}

fn endpoint(host_port: &str, default_port: u16) -> Result<Endpoint, UrlError> {
    let (host, port) = split_port(host_port)?;
    Ok(Endpoint::Tcp { host, port: port.unwrap_or(default_port) })
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
    let deployment = Deployment::Node(Endpoint::Unix(PathBuf::from(decode(path)?)));
    Ok(UpstreamUrl { deployment, username, password, database })
}

type Credentials<'a> = (Option<String>, Option<Password>, &'a str);

/// The last `@` ends the credentials, so that an unescaped one in a password does no harm.
fn credentials(authority: &str) -> Result<Credentials<'_>, UrlError> {
    let Some((credentials, host)) = authority.rsplit_once('@') else { return Ok((None, None, authority)) };
    let (username, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let given = |text: &str| Ok(Some(decode(text)?).filter(|text| !text.is_empty()));
    Ok((given(username)?, given(password)?.map(Password::new), host))
}

fn split_port(host_port: &str) -> Result<(String, Option<u16>), UrlError> {
    if let Some(rest) = host_port.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(UrlError::Host)?;
        let host: Ipv6Addr = host.parse().map_err(|_| UrlError::Host)?;
        let port = if port.is_empty() { None } else { Some(parse_port(port.strip_prefix(':'))?) };
        return Ok((host.to_string(), port));
    }
    let (host, port) = match host_port.split_once(':') {
        Some((host, port)) => (host, Some(parse_port(Some(port))?)),
        None => (host_port, None),
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

    fn node(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp { host: host.to_owned(), port }
    }

    fn tcp(host: &str, port: u16, user: Option<&str>, password: Option<&str>, database: u32) -> UpstreamUrl {
        with_credentials(Deployment::Node(node(host, port)), user, password, database)
    }

    fn with_credentials(
        deployment: Deployment,
        user: Option<&str>,
        password: Option<&str>,
        database: u32,
    ) -> UpstreamUrl {
        UpstreamUrl {
            deployment,
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
            deployment: Deployment::Node(Endpoint::Unix(PathBuf::from(path))),
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
    fn a_cluster_is_named_by_its_seeds() {
        let cluster = |seeds: &[(&str, u16)]| Deployment::Cluster {
            seeds: seeds.iter().map(|(host, port)| node(host, *port)).collect(),
        };
        let urls = [
            ("redis+cluster://a:1,b:2", (cluster(&[("a", 1), ("b", 2)]), None, None)),
            ("redis+cluster://a", (cluster(&[("a", 6379)]), None, None)),
            ("redis+cluster://u:p,q@a,[::1]:7,[::2]", {
                (cluster(&[("a", 6379), ("::1", 7), ("::2", 6379)]), Some("u"), Some("p,q"))
            }),
            ("redis+cluster://:p@a:1,a:1,b,b:6379/0", (cluster(&[("a", 1), ("b", 6379)]), None, Some("p"))),
        ];
        for (text, (deployment, user, password)) in urls {
            assert_eq!(Ok(with_credentials(deployment, user, password, 0)), parse(text), "{text}");
        }
    }

    #[test]
    fn a_group_is_named_behind_its_sentinels() {
        let group = |name: &str, sentinels: &[(&str, u16)]| {
            Deployment::Sentinel(SentinelSettings {
                sentinels: sentinels.iter().map(|(host, port)| node(host, *port)).collect(),
                group: name.to_owned(),
                username: None,
                password: None,
            })
        };
        let urls = [
            ("redis+sentinel://a:1,b/main", (group("main", &[("a", 1), ("b", 26379)]), None, None, 0)),
            (
                "redis+sentinel://u:p@[::1]/main/3",
                (group("main", &[("::1", 26379)]), Some("u"), Some("p"), 3),
            ),
            ("redis+sentinel://a,a:26379/m%2Fn/", (group("m/n", &[("a", 26379)]), None, None, 0)),
        ];
        for (text, (deployment, user, password, database)) in urls {
            assert_eq!(Ok(with_credentials(deployment, user, password, database)), parse(text), "{text}");
        }
    }

    #[test]
    fn there_are_a_hundred_seeds_at_most_each_counted_once() {
        let hosts =
            |count: usize| (1..=count).map(|port| format!("a:{port},b:1")).collect::<Vec<_>>().join(",");
        let Ok(UpstreamUrl { deployment: Deployment::Cluster { seeds }, .. }) =
            parse(&format!("redis+cluster://{}", hosts(99)))
        else {
            unreachable!("a hundred are allowed")
        };
        assert_eq!(100, seeds.len());
        assert_eq!(Err(UrlError::TooManyHosts), parse(&format!("redis+cluster://{}", hosts(100))));
        assert_eq!(Err(UrlError::TooManyHosts), parse(&format!("redis+sentinel://{}/main", hosts(100))));
    }

    #[test]
    fn a_nodes_address_has_its_port() {
        assert_eq!(Ok(node("a", 1)), parse_node("a:1"));
        assert_eq!(Ok(node("::1", 1)), parse_node("[::1]:1"));
        assert_eq!(Err(UrlError::Port), parse_node("a"));
        assert_eq!(Err(UrlError::Port), parse_node("[::1]"));
        assert_eq!(Err(UrlError::Host), parse_node(":1"));
    }

    #[test]
    fn refused_urls_say_why() {
        let refusals = [
            ("rediss://cache", UrlError::NotYet { scheme: "rediss" }),
            ("redis+cluster://", UrlError::Host),
            ("redis+cluster://a,", UrlError::Host),
            ("redis+cluster://a:1,,b:2", UrlError::Host),
            ("redis+cluster://a:1;b:2", UrlError::Port),
            ("redis+cluster://::1:7000", UrlError::Port),
            ("redis+cluster://a,b:0", UrlError::Port),
            ("redis+cluster://:pass/word@a", UrlError::Port),
            ("redis+cluster://a,b/1", UrlError::ClusterDatabase),
            ("redis+cluster://a,b/x", UrlError::Database),
            ("redis+cluster://a?db=0", UrlError::Parameter),
            ("redis+sentinel://a:1", UrlError::Group),
            ("redis+sentinel://a:1/", UrlError::Group),
            ("redis+sentinel://a:1//0", UrlError::Group),
            ("redis+sentinel://a:1/my%20group", UrlError::Group),
            ("redis+sentinel://a:1/%ff", UrlError::Encoding),
            ("redis+sentinel:///main", UrlError::Host),
            ("redis+sentinel://a:1/main/x", UrlError::Database),
            ("redis+sentinel://a:1/main/0/1", UrlError::Database),
            ("redis+sentinel://a:1/main#x", UrlError::Parameter),
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
