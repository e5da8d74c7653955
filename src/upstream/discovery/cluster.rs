//! What a node says of its cluster: `CLUSTER INFO`, `CLUSTER SHARDS`, and `CLUSTER SLOTS` where the latter is not
//! known or not allowed.

use super::{AskError, Inquiry, View, accepted};
use crate::routing::parse::{cluster_info, cluster_shards, cluster_slots};
use crate::settings::{Endpoint, UpstreamSettings};

/// The cluster in the eyes of the node at `asked`.
pub(super) async fn view(settings: &UpstreamSettings, asked: &Endpoint) -> Result<View, AskError> {
    let credentials = (settings.username.as_deref(), settings.password.as_ref());
    let mut node = Inquiry::open(asked, credentials, settings.connect_timeout).await?;
    let info = node.ask(&["CLUSTER", "INFO"]).await?;
    accepted("CLUSTER INFO", &info)?;
    let state = cluster_info(&info)?;
    let shards = node.ask(&["CLUSTER", "SHARDS"]).await?;
    let layout = if shards.starts_with(b"-") {
        let slots = node.ask(&["CLUSTER", "SLOTS"]).await?;
        accepted("CLUSTER SLOTS", &slots)?;
        cluster_slots(&slots, host_of(asked))?
    } else {
        cluster_shards(&shards, host_of(asked))?
    };
    if layout.owned() == 0 {
        return Err(AskError::NoSlots);
    }
    Ok(View { layout, is_ok: state.is_ok, epoch: state.epoch })
}

/// Where those are who are announced without an address.
fn host_of(asked: &Endpoint) -> &str {
    match asked {
        Endpoint::Tcp { host, .. } => host,
        Endpoint::Unix(_) => "localhost",
    }
}
