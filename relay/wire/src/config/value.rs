//! Values as the file has them, each with its line; and the search for the nearest known name.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Shape;

/// A value and the line it stands on (0 for one from the environment).
#[derive(Clone, PartialEq, Debug)]
pub struct Value {
    /// Counted from 1.
    pub line: usize,
    /// What it is.
    pub data: Data,
}

/// What a value is.
#[derive(Clone, PartialEq, Debug)]
pub enum Data {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i128),
    /// `true` or `false`.
    Bool(bool),
    /// An array, of values or of tables.
    List(Vec<Value>),
    /// A table, in the order of the lines.
    Table(Vec<(String, Value)>),
    /// What no key takes: a float or a date, described.
    Other(&'static str),
}

impl Value {
    /// How an error names it.
    pub fn describe(&self) -> String {
        match &self.data {
            Data::Text(text) => format!("the text {text:?}"),
            Data::Integer(number) => format!("the number {number}"),
            Data::Bool(value) => value.to_string(),
            Data::List(_) => "a list".to_owned(),
            Data::Table(_) => "a table".to_owned(),
            Data::Other(what) => (*what).to_owned(),
        }
    }
}

/// Parses TOML; the error is a line and what is wrong there.
pub(super) fn parse(text: &str) -> Result<Value, (usize, String)> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        (line, error.message().to_owned())
    })?;
    Ok(Value { line: 1, data: convert_table(text, table.get_ref()) })
}

fn convert(text: &str, value: &Spanned<DeValue<'_>>) -> Value {
    let line = line_of(text, value.span().start);
    let data = match value.get_ref() {
        DeValue::String(text) => Data::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or(Data::Other("a number beyond all bounds"), Data::Integer),
        DeValue::Boolean(value) => Data::Bool(*value),
        DeValue::Array(items) => Data::List(items.iter().map(|item| convert(text, item)).collect()),
        DeValue::Table(table) => convert_table(text, table),
        DeValue::Float(_) => Data::Other("a number with a fraction"),
        DeValue::Datetime(_) => Data::Other("a date"),
    };
    Value { line, data }
}

fn convert_table(text: &str, table: &DeTable<'_>) -> Data {
    let mut entries: Vec<(usize, String, Value)> = table
        .iter()
        .map(|(key, value)| {
            let start = key.span().start;
            let value = Value { line: line_of(text, start), ..convert(text, value) };
            (start, key.get_ref().clone().into_owned(), value)
        })
        .collect();
    entries.sort_by_key(|(start, ..)| *start);
    Data::Table(entries.into_iter().map(|(_, key, value)| (key, value)).collect())
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}

/// A variable's text as the value at the end of `path`.
pub(super) fn nested(path: &[&str], shape: &Shape, text: &str) -> Value {
    let data = match shape {
        Shape::Text(_) => Data::Text(text.to_owned()),
        _ => match text.trim() {
            "true" => Data::Bool(true),
            "false" => Data::Bool(false),
            number => number.parse().map_or_else(|_| Data::Text(text.to_owned()), Data::Integer),
        },
    };
    path.iter().rev().fold(Value { line: 0, data }, |inner, key| Value {
        line: 0,
        data: Data::Table(vec![((*key).to_owned(), inner)]),
    })
}

/// The known name nearest to `name`, if any is near enough to be meant: at most a third of the letters differ.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= (known.len().max(name.len()) / 3).max(1))
        .map(|(_, known)| known)
}
