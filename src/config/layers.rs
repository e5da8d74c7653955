//! Flags over environment over file over default: each layer is laid over the document, with its own places.
//!
//! | says | sets |
//! |---|---|
//! | `--listen`, `TENANTRY_LISTEN` | the address of the only listener |
//! | `--tenant`, `TENANTRY_TENANT` | the tenant of the only listener; made, if none is configured |
//! | `--upstream`, `TENANTRY_UPSTREAM` | the URL of the only upstream |
//! | `--admin`, `TENANTRY_ADMIN` | the address of the admin port |
//! | `--workers`, `TENANTRY_WORKERS` | the number of workers |
//! | `TENANTRY_<SECTION>_<KEY>` | a key of `[section]` |
//! | `TENANTRY_UPSTREAM_<NAME>_<KEY>`, `TENANTRY_TENANT_<NAME>_<KEY>` | a key of these sections |
//! | `TENANTRY_UPSTREAM_<NAME>_BREAKER_<KEY>`, `TENANTRY_UPSTREAM_<NAME>_RETRY_<KEY>`, `TENANTRY_UPSTREAM_<NAME>_CLASS_<CLASS>_<KEY>` | a key of these sections |
//! | `TENANTRY_LISTENER_<N>_<KEY>` | a key of the N-th listener, from 1 |
//! | `TENANTRY_TENANT_<NAME>_USER_<N>_<KEY>` | a key of the tenant's N-th user, from 1 |
//! | `…_LIMITS_<KEY>`, `…_LIMITS_CLASS_<CLASS>_<KEY>` | a key of the limits of that tenant or user |
//!
//! Names are written in capitals with `_` for `-`. An empty variable counts as not set, for container
//! templates that pass every variable through.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::document::{Table, Value, Written};
use super::keys::Section;
use super::mistake::{Finding, Mistake, Place, ShapeMistake};
use super::url::{self, DEFAULT_PORT, UrlError, decimal};

/// Where clients connect when nobody says.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:6380";

/// Where the admin port is when nobody says.
pub const DEFAULT_ADMIN: &str = "127.0.0.1:9180";

/// Where Redis is when nobody says.
pub const DEFAULT_UPSTREAM: &str = "redis://127.0.0.1:6379";

/// What the first (and only) upstream is called when nobody says.
const DEFAULT_UPSTREAM_NAME: &str = "main";

const VARIABLE_START: &str = "TENANTRY_";

/// What the command line says, as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--admin`
    pub admin: Option<String>,
    /// `--upstream`
    pub upstream: Option<String>,
    /// `--tenant`
    pub tenant: Option<String>,
    /// `--workers`
    pub workers: Option<String>,
}

/// The process' environment, read once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process; those that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        std::env::vars_os().filter_map(text).collect()
    }

    /// A variable's value, if it is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn set(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(_, value)| !value.is_empty())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Lays environment, flags and what follows from their absence over `document`.
pub fn lay_over(document: &mut Table, environment: &Environment, flags: &Flags) -> Vec<Finding> {
    let mut findings = lay_variables(document, environment);
    let from_environment =
        |name: &str| Some(written(environment.get(name)?, Place::Environment(name.to_owned())));
    let from_flag =
        |flag: &'static str, value: &Option<String>| Some(written(value.as_ref()?, Place::Flag(flag)));
    let short_forms = [
        (Short::Listen, from_environment("TENANTRY_LISTEN"), from_flag("--listen", &flags.listen)),
        (Short::Tenant, from_environment("TENANTRY_TENANT"), from_flag("--tenant", &flags.tenant)),
        (Short::Upstream, from_environment("TENANTRY_UPSTREAM"), from_flag("--upstream", &flags.upstream)),
        (Short::Admin, from_environment("TENANTRY_ADMIN"), from_flag("--admin", &flags.admin)),
        (Short::Workers, None, from_flag("--workers", &flags.workers)),
    ];
    for (short, in_environment, in_flag) in short_forms {
        let Some(value) = in_flag.or(in_environment) else { continue };
        let place = value.place.clone();
        findings.extend(short.lay_over(document, value).err().map(|mistake| finding(&place, "", mistake)));
    }
    findings.extend(lay_redis_variables(document, environment));
    lay_defaults(document);
    findings
}

