//! `cargo xtask up` as somebody meets it who has just cloned the repository: what it prints works, Ctrl-C ends all of it, and what
//! goes wrong is said in a sentence.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tests::process::{Program, programs};
use tests::wait;

const WITHIN: Duration = Duration::from_secs(60);
/// How often other ports are tried.
const TRIES: usize = 4;

/// A folder and three free ports of one run.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    port: u16,
    metrics: u16,
    pub(crate) node: u16,
}

impl Place {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("headland-up-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let held = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [port, metrics, node] = held.map(|listener| listener.local_addr().unwrap().port());
        Self { folder, port, metrics, node }
    }

    fn up(&self) -> Program {
        let programs = programs().unwrap();
        let [port, metrics, node] = [self.port, self.metrics, self.node].map(|port| port.to_string());
        let folder = self.folder.display().to_string();
        let built = programs.display().to_string();
        let args = [
            "up",
            "--programs",
            &built,
            "--folder",
            &folder,
            "--port",
            &port,
            "--metrics",
            &metrics,
            "--node",
            &node,
        ];
        Program::start(&programs.join("xtask"), &args, self.folder.join("up.log")).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Starts it and waits until it says that it is up; what it says. With other ports where somebody took one meanwhile.
pub(crate) fn started(name: &str) -> (Place, Program, String) {
    let mut tries = 1..TRIES;
    loop {
        let place = Place::new(name);
        let mut up = place.up();
        let said = wait::until("up", WITHIN, || {
            let ended = up.check().is_err();
            let said = up.log();
            (ended || said.contains("await room.ready()")).then_some(said)
        })
        .unwrap();
        if !said.contains("in use") || tries.next().is_none() {
            return (place, up, said);
        }
    }
}

/// The processes that a process has started.
fn children(of: u32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{of}/task")).unwrap().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn what_it_prints_works_and_one_ctrl_c_ends_everything() {
    let (place, mut up, said) = started("works");
    let programs = children(up.pid());
    assert_eq!(programs.len(), 3, "node, relay and gateway: {said}");
    // The ten lines as they are printed, beside the installed libraries, as after `npm i centrifuge ws`.
    let lines: Vec<&str> = said.lines().skip_while(|line| !line.contains("import {")).collect();
    let lines: Vec<&str> = lines.into_iter().take_while(|line| !line.is_empty()).collect();
    assert!(lines.len() <= 11, "{said}");
    let node = tests::script::clients().unwrap().join("node");
    let script = node.join(format!("up-{}.mjs", std::process::id()));
    fs::write(&script, lines.join("\n") + "\nsetTimeout(() => process.exit(), 1000);\n").unwrap();
    let run = Command::new("node")
        .arg(&script)
        .env("NODE_EXTRA_CA_CERTS", place.folder.join("ca.pem"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    fs::remove_file(&script).unwrap();
    let printed = String::from_utf8_lossy(&run.stdout);
    assert!(printed.contains("{ text: 'hello' }"), "{printed}\n{}", String::from_utf8_lossy(&run.stderr));
    let metrics = format!("127.0.0.1:{}", place.metrics).parse().unwrap();
    assert_eq!(tests::metrics::get(metrics, "/health").unwrap().0, 200);
    up.signal(Signal::INT).unwrap();
    assert!(up.ended(WITHIN).unwrap().success(), "{}", up.last_lines());
    assert!(!programs.into_iter().any(alive), "a program was left behind");
}

#[test]
fn a_program_that_dies_ends_the_rest_and_its_last_lines_are_shown() {
    let (_place, mut up, _) = started("dies");
    let programs = children(up.pid());
    kill_process(Pid::from_raw(programs[0]).unwrap(), Signal::KILL).unwrap();
    assert!(!up.ended(WITHIN).unwrap().success());
    assert!(up.log().contains("its last lines"), "{}", up.last_lines());
    assert!(!programs.into_iter().any(alive), "a program was left behind");
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let place = Place::new("port");
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, place.port)).unwrap();
    let mut up = place.up();
    assert!(!up.ended(WITHIN).unwrap().success());
    let said = up.log();
    assert!(said.contains(&format!("port {} is in use", place.port)) && said.contains("--port"), "{said}");
}
