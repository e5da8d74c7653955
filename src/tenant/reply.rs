//! Takes the prefix off what comes back: by position, never by search.
//!
//! A value may contain the prefix's bytes legitimately, so only the positions that the command table names
//! are touched. If a name stands there that does not begin with the prefix, something has gone wrong that
//! must not be shown to anybody: the reply is withheld ([`Violation`]), the client gets an error, and a
//! counter that must stay 0 moves.

use std::sync::Arc;

use bytes::BytesMut;

use super::directory::Namespace;
use super::prefix::Prefix;
use super::{compression, listing};
use crate::command::{ReplyRule, Shows};
use crate::resp::cursor::{Cursor, Value};
use crate::resp::edit::put_bulk;

/// What is to be done with one reply.
#[derive(Clone, Debug)]
pub enum ReplyPlan {
    /// It carries no names.
    Relay,
    /// Its names lose the prefix of this namespace. The namespace is that of the request: the session may
    /// have selected another database since.
    Strip(ReplyRule, Arc<Namespace>, NameLength),
    /// Its values may be compressed, and are shown as they were written.
    Values(Shows),
}

/// Bytes of the request's first name as an error text prints it (up to its first NUL), prefix included. Only
/// kept for commands whose errors quote it.
pub type NameLength = u32;

/// A name without the tenant's prefix, or a reply of another shape than its command's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reply has no name of the tenant where one must be")]
pub struct Violation;

impl ReplyPlan {
    /// The plan for a command's rule.
    pub(super) fn new(
        rule: ReplyRule,
        namespace: &Arc<Namespace>,
        first_name: impl FnOnce() -> NameLength,
    ) -> Self {
        if rule == ReplyRule::NoNames {
            return Self::Relay;
        }
        let name = if rule == ReplyRule::NoGroupError { first_name() } else { 0 };
        Self::Strip(rule, Arc::clone(namespace), name)
    }

    /// Whether a reply that begins with `start` may be passed on in pieces. Errors are always looked at.
    #[inline]
    pub fn relays(&self, start: &[u8]) -> bool {
        let is_error = start.first() == Some(&b'-');
        match self {
            Self::Relay => !is_error,
            Self::Values(shows) => !is_error && compression::is_plain(*shows, start),
            Self::Strip(..) => false,
        }
    }

    /// Appends `reply` without the prefix. Error replies are [`ReplyPlan::strip_error`]'s.
    pub fn strip(&self, reply: &[u8], out: &mut BytesMut) -> Result<(), Violation> {
        match self {
            Self::Relay => {
                out.extend_from_slice(reply);
                Ok(())
            }
            Self::Values(shows) => {
                compression::show(*shows, reply, out);
                Ok(())
            }
            Self::Strip(ReplyRule::Listing(listing), namespace, _) => {
                listing::keep_served(*listing, reply, &namespace.tenant, out)
            }
            Self::Strip(rule, namespace, _) => {
                let prefix = if rule.names_channels() { &namespace.channels } else { &namespace.prefix };
                Stripper { cursor: Cursor::new(reply), reply, copied: 0, prefix, out }.run(*rule)
            }
        }
    }

    /// The text of an error reply (without `-` and line end) as the tenant may see it.
    pub fn strip_error(&self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Strip(ReplyRule::NoGroupError | ReplyRule::XreadOrNoGroup, namespace, name) => {
                strip_no_group(text, namespace.prefix.as_bytes(), *name as usize)
            }
            Self::Relay | Self::Strip(..) | Self::Values(_) => text.to_vec(),
        }
    }
}

/// `NOGROUP` errors quote the key in one of two places (checked in the sources of Redis 7 to 8.6 and Valkey 9): right at
/// the beginning, or at the very end, behind a group's name that may contain anything. The key is printed up
/// to its first NUL, so at the end its printed length tells where it begins.
fn strip_no_group(text: &[u8], prefix: &[u8], printed_name: usize) -> Vec<u8> {
    let at = if text.starts_with(b"NOGROUP No such key '") {
        b"NOGROUP No such key '".len()
    } else if text.starts_with(b"NOGROUP No such consumer group '") {
        text.len().saturating_sub(printed_name).saturating_sub(1)
    } else {
        return text.to_vec();
    };
    match text.split_at_checked(at).and_then(|(before, name)| Some((before, name.strip_prefix(prefix)?))) {
        Some((before, name)) => [before, name].concat(),
        None => text.to_vec(),
    }
}

/// Copies a reply to `out`, leaving the prefix out of the names it passes.
struct Stripper<'a> {
    cursor: Cursor<'a>,
    reply: &'a [u8],
    /// Bytes of the reply that are in `out` already.
    copied: usize,
    prefix: &'a Prefix,
    out: &'a mut BytesMut,
}

