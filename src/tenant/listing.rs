//! Cuts what a server tells about itself down to what a tenant may see: `COMMAND` and its kin, `ACL CAT`,
//! `CONFIG GET`.
//!
//! The world is closed: an entry is copied, byte for byte, if its name is known and served, and is left out
//! otherwise; the lengths of the aggregates that lose one are written anew. A command that no tenant is
//! served is thus answered for as one that the server does not have.

use bytes::{BufMut, BytesMut};

use super::directory::Tenant;
use super::reply::Violation;
use crate::command::{CommandSpec, Listing, find};
use crate::resp::cursor::{Cursor, Value};
use crate::resp::edit::put_bulk;

/// The parameters that clients ask for when they connect or that libraries depend on; none of them tells of
/// other tenants, of files or of addresses.
const PARAMETERS: &[&str] = &[
    "appendonly",
    "busy-reply-threshold",
    CLUSTER_ENABLED,
    DATABASES,
    "lua-time-limit",
    "maxmemory",
    "maxmemory-policy",
    "notify-keyspace-events",
    "proto-max-bulk-len",
    "replica-read-only",
    "save",
    "slave-read-only",
    "timeout",
];

/// The parameter whose value is the tenant's own.
const DATABASES: &str = "databases";

/// `yes` to a tenant that sees a cluster.
const CLUSTER_ENABLED: &str = "cluster-enabled";

/// Which element of a command's entry holds those of its subcommands.
const SUBCOMMANDS_AT: usize = 9;

/// Appends to `out` what `tenant` may see of `reply`.
pub(super) fn keep_served(
    listing: Listing,
    reply: &[u8],
    tenant: &Tenant,
    out: &mut BytesMut,
) -> Result<(), Violation> {
    let mut cut = Cut { cursor: Cursor::new(reply), reply, tenant };
    match listing {
        Listing::Commands => cut.aggregate(Member::Element, out, |cut, kept| {
            cut.entry(kept)?;
            Ok(())
        }),
        Listing::CommandsByName => cut.aggregate(Member::Element, out, Cut::entry_or_null),
        Listing::CommandDocs => cut.aggregate(Member::Pair, out, Cut::documented_command),
        Listing::CommandNames | Listing::Category => cut.aggregate(Member::Element, out, Cut::command_name),
        Listing::Parameters => cut.aggregate(Member::Pair, out, Cut::parameter),
    }
}

/// What one member of an aggregate is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    /// One element.
    Element,
    /// A key and its value: of a map, or two elements of a flat array (RESP2).
    Pair,
}

/// A reply that is copied in part.
struct Cut<'a> {
    cursor: Cursor<'a>,
    reply: &'a [u8],
    tenant: &'a Tenant,
}

