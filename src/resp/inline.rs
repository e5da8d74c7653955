//! Inline requests: a line of words, for people with `telnet` and for probes.
//!
//! Wire: *Redis serialization protocol*, "Inline commands". The quoting is Redis' `sdssplitargs`: words are
//! separated by blanks, `"…"` knows `\xHH \n \r \t \b \a`, `'…'` knows only `\'`, and a closing quote must be
//! followed by a blank or the end of the line.

use super::request::OwnedRequest;
use super::scan::{MAX_LINE, ProtocolError, Scan};

/// Scans one line. `bytes` begin at the request's first byte, which is not `*`.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    // Redis looks for the end with `strchr`, which stops at NUL.
    let line_feed = match memchr::memchr2(b'\n', 0, bytes) {
        Some(at) if bytes.get(at) == Some(&b'\n') => at,
        _ if bytes.len() > MAX_LINE => return Scan::Invalid(ProtocolError::TooBigInline),
        _ => return Scan::Incomplete { missing: 1 },
    };
    let len = line_feed.saturating_add(1);
    let line = bytes.get(..line_feed).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match split(line) {
        None => Scan::Invalid(ProtocolError::UnbalancedQuotes),
        Some(words) => match OwnedRequest::from_args(&words) {
            None => Scan::Nothing { len },
            Some(request) => Scan::Inline { len, request },
        },
    }
}

/// The words of a line, or `None` when its quotes do not balance.
fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        // C's `isspace`: also vertical tab and form feed.
        while let [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, tail @ ..] = rest {
            rest = tail;
        }
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        rest = read_word(rest, &mut word)?;
        words.push(word);
    }
}

/// Reads one word and returns what follows it.
fn read_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some(rest),
            [b'"', tail @ ..] => return after_quote(read_double_quoted(tail, word)?),
            [b'\'', tail @ ..] => return after_quote(read_single_quoted(tail, word)?),
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
        };
    }
}

/// A closing quote ends its word; anything but a blank after it is an error.
fn after_quote(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [] | [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, ..] => Some(rest),
        _ => None,
    }
}

fn read_double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex(*high) << 4 | hex(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                tail
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
        };
    }
}

fn read_single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                tail
            }
            [b'\'', tail @ ..] => return Some(tail),
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
        };
    }
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        split(line.as_bytes())
            .map(|words| words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect())
    }

    #[test]
    fn quotes_and_escapes_are_those_of_redis() {
        assert_eq!(Some(vec!["SET".into(), "aA".into(), "c d".into()]), words(r#"SET "a\x41" 'c d'"#));
        assert_eq!(Some(vec!["it's".into()]), words(r"'it\'s'"));
        assert_eq!(Some(vec!["ab c".into()]), words(r#"a"b c""#));
        assert_eq!(Some(vec![String::new()]), words(r#""""#));
        assert_eq!(None, words(r#"ECHO "a"b"#));
        assert_eq!(None, words(r#"ECHO "a"#));
        assert_eq!(None, words("ECHO 'a"));
    }

    #[test]
    fn a_line_becomes_a_canonical_request() {
        let Scan::Inline { len: 8, request } = scan(b"  PING\r\n") else { panic!("not inline") };
        assert_eq!(b"*1\r\n$4\r\nPING\r\n", request.as_request().bytes());
        assert_eq!(Scan::Nothing { len: 2 }, scan(b"\r\n"));
        assert_eq!(Scan::Incomplete { missing: 1 }, scan(b"PING"));
    }
}
