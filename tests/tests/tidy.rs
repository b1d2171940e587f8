//! The rules of this repository that a compiler does not know, read from its manifests and sources.
//! The design's table of arrows between crates is the first of them.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

/// Which of our crates each crate may name; a crate that is not here does not belong.
const ARROWS: &[(&str, &[&str])] = &[
    // Layer 0: words, system calls, limits.
    ("wire", &[]),
    ("sys", &[]),
    ("tuning", &[]),
    // Layer 1: bytes and time in, bytes and events out.
    ("protocol", &["wire"]),
    ("relay", &["wire"]),
    // Layer 2: sockets, threads, clocks, files.
    ("gateway", &["protocol", "wire", "sys", "tuning"]),
    ("agent", &["relay", "wire"]),
    ("nodes", &["wire"]),
    ("loadgen", &["protocol", "wire", "sys", "tuning"]),
    // Layer 3.
    ("tests", &["agent", "gateway", "loadgen", "nodes", "protocol", "relay", "sys", "tuning", "wire"]),
    ("xtask", &["tuning"]),
];

/// What the process that faces the internet never links, directly or not.
const NEVER_IN_GATEWAY: &[&str] =
    &["tokio", "async-std", "smol", "redis", "hyper", "axum", "tonic", "reqwest", "ureq", "sqlx", "openssl"];

/// The only crate with `unsafe`.
const UNSAFE: &str = "sys";

/// What the root may hold beside dotfiles and the build folder.
const ROOT: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "gateway",
    "loadgen",
    "relay",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "sysctl.conf",
    "target",
    "tests",
    "tuning",
];

/// Lines of a file beside its tests.
const LINES_MAX: usize = 500;
/// Files that are longer, and why.
const LONGER: &[(&str, &str)] = &[];

/// What code beside tests does not say, and what to do instead.
const NEVER_IN_CODE: &[(&str, &str)] = &[
    (".unwrap()", "return the error, or expect(\"invariant: ..\") with the proof in sight"),
    ("todo!(", "nothing half done is committed"),
    ("unimplemented!(", "nothing half done is committed"),
    ("dbg!(", "a trace of debugging"),
];

#[test]
fn arrows_between_crates_run_one_way() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ARROWS.iter().map(|(name, to)| (*name, to.iter().copied().collect())).collect();
    let mut wrong = Wrong::default();
    for package in packages() {
        let Some(may) = allowed.get(package.name.as_str()) else {
            wrong.say(&package.manifest, format!("`{}` is not in the table of arrows", package.name));
            continue;
        };
        for dependency in package.dependencies.keys() {
            if allowed.contains_key(dependency.as_str()) && !may.contains(dependency.as_str()) {
                wrong.say(&package.manifest, format!("`{}` must not name `{dependency}`", package.name));
            }
        }
    }
    wrong.none();
}

#[test]
fn the_gateway_links_no_runtime_and_no_outbound_client() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "--package", "gateway", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo tree starts");
    assert!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).expect("cargo prints UTF-8");
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains("rustls"), "the tree was not understood:\n{text}");
    let found: Vec<&&str> = NEVER_IN_GATEWAY.iter().filter(|name| names.contains(**name)).collect();
    assert!(
        found.is_empty(),
        "the gateway's dependencies hold {found:?}; see `cargo tree -p gateway -i <name>`"
    );
}

#[test]
fn every_dependency_has_its_reason_and_its_user() {
    let manifest = root().join("Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("the root manifest");
    let used: BTreeSet<String> = packages().into_iter().flat_map(|p| p.dependencies.into_keys()).collect();
    let mut wrong = Wrong::default();
    let mut above = "";
    let section = text.split("[workspace.dependencies]").nth(1).expect("the section exists");
    for line in section.lines().map(str::trim).take_while(|line| !line.starts_with('[')) {
        if let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            let name = name.trim();
            let family = above.split_once('=').is_some_and(|(first, _)| name.starts_with(first.trim()));
            if !value.contains("path =") && !above.starts_with('#') && !family {
                wrong.say(&manifest, format!("`{name}` has no line above it that says why it is here"));
            }
            if !used.contains(name) {
                wrong.say(&manifest, format!("`{name}` is used by no crate"));
            }
        }
        above = line;
    }
    wrong.none();
}

#[test]
fn versions_are_named_once_in_the_root() {
    let mut wrong = Wrong::default();
    for package in packages() {
        for (name, value) in &package.dependencies {
            if value.get("workspace").and_then(Value::as_bool) != Some(true) {
                wrong.say(&package.manifest, format!("`{name}` must be `{name}.workspace = true`"));
            }
        }
    }
    wrong.none();
}

#[test]
fn only_one_crate_may_be_unsafe() {
    let mut wrong = Wrong::default();
    for package in packages().iter().filter(|package| package.name != UNSAFE) {
        let roots = sources(&package.folder).into_iter().filter(|path| {
            let name = path.file_name().unwrap_or_default();
            let bin = path.parent().is_some_and(|parent| parent.ends_with("src/bin"));
            (bin || name == "lib.rs" || name == "main.rs") && owner(path) == package.folder
        });
        for path in roots.filter(|path| path.components().any(|part| part.as_os_str() == "src")) {
            if !read(&path).contains("#![forbid(unsafe_code)]") {
                wrong.say(&path, "lacks #![forbid(unsafe_code)]");
            }
        }
    }
    wrong.none();
}

