//! Redis' glob-style patterns, for what the proxy matches itself: event channels, channels of other sessions,
//! names of `CONFIG GET`.
//!
//! *KEYS*: `*` is any run of bytes, `?` one byte, `[a-c]` one of a class, `[^a]` one of all others, `\` takes
//! the next byte as it is. What the manual leaves open is what a server does, and the tests ask one: an
//! unclosed class ends with the pattern, `[a-]` takes `]` as the end of a range, reversed ranges are turned
//! round, a last lone `\` is itself, and an empty text is matched by the empty pattern alone.
//!
//! Patterns come from clients, so their cost is bounded: what stands between two `*` is put at its first
//! possible place and never moved again, because a later place leaves less of the text to the rest. A match
//! takes at most the product of both lengths, whatever the pattern; Redis has had the same bound since 7.0.9.

/// Whether `pattern` matches the whole of `text`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    matches_folded(pattern, text, |byte| byte)
}

/// Whether `pattern` matches the whole of `text` when letters of ASCII are the same in either case.
pub fn matches_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    matches_folded(pattern, text, |byte| byte.to_ascii_lowercase())
}

/// Whether `pattern` may match a text that begins with `literal`. Errs only towards `true`: what follows the
/// first `*` is not looked at.
pub fn can_match_beginning(pattern: &[u8], literal: &[u8]) -> bool {
    let mut pattern = pattern;
    for &byte in literal {
        match step(pattern, byte, |byte| byte) {
            Step::AnyRun(_) => return true,
            Step::Byte { matches: true, rest } => pattern = rest,
            Step::Byte { matches: false, .. } | Step::End => return false,
        }
    }
    true
}

/// What the beginning of a pattern says about one byte.
enum Step<'a> {
    /// `*`; what follows it.
    AnyRun(&'a [u8]),
    /// Anything that stands for one byte, and what follows it.
    Byte { matches: bool, rest: &'a [u8] },
    /// The pattern is over.
    End,
}

fn step(pattern: &[u8], byte: u8, fold: fn(u8) -> u8) -> Step<'_> {
    match pattern {
        [] => Step::End,
        [b'*', rest @ ..] => Step::AnyRun(rest),
        [b'?', rest @ ..] => Step::Byte { matches: true, rest },
        [b'[', b'^', class @ ..] => {
            let (is_in, rest) = class_has(class, byte, fold);
            Step::Byte { matches: !is_in, rest }
        }
        [b'[', class @ ..] => {
            let (matches, rest) = class_has(class, byte, fold);
            Step::Byte { matches, rest }
        }
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => {
            Step::Byte { matches: fold(*literal) == fold(byte), rest }
        }
    }
}

/// Whether a class has `byte`, and what follows the class. `class` begins behind `[` or `[^`.
fn class_has(class: &[u8], byte: u8, fold: fn(u8) -> u8) -> (bool, &[u8]) {
    let byte = fold(byte);
    let mut is_in = false;
    let mut class = class;
    loop {
        class = match class {
            [] => return (is_in, class),
            // Before the bracket, which may be what is escaped.
            [b'\\', literal, rest @ ..] => {
                is_in |= fold(*literal) == byte;
                rest
            }
            [b']', rest @ ..] => return (is_in, rest),
            [start, b'-', end, rest @ ..] => {
                // Turned round first and folded afterwards, as in Redis: `[Z-a]` has nothing in either case.
                let (low, high) = (fold(*start.min(end)), fold(*start.max(end)));
                is_in |= (low..=high).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                is_in |= fold(*literal) == byte;
                rest
            }
        };
    }
}

