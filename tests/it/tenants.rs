//! Who a connection belongs to, what it keeps for itself, and where its keys are in the upstream.

use crate::servers::{
    Deployment, Kind, Protocol, Proxy, RedisServer, on_every_deployment, on_every_deployment_and_protocol,
};
use crate::wire::{Client, command, show, words};

/// A Redis whose default user may do nothing and which knows the user of the proxy's configuration.
fn redis_with_users() -> RedisServer {
    RedisServer::start_with(&[
        "--user",
        "globex",
        "on",
        ">globex-secret",
        "~*",
        "&*",
        "+@all",
        "--user",
        "default",
        "off",
        "resetpass",
        "~*",
        "&*",
        "+@all",
    ])
}

on_every_deployment_and_protocol! {
    databases_are_namespaces_of_their_own,
    two_tenants_at_work_at_once_read_their_own_data,
}

on_every_deployment! {
    listener_binds_to_its_tenant,
    user_binds_to_his_tenant,
    hello_binds_and_changes_the_protocol_at_once_or_does_neither,
    reset_forgets_user_name_database_and_protocol,
    session_commands_answer_as_in_redis,
    client_reply_holds_replies_back_as_in_redis,
    user_may_have_a_database_of_his_own,
    features_of_a_tenant_do_not_see_each_other,
    messages_reach_the_channel_of_the_tenant_only,
    slow_commands_are_in_the_log_of_the_tenant_that_sent_them_whatever_their_reply,
}

/// All stored names, sorted.
fn keys(deployment: &Deployment) -> String {
    deployment.keys().into_iter().collect::<Vec<_>>().join(" ")
}

fn listener_binds_to_its_tenant(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let (mut acme, mut globex, mut socket) = (proxy.acme(), proxy.globex(), proxy.acme_by_socket());
    assert_eq!("+OK\\r\\n", acme.ask("SET k acme's"));
    assert_eq!("$-1\\r\\n", globex.ask("GET k"));
    assert_eq!("+OK\\r\\n", globex.ask("SET k globex's"));
    assert_eq!("$6\\r\\nacme\\'s\\r\\n", acme.ask("GET k"));
    assert_eq!("$6\\r\\nacme\\'s\\r\\n", socket.ask("GET k"));
    assert_eq!(":1\\r\\n", globex.ask("DEL k acme:k"));
    assert_eq!("acme:k", keys(&deployment));
}

#[test]
fn nothing_but_authentication_is_served_before_it() {
    let (own, shared) = (redis_with_users(), RedisServer::start());
    let proxy = Proxy::before(&shared);
    let lines = [
        "PING",
        "GET k",
        "SET k v",
        "ECHO x",
        "SELECT 1",
        "CLIENT ID",
        "CLIENT SETNAME x",
        "INFO",
        "COMMAND",
        "HELLO 3",
        "HELLO",
        "HELLO 2 SETNAME x",
        "HELLO 9",
        "HELLO x",
        "HELLO 3 AUTH globex",
        "HELLO 3 AUTH globex wrong",
        "HELLO 3 AUTH nobody globex-secret",
        "HELLO 3 SETNAME x AUTH globex wrong",
        "AUTH",
        "AUTH a b c",
        "AUTH wrong",
        "AUTH globex wrong",
        "AUTH nobody globex-secret",
        "AUTH globex GLOBEX-SECRET",
        "RESET",
        "PING",
    ];
    let (mut direct, mut open) = (own.client(), proxy.open());
    for line in lines {
        assert_eq!(direct.ask(line), open.ask(line), "{line}");
    }
    assert_eq!("-NOAUTH Authentication required.\\r\\n", open.ask("PING"));
    assert_eq!(
        "-WRONGPASS invalid username-password pair or user is disabled.\\r\\n",
        open.ask("AUTH globex wrong")
    );
    assert_eq!("+OK\\r\\n", open.ask("QUIT"));
}

#[test]
fn strangers_cannot_send_much() {
    let (own, shared) = (redis_with_users(), RedisServer::start());
    let proxy = Proxy::before(&shared);
    for (sent, expected) in [
        (&b"*11\r\n"[..], "-ERR Protocol error: unauthenticated multibulk length\\r\\n"),
        (b"*2\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length\\r\\n"),
        (b"*10\r\n$x\r\n", "-ERR Protocol error: invalid bulk length\\r\\n"),
    ] {
        for mut stranger in [own.client(), proxy.open()] {
            stranger.send(sent);
            assert_eq!(expected, show(&stranger.until_closed()), "{}", show(sent));
        }
    }
    let mut known = proxy.open();
    assert_eq!("+OK\\r\\n", known.ask("AUTH globex globex-secret"));
    assert_eq!(
        ":20\\r\\n",
        show(&known.call(&[vec!["SADD", "s"], (0..20).map(|n| NUMBERS[n]).collect()].concat()))
    );
    assert_eq!("+OK\\r\\n", show(&known.call(&["SET", "k", &"x".repeat(20_000)])));
}

