//! A Redis, alone or watched by Sentinels, the proxy before it, and what is stored there when an attempt begins.

use super::bystanders::Bystanders;
use crate::dialogue::{Act, await_text};
use crate::servers::{Deployment, Kind, Proxy, Setup};
use crate::wire::{Client, Tree, show, words};

/// Acme's keys, by their logical names.
const ACME: [&str; 10] = [
    "SET {}k v",
    "SET {}n 1",
    "RPUSH {}l 3 1 2",
    "HSET {}h f 1",
    "SADD {}s a b",
    "ZADD {}z 1 a 2 b",
    "XADD {}st 1-1 f v",
    "XGROUP CREATE {}st g 0",
    "GEOADD {}places 13.361389 38.115556 Palermo",
    "PFADD {}p a",
];

/// Globex' data; what acme cannot know is `{secret}`.
const GLOBEX: [&str; 20] = [
    "SET ledger {secret}",
    "SET k {secret}",
    "SET 1 {secret}",
    "SET 2 {secret}",
    "SET 3 {secret}",
    "SET weight_1 2",
    "SET token {secret} EX 100000",
    "SET pledge {secret}",
    "SET fence {secret}",
    "SET {secret} {secret}",
    "RPUSH orders {secret} {secret}-2",
    "HSET customer name {secret}",
    "SADD members {secret} a",
    "ZADD ranking 1 {secret} 2 a",
    "XADD events 1-1 f {secret}",
    "XGROUP CREATE events workers 0",
    "GEOADD shops 13.361389 38.115556 {secret}",
    "PFADD visitors {secret}",
    "SELECT 3",
    "SET vault {secret}",
];

/// A library that globex is supposed to have loaded.
const LIBRARY: &str = "#!lua name=ledgers\nlocal owner = '{secret}'\n\
                       redis.register_function('ledger_total', function() return owner end)";

/// The server logs every command and every stall of 100 ms, tells of every event, takes no argument above 1
/// MiB, and looks into what `RESTORE` brings, as `docs/operations.md` asks of it.
const OPTIONS: [&str; 10] = [
    "--sanitize-dump-payload",
    "yes",
    "--slowlog-log-slower-than",
    "0",
    "--latency-monitor-threshold",
    "100",
    "--notify-keyspace-events",
    "KEA",
    "--proto-max-bulk-len",
    "1mb",
];

/// What a tenant's databases are.
#[derive(Clone, Copy)]
pub(super) enum Databases {
    /// Prefixes in the first database of the server.
    Virtual,
    /// The server's databases.
    Native,
}

/// Where an attempt is played.
pub(super) struct Stage {
    deployment: Deployment,
    /// None where acme has the Redis to itself.
    proxy: Option<Proxy>,
    store: Client,
    bystanders: Option<Bystanders>,
    /// What acme may know or guess of globex and of the server, by the names of the table.
    known: Vec<(&'static str, String)>,
    /// What it may not.
    marks: Vec<Vec<u8>>,
    /// The server without acme's keys.
    before: Vec<String>,
}

impl Stage {
    /// A proxy and a tenant that has data and clients.
    pub(super) fn with_globex(kind: Kind, databases: Databases) -> Self {
        let mut stage = Self::of(kind, Some(databases));
        // So many digits do not occur by chance.
        let secret = format!("{:016x}", fastrand::u64(u64::MAX / 16..));
        let fill = |text: &str| text.replace("{secret}", &secret);
        stage.store.call(&["FUNCTION", "LOAD", &fill(LIBRARY)]);
        let script = fill("return redis.call('GET','globex:ledger')..'{secret}'");
        let sha = Tree::of(&stage.store.call(&["SCRIPT", "LOAD", &script]));
        stage.store.call(&["DEBUG", "SLEEP", "0.2"]);
        stage.known.push(("{secret}", secret));
        stage.known.push(("{sha}", show(sha.payload())));
        stage.let_globex_in();
        stage.before = stage.state();
        stage
    }

