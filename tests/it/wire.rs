//! A client that sees bytes: it sends what it is given and returns every frame exactly as it arrived.
//!
//! A Redis library would hide what these tests compare (which kind of null, which error text, what order), so
//! the reader here only finds where a frame ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a read may take before it counts as a hang. Generous: the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes asked for in one read.
const CHUNK: usize = 256 * 1024;

/// Both kinds of sockets that a listener offers.
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn duplicate(&self) -> Self {
        match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().expect("socket can be duplicated")),
            Self::Unix(stream) => Self::Unix(stream.try_clone().expect("socket can be duplicated")),
        }
    }

    fn set_patience(&self, patience: Duration) {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(patience)),
            Self::Unix(stream) => stream.set_read_timeout(Some(patience)),
        }
        .expect("read timeout can be set");
    }

    fn set_waiting(&self, waits: bool) {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(!waits),
            Self::Unix(stream) => stream.set_nonblocking(!waits),
        }
        .expect("a socket can be told to wait");
    }

    fn finish_sending(&self) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn read_some(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(room),
            Self::Unix(stream) => stream.read(room),
        }
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}

/// Why there is no further frame. Both carry what had arrived of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoFrame {
    /// The peer closed the connection.
    Closed(Vec<u8>),
    /// Nothing came within the patience of this client.
    Silent(Vec<u8>),
}

impl std::fmt::Display for NoFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed(rest) => write!(f, "connection closed after {}", show(rest)),
            Self::Silent(rest) => write!(f, "no complete reply in time; so far {}", show(rest)),
        }
    }
}

/// One connection.
pub(crate) struct Client {
    socket: Socket,
    /// Received and not yet handed out; starts at `taken`.
    received: Vec<u8>,
    taken: usize,
    /// What one read fills.
    room: Box<[u8]>,
}

