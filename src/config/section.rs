//! One section of the document, read by the rows of the key table.
//!
//! Every reader returns something to go on with (the default, where the written value is wrong) and notes
//! what it found, so that one pass over the document finds everything. What goes on after a finding is never
//! used: a configuration with findings is refused as a whole.

use std::cell::RefCell;
use std::time::Duration;

use super::document::{Entry, Table, Value, Written};
use super::keys::{AUTO, Fallback, Key, Kind, Section};
use super::mistake::{Expected, Finding, Mistake, Place, ShapeMistake, ValueMistake};
use super::{reference, units};
use crate::settings::Amount;

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Findings(RefCell<Vec<Finding>>);

impl Findings {
    pub(super) fn add(&self, place: &Place, key: impl Into<String>, mistake: impl Into<Mistake>) {
        let finding = Finding { place: place.clone(), key: key.into(), mistake: mistake.into() };
        self.0.borrow_mut().push(finding);
    }

    pub(super) fn extend(&self, more: Vec<Finding>) {
        self.0.borrow_mut().extend(more);
    }

    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.0.into_inner()
    }
}

static EMPTY: Table = Table::EMPTY;

/// A section being read.
pub(super) struct Reader<'d> {
    section: Section,
    /// As in `upstream.main`; empty for the top.
    path: String,
    place: Place,
    table: &'d Table,
    findings: &'d Findings,
}

impl<'d> Reader<'d> {
    pub(super) fn top(table: &'d Table, findings: &'d Findings) -> Self {
        Self::new(Section::Top, String::new(), Place::Whole, table, findings)
    }

    fn new(section: Section, path: String, place: Place, table: &'d Table, findings: &'d Findings) -> Self {
        let reader = Self { section, path, place, table, findings };
        for (key, entry) in table.in_order() {
            if section.key(key).is_none() && !section.subsections().contains(&key) {
                let mistake = ShapeMistake::unknown_key(section, key);
                findings.add(&entry.key_place, reader.path_of(key), mistake);
            }
        }
        reader
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Where the section begins.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn findings(&self) -> &'d Findings {
        self.findings
    }

    /// Notes a mistake of one of its keys.
    pub(super) fn refuse(&self, key: &str, mistake: impl Into<Mistake>) {
        self.findings.add(&self.place_of(key), self.path_of(key), mistake);
    }

