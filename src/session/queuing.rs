//! Requests between `MULTI` and `EXEC`: checked and kept, or refused.

use std::sync::Arc;

use bytes::BytesMut;

use super::machine::{Session, Step, Surroundings, touches_keyspace};
use super::rescue::text;
use super::reworded;
use super::tied::{self, Moment};
use super::transaction::Queued;
use crate::command::{self, CommandSpec, Flags, Located, Service};
use crate::resp::reply::ReplyWriter;
use crate::resp::{Request, Version};
use crate::routing::topology::MultiKeyScope;
use crate::tenant::{Keyed, scope};

impl Session {
    /// A request between `MULTI` and `EXEC`; `None`: it is not queued.
    pub(super) fn in_transaction(
        &mut self,
        spec: &'static CommandSpec,
        request: &Request<'_>,
        moment: Moment<'_>,
        located: &mut Located,
        answer: &mut BytesMut,
    ) -> Option<Result<Step<'static>, Vec<u8>>> {
        match spec.name {
            "EXEC" | "DISCARD" | "QUIT" | "RESET" => return None,
            // Redis before Valkey 9: an error, and the transaction goes on.
            "MULTI" | "WATCH" => {
                let error = if spec.name == "MULTI" { text::NESTED_MULTI } else { text::WATCH_INSIDE_MULTI };
                ReplyWriter::new(answer, Version::Resp2).error(error);
                return Some(Ok(Step::Answer));
            }
            _ => {}
        }
        let limit = self.view(&moment.around).map_or(usize::MAX, |view| view.limits.max_request);
        let queued = match spec.service() {
            Service::Forward | Service::Guarded => self.kept_request(spec, request, &moment.around, located),
            Service::Local if !self.is_refused_in_transaction(spec.name) => {
                if spec.name == "SELECT" {
                    self.select_in_transaction(request);
                }
                tied::kept(spec, request).ok_or_else(|| text::SYNTAX.to_vec())
            }
            _ if spec.name == "UNWATCH" => tied::kept(spec, request).ok_or_else(|| text::SYNTAX.to_vec()),
            Service::Reworded
            | Service::Local
            | Service::Tied
            | Service::Composed
            | Service::Denied
            | Service::AdminOnly
            | Service::NotYet(_) => reworded::kept(self, spec, request, &moment),
        };
        if touches_keyspace(spec)
            && !spec.flags.contains(Flags::READONLY)
            && let Some(transaction) =
                self.affinity.as_mut().and_then(|affinity| affinity.transaction.as_mut())
        {
            transaction.writes = true;
            transaction.brings_payload |= spec.service() == Service::Guarded;
        }
        Some(queued.and_then(|queued| tied::queue(self, queued, limit, answer)))
    }

    /// A queued request for the upstream, in the database that the transaction has selected.
    fn kept_request(
        &self,
        spec: &'static CommandSpec,
        request: &Request<'_>,
        around: &Surroundings<'_>,
        located: &mut Located,
    ) -> Result<Queued, Vec<u8>> {
        let Some(transaction) = self.transaction() else { return Err(text::SYNTAX.to_vec()) };
        // The server looks at options when it runs the request.
        if let Err(error) = command::locate(spec, request, located) {
            let mut answer = BytesMut::new();
            ReplyWriter::new(&mut answer, Version::Resp2).error(error.message().as_bytes());
            return Ok(Queued::Answer(answer.freeze()));
        }
        if self.is_ruled
            && let Some(amendment) = self.amend(spec, request, around, located)?
        {
            return self.keep_amended(spec, *amendment, around, located);
        }
        let Some(view) = self.view(around) else { return Err(text::UPSTREAM_REFUSED_PROXY.to_vec()) };
        let mut scoped = scope(spec, *request, located, &transaction.namespace, view.limits, None)
            .map_err(|error| error.to_string().into_bytes())?;
        scoped
            .store_values(spec, self.compression(), view.limits)
            .map_err(|error| error.to_string().into_bytes())?;
        let queued = scoped.into_owned();
        // Wherever the transaction goes, it cannot go there.
        if queued.keyed() == Keyed::Across && view.topology.scope() == MultiKeyScope::Slot {
            return Err(text::CROSSSLOT.to_vec());
        }
        Ok(Queued::Upstream(queued))
    }

    /// What changes who the client is, which replies it gets, or the database of a shared connection.
    fn is_refused_in_transaction(&self, name: &str) -> bool {
        matches!(name, "AUTH" | "HELLO" | "CLIENT REPLY") || (name == "SELECT" && self.is_native())
    }

    /// Whether its databases are the upstream's own.
    pub(super) fn is_native(&self) -> bool {
        self.bound.as_ref().is_some_and(|bound| bound.namespace.native.is_some())
    }

    fn select_in_transaction(&mut self, request: &Request<'_>) {
        let number = crate::resp::scan::strict_integer(request.arg(1).unwrap_or_default());
        let number = number.and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| *number == 0 || !self.has_cluster_persona());
        let Some(bound) = &self.bound else { return };
        if let Some(namespace) = number.and_then(|number| bound.binding.namespace(number))
            && let Some(transaction) =
                self.affinity.as_mut().and_then(|affinity| affinity.transaction.as_mut())
        {
            transaction.namespace = Arc::clone(namespace);
        }
    }
}
