//! What one client was promised, and what is there.

use std::sync::Mutex;

use anyhow::{Context as _, ensure};

use crate::stand::Stand;
use crate::wire::Client;

/// The writes of one client to one key.
pub(crate) struct Ledger {
    key: String,
    counts: Mutex<Counts>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    /// Writes whose reply came.
    acknowledged: u64,
    /// Writes that may have been done: their connection ended before the reply, or the reply says so.
    uncertain: u64,
}

impl Ledger {
    pub(crate) fn new(number: usize) -> Self {
        Self { key: format!("counter:{number}"), counts: Mutex::default() }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn acknowledge(&self) {
        self.with(|counts| counts.acknowledged += 1);
    }

    pub(crate) fn doubt(&self) {
        self.with(|counts| counts.uncertain += 1);
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.with(|counts| counts.acknowledged)
    }

    /// Acknowledged writes that Redis does not have; an error if it has more than were made.
    pub(crate) fn lost(&self, stand: &Stand) -> anyhow::Result<u64> {
        let name = format!("soak:{}", self.key);
        let mut client = Client::connect(stand.redis)?;
        let value = client.ask(&[b"GET", name.as_bytes()])?;
        let value = String::from_utf8_lossy(&value).trim().to_owned();
        let there: u64 = if value == "$-1" { 0 } else { value.parse().context("the counter is a number")? };
        let Counts { acknowledged, uncertain } = self.with(|counts| *counts);
        ensure!(
            there <= acknowledged + uncertain,
            "{name} is {there}, after {acknowledged} acknowledged and {uncertain} uncertain writes: some were done twice"
        );
        Ok(acknowledged.saturating_sub(there))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
