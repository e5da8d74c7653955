//! The lines that `MONITOR` shows.

use bytes::Bytes;

use super::card::Card;
use crate::command::{CommandSpec, Flags};
use crate::resp::Request;
use crate::resp::scan::strict_integer;

/// Stands for a password, and for the user beside it.
const REDACTED: &[u8] = b"(redacted)";

/// The arguments of a request as others may read them: without passwords.
///
/// A `HELLO` that Redis refuses may show the password to whoever monitors; here everything is hidden from the
/// first word on that is none of its options.
pub(super) fn redacted<'a>(
    spec: &CommandSpec,
    request: &Request<'a>,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let first = match spec.name {
        "AUTH" => Place::Secrets,
        "HELLO" => Place::Version,
        _ => Place::Harmless,
    };
    let shown = request.args().skip(1).scan(first, |place, arg| {
        let (is_shown, next) = place.read(arg);
        *place = next;
        Some(if is_shown { arg } else { REDACTED })
    });
    std::iter::once(request.name()).chain(shown)
}

/// What may stand at a place among the arguments.
#[derive(Clone, Copy)]
enum Place {
    /// Nothing secret, up to the end.
    Harmless,
    /// Secrets, up to the end.
    Secrets,
    /// The version of `HELLO`.
    Version,
    /// One of its options.
    Option,
    /// The name after `SETNAME`.
    Name,
    /// The user after `AUTH`, hidden like the password.
    User,
    /// The password after the user.
    Password,
}

impl Place {
    /// Whether `arg` may be shown here, and what follows it.
    fn read(self, arg: &[u8]) -> (bool, Place) {
        match self {
            Self::Harmless => (true, Self::Harmless),
            Self::Version if strict_integer(arg).is_some() => (true, Self::Option),
            Self::Option if arg.eq_ignore_ascii_case(b"AUTH") => (true, Self::User),
            Self::Option if arg.eq_ignore_ascii_case(b"SETNAME") => (true, Self::Name),
            Self::Name => (true, Self::Option),
            Self::User => (false, Self::Password),
            Self::Password => (false, Self::Option),
            Self::Secrets | Self::Version | Self::Option => (false, Self::Secrets),
        }
    }
}

/// The line for a request that has been executed, in the client's own words: what `MONITOR` shows between its
/// `+` and the line's end included. `None`: this command is not shown, since it is administration. Those with
/// the flag `skip_monitor` are: they are scripts, which the server shows itself before what they call.
///
/// `database` is the one that the client is in after the request.
pub fn monitor_line(
    spec: &CommandSpec,
    request: &Request<'_>,
    client: &Card,
    database: u32,
    unix_micros: u64,
) -> Option<Bytes> {
    if spec.flags.contains(Flags::ADMIN) {
        return None;
    }
    let (secs, micros) = (unix_micros / 1_000_000, unix_micros % 1_000_000);
    let addr = &client.origin().addr;
    let from = if client.origin().is_unix {
        format!("unix:{}", addr.strip_suffix(":0").unwrap_or(addr))
    } else {
        addr.to_string()
    };
    let mut line = format!("+{secs}.{micros:06} [{database} {from}]").into_bytes();
    for arg in redacted(spec, request) {
        line.push(b' ');
        quote(&mut line, arg);
    }
    line.extend_from_slice(b"\r\n");
    Some(line.into())
}