    /// What is written as a key's value.
    pub(super) fn written(&self, key: &str) -> Option<&'d Written<Value>> {
        self.table.get(key).map(|entry| &entry.value)
    }

    /// Whether a key is written, well or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// Where the value of a key stands, or else the section.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.table.get(key).map_or_else(|| self.place.clone(), |entry| entry.value.place.clone())
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The section `[name]`; an empty one if it is not there.
    pub(super) fn section(&self, section: Section, name: &str) -> Reader<'d> {
        let (table, place) = match self.table.get(name) {
            Some(Entry { value: Written { value: Value::Table(table), .. }, key_place }) => {
                (table, key_place.clone())
            }
            Some(entry) => {
                self.refuse_type(name, Expected::Table, &entry.value.value);
                (&EMPTY, entry.key_place.clone())
            }
            None => (&EMPTY, Place::Whole),
        };
        Reader::new(section, self.path_of(name), place, table, self.findings)
    }

    /// Every X of `[name.X]`, whether it is a section or not.
    pub(super) fn names_in(&self, name: &str) -> Vec<String> {
        let table = self.table.get(name).and_then(|entry| entry.value.value.as_table());
        let names = table.map(Table::in_order).unwrap_or_default().into_iter();
        names.map(|(name, _)| name.to_owned()).collect()
    }

    /// The sections `[name.X]` with their X, in the order they were written.
    pub(super) fn named_sections(&self, section: Section, name: &str) -> Vec<(&'d str, Reader<'d>)> {
        let Some(entry) = self.table.get(name) else { return Vec::new() };
        let Some(all) = entry.value.value.as_table() else {
            self.refuse_type(name, Expected::Table, &entry.value.value);
            return Vec::new();
        };
        let read = |(key, entry): (&'d str, &'d Entry)| {
            let path = format!("{}.{key}", self.path_of(name));
            Some((key, self.subsection(section, path, &entry.key_place, &entry.value)?))
        };
        all.in_order().into_iter().filter_map(read).collect()
    }

    /// The sections `[[name]]`; the first has number 1.
    pub(super) fn listed_sections(&self, section: Section, name: &str) -> Vec<Reader<'d>> {
        let Some(entry) = self.table.get(name) else { return Vec::new() };
        let Some(all) = entry.value.value.as_list() else {
            self.refuse_type(name, Expected::Tables, &entry.value.value);
            return Vec::new();
        };
        let read = |(number, item): (usize, &'d Written<Value>)| {
            self.subsection(section, format!("{}[{number}]", self.path_of(name)), &item.place, item)
        };
        (1..).zip(all).filter_map(read).collect()
    }

    fn subsection(
        &self,
        section: Section,
        path: String,
        place: &Place,
        written: &'d Written<Value>,
    ) -> Option<Reader<'d>> {
        if let Some(table) = written.value.as_table() {
            return Some(Reader::new(section, path, place.clone(), table, self.findings));
        }
        let mistake = ShapeMistake::WrongType { expected: Expected::Table, found: written.value.type_name() };
        self.findings.add(&written.place, path, mistake);
        None
    }

    /// A text, checked by the caller; `None` if it is not there (noted, if it is required).
    pub(super) fn text(&self, name: &str) -> Option<&'d str> {
        let key = self.key(name);
        match (self.table.get(name).map(|entry| &entry.value.value), key.fallback) {
            (Some(Value::Text(text)), _) => Some(text),
            (Some(other), _) => {
                self.refuse_type(name, Expected::Value(key.kind), other);
                None
            }
            (None, Fallback::Text(text)) => Some(text),
            (None, Fallback::Required) => {
                self.refuse(name, ShapeMistake::Missing { example: value_line(key) });
                None
            }
            (None, Fallback::Absent(_) | Fallback::Integer(_) | Fallback::Truth(_)) => None,
        }
    }

    /// One of the words that the key takes.
    pub(super) fn choice(&self, name: &str) -> &'d str {
        let key = self.key(name);
        let Kind::Choice(words) = key.kind else { return "" };
        let chosen = self.text(name).unwrap_or_default();
        if !words.contains(&chosen) && self.is_text(name) {
            self.refuse(name, ValueMistake::Choice { words });
        }
        chosen
    }

    pub(super) fn truth(&self, name: &str) -> bool {
        let key = self.key(name);
        let default = matches!(key.fallback, Fallback::Truth(true));
        match self.table.get(name).map(|entry| (&entry.value.value, &entry.value.place)) {
            None => default,
            Some((Value::Truth(truth), _)) => *truth,
            Some((Value::Text(text), place))
                if !is_file(place) && matches!(text.as_str(), "true" | "false") =>
            {
                text == "true"
            }
            Some((other, _)) => {
                self.refuse_type(name, Expected::Value(key.kind), other);
                default
            }
        }
    }

    /// A whole number within the key's range; `None` if it is not there or wrong.
    pub(super) fn written_integer(&self, name: &str) -> Option<u64> {
        let key = self.key(name);
        let entry = self.table.get(name)?;
        let Written { value, place } = &entry.value;
        let digits = value.as_text().filter(|text| !is_file(place) && is_digits(text));
        if let Some(number) = value.as_integer() {
            self.within_range(key, u64::try_from(number).ok())
        } else if let Some(digits) = digits {
            self.within_range(key, digits.parse().ok())
        } else {
            self.refuse_type(name, Expected::Value(key.kind), value);
            None
        }
    }

    /// A whole number, or its default.
    pub(super) fn integer(&self, name: &str) -> u64 {
        let default = match self.key(name).fallback {
            Fallback::Integer(number) => number,
            Fallback::Text(_) | Fallback::Truth(_) | Fallback::Absent(_) | Fallback::Required => 0,
        };
        self.written_integer(name).unwrap_or(default)
    }

    /// A whole number or size as a count of things in memory.
    pub(super) fn count(&self, name: &str) -> usize {
        usize::try_from(self.integer(name)).unwrap_or(usize::MAX)
    }

    /// A size in bytes.
    pub(super) fn size(&self, name: &str) -> usize {
        let key = self.key(name);
        let bytes = self.written_bytes(key);
        usize::try_from(bytes.unwrap_or_else(|| default_of(key, units::parse_size))).unwrap_or(usize::MAX)
    }

    /// A size, if one is written.
    pub(super) fn written_size(&self, name: &str) -> Option<usize> {
        self.has(name).then(|| self.size(name))
    }

    /// A size or a percentage; `None` if it is not there, left to the program (`auto`), or wrong.
    pub(super) fn amount(&self, name: &str) -> Option<Amount> {
        let key = self.key(name);
        let written = self.table.get(name)?.value.value.as_text();
        if written.is_some_and(|text| text == AUTO) && key.fallback == Fallback::Text(AUTO) {
            return None;
        }
        let Some(percent) = written.and_then(|text| text.strip_suffix('%')) else {
            return self.written_bytes(key).map(Amount::Bytes);
        };
        let percent = percent.trim_end().parse().ok().filter(|percent| (1..=100).contains(percent));
        if percent.is_none() {
            self.refuse(name, ValueMistake::OutOfRange { kind: key.kind });
        }
        percent.map(Amount::Percent)
    }

    /// A duration.
    pub(super) fn duration(&self, name: &str) -> Duration {
        let key = self.key(name);
        let milliseconds = |text: &str| {
            units::parse_duration(text)
                .map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
        };
        let found = self.quantity(key, milliseconds).unwrap_or_else(|| default_of(key, milliseconds));
        Duration::from_millis(found)
    }

    /// A list of texts, each with its place; from a variable, separated by commas. `None` if it is not there
    /// (noted, if it is required).
    pub(super) fn texts(&self, name: &str) -> Option<Vec<Written<&'d str>>> {
        let key = self.key(name);
        let Some(Entry { value: Written { value, place }, .. }) = self.table.get(name) else {
            if key.fallback == Fallback::Required {
                self.refuse(name, ShapeMistake::Missing { example: value_line(key) });
            }
            return None;
        };
        if let Some(list) = value.as_list() {
            return Some(list.iter().filter_map(|item| self.text_of(key, item)).collect());
        }
        if let Some(text) = value.as_text().filter(|_| !is_file(place)) {
            let items = text.split(',').map(|item| Written { value: item.trim(), place: place.clone() });
            return Some(items.collect());
        }
        self.refuse_type(name, Expected::Value(key.kind), value);
        None
    }

    fn text_of(&self, key: &Key, item: &'d Written<Value>) -> Option<Written<&'d str>> {
        if let Some(text) = item.value.as_text() {
            return Some(Written { value: text, place: item.place.clone() });
        }
        let mistake =
            ShapeMistake::WrongType { expected: Expected::Value(Kind::Text), found: item.value.type_name() };
        self.findings.add(&item.place, self.path_of(key.name), mistake);
        None
    }

    /// Bytes as they are written, with or without a unit.
    fn written_bytes(&self, key: &Key) -> Option<u64> {
        match self.table.get(key.name).map(|entry| &entry.value.value) {
            Some(Value::Integer(number)) => self.within_range(key, u64::try_from(*number).ok()),
            _ => self.quantity(key, units::parse_size),
        }
    }

    fn quantity(&self, key: &Key, parse: impl Fn(&str) -> Result<u64, units::UnitError>) -> Option<u64> {
        let text = self.text(key.name)?;
        match parse(text) {
            Ok(amount) => self.within_range(key, Some(amount)),
            Err(error) => {
                self.refuse(key.name, ValueMistake::Unit { kind: key.kind, error });
                None
            }
        }
    }

    fn within_range(&self, key: &Key, number: Option<u64>) -> Option<u64> {
        let range = match key.kind {
            Kind::Integer { least, most }
            | Kind::Size { least, most }
            | Kind::Amount { least, most }
            | Kind::Duration { least, most } => least..=most,
            Kind::Text | Kind::Texts | Kind::Truth | Kind::Choice(_) | Kind::Rate => 0..=u64::MAX,
        };
        let fitting = number.filter(|number| range.contains(number));
        if fitting.is_none() {
            self.refuse(key.name, ValueMistake::OutOfRange { kind: key.kind });
        }
        fitting
    }

    fn is_text(&self, name: &str) -> bool {
        matches!(self.table.get(name).map(|entry| &entry.value.value), Some(Value::Text(_)))
    }

    fn refuse_type(&self, name: &str, expected: Expected, found: &Value) {
        self.refuse(name, ShapeMistake::WrongType { expected, found: found.type_name() });
    }

    fn key(&self, name: &str) -> &'static Key {
        self.section.key(name).expect("every key that is read has its row: the tests read all of them")
    }
}

fn value_line(key: &Key) -> String {
    format!("{} = {}", key.name, reference::value(key))
}

fn default_of(key: &Key, parse: impl Fn(&str) -> Result<u64, units::UnitError>) -> u64 {
    match key.fallback {
        Fallback::Text(text) => parse(text).unwrap_or_default(),
        Fallback::Integer(_) | Fallback::Truth(_) | Fallback::Absent(_) | Fallback::Required => 0,
    }
}

/// Environment and flags know only texts.
fn is_file(place: &Place) -> bool {
    matches!(place, Place::File { .. })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
