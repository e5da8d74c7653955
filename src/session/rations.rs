//! One worker's part of what tenants and users may take.
//!
//! Shares and quotas are made when the first connection needs them. What a share holds and does not use is handed in by
//! the worker's timer.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use super::quota::{Quota, Share};
use crate::tenant::directory::{Binding, Directory};
use crate::tenant::limits::Limits;

/// The quotas of all bindings, as far as this worker has had connections of them.
pub(super) struct Rations {
    /// By the number of the limits.
    shares: Box<[OnceCell<Rc<Share>>]>,
    /// By the number of the binding's quota.
    quotas: Box<[OnceCell<Rc<Quota>>]>,
}

impl Rations {
    /// Nobody has been here.
    pub(super) fn new(directory: &Directory) -> Self {
        Self {
            shares: directory.limits().iter().map(|_| OnceCell::new()).collect(),
            quotas: (0..directory.quotas()).map(|_| OnceCell::new()).collect(),
        }
    }

    /// The quota of `binding`, which has this number.
    #[inline]
    pub(super) fn of(&self, number: usize, binding: &Binding) -> Option<&Rc<Quota>> {
        Some(self.quotas.get(number)?.get_or_init(|| self.quota(binding)))
    }

    #[cold]
    fn quota(&self, binding: &Binding) -> Rc<Quota> {
        let shares = binding.limits().iter().filter_map(|limits| self.share(limits));
        Rc::new(Quota::new(shares.collect()))
    }

    fn share(&self, limits: &Arc<Limits>) -> Option<Rc<Share>> {
        let share = self.shares.get(limits.number)?;
        Some(Rc::clone(share.get_or_init(|| Rc::new(Share::new(Arc::clone(limits))))))
    }

    /// Gives back what this worker holds and does not use.
    pub(super) fn hand_in(&self) {
        self.shares.iter().filter_map(OnceCell::get).for_each(|share| share.hand_in());
    }
}