fn written(text: impl Into<String>, place: Place) -> Written<Value> {
    Written { value: Value::Text(text.into()), place }
}

fn finding(place: &Place, key: impl Into<String>, mistake: impl Into<Mistake>) -> Finding {
    Finding { place: place.clone(), key: key.into(), mistake: mistake.into() }
}

/// A setting that needs no path, because there is mostly one of it.
#[derive(Clone, Copy)]
enum Short {
    Listen,
    Tenant,
    Upstream,
    Admin,
    Workers,
}

impl Short {
    /// Sections that are not sections in the file are left alone: reading the document reports them.
    fn lay_over(self, document: &mut Table, value: Written<Value>) -> Result<(), ShapeMistake> {
        let place = value.place.clone();
        let section = match self {
            Self::Listen => (only_listener(document, &place)?, "address"),
            Self::Tenant => {
                make_first_tenant(document, &value);
                (only_listener(document, &place)?, "tenant")
            }
            Self::Upstream => (only_upstream(document, &place)?, "url"),
            Self::Admin => (document.section("admin", &place), "address"),
            Self::Workers => (Some(document), "workers"),
        };
        if let (Some(table), key) = section {
            table.set(key, value);
        }
        Ok(())
    }
}

fn only_listener<'d>(document: &'d mut Table, place: &Place) -> Result<Option<&'d mut Table>, ShapeMistake> {
    match document.count_in("listener") {
        count @ 2.. => Err(ShapeMistake::Ambiguous { section: Section::Listener, count }),
        _ => Ok(document.section_of_list("listener", 0, place)),
    }
}

fn only_upstream<'d>(document: &'d mut Table, place: &Place) -> Result<Option<&'d mut Table>, ShapeMistake> {
    let names = document.names_in("upstream");
    let name = match names.as_slice() {
        [] => DEFAULT_UPSTREAM_NAME.to_owned(),
        [only] => (*only).to_owned(),
        several => {
            return Err(ShapeMistake::Ambiguous { section: Section::Upstream, count: several.len() });
        }
    };
    Ok(document.section("upstream", place).and_then(|upstreams| upstreams.section(&name, place)))
}

fn make_first_tenant(document: &mut Table, name: &Written<Value>) {
    if let (0, Value::Text(text)) = (document.count_in("tenant"), &name.value) {
        let tenants = document.section("tenant", &name.place);
        tenants.and_then(|tenants| tenants.section(text, &name.place));
    }
}

