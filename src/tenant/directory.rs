//! Credentials → tenant → namespace: an immutable snapshot, complete when the configuration is loaded.
//!
//! A connection holds one [`Binding`] and asks it for the [`Namespace`] of its current database; prefixes are
//! joined here once, never per request. [`Directory::new`] is the only constructor, and it refuses any set of
//! tenants in which two namespaces could meet, so whoever holds a `Namespace` holds one that is disjoint from
//! all others.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use subtle::{Choice, ConditionallySelectable};

use super::compression::Compression;
use super::limits::{LimitRules, Limits, Owner};
use super::prefix::{self, Claim, Conflict, Prefix, PrefixError, TenantName};
use super::rules::Rules;
use super::secret::Secret;

/// Longest name of a user, in bytes.
pub const MAX_USER_NAME_LEN: usize = 256;

/// One tenant, shared by all its connections.
#[derive(Debug)]
pub struct Tenant {
    /// Position in [`Directory::tenants`]: what per-tenant tables are indexed by.
    pub index: usize,
    /// Its name, for people, logs and metrics.
    pub name: TenantName,
    /// Position of its upstream in the configuration's list.
    pub upstream: usize,
    /// Number of databases; `SELECT` takes 0 to one less.
    pub databases: u32,
    /// Whether `CLUSTER` commands answer as a cluster of one node.
    pub has_cluster_persona: bool,
    /// How requests for several nodes are kept in order.
    pub order: Order,
    /// Which nodes serve commands that only read.
    pub read_from: ReadFrom,
    /// What those read while the upstream is not there.
    pub on_unavailable: OnUnavailable,
    /// How often it has its turn where others wait too, at least 1.
    pub weight: u32,
    /// Whether all its keys have one hash tag, hence one slot.
    pub colocates: bool,
    issued_client_ids: AtomicU64,
}

impl Tenant {
    /// The next answer to `CLIENT ID`: 1, 2, … per tenant, so that it tells nothing of the others.
    pub fn issue_client_id(&self) -> u64 {
        self.issued_client_ids.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}

/// A part of the upstream's keys and channels that belongs to one tenant alone.
pub struct Namespace {
    /// Whose it is.
    pub tenant: Arc<Tenant>,
    /// What every key in it begins with upstream.
    pub prefix: Prefix,
    /// What every channel begins with upstream: publish and subscribe know no databases, so it is the prefix
    /// of database 0.
    pub channels: Prefix,
    /// The tenant's database it is.
    pub database: u32,
    /// The upstream database it lies in, where databases are native; `None`: the upstream's configured one.
    pub native: Option<u32>,
}

/// Only what tells it from others: every binding holds one per database.
impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({})", self.prefix)
    }
}

/// The name a user gives to `AUTH`: 1 to [`MAX_USER_NAME_LEN`] bytes without spaces or control characters, as
/// in Redis' ACL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Box<str>);

/// Why a user's name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserNameError {
    /// It has no bytes.
    #[error("a user's name must not be empty")]
    Empty,
    /// Longer than [`MAX_USER_NAME_LEN`].
    #[error("a user's name has {length} bytes, limit is {MAX_USER_NAME_LEN}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// `CLIENT LIST` shows the name between spaces.
    #[error("a user's name must not hold spaces or control characters; it has {character:?}")]
    Character {
        /// The first such character.
        character: char,
    },
}

impl UserName {
    /// A name as it is written in the configuration.
    pub fn parse(written: &str) -> Result<Self, UserNameError> {
        let refused = written.chars().find(|c| c.is_whitespace() || c.is_control());
        match (written.len(), refused) {
            (0, _) => Err(UserNameError::Empty),
            (_, Some(character)) => Err(UserNameError::Character { character }),
            (length, None) if length > MAX_USER_NAME_LEN => Err(UserNameError::TooLong { length }),
            (_, None) => Ok(Self(written.into())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserName({})", self.0)
    }
}

/// Someone who may authenticate, and what that binds the connection to.
#[derive(Clone, Debug)]
pub struct User {
    /// Unique over all tenants: `AUTH` finds the tenant by it.
    pub name: UserName,
    /// Any of them is accepted, so that they can be rotated.
    pub secrets: Vec<Secret>,
    /// A prefix of its own inside the tenant's.
    pub feature: Option<Prefix>,
    /// The database a connection starts in.
    pub database: u32,
    /// What its connections must keep to besides the tenant's rules.
    pub rules: Rules,
    /// What its connections together may take; `None`: what the tenant may.
    pub limits: Option<LimitRules>,
}

/// Where a tenant's databases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// In one database of the upstream, told apart by their prefixes.
    Virtual,
    /// In the upstream's databases of the same number.
    Native,
}

/// How one client's requests for several nodes are kept in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// One that goes to another node waits for those under way, unless all of them only read: so effects take
    /// place in the order of the requests.
    #[default]
    Strict,
    /// It does not wait: effects on one node are in order, effects on two may not be.
    Relaxed,
}

