//! What a confined process can and cannot do: a program without a test harness, because the steps need a process of one thread.
//! It starts itself again as the process under test.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use std::{env, thread};

use sys::sandbox::{Calls, allow_only, become_user, give_up_privileges};
use sys::{Kernel, Meter, Opener, Sys, Waker};

const ROLE: &str = "HEADLAND_CONFINED_ROLE";
const NAME: &str = "a_confined_process_can_do_its_work_and_nothing_else";
/// Nobody, by convention.
const NOBODY: u32 = 65_534;

fn main() -> ExitCode {
    if env::var_os(ROLE).is_some() {
        confined();
        return ExitCode::SUCCESS;
    }
    // `cargo test -- --list` and filters are the harness's: this program has one test.
    if env::args().any(|argument| argument == "--list") {
        println!("{NAME}: test");
        return ExitCode::SUCCESS;
    }
    let folder = env::temp_dir().join(format!("headland-confined-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    let mut child = command.env(ROLE, &folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 1];
    if child.stdout.as_mut().unwrap().read_exact(&mut said).is_ok() {
        every_thread_is_confined(child.id());
        child.stdin.as_mut().unwrap().write_all(b".").unwrap();
    }
    let status = child.wait().unwrap();
    // The process under test could not even do this.
    fs::remove_dir_all(folder).unwrap();
    println!("test {NAME} ... {status}");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the kernel says of the process under test.
fn every_thread_is_confined(pid: u32) {
    let privileged = status("Uid:").starts_with('0');
    let tasks: Vec<_> = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().collect();
    assert!(tasks.len() >= 2, "a thread beside the first");
    for task in tasks {
        let text = fs::read_to_string(task.path().join("status")).unwrap();
        let has = |line: &str| assert!(text.contains(line), "{line} is not in {text}");
        has("NoNewPrivs:\t1\n");
        has("Seccomp:\t2\n");
        has("CapEff:\t0000000000000000\n");
        has("CapPrm:\t0000000000000000\n");
        has("CapInh:\t0000000000000000\n");
        has("CapAmb:\t0000000000000000\n");
        if privileged {
            has("CapBnd:\t0000000000000000\n");
            has(&format!("Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}\n"));
            has(&format!("Gid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}\n"));
            has("Groups:\t \n");
        }
    }
}

fn confined() {
    let folder = PathBuf::from(env::var_os(ROLE).unwrap());
    let path = folder.join("relay.sock");
    let relay = UnixListener::bind(&path).unwrap();
    let privileged = status("Uid:").starts_with('0');
    let meter = Meter::open().unwrap();
    if privileged {
        open_to_all(&folder, &path);
        become_user(NOBODY, NOBODY).unwrap();
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).is_ok());
    }
    let opener = Opener::start(&path, 1).unwrap().remove(0);
    let outside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = outside.local_addr().unwrap();
    let established = TcpStream::connect(address).unwrap();
    let (_accepted, _) = outside.accept().unwrap();
    for missing in give_up_privileges() {
        eprintln!("not confined by: {missing}");
    }
    // A thread that is there before the last step is confined by it too.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let earlier = thread::spawn(move || {
        wait.recv().unwrap();
        File::open("/proc/self/status").unwrap_err().kind()
    });
    let mut kernel = Kernel::with_waker(16, Waker::new().unwrap()).unwrap().opened_by(Some(opener));
    allow_only(Calls::Gateway).unwrap();
    std::io::stdout().write_all(b".").unwrap();
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_exact(&mut [0]).unwrap();
    go.send(()).unwrap();
    assert_eq!(earlier.join().unwrap(), ErrorKind::PermissionDenied);
    its_work_goes_on(&mut kernel, &relay, &outside, &meter);
    nothing_else_does(&path, &outside, &established);
}

