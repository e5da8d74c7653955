//! Keyspace notifications of one tenant: which upstream channels carry them, and what they say to the tenant.
//!
//! Redis publishes every change of a key twice (*Keyspace notifications*), in channels of its own making, so
//! they do not begin with a tenant's prefix:
//!
//! | | channel upstream | payload | the tenant's channel | payload |
//! |---|---|---|---|---|
//! | keyspace | `__keyspace@0__:acme@1:k` | `set` | `__keyspace@1__:k` | `set` |
//! | keyevent | `__keyevent@0__:set` | `acme@1:k` | `__keyevent@1__:set` | `k` |
//!
//! Virtual databases share one of the upstream (0 here), where the key tells which is meant; native ones keep
//! their number. The second kind of channel carries the events of all tenants and of all the tenant's
//! databases; [`EventNames::received`] drops those of others, and whoever asked for `__keyevent@0__:set` must
//! still compare the channel, which may be that of database 1.
//!
//! A client may also publish to such a name itself, and then it is a channel like any other: with the prefix
//! it is the tenant's own, its subscribers are counted by `PUBLISH` and `PUBSUB` without those of other
//! tenants, and nobody can forge another's event. So whoever subscribes to an event name needs **both**
//! channels, the ordinary one and the one that is named here; a message comes in one of them. The same holds
//! for patterns.
//!
//! Subkey notifications (Redis 8.8) have other names and payloads; nothing is received for them.

use std::borrow::Cow;
use std::sync::Arc;

use super::directory::{Binding, Namespace};
use super::keyspace::{common_stem, owner};
use crate::command::glob;

/// The two families of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// One channel per key.
    Keyspace,
    /// One channel per event.
    Keyevent,
}

impl Family {
    const BOTH: [Self; 2] = [Self::Keyspace, Self::Keyevent];

    /// What its channels begin with, up to the number of the database.
    const fn start(self) -> &'static str {
        match self {
            Self::Keyspace => "__keyspace@",
            Self::Keyevent => "__keyevent@",
        }
    }

    /// What its channels of one database begin with.
    fn of_database(self, database: u32) -> String {
        format!("{}{database}__:", self.start())
    }

    /// Family, database and the rest of a channel's name; `None`: it is none of these.
    fn parse(channel: &[u8]) -> Option<(Self, u32, &[u8])> {
        let (family, numbered) =
            Self::BOTH.iter().find_map(|f| Some((*f, channel.strip_prefix(f.start().as_bytes())?)))?;
        let digits = numbered.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = numbered.split_at_checked(digits)?;
        // The server writes the number without leading zeros: any other form is another channel.
        if matches!(digits, [b'0', _, ..]) {
            return None;
        }
        let database = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some((family, database, rest.strip_prefix(b"__:")?))
    }
}

/// A message as its tenant may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<'m> {
    /// The channel, as the tenant calls it.
    pub channel: Cow<'m, [u8]>,
    /// The payload; of a keyevent, the key without its prefix.
    pub payload: &'m [u8],
}

/// The names of one tenant's events.
#[derive(Clone, Copy, Debug)]
pub struct EventNames<'a> {
    binding: &'a Binding,
    /// The upstream database that all virtual databases lie in.
    shared_database: u32,
}

impl<'a> EventNames<'a> {
    /// The names for whoever is bound by `binding`, whose upstream is configured with `shared_database`.
    pub fn new(binding: &'a Binding, shared_database: u32) -> Self {
        Self { binding, shared_database }
    }

    fn upstream_database(&self, namespace: &Namespace) -> u32 {
        namespace.native.unwrap_or(self.shared_database)
    }

    /// The channel in which the upstream publishes what the tenant expects in `channel`: to be subscribed to
    /// besides the ordinary one. `None`: there is no such channel, or no such database.
    pub fn upstream_channel(&self, channel: &[u8]) -> Option<Vec<u8>> {
        let (family, database, rest) = Family::parse(channel)?;
        let namespace = self.binding.namespace(database)?;
        Some(self.upstream_name(family, namespace, rest))
    }

