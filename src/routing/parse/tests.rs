//! Replies are those of Redis 7.0.15: captured, some cut to one shard, and written without line ends.

use super::*;

/// A captured reply: a line for each word, an empty one for `""`.
fn wire(words: &str) -> Vec<u8> {
    let line = |word: &str| format!("{}\r\n", if word == "\"\"" { "" } else { word });
    words.split_whitespace().map(line).collect::<String>().into_bytes()
}

/// `id-start@host:port` of a node.
fn name(node: &Announced) -> String {
    format!("{}@{}:{}", &node.id[..node.id.len().min(4)], node.host, node.port)
}

/// One line for each shard: its slots, its primary, its replicas.
fn shown(layout: Result<Layout, Unreadable>) -> Vec<String> {
    let shard = |shard: &ShardLayout| {
        let slots: Vec<String> = shard.slots.iter().map(|range| format!("{range:?}")).collect();
        let nodes = std::iter::once(&shard.primary).chain(&shard.replicas).map(name);
        format!("{}: {}", slots.join(","), nodes.collect::<Vec<_>>().join(" "))
    };
    layout.map_or_else(|_| vec!["unreadable".to_owned()], |layout| layout.shards.iter().map(shard).collect())
}

fn shards(words: &str) -> Vec<String> {
    shown(cluster_shards(&wire(words), "asked"))
}

fn slots(words: &str) -> Vec<String> {
    shown(cluster_slots(&wire(words), "asked"))
}

/// Three primaries, after 17303 was lost and its replica 17304 has taken over.
const AFTER_FAILOVER: &str = "*4
    *4 $5 slots *2 :10923 :16383 $5 nodes *1
        *14 $2 id $40 7ce0fb9af4bd27a619d9f225f14711e632c401cc $4 port :17304 $2 ip $9 127.0.0.1
            $8 endpoint $9 127.0.0.1 $4 role $6 master $18 replication-offset :182 $6 health $6 online
    *4 $5 slots *0 $5 nodes *1
        *14 $2 id $40 dea3f58a44a2fa118c5a104c18a55dbd73428e6d $4 port :17303 $2 ip $9 127.0.0.1
            $8 endpoint $9 127.0.0.1 $4 role $6 master $18 replication-offset :182 $6 health $4 fail
    *4 $5 slots *2 :5461 :10922 $5 nodes *2
        *16 $2 id $40 8ea9b07dc34f8767855cb3bc449f71039df3aad6 $4 port :17302 $2 ip $9 127.0.0.1
            $8 endpoint $9 127.0.0.1 $8 hostname $11 two.example
            $4 role $6 master $18 replication-offset :196 $6 health $6 online
        *14 $2 id $40 b47c143de0283c2dc3e00ec09b7b90fdba038651 $4 port :17306 $2 ip $9 127.0.0.1
            $8 endpoint $9 127.0.0.1 $4 role $7 replica $18 replication-offset :196 $6 health $6 online
    *4 $5 slots *2 :0 :5460 $5 nodes *2
        *16 $2 id $40 4f864e95e01887cf793ee30817d37eb986c5d79a $4 port :17301 $2 ip $9 127.0.0.1
            $8 endpoint $9 127.0.0.1 $8 hostname $11 one.example
            $4 role $6 master $18 replication-offset :196 $6 health $6 online
        *14 $2 id $40 496168d5c98364e2612ca3102360694e684927f6 $4 port :17305 $2 ip $9 127.0.0.1
            $8 endpoint $9 127.0.0.1 $4 role $7 replica $18 replication-offset :196 $6 health $6 online";

/// The same cluster's `CLUSTER SLOTS`.
const SLOTS_AFTER_FAILOVER: &str = "*3
    *4 :0 :5460 *4 $9 127.0.0.1 :17301 $40 4f864e95e01887cf793ee30817d37eb986c5d79a
            *2 $8 hostname $11 one.example
        *4 $9 127.0.0.1 :17305 $40 496168d5c98364e2612ca3102360694e684927f6 *0
    *4 :5461 :10922 *4 $9 127.0.0.1 :17302 $40 8ea9b07dc34f8767855cb3bc449f71039df3aad6
            *2 $8 hostname $11 two.example
        *4 $9 127.0.0.1 :17306 $40 b47c143de0283c2dc3e00ec09b7b90fdba038651 *0
    *3 :10923 :16383 *4 $9 127.0.0.1 :17304 $40 7ce0fb9af4bd27a619d9f225f14711e632c401cc *0";