/// Appends `arg` between quotes, everything that is not printable ASCII escaped.
fn quote(line: &mut Vec<u8>, arg: &[u8]) {
    line.push(b'"');
    for &byte in arg {
        match byte {
            b'\\' | b'"' => line.extend_from_slice(&[b'\\', byte]),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            0x07 => line.extend_from_slice(b"\\a"),
            0x08 => line.extend_from_slice(b"\\b"),
            b' '..=b'~' => line.push(byte),
            _ => line.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::tests::card;
    use crate::clients::{Facts, Origin};
    use crate::command::{TABLE, identify};
    use crate::resp::OwnedRequest;

    const NOW: u64 = 1_795_181_060_046_896;

    fn line<A: AsRef<[u8]>>(args: &[A]) -> Option<String> {
        let request = OwnedRequest::from_args(args).expect("it has words");
        let spec = identify(&request.as_request()).expect("in the table");
        let line = monitor_line(spec, &request.as_request(), &card(7), 3, NOW)?;
        Some(String::from_utf8(line.to_vec()).expect("ASCII"))
    }

    #[track_caller]
    fn assert_shown(expected: &str, words: &str) {
        let expected = format!("+1795181060.046896 [3 10.0.0.1:5007] {expected}\r\n");
        assert_eq!(Some(expected), line(&words.split(' ').collect::<Vec<_>>()));
    }

    #[test]
    fn arguments_are_quoted_as_redis_quotes_them() {
        assert_shown(r#""SeT" "k" """#, "SeT k ");
        let odd: &[&[u8]] = &[b"SET", b"a b\n\"\x00\xff\\\r\t\x07\x08'~\x7f", b"c"];
        let expected = "+1795181060.046896 [3 10.0.0.1:5007] \"SET\" \"a b\\n\\\"\\x00\\xff\\\\\\r\\t\\a\\b'~\\x7f\" \"c\"\r\n";
        assert_eq!(Some(expected.to_owned()), line(odd));
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_shown(r#""auth" "(redacted)""#, "auth foo");
        assert_shown(r#""auth" "(redacted)" "(redacted)""#, "auth a b");
        assert_shown(r#""hello" "2""#, "hello 2");
        assert_shown(
            r#""hello" "2" "auth" "(redacted)" "(redacted)" "setname" "y""#,
            "hello 2 auth u p setname y",
        );
        assert_shown(r#""hello" "2" "setname" "auth""#, "hello 2 setname auth");
    }

    #[test]
    fn a_greeting_that_redis_refuses_does_not_show_them_either() {
        assert_shown(r#""auth" "(redacted)" "(redacted)" "(redacted)""#, "auth a b c");
        assert_shown(
            r#""hello" "2" "(redacted)" "(redacted)" "(redacted)" "(redacted)""#,
            "hello 2 foo auth u p",
        );
        assert_shown(r#""hello" "(redacted)" "(redacted)" "(redacted)""#, "hello auth u p");
        let twice = r#""hello" "2" "auth" "(redacted)" "(redacted)" "auth" "(redacted)" "(redacted)""#;
        assert_shown(twice, "hello 2 auth a b auth c d");
    }

    #[test]
    fn administration_is_not_shown_and_scripts_are() {
        for words in ["CLIENT LIST", "CONFIG GET x", "MONITOR", "SLOWLOG GET", "ACL USERS"] {
            assert_eq!(None, line(&words.split(' ').collect::<Vec<_>>()), "{words}");
        }
        assert_shown(r#""eval" "x" "0""#, "eval x 0");
        let mut skipped = TABLE.iter().filter(|row| row.flags.contains(Flags::SKIP_MONITOR));
        assert!(skipped.all(|row| row.flags.contains(Flags::SCRIPT_RUNNER)), "scripts only");
        assert_shown(r#""exec""#, "exec");
    }

    #[test]
    fn a_client_of_a_unix_socket_is_shown_by_its_path() {
        let origin = card(7).origin().clone();
        let origin = Origin { addr: "/run/t.sock:0".into(), is_unix: true, ..origin };
        let card = Card::new(origin, Facts::default(), 0);
        let request = OwnedRequest::from_args(&["ping"]).expect("it has words");
        let spec = identify(&request.as_request()).expect("in the table");
        let line = monitor_line(spec, &request.as_request(), &card, 0, NOW).expect("shown");
        assert_eq!(&b"+1795181060.046896 [0 unix:/run/t.sock] \"ping\"\r\n"[..], &line[..]);
    }
}
