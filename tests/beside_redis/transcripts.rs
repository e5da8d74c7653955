//! Where a transcript of `src/session/transcripts` says `as redis`, a real server says the same.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use tenantry::resp::OwnedRequest;

use crate::notation::{Scenario, escaped, scenarios, unescaped, words};
use crate::servers::RedisServer;

/// Long enough for any answer; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the server says to the client of `scenario` until it closes the connection or has nothing more to
/// say.
fn hear(server: &RedisServer, scenario: &Scenario<'_>) -> Vec<u8> {
    let mut stream = UnixStream::connect(server.socket()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut requests = Vec::new();
    for line in scenario.dialogue.iter().filter_map(|line| line.strip_prefix("> ")) {
        let request = OwnedRequest::from_args(&words(line)).expect("a request has words");
        requests.extend_from_slice(request.as_request().bytes());
    }
    stream.write_all(&requests).expect("it reads");
    // It answers what it has read before it sees that no more will come.
    if !scenario.dialogue.contains(&"(close)") {
        stream.shutdown(Shutdown::Write).expect("it is connected");
    }
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap_or_else(|error| panic!("{}: {error}", scenario.place));
    heard
}

#[test]
fn a_real_server_says_what_the_transcripts_say_it_does() {
    let server = RedisServer::start();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/session/transcripts");
    let mut tried = 0;
    for entry in std::fs::read_dir(directory).expect("the transcripts are there") {
        let path = entry.expect("a directory entry").path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        for scenario in scenarios(&path.display().to_string(), &text) {
            if scenario.circumstance("as redis").is_none() {
                continue;
            }
            let lines = scenario.dialogue.iter().filter_map(|line| line.strip_prefix("< "));
            let written: Vec<u8> = lines.flat_map(unescaped).collect();
            let heard = hear(&server, &scenario);
            assert_eq!(escaped(&written), escaped(&heard), "{}", scenario.place);
            tried += 1;
        }
    }
    assert!(tried >= 15, "only {tried} scenarios say `as redis`");
}
