//! Writes a request with a prefix in front of some of its arguments; everything else is copied as it was
//! received.
//!
//! A rewritten request is its own bytes with splices: up to the header of an edited argument, a new header,
//! the prefix, and on with the argument itself. Nothing between two edits is looked at again, and stretches
//! large enough are not even copied.

use bytes::{BufMut, Bytes, BytesMut};

use super::request::Request;
use super::send_queue::{SHARED_FROM, SendQueue};

/// Bytes of a canonical bulk header `$<length>\r\n`.
fn header_len(length: usize) -> usize {
    // One digit more than the logarithm, and `$`, CR, LF.
    length.checked_ilog10().unwrap_or_default().saturating_add(4) as usize
}

/// Appends `$<length>\r\n`.
pub fn put_bulk_header(out: &mut BytesMut, length: usize) {
    out.put_u8(b'$');
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole bulk string.
pub fn put_bulk(out: &mut BytesMut, payload: &[u8]) {
    put_bulk_header(out, payload.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Queues `request` with `prefix` in front of the arguments at `marks` (ascending indexes, each once).
/// `owner` holds the request's bytes when they may be shared; it must be exactly [`Request::bytes`]. Returns
/// the bytes queued.
pub fn queue_prefixed(
    queue: &mut SendQueue,
    request: &Request<'_>,
    marks: impl Iterator<Item = usize>,
    prefix: &[u8],
    owner: Option<&Bytes>,
) -> usize {
    let mut splicer = Splicer::new(queue, request, owner);
    for mark in marks {
        splicer.put_before(mark, prefix);
    }
    splicer.finish()
}

/// A request being queued with changes to some of its arguments, from the first to the last.
pub struct Splicer<'a, 'q> {
    queue: &'q mut SendQueue,
    request: &'a Request<'a>,
    owner: Option<&'a Bytes>,
    /// What was queued before, in bytes.
    before: usize,
    /// Bytes of the request that are dealt with.
    copied: usize,
}

impl<'a, 'q> Splicer<'a, 'q> {
    /// Nothing of `request` is queued yet. `owner` is as in [`queue_prefixed`].
    #[inline]
    pub fn new(queue: &'q mut SendQueue, request: &'a Request<'a>, owner: Option<&'a Bytes>) -> Self {
        let before = queue.len();
        Self { queue, request, owner, before, copied: 0 }
    }

    /// The argument at `index`, which comes after all that were changed before, begins with `what` and goes on as
    /// it is.
    #[inline]
    pub fn put_before(&mut self, index: usize, what: &[u8]) {
        let Some((start, end)) = self.up_to(index) else { return };
        let tail = self.queue.tail();
        put_bulk_header(tail, end.saturating_sub(start).saturating_add(what.len()));
        tail.extend_from_slice(what);
        self.copied = start;
    }

    /// The argument at `index`, which comes after all that were changed before, is `with` instead.
    pub fn replace(&mut self, index: usize, with: Vec<u8>) {
        let Some((_, end)) = self.up_to(index) else { return };
        put_bulk_header(self.queue.tail(), with.len());
        if with.len() >= SHARED_FROM {
            self.queue.push_shared(Bytes::from(with));
        } else {
            self.queue.tail().extend_from_slice(&with);
        }
        self.copied = end;
    }

    /// Queues what is before the argument's header; where the argument lies.
    #[inline]
    fn up_to(&mut self, index: usize) -> Option<(usize, usize)> {
        let span = self.request.spans().get(index)?;
        let (start, end) = (span.start as usize, span.end as usize);
        let header = start.saturating_sub(header_len(end.saturating_sub(start)));
        queue_stretch(self.queue, self.request.bytes(), self.copied, header, self.owner);
        Some((start, end))
    }

    /// Queues the rest; the bytes queued in all.
    #[inline]
    pub fn finish(self) -> usize {
        let bytes = self.request.bytes();
        queue_stretch(self.queue, bytes, self.copied, bytes.len(), self.owner);
        self.queue.len().saturating_sub(self.before)
    }
}

fn queue_stretch(queue: &mut SendQueue, bytes: &[u8], start: usize, end: usize, owner: Option<&Bytes>) {
    match owner {
        Some(owner) if end.saturating_sub(start) >= SHARED_FROM => queue.push_shared(owner.slice(start..end)),
        _ => queue.tail().extend_from_slice(bytes.get(start..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedRequest;
    use proptest::prelude::*;

    fn rewritten(args: &[&[u8]], marks: &[usize], owner: bool) -> Vec<u8> {
        let request = OwnedRequest::from_args(args).expect("args are not empty");
        let shared = Bytes::copy_from_slice(request.as_request().bytes());
        let mut queue = SendQueue::default();
        let marks = marks.iter().copied();
        let queued =
            queue_prefixed(&mut queue, &request.as_request(), marks, b"acme:", owner.then_some(&shared));
        assert_eq!(queued, queue.len());
        let mut slices = [std::io::IoSlice::new(&[]); 16];
        let filled = queue.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn the_prefix_goes_in_front_of_the_marked_arguments() {
        assert_eq!(
            b"*3\r\n$4\r\nMGET\r\n$10\r\nacme:abcde\r\n$5\r\nacme:\r\n".to_vec(),
            rewritten(&[b"MGET", b"abcde", b""], &[1, 2], false)
        );
        assert_eq!(b"*1\r\n$4\r\nPING\r\n".to_vec(), rewritten(&[b"PING"], &[], false));
    }

    #[test]
    fn a_large_value_is_shared_and_arrives_whole() {
        let value = vec![b'v'; SHARED_FROM * 2];
        let mut expected = format!("*3\r\n$3\r\nSET\r\n$6\r\nacme:k\r\n${}\r\n", value.len()).into_bytes();
        expected.extend_from_slice(&value);
        expected.extend_from_slice(b"\r\n");
        assert_eq!(expected, rewritten(&[b"SET", b"k", &value], &[1], true));
    }

    #[test]
    fn an_argument_can_be_another() {
        for len in [3, SHARED_FROM] {
            let (value, with) = (vec![b'v'; SHARED_FROM], vec![b'w'; len]);
            let request = OwnedRequest::from_args(&[b"SET".as_slice(), b"k", &value, b"NX"]).expect("args");
            let mut queue = SendQueue::default();
            let request = request.as_request();
            let mut splicer = Splicer::new(&mut queue, &request, None);
            splicer.put_before(1, b"acme:");
            splicer.replace(2, with.clone());
            let queued = splicer.finish();
            let expected =
                OwnedRequest::from_args(&[b"SET".as_slice(), b"acme:k", &with, b"NX"]).expect("args");
            let bytes = queue.into_bytes();
            assert_eq!(expected.as_request().bytes(), &bytes);
            assert_eq!(queued, bytes.len());
        }
    }

    proptest! {
        /// A rewritten request is the canonical request of the prefixed arguments.
        #[test]
        fn rewriting_equals_building(
            args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 1..8),
            picks in proptest::collection::vec(any::<bool>(), 8),
        ) {
            let marks: Vec<usize> = (0..args.len()).filter(|index| picks[*index]).collect();
            let expected: Vec<Vec<u8>> = args
                .iter()
                .enumerate()
                .map(|(index, arg)| if picks[index] { [b"acme:", arg.as_slice()].concat() } else { arg.clone() })
                .collect();
            let expected = OwnedRequest::from_args(&expected).expect("args are not empty");
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(expected.as_request().bytes().to_vec(), rewritten(&args, &marks, false));
        }
    }
}
