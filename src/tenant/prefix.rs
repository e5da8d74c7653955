//! What a tenant's names begin with on the upstream, and the proof that no two namespaces meet.
//!
//! One Redis holds the names of all tenants, so isolation rests on two facts that are established here, once,
//! when the configuration is loaded: a prefix is made of bytes that mean nothing to Redis wherever a name may
//! stand (in a glob, a hash tag, an ACL rule, a SORT pattern), and no namespace's prefix begins another's.
//!
//! A namespace's prefix has three parts, written one after the other:
//!
//! | tenant `acme` (prefix `acme:`) | database 0 | database 1 |
//! |---|---|---|
//! | the tenant itself | `acme:` | `acme@1:` |
//! | a user with the extra prefix `session:` (a *feature*) | `acme:session:` | `acme@1:session:` |
//! | the tenant, *colocated* | `{acme}:` | `{acme}@1:` |
//!
//! The database's number goes before the last byte of the tenant's prefix, the separator: had it gone behind,
//! `acme:@1` would begin with `acme:` and a tenant could write into its own other databases.
//!
//! The braces of a colocated tenant make its name the hash tag of all its keys (*Redis cluster specification*,
//! "Hash tags"): the first tag counts, so one that a client writes changes nothing. They are added here and nowhere
//! else ([`Prefix::colocated`]); a prefix as it is written has none, so that no other tenant can open or close one.

use std::collections::BTreeSet;
use std::fmt;

/// Longest prefix, in bytes, features and database number included. Every key of every request carries it, so
/// a long one is a mistake; the bound also keeps `prefix + key` far from `proto-max-bulk-len`.
pub const MAX_PREFIX_LEN: usize = 256;

/// Longest name of a tenant, in bytes.
pub const MAX_NAME_LEN: usize = 63;

/// What the names of the proxy's own keys begin with: no tenant's prefix begins so, nor begins this.
pub const RESERVED: &str = "tenantry@fleet:";

/// Bytes that Redis reads as something else than themselves somewhere a name may stand: globs (`KEYS`,
/// `SCAN`, `PSUBSCRIBE`, the `*` of `SORT`), hash tags, and escapes in either.
const MEANINGFUL: &[u8] = b"*?[]\\^{}";

/// The bytes put in front of a name. Printable ASCII, 1 to [`MAX_PREFIX_LEN`] bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(Box<str>);

/// Why a prefix is refused. Positions count from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Without a prefix a tenant would own every key.
    #[error("a prefix must not be empty")]
    Empty,
    /// Longer than [`MAX_PREFIX_LEN`], after database number and feature were added.
    #[error("prefix has {length} bytes, limit is {MAX_PREFIX_LEN}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A byte that is not printable ASCII, or that has a meaning in globs or hash tags.
    #[error("prefix holds {} at byte {position}", shown(*byte))]
    Forbidden {
        /// The byte.
        byte: u8,
        /// Where it stands.
        position: usize,
    },
    /// Names that are the proxy's own would be the tenant's.
    #[error("prefix '{prefix}' is where the proxy keeps budgets that several processes share ('{RESERVED}')")]
    Reserved {
        /// The prefix.
        prefix: Prefix,
    },
    /// A colocated tenant's prefix that is a separator alone: an empty hash tag is none.
    #[error("prefix '{prefix}' has nothing before its separator, which could be the hash tag of all keys")]
    NoTag {
        /// The prefix.
        prefix: Prefix,
    },
    /// The last byte cannot separate: the number of a virtual database goes before it.
    #[error(
        "prefix '{prefix}' does not end with a separator (such as ':' '-' '_' '/' '.'), \
         so the number of a virtual database has no place in it"
    )]
    NoSeparator {
        /// The prefix.
        prefix: Prefix,
    },
}

impl Prefix {
    /// A prefix as it is written in the configuration.
    pub fn parse(written: &str) -> Result<Self, PrefixError> {
        if written.is_empty() {
            return Err(PrefixError::Empty);
        }
        let forbidden = |byte: &u8| !byte.is_ascii_graphic() || MEANINGFUL.contains(byte);
        if let Some((position, byte)) = written.bytes().enumerate().find(|(_, byte)| forbidden(byte)) {
            return Err(PrefixError::Forbidden { byte, position });
        }
        Self::within_bound(written.to_owned())
    }

