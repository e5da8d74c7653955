//! What finding a frame costs: our scanners beside redis-protocol's decoder, in one run.
//!
//! `cargo bench --bench scan`. Prints nanoseconds per frame, the median of interleaved rounds, for small frames that
//! arrive many at a time, and for one reply of 10,000 elements that arrives in pieces of 16 KiB.
//! `docs/decisions/0002-hand-written-scanners.md` has the figures that decided.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use redis_protocol::resp2::decode::{decode, decode_range};
use tenantry::resp::{OwnedRequest, Progress, ReplyScanner, RequestScanner, Scan, ScanLimits, Span};

/// Frames in one buffer: a pipeline of this depth.
const FRAMES: u32 = 64;
/// Rounds; each measures every contestant once.
const ROUNDS: usize = 15;
/// How long one contestant is repeated in a round.
const REPEAT_FOR: Duration = Duration::from_millis(30);
/// Bytes that arrive at once of the reply that comes in pieces.
const PIECE: usize = 16 * 1024;

const LIMITS: ScanLimits = ScanLimits { max_request: 1 << 30, max_bulk: 512 << 20, is_authenticated: true };

/// Who finds frames: all of those in `bytes`, and says how many.
type Contestant = (&'static str, fn(&[u8]) -> u32);

fn main() {
    let key = "user:1234567890:name";
    let value = "v".repeat(64);
    let small: [Contestant; 3] =
        [("redis-protocol decode", decode_all), ("decode_range", decode_ranges), ("ours", |_| 0)];
    let of_requests = with_ours(small, scan_requests);
    let of_replies = with_ours(small, scan_replies);
    println!("nanoseconds per frame, {FRAMES} frames in the buffer, median of {ROUNDS} rounds\n");
    table("GET, 20-byte key", FRAMES, &request(&["GET", key]), &of_requests);
    table("SET, 20-byte key, 64-byte value", FRAMES, &request(&["SET", key, &value]), &of_requests);
    table("reply of 64 bytes", FRAMES, &format!("$64\r\n{value}\r\n").repeat(64).into_bytes(), &of_replies);
    println!("\none reply of 10,000 elements of 64 bytes, in pieces of {} KiB\n", PIECE / 1024);
    let elements = format!("$64\r\n{value}\r\n").repeat(10_000);
    let of_pieces: [Contestant; 3] =
        [("redis-protocol decode", decode_pieces), ("decode_range", range_pieces), ("ours", scan_pieces)];
    table("reply of 10,000 elements", 1, &format!("*10000\r\n{elements}").into_bytes(), &of_pieces);
}

fn with_ours(mut contestants: [Contestant; 3], ours: fn(&[u8]) -> u32) -> [Contestant; 3] {
    contestants[2].1 = ours;
    contestants
}

fn request(words: &[&str]) -> Vec<u8> {
    let one = OwnedRequest::from_args(words).expect("a request has words");
    one.as_request().bytes().repeat(FRAMES as usize)
}

/// Measures and prints one line.
fn table(title: &str, frames: u32, bytes: &[u8], contestants: &[Contestant; 3]) {
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (times, (name, find)) in times.iter_mut().zip(contestants) {
            assert_eq!(frames, find(bytes), "{name} finds every frame");
            times.push(time_per_frame(bytes, frames, *find));
        }
    }
    print!("{title:<34}");
    for (times, (name, _)) in times.iter_mut().zip(contestants) {
        times.sort_by(f64::total_cmp);
        print!("  {name} {:>10.1}", times[times.len() / 2]);
    }
    println!();
}

/// Nanoseconds per frame.
fn time_per_frame(bytes: &[u8], frames: u32, find: fn(&[u8]) -> u32) -> f64 {
    let start = Instant::now();
    let mut passes = 0_u32;
    while start.elapsed() < REPEAT_FOR {
        black_box(find(black_box(bytes)));
        passes += 1;
    }
    start.elapsed().as_secs_f64() * 1e9 / (f64::from(passes) * f64::from(frames))
}

fn decode_all(mut bytes: &[u8]) -> u32 {
    let mut frames = 0;
    while let Ok(Some((frame, len))) = decode(bytes) {
        black_box(frame);
        frames += 1;
        bytes = &bytes[len..];
    }
    frames
}

fn decode_ranges(mut bytes: &[u8]) -> u32 {
    let mut frames = 0;
    while let Ok(Some((frame, len))) = decode_range(bytes) {
        black_box(frame);
        frames += 1;
        bytes = &bytes[len..];
    }
    frames
}

fn scan_requests(mut bytes: &[u8]) -> u32 {
    let mut spans: Vec<Span> = Vec::with_capacity(8);
    let mut frames = 0;
    while !bytes.is_empty() {
        spans.clear();
        let Scan::Complete { len, .. } = RequestScanner::default().scan(bytes, &mut spans, &LIMITS) else {
            return frames;
        };
        black_box(&spans);
        frames += 1;
        bytes = &bytes[len..];
    }
    frames
}

fn scan_replies(mut bytes: &[u8]) -> u32 {
    let mut scanner = ReplyScanner::default();
    let mut frames = 0;
    while let Ok(Progress::Complete(len)) = scanner.advance(bytes) {
        frames += 1;
        bytes = &bytes[len..];
    }
    frames
}

/// The decoder keeps nothing between two calls: it starts over with every piece.
fn decode_pieces(bytes: &[u8]) -> u32 {
    let ends = (PIECE..bytes.len()).step_by(PIECE).chain([bytes.len()]);
    ends.map(|end| u32::from(matches!(black_box(decode(&bytes[..end])), Ok(Some(_))))).sum()
}

fn range_pieces(bytes: &[u8]) -> u32 {
    let ends = (PIECE..bytes.len()).step_by(PIECE).chain([bytes.len()]);
    ends.map(|end| u32::from(matches!(black_box(decode_range(&bytes[..end])), Ok(Some(_))))).sum()
}

fn scan_pieces(bytes: &[u8]) -> u32 {
    let mut scanner = ReplyScanner::default();
    let complete = |piece| matches!(scanner.advance(piece), Ok(Progress::Complete(_)));
    bytes.chunks(PIECE).map(complete).map(u32::from).sum()
}
