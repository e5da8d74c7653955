//! The Redis servers that store what one side says, as one: a single server, or the primaries of a cluster.

use tenantry::command::slot::slot;

use super::sides::place_of_key;
use crate::servers::{Deployment, RedisServer, SLOTS};
use crate::wire::{Client, Tree, command};

/// Connections to all of them, in the order of their slots.
pub(super) struct Store {
    primaries: Vec<Client>,
}

/// What is sent in one write to each of them, and how many replies it has.
pub(super) struct Load {
    parts: Vec<(Vec<u8>, usize)>,
}

impl Store {
    pub(super) fn of_server(server: &RedisServer) -> Self {
        Self { primaries: vec![server.client()] }
    }

    pub(super) fn of(deployment: &Deployment) -> Self {
        Self { primaries: deployment.clients() }
    }

    /// The only server there is, as on the side of the measure.
    pub(super) fn only(&mut self) -> &mut Client {
        let [only] = self.primaries.as_mut_slice() else { panic!("this side has several servers") };
        only
    }

    /// Each of them.
    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut Client> {
        self.primaries.iter_mut()
    }

    /// The one that has a stored key. No slot moves here.
    pub(super) fn owner(&mut self, key: &[u8]) -> &mut Client {
        let at = self.position(key);
        &mut self.primaries[at]
    }

    fn position(&self, key: &[u8]) -> usize {
        let slot = slot(key);
        let owner = SLOTS.iter().position(|slots| slots.contains(&slot)).expect("every slot has an owner");
        if self.primaries.len() == 1 { 0 } else { owner }
    }

    /// Sends the same to all and returns the replies.
    pub(super) fn call_each(&mut self, line: &str) -> Vec<Vec<u8>> {
        let argv: Vec<&str> = line.split(' ').collect();
        self.each().map(|primary| primary.call(&argv)).collect()
    }

    /// Sends the same to all, who must agree.
    pub(super) fn order(&mut self, argv: &[&str]) {
        for primary in self.each() {
            assert_eq!(b"+OK\r\n".to_vec(), primary.call(argv), "{argv:?}");
        }
    }

    /// Every stored key.
    pub(super) fn keys(&mut self) -> Vec<Vec<u8>> {
        let keys = |primary: &mut Client| {
            let reply = Tree::of(&primary.call(&["KEYS", "*"]));
            reply.elements().iter().map(|key| key.payload().to_vec()).collect::<Vec<_>>()
        };
        self.each().flat_map(keys).collect()
    }

    /// Deletes keys that are there.
    pub(super) fn delete(&mut self, keys: Vec<Vec<u8>>) {
        let load = self.load_of(keys.into_iter().map(|key| vec![b"DEL".to_vec(), key]));
        let replies = self.send(&load);
        assert!(replies.iter().all(|reply| reply == b":1\r\n"), "keys cannot be deleted");
    }

    /// Commands, each with one stored key, sorted by server.
    pub(super) fn load_of(&self, commands: impl Iterator<Item = Vec<Vec<u8>>>) -> Load {
        let mut load = Load { parts: vec![(Vec::new(), 0); self.primaries.len()] };
        for argv in commands {
            let (bytes, replies) = &mut load.parts[self.position(&argv[place_of_key(&argv)])];
            bytes.extend(command(&argv));
            *replies += 1;
        }
        load
    }

    /// Sends what was sorted and returns the replies.
    pub(super) fn send(&mut self, load: &Load) -> Vec<Vec<u8>> {
        let mut replies = Vec::new();
        for (primary, (bytes, expected)) in self.primaries.iter_mut().zip(&load.parts) {
            primary.send(bytes);
            replies.extend(primary.frames(*expected));
        }
        replies
    }

    /// Keys with what the servers make of their contents.
    pub(super) fn digests(&mut self, mut keys: Vec<Vec<u8>>) -> Vec<(Vec<u8>, Vec<u8>)> {
        keys.sort_by_key(|key| self.position(key));
        let ask = |key: &Vec<u8>| vec![b"DEBUG".to_vec(), b"DIGEST-VALUE".to_vec(), key.clone()];
        let load = self.load_of(keys.iter().map(ask));
        let digests =
            self.send(&load).into_iter().map(|reply| Tree::of(&reply).elements()[0].payload().to_vec());
        keys.into_iter().zip(digests.collect::<Vec<_>>()).collect()
    }
}