/// Which nodes of a shard serve commands that only read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// The primary.
    #[default]
    Primary,
    /// A replica; the primary if there is none.
    PreferReplica,
    /// A replica, and nothing else.
    Replica,
    /// The one that answers fastest.
    Nearest,
}

/// What commands that only read are answered while the upstream is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnavailable {
    /// That it is not.
    #[default]
    Error,
    /// What they are answered when there is no such key.
    Nil,
}

/// One tenant as the configuration describes it.
#[derive(Clone, Debug)]
pub struct TenantEntry {
    /// Its name.
    pub name: TenantName,
    /// Its prefix in database 0; with a hash tag it is colocated.
    pub prefix: Prefix,
    /// Position of its upstream in the configuration's list.
    pub upstream: usize,
    /// Number of databases, at least 1.
    pub databases: u32,
    /// Where they are.
    pub database_kind: DatabaseKind,
    /// Whether `CLUSTER` commands answer as a cluster of one node.
    pub has_cluster_persona: bool,
    /// How requests for several nodes are kept in order.
    pub order: Order,
    /// Which nodes serve commands that only read.
    pub read_from: ReadFrom,
    /// What those read while the upstream is not there.
    pub on_unavailable: OnUnavailable,
    /// How often it has its turn where others wait too, at least 1.
    pub weight: u32,
    /// Whether a listener binds connections to it without credentials.
    pub has_listener: bool,
    /// What its connections must keep to.
    pub rules: Rules,
    /// Who may authenticate as it.
    pub users: Vec<User>,
    /// What its connections together may take; `None`: whatever there is.
    pub limits: Option<LimitRules>,
}

/// Where a user stands in the entries given to [`Directory::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserAt {
    /// The tenant's position.
    pub tenant: usize,
    /// The user's position in that tenant.
    pub user: usize,
}

/// Why a set of tenants is refused. Numbers are positions in what was given to [`Directory::new`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// Two tenants share a name.
    #[error("tenant '{name}' exists twice")]
    DuplicateTenant {
        /// The second one.
        tenant: usize,
        /// The name.
        name: TenantName,
    },
    /// Two users share a name, in one tenant or in two.
    #[error("user '{name}' exists twice, and AUTH finds the tenant by the user's name")]
    DuplicateUser {
        /// The one that has the name already.
        first: UserAt,
        /// The one that wants it too.
        second: UserAt,
        /// The name.
        name: UserName,
    },
    /// Anybody could be this user.
    #[error("user '{name}' has no secret")]
    NoSecret {
        /// The user.
        at: UserAt,
        /// Its name.
        name: UserName,
    },
    /// The user's connections would start in a database that does not exist.
    #[error("user '{name}' starts in database {database}; there are 0 to {}", databases.saturating_sub(1))]
    NoSuchDatabase {
        /// The user.
        at: UserAt,
        /// Its name.
        name: UserName,
        /// The database asked for.
        database: u32,
        /// How many there are.
        databases: u32,
    },
    /// A tenant's prefix does not work in every database.
    #[error("{error}")]
    TenantPrefix {
        /// The tenant.
        tenant: usize,
        /// Why.
        #[source]
        error: PrefixError,
    },
    /// A feature's prefix does not work behind its tenant's.
    #[error("behind its tenant's: {error}")]
    FeaturePrefix {
        /// The user.
        at: UserAt,
        /// Why.
        #[source]
        error: PrefixError,
    },
    /// The prefixes of two tenants meet.
    #[error("prefix '{}' of tenant '{}' {} of tenant '{}'", inner.1, inner.0, relation(outer, inner), outer.0)]
    TenantsMeet {
        /// Positions of the tenant whose prefix begins the other's, and of the other.
        tenants: (usize, usize),
        /// The first one's name and prefix, in the first database in which they meet.
        outer: (TenantName, Prefix),
        /// The other's.
        inner: (TenantName, Prefix),
    },
    /// Two namespaces of one tenant meet.
    #[error("prefix '{}' of {} {} of {}", inner.1, inner.0, relation(outer, inner), outer.0)]
    FeaturesMeet {
        /// The tenant's position.
        tenant: usize,
        /// Who uses the namespace whose prefix begins the other's, and the prefix.
        outer: (Holder, Prefix),
        /// The other's.
        inner: (Holder, Prefix),
    },
}

