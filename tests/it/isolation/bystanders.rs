//! Globex' clients: whatever acme does, each of them does its next piece of work and hears nothing else.
//!
//! They work in rounds. What one of them has to hear in a round is sent after everything that could have
//! reached it from an attempt, over the same connections, so that nothing unexpected can come later; no clock
//! is asked.

use super::stage::{await_blocked, blocked, field};
use crate::dialogue::{Act, shown};
use crate::servers::Proxy;
use crate::wire::{Client, Tree, command, show, words};

/// Keys of which globex' clients may hear.
const OWN_KEYS: [&str; 7] = ["fence", "queue", "ledger-2", "orders-2", "vault-2", "ledger", "token"];

/// Clients of tenant globex.
pub(super) struct Bystanders {
    /// Sends what the others hear, and plays globex' part of an attempt.
    normal: Client,
    /// Subscribed to a channel, in RESP2.
    subscriber: Client,
    /// Subscribed to the events of all keys, in RESP3.
    listener: Client,
    /// Has read a key and is to be told when it changes.
    tracker: Client,
    /// Waits for an element of a list.
    blocked: Client,
    /// In a transaction that depends on a key.
    transaction: Client,
    /// Is shown the tenant's commands.
    monitor: Client,
    /// Where they come from, as the proxy sees them; the blocked one's is the first.
    pub(super) addresses: Vec<String>,
    /// The number of the blocked one.
    pub(super) id: String,
    secret: String,
    round: u64,
}

impl Bystanders {
    /// Connects them and brings each into its state.
    pub(super) fn at_work(proxy: &Proxy, store: &mut Client, secret: &str) -> Self {
        let resp3 = || Client::tcp_resp3(proxy.globex_port());
        let mut cast = Self {
            normal: proxy.globex(),
            subscriber: proxy.globex(),
            listener: resp3(),
            tracker: resp3(),
            blocked: proxy.globex(),
            transaction: proxy.globex(),
            monitor: proxy.globex(),
            addresses: Vec::new(),
            id: String::new(),
            secret: secret.to_owned(),
            round: 0,
        };
        cast.introduce();
        cast.begin(store).unwrap_or_else(|failure| panic!("globex cannot begin: {failure}"));
        cast
    }

    /// Every client gets a name that acme cannot know; its address and number are noted.
    fn introduce(&mut self) {
        let name = format!("{}-client", self.secret);
        let clients = [
            &mut self.blocked,
            &mut self.normal,
            &mut self.subscriber,
            &mut self.listener,
            &mut self.tracker,
            &mut self.transaction,
            &mut self.monitor,
        ];
        for client in clients {
            client.call(&["CLIENT", "SETNAME", &name]);
            let line = Tree::of(&client.call(&["CLIENT", "INFO"]));
            let line = String::from_utf8_lossy(line.payload()).into_owned();
            let line = line.trim_start_matches("txt:");
            let told = field(line, "addr=").zip(field(line, "id="));
            let (address, id) = told.unwrap_or_else(|| panic!("CLIENT INFO of globex says `{line}`"));
            if self.id.is_empty() {
                self.id = id;
            }
            self.addresses.push(address);
        }
    }