impl<'a> Cut<'a> {
    /// Copies an aggregate with those members for which `copy` appends something.
    fn aggregate(
        &mut self,
        member: Member,
        out: &mut BytesMut,
        copy: impl Fn(&mut Self, &mut BytesMut) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let start = self.cursor.position();
        let kind = *self.reply.get(start).ok_or(Violation)?;
        let (members, elements_each) = match (self.next()?, member) {
            (Value::Array(elements), Member::Element) => (elements, 1),
            (Value::Array(elements), Member::Pair) if elements.is_multiple_of(2) => (elements / 2, 2),
            (Value::Map(pairs), Member::Pair) => (pairs, 1),
            (Value::Array(_) | Value::Map(_) | Value::Bulk(_) | Value::Null | Value::Line(..), _) => {
                return Err(Violation);
            }
        };
        let mut kept = BytesMut::new();
        let mut count: usize = 0;
        for _ in 0..members {
            let before = kept.len();
            copy(self, &mut kept)?;
            if kept.len() > before {
                count = count.saturating_add(elements_each);
            }
        }
        out.put_u8(kind);
        out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&kept);
        Ok(())
    }

    /// The entry of a command, if it is served, without those of subcommands that are not. Says whether it
    /// was.
    fn entry(&mut self, out: &mut BytesMut) -> Result<bool, Violation> {
        let start = self.cursor.position();
        let elements = self.entry_head()?;
        let is_served = is_served(self.name()?);
        for element in 1..elements {
            if is_served && element == SUBCOMMANDS_AT {
                self.copy_from(start, out);
                // A subcommand has none of its own.
                self.aggregate(Member::Element, out, Self::subcommand)?;
                let rest = self.cursor.position();
                for _ in SUBCOMMANDS_AT..elements.saturating_sub(1) {
                    self.skip()?;
                }
                self.copy_from(rest, out);
                return Ok(true);
            }
            self.skip()?;
        }
        if is_served {
            self.copy_from(start, out);
        }
        Ok(is_served)
    }

    /// The number of elements of an entry; the first is a name.
    fn entry_head(&mut self) -> Result<usize, Violation> {
        match self.next()? {
            Value::Array(elements @ 1..) => Ok(elements),
            Value::Array(_) | Value::Map(_) | Value::Bulk(_) | Value::Null | Value::Line(..) => {
                Err(Violation)
            }
        }
    }

    fn subcommand(&mut self, out: &mut BytesMut) -> Result<(), Violation> {
        let start = self.cursor.position();
        let elements = self.entry_head()?;
        let is_served = is_served(self.name()?);
        for _ in 1..elements {
            self.skip()?;
        }
        if is_served {
            self.copy_from(start, out);
        }
        Ok(())
    }

    /// As `entry`; null, as for an unknown command, in the place of one that is not served.
    fn entry_or_null(&mut self, out: &mut BytesMut) -> Result<(), Violation> {
        let start = self.cursor.position();
        let mut ahead = self.cursor;
        if ahead.next_value() == Some(Value::Null) {
            self.cursor = ahead;
            self.copy_from(start, out);
        } else if !self.entry(out)? {
            // Sets are RESP3's, and the flags of an entry, its third element, are one.
            let mut entry = Cursor::new(self.reply.get(start..).unwrap_or_default());
            let is_resp3 = (0..3).all(|_| entry.next_value().is_some())
                && self.reply.get(start.saturating_add(entry.position())) == Some(&b'~');
            out.extend_from_slice(if is_resp3 { b"_\r\n" } else { b"$-1\r\n" });
        }
        Ok(())
    }

    /// A name and the map of what `COMMAND DOCS` says of it.
    fn documented_command(&mut self, out: &mut BytesMut) -> Result<(), Violation> {
        let start = self.cursor.position();
        if !is_served(self.name()?) {
            return self.skip();
        }
        self.copy_from(start, out);
        self.aggregate(Member::Pair, out, |cut, kept| {
            let start = cut.cursor.position();
            let has_subcommands = cut.name()? == b"subcommands";
            if !has_subcommands {
                cut.skip()?;
            }
            cut.copy_from(start, kept);
            if has_subcommands {
                cut.aggregate(Member::Pair, kept, Self::documented_subcommand)
            } else {
                Ok(())
            }
        })
    }

    fn documented_subcommand(&mut self, out: &mut BytesMut) -> Result<(), Violation> {
        let start = self.cursor.position();
        let is_served = is_served(self.name()?);
        self.skip()?;
        if is_served {
            self.copy_from(start, out);
        }
        Ok(())
    }

    fn command_name(&mut self, out: &mut BytesMut) -> Result<(), Violation> {
        let start = self.cursor.position();
        if is_served(self.name()?) {
            self.copy_from(start, out);
        }
        Ok(())
    }

    /// A parameter and its value. The server echoes the spelling of the request.
    fn parameter(&mut self, out: &mut BytesMut) -> Result<(), Violation> {
        let start = self.cursor.position();
        let name = self.name()?;
        let after_name = self.cursor.position();
        self.skip()?;
        let is = |parameter: &str| name.eq_ignore_ascii_case(parameter.as_bytes());
        let mut digits = itoa::Buffer::new();
        // What is the tenant's and not the server's.
        let own = match self.tenant.has_cluster_persona {
            _ if is(DATABASES) => Some(digits.format(self.tenant.databases).as_bytes()),
            true if is(CLUSTER_ENABLED) => Some(b"yes".as_slice()),
            // Whatever the upstream is.
            false if is(CLUSTER_ENABLED) => Some(b"no".as_slice()),
            _ => None,
        };
        if let Some(own) = own {
            out.extend_from_slice(self.reply.get(start..after_name).unwrap_or_default());
            put_bulk(out, own);
        } else if PARAMETERS.iter().any(|shown| is(shown)) {
            self.copy_from(start, out);
        }
        Ok(())
    }

    /// Appends the reply from `start` to where the cursor is.
    fn copy_from(&self, start: usize, out: &mut BytesMut) {
        out.extend_from_slice(self.reply.get(start..self.cursor.position()).unwrap_or_default());
    }

    fn next(&mut self) -> Result<Value<'a>, Violation> {
        self.cursor.next_value().ok_or(Violation)
    }

    fn skip(&mut self) -> Result<(), Violation> {
        self.cursor.skip_value().ok_or(Violation)
    }

    fn name(&mut self) -> Result<&'a [u8], Violation> {
        match self.next()? {
            Value::Bulk(name) | Value::Line(b'+', name) => Ok(name),
            Value::Array(_) | Value::Map(_) | Value::Null | Value::Line(..) => Err(Violation),
        }
    }
}

