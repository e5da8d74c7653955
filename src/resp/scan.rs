//! Finds where requests end, without looking at a byte twice.
//!
//! The scanner is two integers and a position, as in Redis' own `processMultibulkBuffer`: arguments left, and
//! the length of the argument being received. A 512 MB value that arrives in 16 KiB pieces therefore costs
//! one look at each header and none at the payload, and nothing is allocated because a header says so: memory
//! grows with bytes that really arrived.
//!
//! What it accepts is what Redis 7.0 accepts, leniencies included (negative counts are ignored, the two bytes
//! after an argument are not checked); a request that used a leniency is marked [`Framing::Loose`] and
//! rebuilt before it goes anywhere. Wire: *Redis serialization protocol*, "Sending commands to a Redis
//! server" and "Inline commands".

use super::inline;
use super::request::{OwnedRequest, Span};

/// Bytes a header line or an inline request may have before its end is seen (`PROTO_INLINE_MAX_SIZE`, 64
/// KiB).
pub const MAX_LINE: usize = 64 * 1024;
/// Arguments a connection may send in one request before it has authenticated (Redis: 10).
const MAX_UNAUTHENTICATED_ARGS: i64 = 10;
/// Bytes in one argument before the connection has authenticated (Redis: 16 KiB).
const MAX_UNAUTHENTICATED_BULK: i64 = 16 * 1024;

/// Whether the received bytes may be forwarded as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Every header and terminator is exactly what the specification says.
    Canonical,
    /// Accepted although a terminator is not CRLF (Redis skips two bytes unchecked). Such bytes are never
    /// forwarded: another reader might frame them differently (request smuggling).
    Loose,
}

/// What the scanner needs to know about its connection.
#[derive(Clone, Copy, Debug)]
pub struct ScanLimits {
    /// Bytes in one request (`client-query-buffer-limit`); at most 4 GiB, because spans are 32 bits wide.
    pub max_request: usize,
    /// Bytes in one argument (`proto-max-bulk-len`).
    pub max_bulk: usize,
    /// Strangers get Redis' tighter limits: 10 arguments of at most 16 KiB.
    pub is_authenticated: bool,
}

/// What one look at the buffer found.
#[derive(Debug, PartialEq, Eq)]
pub enum Scan {
    /// A multibulk request ends after `len` bytes; its arguments are in the spans.
    Complete {
        /// Bytes of the request.
        len: usize,
        /// Whether they may be forwarded as they are.
        framing: Framing,
    },
    /// An inline request ended after `len` bytes; unquoted, it is this.
    Inline {
        /// Bytes of the line, its end included.
        len: usize,
        /// The same request as a multibulk.
        request: OwnedRequest,
    },
    /// These bytes are no request and get no answer (`*0`, an empty line).
    Nothing {
        /// Bytes to skip.
        len: usize,
    },
    /// The request is not complete; at least `missing` more bytes are needed.
    Incomplete {
        /// A lower bound, so that a large argument is received into one allocation.
        missing: usize,
    },
    /// The connection cannot go on.
    Invalid(ProtocolError),
}

/// What the peer did to the protocol. `Display` is Redis' wording, without the leading `-ERR `.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// `*x`, `*01`, more than `i32::MAX` arguments.
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// More than 10 arguments before authentication.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// `$x`, `$-1`, or longer than `max_bulk`.
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// More than 16 KiB in one argument before authentication.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// An argument that does not begin with `$`.
    #[error("Protocol error: expected '$', got '{}'", printable(*.0))]
    ExpectedBulk(u8),
    /// No line end within 64 KiB after `*`.
    #[error("Protocol error: too big mbulk count string")]
    TooBigMultibulkCount,
    /// No line end within 64 KiB after `$`.
    #[error("Protocol error: too big bulk count string")]
    TooBigBulkCount,
    /// No line end within 64 KiB of an inline request.
    #[error("Protocol error: too big inline request")]
    TooBigInline,
    /// An inline request whose quotes do not close.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The request as a whole is longer than the configured limit. Redis closes such a connection without a
    /// word.
    #[error("Protocol error: request is longer than {0} bytes")]
    RequestTooLong(usize),
}

/// Redis maps line ends in error texts to blanks.
fn printable(byte: u8) -> char {
    match byte {
        b'\r' | b'\n' => ' ',
        other => char::from(other),
    }
}

