//! What Redis says about a command.
//!
//! `TABLE` holds every command that a known server has, as data; `identify` finds the row of a request
//! and `locate` the arguments that name something. A command that is not in the table is refused, and so is
//! a request whose names cannot be located: what the proxy does not understand is never forwarded.

mod absent;
mod category;
mod document;
pub mod glob;
mod identify;
mod keys;
mod selection;
mod service;
pub mod slot;
mod spec;
mod table;
mod values;
mod word;

pub use absent::Absent;
pub use document::commands_markdown;
pub use identify::{Unidentified, find, identify};
pub use keys::{Located, Mark, Unlocatable, locate};
pub use selection::{Selection, SelectionError};
pub use service::{Lacks, Service};
pub use spec::{
    Access, CommandSpec, Connection, Evidence, Flags, Gather, Group, Listing, Merge, NameKind, NameSpec,
    Operands, Opt, Release, ReplyRule, Routing, Since, Subcommands, Verdict,
};
pub use table::{COMMANDS, TABLE};
pub use values::{Shows, Unless, Values};
