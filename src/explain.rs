//! `tenantry explain`: what would be sent for a command, and to where, without sending it.

use std::sync::Arc;

use bytes::BytesMut;

use crate::command::Located;
use crate::config::Config;
use crate::resp::cursor::{Cursor, Value};
use crate::resp::{OwnedRequest, SendQueue};
use crate::routing::Topology;
use crate::session::{Over, Payloads, Peers, Persona, Session, Step, Surroundings, UpstreamView};
use crate::tenant::UpstreamLimits;
use crate::tenant::directory::Binding;

/// Explains `words` as `binding` would send them, in `database` if one is given.
pub fn explain(config: &Config, binding: &Arc<Binding>, database: Option<u32>, words: &[Vec<u8>]) -> String {
    let Some(request) = OwnedRequest::from_args(words) else { return "there is no command\n".to_owned() };
    let mut lines =
        vec![format!("tenant    {}", binding.tenant().name), format!("user      {}", binding.user_name())];
    let database = database.unwrap_or_else(|| binding.home_database());
    if binding.namespace(database).is_none() {
        lines.push(format!("database  {database} is out of range: the tenant has {}", binding.databases()));
        return lines.join("\n") + "\n";
    }
    lines.push(format!("database  {database}"));
    let unknown = Persona::default();
    let views = views(config, &unknown);
    let around =
        Surroundings { directory: &config.directory, upstreams: &views, unknown: &unknown, peers: &Alone };
    // A session that needs connections of its own gets them before it is asked: asking changes it.
    let mut leases = Vec::new();
    loop {
        let mut session = Session::new(Some(Arc::clone(binding)));
        session.select(database);
        for slot in &leases {
            session.leased(*slot, 0);
        }
        let (mut located, mut answer) = (Located::new(), BytesMut::new());
        let (step, spec) =
            session.on_request(request.as_request(), &around, &mut located, None, (&mut answer, false));
        if let Step::Lease(slot) = step
            && !leases.contains(&slot)
        {
            leases.push(slot);
            continue;
        }
        lines.extend(spec.map(|spec| format!("command   {}", spec.full_name_lower())));
        lines.extend(told(config, &step, &answer));
        return lines.join("\n") + "\n";
    }
}

/// All upstreams as they are before they have answered, except that they are taken to check payloads.
fn views(config: &Config, unknown: &Persona) -> Vec<UpstreamView> {
    let limits =
        UpstreamLimits { max_bulk: config.downstream.max_bulk, max_request: config.downstream.max_request };
    let views = config.upstreams.iter().map(|upstream| UpstreamView {
        persona: unknown.clone(),
        topology: Topology::standalone(),
        limits,
        payloads: if upstream.restore.is_never() { Payloads::Denied } else { Payloads::Forwarded },
        database: upstream.database,
    });
    views.collect()
}

/// What becomes of the request.
fn told(config: &Config, step: &Step<'_>, answer: &[u8]) -> Vec<String> {
    match step {
        Step::Forward { routed, over, .. } => {
            let mut queue = SendQueue::default();
            routed.queue(&mut queue);
            let over = if *over == Over::Shared { "shared connection" } else { "a connection of its own" };
            let upstream = config.upstreams.get(routed.upstream());
            let upstream = upstream
                .map(|upstream| format!("upstream  {} ({}), {over}", upstream.name, upstream.endpoint));
            let sent = format!("sent      {}", as_words(queue.tail()));
            upstream.into_iter().chain([sent]).collect()
        }
        Step::Batch(batch) => {
            let sent = batch.requests.iter().map(|sent| {
                let mut queue = SendQueue::default();
                sent.request.as_scoped().queue(&mut queue);
                format!("sent      {}", as_words(queue.tail()))
            });
            sent.collect()
        }
        Step::Compose { .. } => vec!["answer    composed for the tenant's part of the server".to_owned()],
        Step::Answer
        | Step::Refused { .. }
        | Step::AnswerAlways
        | Step::AnswerThenClose
        | Step::Silence
        | Step::Close
        | Step::Lease(_)
        | Step::Wait => {
            vec![format!("sent      nothing, the proxy answers\nanswer    {}", one_line(answer))]
        }
    }
}

/// There are no other clients.
#[derive(Debug)]
struct Alone;

impl Peers for Alone {
    fn exists(&self, _: usize, _: u64) -> bool {
        false
    }
}

/// The words of a multibulk, as one would type them.
fn as_words(request: &[u8]) -> String {
    let mut cursor = Cursor::new(request);
    let mut words = Vec::new();
    while let Some(value) = cursor.next_value() {
        if let Value::Bulk(word) = value {
            let is_plain =
                !word.is_empty() && word.iter().all(|byte| (b'!'..=b'~').contains(byte) && *byte != b'"');
            words.push(if is_plain {
                String::from_utf8_lossy(word).into_owned()
            } else {
                format!("\"{}\"", word.escape_ascii())
            });
        }
    }
    words.join(" ")
}

fn one_line(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).trim_end().replace("\r\n", " ")
}
