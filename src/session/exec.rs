//! The reply to `EXEC`: each element scoped by the plan of the request it answers, the proxy's own put in.

use bytes::BytesMut;

use super::batch::Part;
use super::rescue;
use crate::resp::Version;
use crate::resp::cursor::{Cursor, Value};
use crate::resp::reply::ReplyWriter;
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
    let expected = parts.iter().filter(|part| matches!(part, Part::Upstream(_))).count();
    if elements != expected {
        return Err(Violation);
    }
    ReplyWriter::new(out, Version::Resp2).array(parts.len());
    for part in parts {
        match part {
            Part::Answer(answer) => out.extend_from_slice(answer),
            Part::Upstream(plan) => {
                let start = cursor.position();
                cursor.skip_value().ok_or(Violation)?;
                let element = reply.get(start..cursor.position()).ok_or(Violation)?;
                match element.strip_prefix(b"-") {
                    Some(line) => {
                        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
                        let text = match rescue::replaces(line) {
                            Some(text) => text.to_vec(),
                            None => plan.strip_error(line),
                        };
                        ReplyWriter::new(out, Version::Resp2).error(&text);
                    }
                    None => plan.strip(element, out)?,
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::ReplyPlan;
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
    fn a_reply_of_another_length_is_withheld() {
        let parts = [Part::Upstream(ReplyPlan::Relay)];
        assert_eq!(Err(Violation), strip(&parts, b"*2\r\n:1\r\n:1\r\n", &mut BytesMut::new()));
    }
}