    /// A proxy that only acme uses.
    pub(super) fn without_globex(kind: Kind, databases: Databases) -> Self {
        Self::of(kind, Some(databases))
    }

    /// A Redis that acme has to itself.
    pub(super) fn direct() -> Self {
        Self::of(Kind::Standalone, None)
    }

    fn of(kind: Kind, databases: Option<Databases>) -> Self {
        let deployment = Deployment::start_with(kind, &OPTIONS);
        let proxy = databases.map(|databases| {
            let top_lines = match databases {
                Databases::Virtual => "",
                Databases::Native => "databases = \"native\"",
            };
            Proxy::start(&Setup { max_bulk: "1MiB", top_lines, ..Setup::for_upstream(deployment.url()) })
        });
        let redis = deployment.only();
        let mut store = redis.client();
        let pipeline = "*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\nk\\r\\n".repeat(50_000);
        let big_pipeline = "*2\\r\\n$3\\r\\nGET\\r\\n$3\\r\\nbig\\r\\n".repeat(40);
        // The log of slow commands is full from here on, unless somebody empties it.
        store.send(&words("PING").repeat(200));
        store.frames(200);
        let known = vec![
            ("{huge}", "a".repeat((1 << 20) - 1)),
            ("{pipeline}", pipeline),
            ("{big-pipeline}", big_pipeline),
            ("{redis-port}", redis.port.to_string()),
        ];
        Self { deployment, proxy, store, bystanders: None, known, marks: Vec::new(), before: Vec::new() }
    }

    /// Connects globex' clients, and notes by which numbers and addresses they are known.
    fn let_globex_in(&mut self) {
        self.bystanders = None;
        // Those of before are gone when none of them waits any more.
        await_blocked(&mut self.store, 0).expect("nobody waits");
        self.store_globex_data();
        let proxy = self.proxy.as_ref().expect("there is a proxy");
        let secret = self.fill("{secret}");
        let mut bystanders = Bystanders::at_work(proxy, &mut self.store, &secret);
        let upstream = text(&mut self.store, "CLIENT LIST TYPE normal");
        let own = format!("id={} ", text(&mut self.store, "CLIENT ID"));
        let mut lines = upstream.lines().filter(|line| !line.starts_with(&own));
        let shared = lines.find_map(|line| Some((field(line, "id=")?, field(line, "addr=")?)));
        let (upstream_id, upstream_addr) = shared.expect("the proxy has a connection");
        self.known.retain(|(name, _)| !name.starts_with("{globex-") && !name.starts_with("{upstream-"));
        self.known.extend([
            ("{globex-id}", bystanders.id.clone()),
            ("{globex-addr}", bystanders.addresses[0].clone()),
            ("{cursor}", bystanders.cursor()),
            ("{upstream-id}", upstream_id),
            ("{upstream-addr}", upstream_addr),
        ]);
        self.marks = self.marks_of_the_server();
        self.marks.extend([secret.into_bytes(), b"globex".to_vec()]);
        self.marks.extend(bystanders.addresses.iter().map(|address| address.clone().into_bytes()));
        self.bystanders = Some(bystanders);
    }

    /// Stores what globex has, through the proxy, and nothing else of it.
    fn store_globex_data(&mut self) {
        self.remove(&["globex:*", "globex@*"]);
        let mut globex = self.proxy.as_ref().expect("there is a proxy").globex();
        for line in GLOBEX {
            let reply = globex.call(&self.fill(line).split(' ').collect::<Vec<_>>());
            assert!(!reply.starts_with(b"-"), "{line}: {}", show(&reply));
        }
    }

    fn remove(&mut self, patterns: &[&str]) {
        for database in databases(&mut self.store) {
            ask(&mut self.store, &format!("SELECT {database}"));
            for pattern in patterns {
                let keys = Tree::of(&self.store.call(&["KEYS", pattern]));
                for key in keys.elements() {
                    self.store.call(&[b"DEL", key.payload()]);
                }
            }
        }
        ask(&mut self.store, "SELECT 0");
    }