    /// A channel of `namespace`, or a pattern for some of them if `rest` is one.
    fn upstream_name(&self, family: Family, namespace: &Namespace, rest: &[u8]) -> Vec<u8> {
        let start = family.of_database(self.upstream_database(namespace));
        let prefix = match family {
            Family::Keyspace => namespace.prefix.as_bytes(),
            Family::Keyevent => b"",
        };
        [start.as_bytes(), prefix, rest].concat()
    }

    /// The patterns, at most one for each family, that together find every event which `pattern` asks for: to
    /// be subscribed to besides the ordinary one. They also find others, which
    /// [`EventNames::received_by_pattern`] drops.
    pub fn upstream_patterns(&self, pattern: &[u8]) -> Vec<Vec<u8>> {
        Family::BOTH.iter().filter_map(|family| self.upstream_pattern(*family, pattern)).collect()
    }

    fn upstream_pattern(&self, family: Family, pattern: &[u8]) -> Option<Vec<u8>> {
        // A number is no glob, so what begins with one can be told from what may begin with any.
        if let Some((same, database, rest)) = Family::parse(pattern) {
            let namespace = self.binding.namespace(database).filter(|_| same == family)?;
            return Some(self.upstream_name(family, namespace, rest));
        }
        if !glob::can_match_beginning(pattern, family.start().as_bytes()) {
            return None;
        }
        let may_be_meant = |namespace: &&Arc<Namespace>| {
            glob::can_match_beginning(pattern, family.of_database(namespace.database).as_bytes())
        };
        let meant: Vec<&Arc<Namespace>> = self.binding.namespaces().iter().filter(may_be_meant).collect();
        let first = meant.first()?;
        let database = self.upstream_database(first);
        let is_one_database = meant.iter().all(|namespace| self.upstream_database(namespace) == database);
        let start =
            if is_one_database { family.of_database(database) } else { format!("{}*__:", family.start()) };
        let stem = match family {
            Family::Keyspace => common_stem(meant.iter().map(|namespace| &namespace.prefix)),
            Family::Keyevent => b"",
        };
        Some([start.as_bytes(), stem, b"*"].concat())
    }

    /// What a message says to the tenant; `None`: it is about somebody else's key or from somebody else's
    /// channel.
    pub fn received<'m>(&self, channel: &'m [u8], payload: &'m [u8]) -> Option<Received<'m>> {
        let Some((family, database, rest)) = Family::parse(channel) else {
            let channels = &self.binding.namespaces().first()?.channels;
            return Some(Received { channel: Cow::Borrowed(channels.strip(channel)?), payload });
        };
        let key = match family {
            Family::Keyspace => rest,
            Family::Keyevent => payload,
        };
        let is_here = |namespace: &&Arc<Namespace>| self.upstream_database(namespace) == database;
        let (namespace, key) = owner(self.binding.namespaces().iter().filter(is_here), key)?;
        let start = family.of_database(namespace.database);
        let (rest, payload) = match family {
            Family::Keyspace => (key, payload),
            Family::Keyevent => (rest, key),
        };
        Some(Received { channel: Cow::Owned([start.as_bytes(), rest].concat()), payload })
    }

