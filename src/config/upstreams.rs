//! `[upstream.NAME]`: one node, a cluster, or a group that sentinels watch.

use std::collections::BTreeSet;
use std::time::Duration;

use super::breaker;
use super::deadlines;
use super::document::Written;
use super::keys::Section;
use super::mistake::{SecretMistake, ValueMistake};
use super::secrets::Secrets;
use super::section::Reader;
use super::url::{self, UpstreamUrl};
use crate::settings::{Deployment, Endpoint, Password, Restore, TopologySettings, UpstreamSettings};
use crate::tenant::prefix::TenantName;

/// The upstreams as far as they could be read; `None` only with findings.
pub(super) struct Upstreams {
    /// As written, also those that could not be read.
    pub(super) names: Vec<String>,
    read: Vec<Option<UpstreamSettings>>,
}

/// Reads all upstreams.
pub(super) fn read(top: &Reader<'_>, secrets: Secrets<'_>) -> Upstreams {
    let sections = top.named_sections(Section::Upstream, "upstream");
    let names = sections.iter().map(|(name, _)| (*name).to_owned()).collect();
    let read = sections.iter().map(|(name, reader)| upstream(name, reader, secrets)).collect();
    Upstreams { names, read }
}

impl Upstreams {
    /// Notes every cluster, where databases are to be the upstream's own.
    pub(super) fn refuse_clusters(&self, top: &Reader<'_>) {
        let is_cluster =
            |settings: &&UpstreamSettings| matches!(settings.deployment, Deployment::Cluster { .. });
        for cluster in self.read.iter().flatten().filter(is_cluster) {
            top.refuse("databases", ValueMistake::NativeInCluster { upstream: cluster.name.clone() });
        }
    }

    /// With those measured, by number, whose nearest nodes are read from. `None` only with findings.
    pub(super) fn settings(self, measured: &BTreeSet<usize>) -> Option<Vec<UpstreamSettings>> {
        let settings = self.read.into_iter().enumerate().map(|(number, settings)| {
            let measures_nodes = measured.contains(&number);
            settings.map(|settings| UpstreamSettings { measures_nodes, ..settings })
        });
        settings.collect()
    }
}

/// `None` only with findings.
fn upstream(name: &str, reader: &Reader<'_>, secrets: Secrets<'_>) -> Option<UpstreamSettings> {
    if TenantName::parse(name).is_err() {
        reader.findings().add(reader.place(), reader.path(), ValueMistake::UpstreamName);
    }
    let url = reader
        .text("url")
        .map(url::parse)
        .and_then(|url| url.map_err(|error| reader.refuse("url", error)).ok());
    let own = credentials(reader, secrets, ["username", "password"]);
    let of_sentinels = credentials(reader, secrets, ["sentinel_username", "sentinel_password"]);
    let (reconnect_min, reconnect_max) = least_and_most(reader, "reconnect_min", "reconnect_max");
    let (refresh_min, refresh_every) = least_and_most(reader, "topology_refresh_min", "topology_refresh");
    let [connect_timeout, reply_timeout, idle_timeout] =
        ["connect_timeout", "reply_timeout", "idle_timeout"].map(|key| reader.duration(key));
    let (window, max_leases) = (reader.integer("window"), reader.count("max_leases"));
    let (lease_wait, restore) = (reader.duration("lease_wait"), restore(reader));
    let breaker = breaker::read(reader, connect_timeout, reply_timeout);
    let (address_map, max_redirects) = (address_map(reader), reader.integer("max_redirects"));
    let (class_timeouts, retry) = (deadlines::class_timeouts(reader), deadlines::retry(reader));
    let UpstreamUrl { deployment, username, password, database } = url?;
    let at_nodes = at_nodes(reader, own, Credentials { username, password });
    Some(UpstreamSettings {
        name: name.to_owned(),
        deployment: at_sentinels(reader, deployment, of_sentinels),
        address_map,
        topology: TopologySettings { refresh_every, refresh_min },
        measures_nodes: false,
        max_redirects: u8::try_from(max_redirects).unwrap_or(u8::MAX),
        username: at_nodes.username,
        password: at_nodes.password,
        database,
        connect_timeout,
        reply_timeout,
        class_timeouts,
        retry,
        reconnect_min,
        reconnect_max,
        idle_timeout,
        window: u32::try_from(window).unwrap_or(u32::MAX),
        max_leases,
        lease_wait,
        restore,
        breaker,
    })
}

