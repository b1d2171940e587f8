//! The documented default file, printed from the same table that reads it.

use std::fmt::Write;

use super::{Key, Shape, Table};

/// The default configuration of `T` as TOML with prose. Loading it gives the defaults; what is unset, and lists of tables,
/// stand commented out.
pub fn document<T: Table>(title: &str) -> String {
    let mut out = String::new();
    for line in title.lines() {
        prose(&mut out, line);
    }
    table(&mut out, &T::keys(), "", "");
    out
}

/// Values first, then sub-tables: TOML has no way back out of a table.
fn table(out: &mut String, keys: &[Key], path: &str, comment: &str) {
    let inner =
        |key: &Key| if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
    for key in keys {
        if !matches!(&key.shape, Shape::Table(_)) && tables(&key.shape).is_none() {
            out.push('\n');
            value(out, key, comment);
        }
    }
    for key in keys {
        let path = inner(key);
        match (&key.shape, tables(&key.shape)) {
            (Shape::Table(keys), _) => section(out, key, keys, (&format!("[{path}]"), &path), comment),
            (_, Some(keys)) => section(out, key, keys, (&format!("[[{path}]]"), &path), "# "),
            _ => {}
        }
    }
}

/// The keys of a list of tables.
fn tables(shape: &Shape) -> Option<&[Key]> {
    match shape {
        Shape::List(item) => match item.as_ref() {
            Shape::Table(keys) => Some(keys),
            _ => None,
        },
        _ => None,
    }
}

fn section(out: &mut String, key: &Key, keys: &[Key], (head, path): (&str, &str), comment: &str) {
    out.push('\n');
    key.prose.iter().for_each(|line| prose(out, line));
    writeln!(out, "{comment}{head}").unwrap_or_default();
    table(out, keys, path, comment);
}

fn value(out: &mut String, key: &Key, comment: &str) {
    key.prose.iter().for_each(|line| prose(out, line));
    match &key.default {
        Some(default) => writeln!(out, "{comment}{} = {default}", key.name),
        None => writeln!(out, "# {} is unset; {}", key.name, key.shape.allowed()),
    }
    .unwrap_or_default();
}

fn prose(out: &mut String, line: &str) {
    writeln!(out, "# {}", line.trim()).unwrap_or_default();
}