    fn begin(&mut self, store: &mut Client) -> Result<(), String> {
        let channel = format!("{}-channel", self.secret);
        ask(&mut self.subscriber, "SUBSCRIBE news", r#"["subscribe", "news", :1]"#)?;
        ask(
            &mut self.subscriber,
            &format!("SUBSCRIBE {channel}"),
            &format!(r#"["subscribe", "{channel}", :2]"#),
        )?;
        ask(&mut self.listener, "PSUBSCRIBE __key*__:*", r#">["psubscribe", "__key*__:*", :1]"#)?;
        ask(&mut self.tracker, "CLIENT TRACKING ON", "+OK")?;
        ask(&mut self.normal, &format!("SET fence {}", self.secret), "+OK")?;
        self.hear_events()?;
        ask(&mut self.tracker, "GET fence", &format!("\"{}\"", self.secret))?;
        ask(&mut self.monitor, "MONITOR", "+OK")?;
        self.open_transaction()?;
        self.block(store)
    }

    /// A cursor that globex got.
    pub(super) fn cursor(&mut self) -> String {
        let page = Tree::of(&self.normal.call(&["SCAN", "0", "COUNT", "1"]));
        let cursor = page.elements().first().unwrap_or_else(|| panic!("SCAN of globex says {page:?}"));
        show(cursor.payload())
    }

    /// Plays globex' part of an attempt.
    pub(super) fn act(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Asks(words) => {
                self.normal.try_send(&command(words)).map_err(|error| error.to_string())?;
                // Any database's: the tenant's own trackers are told, and acme's may not be.
                if words[0] == b"FLUSHDB" { self.forget_cached() } else { Ok(()) }
            }
            Act::Reads(expected) if expected == "(any)" => {
                self.normal.try_frame().map(drop).map_err(|none| none.to_string())
            }
            Act::Reads(expected) => read(&mut self.normal, expected),
            Act::Utters(_) | Act::Leaves | Act::Directs(_) => Err("globex does not do that".to_owned()),
        }
    }

    /// The tracker is told that everything is invalid, and reads again what it tracks.
    fn forget_cached(&mut self) -> Result<(), String> {
        read(&mut self.tracker, r#">["invalidate", _]"#)?;
        let fence = Tree::of(&self.tracker.call(&["GET", "fence"]));
        if fence.payload().starts_with(self.secret.as_bytes()) { Ok(()) } else { Err(shown(&fence)) }
    }

    /// One round. Everything that is sent carries the secret: acme may hear none of it.
    pub(super) fn work(&mut self, store: &mut Client) -> Result<(), String> {
        self.round += 1;
        let token = format!("{}.{}", self.secret, self.round);
        ask(&mut self.normal, &format!("SET fence {token}"), "+OK")?;
        read(&mut self.tracker, r#">["invalidate", ["fence"]]"#)
            .map_err(|what| format!("the tracker {what}"))?;
        ask(&mut self.tracker, "GET fence", &format!("\"{token}\""))
            .map_err(|what| format!("the tracker {what}"))?;
        self.hear_events()?;
        ask(&mut self.normal, &format!("PUBLISH news {token}"), ":1")?;
        self.hear_news(&token)?;
        ask(&mut self.transaction, "EXEC", &format!("[\"{}\"]", self.secret))
            .map_err(|what| format!("the transaction {what}"))?;
        self.open_transaction()?;
        ask(&mut self.normal, &format!("RPUSH queue {token}"), ":1")?;
        read(&mut self.blocked, &format!(r#"["queue", "{token}"]"#))
            .map_err(|what| format!("the blocked one {what}"))?;
        self.block(store)?;
        self.watch_commands(&token)
    }

    fn open_transaction(&mut self) -> Result<(), String> {
        for (line, reply) in [("WATCH pledge", "+OK"), ("MULTI", "+OK"), ("GET pledge", "+QUEUED")] {
            ask(&mut self.transaction, line, reply).map_err(|what| format!("the transaction {what}"))?;
        }
        Ok(())
    }

    fn block(&mut self, store: &mut Client) -> Result<(), String> {
        let others = blocked(store);
        self.blocked.try_send(&words("BLPOP queue 0")).map_err(|error| error.to_string())?;
        await_blocked(store, others + 1)
    }

    /// Events up to the one of this round are of globex' own keys.
    fn hear_events(&mut self) -> Result<(), String> {
        loop {
            let frame = self.listener.try_frame().map_err(|none| format!("the listener: {none}"))?;
            let event = Tree::of(&frame);
            let [_, _, channel, payload] = event.elements() else {
                return Err(format!("the listener heard {}", shown(&event)));
            };
            let (channel, payload) = (show(channel.payload()), show(payload.payload()));
            let key = channel
                .strip_prefix("__keyspace@")
                .and_then(|rest| rest.split_once("__:"))
                .map(|(_, key)| key);
            if !OWN_KEYS.contains(&key.unwrap_or(&payload)) {
                return Err(format!("the listener heard {}", shown(&event)));
            }
            if channel == "__keyevent@0__:set" && payload == "fence" {
                return Ok(());
            }
        }
    }

    /// Messages up to this round's are those that globex published in the course of an attempt.
    fn hear_news(&mut self, token: &str) -> Result<(), String> {
        loop {
            let frame = self.subscriber.try_frame().map_err(|none| format!("the subscriber: {none}"))?;
            let heard = shown(&Tree::of(&frame));
            if heard == format!(r#"["message", "news", "{token}"]"#) {
                return Ok(());
            }
            if heard != format!(r#"["message", "news", "{}"]"#, self.secret) {
                return Err(format!("the subscriber heard {heard}"));
            }
        }
    }

    /// Commands up to this round's are of globex' own clients.
    fn watch_commands(&mut self, token: &str) -> Result<(), String> {
        loop {
            let frame = self.monitor.try_frame().map_err(|none| format!("the monitor: {none}"))?;
            let line = String::from_utf8_lossy(&frame);
            if !self.addresses.iter().any(|address| line.contains(&format!("{address}]"))) {
                return Err(format!("the monitor was shown {}", show(&frame)));
            }
            if line.contains("\"RPUSH\"") && line.contains(token) {
                return Ok(());
            }
        }
    }
}

fn ask(client: &mut Client, line: &str, expected: &str) -> Result<(), String> {
    client.try_send(&words(line)).map_err(|error| format!("cannot send: {error}"))?;
    read(client, expected).map_err(|what| format!("`{line}` {what}"))
}

fn read(client: &mut Client, expected: &str) -> Result<(), String> {
    let frame = client.try_frame().map_err(|none| format!("reads nothing: {none}"))?;
    let heard = shown(&Tree::of(&frame));
    if heard == expected { Ok(()) } else { Err(format!("reads {heard} and not {expected}")) }
}