impl ProtocolError {
    /// The error as it goes on the wire: bytes, because the offending byte of `expected '$'` may not be
    /// UTF-8.
    pub fn to_reply(self) -> Vec<u8> {
        if let Self::ExpectedBulk(byte) = self {
            let got = if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
            return [b"-ERR Protocol error: expected '$', got '".as_slice(), &[got], b"'\r\n"].concat();
        }
        format!("-ERR {self}\r\n").into_bytes()
    }
}

/// Progress within one request. `Default` is "at its first byte".
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestScanner {
    /// Offset of the first byte not looked at.
    position: usize,
    /// Arguments still to come; 0 means that the header has not been read.
    args_left: u32,
    /// Length of the argument being received, once its header has been read.
    bulk: Option<usize>,
    /// An argument's terminator was not CRLF.
    is_loose: bool,
}

impl RequestScanner {
    /// Looks at `bytes`, which begin at the request's first byte and may have grown since the last call.
    /// Arguments are appended to `spans`, which the caller keeps together with the scanner until the request
    /// is complete.
    pub fn scan(&mut self, bytes: &[u8], spans: &mut Vec<Span>, limits: &ScanLimits) -> Scan {
        if self.args_left == 0 {
            match bytes.first() {
                None => return Scan::Incomplete { missing: 1 },
                Some(b'*') => {}
                Some(_) => return inline::scan(bytes),
            }
            match self.multibulk_header(bytes, limits) {
                Ok(()) => {}
                Err(stop) => return stop,
            }
        }
        while self.args_left > 0 {
            if let Err(stop) = self.argument(bytes, spans, limits) {
                return stop;
            }
        }
        let framing = if self.is_loose { Framing::Loose } else { Framing::Canonical };
        Scan::Complete { len: self.position, framing }
    }

    fn multibulk_header(&mut self, bytes: &[u8], limits: &ScanLimits) -> Result<(), Scan> {
        let header = match Header::read(bytes, 0) {
            Header::Unfinished { buffered } if buffered > MAX_LINE => {
                return Err(Scan::Invalid(ProtocolError::TooBigMultibulkCount));
            }
            Header::Unfinished { .. } => return Err(Scan::Incomplete { missing: 1 }),
            Header::Line(line) => line,
        };
        let count = header.number.ok_or(Scan::Invalid(ProtocolError::InvalidMultibulkLength))?;
        if count > i64::from(i32::MAX) {
            return Err(Scan::Invalid(ProtocolError::InvalidMultibulkLength));
        }
        if count > MAX_UNAUTHENTICATED_ARGS && !limits.is_authenticated {
            return Err(Scan::Invalid(ProtocolError::UnauthenticatedMultibulkLength));
        }
        self.position = header.end;
        self.is_loose |= !header.is_exact;
        match u32::try_from(count) {
            Ok(count) if count > 0 => self.args_left = count,
            _ => return Err(Scan::Nothing { len: self.position }),
        }
        Ok(())
    }

    fn argument(&mut self, bytes: &[u8], spans: &mut Vec<Span>, limits: &ScanLimits) -> Result<(), Scan> {
        let length = match self.bulk {
            Some(length) => length,
            None => self.bulk_header(bytes, limits)?,
        };
        let start = self.position;
        let end = start.saturating_add(length);
        let next = end.saturating_add(2);
        // Its arguments' positions take memory too: many empty arguments are no way around the limit.
        let positions = spans.len().saturating_mul(size_of::<Span>());
        if next.saturating_add(positions) > limits.max_request {
            return Err(Scan::Invalid(ProtocolError::RequestTooLong(limits.max_request)));
        }
        let Some(terminator) = bytes.get(end..next) else {
            self.bulk = Some(length);
            return Err(Scan::Incomplete { missing: next.saturating_sub(bytes.len()) });
        };
        self.is_loose |= terminator != b"\r\n";
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) => spans.push(Span { start, end }),
            _ => return Err(Scan::Invalid(ProtocolError::RequestTooLong(limits.max_request))),
        }
        self.position = next;
        self.bulk = None;
        self.args_left = self.args_left.saturating_sub(1);
        Ok(())
    }

    fn bulk_header(&mut self, bytes: &[u8], limits: &ScanLimits) -> Result<usize, Scan> {
        let header = match Header::read(bytes, self.position) {
            Header::Unfinished { buffered } if buffered > MAX_LINE => {
                return Err(Scan::Invalid(ProtocolError::TooBigBulkCount));
            }
            Header::Unfinished { .. } => return Err(Scan::Incomplete { missing: 1 }),
            Header::Line(line) => line,
        };
        match bytes.get(self.position) {
            Some(b'$') => {}
            // To Redis the line has not ended: its search for the end stopped here.
            Some(0) => return Err(Scan::Incomplete { missing: 1 }),
            other => {
                return Err(Scan::Invalid(ProtocolError::ExpectedBulk(other.copied().unwrap_or_default())));
            }
        }
        let length = header.number.ok_or(Scan::Invalid(ProtocolError::InvalidBulkLength))?;
        let length = match usize::try_from(length) {
            Ok(length) if length <= limits.max_bulk => length,
            _ => return Err(Scan::Invalid(ProtocolError::InvalidBulkLength)),
        };
        if !limits.is_authenticated && header.number > Some(MAX_UNAUTHENTICATED_BULK) {
            return Err(Scan::Invalid(ProtocolError::UnauthenticatedBulkLength));
        }
        self.position = header.end;
        self.is_loose |= !header.is_exact;
        Ok(length)
    }
}