    /// The bytes to put in front of a name.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The same bytes as text: a prefix is ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The logical name behind `physical`, or `None` when `physical` belongs to somebody else.
    pub fn strip<'a>(&self, physical: &'a [u8]) -> Option<&'a [u8]> {
        physical.strip_prefix(self.as_bytes())
    }

    /// A tenant's prefix in virtual database `database`: itself for 0, `acme@1:` for 1.
    ///
    /// It must end with a separator even when only database 0 exists: more databases may be wanted tomorrow,
    /// and then its keys would have to move.
    pub fn in_database(&self, database: u32) -> Result<Self, PrefixError> {
        let Some((stem, separator)) = self.split_separator() else {
            return Err(PrefixError::NoSeparator { prefix: self.clone() });
        };
        if self.0.starts_with(RESERVED) || RESERVED.starts_with(&*self.0) {
            return Err(PrefixError::Reserved { prefix: self.clone() });
        }
        match database {
            0 => Ok(self.clone()),
            number => Self::within_bound(format!("{stem}@{number}{separator}")),
        }
    }

    /// A tenant's prefix in database 0 with all but the separator as hash tag: `{acme}:` for `acme:`. Whatever
    /// follows, also in other databases, has one slot.
    pub fn colocated(&self) -> Result<Self, PrefixError> {
        match self.split_separator() {
            None => Err(PrefixError::NoSeparator { prefix: self.clone() }),
            Some(("", _)) => Err(PrefixError::NoTag { prefix: self.clone() }),
            Some((stem, separator)) => Self::within_bound(format!("{{{stem}}}{separator}")),
        }
    }

    /// Whether it has a hash tag: only [`Prefix::colocated`] writes braces.
    pub fn is_colocated(&self) -> bool {
        self.0.starts_with('{')
    }

    /// This prefix followed by a feature's.
    pub fn followed_by(&self, feature: &Prefix) -> Result<Self, PrefixError> {
        Self::within_bound(format!("{self}{feature}"))
    }

    /// `@` cannot separate: `acme@` in database 1 would be `acme@1@`, which begins with `acme@`.
    fn split_separator(&self) -> Option<(&str, char)> {
        let separator = self.0.chars().next_back()?;
        let stem = self.0.strip_suffix(separator)?;
        (separator.is_ascii_punctuation() && separator != '@').then_some((stem, separator))
    }

    /// One that no configuration can write.
    #[cfg(test)]
    pub(super) fn unchecked(text: &str) -> Self {
        Self(text.into())
    }

    fn within_bound(text: String) -> Result<Self, PrefixError> {
        match text.len() {
            length if length > MAX_PREFIX_LEN => Err(PrefixError::TooLong { length }),
            _ => Ok(Self(text.into_boxed_str())),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({})", self.0)
    }
}

/// The name of a tenant: `[a-z0-9][a-z0-9_-]{0,62}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantName(Box<str>);

/// Why a tenant's name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantNameError {
    /// It has no bytes.
    #[error("a tenant's name must not be empty")]
    Empty,
    /// Longer than [`MAX_NAME_LEN`].
    #[error("a tenant's name has {length} bytes, limit is {MAX_NAME_LEN}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It begins with `_` or `-`, which may only follow.
    #[error("a tenant's name begins with a letter a-z or a digit, not with {first:?}")]
    Start {
        /// The first character.
        first: char,
    },
    /// A character that no tenant's name has.
    #[error("a tenant's name is made of a-z, 0-9, '_' and '-'; it has {character:?}")]
    Character {
        /// The first such character.
        character: char,
    },
}

