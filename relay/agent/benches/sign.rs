//! What a signature costs over the link next to one in memory: CPU of both processes, and time on the wall.
//!
//! `cargo bench -p agent` prints one line for each kind of key.

#[path = "../tests/contract/link.rs"]
#[allow(dead_code, reason = "the bench signs and nothing else")]
mod link;
#[path = "../tests/contract/program.rs"]
#[allow(dead_code, reason = "the bench signs and nothing else")]
mod program;

use std::fs;
use std::time::{Duration, Instant};

use program::{Folder, Relay};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::Signer;
use rustls_pki_types::PrivateKeyDer;
use wire::frame::Purpose;

const TLS: &str =
    "[[tls.certificates]]\ncertificate = \"{folder}/server.pem\"\nkey = \"{folder}/server-key.pem\"\n";
const SIGNATURES: u32 = 20_000;
const RUNS: usize = 5;

/// CPU and wall time.
type Cost = (Duration, Duration);

fn main() {
    let kinds = [
        ("ECDSA P-256", &rcgen::PKCS_ECDSA_P256_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256),
        ("Ed25519", &rcgen::PKCS_ED25519, SignatureScheme::ED25519),
    ];
    for (name, algorithm, scheme) in kinds {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let signer = signer(&pair, scheme);
        let relay = relay(&pair);
        let key = relay.connect(Purpose::Control).settings().certificates[0].key;
        let mut link = relay.connect(Purpose::Sign);
        let message = [&[b' '; 64][..], b"TLS 1.3, server CertificateVerify\0", &[7; 32]].concat();
        let mut memory = || drop(signer.sign(&message).unwrap());
        let mut socket = || drop(link.sign(key, u16::from(scheme), &message).unwrap());
        let pids = [std::process::id(), relay.id()];
        let runs: Vec<(Cost, Cost)> =
            (0..RUNS).map(|_| (cost(&pids, &mut memory), cost(&pids, &mut socket))).collect();
        let median = |pick: fn(&(Cost, Cost)) -> Duration| {
            let mut each: Vec<f64> =
                runs.iter().map(|run| pick(run).as_secs_f64() * 1e6 / f64::from(SIGNATURES)).collect();
            each.sort_by(f64::total_cmp);
            each[RUNS / 2]
        };
        let (memory, socket) = (median(|run| run.0.0), median(|run| run.1.0));
        println!(
            "{name}: in memory {memory:.1} us CPU ({:.0} per CPU second); over the link {socket:.1} us CPU of both \
             processes ({:.0} per CPU second), {:.1} us on the wall; the link adds {:.1} us",
            1e6 / memory,
            1e6 / socket,
            median(|run| run.1.1),
            socket - memory,
        );
    }
}

fn signer(pair: &rcgen::KeyPair, scheme: SignatureScheme) -> Box<dyn Signer> {
    let der = PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
    any_supported_type(&der).unwrap().choose_scheme(&[scheme]).unwrap()
}

fn relay(pair: &rcgen::KeyPair) -> Relay {
    let folder = Folder::new();
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(pair).unwrap();
    folder.write("server.pem", &certificate.pem());
    folder.write("server-key.pem", &pair.serialize_pem());
    Relay::start_in(folder, TLS)
}

#[allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn cost(pids: &[u32], sign: &mut dyn FnMut()) -> Cost {
    let (cpu, began) = (cpu(pids), Instant::now());
    (0..SIGNATURES).for_each(|_| sign());
    (self::cpu(pids) - cpu, began.elapsed())
}

/// CPU time of all threads of these processes, from the scheduler, in nanoseconds.
fn cpu(pids: &[u32]) -> Duration {
    let thread = |path: &std::path::Path| -> u64 {
        let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
    };
    let tasks = pids.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).unwrap());
    Duration::from_nanos(tasks.map(|task| thread(&task.unwrap().path())).sum())
}