fn matches_folded(pattern: &[u8], text: &[u8], fold: fn(u8) -> u8) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut pattern, mut text) = (pattern, text);
    // Behind the last `*` seen, and the text from where its rest was last tried.
    let mut retry: Option<(&[u8], &[u8])> = None;
    while let [byte, after @ ..] = text {
        (pattern, text) = match step(pattern, *byte, fold) {
            Step::AnyRun(rest) => {
                retry = Some((rest, text));
                (rest, text)
            }
            Step::Byte { matches: true, rest } => (rest, after),
            Step::Byte { matches: false, .. } | Step::End => {
                let Some((rest, [_, later @ ..])) = retry else { return false };
                retry = Some((rest, later));
                (rest, later)
            }
        };
    }
    pattern.iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_matches(pattern: &str, matching: &[&str], others: &[&str]) {
        for text in matching {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} matches {text}");
        }
        for text in others {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} does not match {text}");
        }
    }

    #[test]
    fn patterns_match_as_the_manual_says() {
        assert_matches("h?llo", &["hello", "hallo"], &["hllo", "heello"]);
        assert_matches("h*llo", &["hllo", "heeeello", "hllollo"], &["hll", "xhllo"]);
        assert_matches("h[ae]llo", &["hello", "hallo"], &["hillo"]);
        assert_matches("h[^e]llo", &["hallo", "h^llo"], &["hello"]);
        assert_matches("h[a-b]llo", &["hallo", "hbllo"], &["hcllo", "h-llo"]);
        assert_matches("", &[""], &["a"]);
        assert_matches("*", &["a", "*"], &[""]);
        assert_matches("a**b*", &["ab", "aabb"], &["a", "ba"]);
    }

    #[test]
    fn malformed_patterns_match_as_a_server_reads_them() {
        assert_matches("[z-a]", &["a", "m", "z"], &["-"]);
        assert_matches("[]a]", &[], &["]", "a", "a]", "]a]"]);
        assert_matches("[^]", &["]", "a", "^"], &["", "aa"]);
        assert_matches("[a\\]]", &["a", "]"], &["\\", "b"]);
        assert_matches("[a-]", &["]", "^", "a"], &["-", "b"]);
        assert_matches("[a", &["a"], &["[a", "["]);
        assert_matches("[", &[], &["[", "a"]);
        assert_matches("a\\", &["a\\"], &["a"]);
        assert_matches("\\*", &["*"], &["a", "\\*"]);
        assert_matches("[a-", &["a", "-"], &["b"]);
    }

    #[test]
    fn a_byte_is_not_a_character() {
        assert!(!matches(b"?", "é".as_bytes()));
        assert!(matches(b"??", "é".as_bytes()));
        assert!(matches(b"[^a]\xff", b"\x00\xff"));
    }

    #[test]
    fn case_counts_unless_it_is_ignored() {
        assert_matches("MaxMemory*", &["MaxMemory-policy"], &["maxmemory"]);
        for (pattern, expected) in
            [("MAX*Y", true), ("[L-N]axmemory", true), ("[^M]axmemory", false), ("max\\Memory", true)]
        {
            assert_eq!(expected, matches_ignoring_case(pattern.as_bytes(), b"maxMEMORY"), "{pattern}");
        }
        assert!(!matches_ignoring_case(b"[Z-a]", b"z"));
    }

    /// Tried at every place for each of its stars, this pattern would outlive the machine.
    #[test]
    fn a_hostile_pattern_ends() {
        let pattern = [b"a*".repeat(500), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &b"a".repeat(5_000)));
        assert!(matches(&pattern, &[b"a".repeat(5_000), b"b".to_vec()].concat()));
    }

    #[test]
    fn a_pattern_that_can_match_a_beginning_is_found() {
        for pattern in
            ["*", "__key*", "__keyspace@0__:k", "_?keys[p]ace@*", "[^a]_keyspace\\@[0-9]__:*", "?*"]
        {
            assert!(can_match_beginning(pattern.as_bytes(), b"__keyspace@"), "{pattern}");
        }
        for pattern in ["", "__keyspace", "__keyevent@*", "news.*", "[^_]*", "__keyspace\\", "__keyspace[]*"]
        {
            assert!(!can_match_beginning(pattern.as_bytes(), b"__keyspace@"), "{pattern}");
        }
    }
}