fn relation<H>((_, outer): &(H, Prefix), (_, inner): &(H, Prefix)) -> String {
    if outer == inner { "is the prefix".to_owned() } else { format!("begins with prefix '{outer}'") }
}

/// Who uses a namespace of a tenant: the first one found, where several share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Connections that a listener binds to the tenant.
    Listener,
    /// A user.
    User(UserAt, UserName),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener => f.write_str("the tenant's listener"),
            Self::User(_, name) => write!(f, "user '{name}'"),
        }
    }
}

/// What a connection is bound to.
#[derive(Debug)]
pub struct Binding {
    tenant: Arc<Tenant>,
    user: Option<UserName>,
    home_database: u32,
    namespaces: Arc<[Arc<Namespace>]>,
    rules: Option<Arc<Rules>>,
    limits: Box<[Arc<Limits>]>,
    quota: Option<usize>,
}

impl Binding {
    /// The tenant.
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The user (`ACL WHOAMI`): `default` when the listener bound the connection.
    pub fn user_name(&self) -> &str {
        self.user.as_ref().map_or("default", UserName::as_str)
    }

    /// The limits of the tenant and of the user, as far as there are any.
    pub fn limits(&self) -> &[Arc<Limits>] {
        &self.limits
    }

    /// Position among the bindings that have limits, below [`Directory::quotas`]; `None`: it has none.
    pub fn quota(&self) -> Option<usize> {
        self.quota
    }

    /// Whether a connection bound by the other has its names in the same namespaces.
    pub fn is_same_place(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.namespaces, &other.namespaces)
    }

    /// Whether credentials made it, rather than the listener.
    pub fn is_authenticated(&self) -> bool {
        self.user.is_some()
    }

    /// What the connection must keep to; `None`: nothing is configured.
    pub fn rules(&self) -> Option<&Rules> {
        self.rules.as_deref()
    }

    /// How the connection's values are stored; `None`: as they come.
    #[inline]
    pub fn compression(&self) -> Option<Compression> {
        self.rules.as_ref()?.compression
    }

    /// The database a connection starts in, and returns to on `RESET`.
    pub fn home_database(&self) -> u32 {
        self.home_database
    }

    /// How many databases there are.
    pub fn databases(&self) -> u32 {
        self.tenant.databases
    }

    /// The namespaces of all databases, in their order.
    pub fn namespaces(&self) -> &[Arc<Namespace>] {
        &self.namespaces
    }

    /// The namespace of a database; `None`: out of range.
    pub fn namespace(&self, database: u32) -> Option<&Arc<Namespace>> {
        self.namespaces.get(usize::try_from(database).ok()?)
    }
}

/// All tenants and users.
#[derive(Debug)]
pub struct Directory {
    tenants: Vec<Arc<Tenant>>,
    by_listener: HashMap<TenantName, Arc<Binding>>,
    by_user: HashMap<Box<[u8]>, Account>,
    /// The most secrets that any user has: every `AUTH` compares this many.
    comparisons: usize,
    limits: Vec<Arc<Limits>>,
    quotas: usize,
}

#[derive(Debug)]
struct Account {
    secrets: Vec<Secret>,
    binding: Arc<Binding>,
}

impl Directory {
    /// The directory of these tenants, or everything that is wrong with them.
    pub fn new(entries: &[TenantEntry]) -> Result<Self, Vec<DirectoryError>> {
        let mut errors = name_errors(entries);
        errors.extend(entries.iter().enumerate().flat_map(|(tenant, entry)| tenant_errors(tenant, entry)));
        errors.extend(meetings(entries));
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut directory = Self {
            tenants: Vec::with_capacity(entries.len()),
            by_listener: HashMap::new(),
            by_user: HashMap::new(),
            comparisons: entries.iter().flat_map(|e| &e.users).map(|u| u.secrets.len()).max().unwrap_or(0),
            limits: Vec::new(),
            quotas: 0,
        };
        for (index, entry) in entries.iter().enumerate() {
            let failed = |error| vec![DirectoryError::TenantPrefix { tenant: index, error }];
            directory.add(index, entry).map_err(failed)?;
        }
        Ok(directory)
    }