const LAYOUT_AFTER_FAILOVER: [&str; 3] = [
    "0..=5460: 4f86@127.0.0.1:17301 4961@127.0.0.1:17305",
    "5461..=10922: 8ea9@127.0.0.1:17302 b47c@127.0.0.1:17306",
    "10923..=16383: 7ce0@127.0.0.1:17304",
];

#[test]
fn both_commands_of_a_cluster_say_the_same() {
    assert_eq!(LAYOUT_AFTER_FAILOVER.to_vec(), shards(AFTER_FAILOVER));
    assert_eq!(LAYOUT_AFTER_FAILOVER.to_vec(), slots(SLOTS_AFTER_FAILOVER));
    let layout = cluster_shards(&wire(AFTER_FAILOVER), "asked").expect("a layout");
    assert_eq!(16384, layout.owned());
}

#[test]
fn every_cut_of_a_reply_is_unreadable() {
    for reply in [AFTER_FAILOVER, SLOTS_AFTER_FAILOVER].map(wire) {
        for len in 0..reply.len() - 2 {
            assert_eq!(Err(Unreadable), cluster_shards(&reply[..len], "asked"), "{len}");
            assert_eq!(Err(Unreadable), cluster_slots(&reply[..len], "asked"), "{len}");
        }
    }
}

/// One shard with these endpoints, as `CLUSTER SHARDS` shows it.
fn shard_at(primary: &str, replica: &str) -> String {
    format!(
        "*1 *4 $5 slots *2 :0 :16383 $5 nodes *2
        *14 $2 id $40 4f864e95e01887cf793ee30817d37eb986c5d79a $4 port :17301 $2 ip $9 127.0.0.1
            $8 endpoint {primary} $4 role $6 master $18 replication-offset :70 $6 health $6 online
        *14 $2 id $40 496168d5c98364e2612ca3102360694e684927f6 $4 port :17305 $2 ip $9 127.0.0.1
            $8 endpoint {replica} $4 role $7 replica $18 replication-offset :70 $6 health $6 online"
    )
}

#[test]
fn a_node_is_where_the_cluster_prefers_it_to_be_found() {
    // cluster-preferred-endpoint-type hostname: the replica has none
    let expected = vec!["0..=16383: 4f86@one.example:17301 4961@127.0.0.1:17305"];
    assert_eq!(expected, shards(&shard_at("$11 one.example", "$1 ?")));
    let of_slots = "*1 *4 :0 :16383 *4 $11 one.example :17301 $40 4f864e95e01887cf793ee30817d37eb986c5d79a
            *2 $2 ip $9 127.0.0.1
        *4 $1 ? :17305 $40 496168d5c98364e2612ca3102360694e684927f6 *2 $2 ip $9 127.0.0.1";
    assert_eq!(expected, slots(of_slots));
}

#[test]
fn a_node_without_endpoint_is_at_the_host_that_was_asked() {
    // cluster-preferred-endpoint-type unknown-endpoint
    let expected = vec!["0..=16383: 4f86@asked:17301 4961@asked:17305"];
    assert_eq!(expected, shards(&shard_at("$0 \"\"", "$-1")));
    let of_slots = "*1 *4 :0 :16383 *4 $-1 :17301 $40 4f864e95e01887cf793ee30817d37eb986c5d79a
            *4 $2 ip $9 127.0.0.1 $8 hostname $11 one.example
        *4 $-1 :17305 $40 496168d5c98364e2612ca3102360694e684927f6 *2 $2 ip $9 127.0.0.1";
    assert_eq!(expected, slots(of_slots));
}

#[test]
fn a_replica_without_data_is_left_out() {
    let loading = shard_at("$9 127.0.0.1", "$9 127.0.0.1").replacen("$6 online", "$7 loading", 2);
    let loading = loading.replacen("$7 loading", "$6 online", 1);
    assert_eq!(vec!["0..=16383: 4f86@127.0.0.1:17301"], shards(&loading));
}