struct Credentials {
    username: Option<String>,
    password: Option<Password>,
}

fn credentials(reader: &Reader<'_>, secrets: Secrets<'_>, [username, password]: [&str; 2]) -> Credentials {
    let read_password = |written: &str| {
        let read = secrets.of_upstream(written, &reader.place_of(password));
        read.map_err(|error| reader.refuse(password, error)).ok()
    };
    Credentials {
        username: reader.text(username).map(str::to_owned),
        password: reader.text(password).and_then(read_password),
    }
}

/// What the nodes are told: keys go before the URL.
fn at_nodes(reader: &Reader<'_>, own: Credentials, in_url: Credentials) -> Credentials {
    let username = own.username.or(in_url.username);
    let password = own.password.or(in_url.password);
    if username.is_some() && password.is_none() && !reader.has("password") {
        reader.refuse(if reader.has("username") { "username" } else { "url" }, SecretMistake::UsernameAlone);
    }
    Credentials { username, password }
}

/// The deployment, with what its sentinels are told if it has any.
fn at_sentinels(reader: &Reader<'_>, deployment: Deployment, told: Credentials) -> Deployment {
    let Deployment::Sentinel(mut asked) = deployment else {
        for key in ["sentinel_username", "sentinel_password"].into_iter().filter(|key| reader.has(key)) {
            reader.refuse(key, ValueMistake::SentinelsOnly);
        }
        return deployment;
    };
    if told.username.is_some() && !reader.has("sentinel_password") {
        reader.refuse("sentinel_username", SecretMistake::SentinelUsernameAlone);
    }
    (asked.username, asked.password) = (told.username, told.password);
    Deployment::Sentinel(asked)
}

/// Where announced addresses lead, each once.
fn address_map(reader: &Reader<'_>) -> Vec<(Endpoint, Endpoint)> {
    let mut announced = BTreeSet::new();
    let mut mapped = Vec::new();
    for Written { value, place } in reader.texts("address_map").unwrap_or_default() {
        let mistake = match two_nodes(value) {
            None => ValueMistake::AddressMap,
            Some((from, _)) if !announced.insert(from.clone()) => {
                ValueMistake::MappedTwice { announced: from }
            }
            Some(pair) => {
                mapped.push(pair);
                continue;
            }
        };
        reader.findings().add(&place, reader.path_of("address_map"), mistake);
    }
    mapped
}

fn two_nodes(text: &str) -> Option<(Endpoint, Endpoint)> {
    let (announced, reachable) = text.split_once('=')?;
    let node = |text: &str| url::parse_node(text.trim()).ok();
    Some((node(announced)?, node(reachable)?))
}

fn restore(reader: &Reader<'_>) -> Restore {
    match reader.choice("restore") {
        "always" => Restore::Always,
        "never" => Restore::Never,
        _ => Restore::Checked,
    }
}

/// Two durations, of which the second bounds the first.
pub(super) fn least_and_most(
    reader: &Reader<'_>,
    least: &'static str,
    most: &'static str,
) -> (Duration, Duration) {
    let found_before = reader.findings().count();
    let (shortest, longest) = (reader.duration(least), reader.duration(most));
    if shortest > longest && reader.findings().count() == found_before {
        reader.refuse(least, ValueMistake::AboveBound { bound: most });
    }
    (shortest, longest)
}
