//! What was written, before anybody asks what it means: a tree of values, each with its place.
//!
//! The file is the first layer; environment and flags are laid over it (`layers.rs`), so that every later
//! error points at where the value came from. This is a tree and not a set of `serde` structs because
//! deserialisation stops at the first error, and an operator is owed all of them at once.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Finding, Place, ShapeMistake};

/// Something and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<T> {
    /// It.
    pub value: T,
    /// Where.
    pub place: Place,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction, as it was written.
    Fraction(String),
    /// A truth.
    Truth(bool),
    /// A list, or `[[sections]]`.
    List(Vec<Written<Value>>),
    /// A `[section]` or inline table.
    Table(Table),
    /// What no key takes: a date. Its name, for the report.
    Other(&'static str),
}

impl Value {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number, if it is one.
    pub fn as_integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }

    /// The list, if it is one.
    pub fn as_list(&self) -> Option<&[Written<Value>]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    /// The section, if it is one.
    pub fn as_table(&self) -> Option<&Table> {
        if let Self::Table(table) = self { Some(table) } else { None }
    }

    /// What it is, with its article.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Fraction(_) => "a number with a fraction",
            Self::Truth(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a section",
            Self::Other(name) => name,
        }
    }
}

/// A section's entries by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    entries: BTreeMap<String, Entry>,
}

/// One key of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where its name stands.
    pub key_place: Place,
    /// Its value.
    pub value: Written<Value>,
}

impl Table {
    /// A section without keys.
    pub const EMPTY: Self = Self { entries: BTreeMap::new() };

    /// Reads TOML; every syntax error is a finding.
    pub fn from_toml(text: &str) -> Result<Self, Vec<Finding>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let lines = Lines::of(text);
        if errors.is_empty() {
            return Ok(lines.table(table.get_ref()));
        }
        let finding = |error: toml::de::Error| Finding {
            place: lines.place(error.span().map_or(0, |span| span.start)),
            key: String::new(),
            mistake: ShapeMistake::Syntax { message: error.message().to_owned() }.into(),
        };
        Err(errors.into_iter().map(finding).collect())
    }

    /// The entry of a key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Its keys, in the order they were written.
    pub fn in_order(&self) -> Vec<(&str, &Entry)> {
        let mut all: Vec<(&str, &Entry)> =
            self.entries.iter().map(|(key, entry)| (key.as_str(), entry)).collect();
        all.sort_by(|(_, a), (_, b)| a.key_place.cmp(&b.key_place));
        all
    }

    /// Lays a value over what is there.
    pub fn set(&mut self, key: &str, value: Written<Value>) {
        let key_place = value.place.clone();
        self.entries.insert(key.to_owned(), Entry { key_place, value });
    }

    /// The section `key`, made at `place` if there is none; `None` if something else stands there.
    pub fn section(&mut self, key: &str, place: &Place) -> Option<&mut Table> {
        match self.value(key, place, || Value::Table(Table::default())) {
            Value::Table(table) => Some(table),
            Value::Text(_)
            | Value::Integer(_)
            | Value::Fraction(_)
            | Value::Truth(_)
            | Value::List(_)
            | Value::Other(_) => None,
        }
    }

    /// Section number `index` (from 0) of the list `key`; made at `place` if it is the next one.
    pub fn section_of_list(&mut self, key: &str, index: usize, place: &Place) -> Option<&mut Table> {
        let Value::List(list) = self.value(key, place, || Value::List(Vec::new())) else { return None };
        if index == list.len() {
            list.push(Written { value: Value::Table(Table::default()), place: place.clone() });
        }
        match list.get_mut(index) {
            Some(Written { value: Value::Table(table), .. }) => Some(table),
            _ => None,
        }
    }

    /// How many entries the section or list `key` has.
    pub fn count_in(&self, key: &str) -> usize {
        match self.get(key).map(|entry| &entry.value.value) {
            Some(Value::Table(table)) => table.entries.len(),
            Some(Value::List(list)) => list.len(),
            _ => 0,
        }
    }

    /// The keys of the section `key`.
    pub fn names_in(&self, key: &str) -> Vec<&str> {
        match self.get(key).map(|entry| &entry.value.value) {
            Some(Value::Table(table)) => table.entries.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    fn value(&mut self, key: &str, place: &Place, absent: impl FnOnce() -> Value) -> &mut Value {
        let entry = self.entries.entry(key.to_owned()).or_insert_with(|| Entry {
            key_place: place.clone(),
            value: Written { value: absent(), place: place.clone() },
        });
        &mut entry.value.value
    }
}

/// Where each line of a file begins, to turn byte offsets into places.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|at| self.starts.get(at)).copied().unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        Place::File { line, column: before.chars().count() + 1 }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| Entry {
            key_place: self.place(key.span().start),
            value: self.value(value),
        };
        let entries = table.iter().map(|pair| (pair.0.get_ref().to_string(), entry(pair))).collect();
        Table { entries }
    }

    fn value(&self, value: &Spanned<DeValue<'_>>) -> Written<Value> {
        let place = self.place(value.span().start);
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Value::Other("too large a number"), Value::Integer),
            DeValue::Boolean(truth) => Value::Truth(*truth),
            DeValue::Array(list) => Value::List(list.iter().map(|item| self.value(item)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
            DeValue::Float(number) => Value::Fraction(number.as_str().to_owned()),
            DeValue::Datetime(_) => Value::Other("a date"),
        };
        Written { value, place }
    }
}
