//! Turns what the operator wrote into what the program needs, or into a list of everything that is wrong with
//! it.
//!
//! `document.rs` holds what was written, `layers.rs` lays environment and flags over it, `keys.rs` knows every
//! key, `section.rs` reads by those rows, and this file is the crossing to `Config`: past it nothing is text
//! any more and nothing can be wrong. The crossing never stops at a mistake (`mistake.rs`), so that all of
//! them are told at once.

mod breaker;
mod compression;
mod deadlines;
pub mod document;
mod hygiene;
pub mod keys;
pub mod layers;
pub mod limits;
mod memory;
pub mod mistake;
pub mod reference;
mod secrets;
mod section;
mod selections;
mod tenants;
pub mod units;
mod upstreams;
pub mod url;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use document::Table;
use keys::Section;
use layers::{Environment, Flags};
use mistake::{Finding, Place, Report, ShapeMistake, ValueMistake};
use secrets::Secrets;
use section::{Findings, Reader};
use tenants::Tenants;

use crate::settings::{
    Address, AdminSettings, Deployment, DownstreamLimits, FleetSettings, ListenerSettings, LogFormat,
    LogSettings, MemorySettings, ScopedSettings, StartSettings, UpstreamSettings,
};
use crate::tenant::directory::{DatabaseKind, Directory};
use crate::tenant::prefix::TenantName;

/// What the process exits with when its configuration is refused.
pub const EXIT_CODE: u8 = 2;

/// Everything the program needs to know.
#[derive(Debug)]
pub struct Config {
    /// Threads that carry traffic.
    pub workers: NonZeroUsize,
    /// Where clients connect; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// The admin port, unless it is off.
    pub admin: Option<AdminSettings>,
    /// The upstreams; a tenant's `upstream` is a position in it.
    pub upstreams: Vec<UpstreamSettings>,
    /// Tenants and users.
    pub directory: Directory,
    /// What clients may take.
    pub downstream: DownstreamLimits,
    /// What all of them, and the process, may take.
    pub memory: MemorySettings,
    /// What answers about a tenant's own part of the server need.
    pub scoped: ScopedSettings,
    /// How processes share budgets.
    pub fleet: FleetSettings,
    /// What happens before the first client.
    pub start: StartSettings,
    /// What is logged.
    pub log: LogSettings,
}

/// All that a configuration is made from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The command line; its `config` names the file.
    pub flags: Flags,
    /// The environment; `TENANTRY_CONFIG` names the file where no flag does.
    pub environment: Environment,
    /// Cores of the machine: the default number of workers.
    pub cores: NonZeroUsize,
}

impl Sources {
    /// Flags, with this process' environment and machine.
    pub fn of_process(flags: Flags) -> Self {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { flags, environment: Environment::of_process(), cores }
    }

    /// The file to read, if one is named.
    pub fn file(&self) -> Option<PathBuf> {
        let in_environment = || self.environment.get("TENANTRY_CONFIG").map(PathBuf::from);
        self.flags.config.clone().or_else(in_environment)
    }
}

impl Config {
    /// One line for `tenantry check`. Upstreams that are more than one node are told by name.
    pub fn summary(&self) -> String {
        let deployments: Vec<String> = self.upstreams.iter().filter_map(several_nodes).collect();
        let deployments =
            if deployments.is_empty() { String::new() } else { format!(" ({})", deployments.join("; ")) };
        format!(
            "configuration is good: {}, {}{deployments}, {}, {}, {}",
            count(self.listeners.len(), "listener"),
            count(self.upstreams.len(), "upstream"),
            count(self.directory.tenants().len(), "tenant"),
            count(self.directory.user_count(), "user"),
            count(self.workers.get(), "worker"),
        )
    }
}

/// `1 worker`, `2 workers`.
fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// How the nodes of an upstream are found, unless it is one node.
fn several_nodes(upstream: &UpstreamSettings) -> Option<String> {
    let found = match &upstream.deployment {
        Deployment::Node(_) => return None,
        Deployment::Cluster { seeds } => format!("cluster, {}", count(seeds.len(), "seed")),
        Deployment::Sentinel(asked) => {
            format!("group {}, {}", asked.group, count(asked.sentinels.len(), "sentinel"))
        }
    };
    Some(format!("{}: {found}", upstream.name))
}

/// Reads the file (if one is named) and makes the configuration.
pub fn load(sources: &Sources) -> Result<Config, Report> {
    let Some(file) = sources.file() else { return parse(None, sources) };
    let name = file.display().to_string();
    match std::fs::read_to_string(&file) {
        Ok(text) => parse(Some((&name, &text)), sources),
        Err(error) => {
            let mistake = ShapeMistake::Unreadable { kind: error.kind() }.into();
            let finding = Finding { place: Place::Whole, key: String::new(), mistake };
            Err(Report::new(Some(name), vec![finding]))
        }
    }
}