/// A header line: one type byte, a number, CRLF.
enum Header {
    /// Its end has not arrived; `buffered` bytes are waiting.
    Unfinished {
        buffered: usize,
    },
    Line(HeaderLine),
}

struct HeaderLine {
    /// The number after the type byte, if it is one by Redis' strict rules.
    number: Option<i64>,
    /// Offset after the line.
    end: usize,
    /// The byte after CR is LF (Redis does not look).
    is_exact: bool,
}

impl Header {
    #[inline]
    fn read(bytes: &[u8], start: usize) -> Self {
        // Nearly every header is one of these: one or two digits and CRLF, all here.
        match bytes.get(start..).unwrap_or_default() {
            [_, digit @ b'0'..=b'9', b'\r', b'\n', ..] => {
                Self::exact(i64::from(digit & 15), start.saturating_add(4))
            }
            [_, tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n', ..] => Self::exact(
                i64::from(tens & 15).saturating_mul(10).saturating_add(i64::from(ones & 15)),
                start.saturating_add(5),
            ),
            _ => Self::read_any(bytes, start),
        }
    }

    fn exact(number: i64, end: usize) -> Self {
        Self::Line(HeaderLine { number: Some(number), end, is_exact: true })
    }

    fn read_any(bytes: &[u8], start: usize) -> Self {
        let waiting = bytes.get(start..).unwrap_or_default();
        // Redis searches with `strchr`, which stops at NUL: a line with NUL before CR never ends.
        let carriage = match memchr::memchr2(b'\r', 0, waiting) {
            Some(at) if waiting.get(at) == Some(&b'\r') => at,
            _ => return Self::Unfinished { buffered: waiting.len() },
        };
        let Some(line_feed) = waiting.get(carriage.saturating_add(1)) else {
            return Self::Unfinished { buffered: 0 };
        };
        let digits = waiting.get(1..carriage).unwrap_or_default();
        Self::Line(HeaderLine {
            number: strict_integer(digits),
            end: start.saturating_add(carriage).saturating_add(2),
            is_exact: *line_feed == b'\n',
        })
    }
}

