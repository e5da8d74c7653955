//! A blocking client, and as much RESP as the load needs.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a client waits for a reply, or for the proxy to take more.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::with_capacity(64 << 10, stream) })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// A scalar reply: its line, or the value of a bulk string.
    pub(crate) fn reply(&mut self) -> io::Result<Vec<u8>> {
        let mut reply = Vec::new();
        if self.reader.read_until(b'\n', &mut reply)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(digits) = reply.strip_prefix(b"$") {
            let len: i64 = String::from_utf8_lossy(digits).trim().parse().map_err(io::Error::other)?;
            let Ok(len) = usize::try_from(len) else { return Ok(reply) };
            reply = vec![0; len + 2];
            self.reader.read_exact(&mut reply)?;
            reply.truncate(len);
        }
        Ok(reply)
    }

    /// Some of what has come, at most as much as fits.
    pub(crate) fn read_some(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(room)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            len => Ok(len),
        }
    }

    pub(crate) fn ask(&mut self, words: &[&[u8]]) -> io::Result<Vec<u8>> {
        self.send(&command(words))?;
        self.reply()
    }

    /// Another handle, to end the connection with from outside.
    pub(crate) fn stopper(&self) -> io::Result<Stopper> {
        Ok(Stopper(self.reader.get_ref().try_clone()?))
    }
}

/// Ends somebody's connection.
pub(crate) struct Stopper(TcpStream);

impl Stopper {
    pub(crate) fn stop(&self) {
        // It may have ended already.
        drop(self.0.shutdown(Shutdown::Both));
    }
}

/// A request of these words.
pub(crate) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A page of the admin port.
pub(crate) fn page(admin: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