    /// What a message that came by one of [`EventNames::upstream_patterns`] says to a client that subscribed
    /// to `pattern`; `None`: `pattern` does not ask for it.
    pub fn received_by_pattern<'m>(
        &self,
        pattern: &[u8],
        channel: &'m [u8],
        payload: &'m [u8],
    ) -> Option<Received<'m>> {
        self.received(channel, payload).filter(|received| glob::matches(pattern, &received.channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::directory::DatabaseKind;

    /// A tenant `acme` with 16 databases, native ones or virtual ones.
    fn binding(has_native_databases: bool) -> Arc<Binding> {
        let kind = if has_native_databases { DatabaseKind::Native } else { DatabaseKind::Virtual };
        crate::tenant::example_binding(kind)
    }

    fn text(bytes: impl AsRef<[u8]>) -> String {
        String::from_utf8(bytes.as_ref().to_vec()).unwrap()
    }

    #[test]
    fn an_event_channel_is_found_where_the_upstream_publishes_it() {
        let binding = binding(false);
        let names = EventNames::new(&binding, 5);
        for (channel, expected) in [
            ("__keyspace@0__:k", Some("__keyspace@5__:acme:k")),
            ("__keyspace@3__:k", Some("__keyspace@5__:acme@3:k")),
            ("__keyspace@0__:", Some("__keyspace@5__:acme:")),
            ("__keyevent@0__:set", Some("__keyevent@5__:set")),
            ("__keyevent@15__:set", Some("__keyevent@5__:set")),
            ("__keyspace@16__:k", None),
            ("__keyspace@03__:k", None),
            ("__keyspace@__:k", None),
            ("__keyspace@99999999999__:k", None),
            ("__keyspace@0__", None),
            ("__KEYSPACE@0__:k", None),
            ("__subkeyspace@0__:k", None),
            ("news", None),
            ("", None),
        ] {
            let found = names.upstream_channel(channel.as_bytes());
            assert_eq!(expected.map(str::to_owned), found.map(text), "{channel}");
        }
    }

    #[test]
    fn a_native_database_keeps_its_number() {
        let binding = binding(true);
        let names = EventNames::new(&binding, 0);
        let channel = |name: &str| names.upstream_channel(name.as_bytes()).map(text);
        assert_eq!(Some("__keyspace@3__:acme:k".to_owned()), channel("__keyspace@3__:k"));
        assert_eq!(Some("__keyevent@3__:del".to_owned()), channel("__keyevent@3__:del"));
        for (channel, payload, expected) in [
            ("__keyspace@3__:acme:k", "set", Some(("__keyspace@3__:k", "set"))),
            ("__keyevent@3__:set", "acme:k", Some(("__keyevent@3__:set", "k"))),
            ("__keyspace@16__:acme:k", "set", None),
            ("__keyspace@3__:other:k", "set", None),
        ] {
            let received = names.received(channel.as_bytes(), payload.as_bytes());
            let received = received.map(|found| (text(found.channel), text(found.payload)));
            assert_eq!(expected.map(|(c, p)| (c.to_owned(), p.to_owned())), received, "{channel}");
        }
    }

    #[test]
    fn messages_lose_the_prefix_and_those_of_others_are_dropped() {
        let binding = binding(false);
        let names = EventNames::new(&binding, 0);
        for (channel, payload, expected) in [
            ("__keyspace@0__:acme:k", "set", Some(("__keyspace@0__:k", "set"))),
            ("__keyspace@0__:acme:", "acme:", Some(("__keyspace@0__:", "acme:"))),
            ("__keyspace@0__:acme@12:k", "del", Some(("__keyspace@12__:k", "del"))),
            ("__keyevent@0__:expired", "acme:k", Some(("__keyevent@0__:expired", "k"))),
            ("__keyevent@0__:expired", "acme@1:acme:k", Some(("__keyevent@1__:expired", "acme:k"))),
            ("acme:news", "acme:m", Some(("news", "acme:m"))),
            ("acme:__keyspace@0__:k", "m", Some(("__keyspace@0__:k", "m"))),
            ("__keyspace@0__:other:k", "set", None),
            ("__keyspace@0__:acme", "set", None),
            ("__keyspace@0__:acme@16:k", "set", None),
            ("__keyspace@1__:acme:k", "set", None),
            ("__keyevent@0__:expired", "other:k", None),
            ("__keyevent@0__:acme:k", "other:k", None),
            ("other:news", "m", None),
        ] {
            let received = names.received(channel.as_bytes(), payload.as_bytes());
            let received = received.map(|found| (text(found.channel), text(found.payload)));
            assert_eq!(expected.map(|(c, p)| (c.to_owned(), p.to_owned())), received, "{channel} {payload}");
        }
    }

    #[test]
    fn a_pattern_is_widened_only_as_far_as_it_must_be() {
        let (virtual_ones, native_ones) = (binding(false), binding(true));
        for (pattern, of_virtual, of_native) in [
            ("news.*", vec![], vec![]),
            ("__keyspace@0__:k*", vec!["__keyspace@0__:acme:k*"], vec!["__keyspace@0__:acme:k*"]),
            ("__keyspace@2__:[ab]", vec!["__keyspace@0__:acme@2:[ab]"], vec!["__keyspace@2__:acme:[ab]"]),
            ("__keyevent@2__:*", vec!["__keyevent@0__:*"], vec!["__keyevent@2__:*"]),
            ("__keyspace@16__:*", vec![], vec![]),
            ("__keyspace@*__:k", vec!["__keyspace@0__:acme*"], vec!["__keyspace@*__:acme:*"]),
            ("__keyspace@[3]__:k", vec!["__keyspace@0__:acme@3:*"], vec!["__keyspace@3__:acme:*"]),
            ("__keyspace@1?__:k", vec!["__keyspace@0__:acme@1*"], vec!["__keyspace@*__:acme:*"]),
            (
                "__key*__:*",
                vec!["__keyspace@0__:acme*", "__keyevent@0__:*"],
                vec!["__keyspace@*__:acme:*", "__keyevent@*__:*"],
            ),
            (
                "*",
                vec!["__keyspace@0__:acme*", "__keyevent@0__:*"],
                vec!["__keyspace@*__:acme:*", "__keyevent@*__:*"],
            ),
        ] {
            for (binding, expected) in [(&virtual_ones, of_virtual), (&native_ones, of_native)] {
                let found = EventNames::new(binding, 0).upstream_patterns(pattern.as_bytes());
                assert_eq!(expected, found.into_iter().map(text).collect::<Vec<_>>(), "{pattern}");
            }
        }
    }

    /// Whatever a pattern asks for must be found by the patterns that are subscribed to in its stead.
    #[test]
    fn no_event_that_a_pattern_asks_for_is_missed() {
        let patterns = [
            "*",
            "__key*",
            "__keyspace@*",
            "__keyspace@?__:*",
            "__keyspace@1*",
            "__keyevent@1?__:*",
            "*:k",
            "*2*",
        ];
        for is_native in [false, true] {
            let binding = binding(is_native);
            let names = EventNames::new(&binding, 0);
            for (pattern, database) in patterns.iter().flat_map(|p| (0..16).map(move |d| (p, d))) {
                for rest in ["k", "set"] {
                    for family in Family::BOTH {
                        let logical = [family.of_database(database).as_bytes(), rest.as_bytes()].concat();
                        let upstream = names.upstream_channel(&logical).unwrap();
                        let subscribed = names.upstream_patterns(pattern.as_bytes());
                        let is_found = subscribed.iter().any(|p| glob::matches(p, &upstream));
                        let is_asked_for = glob::matches(pattern.as_bytes(), &logical);
                        assert!(is_found || !is_asked_for, "{pattern} misses {}", text(logical));
                    }
                }
            }
        }
    }

    #[test]
    fn what_a_wider_pattern_brings_is_filtered_by_the_clients_own() {
        let binding = binding(false);
        let names = EventNames::new(&binding, 0);
        let received = |pattern: &str, channel: &str, payload: &str| {
            let found =
                names.received_by_pattern(pattern.as_bytes(), channel.as_bytes(), payload.as_bytes())?;
            Some(text(found.channel))
        };
        let expected = |name: &str| Some(name.to_owned());
        assert_eq!(
            expected("__keyspace@2__:k"),
            received("__keyspace@*__:k", "__keyspace@0__:acme@2:k", "set")
        );
        assert_eq!(None, received("__keyspace@*__:k", "__keyspace@0__:acme@2:kk", "set"));
        assert_eq!(None, received("__keyspace@*__:k", "__keyspace@0__:acmeother:k", "set"));
        assert_eq!(expected("__keyevent@1__:del"), received("*@1__:*", "__keyevent@0__:del", "acme@1:k"));
        assert_eq!(None, received("*@1__:*", "__keyevent@0__:del", "acme:k"));
    }
}
