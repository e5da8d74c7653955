//! `commands` in the words of Redis' ACL, wherever some of the commands are meant: of tenants and users, and of classes.
//!
//! One reader for all of them, so that the same mistake is told in the same words.

use super::mistake::ValueMistake;
use super::section::Reader;
use crate::command::Selection;

/// What `commands` says; `None`: it is not written, or wrong, which is noted.
pub(super) fn written(reader: &Reader<'_>) -> Option<Selection> {
    match Selection::parse(Selection::NONE, reader.text("commands")?) {
        Ok(Selection::NONE) => reader.refuse("commands", ValueMistake::ChoosesNothing),
        Ok(chosen) => return Some(chosen),
        Err(error) => reader.refuse("commands", ValueMistake::Rule(error)),
    }
    None
}

/// The commands of a class: as `commands` says, or else its name. `None` only with findings.
pub(super) fn of_class(name: &str, class: &Reader<'_>) -> Option<Selection> {
    if class.has("commands") {
        return written(class);
    }
    let named = Selection::of_class(name);
    if named.is_none() {
        class.findings().add(class.place(), class.path(), ValueMistake::Class);
    }
    named
}
