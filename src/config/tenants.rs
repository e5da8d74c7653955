//! `[tenant.NAME]` and its users, up to the directory.

use std::collections::BTreeSet;

use super::compression;
use super::hygiene;
use super::keys::Section;
use super::limits;
use super::mistake::{Mistake, Place, ValueMistake};
use super::secrets::Secrets;
use super::section::Reader;
use crate::tenant::Rules;
use crate::tenant::directory::{
    DatabaseKind, Directory, DirectoryError, Holder, OnUnavailable, Order, ReadFrom, TenantEntry, User,
    UserAt, UserName,
};
use crate::tenant::limits::LimitRules;
use crate::tenant::prefix::{Prefix, TenantName};

/// The tenants as far as they could be read.
pub(super) struct Tenants<'d> {
    /// As written, also those that could not be read.
    pub(super) names: Vec<String>,
    /// Whether anybody can authenticate.
    pub(super) has_users: bool,
    read: Vec<ReadTenant<'d>>,
}

struct ReadTenant<'d> {
    reader: Reader<'d>,
    entry: TenantEntry,
    /// In step with the users of `entry`.
    users: Vec<ReadUser<'d>>,
}

struct ReadUser<'d> {
    reader: Reader<'d>,
    user: User,
    compression: compression::Wish,
    has_flawed_secrets: bool,
}

/// The databases that each tenant has.
#[derive(Clone, Copy)]
pub(super) struct Databases {
    pub(super) count: u32,
    pub(super) kind: DatabaseKind,
}

/// Reads all tenants. `upstreams` are the names of the upstreams, in order; all tenants together may have so many
/// connections.
pub(super) fn read<'d>(
    top: &Reader<'d>,
    upstreams: &[String],
    databases: Databases,
    (secrets, most_connections): (Secrets<'_>, u64),
) -> Tenants<'d> {
    let mut tenants = Tenants { names: top.names_in("tenant"), has_users: false, read: Vec::new() };
    for (name, reader) in top.named_sections(Section::Tenant, "tenant") {
        let upstream = upstream_of(&reader, upstreams);
        let prefix = prefix_of(&reader);
        let colocates = reader.truth("colocate");
        let rules = hygiene::of_tenant(&reader);
        let users = reader.listed_sections(Section::User, "user");
        tenants.has_users |= !users.is_empty();
        let limits = limits::read(&reader, None, most_connections);
        let of_tenant = OfTenant { rules: &rules, limits: limits.as_ref(), most_connections };
        let mut users: Vec<ReadUser<'d>> =
            users.into_iter().filter_map(|user| read_user(user, secrets, of_tenant)).collect();
        let of_users = users.iter().map(|user| (user.compression, user.user.feature.as_ref()));
        let (compression, of_users) = compression::settled(compression::Wish::of_tenant(&reader), of_users);
        for (user, compression) in users.iter_mut().zip(of_users) {
            user.user.rules.compression = compression;
        }
        let has_cluster_persona = reader.truth("cluster_persona");
        let (order, read_from, on_unavailable) =
            (order(&reader), read_from(&reader), on_unavailable(&reader));
        let weight = reader.integer("weight");
        match TenantName::parse(name) {
            Err(error) => reader.findings().add(reader.place(), reader.path(), error),
            Ok(name) => {
                let Ok(prefix) = prefix.map(|prefix| prefix.unwrap_or_else(|| name.default_prefix())) else {
                    continue;
                };
                let Some(prefix) = tagged(&reader, prefix, colocates) else { continue };
                let users_of_entry = users.iter().map(|user| user.user.clone()).collect();
                let entry = TenantEntry {
                    name,
                    prefix,
                    upstream,
                    databases: databases.count,
                    database_kind: databases.kind,
                    has_cluster_persona,
                    order,
                    read_from,
                    on_unavailable,
                    weight: u32::try_from(weight).unwrap_or(u32::MAX),
                    has_listener: false,
                    rules: Rules { compression, ..rules },
                    users: users_of_entry,
                    limits,
                };
                tenants.read.push(ReadTenant { reader, entry, users });
            }
        }
    }
    tenants
}

impl Tenants<'_> {
    /// The upstreams, by number, of which somebody reads from the nearest nodes.
    pub(super) fn read_nearest(&self) -> BTreeSet<usize> {
        let entries = self.read.iter().map(|tenant| &tenant.entry);
        entries.filter(|entry| entry.read_from == ReadFrom::Nearest).map(|entry| entry.upstream).collect()
    }

    /// The directory, in which the tenants of `listened` have a listener.
    pub(super) fn into_directory(
        self,
        listened: &BTreeSet<&TenantName>,
        top: &Reader<'_>,
    ) -> Option<Directory> {
        let with_listener = |tenant: &ReadTenant<'_>| {
            let has_listener = listened.contains(&tenant.entry.name);
            TenantEntry { has_listener, ..tenant.entry.clone() }
        };
        let entries: Vec<TenantEntry> = self.read.iter().map(with_listener).collect();
        let errors = match Directory::new(&entries) {
            Ok(directory) => return Some(directory),
            Err(errors) => errors,
        };
        for error in errors {
            let (place, key, mistake) = self.locate(error);
            if let Some(mistake) = mistake {
                top.findings().add(&place, key, mistake);
            }
        }
        None
    }

    fn tenant(&self, index: usize) -> Option<&Reader<'_>> {
        self.read.get(index).map(|tenant| &tenant.reader)
    }

    fn user(&self, at: UserAt) -> Option<&ReadUser<'_>> {
        self.read.get(at.tenant)?.users.get(at.user)
    }

    /// The place and key of an error, and the mistake it is; no mistake if it follows from one that is known.
    fn locate(&self, error: DirectoryError) -> (Place, String, Option<Mistake>) {
        let at_tenant = |index| Located::of(self.tenant(index), "prefix");
        let at_user = |at, key| Located::of(self.user(at).map(|user| &user.reader), key);
        let located = match &error {
            DirectoryError::DuplicateUser { first, second, .. } => {
                let first = at_user(*first, "name");
                let (earlier, later) = first.in_order(at_user(*second, "name"));
                return (
                    later.place,
                    later.key,
                    Some(ValueMistake::UserNameTaken { other: earlier.key }.into()),
                );
            }
            DirectoryError::NoSecret { at, .. } => {
                let located = at_user(*at, "secrets");
                let is_known = self.user(*at).is_some_and(|user| user.has_flawed_secrets);
                return (located.place, located.key, (!is_known).then(|| error.into()));
            }
            DirectoryError::DuplicateTenant { tenant, .. } | DirectoryError::TenantPrefix { tenant, .. } => {
                at_tenant(*tenant)
            }
            DirectoryError::NoSuchDatabase { at, .. } => at_user(*at, "database"),
            DirectoryError::FeaturePrefix { at, .. } => at_user(*at, "prefix"),
            DirectoryError::TenantsMeet { tenants: (a, b), .. } => at_tenant(*a).in_order(at_tenant(*b)).1,
            DirectoryError::FeaturesMeet { tenant, outer: (a, _), inner: (b, _) } => {
                let at_holder = |holder: &Holder| match holder {
                    Holder::Listener => at_tenant(*tenant),
                    Holder::User(at, _) => at_user(*at, "prefix"),
                };
                at_holder(a).in_order(at_holder(b)).1
            }
        };
        (located.place, located.key, Some(error.into()))
    }
}

