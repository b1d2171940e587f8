//! The lists of system calls, with conditions on arguments where a call can do more than is needed.
//!
//! Owns what is allowed, and why it is needed. What is not here is refused.

use std::{collections::BTreeMap, io};

use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// Which list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Calls {
    /// A running gateway: what its loops, its main thread and its allocator do. No call that makes a socket, connects one, opens a
    /// file, starts a program, a process or a thread, or makes memory executable.
    Gateway,
    /// The process that connects to the relay ([`crate::Opener`]): sockets of the unix family beside the most necessary.
    Opener,
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What every process does: give memory back, tell the time, wait, handle a signal, say something, end.
const COMMON: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The loops: readiness, accepting, sockets that exist, the other threads, random numbers.
const GATEWAY: &[i64] = &[
    libc::SYS_readv,
    // The process's own memory statistics, from a descriptor opened before.
    libc::SYS_pread64,
    libc::SYS_recvfrom,
    // Connections to the relay come by it, see `Opener`.
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_accept4,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getrandom,
    libc::SYS_getcpu,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_membarrier,
];

const OPENER: &[i64] = &[libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_connect, libc::SYS_ppoll];

/// The same under older names, which only this architecture has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[];

impl Calls {
    pub(super) fn rules(self) -> io::Result<Rules> {
        let own = match self {
            Self::Gateway => GATEWAY,
            Self::Opener => OPENER,
        };
        let mut rules: Rules =
            [COMMON, OLDER, own].concat().into_iter().map(|call| (call, Vec::new())).collect();
        // Memory, but none that can be run: argument 2 of both is the protection.
        for call in [libc::SYS_mmap, libc::SYS_mprotect] {
            rules.insert(call, vec![rule(&[(2, bits(libc::PROT_EXEC), 0)])?]);
        }
        // A panic ends this process, and no signal goes to another.
        rules.insert(libc::SYS_tgkill, vec![rule(&[(0, u64::MAX, u64::from(std::process::id()))])?]);
        // Whether a descriptor is open: the standard library asks before closing one, where assertions are on.
        rules.insert(libc::SYS_fcntl, vec![rule(&[(1, u64::MAX, bits(libc::F_GETFD))])?]);
        match self {
            Self::Gateway => {
                // A descriptor's own flags, for sockets that come from the opener.
                let blocking = rule(&[(1, u64::MAX, libc::FIONBIO)])?;
                rules.insert(libc::SYS_ioctl, vec![blocking]);
            }
            Self::Opener => {
                let (family, kind) = (bits(libc::AF_UNIX), bits(libc::SOCK_STREAM));
                let flags = bits(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
                let stream = rule(&[(0, u64::MAX, family), (1, !flags, kind)])?;
                rules.insert(libc::SYS_socket, vec![stream]);
            }
        }
        Ok(rules)
    }
}

/// All of (argument, mask, value): the argument's masked bits are the value. The kernel's `int` arguments have 32.
fn rule(conditions: &[(u8, u64, u64)]) -> io::Result<SeccompRule> {
    let conditions = conditions.iter().map(|&(argument, mask, value)| {
        let mask = mask & u64::from(u32::MAX);
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
    });
    let conditions: Result<Vec<_>, _> = conditions.collect();
    conditions.and_then(SeccompRule::new).map_err(io::Error::other)
}

/// A constant of the C library as the filter sees it.
const fn bits(constant: i32) -> u64 {
    constant.unsigned_abs() as u64
}
