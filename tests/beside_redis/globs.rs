//! The proxy's glob finds what a real server's `KEYS` finds.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tenantry::command::glob;

use crate::servers::RedisServer;
use crate::wire::{Client, Tree, show};

/// Every byte that means something in a pattern, and two that do not.
const ALPHABET: &[u8] = b"ab*?[]^-\\";

/// All texts of up to so many bytes of this alphabet, the empty one included.
fn all_texts(alphabet: &[u8], longest: usize) -> BTreeSet<Vec<u8>> {
    let mut texts = BTreeSet::from([Vec::new()]);
    for _ in 0..longest {
        let longer = |text: Vec<u8>| alphabet.iter().map(move |byte| [&text, &[*byte][..]].concat());
        texts.extend(texts.clone().into_iter().flat_map(longer));
    }
    texts
}

/// Every short text, and longer ones in which a star may end in many places.
fn texts() -> BTreeSet<Vec<u8>> {
    all_texts(ALPHABET, 3).into_iter().chain(all_texts(b"ab", 6)).collect()
}

fn found_by_server(client: &mut Client, pattern: &[u8]) -> BTreeSet<Vec<u8>> {
    let reply = Tree::of(&client.call(&[b"KEYS".as_slice(), pattern]));
    reply.elements().iter().map(|key| key.payload().to_vec()).collect()
}

#[test]
fn a_pattern_matches_what_the_server_finds_by_it() {
    let server = RedisServer::start();
    let mut client = server.client();
    let texts = texts();
    assert_eq!(820 + 16 + 32 + 64, texts.len());
    let stored: Vec<&[u8]> = texts.iter().flat_map(|text| [text.as_slice(), b"v"]).collect();
    let reply = client.call(&[[b"MSET".as_slice()].as_slice(), &stored].concat());
    assert_eq!("+OK\\r\\n", show(&reply));
    let client = std::cell::RefCell::new(client);
    let patterns = prop::collection::vec(prop::sample::select(ALPHABET), 0..8);
    // A lone `*` is no pattern to KEYS: it does not even compare, and so finds the empty key.
    let patterns = patterns.prop_filter("a lone star", |pattern| pattern != b"*");
    let config = ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&patterns, |pattern| {
        let expected = found_by_server(&mut client.borrow_mut(), &pattern);
        let found = texts.iter().filter(|text| glob::matches(&pattern, text)).cloned().collect();
        prop_assert_eq!(expected, found, "{}", show(&pattern));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_beginning_that_can_be_matched_is_never_denied() {
    let texts = texts();
    let patterns = prop::collection::vec(prop::sample::select(ALPHABET), 0..6);
    let config = ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&patterns, |pattern| {
        for text in texts.iter().filter(|text| glob::matches(&pattern, text)) {
            for length in 0..=text.len() {
                prop_assert!(glob::can_match_beginning(&pattern, &text[..length]), "{}", show(&pattern));
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