fn its_work_goes_on(kernel: &mut Kernel, relay: &UnixListener, outside: &TcpListener, meter: &Meter) {
    for _ in 0..3 {
        let handle = kernel.connect(Path::new("ignored: the path is the opener's")).unwrap();
        let (mut theirs, _) = relay.accept().unwrap();
        kernel.watch(handle, 7).unwrap();
        assert_eq!(kernel.send(handle, b"hello").unwrap(), 5);
        let mut got = [0; 5];
        theirs.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
        // The standard library's blocking stream over it, as the main thread uses one.
        // SAFETY: the descriptor is this test's own.
        let ours = unsafe { UnixStream::from_raw_fd(handle) };
        ours.set_nonblocking(false).unwrap();
        ours.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        theirs.write_all(b"back").unwrap();
        let mut got = [0; 4];
        (&ours).read_exact(&mut got).unwrap();
        assert_eq!(&got, b"back");
    }
    outside.set_nonblocking(true).unwrap();
    assert_eq!(kernel.accept(outside.as_raw_fd()).unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut ready = Vec::new();
    kernel.wait(&mut ready, Duration::from_millis(1)).unwrap();
    let mut random = [0; 16];
    kernel.fill_random(&mut random);
    let memory = vec![1u8; 32 << 20];
    assert!(meter.private_bytes().unwrap() > memory.len() as u64);
    drop(memory);
    sys::trim_heap();
    assert!(sys::process_cpu(None).unwrap() > Duration::ZERO);
}

fn nothing_else_does(path: &Path, outside: &TcpListener, established: &TcpStream) {
    let denied = |what: &str, kind: ErrorKind| assert_eq!(kind, ErrorKind::PermissionDenied, "{what}");
    denied("a file", File::open("/etc/hostname").unwrap_err().kind());
    denied("a file of its own", File::create(path.with_extension("new")).unwrap_err().kind());
    denied("its own memory", File::open("/proc/self/mem").unwrap_err().kind());
    denied("a folder", fs::read_dir("/").unwrap_err().kind());
    denied("removing", fs::remove_file(path).unwrap_err().kind());
    denied("TCP", TcpStream::connect(outside.local_addr().unwrap()).unwrap_err().kind());
    denied("a listener", TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_err().kind());
    denied("UDP", UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_err().kind());
    denied("a unix socket", UnixStream::connect(path).unwrap_err().kind());
    denied("a program", Command::new("/bin/true").status().unwrap_err().kind());
    // The kernel lets an established socket be taken apart and connected elsewhere: not here.
    for (what, call) in calls(established.as_raw_fd()) {
        let result = call();
        assert_eq!(result, -1, "{what} is possible");
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EPERM), "{what}");
    }
    let thread = thread::Builder::new().spawn(|| {});
    assert!(thread.is_err(), "a thread is possible");
}

type Call = Box<dyn Fn() -> i64>;

/// System calls by number, as an attacker who runs code makes them.
fn calls(socket: i32) -> Vec<(&'static str, Call)> {
    let raw = |number: i64, arguments: [i64; 4]| -> Call {
        // SAFETY: refused before anything is looked at; the memory of those that are not is never touched.
        Box::new(move || unsafe {
            libc::syscall(number, arguments[0], arguments[1], arguments[2], arguments[3])
        })
    };
    let me = i64::from(std::process::id());
    vec![
        ("connect", raw(libc::SYS_connect, [socket.into(), 0, 16, 0])),
        ("bind", raw(libc::SYS_bind, [socket.into(), 0, 16, 0])),
        ("socket(AF_UNIX)", raw(libc::SYS_socket, [1, 1, 0, 0])),
        ("socket(AF_INET)", raw(libc::SYS_socket, [2, 1, 0, 0])),
        ("socket(AF_NETLINK)", raw(libc::SYS_socket, [16, 3, 0, 0])),
        ("socketpair", raw(libc::SYS_socketpair, [1, 1, 0, 0])),
        ("sendmsg", raw(libc::SYS_sendmsg, [socket.into(), 0, 0, 0])),
        ("openat", raw(libc::SYS_openat, [-100, 0, 0, 0])),
        ("openat2", raw(libc::SYS_openat2, [-100, 0, 0, 0])),
        ("execve", raw(libc::SYS_execve, [0, 0, 0, 0])),
        ("execveat", raw(libc::SYS_execveat, [0, 0, 0, 0])),
        ("clone", raw(libc::SYS_clone, [0, 0, 0, 0])),
        ("ptrace", raw(libc::SYS_ptrace, [0, 1, 0, 0])),
        ("process_vm_readv", raw(libc::SYS_process_vm_readv, [1, 0, 0, 0])),
        ("kill", raw(libc::SYS_kill, [1, 0, 0, 0])),
        ("tgkill of another", raw(libc::SYS_tgkill, [me + 1, me + 1, 0, 0])),
        ("pidfd_open", raw(libc::SYS_pidfd_open, [1, 0, 0, 0])),
        ("io_uring_setup", raw(libc::SYS_io_uring_setup, [1, 0, 0, 0])),
        ("bpf", raw(libc::SYS_bpf, [0, 0, 0, 0])),
        ("unshare", raw(libc::SYS_unshare, [0x1000_0000, 0, 0, 0])),
        ("setuid", raw(libc::SYS_setuid, [0, 0, 0, 0])),
        ("memory to run", raw(libc::SYS_mmap, [0, 4096, 7, 0x22])),
        ("memory made to run", raw(libc::SYS_mprotect, [0, 0, 5, 0])),
        ("ioctl other than blocking", raw(libc::SYS_ioctl, [0, 0x5412, 0, 0])),
        ("prctl", raw(libc::SYS_prctl, [4, 1, 0, 0])),
    ]
}

fn status(name: &str) -> String {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().to_owned()
}

fn open_to_all(folder: &Path, path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
}
