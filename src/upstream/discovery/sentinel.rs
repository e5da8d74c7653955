//! What sentinels say of a group (*Guidelines for Redis clients with support for Redis Sentinel*).
//!
//! A sentinel may be behind the others, so that the node that it names is asked for its role before it is
//! believed. One sentinel at a time is listened to as well: it tells of a switch when it happens.

use std::time::Duration;

use super::{AskError, Discovery, Inquiry, View, accepted, endpoint_of, shuffled};
use crate::resp::cursor::{Cursor, Value};
use crate::routing::parse::{
    Announced, Layout, Role, ShardLayout, role, sentinel_address, sentinel_primary, sentinel_replicas,
    switched,
};
use crate::settings::{Endpoint, SentinelSettings, UpstreamSettings};
use crate::upstream::nodes::reachable;

/// The channel on which sentinels tell of a switch.
const SWITCHES: &str = "+switch-master";

/// The group in the eyes of the sentinel at `asked`, if its primary agrees.
pub(super) async fn view(
    settings: &UpstreamSettings,
    group: &SentinelSettings,
    asked: &Endpoint,
) -> Result<View, AskError> {
    let mut sentinel = open(settings, group, asked).await?;
    let name = group.group.as_str();
    let address = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]).await?;
    accepted("SENTINEL GET-MASTER-ADDR-BY-NAME", &address)?;
    let named = sentinel_address(&address)?.ok_or(AskError::NoGroup)?;
    let watched = sentinel.ask(&["SENTINEL", "MASTER", name]).await?;
    accepted("SENTINEL MASTER", &watched)?;
    let watched = sentinel_primary(&watched)?;
    let replicas = sentinel.ask(&["SENTINEL", "REPLICAS", name]).await?;
    accepted("SENTINEL REPLICAS", &replicas)?;
    let replicas = sentinel_replicas(&replicas)?;
    // While a failover is under way the first names the new primary and the others still call it a replica.
    let is_it = |node: &&Announced| (node.host.as_str(), node.port) == (named.host.as_str(), named.port);
    let primary = std::iter::once(&watched.node).chain(&replicas).find(is_it).unwrap_or(&named).clone();
    let replicas = replicas.into_iter().filter(|node| !is_it(&node)).collect();
    confirm(settings, &primary).await?;
    let shard = ShardLayout { primary, replicas, slots: Vec::new() };
    Ok(View { layout: Layout { shards: vec![shard] }, is_ok: true, epoch: watched.epoch })
}

async fn open(
    settings: &UpstreamSettings,
    group: &SentinelSettings,
    sentinel: &Endpoint,
) -> Result<Inquiry, AskError> {
    let credentials = (group.username.as_deref(), group.password.as_ref());
    Inquiry::open(sentinel, credentials, settings.connect_timeout).await
}

/// Asks the node itself.
async fn confirm(settings: &UpstreamSettings, primary: &Announced) -> Result<(), AskError> {
    let endpoint = reachable(&settings.address_map, endpoint_of(primary));
    let credentials = (settings.username.as_deref(), settings.password.as_ref());
    let mut node = Inquiry::open(&endpoint, credentials, settings.connect_timeout).await?;
    let reply = node.ask(&["ROLE"]).await?;
    accepted("ROLE", &reply)?;
    match role(&reply)? {
        Role::Primary => Ok(()),
        Role::Replica { .. } | Role::Sentinel => Err(AskError::NotPrimary(endpoint)),
    }
}

impl Discovery {
    /// Listens to one sentinel after the other, for as long as each can be heard.
    pub(super) async fn listen(&self, group: &SentinelSettings) {
        loop {
            for sentinel in shuffled(group.sentinels.iter()) {
                if let Err(error) = self.listen_to(group, sentinel).await {
                    let upstream = &self.settings.name;
                    tracing::debug!(%upstream, %sentinel, %error, "a sentinel cannot be listened to");
                }
            }
            let wait = self.settings.topology.refresh_min;
            tokio::time::sleep(wait.mul_f64(1.0 + fastrand::f64() / 2.0)).await;
        }
    }

    async fn listen_to(&self, group: &SentinelSettings, sentinel: &Endpoint) -> Result<(), AskError> {
        let mut inquiry = open(&self.settings, group, sentinel).await?;
        accepted("SUBSCRIBE", &inquiry.ask(&["SUBSCRIBE", SWITCHES]).await?)?;
        // What was told before has not been heard.
        self.publisher.ask();
        loop {
            let message = next_message(&mut inquiry, self.settings.topology.refresh_every).await?;
            let is_ours = payload(&message).and_then(|told| switched(told).ok());
            if is_ours.is_some_and(|told| told.group == group.group) {
                self.informed.replace(Some(sentinel.clone()));
                self.told.notify_one();
            }
        }
    }
}

/// Waits for whatever the sentinel says; one that is silent for long is asked whether it is still there.
async fn next_message(sentinel: &mut Inquiry, silence: Duration) -> Result<bytes::BytesMut, AskError> {
    if let Ok(message) = tokio::time::timeout(silence, sentinel.dialogue.hear()).await {
        return Ok(message?);
    }
    sentinel.ask(&["PING"]).await
}

/// Of `[message, channel, payload]`.
fn payload(message: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor::new(message);
    let kind = (cursor.next_value()?, cursor.next_value()?, cursor.next_value()?);
    match (kind, cursor.next_value()?) {
        ((Value::Array(3), Value::Bulk(b"message"), Value::Bulk(_)), Value::Bulk(payload)) => Some(payload),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_from_what_else_a_sentinel_says() {
        let told = b"*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$19\r\nmain a 1 127.0.0.1 2\r\n";
        assert_eq!(None, payload(b"*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n"));
        assert_eq!(None, payload(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"));
        assert_eq!(Some(&b"main a 1 127.0.0.1 "[..]), payload(told));
    }
}