    /// What a listener with `tenant = …` binds its connections to; `None` for a tenant no listener was
    /// declared for.
    pub fn listener_binding(&self, tenant: &TenantName) -> Option<Arc<Binding>> {
        self.by_listener.get(tenant).cloned()
    }

    /// What these credentials bind a connection to.
    ///
    /// An unknown user takes as long as a wrong password: the digest and every comparison are made in either
    /// case.
    pub fn authenticate(&self, user: &[u8], password: &[u8]) -> Option<Arc<Binding>> {
        let offered = Secret::of_password(password);
        let account = self.by_user.get(user);
        let known = account.map(|account| account.secrets.as_slice()).unwrap_or_default();
        let mut is_match = Choice::from(0);
        for position in 0..self.comparisons {
            let secret = known.get(position);
            // Compared with itself where there is none, and then not counted.
            let is_same = offered.is_same(secret.unwrap_or(&offered));
            is_match |= is_same & Choice::from(u8::from(secret.is_some()));
        }
        let granted = u8::conditional_select(&0, &1, is_match) == 1;
        account.filter(|_| granted).map(|account| account.binding.clone())
    }

    /// Whether a user has this name: `AUTH <password>` alone means user `default`.
    pub fn has_user(&self, name: &[u8]) -> bool {
        self.by_user.contains_key(name)
    }

    /// Whether the tenant has a user of this name.
    pub fn is_user_of(&self, tenant: &Tenant, name: &[u8]) -> bool {
        self.by_user.get(name).is_some_and(|account| account.binding.tenant.index == tenant.index)
    }

    /// All tenants, each at its index.
    pub fn tenants(&self) -> &[Arc<Tenant>] {
        &self.tenants
    }

    /// All limits, each at its number.
    pub fn limits(&self) -> &[Arc<Limits>] {
        &self.limits
    }

    /// How many bindings have limits.
    pub fn quotas(&self) -> usize {
        self.quotas
    }

    /// How many users there are.
    pub fn user_count(&self) -> usize {
        self.by_user.len()
    }

    /// What a connection of `tenant` would be bound to, without asking for credentials: for `tenantry
    /// explain`, never for a connection. As `user`, or else as the listener or the first user by name.
    pub fn binding_to_explain(&self, tenant: &TenantName, user: Option<&str>) -> Option<Arc<Binding>> {
        let of_users = self.by_user.values().map(|account| &account.binding);
        let mut candidates: Vec<&Arc<Binding>> = self
            .by_listener
            .values()
            .chain(of_users)
            .filter(|binding| binding.tenant.name == *tenant)
            .collect();
        candidates.sort_by(|a, b| a.user.cmp(&b.user));
        let wanted = |binding: &&&Arc<Binding>| user.is_none_or(|name| binding.user_name() == name);
        candidates.iter().find(wanted).map(|binding| Arc::clone(binding))
    }

