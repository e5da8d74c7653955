//! Replies with values, which are shown as they were written.

use bytes::BytesMut;

use super::{Frame, may_be_framed};
use crate::command::Shows;
use crate::resp::Version;
use crate::resp::cursor::{Cursor, Value};
use crate::resp::edit::put_bulk_header;
use crate::resp::reply::ReplyWriter;

/// Bytes of a reply whose values were taken out of their frames: a value can be 255 times as long as its frame, and
/// what is not asked for in one reply is not held in the memory of all tenants.
const MAX_SHOWN: usize = 256 << 20;

/// What the client reads instead of a longer reply.
pub const TOO_LONG: &[u8] =
    b"UNAVAILABLE the reply is longer than 256 MiB once its values are decompressed; ask for fewer at once";

/// Bytes of the longest header of a bulk string that is looked behind.
const MAX_HEADER: usize = 24;

/// Whether a reply of which `start` is the beginning has no frame in it, and need not be looked at any further.
pub fn is_plain(shows: Shows, start: &[u8]) -> bool {
    match (shows, start.first()) {
        (Shows::One, Some(b'$')) => {
            // A header is short, and a search that is made for long lines costs more than it.
            let header = start.iter().take(MAX_HEADER).position(|byte| *byte == b'\n');
            let payload = header.and_then(|end| start.get(end.saturating_add(1)..));
            start.starts_with(b"$-") || payload.is_some_and(|payload| !may_be_framed(payload))
        }
        (Shows::Each, Some(b'*')) => false,
        (Shows::One | Shows::Each | Shows::Nothing, _) => true,
    }
}

/// Appends `reply` with the values in it as they were written.
pub fn show(shows: Shows, reply: &[u8], out: &mut BytesMut) {
    let (start, mut cursor) = (out.len(), Cursor::new(reply));
    let values = match (shows, reply.first()) {
        (Shows::One, _) => 1,
        (Shows::Each, Some(b'*')) => match cursor.next_value() {
            Some(Value::Array(elements)) => elements,
            Some(Value::Bulk(_) | Value::Map(_) | Value::Null | Value::Line(..)) | None => 0,
        },
        (Shows::Each | Shows::Nothing, _) => 0,
    };
    let mut copied = 0;
    for _ in 0..values {
        let at = cursor.position();
        let Some(value) = cursor.next_value() else { break };
        let Value::Bulk(stored) = value else { continue };
        let Some(frame) = Frame::parse(stored) else { continue };
        if out.len().saturating_add(frame.value_len()) > MAX_SHOWN {
            out.truncate(start);
            return ReplyWriter::new(out, Version::Resp2).error(TOO_LONG);
        }
        let before = out.len();
        out.extend_from_slice(reply.get(copied..at).unwrap_or_default());
        put_bulk_header(out, frame.value_len());
        if frame.append_to(out).is_some() {
            out.extend_from_slice(b"\r\n");
            copied = cursor.position();
        } else {
            out.truncate(before);
        }
    }
    out.extend_from_slice(reply.get(copied..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::super::stored;
    use super::*;
    use crate::resp::edit::put_bulk;
    use proptest::prelude::*;

    fn shown(shows: Shows, reply: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::from(&b"+before\r\n"[..]);
        show(shows, reply, &mut out);
        out.split_off(b"+before\r\n".len()).to_vec()
    }

    fn bulk(payload: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        put_bulk(&mut out, payload);
        out.to_vec()
    }

    #[test]
    fn a_reply_without_frames_is_found_by_its_beginning() {
        let framed = stored(Some(64), &[b'a'; 1000]);
        for (shows, start, expected) in [
            (Shows::One, &b"$-1\r\n"[..], true),
            (Shows::One, b"_\r\n", true),
            (Shows::One, b"+OK\r\n", true),
            (Shows::One, b"$0\r\n\r\n", true),
            (Shows::One, b"$2\r\n\xf5T\r\n", true),
            (Shows::One, b"$100000\r\n{\"id", true),
            (Shows::One, b"$10", false),
            (Shows::One, b"$100000\r\n", false),
            (Shows::One, b"$100000\r\n\xf5T", false),
            (Shows::One, &bulk(&framed), false),
            (Shows::Each, b"*1\r\n$1\r\na\r\n", false),
            (Shows::Each, b"-ERR no\r\n", true),
            (Shows::Nothing, b"$1\r\na\r\n", true),
        ] {
            assert_eq!(expected, is_plain(shows, start), "{}", start.escape_ascii());
        }
    }

    #[test]
    fn values_are_shown_as_they_were_written_and_all_else_as_it_is() {
        let value = b"value ".repeat(100);
        let framed = stored(Some(64), &value);
        let mut broken = framed.clone();
        broken.truncate(framed.len() - 1);
        let (framed, value, broken) = (bulk(&framed), bulk(&value), bulk(&broken));
        assert_eq!(value, shown(Shows::One, &framed));
        for as_it_is in [&broken[..], b"$-1\r\n", b"_\r\n", b"+OK\r\n", b"-ERR no\r\n", b"$1\r\na\r\n"] {
            assert_eq!(as_it_is, shown(Shows::One, as_it_is));
        }
        let array = |elements: [&[u8]; 5]| [b"*5\r\n".as_slice(), &elements.concat()].concat();
        assert_eq!(
            array([b"$1\r\na\r\n", &value, b"$-1\r\n", &value, &broken]),
            shown(Shows::Each, &array([b"$1\r\na\r\n", &framed, b"$-1\r\n", &framed, &broken]))
        );
        assert_eq!(framed, shown(Shows::Nothing, &framed));
        assert_eq!(b"*-1\r\n".to_vec(), shown(Shows::Each, b"*-1\r\n"));
    }

    #[test]
    fn many_short_frames_do_not_become_more_than_may_be_held() {
        let framed = bulk(&stored(Some(64), &vec![b'a'; 1 << 20]));
        let array = |count: usize| [format!("*{count}\r\n").into_bytes(), framed.repeat(count)].concat();
        assert_eq!(255 * ((1 << 20) + 12) + 6, shown(Shows::Each, &array(255)).len());
        let error = [b"-", TOO_LONG, b"\r\n"].concat();
        assert_eq!(error, shown(Shows::Each, &array(256)));
    }

    proptest! {
        #[test]
        fn any_reply_that_is_cut_short_is_still_shown(
            values in prop::collection::vec(prop::collection::vec(0..4_u8, 0..400), 0..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut reply = format!("*{}\r\n", values.len()).into_bytes();
            for value in &values {
                reply.extend(bulk(&stored(Some(64), value)));
            }
            let expected = values.iter().map(|value| bulk(value)).collect::<Vec<_>>().concat();
            let head = format!("*{}\r\n", values.len()).into_bytes();
            prop_assert_eq!([head, expected].concat(), shown(Shows::Each, &reply));
            reply.truncate(cut.index(reply.len()));
            shown(Shows::Each, &reply);
            shown(Shows::One, &reply);
        }
    }
}