const NUMBERS: [&str; 20] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18",
    "19",
];

fn user_binds_to_his_tenant(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let mut client = proxy.open();
    assert_eq!("+OK\\r\\n", client.ask("AUTH globex globex-secret"));
    assert_eq!("+OK\\r\\n", client.ask("SET k 1"));
    assert_eq!("globex:k", keys(&deployment));
    assert_eq!("+OK\\r\\n", client.ask("AUTH acme acme-secret"));
    assert_eq!("$-1\\r\\n", client.ask("GET k"));
    assert_eq!("+OK\\r\\n", client.ask("SET k 2"));
    assert_eq!("acme:k globex:k", keys(&deployment));
    assert!(client.ask("AUTH globex wrong").starts_with("-WRONGPASS "));
    assert_eq!("$1\\r\\n2\\r\\n", client.ask("GET k"), "a failed AUTH leaves the binding");
}

#[test]
fn user_may_also_change_the_tenant_of_a_bound_listener() {
    let redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    let mut client = proxy.acme();
    assert_eq!("+OK\\r\\n", client.ask("SET k acme"));
    assert_eq!("+OK\\r\\n", client.ask("AUTH globex globex-secret"));
    assert_eq!("$-1\\r\\n", client.ask("GET k"));
}

fn hello_binds_and_changes_the_protocol_at_once_or_does_neither(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let mut client = proxy.open();
    assert!(client.ask("HELLO 3 AUTH globex wrong").starts_with("-WRONGPASS "));
    assert!(client.ask("GET k").starts_with("-NOAUTH "));
    assert!(
        client
            .ask("HELLO 3 AUTH globex globex-secret SETNAME me")
            .starts_with("%7\\r\\n$6\\r\\nserver\\r\\n")
    );
    assert_eq!("_\\r\\n", client.ask("GET k"));
    assert_eq!("$2\\r\\nme\\r\\n", client.ask("CLIENT GETNAME"));
    assert!(client.ask("HELLO 2 AUTH globex wrong").starts_with("-WRONGPASS "));
    assert_eq!("_\\r\\n", client.ask("GET k"), "a refused HELLO leaves the protocol");
    assert_eq!("+OK\\r\\n", client.ask("SET k v"));
    assert_eq!("globex:k", keys(&deployment));
}

fn reset_forgets_user_name_database_and_protocol(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let mut client = proxy.open();
    assert!(client.ask("HELLO 3 AUTH globex globex-secret SETNAME me").starts_with('%'));
    assert_eq!("+OK\\r\\n", client.ask("SELECT 4"));
    assert_eq!("+RESET\\r\\n", client.ask("RESET"));
    assert_eq!("-NOAUTH Authentication required.\\r\\n", client.ask("GET k"));
    assert_eq!("+OK\\r\\n", client.ask("AUTH globex globex-secret"));
    assert_eq!("$-1\\r\\n", client.ask("GET k"), "RESP2 again");
    assert_eq!("$-1\\r\\n", client.ask("CLIENT GETNAME"));
    assert_eq!("+OK\\r\\n", client.ask("SET k v"));
    assert_eq!("globex:k", keys(&deployment));

    let mut bound = proxy.acme();
    assert_eq!("+OK\\r\\n", bound.ask("SELECT 4"));
    assert_eq!("+RESET\\r\\n", bound.ask("RESET"));
    assert_eq!("+OK\\r\\n", bound.ask("SET k v"));
    assert_eq!("acme:k globex:k", keys(&deployment));
}

