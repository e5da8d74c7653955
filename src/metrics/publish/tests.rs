use super::*;
use std::collections::HashSet;

fn registry() -> Registry {
    Registry::new(Names {
        tenants: vec!["acme".to_owned(), "globex".to_owned()],
        commands: vec!["get".to_owned(), "config|get".to_owned()],
        upstreams: vec!["main".to_owned()],
    })
}

/// The value of a series, as it is spelled in the exposition.
fn value(text: &str, series: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).map(ToOwned::to_owned)
}

#[track_caller]
fn expect(registry: &Registry, series: &str, expected: &str) {
    let text = registry.render();
    assert_eq!(value(&text, series).as_deref(), Some(expected), "{series} in\n{text}");
}

#[test]
fn publishing_adds_only_what_is_new() {
    let registry = registry();
    let (mut worker, mut publisher) = (registry.worker(), registry.publisher());
    worker.command(0, 0);
    worker.command(0, 0);
    publisher.publish(&mut worker);
    publisher.publish(&mut worker);
    expect(&registry, r#"tenantry_commands_total{tenant="acme",cmd="get"}"#, "2");
    worker.command(0, 0);
    publisher.publish(&mut worker);
    expect(&registry, r#"tenantry_commands_total{tenant="acme",cmd="get"}"#, "3");
}

#[test]
fn workers_add_to_the_same_series() {
    let registry = registry();
    for _ in 0..3 {
        let (mut worker, mut publisher) = (registry.worker(), registry.publisher());
        worker.command(1, 1);
        worker.connection_opened(1);
        worker.answered(1, 60, 50);
        publisher.publish(&mut worker);
    }
    expect(&registry, r#"tenantry_commands_total{tenant="globex",cmd="config|get"}"#, "3");
    expect(&registry, r#"tenantry_connections{tenant="globex"}"#, "3");
    expect(&registry, r#"tenantry_client_seconds_count{tenant="globex"}"#, "3");
}

#[test]
fn what_met_a_limit_is_counted_by_limit_and_action() {
    let registry = registry();
    let (mut worker, mut publisher) = (registry.worker(), registry.publisher());
    worker.limited(0, LimitKind::Requests, LimitAction::Rejected);
    worker.limited(0, LimitKind::ClassReplyBytes, LimitAction::Delayed);
    worker.limited(0, LimitKind::ClassReplyBytes, LimitAction::Delayed);
    worker.delayed(0, 1_500);
    publisher.publish(&mut worker);
    let series = |limit, action| {
        format!(r#"tenantry_limited_requests_total{{tenant="acme",limit="{limit}",action="{action}"}}"#)
    };
    expect(&registry, &series("requests", "rejected"), "1");
    expect(&registry, &series("class_reply_bytes", "delayed"), "2");
    expect(&registry, r#"tenantry_limit_delay_seconds_sum{tenant="acme"}"#, "0.001500");
}

#[test]
fn what_has_no_name_is_a_dash() {
    let registry = registry();
    let (mut worker, mut publisher) = (registry.worker(), registry.publisher());
    worker.command(worker.unbound(), worker.unknown_command());
    publisher.publish(&mut worker);
    expect(&registry, r#"tenantry_commands_total{tenant="-",cmd="-"}"#, "1");
}

#[test]
fn connection_that_authenticates_moves_to_its_tenant() {
    let registry = registry();
    let (mut worker, mut publisher) = (registry.worker(), registry.publisher());
    let unbound = worker.unbound();
    worker.connection_opened(unbound);
    publisher.publish(&mut worker);
    expect(&registry, r#"tenantry_connections{tenant="-"}"#, "1");
    worker.connection_moved(unbound, 0);
    publisher.publish(&mut worker);
    expect(&registry, r#"tenantry_connections{tenant="-"}"#, "0");
    expect(&registry, r#"tenantry_connections{tenant="acme"}"#, "1");
    worker.connection_closed(0);
    publisher.publish(&mut worker);
    expect(&registry, r#"tenantry_connections{tenant="acme"}"#, "0");
    expect(&registry, "tenantry_connections_opened_total", "1");
}

#[test]
fn histogram_is_cumulative_and_exact() {
    let registry = registry();
    let (mut worker, mut publisher) = (registry.worker(), registry.publisher());
    worker.answered_many(0, 2, 25, 5);
    worker.answered(0, 260, 100);
    worker.answered(0, 20_000_000, 1);
    publisher.publish(&mut worker);
    expect(&registry, r#"tenantry_client_seconds_bucket{tenant="acme",le="0.000025"}"#, "2");
    expect(&registry, r#"tenantry_client_seconds_bucket{tenant="acme",le="0.00025"}"#, "2");
    expect(&registry, r#"tenantry_client_seconds_bucket{tenant="acme",le="0.0005"}"#, "3");
    expect(&registry, r#"tenantry_client_seconds_bucket{tenant="acme",le="10"}"#, "3");
    expect(&registry, r#"tenantry_client_seconds_bucket{tenant="acme",le="+Inf"}"#, "4");
    expect(&registry, r#"tenantry_client_seconds_count{tenant="acme"}"#, "4");
    expect(&registry, r#"tenantry_client_seconds_sum{tenant="acme"}"#, "20.000310");
    expect(&registry, r#"tenantry_upstream_seconds_sum{tenant="acme"}"#, "0.000111");
    expect(&registry, r#"tenantry_proxy_seconds_sum{tenant="acme"}"#, "20.000199");
}

#[test]
fn upstream_life_is_counted() {
    let registry = registry();
    let (mut worker, mut publisher) = (registry.worker(), registry.publisher());
    worker.upstream_entered(0, UpstreamState::Connecting);
    worker.upstream_left(0, UpstreamState::Connecting);
    worker.upstream_entered(0, UpstreamState::Ready);
    worker.upstream_connected(0);
    worker.upstream_failed(0, FailurePhase::ReplyTimeout);
    worker.requests_lost(0, LossOutcome::MayHaveRun, 17);
    publisher.publish(&mut worker);
    expect(&registry, r#"tenantry_upstream_connections{upstream="main",state="ready"}"#, "1");
    expect(&registry, r#"tenantry_upstream_connections{upstream="main",state="connecting"}"#, "0");
    expect(&registry, r#"tenantry_upstream_connects_total{upstream="main"}"#, "1");
    expect(&registry, r#"tenantry_upstream_failures_total{upstream="main",phase="reply_timeout"}"#, "1");
    expect(
        &registry,
        r#"tenantry_upstream_requests_lost_total{upstream="main",outcome="may_have_run"}"#,
        "17",
    );
    expect(&registry, r#"tenantry_upstream_requests_lost_total{upstream="main",outcome="not_sent"}"#, "0");
}

#[test]
fn upstream_is_up_when_readiness_says_so() {
    let registry = registry();
    expect(&registry, r#"tenantry_upstream_up{upstream="main"}"#, "0");
    registry.readiness().primaries_are(0, 1, vec![1, 2]);
    registry.readiness().primary_up(0, (0, 1));
    registry.readiness().primary_failed(0, 2, "refused");
    expect(&registry, r#"tenantry_upstream_up{upstream="main"}"#, "1");
    expect(&registry, r#"tenantry_upstream_primaries_away{upstream="main"}"#, "1");
    registry.readiness().primary_down(0, 1, "reset");
    expect(&registry, r#"tenantry_upstream_up{upstream="main"}"#, "0");
    expect(&registry, r#"tenantry_upstream_primaries_away{upstream="main"}"#, "2");
}

#[test]
fn topology_is_shown_as_it_was_last_told() {
    let registry = registry();
    assert!(!registry.render().contains("\ntenantry_topology_nodes{"));
    let figures = TopologyFigures {
        refreshes: 7,
        changes: 2,
        age: Duration::from_millis(1500),
        nodes: [3, 2],
        unserved: 100,
    };
    registry.topologies_are([Some(TopologyFigures { refreshes: 6, nodes: [2, 2], ..figures })]);
    registry.topologies_are([Some(figures)]);
    expect(&registry, r#"tenantry_topology_refreshes_total{upstream="main"}"#, "7");
    expect(&registry, r#"tenantry_topology_changes_total{upstream="main"}"#, "2");
    expect(&registry, r#"tenantry_topology_age_seconds{upstream="main"}"#, "1.5");
    expect(&registry, r#"tenantry_topology_nodes{upstream="main",role="primary"}"#, "3");
    expect(&registry, r#"tenantry_topology_nodes{upstream="main",role="replica"}"#, "2");
    expect(&registry, r#"tenantry_topology_unserved_slots{upstream="main"}"#, "100");
}

#[test]
fn requests_that_are_sent_again_are_counted_by_their_cause() {
    let registry = registry();
    let (mut worker, mut publisher) = (registry.worker(), registry.publisher());
    worker.request_again(0, ResendCause::Ask);
    publisher.publish(&mut worker);
    expect(&registry, r#"tenantry_upstream_requests_resent_total{upstream="main",cause="ask"}"#, "1");
    expect(&registry, r#"tenantry_upstream_requests_resent_total{upstream="main",cause="moved"}"#, "0");
}

#[test]
fn violations_and_build_are_there_before_anything_happens() {
    let registry = registry();
    expect(&registry, r#"tenantry_tenant_violations_total{tenant="acme"}"#, "0");
    expect(&registry, r#"tenantry_tenant_violations_total{tenant="globex"}"#, "0");
    expect(&registry, "tenantry_protocol_errors_total", "0");
    expect(&registry, concat!("tenantry_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), "1");
}

#[test]
fn unused_combinations_have_no_series() {
    let registry = registry();
    let (mut worker, mut publisher) = (registry.worker(), registry.publisher());
    worker.command(0, 0);
    publisher.publish(&mut worker);
    let text = registry.render();
    assert_eq!(text.lines().filter(|line| line.starts_with("tenantry_commands_total{")).count(), 1);
    assert!(!text.contains(r#"tenantry_client_seconds_count{tenant="globex"}"#));
}

#[test]
fn retries_and_what_is_left_of_them_are_counted_by_upstream_and_degraded_replies_by_tenant() {
    let registry = registry();
    let (mut worker, mut publisher) = (registry.worker(), registry.publisher());
    worker.retry(0, RetryVerdict::Granted);
    worker.retry(0, RetryVerdict::Granted);
    worker.degraded_reply(1);
    publisher.publish(&mut worker);
    publisher.publish(&mut worker);
    publisher.retries_left_are([(0, 7)].into_iter());
    expect(&registry, r#"tenantry_upstream_retries_total{upstream="main",verdict="granted"}"#, "2");
    expect(&registry, r#"tenantry_upstream_retries_total{upstream="main",verdict="refused"}"#, "0");
    expect(&registry, r#"tenantry_upstream_retries_left{upstream="main"}"#, "7");
    expect(&registry, r#"tenantry_degraded_replies_total{tenant="globex"}"#, "1");
    publisher.retries_left_are([(0, 3)].into_iter());
    expect(&registry, r#"tenantry_upstream_retries_left{upstream="main"}"#, "3");
}

/// Counts at least once into every family.
fn busy_registry() -> Registry {
    let registry = registry();
    let (mut worker, mut publisher) = (registry.worker(), registry.publisher());
    for tenant in 0..=worker.unbound() {
        worker.connection_opened(tenant);
        worker.answered(tenant, 300, 200);
        for command in 0..=worker.unknown_command() {
            worker.command(tenant, command);
        }
        for code in ErrorCode::ALL {
            worker.error_reply(tenant, *code);
        }
        for direction in Direction::ALL {
            worker.bytes(tenant, *direction, 100);
        }
    }
    worker.tenant_violation(0);
    worker.limited(0, LimitKind::InFlight, LimitAction::Rejected);
    worker.delayed(0, 1500);
    worker.compressed(0, 100, 10);
    worker.degraded_reply(0);
    publisher.publish(&mut worker);
    publisher.retries_left_are([(0, 100)].into_iter());
    registry.connection_limit_is(0, 100);
    let age = Duration::from_secs(1);
    let figures = TopologyFigures { refreshes: 1, changes: 1, age, nodes: [1, 1], unserved: 0 };
    registry.topologies_are([Some(figures)]);
    let age = Duration::from_millis(250);
    registry.fleet_is(0, FleetFigures { asks: 20, grants: 18, failures: 2, alone: 1, age });
    registry.breakers_are([BreakerFigures { nodes: [2, 1, 0], entered: [1, 2, 1], rejected: 7 }]);
    registry.memory_is(MemoryFigures { ceiling: 1, level: 0, held_by_clients: 0 });
    registry
}

#[test]
fn who_is_refused_or_closed_for_memory_is_told_by_what_and_why() {
    let registry = registry();
    let (mut worker, mut publisher) = (registry.worker(), registry.publisher());
    worker.client_evicted(Overrun::OutputSoft);
    worker.client_evicted(Overrun::OutputSoft);
    worker.refused_for_memory(Shed::Connection);
    publisher.publish(&mut worker);
    registry.memory_is(MemoryFigures { ceiling: 1 << 30, level: 2, held_by_clients: 77 });
    for (series, expected) in [
        (r#"tenantry_clients_evicted_total{bound="max_output_soft"}"#, "2"),
        (r#"tenantry_clients_evicted_total{bound="max_memory"}"#, "0"),
        (r#"tenantry_refused_for_memory_total{what="connection"}"#, "1"),
        (r#"tenantry_refused_for_memory_total{what="request"}"#, "0"),
        ("tenantry_memory_ceiling_bytes", "1073741824"),
        ("tenantry_memory_level", "2"),
        ("tenantry_client_memory_bytes", "77"),
    ] {
        expect(&registry, series, expected);
    }
}

/// The name and labels of a sample line, and its family's name.
fn parse_sample(line: &str) -> (&str, &str) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    assert!(value.parse::<f64>().is_ok(), "not a number: {line}");
    let name = series.split('{').next().unwrap();
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "bad name: {line}");
    if let Some(labels) = series.strip_prefix(name).and_then(|labels| labels.strip_prefix('{')) {
        let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("open braces: {line}"));
        for label in labels.split(',') {
            let (key, quoted) = label.split_once('=').unwrap_or_else(|| panic!("bad label: {line}"));
            assert!(key.bytes().all(|byte| byte.is_ascii_lowercase()), "bad label name: {line}");
            let value = quoted.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            assert!(value.is_some_and(|value| !value.contains('"')), "bad quotes: {line}");
        }
    }
    (series, name)
}

fn family_of<'a>(sample: &'a str, families: &HashSet<&str>) -> &'a str {
    let stem = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| sample.strip_suffix(suffix));
    stem.filter(|stem| families.contains(stem)).unwrap_or(sample)
}

#[test]
fn exposition_is_well_formed() {
    let text = busy_registry().render();
    let (mut helped, mut typed, mut series) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut current = "";
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ').unwrap();
            assert!(helped.insert(name), "two HELP lines: {line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(typed.insert(name), "two TYPE lines: {line}");
            assert!(helped.contains(name), "TYPE before HELP: {line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            current = name;
        } else {
            let (sample, name) = parse_sample(line);
            assert!(series.insert(sample), "duplicate series: {line}");
            assert_eq!(family_of(name, &typed), current, "sample outside its family: {line}");
        }
    }
    assert!(text.ends_with('\n'));
}

#[cfg(target_os = "linux")]
#[test]
fn every_metric_of_the_table_is_in_the_exposition_and_no_other() {
    let text = busy_registry().render();
    let rendered: HashSet<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let table: Vec<String> =
        names::ALL.iter().map(|family| format!("{} {}", family.name, family.kind.word())).collect();
    assert_eq!(rendered, table.iter().map(String::as_str).collect());
}

#[cfg(target_os = "linux")]
#[test]
fn process_figures_are_plausible() {
    let text = registry().render();
    let number = |series: &str| value(&text, series).unwrap().parse::<f64>().unwrap();
    assert!(number("process_resident_memory_bytes") > 100_000.0);
    assert!(number("process_open_fds") >= 3.0);
    assert!(number("process_start_time_seconds") > 1_600_000_000.0);
    assert!(number("process_cpu_seconds_total") < 3600.0);
}