#[test]
fn a_primary_that_has_failed_owns_its_slots_until_it_is_replaced() {
    let failed = shard_at("$9 127.0.0.1", "$9 127.0.0.1").replacen("$6 online", "$4 fail", 1);
    assert_eq!(vec!["0..=16383: 4f86@127.0.0.1:17301 4961@127.0.0.1:17305"], shards(&failed));
    // Redis 7.2 names the node that was replaced in the shard of the one that has replaced it.
    let replaced = failed.replacen("$7 replica", "$6 master", 1);
    assert_eq!(vec!["0..=16383: 4961@127.0.0.1:17305"], shards(&replaced));
}

#[test]
fn slots_without_a_primary_are_nobodys() {
    let headless = shard_at("$9 127.0.0.1", "$9 127.0.0.1").replacen("$6 master", "$7 replica", 1);
    assert_eq!(Vec::<String>::new(), shards(&headless));
}

/// A node that belongs to no cluster yet.
const FRESH: &str = "*1 *4 $5 slots *0 $5 nodes *1
    *14 $2 id $40 f010bde1b43744c056b450b3efe7dd3389577976 $4 port :17307 $2 ip $0 \"\" $8 endpoint $0 \"\"
        $4 role $6 master $18 replication-offset :0 $6 health $6 online";

#[test]
fn a_primary_without_slots_is_a_shard_all_the_same() {
    assert_eq!(vec![": f010@asked:17307"], shards(FRESH));
    assert_eq!(Vec::<String>::new(), slots("*0"));
    assert_eq!(Ok(0), cluster_shards(&wire(FRESH), "asked").map(|layout| layout.owned()));
}

#[test]
fn a_primary_with_several_ranges_is_one_shard() {
    let reply = "*3 *3 :10 :20 *3 $1 a :1 $2 id *3 :5 :6 *3 $1 b :1 $2 ie *3 :0 :4 *3 $1 a :1 $2 id";
    assert_eq!(vec!["0..=4,10..=20: id@a:1", "5..=6: ie@b:1"], slots(reply));
}

#[test]
fn servers_that_know_no_ids_are_told_apart_by_their_addresses() {
    let reply = "*2 *3 :0 :4 *2 $1 a :1 *3 :5 :6 *2 $1 a :2";
    assert_eq!(vec!["0..=4: @a:1", "5..=6: @a:2"], slots(reply));
    let nodes = [1, 2].map(|port| Announced { host: "a".into(), port, id: String::new() }.identity());
    assert_eq!([0x2b, 0xd8], nodes);
}

#[test]
fn a_layout_that_gives_a_slot_to_two_is_not_believed() {
    let twice = "*2 *3 :0 :10 *3 $1 a :1 $2 id *3 :10 :20 *3 $1 b :1 $2 ie";
    assert_eq!(vec!["unreadable"], slots(twice));
    let overlapping = AFTER_FAILOVER.replacen(":0 :5460", ":0 :5461", 1);
    assert_eq!(vec!["unreadable"], shards(&overlapping));
}

#[test]
fn what_is_beyond_the_bounds_is_unreadable() {
    for reply in [
        "*1 *3 :0 :16384 *3 $1 a :1 $2 id",
        "*1 *3 :5 :4 *3 $1 a :1 $2 id",
        "*1 *3 :-1 :4 *3 $1 a :1 $2 id",
        "*1 *3 :0 :1 *3 $1 a :0 $2 id",
        "*1 *3 :0 :1 *3 $1 a :65536 $2 id",
        "*1 *2 :0 :1",
        "*1 *1 :0",
        "*9223372036854775807 *3 :0 :1 *3 $1 a :1 $2 id",
        "*1 *9223372036854775807 :0 :1 *3 $1 a :1 $2 id",
        "$-1",
        "-ERR unknown subcommand",
        "-ERR This instance has cluster support disabled",
    ] {
        assert_eq!(vec!["unreadable"], slots(reply), "{reply}");
        assert_eq!(vec!["unreadable"], shards(reply), "{reply}");
    }
    let long = "h".repeat(256);
    assert_eq!(vec!["unreadable"], slots(&format!("*1 *3 :0 :1 *3 $256 {long} :1 $2 id")));
}

