//! Our scanners and the redis-protocol crate agree on where frames end: two readings of one specification.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;
use redis_protocol::resp2::types::Resp2Frame as _;
use redis_protocol::{resp2, resp3};
use tenantry::resp::{OwnedRequest, Progress, ReplyScanner, RequestScanner, Scan, ScanLimits};

const LIMITS: ScanLimits = ScanLimits { max_request: 1 << 20, max_bulk: 1 << 20, is_authenticated: true };

/// A string with its length before it: any bytes, line ends and other frames' beginnings among them.
fn sized(kind: char) -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20),
        Just(b"\r\n".to_vec()),
        Just(b"$-1\r\n*2\r\n".to_vec()),
    ];
    bytes.prop_map(move |bytes| {
        [format!("{kind}{}\r\n", bytes.len()).as_bytes(), bytes.as_slice(), b"\r\n".as_slice()].concat()
    })
}

/// A value without elements that RESP2 has, but for its nulls.
fn plain() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[+][ -~]{0,12}\r\n".prop_map(String::into_bytes),
        "-ERR [ -~]{0,12}\r\n".prop_map(String::into_bytes),
        any::<i64>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
        sized('$'),
    ]
}

/// Values one after another under one head.
fn counted(kind: char, count: usize, values: &[Vec<u8>]) -> Vec<u8> {
    [format!("{kind}{count}\r\n").into_bytes(), values.concat()].concat()
}

fn resp2_reply() -> impl Strategy<Value = Vec<u8>> {
    let null = prop_oneof![Just(b"$-1\r\n".to_vec()), Just(b"*-1\r\n".to_vec())];
    prop_oneof![4 => plain(), 1 => null].prop_recursive(4, 40, 6, |inner| {
        proptest::collection::vec(inner, 0..6).prop_map(|values| counted('*', values.len(), &values))
    })
}

fn resp3_reply() -> impl Strategy<Value = Vec<u8>> {
    let own = prop_oneof![
        Just(b"_\r\n".to_vec()),
        Just(b"#t\r\n".to_vec()),
        Just(b",-1.5\r\n".to_vec()),
        Just(b",inf\r\n".to_vec()),
        Just(b"(3492890328409238509324850943850943825024385\r\n".to_vec()),
        Just(b"=7\r\ntxt:a\r\n\r\n".to_vec()),
        sized('!'),
    ];
    let reply = prop_oneof![plain(), own].prop_recursive(4, 40, 6, |inner| {
        let pairs = proptest::collection::vec((sized('$'), inner.clone()), 0..4);
        let pairs =
            pairs.prop_map(|pairs| pairs.into_iter().map(|(key, value)| [key, value].concat()).collect());
        prop_oneof![
            proptest::collection::vec(inner, 0..6).prop_map(|values| counted('*', values.len(), &values)),
            proptest::collection::vec(sized('$'), 0..6).prop_map(|values| counted(
                '~',
                values.len(),
                &values
            )),
            pairs.prop_map(|pairs: Vec<Vec<u8>>| counted('%', pairs.len(), &pairs)),
        ]
    });
    // Inside a reply a push is none of its elements for us, and one of them for redis-protocol.
    let values = proptest::collection::vec(reply.clone(), 0..6);
    prop_oneof![4 => reply, 1 => values.prop_map(|values| counted('>', values.len(), &values))]
}

/// Where ours says that the reply at the start of `stream` ends.
fn our_end(stream: &[u8]) -> Option<usize> {
    match ReplyScanner::default().advance(stream) {
        Ok(Progress::Complete(len)) => Some(len),
        Ok(Progress::Partial) | Err(_) => None,
    }
}

proptest! {
    #[test]
    fn replies_of_resp2_end_where_redis_protocol_says(reply in resp2_reply()) {
        let stream = [reply.as_slice(), b"+next\r\n"].concat();
        let theirs = resp2::decode::decode(&stream).expect("RESP2").map(|(_, len)| len);
        prop_assert_eq!(Some(reply.len()), theirs);
        prop_assert_eq!(theirs, our_end(&stream));
    }

    #[test]
    fn replies_of_resp3_end_where_redis_protocol_says(reply in resp3_reply()) {
        let stream = [reply.as_slice(), b"+next\r\n"].concat();
        let theirs = resp3::decode::complete::decode(&stream).expect("RESP3").map(|(_, len)| len);
        prop_assert_eq!(Some(reply.len()), theirs);
        prop_assert_eq!(theirs, our_end(&stream));
    }

    #[test]
    fn requests_have_the_arguments_that_redis_protocol_finds(
        args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..8),
    ) {
        let request = OwnedRequest::from_args(&args).expect("a request has words");
        let bytes = request.as_request().bytes();
        let mut spans = Vec::new();
        let scan = RequestScanner::default().scan(bytes, &mut spans, &LIMITS);
        let is_whole = matches!(scan, Scan::Complete { len, .. } if len == bytes.len());
        prop_assert!(is_whole);
        let ours: Vec<&[u8]> = spans.iter().map(|span| &bytes[span.start as usize..span.end as usize]).collect();
        let (frame, _) = resp2::decode::decode(bytes).expect("RESP2").expect("complete");
        let resp2::types::OwnedFrame::Array(elements) = frame else { panic!("an array") };
        let theirs: Vec<&[u8]> = elements.iter().filter_map(|element| element.as_bytes()).collect();
        prop_assert_eq!(ours, theirs);
    }
}