/// One session from its first command to its last.
const SESSION: &[&str] = &[
    "PING",
    "PING hello",
    "ping",
    "ECHO hello",
    "CLIENT GETNAME",
    "CLIENT SETNAME me",
    "CLIENT GETNAME",
    "CLIENT SETNAME new\nline",
    "CLIENT GETNAME",
    "CLIENT SETNAME",
    "CLIENT SETNAME ",
    "CLIENT GETNAME",
    "CLIENT SETNAME a b",
    "CLIENT NO-EVICT ON",
    "CLIENT NO-EVICT off",
    "CLIENT NO-EVICT perhaps",
    "CLIENT REPLY",
    "CLIENT REPLY perhaps",
    "CLIENT REPLY ON",
    "CLIENT ID x",
    "SELECT 0",
    "SELECT 15",
    "SELECT 16",
    "SELECT -1",
    "SELECT x",
    "SELECT ",
    "SELECT 01",
    "SELECT 99999999999999999999",
    "SELECT 1 2",
    "GET k",
    "SELECT 1",
    "SET k one",
    "SELECT 0",
    "GET k",
    "SELECT 1",
    "GET k",
    "HELLO x",
    "HELLO 1",
    "HELLO 4",
    "HELLO 3 FOO",
    "HELLO 3 AUTH x",
    "HELLO 3 SETNAME",
    "HELLO 3 SETNAME a\nb",
    "HELLO 3 AUTH nobody nothing",
    "AUTH nothing",
    "AUTH nobody nothing",
    "AUTH",
    "AUTH a b c",
    "GET k",
    "ASKING",
    "READONLY",
    "READWRITE",
    "ACL WHOAMI",
    "ROLE",
    "CLIENT GETREDIR",
    "MODULE LIST",
    "CLUSTER INFO",
    "CLUSTER KEYSLOT k",
    "CLUSTER MYID",
    "CLUSTER NODES",
    "CLUSTER REPLICAS x",
    "CLUSTER SHARDS",
    "CLUSTER SLAVES x",
    "CLUSTER SLOTS",
    "CLUSTER KEYSLOT",
    "RESET",
    "GET k",
    "RESET x",
    "QUIT",
];

fn session_commands_answer_as_in_redis(kind: Kind) {
    let (own, shared) = (RedisServer::start(), Deployment::start(kind));
    let proxy = shared.proxy();
    let (mut direct, mut acme) = (own.client(), proxy.acme());
    for line in SESSION {
        assert_eq!(direct.ask(line), acme.ask(line), "{line:?}");
    }
    assert_eq!("", show(&acme.until_closed()));
}

fn client_reply_holds_replies_back_as_in_redis(kind: Kind) {
    let (own, shared) = (RedisServer::start(), Deployment::start(kind));
    let proxy = shared.proxy();
    let scripts: [&[&str]; 7] = [
        &["CLIENT REPLY OFF", "PING", "SET a 1", "NOSUCH", "GET a", "CLIENT REPLY ON", "GET a"],
        &["CLIENT REPLY SKIP", "PING", "PING second", "GET a"],
        &["CLIENT REPLY SKIP", "SET a 2", "GET a"],
        &["CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "PING one", "PING two", "PING three"],
        &["CLIENT REPLY SKIP", "NOSUCH", "GET a", "CLIENT REPLY SKIP", "GET", "ECHO x"],
        &["CLIENT REPLY OFF", "CLIENT REPLY SKIP", "PING", "CLIENT REPLY ON", "PING x", "PING y"],
        &["SET b 1", "CLIENT REPLY OFF", "INCR b", "RESET", "INCR b"],
    ];
    for script in scripts {
        let bytes: Vec<u8> = script.iter().chain(&["QUIT"]).flat_map(|line| words(line)).collect();
        let answer = |mut client: Client| {
            client.send(&bytes);
            show(&client.until_closed())
        };
        assert_eq!(answer(own.client()), answer(proxy.acme()), "{script:?}");
    }
}

#[test]
fn client_id_is_a_positive_number_that_grows() {
    let redis = RedisServer::start();
    let proxy = Proxy::before(&redis);
    let id = |client: &mut Client| -> u64 {
        let reply = client.ask("CLIENT ID");
        reply.trim_start_matches(':').trim_end_matches("\\r\\n").parse().unwrap_or_else(|_| panic!("{reply}"))
    };
    let (mut first, mut second) = (proxy.acme(), proxy.acme());
    let (one, two) = (id(&mut first), id(&mut second));
    assert!(one > 0 && one != two, "{one} and {two}");
    assert_eq!(one, id(&mut first), "it stays");
}

fn databases_are_namespaces_of_their_own(kind: Kind, protocol: Protocol) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let mut acme = protocol.connect(proxy.acme_port());
    for database in ["0", "1", "15"] {
        assert_eq!("+OK\\r\\n", show(&acme.call(&["SELECT", database])));
        assert_eq!(protocol.null(), acme.ask("GET k"));
        assert_eq!("+OK\\r\\n", show(&acme.call(&["SET", "k", database])));
    }
    assert_eq!("+OK\\r\\n", acme.ask("SELECT 1"));
    assert_eq!("$1\\r\\n1\\r\\n", acme.ask("GET k"));
    assert_eq!("acme:k acme@15:k acme@1:k", keys(&deployment));
}

fn user_may_have_a_database_of_his_own(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let mut archive = proxy.open();
    assert_eq!("+OK\\r\\n", archive.ask("AUTH archive reports-secret"));
    assert_eq!("+OK\\r\\n", archive.ask("SET k v"));
    assert_eq!("acme@3:k", keys(&deployment));
}