/// The key a variable names. Ordered so that the first listener is laid before the second.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Top(&'static str),
    Section(&'static str, &'static str),
    Listener(usize, &'static str),
    Upstream(String, &'static str),
    /// In `[upstream.NAME.…]`.
    WithinUpstream(String, Vec<String>, &'static str),
    Tenant(String, &'static str),
    User(String, usize, &'static str),
    Limits(Limited, &'static str),
}

/// Whose limits a variable is about, and for which class.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Limited {
    tenant: String,
    user: Option<usize>,
    class: Option<String>,
}

fn lay_variables(document: &mut Table, environment: &Environment) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut targets = Vec::new();
    for (name, value) in environment.set() {
        let Some(rest) = name.strip_prefix(VARIABLE_START) else { continue };
        let place = Place::Environment(name.to_owned());
        if matches!(rest, "CONFIG" | "LISTEN" | "TENANT" | "UPSTREAM" | "ADMIN") {
            continue;
        }
        match target(rest, document) {
            Some(target) => targets.push((target, written(value, place))),
            None if is_service_link(rest) => {}
            None => findings.push(finding(&place, "", ShapeMistake::UnknownVariable)),
        }
    }
    targets.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (target, value) in targets {
        let place = value.place.clone();
        findings.extend(target.lay_over(document, value).err().map(|mistake| finding(&place, "", mistake)));
    }
    findings
}

/// Kubernetes and Docker set such variables in every container beside a service that is called `tenantry`
/// (`TENANTRY_SERVICE_HOST`, `TENANTRY_PORT_6380_TCP_ADDR`, …); nobody meant us. No key of ours looks like
/// them.
fn is_service_link(rest: &str) -> bool {
    let rest = format!("_{rest}");
    ["_SERVICE_HOST", "_PORT", "_NAME"].iter().any(|end| rest.ends_with(end))
        || ["_SERVICE_PORT", "_PORT_", "_ENV_"].iter().any(|part| rest.contains(part))
}

fn target(rest: &str, document: &Table) -> Option<Target> {
    if let Some(key) = key_in(Section::Top, rest) {
        return Some(Target::Top(key));
    }
    for (start, section) in [
        ("admin", Section::Admin),
        ("downstream", Section::Downstream),
        ("fleet", Section::Fleet),
        ("start", Section::Start),
        ("log", Section::Log),
    ] {
        let key = after(rest, start).and_then(|rest| key_in(section, rest));
        if let Some(key) = key {
            return Some(Target::Section(start, key));
        }
    }
    if let Some(rest) = after(rest, "listener") {
        let (number, key) = rest.split_once('_')?;
        return Some(Target::Listener(index(number)?, key_in(Section::Listener, key)?));
    }
    if let Some(rest) = after(rest, "upstream") {
        return upstream_target(rest, &document.names_in("upstream"));
    }
    let rest = after(rest, "tenant")?;
    let tenants = document.names_in("tenant");
    limits_target(rest, &tenants).or_else(|| user_target(rest, &tenants)).or_else(|| {
        let (name, key) = named_key(Section::Tenant, rest, &tenants)?;
        Some(Target::Tenant(name_meant(name, &tenants), key))
    })
}

/// `<NAME>_<KEY>`, `<NAME>_RETRY_<KEY>`, `<NAME>_CLASS_<CLASS>_<KEY>`
fn upstream_target(rest: &str, upstreams: &[&str]) -> Option<Target> {
    let own = named_key(Section::Upstream, rest, upstreams);
    let of_upstream = |(name, key): (&str, _)| Target::Upstream(name_meant(name, upstreams), key);
    if own.is_some_and(|(name, _)| known_name(name, upstreams).is_some()) {
        return own.map(of_upstream);
    }
    let within = |section, (name, path), key: &'static str| {
        let path: Vec<String> = std::iter::once(section).chain(path).map(str::to_lowercase).collect();
        Target::WithinUpstream(name_meant(name, upstreams), path, key)
    };
    let of_class = named_key(Section::UpstreamClass, rest, &[]).and_then(|(before, key)| {
        let (name, class) = before.split_once("_CLASS_")?;
        Some(within("class", (name, Some(class)), key))
    });
    let of_retry = || {
        let (before, key) = named_key(Section::UpstreamRetry, rest, &[])?;
        Some(within("retry", (before.strip_suffix("_RETRY")?, None), key))
    };
    let of_breaker = || {
        let (before, key) = named_key(Section::Breaker, rest, &[])?;
        Some(within("breaker", (before.strip_suffix("_BREAKER")?, None), key))
    };
    of_class.or_else(of_retry).or_else(of_breaker).or_else(|| own.map(of_upstream))
}

/// `<TENANT>_USER_<N>_<KEY>`
fn user_target(rest: &str, tenants: &[&str]) -> Option<Target> {
    let (before_key, key) = named_key(Section::User, rest, &[])?;
    let (name, number) = before_key.rsplit_once("_USER_")?;
    Some(Target::User(name_meant(name, tenants), index(number)?, key))
}

/// `<TENANT>[_USER_<N>]_LIMITS[_CLASS_<CLASS>]_<KEY>`
fn limits_target(rest: &str, tenants: &[&str]) -> Option<Target> {
    let of_class = named_key(Section::LimitClass, rest, &[])
        .and_then(|(before, key)| Some((before.rsplit_once("_LIMITS_CLASS_")?, key)));
    let (of, class, key) = if let Some(((of, class), key)) = of_class {
        (of, Some(class.to_lowercase()), key)
    } else {
        let (before, key) = named_key(Section::Limits, rest, &[])?;
        (before.strip_suffix("_LIMITS")?, None, key)
    };
    let (tenant, user) = match of.rsplit_once("_USER_") {
        Some((tenant, number)) => (tenant, Some(index(number)?)),
        None => (of, None),
    };
    Some(Target::Limits(Limited { tenant: name_meant(tenant, tenants), user, class }, key))
}

impl Limited {
    /// Its section; `None` if something else stands there.
    fn section<'d>(
        &self,
        document: &'d mut Table,
        place: &Place,
    ) -> Result<Option<&'d mut Table>, ShapeMistake> {
        let Some(mut owner) = tenant_section(document, &self.tenant, place) else { return Ok(None) };
        if let Some(number) = self.user {
            let count = owner.count_in("user");
            if number > count {
                return Err(ShapeMistake::NumberSkips { count });
            }
            let Some(user) = owner.section_of_list("user", number, place) else { return Ok(None) };
            owner = user;
        }
        let limits = owner.section("limits", place);
        Ok(match &self.class {
            Some(class) => limits
                .and_then(|limits| limits.section("class", place))
                .and_then(|classes| classes.section(class, place)),
            None => limits,
        })
    }
}

