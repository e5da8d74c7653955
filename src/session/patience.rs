//! How long a command that waits by itself may take, read from its own timeout.

use std::time::Duration;

use crate::command::CommandSpec;
use crate::resp::Request;
use crate::resp::scan::strict_integer;
use crate::upstream::Patience;

/// The patience with a blocking command.
pub(super) fn of(spec: &CommandSpec, request: &Request<'_>) -> Patience {
    match spec.name {
        "XREAD" | "XREADGROUP" => of_stream_read(request),
        "BLMPOP" | "BZMPOP" => request.arg(1).map_or(Patience::Usual, seconds),
        _ => request.args().last().map_or(Patience::Usual, seconds),
    }
}

/// The patience with `WAIT` and `WAITAOF`, whose last argument is a timeout in milliseconds.
pub(super) fn of_wait(args: &[&[u8]]) -> Patience {
    args.last().map_or(Patience::Usual, |timeout| milliseconds(timeout))
}

/// Seconds, perhaps with a fraction. What is no timeout the server refuses at once.
fn seconds(text: &[u8]) -> Patience {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    match number.and_then(|number| Duration::try_from_secs_f64(number).ok()) {
        Some(Duration::ZERO) => Patience::Endless,
        Some(timeout) => Patience::Extra(timeout),
        None => Patience::Usual,
    }
}

fn milliseconds(text: &[u8]) -> Patience {
    match strict_integer(text).and_then(|number| u64::try_from(number).ok()) {
        Some(0) => Patience::Endless,
        Some(timeout) => Patience::Extra(Duration::from_millis(timeout)),
        None => Patience::Usual,
    }
}

/// `XREAD … BLOCK ms … STREAMS …`: options have their operands, and the last `BLOCK` counts.
fn of_stream_read(request: &Request<'_>) -> Patience {
    let mut patience = Patience::Usual;
    let mut args = request.args().skip(1);
    while let Some(word) = args.next() {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("STREAMS") {
            break;
        } else if is("BLOCK") {
            patience = args.next().map_or(Patience::Usual, milliseconds);
        } else if is("GROUP") {
            args.nth(1);
        } else if is("COUNT") {
            args.next();
        }
    }
    patience
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::identify;
    use crate::resp::OwnedRequest;

    fn patience(words: &[&str]) -> Patience {
        let request = OwnedRequest::from_args(words).expect("words");
        let request = request.as_request();
        of(identify(&request).expect("known"), &request)
    }

    #[test]
    fn each_command_says_its_timeout_in_its_own_place() {
        let extra = |ms| Patience::Extra(Duration::from_millis(ms));
        for (words, expected) in [
            (vec!["BLPOP", "a", "b", "0"], Patience::Endless),
            (vec!["BLPOP", "a", "1.5"], extra(1500)),
            (vec!["BLPOP", "a", "x"], Patience::Usual),
            (vec!["BLPOP", "a", "-1"], Patience::Usual),
            (vec!["BLMOVE", "a", "b", "LEFT", "LEFT", "2"], extra(2000)),
            (vec!["BZMPOP", "3", "1", "z", "MIN"], extra(3000)),
            (vec!["XREAD", "COUNT", "1", "BLOCK", "250", "STREAMS", "BLOCK", "0"], extra(250)),
            (vec!["XREADGROUP", "GROUP", "BLOCK", "7", "BLOCK", "0", "STREAMS", "s", ">"], Patience::Endless),
        ] {
            assert_eq!(expected, patience(&words), "{words:?}");
        }
    }
}
