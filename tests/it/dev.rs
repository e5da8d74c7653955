//! `tenantry dev`: what it prints to try works as printed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// Ends `tenantry dev` as Ctrl-C does, so that it can clean up behind itself.
struct Dev(Child);

impl Drop for Dev {
    fn drop(&mut self) {
        drop(Command::new("kill").args(["-INT", &self.0.id().to_string()]).status());
        drop(self.0.wait());
    }
}

/// A command of the banner and the lines that it says will be printed.
type Trial = (String, Vec<String>);

/// Reads the banner up to the last trial: commands stand four blanks in, what they print six.
fn read_trials(banner: &mut impl BufRead) -> (String, Vec<Trial>) {
    let (mut admin, mut trials) = (String::new(), Vec::<Trial>::new());
    loop {
        let mut line = String::new();
        assert!(banner.read_line(&mut line).unwrap() > 0, "the banner ends early: {trials:?}");
        let line = line.trim_end();
        if let Some((_, url)) = line.split_once("http://") {
            url.trim_end_matches("/metrics").clone_into(&mut admin);
        } else if let Some(printed) = line.strip_prefix("      ") {
            trials.last_mut().expect("a command comes first").1.push(printed.to_owned());
            if printed.starts_with("2) ") {
                return (admin, trials);
            }
        } else if let Some(command) = line.strip_prefix("    ") {
            trials.push((command.to_owned(), Vec::new()));
        }
    }
}

/// Asks until the proxy is ready; it answers as soon as its admin port is open.
fn wait_until_ready(admin: &str) {
    let is_ready = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page.starts_with("HTTP/1.1 200"))
    };
    for _ in 0..200_000 {
        if is_ready().unwrap_or(false) {
            return;
        }
        std::thread::yield_now();
    }
    panic!("not ready at {admin}");
}

#[test]
fn commands_of_the_banner_print_what_it_says() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tenantry"))
        .arg("dev")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut banner = BufReader::new(child.stdout.take().expect("piped"));
    let _dev = Dev(child);
    let (admin, trials) = read_trials(&mut banner);
    wait_until_ready(&admin);
    assert_eq!(6, trials.len());
    for (command, prints) in trials {
        // `redis-cli` prints types and numbers as in a terminal when it is told that this is one.
        let output = Command::new("sh").args(["-c", &command]).env("FAKETTY", "1").output().unwrap();
        let mut printed: Vec<String> =
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        // Two keys may come in either order: only what follows their numbers counts.
        let mut expected = prints;
        for lines in [&mut printed, &mut expected] {
            for line in lines.iter_mut() {
                *line = line.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned();
            }
            lines.sort();
        }
        assert_eq!(expected, printed, "{command}");
    }
}