/// Whether a tenant is served the command or subcommand of this name (`config|get`).
fn is_served(name: &[u8]) -> bool {
    std::str::from_utf8(name).ok().and_then(find).is_some_and(CommandSpec::is_served)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `reply` written with blanks for line ends, cut to what tenant acme (16 databases) may see.
    fn cut(listing: Listing, reply: &str) -> Result<String, Violation> {
        let mut out = BytesMut::new();
        let reply = reply.replace(' ', "\r\n") + "\r\n";
        keep_served(listing, reply.as_bytes(), &crate::tenant::example_namespace().tenant, &mut out)?;
        Ok(String::from_utf8(out.to_vec()).expect("ASCII").trim_end().replace("\r\n", " "))
    }

    #[track_caller]
    fn assert_cut(listing: Listing, reply: &str, expected: &str) {
        assert_eq!(Ok(expected.to_owned()), cut(listing, reply), "{listing:?} {reply}");
    }

    #[test]
    fn names_that_are_not_served_are_left_out() {
        for listing in [Listing::CommandNames, Listing::Category] {
            assert_cut(
                listing,
                "*4 $3 get $5 debug $10 config|get $14 config|rewrite",
                "*2 $3 get $10 config|get",
            );
            assert_cut(listing, "*2 $6 nosuch $8 shutdown", "*0");
            assert_cut(listing, "*0", "*0");
        }
    }

    #[test]
    fn a_command_of_which_nothing_is_served_has_no_entry() {
        assert_cut(
            Listing::Commands,
            "*3 *3 $3 get :2 *1 +fast *3 $5 debug :-2 *0 *2 $8 shutdown :-1",
            "*1 *3 $3 get :2 *1 +fast",
        );
    }

    #[test]
    fn a_container_keeps_the_subcommands_that_are_served() {
        assert_cut(
            Listing::Commands,
            "*1 *10 $6 config :-2 ~0 :0 :0 :0 ~0 ~0 ~0 *2 *3 $10 config|get :-3 ~0 *3 $14 config|rewrite :2 ~0",
            "*1 *10 $6 config :-2 ~0 :0 :0 :0 ~0 ~0 ~0 *1 *3 $10 config|get :-3 ~0",
        );
    }

    #[test]
    fn what_a_later_release_adds_to_an_entry_is_kept() {
        assert_cut(
            Listing::Commands,
            "*1 *12 $3 get :2 *0 :0 :0 :0 *0 *0 *0 *0 +later *1 +still",
            "*1 *12 $3 get :2 *0 :0 :0 :0 *0 *0 *0 *0 +later *1 +still",
        );
    }

    #[test]
    fn an_entry_that_was_asked_for_by_name_becomes_the_null_of_its_protocol() {
        assert_cut(
            Listing::CommandsByName,
            "*3 $-1 *3 $5 debug :-2 *0 *3 $3 get :2 *0",
            "*3 $-1 $-1 *3 $3 get :2 *0",
        );
        assert_cut(Listing::CommandsByName, "*2 _ *3 $5 debug :-2 ~1 +admin", "*2 _ _");
    }

    #[test]
    fn documentation_loses_commands_and_subcommands() {
        assert_cut(
            Listing::CommandDocs,
            "*4 $5 debug *2 $7 summary $1 x $6 config *4 $7 summary $1 y $11 subcommands \
             *4 $10 config|get *0 $14 config|rewrite *0",
            "*2 $6 config *4 $7 summary $1 y $11 subcommands *2 $10 config|get *0",
        );
        assert_cut(
            Listing::CommandDocs,
            "%2 $5 debug %1 $7 summary $1 x $6 config %2 $11 subcommands %2 $10 config|get %0 \
             $14 config|rewrite %0 $7 summary $1 y",
            "%1 $6 config %2 $11 subcommands %1 $10 config|get %0 $7 summary $1 y",
        );
    }

    #[test]
    fn parameters_are_shown_by_name_and_databases_are_the_tenants() {
        assert_cut(
            Listing::Parameters,
            "*6 $9 MaxMemory $1 0 $11 requirepass $1 x $9 databases $3 512",
            "*4 $9 MaxMemory $1 0 $9 databases $2 16",
        );
        assert_cut(Listing::Parameters, "%2 $3 dir $1 / $9 DATABASES $1 1", "%1 $9 DATABASES $2 16");
        assert_cut(Listing::Parameters, "*2 $15 cluster-enabled $3 yes", "*2 $15 cluster-enabled $2 no");
        assert_cut(Listing::Parameters, "%0", "%0");
    }

    #[test]
    fn a_reply_of_another_shape_is_withheld() {
        for (listing, reply) in [
            (Listing::Commands, "%1 $3 get :1"),
            (Listing::Commands, "*1 $3 get"),
            (Listing::Commands, "*2 *1 $3 get"),
            (Listing::Commands, "*2 *0 $3 get"),
            (Listing::CommandNames, "*1 :1"),
            (Listing::CommandDocs, "*3 $3 get *0 $3 set"),
            (Listing::Parameters, "+OK"),
            (Listing::CommandsByName, "*-1"),
        ] {
            assert_eq!(Err(Violation), cut(listing, reply), "{listing:?} {reply}");
        }
    }

    /// What the server sends is trusted to be RESP, and to nothing else.
    const WHOLE: &str = "*3\r\n$-1\r\n*10\r\n$6\r\nconfig\r\n:-2\r\n~0\r\n:0\r\n:0\r\n:0\r\n~0\r\n~0\r\n\
        ~0\r\n*1\r\n*3\r\n$10\r\nconfig|get\r\n:-3\r\n~0\r\n%2\r\n$3\r\nget\r\n%1\r\n$11\r\nsubcommands\r\n%0\r\n";

    proptest! {
        /// Cut short, or with other bytes in it, a reply is cut or withheld, and what is cut does not grow.
        #[test]
        fn no_reply_does_harm(
            start in 0..WHOLE.len(),
            end in 0..WHOLE.len(),
            bytes in proptest::collection::vec(
                (0..WHOLE.len(), proptest::sample::select(b"*%~$:0123456789\r\nx_".to_vec())),
                0..4,
            ),
        ) {
            let mut reply = WHOLE.as_bytes().to_vec();
            for (at, byte) in bytes {
                reply[at] = byte;
            }
            let reply = &reply[start.min(end)..start.max(end)];
            let tenant = &crate::tenant::example_namespace().tenant;
            for listing in [
                Listing::Commands,
                Listing::CommandsByName,
                Listing::CommandDocs,
                Listing::CommandNames,
                Listing::Category,
                Listing::Parameters,
            ] {
                let mut out = BytesMut::new();
                if keep_served(listing, reply, tenant, &mut out).is_ok() {
                    prop_assert!(out.len() <= reply.len(), "{listing:?} {reply:?}");
                }
            }
        }
    }
}
