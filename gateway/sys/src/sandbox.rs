//! What a process gives up for good: user, capabilities, files, TCP, and in the end every system call but a list.
//!
//! Owns the order in which that can be done and the words for what could not be. Nothing here is ever undone.
//!
//! 1. [`become_user`] first: what follows then runs as nobody in particular.
//! 2. [`give_up_privileges`] while there is one thread: threads made later inherit capabilities and landlock's rules.
//! 3. [`allow_only`] when everything runs: it reaches every thread at once.

mod calls;

use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset, RulesetAttr, Scope,
};
use seccompiler::{SeccompAction, SeccompFilter, TargetArch};

pub use calls::Calls;

use crate::checked;

/// The newest rules that are asked for; an older kernel enforces those it knows.
const RULES: ABI = ABI::V6;

/// Whether this is root, with whatever capabilities.
pub fn is_root() -> bool {
    // SAFETY: no pointer is passed.
    unsafe { libc::geteuid() == 0 }
}

/// Puts the process under another user and group, with no supplementary groups. Only the right to bind ports below 1024 is kept,
/// for the listeners that are still to come; [`give_up_privileges`] takes it away.
///
/// Takes root, and a process of one thread.
pub fn become_user(user: u32, group: u32) -> io::Result<()> {
    // Dropping from the bounding set takes a capability that the next steps take away.
    clear(CapSet::Bounding)?;
    // SAFETY: an empty list needs no pointer.
    checked(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: no pointer is passed.
    checked(unsafe { libc::setresgid(group, group, group) })?;
    set(libc::PR_SET_KEEPCAPS, 1)?;
    // SAFETY: no pointer is passed.
    checked(unsafe { libc::setresuid(user, user, user) })?;
    set(libc::PR_SET_KEEPCAPS, 0)?;
    keep_only(&[Capability::CAP_NET_BIND_SERVICE])
}

/// Drops every capability, forbids to gain any by a program, closes the process to debuggers and core dumps, and lets landlock
/// forbid files, TCP connections and ports, and signals to others. Gives what could not be done, in words: each step stands alone.
///
/// For the calling thread and those it will make: call it while there is one thread.
pub fn give_up_privileges() -> Vec<String> {
    type Step = fn() -> io::Result<()>;
    let steps: [(&str, Step); 4] = [
        ("capabilities are kept", drop_capabilities),
        ("programs could gain privileges", || set(libc::PR_SET_NO_NEW_PRIVS, 1)),
        ("debuggers may look inside", || set(libc::PR_SET_DUMPABLE, 0)),
        ("landlock's rules are not enforced", landlock),
    ];
    let failed = |(what, step): (&str, Step)| Some(format!("{what}: {}", step().err()?));
    steps.into_iter().filter_map(failed).collect()
}

/// From here on every thread of the process makes only the system calls of the list; all others fail with `EPERM`.
pub fn allow_only(calls: Calls) -> io::Result<()> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    // An error rather than death: what a library tries in vain (a file that speeds something up) must not take everybody along.
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter =
        SeccompFilter::new(calls.rules()?, refused, SeccompAction::Allow, arch).map_err(io::Error::other)?;
    let program: seccompiler::BpfProgram = filter.try_into().map_err(io::Error::other)?;
    seccompiler::apply_filter_all_threads(&program).map_err(io::Error::other)
}

fn drop_capabilities() -> io::Result<()> {
    // Only who may set capabilities can shrink the bounding set, and for others it holds nothing to be gained.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).map_err(io::Error::other)? {
        clear(CapSet::Bounding)?;
    }
    clear(CapSet::Ambient)?;
    keep_only(&[])
}

fn clear(set: CapSet) -> io::Result<()> {
    caps::clear(None, set).map_err(io::Error::other)
}

/// Keeps those of `kept` that are there.
fn keep_only(kept: &[Capability]) -> io::Result<()> {
    let have = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let keep: CapsHashSet = kept.iter().copied().filter(|one| have.contains(one)).collect();
    clear(CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &keep).map_err(io::Error::other)?;
    caps::set(None, CapSet::Permitted, &keep).map_err(io::Error::other)
}

/// Sets an attribute of the process.
fn set(attribute: i32, value: libc::c_ulong) -> io::Result<()> {
    let unused: libc::c_ulong = 0;
    // SAFETY: no pointer is passed; the kernel wants the unused arguments to be zero.
    checked(unsafe { libc::prctl(attribute, value, unused, unused, unused) }).map(drop)
}

/// No rule is added to any of these rights: all of them are forbidden. An error says which the kernel does not know.
fn landlock() -> io::Result<()> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RULES))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(RULES)))
        .and_then(|rules| rules.scope(Scope::from_all(RULES)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(io::Error::other)?;
    Err(io::Error::other(match status.landlock {
        LandlockStatus::NotImplemented => "it is not in this kernel (5.13 and later have it)",
        LandlockStatus::NotEnabled => "it is switched off in this kernel: add it to lsm= on its command line",
        LandlockStatus::Available { effective_abi, .. } if effective_abi < ABI::V4 => {
            "this kernel has those for files, not for TCP (6.7 and later) and signals (6.12 and later)"
        }
        LandlockStatus::Available { effective_abi, .. } if effective_abi < RULES => {
            "this kernel has those for files and TCP, not for signals (6.12 and later)"
        }
        LandlockStatus::Available { .. } => return Ok(()),
    }))
}