    fn add(&mut self, index: usize, entry: &TenantEntry) -> Result<(), PrefixError> {
        let tenant = Arc::new(Tenant {
            index,
            name: entry.name.clone(),
            upstream: entry.upstream,
            databases: entry.databases,
            has_cluster_persona: entry.has_cluster_persona,
            order: entry.order,
            read_from: entry.read_from,
            on_unavailable: entry.on_unavailable,
            weight: entry.weight,
            colocates: entry.prefix.is_colocated(),
            issued_client_ids: AtomicU64::new(0),
        });
        let mut namespaces = HashMap::new();
        for feature in features(entry) {
            namespaces.insert(feature.cloned(), namespaces_of(&tenant, entry, feature)?);
        }
        let of_tenant = self.limited(&entry.name, None, entry.limits.as_ref());
        let bind = |directory: &mut Self, user: Option<&User>| {
            let namespaces = namespaces.get(&user.and_then(|user| user.feature.clone()))?.clone();
            let home_database = user.map_or(0, |user| user.database);
            let of_user =
                user.and_then(|user| directory.limited(&entry.name, Some(&user.name), user.limits.as_ref()));
            let limits: Box<[Arc<Limits>]> = of_tenant.iter().cloned().chain(of_user).collect();
            let quota = directory.quota_of(&limits);
            let rules = Rules::joined(&entry.rules, user.map(|user| &user.rules));
            let user = user.map(|user| user.name.clone());
            let tenant = tenant.clone();
            Some(Arc::new(Binding { tenant, user, home_database, namespaces, rules, limits, quota }))
        };
        if entry.has_listener {
            let binding = bind(self, None);
            self.by_listener.extend(binding.map(|binding| (entry.name.clone(), binding)));
        }
        for user in &entry.users {
            let binding = bind(self, Some(user));
            let account = |binding| Account { secrets: user.secrets.clone(), binding };
            self.by_user.extend(binding.map(|b| (user.name.as_str().as_bytes().into(), account(b))));
        }
        self.tenants.push(tenant);
        Ok(())
    }

    /// The limits by these rules, if there are any.
    fn limited(
        &mut self,
        tenant: &TenantName,
        user: Option<&UserName>,
        rules: Option<&LimitRules>,
    ) -> Option<Arc<Limits>> {
        let owner = Owner { tenant: tenant.clone(), user: user.map(|user| user.as_str().to_owned()) };
        let limits = Arc::new(Limits::new(self.limits.len(), owner, rules?));
        self.limits.push(Arc::clone(&limits));
        Some(limits)
    }

    /// The number of one more binding with limits.
    fn quota_of(&mut self, limits: &[Arc<Limits>]) -> Option<usize> {
        let number = (!limits.is_empty()).then_some(self.quotas)?;
        self.quotas = number.saturating_add(1);
        Some(number)
    }
}

/// The distinct features in use; `None` is the tenant's own namespace.
fn features(entry: &TenantEntry) -> BTreeSet<Option<&Prefix>> {
    let listener = entry.has_listener.then_some(None);
    entry.users.iter().map(|user| user.feature.as_ref()).chain(listener).collect()
}

fn namespaces_of(
    tenant: &Arc<Tenant>,
    entry: &TenantEntry,
    feature: Option<&Prefix>,
) -> Result<Arc<[Arc<Namespace>]>, PrefixError> {
    let is_native = entry.database_kind == DatabaseKind::Native;
    let prefix_of = |database| {
        let base = entry.prefix.in_database(if is_native { 0 } else { database })?;
        feature.map_or(Ok(base.clone()), |feature| base.followed_by(feature))
    };
    let channels = prefix_of(0)?;
    let namespace = |database| {
        Ok(Arc::new(Namespace {
            tenant: tenant.clone(),
            prefix: prefix_of(database)?,
            channels: channels.clone(),
            database,
            native: is_native.then_some(database),
        }))
    };
    (0..tenant.databases).map(namespace).collect()
}

fn name_errors(entries: &[TenantEntry]) -> Vec<DirectoryError> {
    let mut errors = Vec::new();
    let mut tenants = BTreeSet::new();
    let mut users: HashMap<&UserName, UserAt> = HashMap::new();
    for (tenant, entry) in entries.iter().enumerate() {
        if !tenants.insert(&entry.name) {
            errors.push(DirectoryError::DuplicateTenant { tenant, name: entry.name.clone() });
        }
        for (user, User { name, .. }) in entry.users.iter().enumerate() {
            let second = UserAt { tenant, user };
            match users.get(name).copied() {
                Some(first) => {
                    errors.push(DirectoryError::DuplicateUser { first, second, name: name.clone() });
                }
                None => drop(users.insert(name, second)),
            }
        }
    }
    errors
}