#[test]
fn there_are_bounds_for_shards_and_replicas() {
    let of_shards = |count: u16| {
        let entry = |slot| format!("*3 :{slot} :{slot} *3 $1 a :{} $1 i ", slot + 1);
        let entries: String = (0..count).map(entry).collect();
        cluster_slots(&wire(&format!("*{count} {entries}")), "asked").map(|layout| layout.shards.len())
    };
    assert_eq!(Ok(1000), of_shards(1000));
    assert_eq!(Err(Unreadable), of_shards(1001));
    let of_replicas = |count: usize| {
        let reply = format!("*1 *{} :0 :1 {}", count + 3, "*3 $1 a :1 $1 i ".repeat(count + 1));
        cluster_slots(&wire(&reply), "asked").map(|layout| layout.shards[0].replicas.len())
    };
    assert_eq!(Ok(100), of_replicas(100));
    assert_eq!(Err(Unreadable), of_replicas(101));
}

#[test]
fn a_cluster_says_whether_it_serves() {
    let info = |text: &str| cluster_info(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
    let ok = "cluster_state:ok\r\ncluster_known_nodes:6\r\ncluster_current_epoch:7\r\ncluster_my_epoch:1\r\n";
    assert_eq!(Ok(ClusterState { is_ok: true, epoch: 7 }), info(ok));
    let down = "cluster_state:fail\r\ncluster_known_nodes:1\r\ncluster_current_epoch:0\r\n";
    assert_eq!(Ok(ClusterState { is_ok: false, epoch: 0 }), info(down));
    for reply in ["$16 cluster_state:ok", "-ERR This instance has cluster support disabled", ""] {
        assert_eq!(Err(Unreadable), cluster_info(&wire(reply)), "{reply}");
    }
}

/// `SENTINEL REPLICAS`: the first one follows, the second was the primary and has not come back.
const REPLICAS: &str = "*2
    *42 $4 name $15 127.0.0.1:17402 $2 ip $9 127.0.0.1 $4 port $5 17402
        $5 runid $40 2d27918dbf81a696c0697b2092494be5c40bc0b5 $5 flags $5 slave
        $21 link-pending-commands $1 0 $13 link-refcount $1 1 $14 last-ping-sent $1 0
        $18 last-ok-ping-reply $3 145 $15 last-ping-reply $3 145 $23 down-after-milliseconds $4 1000
        $12 info-refresh $4 3588 $13 role-reported $5 slave $18 role-reported-time $5 13713
        $21 master-link-down-time $1 0 $18 master-link-status $2 ok $11 master-host $9 127.0.0.1
        $11 master-port $5 17401 $14 slave-priority $3 100 $17 slave-repl-offset $3 627
        $17 replica-announced $1 1
    *44 $4 name $15 127.0.0.1:17401 $2 ip $9 127.0.0.1 $4 port $5 17401
        $5 runid $40 4774a51ba48cacb562d1a38a6007e8eb07e8c7aa $5 flags $12 s_down,slave
        $21 link-pending-commands $1 4 $13 link-refcount $1 1 $14 last-ping-sent $4 3074
        $18 last-ok-ping-reply $4 3489 $15 last-ping-reply $4 3489 $11 s-down-time $4 2029
        $23 down-after-milliseconds $4 1000 $12 info-refresh $4 8669 $13 role-reported $6 master
        $18 role-reported-time $4 8669 $21 master-link-down-time $1 0 $18 master-link-status $3 err
        $11 master-host $1 ? $11 master-port $1 0 $14 slave-priority $3 100 $17 slave-repl-offset $1 0
        $17 replica-announced $1 1";

#[test]
fn replicas_that_a_sentinel_cannot_reach_are_left_out() {
    let replicas = |words: &str| {
        let names = |replicas: Vec<Announced>| replicas.iter().map(name).collect::<Vec<_>>().join(" ");
        sentinel_replicas(&wire(words)).map(names)
    };
    assert_eq!(Ok("2d27@127.0.0.1:17402".to_owned()), replicas(REPLICAS));
    // Reachable again, but it does not follow yet.
    let unlinked = REPLICAS.replace("$12 s_down,slave", "$5 slave");
    assert_eq!(Ok("2d27@127.0.0.1:17402".to_owned()), replicas(&unlinked));
    let linked = unlinked.replace("$3 err", "$2 ok");
    assert_eq!(Ok("2d27@127.0.0.1:17402 4774@127.0.0.1:17401".to_owned()), replicas(&linked));
    for flag in ["o_down,slave", "slave,disconnected"] {
        let down = linked.replacen("$5 slave", &format!("${} {flag}", flag.len()), 1);
        assert_eq!(Ok("4774@127.0.0.1:17401".to_owned()), replicas(&down), "{flag}");
    }
    assert_eq!(Ok(String::new()), replicas("*0"));
    assert_eq!(Err(Unreadable), replicas("-ERR No such master with that name"));
    assert_eq!(Err(Unreadable), replicas(&REPLICAS.replacen("*2", "*101", 1)));
}

#[test]
fn a_sentinel_says_who_the_primary_is() {
    let address = |words: &str| sentinel_address(&wire(words)).map(|node| node.as_ref().map(name));
    assert_eq!(Ok(Some("@127.0.0.1:17401".to_owned())), address("*2 $9 127.0.0.1 $5 17401"));
    assert_eq!(Ok(None), address("*-1"));
    for reply in ["*2 $0 \"\" $5 17401", "*2 $9 127.0.0.1 $1 0", "*1 $9 127.0.0.1", "-ERR no", ""] {
        assert_eq!(Err(Unreadable), address(reply), "{reply}");
    }
}

#[test]
fn a_sentinel_says_how_the_primary_is() {
    let reply = "*14 $4 name $4 main $2 ip $9 127.0.0.1 $4 port $5 17401
        $5 runid $40 4774a51ba48cacb562d1a38a6007e8eb07e8c7aa $5 flags $6 master $13 link-refcount $1 1
        $12 config-epoch $1 3";
    let expected = Announced {
        host: "127.0.0.1".into(),
        port: 17401,
        id: "4774a51ba48cacb562d1a38a6007e8eb07e8c7aa".into(),
    };
    let up = Watched { node: expected, is_down: false, epoch: 3 };
    assert_eq!(Ok(up.clone()), sentinel_primary(&wire(reply)));
    let down = reply.replace("$6 master", "$20 s_down,o_down,master");
    assert_eq!(Ok(Watched { is_down: true, ..up }), sentinel_primary(&wire(&down)));
    assert_eq!(Err(Unreadable), sentinel_primary(&wire("-ERR No such master with that name")));
}

#[test]
fn a_server_says_what_it_is() {
    let primary = "*3 $6 master :0 *1 *3 $9 127.0.0.1 $5 17305 $1 0";
    assert_eq!(Ok(Role::Primary), role(&wire(primary)));
    let replica = "*5 $5 slave $9 127.0.0.1 :17303 $9 connected :0";
    assert_eq!(Ok(Role::Replica { is_linked: true }), role(&wire(replica)));
    let unlinked = replica.replace("$9 connected", "$7 connect");
    assert_eq!(Ok(Role::Replica { is_linked: false }), role(&wire(&unlinked)));
    assert_eq!(Ok(Role::Sentinel), role(&wire("*2 $8 sentinel *1 $4 main")));
    for reply in ["*1 $5 slave", "*1 $4 none", "*0", "-NOAUTH Authentication required."] {
        assert_eq!(Err(Unreadable), role(&wire(reply)), "{reply}");
    }
}

#[test]
fn a_sentinel_tells_when_another_node_becomes_the_primary() {
    let primary = Announced { host: "127.0.0.1".into(), port: 17402, id: String::new() };
    let expected = Switched { group: "main".into(), primary };
    assert_eq!(Ok(expected), switched(b"main 127.0.0.1 17401 127.0.0.1 17402"));
    for message in ["main 127.0.0.1 17401 127.0.0.1", "main a 1 b 2 c", "main a 1 b x", "main a 1 b 0", ""] {
        assert_eq!(Err(Unreadable), switched(message.as_bytes()), "{message}");
    }
}