    /// What tells of the server behind the proxy, and how names are stored there.
    fn marks_of_the_server(&mut self) -> Vec<Vec<u8>> {
        let identity = text(&mut self.store, "INFO server");
        let run = identity.lines().find_map(|line| line.strip_prefix("run_id:")).expect("it has one");
        let redis = self.deployment.only();
        let socket = redis.socket();
        let directory = socket.parent().expect("a socket is in a directory").display().to_string();
        let port = redis.port;
        [run.to_owned(), directory, format!("tcp_port:{port}"), format!("127.0.0.1:{port}")]
            .map(String::into_bytes)
            .into_iter()
            .chain([b"acme:".to_vec(), b"acme@".to_vec()])
            .collect()
    }

    /// What no frame that acme reads may contain.
    pub(super) fn marks(&self) -> Vec<Vec<u8>> {
        self.marks.clone()
    }

    /// A text of the table with values for its names.
    pub(super) fn fill(&self, text: &str) -> String {
        self.known.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// Stores what acme has when an attempt begins, and nothing else of it.
    pub(super) fn set(&mut self) {
        let is_own = self.proxy.is_none();
        self.remove(if is_own { &["*"] } else { &["acme:*", "acme@*"] });
        for line in ACME {
            let reply = self
                .store
                .call(&line.replace("{}", if is_own { "" } else { "acme:" }).split(' ').collect::<Vec<_>>());
            assert!(!reply.starts_with(b"-"), "{line}: {}", show(&reply));
        }
    }

    /// A connection of acme's.
    pub(super) fn acme(&self, is_stranger: bool, is_resp3: bool) -> Client {
        let Some(proxy) = &self.proxy else {
            let port = self.deployment.only().port;
            return if is_resp3 { Client::tcp_resp3(port) } else { Client::tcp(port) };
        };
        match (is_stranger, is_resp3) {
            (true, _) => proxy.open(),
            (false, true) => Client::tcp_resp3(proxy.acme_port()),
            (false, false) => proxy.acme(),
        }
    }

    /// What globex does in the course of an attempt; nothing where it is not.
    pub(super) fn globex(&mut self, act: &Act) -> Result<(), String> {
        self.bystanders.as_mut().map_or(Ok(()), |bystanders| bystanders.act(act))
    }

    /// Lets every client of globex do its next piece of work.
    pub(super) fn globex_works(&mut self) -> Result<(), String> {
        let Some(bystanders) = &mut self.bystanders else { return Ok(()) };
        bystanders.work(&mut self.store).map_err(|failure| format!("globex: {failure}"))
    }

    /// Directions of the table.
    pub(super) fn direct_play(&mut self, direction: &str) -> Result<(), String> {
        let of_globex = u64::from(self.bystanders.is_some());
        match direction {
            "globex works" => self.globex_works(),
            "is blocked" => await_blocked(&mut self.store, of_globex + 1),
            "nobody is blocked" => await_blocked(&mut self.store, of_globex),
            _ => Err("no such direction".to_owned()),
        }
    }

    /// Nothing but acme's keys has changed.
    pub(super) fn is_as_it_was(&mut self) -> Result<(), String> {
        let now = self.state();
        let lost = self.before.iter().filter(|fact| !now.contains(fact)).map(|fact| format!("was {fact}"));
        let new = now.iter().filter(|fact| !self.before.contains(fact)).map(|fact| format!("is {fact}"));
        let changes: Vec<String> = lost.chain(new).collect();
        if changes.is_empty() {
            Ok(())
        } else {
            Err(format!("the server has changed: {}", changes.join("; ")))
        }
    }

    /// Everything but acme's keys: all others with their contents, and what belongs to the server.
    fn state(&mut self) -> Vec<String> {
        let mut facts = self.keys_of_others();
        let questions = ["CONFIG GET *", "ACL LIST", "FUNCTION LIST WITHCODE", "MODULE LIST", "SLOWLOG LEN"];
        for question in questions {
            let answer = ask(&mut self.store, question);
            facts.extend(Tree::of(&answer).elements().iter().map(|part| format!("{question}: {part:?}")));
            facts.push(format!("{question}: {} bytes", answer.len()));
        }
        // How far replicas have come is its own business.
        facts.push(format!("ROLE: {:?}", Tree::of(&ask(&mut self.store, "ROLE")).elements().first()));
        let stalls = Tree::of(&ask(&mut self.store, "LATENCY LATEST")).elements().is_empty();
        let script = self.fill("SCRIPT EXISTS {sha}");
        facts.push(format!("no stalls: {stalls}, scripts: {}", self.store.ask(&script)));
        facts
    }

    fn keys_of_others(&mut self) -> Vec<String> {
        let mut facts = Vec::new();
        for database in databases(&mut self.store) {
            ask(&mut self.store, &format!("SELECT {database}"));
            let keys = Tree::of(&ask(&mut self.store, "KEYS *"));
            for key in keys.elements().iter().map(Tree::payload) {
                let is_acmes = key.starts_with(b"acme:") || key.starts_with(b"acme@");
                // The one key that globex' clients write in the meantime.
                if !is_acmes && key != b"globex:fence" {
                    let facts_of = |command: &[u8], store: &mut Client| show(&store.call(&[command, key]));
                    let (dump, expiry) =
                        (facts_of(b"DUMP", &mut self.store), facts_of(b"PEXPIRETIME", &mut self.store));
                    facts.push(format!("{database} {} {dump} {expiry}", show(key)));
                }
            }
        }
        ask(&mut self.store, "SELECT 0");
        facts
    }

    /// A new beginning after an attempt that has failed and may have left anything behind.
    pub(super) fn recover(&mut self) {
        if let Some(proxy) = &self.proxy {
            proxy.acme().ask("CLIENT UNPAUSE");
            proxy.wait_until_ready();
        }
        if self.bystanders.is_some() {
            self.let_globex_in();
            self.before = self.state();
        }
    }
}

/// Databases of the server that have keys.
fn databases(store: &mut Client) -> Vec<String> {
    let keyspace = text(store, "INFO keyspace");
    let names = keyspace.lines().filter_map(|line| line.strip_prefix("db")?.split(':').next());
    names.map(str::to_owned).collect()
}

/// A reply of the server, however long.
fn ask(store: &mut Client, line: &str) -> Vec<u8> {
    store.call(&line.split(' ').collect::<Vec<_>>())
}

/// A reply without elements, as text.
fn text(store: &mut Client, line: &str) -> String {
    String::from_utf8_lossy(Tree::of(&ask(store, line)).payload()).into_owned()
}

/// The value of a field of a line of `CLIENT LIST`.
pub(super) fn field(line: &str, name: &str) -> Option<String> {
    line.split(' ').find_map(|word| word.strip_prefix(name)).map(str::to_owned)
}

/// How many clients wait inside a command, by what `INFO clients` says.
fn count_of_blocked(clients: &str) -> u64 {
    let count = clients.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
    count.and_then(|count| count.parse().ok()).expect("Redis counts them")
}

/// How many clients of the server wait inside a command.
pub(super) fn blocked(store: &mut Client) -> u64 {
    count_of_blocked(&text(store, "INFO clients"))
}

/// Waits until exactly so many do.
pub(super) fn await_blocked(store: &mut Client, count: u64) -> Result<(), String> {
    let is_so = |clients: &str| count_of_blocked(clients) == count;
    await_text(store, &["INFO", "clients"], is_so)
        .map_err(|clients| format!("{} clients are blocked, and not {count}", count_of_blocked(&clients)))
}
