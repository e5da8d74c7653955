//! A cluster of three primaries.
//!
//! Its nodes are members from the beginning: each finds the whole cluster in its `nodes.conf`, as a node that is
//! started again does. So nobody has to be introduced to anybody, and it serves after two seconds.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use tenantry::dev::OwnedProcess;

use crate::load;
use crate::target::{Kind, Target, await_answer, free_address, log_name, spawn};
use crate::workload::request;

/// The slots of each primary.
const SLOTS: [&str; 3] = ["0-5460", "5461-10922", "10923-16383"];

/// A primary as it is planned.
struct Member {
    id: String,
    address: SocketAddr,
    /// Where the others talk to it.
    bus: u16,
}

/// Starts the primaries in directories of their own, and waits until all of them serve.
pub(crate) fn start(directory: &Path) -> anyhow::Result<Vec<Target>> {
    let mut members = Vec::new();
    for number in 1..=SLOTS.len() {
        let id = format!("{number:040}");
        members.push(Member { id, address: free_address()?, bus: free_address()?.port() });
    }
    let mut processes = Vec::new();
    for own in &members {
        let directory = directory.join(&own.id);
        fs::create_dir(&directory)?;
        fs::write(directory.join("nodes.conf"), nodes_conf(&members, own))?;
        processes.push((
            own.address,
            launch(own, &directory)?,
            directory.join(log_name(Kind::DirectCluster)),
        ));
    }
    let mut targets = Vec::new();
    for (address, mut process, log) in processes {
        await_answer(&mut process, &log, || serves(address))
            .with_context(|| format!("the node of a cluster on {address} does not start"))?;
        targets.push(Target { kind: Kind::DirectCluster, address, process: Some(process) });
    }
    Ok(targets)
}

fn launch(own: &Member, directory: &Path) -> anyhow::Result<OwnedProcess> {
    let (port, bus) = (own.address.port().to_string(), own.bus.to_string());
    let mut command = Command::new(Kind::DirectCluster.program());
    command
        .args(["--bind", "127.0.0.1", "--port", &port, "--cluster-port", &bus, "--cluster-enabled", "yes"])
        .args(["--save", "", "--appendonly", "no", "--maxclients", "30000"]);
    spawn(Kind::DirectCluster, &mut command, directory)
}

/// What the node `own` knows of all.
fn nodes_conf(members: &[Member], own: &Member) -> String {
    let mut text = String::new();
    for (number, (Member { id, address, bus }, slots)) in members.iter().zip(SLOTS).enumerate() {
        let flags = if *id == own.id { "myself,master" } else { "master" };
        // Writing to a String cannot fail.
        writeln!(text, "{id} {address}@{bus} {flags} - 0 0 {} connected {slots}", number + 1).ok();
    }
    text + &format!("vars currentEpoch {} lastVoteEpoch 0\n", members.len())
}

fn serves(address: SocketAddr) -> anyhow::Result<()> {
    let state = load::ask(address, &request(&[b"CLUSTER", b"INFO"]))?;
    ensure!(state.contains("cluster_state:ok"), "it is not content with its cluster: {state}");
    Ok(())
}
