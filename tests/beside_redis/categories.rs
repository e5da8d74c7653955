//! Sets of commands are those that the server's own ACL makes of the same words.

use std::collections::BTreeSet;

use tenantry::command::{CommandSpec, Flags, Selection, Subcommands, TABLE};

use crate::servers::RedisServer;
use crate::wire::{Client, Tree, show};

/// Redis 7.2 and later count it among what blocks, and so does the table; 7.0 does not.
const LATER: (&str, &str) = ("blocking", "WAIT");

fn texts(client: &mut Client, words: &[&str]) -> BTreeSet<String> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let reply = Tree::of(&client.call(&words));
    reply.elements().iter().map(|text| String::from_utf8(text.payload().to_vec()).expect("text")).collect()
}

/// The rows that the server knows, in the order of the table.
fn known(client: &mut Client) -> Vec<&'static CommandSpec> {
    let listed = texts(client, &["COMMAND", "LIST"]);
    TABLE.iter().filter(|row| listed.contains(&row.name.to_lowercase().replace(' ', "|"))).collect()
}

#[test]
fn a_category_has_the_commands_that_the_server_puts_into_it() {
    let server = RedisServer::start();
    let mut client = server.client();
    let known = known(&mut client);
    let categories = texts(&mut client, &["ACL", "CAT"]);
    assert_eq!(21, categories.len());
    for category in categories {
        let expected: BTreeSet<String> = texts(&mut client, &["ACL", "CAT", &category]);
        let ours = Selection::parse(Selection::NONE, &format!("+@{category}")).expect("a category");
        let ours = known.iter().filter(|row| ours.has(row) && (category.as_str(), row.name) != LATER);
        let ours: BTreeSet<String> = ours.map(|row| row.name.to_lowercase().replace(' ', "|")).collect();
        let missing: Vec<&String> = expected.difference(&ours).collect();
        let more: Vec<&String> = ours.difference(&expected).collect();
        assert!(missing.is_empty() && more.is_empty(), "@{category} lacks {missing:?} and has {more:?}");
    }
}

#[test]
fn rules_choose_the_commands_that_the_server_lets_a_user_run() {
    let server = RedisServer::start();
    let mut client = server.client();
    let known = known(&mut client);
    for rules in [
        "+@all -@dangerous -keys",
        "-@all +@read +@write -mget +config|get +client -client|kill",
        "nocommands +@STRING -GetEx +ping",
        "allcommands -@slow +object|encoding -xgroup|create",
    ] {
        let user = format!("on nopass ~* &* {rules}");
        let words: Vec<&[u8]> =
            "ACL SETUSER u reset".split(' ').chain(user.split(' ')).map(str::as_bytes).collect();
        assert_eq!("+OK\\r\\n", show(&client.call(&words)));
        let ours = Selection::parse(Selection::NONE, rules).expect("rules");
        for row in known.iter().filter(|row| row.subcommands == Subcommands::None) {
            let is_allowed = ours.has(row) || row.flags.contains(Flags::NO_AUTH);
            assert_eq!(runs_dry(&mut client, row), is_allowed, "{rules}: {}", row.name);
        }
    }
}

/// Whether the server would let user `u` run the command. Some arities are other ones in this release.
fn runs_dry(client: &mut Client, row: &CommandSpec) -> bool {
    let name: Vec<&str> = row.name.split(' ').collect();
    let least = row.arity.map_or(0, |arity| usize::from(arity.unsigned_abs()));
    let replies = (least..least + 2).map(|argc| {
        let rest = std::iter::repeat_n("1", argc.saturating_sub(name.len()));
        let words = ["ACL", "DRYRUN", "u"].into_iter().chain(name.iter().copied()).chain(rest);
        show(&client.call(&words.map(str::as_bytes).collect::<Vec<_>>()))
    });
    let replies: Vec<String> = replies.collect();
    let is_refused = replies.iter().any(|reply| reply.contains("has no permissions to run the"));
    assert!(is_refused || replies.iter().any(|reply| reply == "+OK\\r\\n"), "{}: {replies:?}", row.name);
    !is_refused
}

#[test]
fn rules_that_the_server_refuses_are_refused() {
    let server = RedisServer::start();
    let mut client = server.client();
    for rule in
        ["+nosuch", "-nosuch", "+@nosuch", "+config|foo", "+config|get|x", "+acl|", "+", "+@", "-select|0"]
    {
        let reply = show(&client.call(&[b"ACL".as_slice(), b"SETUSER", b"u", rule.as_bytes()]));
        assert!(reply.starts_with("-ERR Error in ACL SETUSER modifier"), "{rule}: {reply}");
        assert!(Selection::parse(Selection::NONE, rule).is_err(), "{rule}");
    }
}