fn tenant_errors(tenant: usize, entry: &TenantEntry) -> Vec<DirectoryError> {
    let last = entry.databases.saturating_sub(1);
    // Database 0 says whether there is a separator, the last one whether the longest form fits.
    let in_databases = entry.prefix.in_database(0).and_then(|_| entry.prefix.in_database(last));
    let base = in_databases.as_ref().ok();
    let mut errors = Vec::new();
    for (user, User { name, secrets, feature, database, .. }) in entry.users.iter().enumerate() {
        let (at, name) = (UserAt { tenant, user }, name.clone());
        if secrets.is_empty() {
            errors.push(DirectoryError::NoSecret { at, name: name.clone() });
        }
        if *database >= entry.databases {
            let (database, databases) = (*database, entry.databases);
            errors.push(DirectoryError::NoSuchDatabase { at, name, database, databases });
        }
        let joined = base.zip(feature.as_ref()).map(|(base, feature)| base.followed_by(feature));
        errors.extend(joined.and_then(Result::err).map(|error| DirectoryError::FeaturePrefix { at, error }));
    }
    errors.extend(in_databases.err().map(|error| DirectoryError::TenantPrefix { tenant, error }));
    errors
}

fn claim_of(entry: &TenantEntry) -> Claim<'_> {
    let features = features(entry).into_iter().collect();
    Claim { base: &entry.prefix, databases: entry.databases, features }
}

fn meetings(entries: &[TenantEntry]) -> Vec<DirectoryError> {
    let claims: Vec<Claim<'_>> = entries.iter().map(claim_of).collect();
    let told = |conflict| match conflict {
        Conflict::Tenants { outer: (a, outer), inner: (b, inner) } => Some(DirectoryError::TenantsMeet {
            tenants: (a, b),
            outer: (entries.get(a)?.name.clone(), outer),
            inner: (entries.get(b)?.name.clone(), inner),
        }),
        Conflict::Features { tenant, outer: (a, outer), inner: (b, inner) } => {
            let holder = |feature: usize| {
                let feature = claims.get(tenant)?.features.get(feature)?;
                holder_of(tenant, entries.get(tenant)?, *feature)
            };
            Some(DirectoryError::FeaturesMeet {
                tenant,
                outer: (holder(a)?, outer),
                inner: (holder(b)?, inner),
            })
        }
    };
    prefix::conflicts(&claims).into_iter().filter_map(told).collect()
}