impl Target {
    fn lay_over(self, document: &mut Table, value: Written<Value>) -> Result<(), ShapeMistake> {
        let place = value.place.clone();
        let skips = |count| ShapeMistake::NumberSkips { count };
        let section = match &self {
            Self::Top(key) => (Some(document), *key),
            Self::Section(name, key) => (document.section(name, &place), *key),
            Self::Listener(index, key) => {
                let count = document.count_in("listener");
                let listener =
                    (*index <= count).then(|| document.section_of_list("listener", *index, &place));
                (listener.ok_or_else(|| skips(count))?, *key)
            }
            Self::Upstream(name, key) => {
                (document.section("upstream", &place).and_then(|all| all.section(name, &place)), *key)
            }
            Self::WithinUpstream(name, path, key) => {
                let upstream = document.section("upstream", &place).and_then(|all| all.section(name, &place));
                let inner =
                    path.iter().try_fold(upstream, |outer, section| Some(outer?.section(section, &place)));
                (inner.flatten(), *key)
            }
            Self::Tenant(name, key) => (tenant_section(document, name, &place), *key),
            Self::Limits(limited, key) => (limited.section(document, &place)?, *key),
            Self::User(name, index, key) => match tenant_section(document, name, &place) {
                None => (None, *key),
                Some(tenant) => {
                    let count = tenant.count_in("user");
                    let user = (*index <= count).then(|| tenant.section_of_list("user", *index, &place));
                    (user.ok_or_else(|| skips(count))?, *key)
                }
            },
        };
        if let (Some(table), key) = section {
            table.set(key, value);
        }
        Ok(())
    }
}

fn tenant_section<'d>(document: &'d mut Table, name: &str, place: &Place) -> Option<&'d mut Table> {
    document.section("tenant", place).and_then(|tenants| tenants.section(name, place))
}

fn after<'r>(rest: &'r str, section: &str) -> Option<&'r str> {
    rest.strip_prefix(section.to_uppercase().as_str())?.strip_prefix('_')
}

fn key_in(section: Section, capitals: &str) -> Option<&'static str> {
    section.keys().map(|key| key.name).find(|name| name.to_uppercase() == capitals)
}

/// `<NAME>_<KEY>`; the longest key that fits, so that `x_y` is not read as `y` of `NAME_x`, unless that is a name
/// in the file.
fn named_key<'r>(section: Section, rest: &'r str, known: &[&str]) -> Option<(&'r str, &'static str)> {
    let fits = |key: &'static str| Some((rest.strip_suffix(&format!("_{}", key.to_uppercase()))?, key));
    let named = section.keys().filter_map(|key| fits(key.name)).filter(|(name, _)| !name.is_empty());
    named.max_by_key(|(name, key)| (known_name(name, known).is_some(), key.len()))
}

/// The configured name that looks like this in capitals, or else the name in lower case.
fn name_meant(capitals: &str, known: &[&str]) -> String {
    known_name(capitals, known).map_or_else(|| capitals.to_lowercase(), str::to_owned)
}

