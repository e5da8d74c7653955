//! One client's requests for several nodes.

use super::{setup_for, tag_of};
use crate::servers::{Proxy, RedisCluster};
use crate::wire::{show, words};

/// A tenant that does not wait; who authenticates as `hasty` is one of it.
const HASTY: &str = r#"
[tenant.hasty]
order = "relaxed"
[[tenant.hasty.user]]
name = "hasty"
secrets = ["sha256:307c609f87da43c3d563428a4f7efdf9857f4871fd10465732c4ab11a985a08c"]
"#;

#[test]
fn what_a_client_writes_to_two_nodes_is_seen_in_its_order_unless_its_tenant_is_relaxed() {
    let mut cluster = RedisCluster::start_without_replicas();
    let [frozen, living, _] = cluster.primaries()[..] else { panic!("three primaries") };
    let (a, b) = (tag_of(&cluster, frozen), tag_of(&cluster, living));
    let mut setup = setup_for(&cluster, "");
    setup.sections = HASTY;
    let proxy = Proxy::start(&setup);
    let (mut strict, mut relaxed) = (proxy.acme(), proxy.open());
    assert_eq!("+OK\\r\\n", relaxed.ask("AUTH hasty acme-secret"));
    // Both have used the nodes before.
    for client in [&mut strict, &mut relaxed] {
        for tag in [&a, &b] {
            assert_eq!("+OK\\r\\n", client.ask(&format!("SET {{{tag}}} old")));
        }
    }
    cluster.freeze(frozen);
    let pipeline = [words(&format!("SET {{{a}}} new")), words(&format!("SET {{{b}}} new"))].concat();
    strict.send(&pipeline);
    relaxed.send(&pipeline);
    let first = |tenant: &str| words(&format!("SET {tenant}:{{{a}}} new")).len();
    cluster.server(frozen).wait_for_unread(first("acme") + first("hasty"));
    let mut direct = cluster.client(living);
    proxy.wait_for("the second of the relaxed", || {
        direct.ask(&format!("GET hasty:{{{b}}}")) == "$3\\r\\nnew\\r\\n"
    });
    assert_eq!("$3\\r\\nold\\r\\n", direct.ask(&format!("GET acme:{{{b}}}")));
    cluster.thaw(frozen);
    for client in [&mut strict, &mut relaxed] {
        assert_eq!("+OK\\r\\n+OK\\r\\n", show(&client.frames(2).concat()));
    }
    assert_eq!("$3\\r\\nnew\\r\\n", direct.ask(&format!("GET acme:{{{b}}}")));
}