/// What `tenantry check` prints: one line on standard output, or the report for standard error, after which
/// the process exits with [`EXIT_CODE`]. Reads secrets, so that a missing one is found; connects to nothing.
pub fn check(sources: &Sources) -> Result<String, Report> {
    load(sources).map(|config| config.summary())
}

/// Makes the configuration from a file's name and text. Reads secrets from where the text says they are.
pub fn parse(file: Option<(&str, &str)>, sources: &Sources) -> Result<Config, Report> {
    let name = file.map(|(name, _)| name.to_owned());
    let from_file = file.map_or(Ok(Table::EMPTY), |(_, text)| Table::from_toml(text));
    let mut document = match from_file {
        Ok(document) => document,
        Err(findings) => return Err(Report::new(name, findings)),
    };
    let findings = Findings::default();
    findings.extend(layers::lay_over(&mut document, &sources.environment, &sources.flags));
    match (read(&document, sources, &findings), findings.into_vec()) {
        (Some(config), findings) if findings.is_empty() => Ok(config),
        (_, findings) => Err(Report::new(name, findings)),
    }
}

/// `None` only with findings.
fn read(document: &Table, sources: &Sources, findings: &Findings) -> Option<Config> {
    let top = Reader::top(document, findings);
    let databases = databases(&top);
    let secrets = Secrets { environment: &sources.environment };
    let upstreams = upstreams::read(&top, secrets);
    if databases.kind == DatabaseKind::Native {
        upstreams.refuse_clusters(&top);
    }
    let downstream = downstream(&top);
    let most_connections = u64::try_from(downstream.max_connections).unwrap_or(u64::MAX);
    let tenants = tenants::read(&top, &upstreams.names, databases, (secrets, most_connections));
    if tenants.names.is_empty() {
        findings.add(&Place::Whole, "", ShapeMistake::NoTenant);
    }
    let listeners = listeners(&top, &tenants);
    let admin = admin(&top);
    refuse_shared_addresses(&listeners, admin.as_ref());
    let listened: BTreeSet<&TenantName> =
        listeners.iter().filter_map(|listener| listener.tenant.as_ref()).collect();
    let read_nearest = tenants.read_nearest();
    let directory = tenants.into_directory(&listened, &top);
    let workers = top.written_integer("workers").and_then(|n| NonZeroUsize::new(usize::try_from(n).ok()?));
    let (start, log) = (start(&top), log(&top));
    let workers = workers.unwrap_or(sources.cores);
    let memory = memory::process(&top, &downstream, workers.get());
    let scoped = scoped(&top, secrets);
    let fleet = fleet(&top, &upstreams.names);
    Some(Config {
        workers,
        listeners: listeners.into_iter().map(ReadListener::settings).collect::<Option<_>>()?,
        admin: admin?.1,
        upstreams: upstreams.settings(&read_nearest)?,
        directory: directory?,
        downstream,
        memory,
        scoped,
        fleet,
        start,
        log,
    })
}

fn scoped(top: &Reader<'_>, secrets: Secrets<'_>) -> ScopedSettings {
    let cursor_secret = top.text("cursor_secret").and_then(|written| {
        let secret = secrets.of_upstream(written, &top.place_of("cursor_secret"));
        secret.map_err(|error| top.refuse("cursor_secret", error)).ok()
    });
    ScopedSettings { cursor_secret, slow_command: top.duration("slow_command") }
}

fn databases(top: &Reader<'_>) -> tenants::Databases {
    tenants::Databases {
        count: u32::try_from(top.integer("database_count")).unwrap_or(u32::MAX),
        kind: match top.choice("databases") {
            "native" => DatabaseKind::Native,
            _ => DatabaseKind::Virtual,
        },
    }
}

/// A listener as far as it could be read.
struct ReadListener<'d> {
    reader: Reader<'d>,
    address: Option<Address>,
    tenant: Option<TenantName>,
    unix_mode: Option<u32>,
}

impl ReadListener<'_> {
    fn settings(self) -> Option<ListenerSettings> {
        Some(ListenerSettings { address: self.address?, tenant: self.tenant, unix_mode: self.unix_mode })
    }
}

fn listeners<'d>(top: &Reader<'d>, tenants: &Tenants<'_>) -> Vec<ReadListener<'d>> {
    let found_before = top.findings().count();
    let sections = top.listed_sections(Section::Listener, "listener");
    if sections.is_empty() && top.findings().count() == found_before {
        top.refuse("listener", ShapeMistake::NoListener);
    }
    sections.into_iter().map(|reader| listener(reader, tenants)).collect()
}