fn known_name<'k>(capitals: &str, known: &[&'k str]) -> Option<&'k str> {
    known.iter().copied().find(|name| name.to_uppercase().replace('-', "_") == capitals)
}

/// Numbers in variables count from 1.
fn index(number: &str) -> Option<usize> {
    usize::try_from(decimal(number)?).ok()?.checked_sub(1)
}

/// `REDIS_URL` and its siblings, which many platforms set, where nothing else names an upstream. With a URL,
/// host, port and database are its own, and so are user and password if it has any.
fn lay_redis_variables(document: &mut Table, environment: &Environment) -> Option<Finding> {
    let upstream = upstream_without_url(document)?;
    let (url, place) = match redis_url(environment) {
        Some(Ok(found)) => found,
        Some(Err(finding)) => return Some(*finding),
        None => return None,
    };
    let has_credentials = url::parse(&url).is_ok_and(|url| url.username.is_some() || url.password.is_some());
    upstream.set("url", written(url, place));
    if has_credentials {
        return None;
    }
    for (variable, key) in [("REDIS_USERNAME", "username"), ("REDIS_PASSWORD", "password")] {
        if let (Some(value), None) = (environment.get(variable), upstream.get(key)) {
            upstream.set(key, written(value, Place::Environment(variable.to_owned())));
        }
    }
    None
}

/// The only upstream, if the file has none and no variable or flag gave it a URL.
fn upstream_without_url(document: &mut Table) -> Option<&mut Table> {
    let is_in_file = |entry: &super::document::Entry| matches!(entry.key_place, Place::File { .. });
    if document.get("upstream").is_some_and(is_in_file) {
        return None;
    }
    only_upstream(document, &Place::Whole).ok().flatten().filter(|upstream| upstream.get("url").is_none())
}

type FoundUrl = Result<(String, Place), Box<Finding>>;

fn redis_url(environment: &Environment) -> Option<FoundUrl> {
    let at = |name: &str| Place::Environment(name.to_owned());
    if let Some(url) = environment.get("REDIS_URL") {
        return Some(Ok((url.to_owned(), at("REDIS_URL"))));
    }
    // Beside a service called "redis", an orchestrator sets REDIS_PORT to tcp://10.0.0.1:6379; that is no
    // port.
    let port = environment.get("REDIS_PORT").filter(|port| !port.starts_with("tcp://"));
    let first = ["REDIS_HOST", "REDIS_DB", "REDIS_USERNAME", "REDIS_PASSWORD"];
    let first =
        port.map(|_| "REDIS_PORT").or(first.into_iter().find(|name| environment.get(name).is_some()))?;
    let first = if environment.get("REDIS_HOST").is_some() { "REDIS_HOST" } else { first };
    let refused = |name, error: UrlError| Some(Err(Box::new(finding(&at(name), "", error))));
    let is_port = |port: &str| decimal(port).is_some_and(|port| (1..=u32::from(u16::MAX)).contains(&port));
    if !port.is_none_or(is_port) {
        return refused("REDIS_PORT", UrlError::Port);
    }
    let database = environment.get("REDIS_DB").unwrap_or("0");
    if decimal(database).is_none() {
        return refused("REDIS_DB", UrlError::Database);
    }
    let host = environment.get("REDIS_HOST").unwrap_or("127.0.0.1");
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let port = port.map_or(DEFAULT_PORT.to_string(), str::to_owned);
    Some(Ok((format!("redis://{host}:{port}/{database}"), at(first))))
}

/// A listener and an upstream where the file has none. One that stands in the file says itself where it is.
fn lay_defaults(document: &mut Table) {
    if let Some(upstream) = upstream_without_url(document) {
        upstream.set("url", written(DEFAULT_UPSTREAM, Place::Whole));
    }
    let is_in_file =
        document.get("listener").is_some_and(|entry| matches!(entry.key_place, Place::File { .. }));
    if is_in_file {
        return;
    }
    let listener = document.section_of_list("listener", 0, &Place::Whole);
    if let Some(listener) = listener.filter(|listener| listener.get("address").is_none()) {
        listener.set("address", written(DEFAULT_LISTEN, Place::Whole));
    }
}