impl TenantName {
    /// A name as it is written in the configuration.
    pub fn parse(written: &str) -> Result<Self, TenantNameError> {
        let Some(first) = written.chars().next() else { return Err(TenantNameError::Empty) };
        let belongs = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if let Some(character) = written.chars().find(|c| !belongs(*c)) {
            return Err(TenantNameError::Character { character });
        }
        match first {
            '_' | '-' => Err(TenantNameError::Start { first }),
            _ if written.len() > MAX_NAME_LEN => Err(TenantNameError::TooLong { length: written.len() }),
            _ => Ok(Self(written.into())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The prefix of a tenant that names none: `<name>:`.
    pub fn default_prefix(&self) -> Prefix {
        Prefix(format!("{self}:").into_boxed_str())
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantName({})", self.0)
    }
}

/// The namespaces one tenant lays claim to: its own, and one per feature, each in every database.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// The tenant's prefix in database 0, with its hash tag if it has one.
    pub base: &'a Prefix,
    /// Number of virtual databases.
    pub databases: u32,
    /// The distinct feature prefixes in use; `None` is the tenant's own namespace, without a feature.
    pub features: Vec<Option<&'a Prefix>>,
}

/// Two namespaces of which one begins the other. The numbers are positions in the slices that were checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conflict {
    /// Between two tenants; reported once per pair, with the first databases that meet.
    Tenants {
        /// Index and prefix of the one whose prefix begins the other's.
        outer: (usize, Prefix),
        /// Index and prefix of the other.
        inner: (usize, Prefix),
    },
    /// Between two features of one tenant, or its own namespace and a feature; shown in database 0.
    Features {
        /// The tenant's index.
        tenant: usize,
        /// Index of the feature (in [`Claim::features`]) whose prefix begins the other's, and the whole
        /// prefix.
        outer: (usize, Prefix),
        /// The same of the other.
        inner: (usize, Prefix),
    },
}

/// Every pair of namespaces of which one's prefix begins the other's, each pair of holders once; empty means
/// that the set is prefix-free.
///
/// It is enough to compare tenants' prefixes across tenants and features within one tenant. A feature lies
/// inside its tenant's prefix, so two names from different tenants can only meet where the tenants' prefixes
/// do; and two databases of one tenant never meet, since their numbers end at the separator, which is no
/// digit and not `@`. Databases that have no valid prefix are left out: [`Prefix::in_database`] reports them.
pub fn conflicts(claims: &[Claim<'_>]) -> Vec<Conflict> {
    let mut found = tenant_conflicts(claims);
    for (tenant, claim) in claims.iter().enumerate() {
        found.extend(feature_conflicts(tenant, claim));
    }
    found
}

fn tenant_conflicts(claims: &[Claim<'_>]) -> Vec<Conflict> {
    let mut bases = Vec::new();
    for (tenant, claim) in claims.iter().enumerate() {
        let in_databases = (0..claim.databases).filter_map(|n| Some((n, claim.base.in_database(n).ok()?)));
        bases.extend(in_databases.map(|(database, prefix)| (prefix, tenant, database)));
    }
    let mut meetings = nested_pairs(bases);
    meetings.sort_by_key(|((_, _, outer_db), (_, _, inner_db))| (*outer_db, *inner_db));
    let mut reported = BTreeSet::new();
    let mut found: Vec<Conflict> = meetings
        .into_iter()
        .filter(|((_, a, _), (_, b, _))| reported.insert((*a.min(b), *a.max(b))))
        .map(|((outer, a, _), (inner, b, _))| Conflict::Tenants { outer: (a, outer), inner: (b, inner) })
        .collect();
    found.sort();
    found
}

fn feature_conflicts(tenant: usize, claim: &Claim<'_>) -> Vec<Conflict> {
    let whole = |feature: Option<&Prefix>| match feature {
        Some(feature) => claim.base.followed_by(feature).ok(),
        None => Some(claim.base.clone()),
    };
    let namespaces = claim.features.iter().enumerate().filter_map(|(at, f)| Some((whole(*f)?, at, 0)));
    let mut found: Vec<Conflict> = nested_pairs(namespaces.collect())
        .into_iter()
        .map(|((outer, a, _), (inner, b, _))| Conflict::Features {
            tenant,
            outer: (a, outer),
            inner: (b, inner),
        })
        .collect();
    found.sort();
    found
}

/// Prefix, who holds it, database.
type Holding = (Prefix, usize, u32);

/// All pairs in which the first prefix begins the second (or equals it). In sorted order whatever begins a
/// prefix stands before it and nothing unrelated stands between, so a stack of open beginnings finds all
/// pairs in one pass.
fn nested_pairs(mut holdings: Vec<Holding>) -> Vec<(Holding, Holding)> {
    holdings.sort();
    let mut pairs = Vec::new();
    let mut open: Vec<Holding> = Vec::new();
    for holding in holdings {
        while open.last().is_some_and(|(outer, ..)| !holding.0.as_bytes().starts_with(outer.as_bytes())) {
            open.pop();
        }
        pairs.extend(open.iter().map(|outer| (outer.clone(), holding.clone())));
        open.push(holding);
    }
    pairs
}

/// A byte as an operator recognises it: itself if it can be seen, its number otherwise.
fn shown(byte: u8) -> String {
    match byte {
        b' ' => "a space".to_owned(),
        0x21..=0x7e => format!("'{}'", char::from(byte)),
        _ => format!("byte 0x{byte:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::slot::slot;
    use proptest::prelude::*;

    fn prefix(text: &str) -> Prefix {
        Prefix::parse(text).unwrap()
    }

    #[test]
    fn database_number_goes_before_the_separator() {
        assert_eq!("acme:", prefix("acme:").in_database(0).unwrap().as_str());
        assert_eq!("acme@1:", prefix("acme:").in_database(1).unwrap().as_str());
        assert_eq!("a/b@15/", prefix("a/b/").in_database(15).unwrap().as_str());
        let feature = prefix("acme:").in_database(1).unwrap().followed_by(&prefix("session:")).unwrap();
        assert_eq!("acme@1:session:", feature.as_str());
    }

    #[test]
    fn a_colocated_prefix_has_all_but_its_separator_as_hash_tag() {
        let colocated = prefix("acme:").colocated().unwrap();
        assert_eq!("{acme}:", colocated.as_str());
        assert!(colocated.is_colocated() && !prefix("acme:").is_colocated());
        assert_eq!("{acme}@1:", colocated.in_database(1).unwrap().as_str());
        assert_eq!("{acme}:session:", colocated.followed_by(&prefix("session:")).unwrap().as_str());
        assert_eq!("{team-a}/", prefix("team-a/").colocated().unwrap().as_str());
        assert_eq!("{a:b}:", prefix("a:b:").colocated().unwrap().as_str());
        assert_eq!(Some(b"{u1}k".as_slice()), colocated.strip(b"{acme}:{u1}k"));
        assert_eq!(None, colocated.strip(b"acme:k"));
    }

    #[test]
    fn a_colocated_prefix_needs_something_before_its_separator() {
        assert_eq!(Err(PrefixError::NoTag { prefix: prefix(":") }), prefix(":").colocated());
        assert_eq!(Err(PrefixError::NoSeparator { prefix: prefix("acme") }), prefix("acme").colocated());
        let longest = format!("{}:", "a".repeat(253));
        assert_eq!(256, prefix(&longest).colocated().unwrap().as_bytes().len());
        assert_eq!(Err(PrefixError::TooLong { length: 257 }), prefix(&format!("a{longest}")).colocated());
    }

    #[test]
    fn strip_gives_back_the_logical_name_and_refuses_foreign_ones() {
        assert_eq!(Some(b"key".as_slice()), prefix("acme:").strip(b"acme:key"));
        assert_eq!(Some(b"".as_slice()), prefix("acme:").strip(b"acme:"));
        assert_eq!(None, prefix("acme:").strip(b"acme@1:key"));
        assert_eq!(None, prefix("acme:").strip(b"acme"));
    }

    #[test]
    fn refused_prefixes_say_why() {
        let refusals = [
            ("", "a prefix must not be empty"),
            ("a b:", "prefix holds a space at byte 1"),
            ("{acme}:", "prefix holds '{' at byte 0"),
            ("acme*:", "prefix holds '*' at byte 4"),
            ("a\\:", "prefix holds '\\' at byte 1"),
            ("a\r\n:", "prefix holds byte 0x0d at byte 1"),
            ("caf\u{e9}:", "prefix holds byte 0xc3 at byte 3"),
        ];
        for (written, expected) in refusals {
            assert_eq!(expected, Prefix::parse(written).unwrap_err().to_string(), "{written:?}");
        }
        assert_eq!(Err(PrefixError::TooLong { length: 257 }), Prefix::parse(&"a".repeat(257)));
    }

    #[test]
    fn a_tenants_prefix_needs_a_separator_that_is_not_the_database_mark() {
        let no_place = |text| prefix(text).in_database(0).unwrap_err();
        assert_eq!(PrefixError::NoSeparator { prefix: prefix("acme") }, no_place("acme"));
        assert_eq!(PrefixError::NoSeparator { prefix: prefix("acme@") }, no_place("acme@"));
    }

    #[test]
    fn tenant_names_follow_their_grammar() {
        assert_eq!("a-1_b", TenantName::parse("a-1_b").unwrap().as_str());
        assert_eq!(Err(TenantNameError::Empty), TenantName::parse(""));
        assert_eq!(Err(TenantNameError::Start { first: '-' }), TenantName::parse("-a"));
        assert_eq!(Err(TenantNameError::Character { character: 'A' }), TenantName::parse("Acme"));
        assert_eq!(Err(TenantNameError::TooLong { length: 64 }), TenantName::parse(&"a".repeat(64)));
        assert!(TenantName::parse(&"a".repeat(63)).is_ok());
    }

    #[test]
    fn every_conflicting_pair_is_reported_once() {
        let (a, ab, other, db_of_a) = (prefix("a:"), prefix("a:b:"), prefix("o:"), prefix("a@1:"));
        let (cart, cart_old) = (prefix("cart:"), prefix("cart:old:"));
        let claim = |base, features| Claim { base, databases: 16, features };
        let found = conflicts(&[
            claim(&a, vec![Some(&cart), Some(&cart_old)]),
            claim(&ab, vec![None]),
            claim(&other, vec![None, Some(&cart)]),
            claim(&db_of_a, vec![None]),
        ]);
        let expected = vec![
            Conflict::Tenants { outer: (0, a.clone()), inner: (1, ab.clone()) },
            Conflict::Tenants { outer: (0, db_of_a.clone()), inner: (3, db_of_a.clone()) },
            Conflict::Features {
                tenant: 0,
                outer: (0, prefix("a:cart:")),
                inner: (1, prefix("a:cart:old:")),
            },
            Conflict::Features { tenant: 2, outer: (0, other.clone()), inner: (1, prefix("o:cart:")) },
        ];
        assert_eq!(expected, found);
    }

    /// As a tenant's prefix, colocated or not.
    fn any_base() -> impl Strategy<Value = Prefix> {
        (any_prefix(), any::<bool>()).prop_map(|(prefix, colocates)| match prefix.colocated() {
            Ok(colocated) if colocates => colocated,
            _ => prefix,
        })
    }

    /// Few letters and all the separators, so that prefixes meet often.
    fn any_prefix() -> impl Strategy<Value = Prefix> {
        "[ab1]{0,2}[:@_]?[ab1]{0,2}[:_]".prop_map(|text| prefix(&text))
    }

    fn all_namespaces(base: &Prefix, features: &[Option<Prefix>]) -> Vec<Prefix> {
        let mut all = Vec::new();
        for database in 0..12 {
            let base = base.in_database(database).unwrap();
            all.extend(
                features.iter().map(|f| f.as_ref().map_or(base.clone(), |f| base.followed_by(f).unwrap())),
            );
        }
        all
    }

    proptest! {
        /// The short way of [`conflicts`] against the definition: compare everything with everything.
        #[test]
        fn a_set_without_conflicts_is_prefix_free_and_only_such_a_set(
            tenants in prop::collection::vec(
                (any_base(), prop::collection::btree_set(prop::option::of(any_prefix()), 1..3)), 1..4)
        ) {
            let tenants: Vec<(Prefix, Vec<Option<Prefix>>)> =
                tenants.into_iter().map(|(base, features)| (base, features.into_iter().collect())).collect();
            let claims: Vec<Claim<'_>> = tenants.iter().map(|(base, features)| Claim {
                base, databases: 12, features: features.iter().map(Option::as_ref).collect(),
            }).collect();
            let all: Vec<Prefix> =
                tenants.iter().flat_map(|(base, features)| all_namespaces(base, features)).collect();
            let begins_another = |(i, a): (usize, &Prefix)| all.iter().enumerate()
                .any(|(j, b)| i != j && b.as_bytes().starts_with(a.as_bytes()));
            let meets = all.iter().enumerate().any(begins_another);
            let found = conflicts(&claims);
            // Tenants' own prefixes are kept apart even when all their users have features.
            prop_assert!(!meets || !found.is_empty(), "missed a conflict in {all:?}");
            let within = found.iter().any(|c| matches!(c, Conflict::Features { .. }));
            prop_assert!(!within || meets, "invented a conflict {found:?}");
        }

        #[test]
        fn stripping_what_was_prefixed_gives_the_name(base in any_base(), name in any::<Vec<u8>>()) {
            let physical = [base.as_bytes(), &name].concat();
            prop_assert_eq!(Some(name.as_slice()), base.strip(&physical));
        }

        /// Names with braces among them, since a client's own hash tags must not count.
        #[test]
        fn all_keys_of_a_colocated_tenant_have_the_slot_of_its_name(
            stem in "[a-z/:@]{1,8}",
            database in 0..1024_u32,
            feature in prop::option::of("[a-z@:]{1,4}:"),
            name in prop::collection::vec(prop_oneof![Just(b'{'), Just(b'}'), any::<u8>()], 0..12),
        ) {
            let base = prefix(&format!("{stem}:")).colocated().unwrap().in_database(database).unwrap();
            let whole = feature.map_or(base.clone(), |feature| base.followed_by(&prefix(&feature)).unwrap());
            prop_assert_eq!(slot(stem.as_bytes()), slot(&[whole.as_bytes(), &name].concat()), "{}", whole);
        }
    }
}