impl Stripper<'_> {
    fn run(mut self, rule: ReplyRule) -> Result<(), Violation> {
        match rule {
            ReplyRule::NoNames | ReplyRule::NoGroupError => {}
            ReplyRule::FirstElementKey => match self.next()? {
                Value::Null | Value::Array(0) => {}
                Value::Array(_) => self.name()?,
                Value::Bulk(_) | Value::Map(_) | Value::Line(..) => return Err(Violation),
            },
            ReplyRule::Xread | ReplyRule::XreadOrNoGroup => self.streams()?,
            ReplyRule::ScalarKey => self.name_or_null()?,
            ReplyRule::ArrayOfKeys | ReplyRule::ArrayOfChannels => {
                for _ in 0..self.array()? {
                    self.name()?;
                }
            }
            ReplyRule::AlternatingChannelCount => {
                for _ in 0..self.array()? / 2 {
                    self.name()?;
                    self.skip()?;
                }
            }
            ReplyRule::TsInfo => self.series_facts()?,
            // Not served by this version; a reply that nobody knows how to strip is not shown.
            ReplyRule::Scan
            | ReplyRule::Subscription
            | ReplyRule::Invalidations
            | ReplyRule::TrackingPrefixes
            | ReplyRule::Script
            | ReplyRule::Exec
            | ReplyRule::TimeSeries
            | ReplyRule::Search
            | ReplyRule::Functions
            | ReplyRule::LogEntries
            | ReplyRule::HotKeys
            | ReplyRule::FreeText
            // Listings have no names; `ReplyPlan::strip` sends them elsewhere.
            | ReplyRule::Listing(_) => return Err(Violation),
        }
        self.out.extend_from_slice(self.reply.get(self.copied..).unwrap_or_default());
        Ok(())
    }

    fn next(&mut self) -> Result<Value<'_>, Violation> {
        self.cursor.next_value().ok_or(Violation)
    }

    fn skip(&mut self) -> Result<(), Violation> {
        self.cursor.skip_value().ok_or(Violation)
    }

    fn array(&mut self) -> Result<usize, Violation> {
        match self.next()? {
            Value::Array(elements) => Ok(elements),
            Value::Null => Ok(0),
            Value::Bulk(_) | Value::Map(_) | Value::Line(..) => Err(Violation),
        }
    }

    /// A name: copies what is before it, then the name without its prefix.
    fn name(&mut self) -> Result<(), Violation> {
        let start = self.cursor.position();
        let Some(Value::Bulk(name)) = self.cursor.next_value() else { return Err(Violation) };
        let stripped = self.prefix.strip(name).ok_or(Violation)?;
        self.out.extend_from_slice(self.reply.get(self.copied..start).unwrap_or_default());
        put_bulk(self.out, stripped);
        self.copied = self.cursor.position();
        Ok(())
    }

    fn name_or_null(&mut self) -> Result<(), Violation> {
        let mut ahead = self.cursor;
        match ahead.next_value() {
            Some(Value::Null) => self.skip(),
            _ => self.name(),
        }
    }

    /// `XREAD`: null, an array of `[key, entries]`, or in RESP3 a map from keys.
    fn streams(&mut self) -> Result<(), Violation> {
        match self.next()? {
            Value::Null => {}
            Value::Array(streams) => {
                for _ in 0..streams {
                    if self.array()? != 2 {
                        return Err(Violation);
                    }
                    self.name()?;
                    self.skip()?;
                }
            }
            Value::Map(streams) => {
                for _ in 0..streams {
                    self.name()?;
                    self.skip()?;
                }
            }
            Value::Bulk(_) | Value::Line(..) => return Err(Violation),
        }
        Ok(())
    }

    /// `TS.INFO`: fields by name; `sourceKey` is a key or null, `rules` begin with one, `keySelfName` is one.
    fn series_facts(&mut self) -> Result<(), Violation> {
        let fields = match self.next()? {
            Value::Array(elements) => elements / 2,
            Value::Map(pairs) => pairs,
            Value::Bulk(_) | Value::Null | Value::Line(..) => return Err(Violation),
        };
        for _ in 0..fields {
            let (Value::Bulk(field) | Value::Line(b'+', field)) = self.next()? else { return Err(Violation) };
            let field = field.to_ascii_lowercase();
            match field.as_slice() {
                b"sourcekey" | b"keyselfname" => self.name_or_null()?,
                b"rules" => self.series_rules()?,
                _ => self.skip()?,
            }
        }
        Ok(())
    }

    fn series_rules(&mut self) -> Result<(), Violation> {
        match self.next()? {
            Value::Array(rules) => {
                for _ in 0..rules {
                    let facts = self.array()?;
                    self.name()?;
                    for _ in 1..facts {
                        self.skip()?;
                    }
                }
            }
            Value::Map(rules) => {
                for _ in 0..rules {
                    self.name()?;
                    self.skip()?;
                }
            }
            Value::Null => {}
            Value::Bulk(_) | Value::Line(..) => return Err(Violation),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rule: ReplyRule) -> ReplyPlan {
        ReplyPlan::new(rule, &crate::tenant::example_namespace(), || 6)
    }

    fn stripped(rule: ReplyRule, reply: &str) -> Result<String, Violation> {
        let mut out = BytesMut::new();
        plan(rule).strip(reply.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out.to_vec()).expect("ASCII"))
    }

    #[test]
    fn names_lose_the_prefix_where_their_rule_says() {
        for (rule, reply, expected) in [
            (
                ReplyRule::FirstElementKey,
                "*2\r\n$6\r\nacme:l\r\n$6\r\nacme:v\r\n",
                "*2\r\n$1\r\nl\r\n$6\r\nacme:v\r\n",
            ),
            (ReplyRule::FirstElementKey, "*-1\r\n", "*-1\r\n"),
            (ReplyRule::FirstElementKey, "_\r\n", "_\r\n"),
            (ReplyRule::Xread, "*1\r\n*2\r\n$6\r\nacme:s\r\n*0\r\n", "*1\r\n*2\r\n$1\r\ns\r\n*0\r\n"),
            (ReplyRule::XreadOrNoGroup, "%1\r\n$6\r\nacme:s\r\n*0\r\n", "%1\r\n$1\r\ns\r\n*0\r\n"),
            (ReplyRule::Xread, "*-1\r\n", "*-1\r\n"),
            (ReplyRule::ScalarKey, "$5\r\nacme:\r\n", "$0\r\n\r\n"),
            (ReplyRule::ScalarKey, "$-1\r\n", "$-1\r\n"),
            (
                ReplyRule::ArrayOfKeys,
                "*2\r\n$6\r\nacme:a\r\n$6\r\nacme:b\r\n",
                "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            ),
            (ReplyRule::AlternatingChannelCount, "*2\r\n$6\r\nacme:c\r\n:3\r\n", "*2\r\n$1\r\nc\r\n:3\r\n"),
            (
                ReplyRule::TsInfo,
                "*6\r\n+totalSamples\r\n:0\r\n+sourceKey\r\n$6\r\nacme:a\r\n+rules\r\n*1\r\n*2\r\n$6\r\nacme:b\r\n:9\r\n",
                "*6\r\n+totalSamples\r\n:0\r\n+sourceKey\r\n$1\r\na\r\n+rules\r\n*1\r\n*2\r\n$1\r\nb\r\n:9\r\n",
            ),
        ] {
            assert_eq!(Ok(expected.to_owned()), stripped(rule, reply), "{rule:?}");
        }
    }

    #[test]
    fn a_foreign_name_is_never_shown() {
        for (rule, reply) in [
            (ReplyRule::FirstElementKey, "*2\r\n$7\r\nother:l\r\n$1\r\nv\r\n"),
            (ReplyRule::ScalarKey, "$7\r\nother:l\r\n"),
            (ReplyRule::ArrayOfKeys, "*2\r\n$6\r\nacme:a\r\n$7\r\nother:b\r\n"),
            (ReplyRule::Xread, "*1\r\n*2\r\n$7\r\nother:s\r\n*0\r\n"),
            (ReplyRule::FreeText, "+anything\r\n"),
        ] {
            assert_eq!(Err(Violation), stripped(rule, reply), "{rule:?}");
        }
    }

    #[test]
    fn nogroup_errors_lose_the_prefix_of_the_key_only() {
        for (text, expected) in [
            (
                "NOGROUP No such key 'acme:s' or consumer group 'g' in XREADGROUP with GROUP option",
                "NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
            ),
            (
                "NOGROUP No such consumer group 'acme:g' for key name 'acme:s'",
                "NOGROUP No such consumer group 'acme:g' for key name 's'",
            ),
            (
                "NOGROUP No such key 'acme:' or consumer group 'g'",
                "NOGROUP No such key '' or consumer group 'g'",
            ),
            ("WRONGTYPE Operation against acme:x", "WRONGTYPE Operation against acme:x"),
        ] {
            assert_eq!(expected.as_bytes(), plan(ReplyRule::NoGroupError).strip_error(text.as_bytes()));
        }
    }
}
