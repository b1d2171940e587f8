//! The opener's own tests need a process of one thread, which a test has none of: they are in `tests/confined.rs`.

use super::*;

#[test]
fn a_process_of_several_threads_is_not_copied() {
    // The test's own thread and the one that waits for it.
    let error = Opener::start(Path::new("/nowhere"), 1).unwrap_err();
    assert!(error.to_string().contains("threads"), "{error}");
}
