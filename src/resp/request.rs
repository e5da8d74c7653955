//! One request: its bytes as they were received, and where its arguments are in them.
//!
//! A request is never copied to be looked at. The scanner notes each argument as a [`Span`]; everything after
//! it (command lookup, key location, rewriting) works on those spans, and the rewriter copies the untouched
//! stretches between two edited arguments as they are.

/// Where one argument lies, in bytes from the start of its request. Requests are shorter than 4 GiB: the
/// scanner refuses longer ones (`client-query-buffer-limit` is 1 GB in Redis).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte of the argument.
    pub start: u32,
    /// One past its last byte.
    pub end: u32,
}

/// One complete request of at least one argument, framed canonically: its bytes may be forwarded as they are.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    bytes: &'a [u8],
    args: &'a [Span],
}

impl<'a> Request<'a> {
    /// A request over `bytes`. Each span must lie inside `bytes` and `args` must not be empty: the scanner's
    /// promise.
    pub fn new(bytes: &'a [u8], args: &'a [Span]) -> Self {
        debug_assert!(!args.is_empty());
        Self { bytes, args }
    }

    /// The received bytes, from the first header to the last terminator.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number of arguments, the command's name included (Redis' `argc`).
    pub fn argc(&self) -> usize {
        self.args.len()
    }

    /// The spans of all arguments.
    pub fn spans(&self) -> &'a [Span] {
        self.args
    }

    /// Argument `index` (0 is the command's name), or `None` past the last one.
    pub fn arg(&self, index: usize) -> Option<&'a [u8]> {
        let span = self.args.get(index)?;
        self.bytes.get(span.start as usize..span.end as usize)
    }

    /// The command's name as sent.
    pub fn name(&self) -> &'a [u8] {
        self.arg(0).unwrap_or_default()
    }

    /// All arguments in order, the command's name first.
    pub fn args(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let bytes = self.bytes;
        self.args
            .iter()
            .map(move |span| bytes.get(span.start as usize..span.end as usize).unwrap_or_default())
    }
}

/// A request that owns its bytes: what `tenantry explain` and the tests build from words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRequest {
    bytes: Vec<u8>,
    args: Vec<Span>,
}

impl OwnedRequest {
    /// The canonical multibulk of `args`; `None` when there are none or they exceed 4 GiB together.
    pub fn from_args<A: AsRef<[u8]>>(args: &[A]) -> Option<Self> {
        if args.is_empty() {
            return None;
        }
        // Sixteen bytes are room for a mark, ten digits and two ends of lines.
        let len =
            args.iter().fold(16_usize, |len, arg| len.saturating_add(arg.as_ref().len()).saturating_add(16));
        let mut bytes = Vec::with_capacity(len);
        let header = |bytes: &mut Vec<u8>, mark, number| {
            bytes.push(mark);
            bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            bytes.extend_from_slice(b"\r\n");
        };
        header(&mut bytes, b'*', args.len());
        let mut spans = Vec::with_capacity(args.len());
        for arg in args {
            let arg = arg.as_ref();
            header(&mut bytes, b'$', arg.len());
            let start = u32::try_from(bytes.len()).ok()?;
            bytes.extend_from_slice(arg);
            spans.push(Span { start, end: u32::try_from(bytes.len()).ok()? });
            bytes.extend_from_slice(b"\r\n");
        }
        Some(Self { bytes, args: spans })
    }

    /// The request over these bytes.
    pub fn as_request(&self) -> Request<'_> {
        Request::new(&self.bytes, &self.args)
    }
}