fn holder_of(tenant: usize, entry: &TenantEntry, feature: Option<&Prefix>) -> Option<Holder> {
    if feature.is_none() && entry.has_listener {
        return Some(Holder::Listener);
    }
    let has_feature = |user: &User| user.feature.as_ref() == feature;
    let (user, found) = entry.users.iter().enumerate().find(|(_, user)| has_feature(user))?;
    Some(Holder::User(UserAt { tenant, user }, found.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str, feature: Option<&str>) -> User {
        User {
            name: UserName::parse(name).unwrap(),
            secrets: vec![Secret::of_password(password.as_bytes())],
            feature: feature.map(|text| Prefix::parse(text).unwrap()),
            database: 0,
            rules: Rules::default(),
            limits: None,
        }
    }

    fn tenant(name: &str, has_listener: bool, users: Vec<User>) -> TenantEntry {
        let name = TenantName::parse(name).unwrap();
        TenantEntry {
            prefix: name.default_prefix(),
            name,
            upstream: 0,
            databases: 16,
            database_kind: DatabaseKind::Virtual,
            has_cluster_persona: false,
            order: Order::Strict,
            read_from: ReadFrom::Primary,
            on_unavailable: OnUnavailable::Error,
            weight: 1,
            has_listener,
            rules: Rules::default(),
            users,
            limits: None,
        }
    }

    fn messages(entries: &[TenantEntry]) -> Vec<String> {
        Directory::new(entries).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn listener_binding_has_the_namespace_of_each_database() {
        let directory = Directory::new(&[tenant("acme", true, vec![])]).unwrap();
        let binding = directory.listener_binding(&TenantName::parse("acme").unwrap()).unwrap();
        assert_eq!("acme:", binding.namespace(0).unwrap().prefix.as_str());
        assert_eq!("acme@15:", binding.namespace(15).unwrap().prefix.as_str());
        assert!(binding.namespace(16).is_none());
        assert_eq!(("default", 0, 16), (binding.user_name(), binding.home_database(), binding.databases()));
        assert!(directory.listener_binding(&TenantName::parse("other").unwrap()).is_none());
    }

    fn colocated(name: &str, prefix: &str, users: Vec<User>) -> TenantEntry {
        let prefix = Prefix::parse(prefix).unwrap().colocated().unwrap();
        TenantEntry { prefix, ..tenant(name, users.is_empty(), users) }
    }

    #[test]
    fn keys_and_channels_of_a_colocated_tenant_have_one_hash_tag() {
        let users = vec![user("cart", "x", Some("cart:")), user("b", "x", Some("b:"))];
        let directory =
            Directory::new(&[colocated("acme", "acme:", users), tenant("globex", true, vec![])]).unwrap();
        let binding = directory.authenticate(b"cart", b"x").unwrap();
        let prefixes = |database| {
            let namespace = binding.namespace(database).unwrap();
            (namespace.prefix.as_str(), namespace.channels.as_str())
        };
        assert_eq!(("{acme}:cart:", "{acme}:cart:"), prefixes(0));
        assert_eq!(("{acme}@15:cart:", "{acme}:cart:"), prefixes(15));
        assert_eq!(vec![true, false], directory.tenants().iter().map(|t| t.colocates).collect::<Vec<_>>());
    }

    #[test]
    fn colocated_tenants_are_kept_apart_as_others_are() {
        let entries = [
            colocated("a", "x:", vec![]),
            colocated("b", "x:", vec![]),
            colocated("c", "x:y:", vec![]),
            tenant("x", true, vec![]),
        ];
        let expected = ["prefix '{x}:' of tenant 'b' is the prefix of tenant 'a'"];
        assert_eq!(expected.as_slice(), messages(&entries));
    }

    #[test]
    fn credentials_bind_to_the_users_tenant_and_feature() {
        let mut second = user("bob", "second", Some("session:"));
        second.secrets.push(Secret::of_password(b"rotated"));
        second.database = 3;
        let entries = [tenant("acme", true, vec![]), tenant("globex", false, vec![second])];
        let directory = Directory::new(&entries).unwrap();
        for password in ["second", "rotated"] {
            let binding = directory.authenticate(b"bob", password.as_bytes()).unwrap();
            assert_eq!(("bob", "globex"), (binding.user_name(), binding.tenant().name.as_str()));
            assert_eq!(
                "globex@3:session:",
                binding.namespace(binding.home_database()).unwrap().prefix.as_str()
            );
        }
        assert!(directory.authenticate(b"bob", b"wrong").is_none());
        assert!(directory.authenticate(b"eve", b"second").is_none());
        assert!(directory.authenticate(b"", b"").is_none());
        assert!(directory.has_user(b"bob") && !directory.has_user(b"default"));
    }

    #[test]
    fn a_tenant_known_only_by_its_users_has_no_listener_binding() {
        let directory = Directory::new(&[tenant("acme", false, vec![user("a", "x", None)])]).unwrap();
        let acme = TenantName::parse("acme").unwrap();
        assert!(directory.listener_binding(&acme).is_none());
        assert_eq!("a", directory.binding_to_explain(&acme, None).unwrap().user_name());
        assert!(directory.binding_to_explain(&acme, Some("b")).is_none());
    }

    #[test]
    fn client_ids_count_from_one_per_tenant() {
        let directory = Directory::new(&[tenant("a", true, vec![]), tenant("b", true, vec![])]).unwrap();
        let ids: Vec<u64> =
            directory.tenants().iter().flat_map(|t| [t.issue_client_id(), t.issue_client_id()]).collect();
        assert_eq!(vec![1, 2, 1, 2], ids);
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let mut nobody = user("nobody", "", None);
        nobody.secrets.clear();
        nobody.database = 16;
        let mut inner =
            tenant("inner", false, vec![user("twice", "x", None), user("cart", "x", Some("cart:"))]);
        inner.prefix = Prefix::parse("outer:inner:").unwrap();
        let mut bare = tenant("bare", true, vec![]);
        bare.prefix = Prefix::parse("bare").unwrap();
        let expected = [
            "user 'twice' exists twice, and AUTH finds the tenant by the user's name",
            "user 'nobody' has no secret",
            "user 'nobody' starts in database 16; there are 0 to 15",
            "prefix 'bare' does not end with a separator (such as ':' '-' '_' '/' '.'), \
             so the number of a virtual database has no place in it",
            "prefix 'outer:inner:' of tenant 'inner' begins with prefix 'outer:' of tenant 'outer'",
            "prefix 'outer:inner:cart:' of user 'cart' begins with prefix 'outer:inner:' of user 'twice'",
        ];
        let outer = tenant("outer", true, vec![nobody, user("twice", "y", None)]);
        assert_eq!(expected.as_slice(), messages(&[outer, inner, bare]));
    }
}
