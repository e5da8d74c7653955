//! A server that is none: it answers what a test wants, which no Redis would.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Serves for as long as the test runs.
pub(crate) struct Impostor {
    /// Where it listens.
    pub(crate) port: u16,
    requests: Arc<AtomicUsize>,
}

impl Impostor {
    /// `answer` is given each request, its words separated by blanks. A request must arrive in one piece, as
    /// those do that wait for the reply to the one before.
    pub(crate) fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be bound");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (answer, requests) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
                std::thread::spawn(move || serve(stream, &*answer, &count));
            }
        });
        Self { port, requests }
    }

    /// How many requests it has answered.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&str) -> String, count: &AtomicUsize) {
    let mut room = [0; 4096];
    while let Ok(len @ 1..) = stream.read(&mut room) {
        let request = String::from_utf8_lossy(&room[..len]).into_owned();
        let words: Vec<&str> = request.lines().filter(|line| !line.starts_with(['*', '$'])).collect();
        let reply = answer(&words.join(" "));
        count.fetch_add(1, Ordering::Relaxed);
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}
