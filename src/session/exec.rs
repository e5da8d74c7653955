//! The reply to `EXEC`: each element scoped by the plan of the request it answers, the proxy's own put in.

use bytes::BytesMut;

use super::batch::{FirstOf, Part};
use super::rescue;
use crate::resp::Version;
use crate::resp::cursor::{Cursor, Value};
use crate::resp::reply::ReplyWriter;
use crate::tenant::ReplyPlan;
use crate::tenant::reply::Violation;

/// Appends the reply that is made of `parts` and the upstream's `reply`, an array of its own parts or null.
pub(super) fn strip(parts: &[Part], reply: &[u8], out: &mut BytesMut) -> Result<(), Violation> {
    let mut cursor = Cursor::new(reply);
    let elements = match cursor.next_value() {
        // Watched keys have changed.
        Some(Value::Null) => {
            out.extend_from_slice(reply);
            return Ok(());
        }
        Some(Value::Array(elements)) => elements,
        _ => return Err(Violation),
    };
    let answers = parts.iter().filter(|part| matches!(part, Part::Answer(_))).count();
    let unread = parts.iter().filter(|part| matches!(part, Part::Unread)).count();
    if elements != parts.len().saturating_sub(answers) {
        return Err(Violation);
    }
    ReplyWriter::new(out, Version::Resp2).array(parts.len().saturating_sub(unread));
    for part in parts {
        match part {
            Part::Answer(answer) => out.extend_from_slice(answer),
            Part::Unread => cursor.skip_value().ok_or(Violation)?,
            Part::Upstream(plan) => element(plan, &mut cursor, reply, out)?,
        }
    }
    Ok(())
}

/// Appends the first part of the upstream's `reply`, as `first` says.
pub(super) fn first_of(first: &FirstOf, reply: &[u8], out: &mut BytesMut) -> Result<(), Violation> {
    let mut cursor = Cursor::new(reply);
    let Some(Value::Array(elements)) = cursor.next_value() else { return Err(Violation) };
    if elements != (first.others as usize).saturating_add(1) {
        return Err(Violation);
    }
    element(&first.plan, &mut cursor, reply, out)
}

/// Appends the next part of `reply`, scoped by its plan.
fn element(
    plan: &ReplyPlan,
    cursor: &mut Cursor<'_>,
    reply: &[u8],
    out: &mut BytesMut,
) -> Result<(), Violation> {
    let start = cursor.position();
    cursor.skip_value().ok_or(Violation)?;
    let element = reply.get(start..cursor.position()).ok_or(Violation)?;
    let Some(line) = element.strip_prefix(b"-") else { return plan.strip(element, out) };
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    let text = match rescue::replaces(line) {
        Some(text) => text.to_vec(),
        None => plan.strip_error(line),
    };
    ReplyWriter::new(out, Version::Resp2).error(&text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn answers_of_the_proxy_stand_where_they_were_queued() {
        let answer = |text: &'static str| Part::Answer(Bytes::from_static(text.as_bytes()));
        let parts = [answer("+PONG\r\n"), Part::Upstream(ReplyPlan::Relay), answer("$1\r\na\r\n")];
        let mut out = BytesMut::new();
        assert_eq!(Ok(()), strip(&parts, b"*1\r\n-WRONGTYPE no\r\n", &mut out));
        assert_eq!(b"*3\r\n+PONG\r\n-WRONGTYPE no\r\n$1\r\na\r\n".as_slice(), &out);
    }

    #[test]
    fn a_transaction_that_watched_keys_ended_stays_null() {
        let mut out = BytesMut::new();
        let parts = [Part::Upstream(ReplyPlan::Relay)];
        assert_eq!(Ok(()), strip(&parts, b"*-1\r\n", &mut out));
        assert_eq!(b"*-1\r\n".as_slice(), &out);
    }

    #[test]
    fn what_the_proxy_has_added_is_left_out() {
        let parts =
            [Part::Upstream(ReplyPlan::Relay), Part::Unread, Part::Upstream(ReplyPlan::Relay), Part::Unread];
        let mut out = BytesMut::new();
        assert_eq!(Ok(()), strip(&parts, b"*4\r\n:1\r\n:1\r\n+OK\r\n:0\r\n", &mut out));
        assert_eq!(b"*2\r\n:1\r\n+OK\r\n".as_slice(), &out);
    }

    #[test]
    fn the_first_of_several_is_a_reply_by_itself() {
        let first = FirstOf { plan: ReplyPlan::Relay, others: 1, is_exec: true };
        for (reply, expected) in [
            (b"*2\r\n*1\r\n$1\r\na\r\n:1\r\n".as_slice(), Ok(b"*1\r\n$1\r\na\r\n".as_slice())),
            (b"*2\r\n-WRONGTYPE no\r\n:1\r\n", Ok(b"-WRONGTYPE no\r\n")),
            (b"*3\r\n:1\r\n:1\r\n:1\r\n", Err(Violation)),
            (b"*-1\r\n", Err(Violation)),
        ] {
            let mut out = BytesMut::new();
            let taken = first_of(&first, reply, &mut out).map(|()| out.to_vec());
            assert_eq!(expected.map(<[u8]>::to_vec), taken);
        }
    }

    #[test]
    fn a_reply_of_another_length_is_withheld() {
        let parts = [Part::Upstream(ReplyPlan::Relay)];
        assert_eq!(Err(Violation), strip(&parts, b"*2\r\n:1\r\n:1\r\n", &mut BytesMut::new()));
    }
}