#[test]
fn every_file_says_what_it_owns() {
    let mut wrong = Wrong::default();
    for path in sources(&root()).into_iter().filter(|path| !path.ends_with("tests.rs")) {
        if !read(&path).starts_with("//! ") {
            wrong.say(&path, "does not open with `//!` and a sentence about what it owns");
        }
    }
    wrong.none();
}

#[test]
fn one_file_holds_one_idea() {
    let mut wrong = Wrong::default();
    let reasons: BTreeMap<PathBuf, &str> =
        LONGER.iter().map(|(path, why)| (root().join(path), *why)).collect();
    for path in sources(&root()).into_iter().filter(|path| !is_test(path)) {
        let lines = code(&read(&path)).len();
        match (lines > LINES_MAX, reasons.contains_key(&path)) {
            (true, false) => wrong.say(&path, format!("has {lines} lines: which second idea is in it?")),
            (false, true) => wrong.say(&path, "is no longer long: take it from the list"),
            _ => {}
        }
    }
    wrong.none();
}

#[test]
fn code_beside_tests_neither_panics_at_will_nor_is_half_done() {
    let mut wrong = Wrong::default();
    for path in sources(&root()).into_iter().filter(|path| !is_test(path)) {
        for (number, line) in code(&read(&path)) {
            let line = line.split("//").next().unwrap_or_default();
            for (never, instead) in NEVER_IN_CODE.iter().filter(|(never, _)| line.contains(never)) {
                wrong.say(&path, format!("line {number}: `{never}`: {instead}"));
            }
            if line.contains(".expect(\"") && !line.contains(".expect(\"invariant: ") {
                wrong.say(&path, format!("line {number}: expect names the invariant that makes it hold"));
            }
        }
    }
    wrong.none();
}

#[test]
fn every_lint_that_is_set_aside_has_a_reason() {
    let mut wrong = Wrong::default();
    for path in sources(&root()).into_iter().filter(|path| *path != root().join("tests/tests/tidy.rs")) {
        let text = read(&path);
        for (at, _) in text.match_indices("[allow(").chain(text.match_indices("[expect(")) {
            let attribute = text[at..].split(")]").next().unwrap_or_default();
            if !attribute.contains("reason = ") {
                let number = text[..at].lines().count();
                wrong.say(&path, format!("line {number}: the lint is set aside without `reason = ..`"));
            }
        }
    }
    wrong.none();
}

#[test]
fn the_root_holds_only_what_the_design_says() {
    let mut wrong = Wrong::default();
    for entry in fs::read_dir(root()).expect("the root can be listed").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !ROOT.contains(&name.as_str()) {
            wrong.say(&entry.path(), "does not belong into the root");
        }
    }
    wrong.none();
}

/// A package of the workspace and everything it depends on, for whatever purpose.
struct Package {
    name: String,
    folder: PathBuf,
    manifest: PathBuf,
    dependencies: BTreeMap<String, Value>,
}

fn packages() -> Vec<Package> {
    let workspace = table(&root().join("Cargo.toml"));
    let members = workspace["workspace"]["members"].as_array().expect("members").clone();
    members
        .iter()
        .map(|member| {
            let folder = root().join(member.as_str().expect("a path"));
            let manifest = folder.join("Cargo.toml");
            let content = table(&manifest);
            let mut dependencies = BTreeMap::new();
            for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
                let section = content.get(kind).and_then(Value::as_table).cloned().unwrap_or_default();
                dependencies.extend(section);
            }
            let name = content["package"]["name"].as_str().expect("a name").to_owned();
            Package { name, folder, manifest, dependencies }
        })
        .collect()
}

fn table(manifest: &Path) -> Table {
    read(manifest).parse().unwrap_or_else(|error| panic!("{}: {error}", manifest.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lives in the root").to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below a folder, build folders and dotfolders left out.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be listed").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The folder of the package a file belongs to.
fn owner(path: &Path) -> PathBuf {
    let mut folders = path.ancestors().skip(1);
    folders.find(|folder| folder.join("Cargo.toml").exists()).expect("a package above it").to_path_buf()
}

/// Whether a file holds tests or what only tests use: these may unwrap and be long.
fn is_test(path: &Path) -> bool {
    let inside = path.strip_prefix(root()).expect("a file of the repository");
    let test = |part: &std::ffi::OsStr| part == "tests" || part == "tests.rs" || part == "benches";
    let tool = inside.starts_with("tests/xtask/src");
    inside.iter().any(test) && !(tool && inside.file_name().is_some_and(|name| name != "tests.rs"))
}

/// The numbered lines of a file beside its inline test module.
fn code(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let test = lines.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].trim_start().starts_with("mod ") && pair[1].ends_with('{')
    });
    lines.iter().take(test.unwrap_or(lines.len())).enumerate().map(|(i, line)| (i + 1, *line)).collect()
}

/// What is wrong, collected so that one run names everything.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn say(&mut self, path: &Path, what: impl AsRef<str>) {
        let shown = path.strip_prefix(root()).unwrap_or(path);
        self.0.push(format!("{}: {}", shown.display(), what.as_ref()));
    }

    fn none(self) {
        assert!(self.0.is_empty(), "\n{}\n", self.0.join("\n"));
    }
}
