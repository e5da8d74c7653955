//! The breakers of all nodes: a page for operators and their programs, and an operator's word about one of them.
//!
//! The page is JSON. The word is a form (`curl -d`), so that nobody needs to quote anything.

use axum::http::{HeaderMap, StatusCode, header};

use crate::metrics::publish::BreakerFigures;
use crate::policy::breaker::Phase;
use crate::upstream::Healths;
use crate::upstream::health::{NodeReport, Override};

/// What the form is to be like.
const USAGE: &str = "send a form: upstream=NAME&node=HOST:PORT&breaker=open, closed or automatic; GET /breakers names the nodes\n";

/// In numbers, by upstream.
pub(super) fn figures(healths: &Healths) -> Vec<BreakerFigures> {
    let figures = healths.figures().into_iter();
    figures
        .map(|figures| BreakerFigures {
            nodes: figures.nodes,
            entered: figures.entered,
            rejected: figures.rejected,
        })
        .collect()
}

/// All nodes that have been asked anything.
pub(super) fn page(healths: &Healths) -> String {
    let upstreams = healths.report().into_iter().map(|(name, nodes)| {
        let nodes: Vec<String> = nodes.iter().map(node).collect();
        format!("{{\"upstream\":{},\"nodes\":[{}]}}", quoted(&name), nodes.join(","))
    });
    format!("[{}]\n", upstreams.collect::<Vec<_>>().join(","))
}

fn node(NodeReport { node, phase, by_operator, why, retry_in }: &NodeReport) -> String {
    let phase = match phase {
        Phase::Closed => "closed",
        Phase::Open => "open",
        Phase::HalfOpen => "half_open",
    };
    let by = match by_operator {
        Override::Automatic => "automatic",
        Override::Open | Override::Closed => "operator",
    };
    let why = if why.is_empty() { "null".to_owned() } else { quoted(why) };
    let retry_in = retry_in.map_or_else(|| "null".to_owned(), |wait| wait.as_millis().to_string());
    format!(
        "{{\"node\":{},\"breaker\":\"{phase}\",\"by\":\"{by}\",\"why\":{why},\"probe_in_ms\":{retry_in}}}",
        quoted(&node.to_string())
    )
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                quoted.extend(format!("\\u{:04x}", u32::from(control)).chars());
            }
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

/// Does what the form says. A page of another site that a browser shows must not be able to say it: browsers tell
/// whose page it is (`Origin`).
pub(super) fn force(healths: &Healths, headers: &HeaderMap, form: &str) -> (StatusCode, String) {
    if headers.contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "not from a page in a browser\n".to_owned());
    }
    let field = |name: &str| {
        let mut fields = form.trim().split('&').filter_map(|field| field.split_once('='));
        fields.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let to = match field("breaker") {
        Some("open") => Override::Open,
        Some("closed") => Override::Closed,
        Some("automatic") => Override::Automatic,
        Some(_) | None => return (StatusCode::BAD_REQUEST, USAGE.to_owned()),
    };
    match (field("upstream"), field("node")) {
        (Some(upstream), Some(node)) if healths.force(upstream, node, to) => {
            tracing::info!(%upstream, %node, ?to, "an operator has spoken about a breaker");
            (StatusCode::OK, page(healths))
        }
        (Some(_), Some(_)) => (StatusCode::NOT_FOUND, format!("no such node; {USAGE}")),
        (Some(_) | None, Some(_) | None) => (StatusCode::BAD_REQUEST, USAGE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Endpoint;
    use std::time::Duration;

    #[test]
    fn a_node_is_one_object_whatever_its_address_is() {
        let mut report = NodeReport {
            node: Endpoint::Unix("/tmp/a\"b".into()),
            phase: Phase::HalfOpen,
            by_operator: Override::Automatic,
            why: "no reply within 200 ms".into(),
            retry_in: Some(Duration::from_millis(12)),
        };
        assert_eq!(
            r#"{"node":"unix:/tmp/a\"b","breaker":"half_open","by":"automatic","why":"no reply within 200 ms","probe_in_ms":12}"#,
            node(&report)
        );
        report = NodeReport {
            phase: Phase::Closed,
            by_operator: Override::Closed,
            why: String::new(),
            retry_in: None,
            ..report
        };
        assert_eq!(
            r#"{"node":"unix:/tmp/a\"b","breaker":"closed","by":"operator","why":null,"probe_in_ms":null}"#,
            node(&report)
        );
    }
}
