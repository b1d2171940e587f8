//! Configuration files of every program: one typed table makes parsing, refusal of unknown keys, environment overrides
//! and the documented default file.
//!
//! Owns reading text into a [`Table`] and saying, with file and line, what is wrong with it. Never opens a file, and
//! never decides whether values fit each other: that is each program's check, which reports through [`Places::problem`].

mod address;
mod document;
mod field;
mod secret;
mod table;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

pub use address::private;
pub use document::document;
pub use field::{Field, Shape, duration_text};
pub use secret::Secret;
pub use table::{Key, Table};
pub use value::{Data, Value};

/// How many problems one refusal lists; the rest is counted.
pub const PROBLEMS_MAX: usize = 20;

/// What was read and where each key of it stands.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The values: defaults, then the file, then the environment.
    pub value: T,
    /// Where they came from.
    pub places: Places,
}

/// Where each key was set, so that a later check can still name file and line.
#[derive(Debug, Default)]
pub struct Places {
    file: String,
    lines: BTreeMap<String, Place>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    Line(usize),
    Variable(String),
}

/// One thing wrong, in one sentence that begins with the place.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Problem {
    place: Option<Place>,
    file: String,
    text: String,
}

/// Everything wrong with a configuration; one line each.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct ConfigError(pub Vec<Problem>);

/// What a [`Field`] reads from: collects problems and places while values are taken.
#[derive(Debug)]
pub struct Reader {
    file: String,
    variable: Option<String>,
    path: String,
    places: BTreeMap<String, Place>,
    problems: Vec<Problem>,
}

/// Reads `text` (the contents of `file`, which is only named), then those of `variables` that begin with `prefix`.
///
/// `HEADLAND_RELAY_CLIENT_PING_INTERVAL=10s` sets `ping_interval` in `[client]` when `prefix` is `HEADLAND_RELAY_`: every
/// single value of a table can be set so, lists cannot. Unknown keys and unknown variables with the prefix are refused.
pub fn load<T: Table>(
    file: &str,
    text: &str,
    prefix: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded<T>, ConfigError> {
    let mut reader = Reader::new(file);
    let mut target = T::default();
    match value::parse(text) {
        Ok(values) => target.read_all(&mut reader, &values),
        Err((line, what)) => reader.report(Some(Place::Line(line)), format!("not TOML: {what}")),
    }
    override_from(&mut target, &mut reader, prefix, variables);
    if reader.problems.is_empty() {
        Ok(Loaded { value: target, places: Places { file: reader.file, lines: reader.places } })
    } else {
        reader.problems.sort();
        Err(ConfigError(reader.problems))
    }
}

fn override_from<T: Table>(
    target: &mut T,
    reader: &mut Reader,
    prefix: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) {
    let mut known = BTreeMap::new();
    collect_variables(&T::keys(), prefix, &mut Vec::new(), &mut known);
    for (name, text) in variables {
        if !name.starts_with(prefix) {
            continue;
        }
        match known.get(&name) {
            Some((path, shape)) => {
                reader.variable = Some(name);
                target.read_all(reader, &value::nested(path, shape, &text));
            }
            None => {
                let near = value::nearest(&name, known.keys().map(String::as_str));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
                reader.variable = Some(name);
                reader.problem_here(format!("unknown variable{hint}"));
            }
        }
        reader.variable = None;
    }
}

/// Every single value's variable name, with the path of keys that it sets.
fn collect_variables(
    keys: &[Key],
    prefix: &str,
    path: &mut Vec<&'static str>,
    known: &mut BTreeMap<String, (Vec<&'static str>, Shape)>,
) {
    for key in keys {
        let name = format!("{prefix}{}", key.name.to_ascii_uppercase());
        path.push(key.name);
        match &key.shape {
            Shape::Table(inner) => collect_variables(inner, &format!("{name}_"), path, known),
            Shape::List(_) => {}
            shape => {
                known.insert(name, (path.clone(), shape.clone()));
            }
        }
        path.pop();
    }
}

impl Reader {
    fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            variable: None,
            path: String::new(),
            places: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// Refuses a value: says what was found and what is allowed.
    pub fn expected(&mut self, value: &Value, allowed: &str) {
        let found = value.describe();
        self.refuse(value, &format!("found {found}, expected {allowed}"));
    }

    /// Refuses a value in the caller's words; the place and the key are put before them.
    pub fn refuse(&mut self, value: &Value, text: &str) {
        let text =
            if self.variable.is_some() { text.to_owned() } else { format!("{}: {text}", label(&self.path)) };
        let place = self.place(value.line);
        self.report(Some(place), text);
    }

    /// Reads the value of a key one level down: `.name` or `[index]`.
    fn descend(&mut self, step: &str, line: usize, read: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        let place = self.place(line);
        self.places.insert(self.path.clone(), place);
        read(self);
        self.path.truncate(length);
    }

    fn unknown(&mut self, key: &str, line: usize, known: &[Key]) {
        let near = value::nearest(key, known.iter().map(|known| known.name));
        let names = || known.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
        let hint = near.map_or_else(
            || format!("; allowed here: {}", names()),
            |near| format!("; did you mean '{near}'?"),
        );
        let table = table_label(&self.path);
        let place = self.place(line);
        self.report(Some(place), format!("unknown key '{key}' {table}{hint}"));
    }

    fn place(&self, line: usize) -> Place {
        self.variable.clone().map_or(Place::Line(line), Place::Variable)
    }

    fn problem_here(&mut self, text: String) {
        let place = self.variable.clone().map(Place::Variable);
        self.report(place, text);
    }

    fn report(&mut self, place: Option<Place>, text: String) {
        self.problems.push(Problem { place, file: self.file.clone(), text });
    }
}

impl Places {
    /// A problem found by a check, placed at the key `path` (as in `channel.namespaces[2].history_ttl`). A key that was not
    /// set is placed where its table stands.
    pub fn problem(&self, path: &str, text: &str) -> Problem {
        let mut place = self.lines.get(path);
        let mut outer = path;
        while place.is_none() && !outer.is_empty() {
            let cut = outer.rfind(['.', '[']).unwrap_or(0);
            outer = &outer[..cut];
            place = self.lines.get(outer);
        }
        Problem { place: place.cloned(), file: self.file.clone(), text: format!("{}: {text}", label(path)) }
    }

    /// Whether the key was set at all (in the file or by the environment).
    pub fn set(&self, path: &str) -> bool {
        self.lines.contains_key(path)
    }
}

/// `'history_ttl' in [[channel.namespaces]]`.
fn label(path: &str) -> String {
    let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
    format!("'{}' {}", key, table_label(table))
}

/// `in [client.token]`, `in [[channel.namespaces]]`, `at the top level`.
fn table_label(path: &str) -> String {
    let name: String =
        path.split('.').map(|step| step.split('[').next().unwrap_or(step)).collect::<Vec<_>>().join(".");
    match path {
        "" => "at the top level".to_owned(),
        path if path.ends_with(']') => format!("in [[{name}]]"),
        _ => format!("in [{name}]"),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(Place::Line(line)) => write!(f, "{}:{line}: {}", self.file, self.text),
            Some(Place::Variable(name)) => write!(f, "{name}: {}", self.text),
            None => write!(f, "{}: {}", self.file, self.text),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().take(PROBLEMS_MAX).enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        match self.0.len().saturating_sub(PROBLEMS_MAX) {
            0 => Ok(()),
            more => write!(f, "\n... and {more} more"),
        }
    }
}