fn listener<'d>(reader: Reader<'d>, tenants: &Tenants<'_>) -> ReadListener<'d> {
    let address = reader.text("address").and_then(|text| {
        let address = parse_address(text);
        if address.is_none() {
            reader.refuse("address", ValueMistake::Address { allows_unix: true });
        }
        address
    });
    let unix_mode = reader.text("unix_mode").and_then(|text| {
        let mode = parse_mode(text);
        match (mode, &address) {
            (None, _) => reader.refuse("unix_mode", ValueMistake::Mode),
            (Some(_), Some(Address::Tcp(_))) => reader.refuse("unix_mode", ValueMistake::ModeWithoutSocket),
            (Some(_), Some(Address::Unix(_)) | None) => {}
        }
        mode
    });
    let written_tenant = reader.text("tenant");
    let is_known = |name: &&str| tenants.names.iter().any(|known| known == name);
    if written_tenant.is_some_and(|name| !is_known(&name)) && !tenants.names.is_empty() {
        reader.refuse("tenant", ValueMistake::Unknown { what: "tenant", known: tenants.names.clone() });
    }
    if !reader.has("tenant") && !tenants.has_users && !tenants.names.is_empty() {
        reader.findings().add(reader.place(), reader.path(), ValueMistake::NobodyCanUse);
    }
    // A name that is none is refused where the tenant is.
    let tenant = written_tenant.and_then(|name| TenantName::parse(name).ok());
    ReadListener { reader, address, tenant, unix_mode }
}

fn parse_address(text: &str) -> Option<Address> {
    match text.strip_prefix("unix:") {
        Some(path) => Path::new(path).is_absolute().then(|| Address::Unix(PathBuf::from(path))),
        None => text.parse().ok().map(Address::Tcp),
    }
}

/// Three or four octal digits: fewer are mostly a slip, and more are not about permissions.
fn parse_mode(text: &str) -> Option<u32> {
    let is_mode = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    is_mode.then(|| u32::from_str_radix(text, 8).ok()).flatten()
}

/// The section, and its settings unless it is off. `None` only with findings.
fn admin<'d>(top: &Reader<'d>) -> Option<(Reader<'d>, Option<AdminSettings>)> {
    let reader = top.section(Section::Admin, "admin");
    let is_enabled = reader.truth("enabled");
    let Ok(address) = reader.text("address")?.parse::<SocketAddr>() else {
        reader.refuse("address", ValueMistake::Address { allows_unix: false });
        return None;
    };
    Some((reader, is_enabled.then_some(AdminSettings { address })))
}

fn refuse_shared_addresses(
    listeners: &[ReadListener<'_>],
    admin: Option<&(Reader<'_>, Option<AdminSettings>)>,
) {
    let admin = admin.and_then(|(reader, settings)| Some((reader, Address::Tcp(settings.as_ref()?.address))));
    let of_listener = |listener: &ReadListener<'_>| listener.address.clone();
    let all =
        listeners.iter().filter_map(|listener| Some((&listener.reader, of_listener(listener)?))).chain(admin);
    let mut taken: BTreeMap<Address, &str> = BTreeMap::new();
    // Port 0 takes another free port each time.
    for (reader, address) in
        all.filter(|(_, address)| !matches!(address, Address::Tcp(tcp) if tcp.port() == 0))
    {
        match taken.get(&address) {
            Some(other) => {
                let other = (*other).to_owned();
                reader.refuse("address", ValueMistake::AddressTaken { other });
            }
            None => drop(taken.insert(address, reader.path())),
        }
    }
}

fn downstream(top: &Reader<'_>) -> DownstreamLimits {
    let reader = top.section(Section::Downstream, "downstream");
    let found_before = reader.findings().count();
    let limits = DownstreamLimits {
        max_connections: reader.count("max_connections"),
        max_request: reader.size("max_request"),
        max_bulk: reader.size("max_bulk"),
        output: memory::output(&reader, "max_output", None),
        subscriber_output: memory::output(&reader, "max_subscriber_output", Some(memory::SUBSCRIBER_SOFT)),
        max_pipeline: reader.count("max_pipeline"),
    };
    if limits.max_bulk > limits.max_request && reader.findings().count() == found_before {
        reader.refuse("max_bulk", ValueMistake::AboveBound { bound: "max_request" });
    }
    limits
}

fn fleet(top: &Reader<'_>, upstreams: &[String]) -> FleetSettings {
    let reader = top.section(Section::Fleet, "fleet");
    let upstream = reader.text("upstream").and_then(|name| {
        let position = upstreams.iter().position(|known| known == name);
        if position.is_none() {
            reader.refuse("upstream", ValueMistake::Unknown { what: "upstream", known: upstreams.to_vec() });
        }
        position
    });
    FleetSettings { upstream, interval: reader.duration("interval") }
}

fn start(top: &Reader<'_>) -> StartSettings {
    let reader = top.section(Section::Start, "start");
    StartSettings { wait_for_upstream: reader.truth("wait_for_upstream") }
}

fn log(top: &Reader<'_>) -> LogSettings {
    let reader = top.section(Section::Log, "log");
    let format = if reader.choice("format") == "json" { LogFormat::Json } else { LogFormat::Pretty };
    let level = reader.choice("level").parse().unwrap_or(tracing::Level::INFO);
    LogSettings { format, level }
}
