//! Fixed numbers of the plan, with where they come from.

/// Descriptors of a table that are not connections: listeners, epoll, wake-ups, links, logs, standard streams.
pub const DESCRIPTORS_RESERVED: u64 = 64;

/// Kernel memory of one idle TCP socket, measured: socket, inode, dentry, file and epoll entry.
pub const KERNEL_BYTES_PER_SOCKET: u64 = 4_096;

/// Connections that `sysctl.conf` at the root of the repository is written for.
pub const CONNECTIONS_REFERENCE: u64 = 1_000_000;

/// Connections that fit a table under the 20,000-descriptor limit of small hosts, with room for what else is open.
pub const TABLE_CONNECTIONS_DEFAULT: u64 = 19_000;

/// Connections that can be asked about: beyond it no machine goes, and sums stay far from overflow.
pub const CONNECTIONS_MAX: u64 = 1_000_000_000;

/// User memory of one idle connection, the project's budget.
pub(crate) const USER_BYTES_PER_CONNECTION: u64 = 384;

/// User memory of a connection in its handshake, and how many a gateway lets into it at once by default.
pub(crate) const HANDSHAKE_BYTES: u64 = 8 * 1024;
pub(crate) const HANDSHAKES_AT_ONCE: u64 = 20_000;

/// Backlog of a listener on the internet: a second of a reconnect storm.
pub(crate) const BACKLOG: u64 = 65_535;

/// Threads of a table (its loop and a handshake worker), and of the process beside them.
pub(crate) const THREADS_PER_TABLE: u64 = 2;
pub(crate) const THREADS_RESERVED: u64 = 16;

/// Bytes in a page, the unit of `tcp_mem`.
pub(crate) const PAGE_BYTES: u64 = 4_096;

/// Connections per bucket of the established hash above which look-ups show in a profile.
pub(crate) const CONNECTIONS_PER_BUCKET_MAX: u64 = 4;

/// Tracked connections per bucket of the connection tracking table that are still quickly found.
pub(crate) const TRACKED_PER_BUCKET_MAX: u64 = 4;

/// Connections that acknowledge at about the same time in a broadcast: one of this many.
pub(crate) const PACKETS_AT_ONCE: u64 = 16;

/// The kernel's own length of a core's packet queue, and the longest worth having.
pub(crate) const PACKETS_MIN: u64 = 1_000;
pub(crate) const PACKETS_MAX: u64 = 65_536;

/// Connections above which the many small settings of a large edge are worth a line.
pub(crate) const LARGE: u64 = 50_000;

/// Bytes read of one file below `/proc` or `/sys`.
pub(crate) const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Levels of control groups that are looked at.
pub(crate) const GROUPS_DEEP_MAX: usize = 32;

/// Network cards that are looked at.
pub(crate) const CARDS_MAX: usize = 64;

/// Times that a core may run out of its packet budget without a word about it: a burst now and then is no sign.
pub(crate) const SQUEEZED_NORMAL: u64 = 1_000;
