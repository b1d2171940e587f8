//! The document of channel options and what is read agree.

use wire::config::Table;

use crate::config::{Namespace, WithoutNamespace};

const DOCUMENT: &str = include_str!("../../../../NAMESPACES.md");

/// Option and default of each row of the first table.
fn documented() -> Vec<(String, String)> {
    let (_, rest) = DOCUMENT.split_once("## Supported").unwrap();
    let (table, _) = rest.split_once("\n## ").unwrap();
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        (cell(cells[1]), cell(cells[2]))
    })
    .collect()
}

#[test]
fn every_option_is_documented_with_its_default_and_no_other() {
    let mut read: Vec<(String, String)> = Namespace::keys()
        .into_iter()
        .map(|key| (key.name.to_owned(), key.default.filter(|_| key.name != "name").unwrap_or_default()))
        .collect();
    let mut documented = documented();
    read.sort();
    documented.sort();
    assert_eq!(documented, read);
}

#[test]
fn channels_without_a_namespace_have_the_same_options() {
    let names = |keys: Vec<wire::config::Key>| keys.into_iter().map(|key| key.name).collect::<Vec<_>>();
    let mut all = names(Namespace::keys());
    all.retain(|name| *name != "name");
    assert_eq!(names(WithoutNamespace::keys()), all);
}
