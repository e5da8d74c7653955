//! The label values that are not names from the configuration: closed sets, so that nothing a peer sends
//! can add a series.

/// Defines a closed label enum: each variant with its doc and the value it has in the exposition.
macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of declaration; a value's place is its `as usize`.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many values there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The value as written in the exposition.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

labels! {
    /// The first word of an error reply (`err`), as far as Redis or Tenantry have a name for it.
    ErrorCode {
        /// Generic error.
        Err = "ERR",
        /// Operation against a key holding the wrong kind of value.
        WrongType = "WRONGTYPE",
        /// Command before authentication.
        NoAuth = "NOAUTH",
        /// User and password do not match.
        WrongPass = "WRONGPASS",
        /// The user may not run this command or touch this key.
        NoPerm = "NOPERM",
        /// `HELLO` asked for a protocol that does not exist.
        NoProto = "NOPROTO",
        /// The transaction was discarded because a queued command was refused.
        ExecAbort = "EXECABORT",
        /// No such script.
        NoScript = "NOSCRIPT",
        /// No such consumer group.
        NoGroup = "NOGROUP",
        /// The consumer group exists already.
        BusyGroup = "BUSYGROUP",
        /// `RESTORE` onto an existing key.
        BusyKey = "BUSYKEY",
        /// A script is running.
        Busy = "BUSY",
        /// No script is running.
        NotBusy = "NOTBUSY",
        /// The running script has written and cannot be killed.
        Unkillable = "UNKILLABLE",
        /// The node is loading its data set.
        Loading = "LOADING",
        /// The replica has lost its primary.
        MasterDown = "MASTERDOWN",
        /// Write to a replica.
        ReadOnly = "READONLY",
        /// The node is at its memory limit.
        Oom = "OOM",
        /// The node cannot persist and refuses writes.
        Misconf = "MISCONF",
        /// Fewer replicas than the node demands for writes.
        NoReplicas = "NOREPLICAS",
        /// A failover is in progress already.
        InProg = "INPROG",
        /// A blocked client was released by `CLIENT UNBLOCK … ERROR` or a change of role.
        Unblocked = "UNBLOCKED",
        /// `MIGRATE` could not talk to its target.
        IoErr = "IOERR",
        /// The slot lives on another node.
        Moved = "MOVED",
        /// The slot is on its way to another node.
        Ask = "ASK",
        /// Some keys of the request have moved already and some have not.
        TryAgain = "TRYAGAIN",
        /// The request's keys are in different slots.
        CrossSlot = "CROSSSLOT",
        /// The cluster does not serve this slot.
        ClusterDown = "CLUSTERDOWN",
        /// The node refuses connections from other hosts (protected mode).
        Denied = "DENIED",
        /// Tenantry cannot reach the upstream.
        Unavailable = "UNAVAILABLE",
        /// Tenantry refused the request because of a limit.
        RateLimited = "RATELIMITED",
        /// Any other first word: scripts and modules may invent their own.
        Other = "other",
    }
}

impl ErrorCode {
    /// The code of an error reply, read from its text: with or without the leading `-`, up to the first
    /// blank or line end. A word that is not in the table is [`ErrorCode::Other`].
    pub fn of_reply(text: &[u8]) -> Self {
        let text = text.strip_prefix(b"-").unwrap_or(text);
        let word = text.split(u8::is_ascii_whitespace).next().unwrap_or(text);
        Self::ALL.iter().copied().find(|code| code.label().as_bytes() == word).unwrap_or(Self::Other)
    }
}

labels! {
    /// Where bytes went (`direction`), seen from the proxy.
    Direction {
        /// Read from clients.
        DownstreamIn = "downstream_in",
        /// Written to clients.
        DownstreamOut = "downstream_out",
        /// Written to Redis: requests after rewriting.
        UpstreamOut = "upstream_out",
        /// Read from Redis: replies before rewriting.
        UpstreamIn = "upstream_in",
    }
}

labels! {
    /// What an upstream connection is doing (`state`).
    UpstreamState {
        /// Connecting or in its handshake.
        Connecting = "connecting",
        /// Carrying requests.
        Ready = "ready",
        /// Waiting before the next attempt.
        Backoff = "backoff",
    }
}

labels! {
    /// In which phase of its life an upstream connection failed (`phase`).
    FailurePhase {
        /// The socket could not be connected in time.
        Connect = "connect",
        /// `HELLO`, `AUTH` or `SELECT` was refused or not answered in time.
        Handshake = "handshake",
        /// A reply did not come in time.
        ReplyTimeout = "reply_timeout",
        /// The node closed or reset the connection.
        Closed = "closed",
        /// The node sent bytes that are not RESP, or a reply nobody had asked for.
        Protocol = "protocol",
    }
}