fn features_of_a_tenant_do_not_see_each_other(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let (mut reports, mut cache) = (proxy.open(), proxy.open());
    assert_eq!("+OK\\r\\n", reports.ask("AUTH reports reports-secret"));
    assert_eq!("+OK\\r\\n", cache.ask("AUTH cache reports-secret"));
    assert_eq!("+OK\\r\\n", reports.ask("SET k v"));
    assert_eq!("$-1\\r\\n", cache.ask("GET k"));
    assert_eq!("+OK\\r\\n", cache.ask("SET k w"));
    assert_eq!("initech:cache:k initech:reports:k", keys(&deployment));
}

fn two_tenants_at_work_at_once_read_their_own_data(kind: Kind, protocol: Protocol) {
    const ROUNDS: usize = 2_000;
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let work = |mut client: Client, mine: &'static str| {
        std::thread::spawn(move || {
            for round in 0..ROUNDS {
                let value = format!("{mine}{round}");
                let pipeline = [
                    command(&["SET", "k", &value]),
                    command(&["GET", "k"]),
                    command(&["RPUSH", "{l}", &value]),
                    command(&["LMPOP", "2", "empty{l}", "{l}", "LEFT"]),
                ];
                client.send(&pipeline.concat());
                let replies: Vec<String> = client.frames(4).iter().map(|frame| show(frame)).collect();
                let bulk = format!("${}\\r\\n{value}\\r\\n", value.len());
                let popped = format!("*2\\r\\n$3\\r\\n{{l}}\\r\\n*1\\r\\n{bulk}");
                assert_eq!(vec!["+OK\\r\\n".to_owned(), bulk, ":1\\r\\n".to_owned(), popped], replies);
            }
        })
    };
    let workers =
        [work(protocol.connect(proxy.acme_port()), "a"), work(protocol.connect(proxy.globex_port()), "g")];
    for worker in workers {
        worker.join().expect("both tenants read what they wrote");
    }
    assert_eq!("acme:k globex:k", keys(&deployment));
}

fn messages_reach_the_channel_of_the_tenant_only(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    // Where the tenant's channels are.
    let [mut all, mut own] = [(); 2].map(|()| deployment.client_for("acme:"));
    assert_eq!("*3\\r\\n$9\\r\\nsubscribe\\r\\n$4\\r\\nnews\\r\\n:1\\r\\n", all.ask("SUBSCRIBE news"));
    assert_eq!(
        "*3\\r\\n$9\\r\\nsubscribe\\r\\n$9\\r\\nacme:news\\r\\n:1\\r\\n",
        own.ask("SUBSCRIBE acme:news")
    );
    let mut acme = proxy.acme();
    assert_eq!(":1\\r\\n", acme.ask("PUBLISH news hello"));
    assert_eq!("*3\\r\\n$7\\r\\nmessage\\r\\n$9\\r\\nacme:news\\r\\n$5\\r\\nhello\\r\\n", show(&own.frame()));
    assert_eq!("*2\\r\\n$4\\r\\nnews\\r\\n:1\\r\\n", acme.ask("PUBSUB NUMSUB news"));
    assert_eq!(
        "*4\\r\\n$4\\r\\nnews\\r\\n:1\\r\\n$4\\r\\nnews\\r\\n:1\\r\\n",
        acme.ask("PUBSUB NUMSUB news news")
    );
    assert_eq!("*2\\r\\n$4\\r\\nnews\\r\\n:0\\r\\n", proxy.globex().ask("PUBSUB NUMSUB news"));
}

fn slow_commands_are_in_the_log_of_the_tenant_that_sent_them_whatever_their_reply(kind: Kind) {
    let deployment = Deployment::start(kind);
    let proxy = deployment.proxy();
    let (mut acme, mut direct) = (proxy.acme(), deployment.client_for("acme:{k}"));
    direct.ask("CLIENT PAUSE 60 WRITE");
    acme.send(&[words("SET {k} v"), words("AUTH globex globex-secret")].concat());
    assert_eq!("+OK\\r\\n+OK\\r\\n", acme.frames(2).iter().map(|frame| show(frame)).collect::<String>());
    assert_eq!(":0\\r\\n", acme.ask("SLOWLOG LEN"));
    acme.ask("RESET");
    for request in ["SET {k} v", "LMPOP 1 l{k} LEFT", "INCR {k}"] {
        direct.ask("CLIENT PAUSE 60 WRITE");
        acme.ask(request);
    }
    assert_eq!(":3\\r\\n", acme.ask("SLOWLOG LEN"));
    assert_eq!(":0\\r\\n", proxy.globex().ask("SLOWLOG LEN"));
}