struct Located {
    place: Place,
    key: String,
}

impl Located {
    fn of(reader: Option<&Reader<'_>>, key: &str) -> Self {
        reader.map_or(Self { place: Place::Whole, key: String::new() }, |reader| Self {
            place: reader.place_of(key),
            key: reader.path_of(key),
        })
    }

    fn in_order(self, other: Self) -> (Self, Self) {
        if other.place < self.place { (other, self) } else { (self, other) }
    }
}

fn order(reader: &Reader<'_>) -> Order {
    match reader.choice("order") {
        "relaxed" => Order::Relaxed,
        _ => Order::Strict,
    }
}

fn read_from(reader: &Reader<'_>) -> ReadFrom {
    match reader.choice("read_from") {
        "prefer-replica" => ReadFrom::PreferReplica,
        "replica" => ReadFrom::Replica,
        "nearest" => ReadFrom::Nearest,
        _ => ReadFrom::Primary,
    }
}

fn on_unavailable(reader: &Reader<'_>) -> OnUnavailable {
    match reader.choice("on_unavailable") {
        "nil" => OnUnavailable::Nil,
        _ => OnUnavailable::Error,
    }
}

fn upstream_of(reader: &Reader<'_>, upstreams: &[String]) -> usize {
    let known = || upstreams.to_vec();
    match (reader.text("upstream"), upstreams) {
        (None, [_]) => 0,
        (None, _) => {
            if !reader.has("upstream") {
                reader.refuse("upstream", ValueMistake::WhichUpstream { known: known() });
            }
            0
        }
        (Some(name), _) => upstreams.iter().position(|known| known == name).unwrap_or_else(|| {
            reader.refuse("upstream", ValueMistake::Unknown { what: "upstream", known: known() });
            0
        }),
    }
}

/// `Ok(None)`: none is written. `Err`: it is wrong, and noted.
fn prefix_of(reader: &Reader<'_>) -> Result<Option<Prefix>, ()> {
    let Some(text) = reader.text("prefix") else {
        return if reader.has("prefix") { Err(()) } else { Ok(None) };
    };
    Prefix::parse(text).map(Some).map_err(|error| reader.refuse("prefix", error))
}

/// The prefix, with its hash tag if it is to have one. `None`: it cannot, and that is noted.
fn tagged(reader: &Reader<'_>, prefix: Prefix, colocates: bool) -> Option<Prefix> {
    if !colocates {
        return Some(prefix);
    }
    prefix.colocated().map_err(|error| reader.refuse("prefix", error)).ok()
}

/// What a user can only narrow.
#[derive(Clone, Copy)]
struct OfTenant<'a> {
    rules: &'a Rules,
    limits: Option<&'a LimitRules>,
    most_connections: u64,
}

fn read_user<'d>(reader: Reader<'d>, secrets: Secrets<'_>, tenant: OfTenant<'_>) -> Option<ReadUser<'d>> {
    let name =
        reader.text("name").map(|text| UserName::parse(text).map_err(|error| reader.refuse("name", error)));
    let found_before = reader.findings().count();
    let secrets = secrets_of(&reader, secrets);
    let has_flawed_secrets = reader.findings().count() > found_before;
    let feature = prefix_of(&reader);
    let compression = compression::Wish::of_user(&reader);
    let database = u32::try_from(reader.integer("database")).unwrap_or(u32::MAX);
    let rules = hygiene::of_user(&reader, tenant.rules);
    let limits = limits::read(&reader, tenant.limits, tenant.most_connections);
    let user = User { name: name?.ok()?, secrets, feature: feature.ok()?, database, rules, limits };
    Some(ReadUser { reader, user, compression, has_flawed_secrets })
}

fn secrets_of(reader: &Reader<'_>, secrets: Secrets<'_>) -> Vec<crate::tenant::secret::Secret> {
    let mut found = Vec::new();
    for written in reader.texts("secrets").unwrap_or_default() {
        match secrets.of_user(written.value) {
            Ok(secret) => found.push(secret),
            Err(error) => {
                reader.findings().add(&written.place, reader.path_of("secrets"), error);
            }
        }
    }
    found
}
