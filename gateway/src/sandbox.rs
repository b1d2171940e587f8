//! The steps by which the gateway gives up what it does not need, in the order of a start, and the words for what it had to keep.
//!
//! Owns the order; `sys::sandbox` owns each step. What must be opened is opened before: listeners, statistics, and one [`Opener`]
//! for each thread that talks to the relay.

use std::{io, path::Path};

use anyhow::Context;
use sys::{
    Opener,
    sandbox::{self, Calls},
};

use crate::config;

/// A start under way.
pub(crate) struct Sandbox {
    enabled: bool,
    /// Threads need no call that connects.
    sealable: bool,
    openers: Vec<Opener>,
    /// What could not be done.
    lacking: Vec<String>,
}

/// Where user and group names are looked up: local ones, as those of services are.
const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

impl Sandbox {
    /// Changes the user, and starts the process that connects to the relay for `askers` threads. Call it before anything else is
    /// open and while there is one thread.
    pub(crate) fn begin(options: &config::Sandbox, relay: &Path, askers: usize) -> anyhow::Result<Self> {
        let mut lacking = Vec::new();
        if let Some(name) = &options.user {
            let (user, own_group) = find(USERS, name).context("sandbox.user")?;
            let group = match &options.group {
                Some(name) => find(GROUPS, name).context("sandbox.group")?.0,
                None => own_group.with_context(|| {
                    format!("sandbox.group must be set: {USERS} does not know the group of user {name}")
                })?,
            };
            sandbox::become_user(user, group).with_context(|| {
                format!("cannot become sandbox.user {name}: start as root, or leave the key out and start as that user")
            })?;
        } else if options.enabled && sandbox::is_root() {
            lacking.push("the user is still root, without a capability: set sandbox.user".to_owned());
        }
        let mut openers = Vec::new();
        if options.enabled {
            match Opener::start(relay, askers) {
                Ok(made) => openers = made,
                Err(error) => lacking.push(unrestricted(&error)),
            }
        }
        let sealable = !openers.is_empty();
        Ok(Self { enabled: options.enabled, sealable, openers, lacking })
    }

    /// What connects to the relay for one more thread; `None`: the thread itself does.
    pub(crate) fn opener(&mut self) -> Option<Opener> {
        self.openers.pop()
    }

    /// Gives up privileges, files and TCP connections: what is needed is open, and threads are still to come.
    pub(crate) fn lock(mut self) -> Locked {
        if self.enabled {
            self.lacking.extend(sandbox::give_up_privileges());
        }
        Locked { enabled: self.enabled, sealable: self.sealable, lacking: self.lacking }
    }
}

/// Privileges are gone; every thread may still make any system call.
pub(crate) struct Locked {
    enabled: bool,
    sealable: bool,
    lacking: Vec<String>,
}

impl Locked {
    /// Allows only the system calls of a running gateway, once every thread runs; then says how it went.
    pub(crate) fn seal(mut self) {
        if self.sealable
            && let Err(error) = sandbox::allow_only(Calls::Gateway)
        {
            self.lacking.push(unrestricted(&error));
        }
        match (self.enabled, self.lacking.is_empty()) {
            (false, _) => eprintln!("headland-gateway: not confined: sandbox.enabled is false"),
            (true, true) => {
                eprintln!("headland-gateway: confined: no privilege, file, program or connection");
            }
            (true, false) => eprintln!("headland-gateway: confined, but {}", self.lacking.join("; ")),
        }
    }
}

fn unrestricted(error: &io::Error) -> String {
    format!("system calls are not restricted: {error}")
}

/// The number of a name, or of a number, and the number after it: of a user the group.
fn find(file: &str, name: &str) -> anyhow::Result<(u32, Option<u32>)> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    search(&text, name).with_context(|| format!("{name} is neither a number nor in {file}"))
}

/// Lines of `name:password:number:number of the group..`.
fn search(text: &str, name: &str) -> Option<(u32, Option<u32>)> {
    let number = name.parse().ok();
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let first = fields.next()?;
        let id: u32 = fields.nth(1)?.parse().ok()?;
        (first == name || number == Some(id))
            .then(|| (id, fields.next().and_then(|group| group.parse().ok())))
    });
    found.or_else(|| number.map(|number| (number, None)))
}

/// How a blocking thread reaches the relay.
pub(crate) fn connect(opener: Option<&Opener>, path: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    match opener {
        Some(opener) => opener.open_stream(),
        None => std::os::unix::net::UnixStream::connect(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nedge:x:998:997::/:/bin/false\nbroken\n";
        assert_eq!(search(users, "edge"), Some((998, Some(997))));
        assert_eq!(search(users, "998"), Some((998, Some(997))));
        assert_eq!(search(users, "4000"), Some((4000, None)));
        assert_eq!(search(users, "nobody-here"), None);
        let groups = "root:x:0:\nheadland:x:996:edge,relay\n";
        assert_eq!(search(groups, "headland"), Some((996, None)));
    }
}