labels! {
    /// Why a client has an upstream connection of its own (`reason`); of several reasons, the first of these.
    LeaseReason {
        /// It is subscribed to channels.
        Subscribed = "subscribed",
        /// It tracks keys.
        Tracking = "tracking",
        /// A command of it blocks.
        Blocked = "blocked",
        /// It watches keys, or has just ceased to need the connection.
        Watching = "watching",
    }
}

labels! {
    /// What may have become of a request that was lost with its upstream connection (`outcome`).
    LossOutcome {
        /// No byte of it had been handed to the socket: it did not run.
        NotSent = "not_sent",
        /// It was sent and no reply came: it may have run.
        MayHaveRun = "may_have_run",
    }
}

labels! {
    /// Why a request was sent to an upstream again (`cause`).
    ResendCause {
        /// Its slot belongs to another node.
        Moved = "moved",
        /// Its slot is on its way to another node, and its key is there already.
        Ask = "ask",
        /// The node asked for patience (`TRYAGAIN`, `LOADING`).
        Wait = "wait",
        /// The node cannot serve it any more (`CLUSTERDOWN`, `READONLY`, `MASTERDOWN`).
        Refresh = "refresh",
        /// Its connection ended before it could have run.
        Lost = "lost",
    }
}

labels! {
    /// Which kind of limit a request or connection has met (`limit`).
    LimitKind {
        /// Requests per second.
        Requests = "requests",
        /// Bytes of requests per second.
        RequestBytes = "request_bytes",
        /// Bytes of replies per second.
        ReplyBytes = "reply_bytes",
        /// Requests per second of a class of commands.
        ClassRequests = "class_requests",
        /// Bytes of requests per second of a class of commands.
        ClassRequestBytes = "class_request_bytes",
        /// Bytes of replies per second of a class of commands.
        ClassReplyBytes = "class_reply_bytes",
        /// Requests in flight.
        InFlight = "in_flight",
        /// Connections.
        Connections = "connections",
    }
}

labels! {
    /// The limit because of which a client was closed that held too much (`bound`).
    Overrun {
        /// `max_output`.
        Output = "max_output",
        /// `max_output_soft`.
        OutputSoft = "max_output_soft",
        /// `max_subscriber_output`.
        SubscriberOutput = "max_subscriber_output",
        /// `max_subscriber_output_soft`.
        SubscriberOutputSoft = "max_subscriber_output_soft",
        /// `max_client_memory`.
        ClientMemory = "max_client_memory",
        /// `max_memory`.
        Memory = "max_memory",
    }
}

labels! {
    /// What was done about a request or connection beyond a limit (`action`).
    LimitAction {
        /// It was refused.
        Rejected = "rejected",
        /// It had to wait.
        Delayed = "delayed",
        /// It was only counted.
        DryRun = "dry_run",
    }
}

labels! {
    /// What is asked of a node (`breaker`).
    BreakerPhase {
        /// Everything.
        Closed = "closed",
        /// Nothing.
        Open = "open",
        /// One probe at a time.
        HalfOpen = "half_open",
    }
}

labels! {
    /// What was refused because memory was short (`what`).
    Shed {
        /// A new connection.
        Connection = "connection",
        /// A request.
        Request = "request",
    }
}

labels! {
    /// Whether a request could be sent again because its node failed (`verdict`).
    RetryVerdict {
        /// It was.
        Granted = "granted",
        /// The budget of its upstream had none left, and its client got the error.
        Refused = "refused",
    }
}

labels! {
    /// What a node is to its shard (`role`).
    NodeRole {
        /// It takes writes.
        Primary = "primary",
        /// It follows a primary.
        Replica = "replica",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_code_is_the_first_word_of_the_reply() {
        assert_eq!(ErrorCode::of_reply(b"-WRONGTYPE Operation against a key\r\n"), ErrorCode::WrongType);
        assert_eq!(ErrorCode::of_reply(b"ERR unknown command 'foo'"), ErrorCode::Err);
        assert_eq!(ErrorCode::of_reply(b"-EXECABORT\r\n"), ErrorCode::ExecAbort);
    }

    #[test]
    fn error_code_nobody_knows_is_other() {
        assert_eq!(ErrorCode::of_reply(b"-MYSCRIPT failed\r\n"), ErrorCode::Other);
        assert_eq!(ErrorCode::of_reply(b"-ERRATIC\r\n"), ErrorCode::Other);
        assert_eq!(ErrorCode::of_reply(b"-\r\n"), ErrorCode::Other);
        assert_eq!(ErrorCode::of_reply(b""), ErrorCode::Other);
    }

    #[test]
    fn place_of_a_value_in_all_is_its_discriminant() {
        for (place, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(place, *code as usize);
        }
    }
}
