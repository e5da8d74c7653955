//! The table of commands against a running server: what `COMMAND` says about every row, what `COMMAND
//! GETKEYS` finds in generated requests, and how the server words its refusal of malformed ones once their
//! names are rewritten.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;
use tenantry::command::{
    Access, CommandSpec, Connection, Evidence, Flags, Located, NameKind, NameSpec, Operands, Service,
    Subcommands, TABLE, find, identify, locate,
};
use tenantry::resp::OwnedRequest;

use crate::servers::RedisServer;

/// A connection that waits for each reply.
struct Client {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Client {
    fn of(server: &RedisServer) -> Self {
        let stream = UnixStream::connect(server.socket()).expect("the server listens");
        Self { stream, received: Vec::new() }
    }

    fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> OwnedFrame {
        let request = OwnedRequest::from_args(args).expect("a request has words");
        self.stream.write_all(request.as_request().bytes()).expect("the server reads");
        let mut chunk = vec![0; 1 << 16];
        loop {
            if let Some((frame, length)) = decode(&self.received).expect("the server speaks RESP2") {
                self.received.drain(..length);
                return frame;
            }
            let read = self.stream.read(&mut chunk).expect("the server answers");
            assert_ne!(read, 0, "the server closed the connection");
            self.received.extend_from_slice(&chunk[..read]);
        }
    }
}

fn text(frame: &OwnedFrame) -> String {
    match frame {
        OwnedFrame::SimpleString(bytes) | OwnedFrame::BulkString(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        OwnedFrame::Error(text) => text.clone(),
        OwnedFrame::Integer(number) => number.to_string(),
        OwnedFrame::Array(_) | OwnedFrame::Null => panic!("no text: {frame:?}"),
    }
}

fn items(frame: &OwnedFrame) -> &[OwnedFrame] {
    let OwnedFrame::Array(items) = frame else { panic!("no array: {frame:?}") };
    items
}

/// A flat list of names and values.
fn fields(frame: &OwnedFrame) -> BTreeMap<String, &OwnedFrame> {
    items(frame).chunks(2).map(|pair| (text(&pair[0]), &pair[1])).collect()
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

// ---- What COMMAND says ----

/// One entry of the reply to `COMMAND`.
struct Reported {
    name: String,
    arity: i16,
    flags: Vec<String>,
    keys: Vec<String>,
}

/// All commands and subcommands that the server knows.
fn reported(client: &mut Client) -> Vec<Reported> {
    let mut all = Vec::new();
    for command in items(&client.call(&["COMMAND"])) {
        all.push(entry(command));
        all.extend(items(&items(command)[9]).iter().map(entry));
    }
    all
}

fn entry(frame: &OwnedFrame) -> Reported {
    let parts = items(frame);
    Reported {
        name: text(&parts[0]),
        arity: text(&parts[1]).parse().expect("an arity is a number"),
        flags: items(&parts[2]).iter().map(text).collect(),
        keys: items(&parts[8]).iter().filter_map(key_rule).collect(),
    }
}

/// A key specification in the notation of [`our_key_rules`]; `None` if what it finds is no key.
fn key_rule(frame: &OwnedFrame) -> Option<String> {
    let spec = fields(frame);
    let flags: Vec<String> = items(spec["flags"]).iter().map(text).collect();
    let has = |wanted: &str| flags.iter().any(|flag| flag == wanted);
    if has("not_key") {
        return None;
    }
    let access = ["RO", "RW", "OW", "RM"].into_iter().find(|access| has(access)).unwrap_or("-");
    let access = if has("variable_flags") { "varies" } else { access };
    let (begin, find) = (fields(spec["begin_search"]), fields(spec["find_keys"]));
    let (begin_type, find_type) = (text(begin["type"]), text(find["type"]));
    if begin_type != "index" {
        return Some(format!("{begin_type} {find_type}"));
    }
    let first: i32 = text(fields(begin["spec"])["index"]).parse().expect("an index is a number");
    let rule = fields(find["spec"]);
    let number = |name: &str| text(rule[name]).parse::<i32>().expect("a field of a rule is a number");
    Some(match find_type.as_str() {
        "range" => {
            let last = number("lastkey");
            let last = if last < 0 { last } else { first + last };
            format!("{first}:{last}:{} {access}", number("keystep"))
        }
        "keynum" => {
            assert_eq!(number("firstkey"), number("keynumidx") + 1, "keys follow their count");
            format!("numkeys@{} step {} {access}", first + number("keynumidx"), number("keystep"))
        }
        other => format!("index {other}"),
    })
}

/// The rules of a row that find keys, as text; rules that no key specification can express are left out.
fn our_key_rules(spec: &CommandSpec) -> Vec<String> {
    let expressible = |rule: &NameSpec| match *rule {
        NameSpec::Range { kind: NameKind::Key, first, last, step, access } => {
            Some(format!("{first}:{last}:{step} {}", access_name(access)))
        }
        NameSpec::NumKeys { count_at, step, access, .. } => {
            Some(format!("numkeys@{count_at} step {step} {}", access_name(access)))
        }
        NameSpec::Range { .. }
        | NameSpec::Options { .. }
        | NameSpec::Streams { .. }
        | NameSpec::BlockWord { .. }
        | NameSpec::Counted { .. }
        | NameSpec::Terms { .. }
        | NameSpec::Nested { .. }
        | NameSpec::Described { .. }
        | NameSpec::Debug => None,
    };
    spec.names.iter().filter_map(expressible).collect()
}

fn access_name(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "RO",
        Access::ReadWrite => "RW",
        Access::Varies => "varies",
        Access::Overwrite => "OW",
        Access::Remove => "RM",
        Access::None => "-",
    }
}

/// Rows whose key positions a key specification cannot say, or says wrongly, with the reason.
const HAND_WRITTEN: &[(&str, &str)] = &[
    ("CLUSTER KEYSLOT", "the server does not report that its argument is a key"),
    ("GEORADIUS", "reports only the first STORE and STOREDIST; the last one is written"),
    ("GEORADIUSBYMEMBER", "as GEORADIUS"),
    ("MIGRATE", "reports either the one key or the list after KEYS"),
    ("SORT", "reports that it cannot say where STORE is"),
    ("SORT_RO", "reports that it cannot say where the patterns are"),
    ("XREAD", "reports the first STREAMS, which may be an operand"),
    ("XREADGROUP", "as XREAD; a group may be called STREAMS"),
];

/// What Redis 7.0 says and later releases, which the table follows, say otherwise: command, field, its value.
///
/// Where the table is laxer than the server (arity), the server refuses; where it is stricter, 7.0 answers
/// with an error as well. Flags and access tell nothing that isolation rests on.
const OLDER_RELEASES: &[(&str, &str, &str)] = &[
    ("blmove", "flags", "blocking denyoom noscript write"),
    ("blpop", "flags", "blocking noscript write"),
    ("brpop", "flags", "blocking noscript write"),
    ("brpoplpush", "flags", "blocking denyoom noscript write"),
    ("bzpopmax", "flags", "blocking fast noscript write"),
    ("bzpopmin", "flags", "blocking fast noscript write"),
    ("cluster|count-failure-reports", "flags", "admin stale"),
    ("cluster|info", "flags", "stale"),
    ("cluster|keyslot", "flags", "stale"),
    ("cluster|links", "flags", "stale"),
    ("cluster|myid", "flags", "stale"),
    ("cluster|nodes", "flags", "stale"),
    ("cluster|replicas", "flags", "admin stale"),
    ("cluster|shards", "flags", "stale"),
    ("cluster|slaves", "flags", "admin stale"),
    ("cluster|slots", "flags", "stale"),
    ("command|getkeys", "arity", "Some(-4)"),
    ("command|getkeysandflags", "arity", "Some(-4)"),
    ("psubscribe", "flags", "loading noscript pubsub stale"),
    ("sinterstore", "keys", "1:1:1 RW; 2:-1:1 RO"),
    ("ssubscribe", "flags", "loading noscript pubsub stale"),
    ("subscribe", "flags", "loading noscript pubsub stale"),
    ("wait", "flags", "noscript"),
    ("zrank", "arity", "Some(3)"),
    ("zrevrank", "arity", "Some(3)"),
];

/// Flags as `COMMAND` prints them.
fn flag_names(flags: Flags) -> Vec<String> {
    let printed = flags - Flags::SCRIPT_RUNNER - Flags::NO_MULTI_VALKEY;
    printed.iter_names().map(|(name, _)| name.to_ascii_lowercase()).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn every_row_the_server_knows_equals_what_command_says() {
    let server = RedisServer::start();
    let mut differences = Vec::new();
    let reported = reported(&mut Client::of(&server));
    for command in &reported {
        let Some(spec) = find(&command.name) else {
            differences.push(format!("{} is not in the table", command.name));
            continue;
        };
        let mut compare = |what: &str, ours: String, theirs: String| {
            let older = (command.name.as_str(), what, theirs.as_str());
            if ours != theirs && !OLDER_RELEASES.contains(&older) {
                differences.push(format!("{} {what}: table {ours:?}, server {theirs:?}", command.name));
            }
        };
        compare("name", spec.full_name_lower().to_owned(), command.name.clone());
        compare("arity", format!("{:?}", spec.arity), format!("{:?}", Some(command.arity)));
        // `movablekeys` is derived by the server from the key specifications.
        let theirs = command.flags.iter().filter(|flag| *flag != "movablekeys").cloned().collect();
        compare("flags", sorted(flag_names(spec.flags)).join(" "), sorted(theirs).join(" "));
        compare("evidence", format!("{:?}", spec.evidence), format!("{:?}", Evidence::Seen));
        if !HAND_WRITTEN.iter().any(|(name, _)| *name == spec.name) {
            compare("keys", our_key_rules(spec).join("; "), command.keys.join("; "));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert!(reported.len() >= 366, "the server reports {} commands", reported.len());
}

#[test]
fn every_exception_names_a_row() {
    for (name, reason) in HAND_WRITTEN.iter().chain(GETKEYS_BUGS) {
        assert!(TABLE.iter().any(|row| row.name == *name), "{name} ({reason})");
    }
}

// ---- What COMMAND GETKEYS finds ----

/// Argument lists from a seed.
struct Generator {
    random: fastrand::Rng,
    serial: u32,
}

impl Generator {
    /// A fixed seed: a failure is the same for everybody. `TENANTRY_SEED` tries others.
    fn new() -> Self {
        let seed =
            std::env::var("TENANTRY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_260_727);
        println!("TENANTRY_SEED={seed}");
        Self { random: fastrand::Rng::with_seed(seed), serial: 0 }
    }

    fn name(&mut self) -> String {
        self.serial += 1;
        format!("k{}", self.serial)
    }

    fn fill(&mut self, args: &mut Vec<String>, length: usize) {
        while args.len() < length {
            let name = self.name();
            args.push(name);
        }
    }

    /// A request whose names are where the row says, at least as long as the arity demands.
    fn well_formed(&mut self, spec: &CommandSpec) -> Vec<String> {
        let mut args = words(spec.name);
        for rule in spec.names {
            self.apply(rule, &mut args);
        }
        let (least, fixed) = arity(spec);
        let walked = |rule: &NameSpec| matches!(rule, NameSpec::Options { .. } | NameSpec::Streams { .. });
        let more = if fixed || spec.names.iter().any(walked) { 0 } else { self.random.usize(0..4) };
        self.fill(&mut args, least);
        let length = args.len() + more;
        self.fill(&mut args, length);
        args
    }

    fn apply(&mut self, rule: &NameSpec, args: &mut Vec<String>) {
        match *rule {
            NameSpec::Range { first, .. } => self.fill(args, first as usize + 1),
            NameSpec::NumKeys { count_at, step, zero, .. } => {
                self.fill(args, count_at as usize);
                let count = self.random.usize(usize::from(!zero)..5);
                args.push(count.to_string());
                let end = args.len() + count * step as usize;
                self.fill(args, end);
            }
            NameSpec::Options { first, options } | NameSpec::Streams { first, options } => {
                self.fill(args, first as usize);
                // The server looks for STREAMS of XREADGROUP only after a group.
                if args == &["XREADGROUP"] {
                    self.option("GROUP", Operands::Plain(2), args);
                }
                let takes_rest = |operands| matches!(operands, Operands::Rest(..) | Operands::Streams(_));
                for _ in 0..self.random.usize(0..4) {
                    let option = options[self.random.usize(..options.len())];
                    if !takes_rest(option.operands) {
                        self.option(option.word, option.operands, args);
                    }
                }
                if let Some(last) =
                    options.iter().find(|option| matches!(option.operands, Operands::Streams(_)))
                {
                    self.option(last.word, last.operands, args);
                }
            }
            NameSpec::BlockWord { .. }
            | NameSpec::Counted { .. }
            | NameSpec::Terms { .. }
            | NameSpec::Nested { .. }
            | NameSpec::Described { .. }
            | NameSpec::Debug => {}
        }
    }

    fn option(&mut self, word: &str, operands: Operands, args: &mut Vec<String>) {
        args.push(if self.random.bool() { word.to_owned() } else { word.to_ascii_lowercase() });
        let operands = match operands {
            Operands::Plain(count) => count as usize,
            Operands::Block | Operands::Name(..) | Operands::GetPattern => 1,
            Operands::Rest(..) | Operands::Streams(_) => 2 * self.random.usize(1..4),
        };
        let end = args.len() + operands;
        self.fill(args, end);
    }

    /// Any words whatever, among them the options of the row and numbers that may or may not be counts.
    fn arbitrary(&mut self, spec: &CommandSpec) -> Vec<String> {
        let mut pool = words("0 1 2 3 -1 01 +1 # * KEYS");
        for rule in spec.names {
            if let NameSpec::Options { options, .. } | NameSpec::Streams { options, .. } = rule {
                pool.extend(options.iter().map(|option| option.word.to_owned()));
            }
        }
        let mut args = words(spec.name);
        let (least, fixed) = arity(spec);
        let length = if fixed { least } else { least + self.random.usize(0..8) };
        while args.len() < length {
            let word =
                if self.random.bool() { self.name() } else { pool[self.random.usize(..pool.len())].clone() };
            args.push(word);
        }
        for (_, at, word) in PLAUSIBLE.iter().filter(|(name, ..)| *name == spec.name) {
            (*word).clone_into(&mut args[*at]);
        }
        args
    }
}

/// Operands without which the server never looks at the options behind them: command, position, word.
const PLAUSIBLE: &[(&str, usize, &str)] = &[
    ("GEORADIUS", 2, "1"),
    ("GEORADIUS", 3, "2"),
    ("GEORADIUS", 4, "3"),
    ("GEORADIUS", 5, "km"),
    ("GEORADIUSBYMEMBER", 3, "3"),
    ("GEORADIUSBYMEMBER", 4, "km"),
    ("BITOP", 1, "or"),
];

/// The least number of words, and whether it is the only one.
fn arity(spec: &CommandSpec) -> (usize, bool) {
    let arity = spec.arity.expect("the server reports an arity");
    (usize::from(arity.unsigned_abs()), arity > 0)
}

/// The arguments that `locate` marks as keys; `None` where it refuses.
fn located_keys(args: &[String]) -> Option<Vec<String>> {
    let request = OwnedRequest::from_args(args).expect("a request has words");
    let spec = identify(&request.as_request()).unwrap_or_else(|error| panic!("{args:?}: {error}"));
    let mut located = Located::new();
    locate(spec, &request.as_request(), &mut located).ok()?;
    let keys = located.marks.iter().filter(|mark| mark.kind == NameKind::Key);
    Some(keys.map(|mark| args[mark.arg as usize].clone()).collect())
}

/// The keys that the server finds, or its error.
fn server_keys(client: &mut Client, args: &[String]) -> Result<Vec<String>, String> {
    let mut request = words("COMMAND GETKEYS");
    request.extend_from_slice(args);
    let reply = client.call(&request);
    if let OwnedFrame::Error(error) = reply {
        Err(error)
    } else {
        Ok(items(&reply).iter().map(text).collect())
    }
}

/// Commands of the server that have keys, less those of which its `COMMAND GETKEYS` knows nothing.
fn keyed_commands(client: &mut Client) -> Vec<&'static CommandSpec> {
    let finds_keys = |rule: &NameSpec| {
        matches!(
            rule,
            NameSpec::Range { kind: NameKind::Key, .. } | NameSpec::NumKeys { .. } | NameSpec::Streams { .. }
        )
    };
    reported(client)
        .iter()
        .filter_map(|command| find(&command.name))
        .filter(|spec| spec.names.iter().any(finds_keys) && spec.subcommands == Subcommands::None)
        .filter(|spec| spec.name != "CLUSTER KEYSLOT")
        .collect()
}

/// Commands of which the server's own answer is no measure when words occur in unusual places, with the
/// reason.
const GETKEYS_BUGS: &[(&str, &str)] = &[
    ("GEORADIUS", "only the first STORE and the first STOREDIST are found, even where they are operands"),
    ("GEORADIUSBYMEMBER", "as GEORADIUS"),
    ("MIGRATE", "the first word KEYS counts, even as an operand"),
    ("XREAD", "the first word STREAMS counts, even as an operand"),
    ("XREADGROUP", "as XREAD"),
];

#[test]
fn located_keys_of_well_formed_requests_are_those_of_command_getkeys() {
    let server = RedisServer::start();
    let mut client = Client::of(&server);
    let mut generator = Generator::new();
    let mut compared = 0;
    for spec in keyed_commands(&mut client) {
        for _ in 0..40 {
            let args = generator.well_formed(spec);
            let ours = located_keys(&args).unwrap_or_else(|| panic!("{args:?} is refused"));
            match server_keys(&mut client, &args) {
                // An older release allows fewer words.
                Err(error) if error.contains("Invalid number of arguments") => continue,
                Err(error) => assert!(ours.is_empty(), "{args:?}: the server says {error}"),
                // It finds one destination of several.
                Ok(theirs) if repeats_a_store(spec, &args) => {
                    assert!(theirs.iter().all(|key| ours.contains(key)), "{args:?}: {ours:?}, {theirs:?}");
                }
                Ok(theirs) => assert_eq!(sorted(ours), sorted(theirs), "{args:?}"),
            }
            compared += 1;
        }
    }
    assert!(compared > 6000, "{compared} requests compared");
}

fn repeats_a_store(spec: &CommandSpec, args: &[String]) -> bool {
    let stores = args.iter().filter(|arg| arg.to_ascii_uppercase().starts_with("STORE")).count();
    stores > 1 && ["SORT", "GEORADIUS", "GEORADIUSBYMEMBER"].contains(&spec.name)
}

#[test]
fn located_keys_of_arbitrary_requests_include_those_of_command_getkeys() {
    let server = RedisServer::start();
    let mut client = Client::of(&server);
    let mut generator = Generator::new();
    let mut compared = 0;
    for spec in keyed_commands(&mut client) {
        if GETKEYS_BUGS.iter().any(|(name, _)| *name == spec.name) {
            continue;
        }
        for _ in 0..60 {
            let args = generator.arbitrary(spec);
            // `SORT k STORE STORE ASC` stores to `STORE`; GETKEYS takes the operand for the option once more.
            if spec.name == "SORT" && repeats_a_store(spec, &args) {
                continue;
            }
            let Ok(theirs) = server_keys(&mut client, &args) else { continue };
            let mut ours = located_keys(&args).unwrap_or_else(|| panic!("{args:?} is refused"));
            for key in theirs {
                let found = ours.iter().position(|ours| *ours == key);
                ours.swap_remove(found.unwrap_or_else(|| panic!("{args:?}: {key} is not marked")));
            }
            compared += 1;
        }
    }
    assert!(compared > 6000, "{compared} requests compared");
}

// ---- How the server words its refusal ----

/// Requests that a server refuses, each for another reason.
const MALFORMED: &[&str] = &[
    "SORT l FOO",
    "SORT l LIMIT 1",
    "SORT l LIMIT a b",
    "SORT l LIMIT 1 2 3",
    "SORT l STORE",
    "SORT l BY",
    "SORT l GET # GET",
    "SORT l ASC STORE d FOO",
    "SORT_RO l STORE d",
    "SORT_RO l LIMIT x 1 STORE d",
    "GEORADIUS g 1 2 3 parsec STORE d",
    "GEORADIUS g x 2 3 km STORE d",
    "GEORADIUS g 1 2 3 km FOO",
    "GEORADIUS g 1 2 3 km STORE",
    "GEORADIUS g 1 2 3 km COUNT",
    "GEORADIUS g 1 2 3 km COUNT x STORE d",
    "GEORADIUS g 1 2 3 km WITHDIST STORE d",
    "GEORADIUSBYMEMBER g STORE 1 km STORE",
    "GEORADIUS_RO g 1 2 3 km STORE d",
    "XREAD COUNT x STREAMS s 0",
    "XREAD COUNT 1 FOO s 0",
    "XREAD COUNT x FOO s 0",
    "XREAD FOO 1 STREAMS s 0",
    "XREAD STREAMS a b c",
    "XREAD STREAMS a b x y",
    "XREAD COUNT 1 COUNT",
    "XREAD COUNT 1 STREAMS",
    "XREAD NOACK STREAMS s 0",
    "XREAD GROUP g c STREAMS s 0",
    "XREADGROUP GROUP g c STREAMS s 0 t",
    "XREADGROUP GROUP g STREAMS s 0 t",
    "XREADGROUP NOACK NOACK COUNT 5 STREAMS s >",
    "XREAD BLOCK -1 STREAMS s 0",
    "LMPOP 0 l LEFT",
    "LMPOP +1 l LEFT",
    "LMPOP 01 l LEFT",
    "LMPOP 2 l LEFT",
    "LMPOP 3 l LEFT",
    "LMPOP 1 l UP",
    "LMPOP 1 l LEFT COUNT 0",
    "ZMPOP x z MIN",
    "ZMPOP 9223372036854775808 z MIN",
    "SINTERCARD 0 s",
    "SINTERCARD 5 s",
    "SINTERCARD 1 s LIMIT x",
    "ZUNIONSTORE d 0 z",
    "ZUNIONSTORE d -1 z",
    "ZUNIONSTORE d x z",
    "ZUNIONSTORE d 3 z y",
    "ZUNIONSTORE d 1 z WEIGHTS",
    "ZUNIONSTORE d 1 z WEIGHTS x",
    "ZUNIONSTORE d 1 z AGGREGATE MEAN",
    "ZDIFF 2 z",
    "ZINTERCARD 1 z LIMIT -1",
    "EVAL return -1 k",
    "EVAL return 1x k",
    "EVAL return 2 k",
    "EVALSHA abc 2 k",
    "FCALL f 2 k",
    "COPY a b FOO",
    "COPY a b DB",
    "COPY a b DB x",
    "COPY a b DB 99",
    "COPY a a",
    "COPY a b REPLACE DB 1 c",
    "MSET a 1 b",
    "MSETNX a 1 b 2 c",
    "BITOP NOT d a b",
    "BITOP FOO d a",
    "SCAN 0 MATCH",
    "SCAN 0 FOO 1",
    "SCAN 0 COUNT x MATCH a",
];

#[test]
fn a_malformed_request_is_refused_in_the_same_words_with_its_names_rewritten() {
    let server = RedisServer::start();
    let mut client = Client::of(&server);
    for line in MALFORMED {
        let plain = client.call(&words(line));
        assert!(matches!(plain, OwnedFrame::Error(_)), "{line}: {plain:?}");
        let rewritten = rewritten(&words(line));
        assert_eq!(client.call(&rewritten), plain, "{line}: {rewritten:?}");
    }
    assert_eq!(client.call(&["DBSIZE"]), OwnedFrame::Integer(0), "nothing was written");
}

/// The promise of the module, tried on requests of arbitrary words: keys named like any of a request's words
/// are there when the request runs with its names rewritten, and neither does its reply show them nor do they
/// change.
#[test]
fn a_rewritten_request_neither_sees_nor_changes_keys_without_the_prefix() {
    let server = RedisServer::start();
    let mut client = Client::of(&server);
    let mut generator = Generator::new();
    let mut succeeded = 0;
    let is_tried = |spec: &&CommandSpec| {
        matches!(spec.service(), Service::Forward | Service::Guarded)
            && spec.connection != Connection::Blocking
    };
    for spec in keyed_commands(&mut client).into_iter().filter(is_tried) {
        for _ in 0..60 {
            let args = generator.arbitrary(spec);
            if args.iter().any(|arg| arg.eq_ignore_ascii_case("BLOCK")) {
                continue;
            }
            client.call(&["FLUSHALL"]);
            let alone = client.call(&args);
            client.call(&["FLUSHALL"]);
            let Some(rewritten) = try_rewritten(&args) else {
                assert!(
                    matches!(alone, OwnedFrame::Error(_)),
                    "{args:?} is refused; the server says {alone:?}"
                );
                continue;
            };
            let bystanders = bystanders(&mut client, &args);
            let beside = client.call(&rewritten);
            if !tells_its_key_or_the_time(spec, &alone) {
                assert_eq!(beside, alone, "{args:?} became {rewritten:?}");
            }
            assert_unchanged(&mut client, &bystanders);
            succeeded += usize::from(!matches!(alone, OwnedFrame::Error(_)));
        }
    }
    assert!(succeeded > 1000, "{succeeded} requests succeeded");
}

/// Creates a key named like each of `args`, and returns the names.
fn bystanders(client: &mut Client, args: &[String]) -> Vec<String> {
    let mut request = words("MSET");
    request.extend(args.iter().flat_map(|name| [name.clone(), "bystander".to_owned()]));
    assert_eq!(text(&client.call(&request)), "OK");
    args.to_vec()
}

fn assert_unchanged(client: &mut Client, bystanders: &[String]) {
    let mut request = words("MGET");
    request.extend_from_slice(bystanders);
    let values = client.call(&request);
    let unchanged =
        items(&values).iter().all(|value| *value == OwnedFrame::BulkString(b"bystander".to_vec()));
    assert!(unchanged, "{bystanders:?} became {values:?}");
}

/// Whether two runs may be told apart although the request is the same: `-NOGROUP` prints the key, `XADD`
/// makes an id of the time.
fn tells_its_key_or_the_time(spec: &CommandSpec, reply: &OwnedFrame) -> bool {
    spec.name == "XADD" || matches!(reply, OwnedFrame::Error(error) if error.starts_with("NOGROUP"))
}

/// `args` with `acme:` before every name that is a key or a pattern of keys.
fn rewritten(args: &[String]) -> Vec<String> {
    try_rewritten(args).unwrap_or_else(|| panic!("{args:?} is refused"))
}

/// As [`rewritten`]; `None` if the names cannot be located.
fn try_rewritten(args: &[String]) -> Option<Vec<String>> {
    let request = OwnedRequest::from_args(args).expect("a request has words");
    let spec = identify(&request.as_request()).unwrap_or_else(|error| panic!("{args:?}: {error}"));
    let mut located = Located::new();
    locate(spec, &request.as_request(), &mut located).ok()?;
    let mut args = args.to_vec();
    for mark in located.marks {
        if matches!(mark.kind, NameKind::Key | NameKind::SortPattern | NameKind::KeyPattern) {
            args[mark.arg as usize].insert_str(0, "acme:");
        }
    }
    Some(args)
}

/// Requests without a row, or with too few or too many words for it.
const UNIDENTIFIED: &[&str] = &[
    "CONFIG",
    "CONFIG GET",
    "get",
    "GET a b",
    "OBJECT",
    "object encoding",
    "COMMAND GETKEYS",
    "XREAD 1 2",
    "config foo",
    "COMMAND FOO",
    "OBJECT FOO bar",
    "XGROUP a\rb\nc",
    "CLIENT a\0b",
    "foo",
    "FOO a b",
    "FOO a\0b c\r\nd é",
    "CONFIG|GET a",
];

#[test]
fn what_is_not_identified_is_refused_in_the_words_of_the_server() {
    let server = RedisServer::start();
    let mut client = Client::of(&server);
    let mut requests: Vec<Vec<String>> = UNIDENTIFIED.iter().map(|line| words(line)).collect();
    for length in [1, 60, 61, 62, 63, 64, 125, 126, 127, 128, 129, 300] {
        let long = "x".repeat(length);
        requests.push(vec![long.clone()]);
        requests.push(vec!["CONFIG".to_owned(), long.clone()]);
        requests.push(vec!["foo".to_owned(), long.clone(), long.clone(), long]);
    }
    for args in requests {
        let request = OwnedRequest::from_args(&args).expect("a request has words");
        let error = identify(&request.as_request()).expect_err("no row takes these words");
        let refusal = String::from_utf8(error.refusal(&request.as_request())).expect("the words are text");
        assert_eq!(client.call(&args), OwnedFrame::Error(refusal), "{args:?}");
    }
}
