//! Looks after one open breaker: asks the node when the time has come, until the breaker is closed.
//!
//! A probe is a connection with its handshake and `PING`, or one more `PING` on it: what a real request would need, and
//! nothing that a node would do twice. `PING` is also refused by a node that is loading or has lost its primary. The
//! connection is closed afterwards; those who need one make theirs when they are let in.
//!
//! A node that is silent is left alone for longer each time, but the probe that it has not answered stays connected
//! until the next one: a process that was stopped, or a network that was cut, answers it the moment it goes on, and then
//! the next probe is due. A node that refuses, or says that it is loading, is about to be well, and is asked again within
//! the longest wait between two attempts to connect: to learn that late would make an outage longer.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::connect::{ConnectError, Dialogue, open_for_probe};
use super::health::{NodeHealth, Opening};
use super::lane::{Ended, Fingerprint, Load};
use super::symptom::Symptom;
use crate::policy::breaker::{Answered, Probe};
use crate::resp::Version;
use crate::routing::Access;
use crate::routing::topology::NodeId;
use crate::settings::UpstreamSettings;

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// A connection that is being made and has been pinged, and what the reply says of the node, if it is something bad.
type Asking<'a> = Pin<Box<dyn Future<Output = Result<(Dialogue, Option<&'static str>), ConnectError>> + 'a>>;

/// Ends when the breaker is closed, by a probe or by an operator. One for each opening.
pub(super) async fn look_after(
    health: Arc<NodeHealth>,
    opening: Opening,
    settings: Rc<UpstreamSettings>,
    (upstream, node): (usize, NodeId),
) {
    // A replica is as well as a primary, as far as this goes.
    let (access, version, load) = (Access::ReadOnly, Version::Resp2, Load::Light);
    let to = Fingerprint { upstream, node, access, version, database: None, load };
    let mut given_up = None;
    while let Some(wait) = health.next_probe(opening) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = health.rescheduled() => continue,
            is_well = answered_late(&mut given_up) => {
                given_up = None;
                if is_well {
                    health.show_life();
                }
                continue;
            }
        }
        if let Some(probe) = health.probe() {
            given_up = try_node(&health, probe, Box::pin(ask(&settings, &health, to)), &settings).await;
        }
    }
}

/// Whether the node has answered well; waits until it has answered.
async fn answered_late(given_up: &mut Option<Asking<'_>>) -> bool {
    match given_up {
        Some(asking) => matches!(asking.await, Ok((_, None))),
        None => std::future::pending().await,
    }
}

/// Asks as often as it takes to close the breaker, or until the node does not answer: the probe that was given up then.
async fn try_node<'a>(
    health: &NodeHealth,
    probe: Probe,
    mut asking: Asking<'a>,
    settings: &UpstreamSettings,
) -> Option<Asking<'a>> {
    let limit = settings.connect_timeout;
    let Ok(mut asked) = timeout(limit, &mut asking).await else {
        fail(health, probe, ConnectError::TimedOut(limit), settings);
        return Some(asking);
    };
    let mut next = Some(probe);
    while let Some(probe) = next.take() {
        let mut dialogue = match asked {
            Ok((dialogue, None)) => dialogue,
            Ok((_, Some(symptom))) => {
                health.probe_failed(probe, symptom, settings.reconnect_max);
                return None;
            }
            Err(error) => {
                fail(health, probe, error, settings);
                return None;
            }
        };
        if health.probe_answered(probe) != Answered::GoOn {
            return None;
        }
        next = health.probe();
        asked = match timeout(limit, ping(&mut dialogue)).await {
            Ok(pinged) => pinged.map(|symptom| (dialogue, symptom)),
            Err(_) => Err(ConnectError::TimedOut(limit)),
        };
    }
    None
}

fn fail(health: &NodeHealth, probe: Probe, error: ConnectError, settings: &UpstreamSettings) {
    let is_silent = matches!(error, ConnectError::TimedOut(_));
    let at_most = if is_silent { Duration::MAX } else { settings.reconnect_max };
    health.probe_failed(probe, &Ended::NotConnected(error).for_clients(), at_most);
}

/// Connects and pings, however long that takes.
async fn ask(
    settings: &UpstreamSettings,
    health: &NodeHealth,
    to: Fingerprint,
) -> Result<(Dialogue, Option<&'static str>), ConnectError> {
    let mut dialogue = open_for_probe(settings, health.endpoint(), to).await?;
    let symptom = ping(&mut dialogue).await?;
    Ok((dialogue, symptom))
}

/// What the reply says of the node, if it is something bad.
async fn ping(dialogue: &mut Dialogue) -> Result<Option<&'static str>, ConnectError> {
    dialogue.say(PING).await?;
    Ok(Symptom::of_reply(&dialogue.hear().await?))
}