impl Client {
    /// Connects to a TCP port of this host.
    pub(crate) fn tcp(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port))
            .unwrap_or_else(|error| panic!("cannot connect to port {port}: {error}"));
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        Self::over(Socket::Tcp(stream))
    }

    /// Connects to a Unix socket.
    pub(crate) fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path)
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()));
        Self::over(Socket::Unix(stream))
    }

    /// Connects by TCP and changes to RESP3.
    pub(crate) fn tcp_resp3(port: u16) -> Self {
        let mut client = Self::tcp(port);
        let greeting = client.call(&["HELLO", "3"]);
        assert!(greeting.starts_with(b"%"), "HELLO 3 answered {}", show(&greeting));
        client
    }

    fn over(socket: Socket) -> Self {
        socket.set_patience(PATIENCE);
        Self { socket, received: Vec::new(), taken: 0, room: vec![0; CHUNK].into_boxed_slice() }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// Sends bytes as they are; the peer may have closed.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.write_bytes(bytes)
    }

    /// Sends from another thread, for pipelines longer than the buffers between the two ends: a peer that
    /// stops reading until its replies are read is right, and a client that writes all first would wait for
    /// ever.
    pub(crate) fn send_beside(&self, bytes: Vec<u8>) -> std::thread::JoinHandle<std::io::Result<()>> {
        let mut socket = self.socket.duplicate();
        std::thread::spawn(move || socket.write_bytes(&bytes))
    }

    /// Says that nothing more will be sent; the peer may have closed already.
    pub(crate) fn finish_sending(&mut self) {
        drop(self.socket.finish_sending());
    }

    /// Sends one command and returns the bytes of its reply.
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, argv: &[A]) -> Vec<u8> {
        self.send(&command(argv));
        self.frame()
    }

    /// Sends one command and returns its reply as readable text, for comparisons with literals.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        let argv: Vec<&str> = line.split(' ').collect();
        show(&self.call(&argv))
    }

    /// The next complete frame.
    pub(crate) fn frame(&mut self) -> Vec<u8> {
        self.try_frame().unwrap_or_else(|none| panic!("expected a reply: {none}"))
    }

    /// The next `count` frames.
    pub(crate) fn frames(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count)
            .map(|index| {
                self.try_frame().unwrap_or_else(|none| panic!("expected reply {index} of {count}: {none}"))
            })
            .collect()
    }

    /// The next complete frame, or why there is none.
    pub(crate) fn try_frame(&mut self) -> Result<Vec<u8>, NoFrame> {
        loop {
            if let Some(frame) = self.received_frame() {
                return Ok(frame);
            }
            self.read_more()?;
        }
    }

    /// Every frame that is here, and whether the peer has closed, without waiting. Only a frame that has begun
    /// is waited for.
    pub(crate) fn arrived(&mut self) -> (Vec<Vec<u8>>, bool) {
        self.socket.set_waiting(false);
        let is_closed = loop {
            match self.read_more() {
                Ok(()) => {}
                Err(NoFrame::Silent(_)) => break false,
                Err(NoFrame::Closed(rest)) => {
                    self.received = rest;
                    break true;
                }
            }
        };
        self.socket.set_waiting(true);
        let mut frames: Vec<_> = std::iter::from_fn(|| self.received_frame()).collect();
        if !is_closed && self.taken < self.received.len() {
            frames.push(self.frame());
        }
        (frames, is_closed)
    }

    /// How long the next reads may take.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.socket.set_patience(patience);
    }

    fn received_frame(&mut self) -> Option<Vec<u8>> {
        let waiting = &self.received[self.taken..];
        let frame = waiting[..frame_length(waiting)?].to_vec();
        self.taken += frame.len();
        Some(frame)
    }

    /// Everything up to the moment the peer closes; a peer that does not close fails the test.
    pub(crate) fn until_closed(&mut self) -> Vec<u8> {
        self.try_until_closed()
            .unwrap_or_else(|rest| panic!("the connection is left open after {}", show(&rest)))
    }

    /// Everything up to the moment the peer closes, or what came from a peer that does not.
    pub(crate) fn try_until_closed(&mut self) -> Result<Vec<u8>, Vec<u8>> {
        loop {
            match self.read_more() {
                Ok(()) => {}
                Err(NoFrame::Closed(rest)) => return Ok(rest),
                Err(NoFrame::Silent(rest)) => return Err(rest),
            }
        }
    }

    fn read_more(&mut self) -> Result<(), NoFrame> {
        self.received.drain(..self.taken);
        self.taken = 0;
        let outcome = loop {
            match self.socket.read_some(&mut self.room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match outcome {
            Ok(0) => Err(NoFrame::Closed(std::mem::take(&mut self.received))),
            Ok(count) => {
                self.received.extend_from_slice(&self.room[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(NoFrame::Silent(self.received.clone()))
            }
            // A reset is how a close looks when our own bytes were still unread.
            Err(_) => Err(NoFrame::Closed(std::mem::take(&mut self.received))),
        }
    }
}

/// One command in the multibulk form.
pub(crate) fn command<A: AsRef<[u8]>>(argv: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", argv.len()).into_bytes();
    for argument in argv {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// One command given as words separated by single blanks.
pub(crate) fn words(line: &str) -> Vec<u8> {
    command(&line.split(' ').collect::<Vec<_>>())
}

/// Bytes as they would stand in a Rust byte string; long ones are cut in the middle.
pub(crate) fn show(bytes: &[u8]) -> String {
    const WHOLE: usize = 600;
    if bytes.len() <= WHOLE {
        return bytes.escape_ascii().to_string();
    }
    let (head, tail) = (&bytes[..WHOLE / 2], &bytes[bytes.len() - WHOLE / 2..]);
    format!("{}…{} bytes in all…{}", head.escape_ascii(), bytes.len(), tail.escape_ascii())
}

/// The length of the first frame in `bytes`, or `None` while it is incomplete.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let mut position = 0;
    let mut owed = 1_usize;
    while owed > 0 {
        owed -= 1;
        let (kind, count, after) = header(bytes, position)?;
        position = after;
        match kind {
            b'$' | b'=' | b'!' if count >= 0 => position += usize::try_from(count).unwrap() + 2,
            b'*' | b'~' | b'>' if count > 0 => owed += usize::try_from(count).unwrap(),
            b'%' if count > 0 => owed += 2 * usize::try_from(count).unwrap(),
            b'|' => owed += 2 * usize::try_from(count).unwrap() + 1,
            _ => {}
        }
    }
    (position <= bytes.len()).then_some(position)
}

/// Type byte, number (0 where the line is no number) and the position after the line that starts at `start`.
fn header(bytes: &[u8], start: usize) -> Option<(u8, i64, usize)> {
    let line = bytes.get(start..)?;
    let end = line.windows(2).position(|pair| pair == b"\r\n")?;
    let kind = *line.first()?;
    assert!(b"+-:$*_#,(!=%~>|".contains(&kind), "not a RESP frame: {}", show(line));
    let number = std::str::from_utf8(&line[1..end]).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    Some((kind, number, start + end + 2))
}

/// A frame as a tree, for the few comparisons that must look inside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tree {
    /// A frame without elements: its exact bytes.
    Leaf(Vec<u8>),
    /// An aggregate: its type byte and its elements (keys and values alternate in a map).
    Node(u8, Vec<Self>),
}

impl Tree {
    /// Reads one complete frame, as [`Client::try_frame`] returned it.
    pub(crate) fn of(frame: &[u8]) -> Self {
        let mut position = 0;
        Self::read(frame, &mut position)
    }

    fn read(bytes: &[u8], position: &mut usize) -> Self {
        let start = *position;
        let (kind, count, after) = header(bytes, start).expect("a frame that was found complete");
        let elements = match kind {
            b'*' | b'~' | b'>' if count >= 0 => usize::try_from(count).unwrap(),
            b'%' if count >= 0 => 2 * usize::try_from(count).unwrap(),
            _ => {
                let length = frame_length(&bytes[start..]).expect("a frame that was found complete");
                *position = start + length;
                return Self::Leaf(bytes[start..*position].to_vec());
            }
        };
        *position = after;
        Self::Node(kind, (0..elements).map(|_| Self::read(bytes, position)).collect())
    }

    /// The payload of a bulk string, simple string or number.
    pub(crate) fn payload(&self) -> &[u8] {
        let Self::Leaf(bytes) = self else { panic!("an aggregate has no payload") };
        let line = bytes.windows(2).position(|pair| pair == b"\r\n").expect("frames have a line");
        match bytes[0] {
            b'$' | b'=' if bytes.len() > line + 2 => &bytes[line + 2..bytes.len() - 2],
            _ => &bytes[1..line],
        }
    }

    /// The elements of an aggregate; none for a leaf.
    pub(crate) fn elements(&self) -> &[Self] {
        match self {
            Self::Leaf(_) => &[],
            Self::Node(_, elements) => elements,
        }
    }
}