/// Redis' `string2ll`: optional `-`, no `+`, no blanks, no leading zeros, 64 bits.
pub fn strict_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0'] if text.len() == 1 => return Some(0),
        [] | [b'0', ..] => return None,
        _ => {}
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: ScanLimits = ScanLimits { max_request: 1 << 20, max_bulk: 1 << 19, is_authenticated: true };

    fn scan_once(bytes: &[u8]) -> (Scan, Vec<Span>) {
        let mut spans = Vec::new();
        let scan = RequestScanner::default().scan(bytes, &mut spans, &LIMITS);
        (scan, spans)
    }

    #[test]
    fn a_complete_request_has_its_arguments_as_spans() {
        let (scan, spans) = scan_once(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nrest");
        assert_eq!(Scan::Complete { len: 20, framing: Framing::Canonical }, scan);
        assert_eq!(vec![Span { start: 8, end: 11 }, Span { start: 17, end: 18 }], spans);
    }

    #[test]
    fn counts_below_one_are_skipped() {
        assert_eq!(Scan::Nothing { len: 4 }, scan_once(b"*0\r\n*1").0);
        assert_eq!(Scan::Nothing { len: 6 }, scan_once(b"*-10\r\n").0);
    }

    #[test]
    fn an_unchecked_terminator_makes_the_request_loose() {
        assert_eq!(Scan::Complete { len: 14, framing: Framing::Loose }, scan_once(b"*1\r\n$4\r\nPINGxx").0);
        assert_eq!(Scan::Complete { len: 14, framing: Framing::Loose }, scan_once(b"*1\rx$4\r\nPING\r\n").0);
    }

    #[test]
    fn protocol_errors_are_those_of_redis() {
        for (bytes, text) in [
            (&b"*x\r\n"[..], "Protocol error: invalid multibulk length"),
            (b"*01\r\n", "Protocol error: invalid multibulk length"),
            (b"*+1\r\n", "Protocol error: invalid multibulk length"),
            (b"*1 \r\n", "Protocol error: invalid multibulk length"),
            (b"*2147483648\r\n", "Protocol error: invalid multibulk length"),
            (b"*1\r\n+PING\r\n", "Protocol error: expected '$', got '+'"),
            (b"*1\r\n$x\r\n", "Protocol error: invalid bulk length"),
            (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
            (b"*1\r\n$04\r\n", "Protocol error: invalid bulk length"),
            (b"*1\r\n$524289\r\n", "Protocol error: invalid bulk length"),
        ] {
            let Scan::Invalid(error) = scan_once(bytes).0 else { panic!("{bytes:?} is accepted") };
            assert_eq!(text, error.to_string());
        }
    }

    #[test]
    fn strangers_get_tighter_limits() {
        let limits = ScanLimits { is_authenticated: false, ..LIMITS };
        let scan = |bytes: &[u8]| RequestScanner::default().scan(bytes, &mut Vec::new(), &limits);
        assert_eq!(Scan::Invalid(ProtocolError::UnauthenticatedMultibulkLength), scan(b"*11\r\n"));
        assert_eq!(Scan::Invalid(ProtocolError::UnauthenticatedBulkLength), scan(b"*1\r\n$16385\r\n"));
        assert_eq!(Scan::Incomplete { missing: 1 }, scan(b"*10\r\n"));
    }

    #[test]
    fn a_large_count_allocates_nothing() {
        let (scan, spans) = scan_once(b"*1048576\r\n$1\r\na\r\n");
        assert_eq!(Scan::Incomplete { missing: 1 }, scan);
        assert!(spans.capacity() < 16);
    }

    #[test]
    fn a_header_line_may_not_grow_for_ever() {
        let mut bytes = b"*".to_vec();
        bytes.resize(MAX_LINE + 1, b'1');
        assert_eq!(Scan::Invalid(ProtocolError::TooBigMultibulkCount), scan_once(&bytes).0);
        bytes[0] = b'a';
        assert_eq!(Scan::Invalid(ProtocolError::TooBigInline), scan_once(&bytes).0);
    }

    #[test]
    fn strict_integers_are_those_of_redis() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
        ] {
            assert_eq!(value, strict_integer(text.as_bytes()));
        }
        for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "9223372036854775808", "1.0", "a"] {
            assert_eq!(None, strict_integer(text.as_bytes()), "{text:?}");
        }
    }

    proptest! {
        /// However a request is cut into reads, it scans the same as in one piece.
        #[test]
        fn any_split_scans_as_the_whole(
            args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let request = OwnedRequest::from_args(&args).expect("args are not empty");
            let bytes = request.as_request().bytes().to_vec();
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            ends.push(bytes.len());
            ends.sort_unstable();
            let mut scanner = RequestScanner::default();
            let mut spans = Vec::new();
            let mut last = Scan::Incomplete { missing: 1 };
            for end in ends {
                if let Scan::Incomplete { .. } = last {
                    last = scanner.scan(&bytes[..end], &mut spans, &LIMITS);
                }
            }
            prop_assert_eq!(Scan::Complete { len: bytes.len(), framing: Framing::Canonical }, last);
            prop_assert_eq!(request.as_request().spans(), &spans[..]);
        }

        /// Nothing a peer sends makes the scanner panic or read past the end.
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (scan, spans) = scan_once(&bytes);
            if let Scan::Complete { len, .. } | Scan::Inline { len, .. } | Scan::Nothing { len } = scan {
                prop_assert!(len <= bytes.len());
            }
            prop_assert!(spans.iter().all(|span| span.start <= span.end && span.end as usize <= bytes.len()));
        }
    }
}
