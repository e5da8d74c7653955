//! `tenantry explain`: what would be sent for a command, and to where, without sending it.

use std::sync::Arc;

use bytes::BytesMut;

use crate::command::Located;
use crate::config::Config;
use crate::resp::cursor::{Cursor, Value};
use crate::resp::{OwnedRequest, SendQueue};
use crate::routing::Topology;
use crate::session::{Persona, Session, Step, Surroundings, UpstreamView};
use crate::tenant::UpstreamLimits;
use crate::tenant::directory::Binding;

/// Explains `words` as `binding` would send them, in `database` if one is given.
pub fn explain(config: &Config, binding: &Arc<Binding>, database: Option<u32>, words: &[Vec<u8>]) -> String {
    let Some(request) = OwnedRequest::from_args(words) else { return "there is no command\n".to_owned() };
    let unknown = Persona::default();
    let view = UpstreamView {
        persona: unknown.clone(),
        topology: Topology::standalone(),
        limits: UpstreamLimits {
            max_bulk: config.downstream.max_bulk,
            max_request: config.downstream.max_request,
        },
    };
    let views: Vec<UpstreamView> = config.upstreams.iter().map(|_| view.clone()).collect();
    let around = Surroundings { directory: &config.directory, upstreams: &views, unknown: &unknown };
    let mut session = Session::new(Some(Arc::clone(binding)));
    let (mut located, mut answer) = (Located::new(), BytesMut::new());
    let mut lines =
        vec![format!("tenant    {}", binding.tenant().name), format!("user      {}", binding.user_name())];
    let database = database.unwrap_or_else(|| binding.home_database());
    if !session.select(database) {
        lines.push(format!("database  {database} is out of range: the tenant has {}", binding.databases()));
        return lines.join("\n") + "\n";
    }
    lines.push(format!("database  {database}"));
    let (step, spec) = session.on_request(request.as_request(), &around, &mut located, None, &mut answer);
    if let Some(spec) = spec {
        lines.push(format!("command   {}", spec.full_name_lower()));
    }
    match step {
        Step::Forward { routed, .. } => {
            let upstream = config.upstreams.get(routed.upstream());
            let mut queue = SendQueue::default();
            routed.queue(&mut queue);
            if let Some(upstream) = upstream {
                lines.push(format!("upstream  {} ({}), shared connection", upstream.name, upstream.endpoint));
            }
            lines.push(format!("sent      {}", as_words(queue.tail())));
        }
        Step::Answer | Step::AnswerThenClose | Step::Silence | Step::Close => {
            lines.push(format!("sent      nothing, the proxy answers\nanswer    {}", one_line(&answer)));
        }
    }
    lines.join("\n") + "\n"
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
