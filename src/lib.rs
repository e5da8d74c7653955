//! Tenantry: many tenants, one Redis, no change to the application.
//!
//! The modules stand in the order in which a command travels; `ARCHITECTURE.md` walks one through them. Each
//! module's own first lines say what it is for.

pub mod cli;
pub mod config;
pub mod settings;

pub mod proxy;

pub mod worker;

pub mod listener;

pub mod session;

pub mod resp;

pub mod command;

pub mod tenant;

pub mod policy;

pub mod memory;

pub mod clients;

pub mod routing;

pub mod upstream;

pub mod fleet;

pub mod metrics;

pub mod admin;

pub mod explain;

pub mod check;

pub mod dev;

pub mod clock;
pub mod socket;
