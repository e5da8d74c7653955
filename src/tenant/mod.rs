//! Isolation, reviewed in one place: who a connection belongs to, how its requests get the prefix, how
//! replies lose it.

// Isolation must not depend on a wrapped number or a wrong index.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)
)]

pub mod compression;
pub mod cursor;
pub mod directory;
pub mod events;
pub mod keyspace;
pub mod lifetime;
pub mod limits;
mod listing;
pub mod prefix;
pub mod reply;
pub mod requests;
pub mod rules;
pub mod scope;
pub mod secret;
pub mod sizes;
pub mod split;

pub use reply::ReplyPlan;
pub use rules::Rules;
pub use scope::{Keyed, OwnedScoped, Scoped, UpstreamLimits, scope};
pub use split::{SplitPart, split};

/// What a listener binds to: a tenant `acme` with 16 databases of this kind.
#[cfg(test)]
pub(crate) fn example_binding(database_kind: directory::DatabaseKind) -> std::sync::Arc<directory::Binding> {
    let name = prefix::TenantName::parse("acme").expect("valid");
    example_binding_of(database_kind, name.default_prefix())
}

/// The same with all its keys in one slot.
#[cfg(test)]
pub(crate) fn example_colocated_binding() -> std::sync::Arc<directory::Binding> {
    example_binding_of(directory::DatabaseKind::Virtual, prefix::Prefix::unchecked("{acme}:"))
}

#[cfg(test)]
fn example_binding_of(
    database_kind: directory::DatabaseKind,
    prefix: prefix::Prefix,
) -> std::sync::Arc<directory::Binding> {
    let name = prefix::TenantName::parse("acme").expect("valid");
    let entry = directory::TenantEntry {
        prefix,
        name: name.clone(),
        upstream: 0,
        databases: 16,
        database_kind,
        has_cluster_persona: false,
        order: directory::Order::Strict,
        read_from: directory::ReadFrom::Primary,
        on_unavailable: directory::OnUnavailable::Error,
        weight: 1,
        has_listener: true,
        rules: Rules::default(),
        users: Vec::new(),
        limits: None,
    };
    let directory = directory::Directory::new(&[entry]).expect("valid");
    directory.listener_binding(&name).expect("has a listener")
}

/// Database 0 of a tenant `acme`.
#[cfg(test)]
pub(crate) fn example_namespace() -> std::sync::Arc<directory::Namespace> {
    let binding = example_binding(directory::DatabaseKind::Virtual);
    std::sync::Arc::clone(binding.namespace(0).expect("in range"))
}
