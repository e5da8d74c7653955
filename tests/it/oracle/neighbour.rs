//! Another tenant behind the same proxy while sessions are played: keys of the same names, a subscriber of every
//! channel who is told of every key that changes. Nobody may touch the ones, and nothing may reach the other.

use super::grammar::Grammar;
use super::place::Place;
use super::sides::{self, Snapshot};
use super::store::Store;
use crate::servers::Proxy;
use crate::wire::{Client, Tree, show};

pub(super) struct Neighbour {
    subscriber: Client,
    publisher: Client,
    store: Store,
    place: Place,
    untouched: Snapshot,
}

impl Neighbour {
    /// Tenant `globex`, who holds look-alikes of the data of the grammar.
    pub(super) fn new(proxy: &Proxy, mut store: Store, place: Place) -> Self {
        sides::load_look_alikes(&mut store, &Grammar::read(), place.globex());
        let untouched = sides::dump_of(&mut store, place.globex());
        let mut subscriber = Client::tcp_resp3(proxy.globex_port());
        if !place.is_cluster() {
            assert_eq!("+OK\\r\\n", subscriber.ask("CLIENT TRACKING ON BCAST"));
        }
        assert_eq!(
            ">3\\r\\n$10\\r\\npsubscribe\\r\\n$1\\r\\n*\\r\\n:1\\r\\n",
            subscriber.ask("PSUBSCRIBE *")
        );
        Self { subscriber, publisher: proxy.globex(), store, place, untouched }
    }

    /// What the subscriber heard before a message of his own tenant; that must be nothing.
    pub(super) fn overheard(&mut self) -> Vec<String> {
        assert_eq!(":1\\r\\n", self.publisher.ask("PUBLISH marker here"));
        let is_marker = |frame: &[u8]| {
            let tree = Tree::of(frame);
            tree.elements().last().is_some_and(|payload| payload.payload() == b"here")
        };
        let frames = std::iter::from_fn(|| Some(self.subscriber.frame()).filter(|frame| !is_marker(frame)));
        frames.map(|frame| show(&frame)).collect()
    }

    /// What has become of his data, and of data that belongs to nobody.
    pub(super) fn damage(&mut self) -> Vec<String> {
        let (globex, stem) = (self.place.globex(), self.place.acme_stem());
        let now = sides::dump_of(&mut self.store, globex);
        let mut damage = sides::differences(&self.untouched, &now);
        let own = format!("{stem}@");
        let owned = [globex, self.place.acme(), own.as_bytes()];
        let is_owned = |key: &Vec<u8>| owned.iter().any(|prefix| key.starts_with(prefix));
        let stray = self.store.keys().into_iter().filter(|key| !is_owned(key));
        damage.extend(stray.map(|key| format!("a key without a prefix: {}", show(&key))));
        damage
    }
}
