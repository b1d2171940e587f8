//! The edges' names and addresses, from the configuration or a file, and what was last wrong with each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use relay::mesh::{List, NotAList};

use crate::files;
use crate::limits::{FILE_BYTES_MAX, MESH_NOTES_MAX};

/// An edge as it is configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Host and port.
    pub(crate) address: String,
}

/// Why there is no list of edges.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The names.
    #[error(transparent)]
    List(#[from] NotAList),
    /// The file.
    #[error("{0}: {1}")]
    File(String, String),
    /// One of its lines.
    #[error("{0}:{1}: expected a name and an address, \"edge-1 10.0.0.1:9100\"")]
    Line(String, usize),
}

/// All edges.
#[derive(Debug)]
pub(crate) struct Book {
    me: String,
    file: Option<PathBuf>,
    pages: Mutex<Pages>,
    strangers: AtomicU64,
}

#[derive(Debug)]
struct Pages {
    list: List,
    addresses: BTreeMap<String, String>,
    /// What was last said of an edge or a stranger.
    notes: BTreeMap<String, String>,
    /// Edges that somebody dials.
    dialed: BTreeSet<String>,
}

impl Book {
    /// From a file if there is one, else from the entries.
    pub(crate) fn open(me: &str, entries: &[Entry], file: Option<PathBuf>) -> Result<Self, BookError> {
        let read = file.as_deref().map(read).transpose()?;
        let (list, addresses) = check(read.as_deref().unwrap_or(entries))?;
        let pages = Pages { list, addresses, notes: BTreeMap::new(), dialed: BTreeSet::new() };
        Ok(Self { me: me.to_owned(), file, pages: Mutex::new(pages), strangers: AtomicU64::new(0) })
    }

    /// Reads the file again. True if the list or an address is another; after an error everything is as it was.
    pub(super) fn reread(&self) -> Result<bool, BookError> {
        let Some(file) = &self.file else { return Ok(false) };
        let (list, addresses) = check(&read(file)?)?;
        let mut pages = self.pages();
        let changed = pages.list != list || pages.addresses != addresses;
        (pages.list, pages.addresses) = (list, addresses);
        Ok(changed)
    }

    pub(crate) fn me(&self) -> &str {
        &self.me
    }

    pub(super) fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    pub(crate) fn list(&self) -> List {
        self.pages().list.clone()
    }

    /// The edges that this one dials and nobody here dials yet: of two, the one with the smaller name dials.
    pub(super) fn to_dial(&self) -> Vec<String> {
        let mut pages = self.pages();
        let Pages { addresses, dialed, .. } = &mut *pages;
        let later = addresses.keys().filter(|name| **name > self.me);
        later.filter(|name| dialed.insert((*name).clone())).cloned().collect()
    }

    /// Where to dial an edge, while it is listed. `None` ends the dialing.
    pub(super) fn address(&self, name: &str) -> Option<String> {
        let mut pages = self.pages();
        let address = pages.addresses.get(name).cloned();
        if address.is_none() {
            pages.dialed.remove(name);
        }
        address
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.pages().addresses.contains_key(name)
    }

    /// Remembers what is wrong with an edge. True if that is news.
    pub(super) fn note(&self, name: &str, error: &str) -> bool {
        let mut pages = self.pages();
        if pages.notes.len() >= MESH_NOTES_MAX && !pages.notes.contains_key(name) {
            pages.notes.pop_first();
        }
        pages.notes.insert(name.to_owned(), error.to_owned()).as_deref() != Some(error)
    }

    /// Nothing is wrong with it any more.
    pub(super) fn forget(&self, name: &str) {
        self.pages().notes.remove(name);
    }

    pub(super) fn error(&self, name: &str) -> Option<String> {
        self.pages().notes.get(name).cloned()
    }

    /// Somebody came who is not one of the edges, or cannot work with this one.
    pub(super) fn stranger(&self) {
        self.strangers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(entries: &[Entry]) -> Result<(List, BTreeMap<String, String>), BookError> {
    let list = List::new(entries.iter().map(|entry| entry.name.as_str()))?;
    let addresses = entries.iter().map(|entry| (entry.name.clone(), entry.address.clone()));
    Ok((list, addresses.collect()))
}

/// One edge a line: name, white space, address. What begins with # is a remark.
fn read(file: &Path) -> Result<Vec<Entry>, BookError> {
    let name = file.display().to_string();
    let fail = |text: String| BookError::File(name.clone(), text);
    let bytes = files::read(file, FILE_BYTES_MAX).map_err(|error| fail(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| fail("is not UTF-8 text".to_owned()))?;
    parse(&text).map_err(|line| BookError::Line(name.clone(), line))
}

fn parse(text: &str) -> Result<Vec<Entry>, usize> {
    let lines = text.lines().map(str::trim).zip(1..);
    let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    let entries = lines.map(|(line, number)| {
        let mut words = line.split_whitespace();
        let (Some(name), Some(address), None) = (words.next(), words.next(), words.next()) else {
            return Err(number);
        };
        if !is_address(address) {
            return Err(number);
        }
        Ok(Entry { name: name.to_owned(), address: address.to_owned() })
    });
    entries.collect()
}

/// A host and a port.
pub(crate) fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, address: &str) -> Entry {
        Entry { name: name.to_owned(), address: address.to_owned() }
    }

    #[test]
    fn a_file_has_an_edge_a_line() {
        let text = "# edges\n\nedge-1 10.0.0.1:9100\n  edge-2\tedge-2.internal:9100  \n";
        let entries = [entry("edge-1", "10.0.0.1:9100"), entry("edge-2", "edge-2.internal:9100")];
        assert_eq!(parse(text), Ok(entries.to_vec()));
        assert_eq!(parse("edge-1 10.0.0.1:9100\nedge-2"), Err(2));
        assert_eq!(parse("edge-1 10.0.0.1"), Err(1));
        assert_eq!(parse("edge-1 10.0.0.1:1 more"), Err(1));
    }

    #[test]
    fn of_two_edges_the_one_with_the_smaller_name_dials_once() {
        let entries = [entry("a", "h:1"), entry("b", "h:2"), entry("c", "h:3")];
        let book = Book::open("b", &entries, None).unwrap();
        assert_eq!(book.to_dial(), ["c"]);
        assert!(book.to_dial().is_empty());
        assert_eq!(book.address("c").as_deref(), Some("h:3"));
    }

    #[test]
    fn the_same_trouble_is_news_once() {
        let book = Book::open("a", &[entry("a", "h:1")], None).unwrap();
        assert!(book.note("b", "refused") && !book.note("b", "refused") && book.note("b", "late"));
        book.forget("b");
        assert!(book.note("b", "late"));
    }

    #[test]
    fn a_file_that_becomes_bad_changes_nothing() {
        let folder = std::env::temp_dir().join(format!("headland-book-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("edges");
        std::fs::write(&file, "a h:1\n").unwrap();
        let book = Book::open("a", &[], Some(file.clone())).unwrap();
        std::fs::write(&file, "a h:1\nb\n").unwrap();
        assert!(
            book.reread()
                .unwrap_err()
                .to_string()
                .ends_with("edges:2: expected a name and an address, \"edge-1 10.0.0.1:9100\"")
        );
        assert_eq!(book.list().names().len(), 1);
        std::fs::write(&file, "a h:1\nb h:2\n").unwrap();
        assert!(book.reread().unwrap() && !book.reread().unwrap());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
