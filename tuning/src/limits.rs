//! Fixed numbers of the plan, with where they come from.

/// Descriptors of a table that are not connections: listeners, epoll, wake-ups, links, logs, standard streams.
pub const DESCRIPTORS_RESERVED: u64 = 64;

/// Kernel memory of one idle TCP socket, measured: socket, inode, dentry, file and epoll entry.
pub const KERNEL_BYTES_PER_SOCKET: u64 = 4_096;

/// Connections that `sysctl.conf` at the root of the repository is written for.
pub const CONNECTIONS_REFERENCE: u64 = 1_000_000;

/// Connections that fit a table under the 20,000-descriptor limit of small hosts, with room for what else is open.
pub const TABLE_CONNECTIONS_DEFAULT: u64 = 19_000;

/// User memory of one idle connection, the project's budget.
pub(crate) const USER_BYTES_PER_CONNECTION: u64 = 384;

/// Backlog of a listener on the internet: a second of a reconnect storm.
pub(crate) const BACKLOG: u64 = 65_535;

/// Bytes in a page, the unit of `tcp_mem`.
pub(crate) const PAGE_BYTES: u64 = 4_096;

/// Connections per bucket of the established hash above which look-ups show in a profile.
pub(crate) const CONNECTIONS_PER_BUCKET_MAX: u64 = 4;

/// Bytes read of one `/proc` file.
pub(crate) const PROC_BYTES_MAX: u64 = 64 * 1024;
