//! What the process says of itself.

use super::*;

#[test]
fn private_bytes_grow_by_what_is_touched_and_not_by_what_is_reserved() {
    const BYTES: usize = 64 << 20;
    let before = process_private_bytes().unwrap();
    let mut memory: Vec<u8> = Vec::with_capacity(BYTES);
    let reserved = process_private_bytes().unwrap();
    assert!(reserved < before + (BYTES as u64) / 4, "reserved: {before} -> {reserved}");
    memory.resize(BYTES, 1);
    let touched = process_private_bytes().unwrap();
    assert!(touched > before + (BYTES as u64) * 9 / 10, "touched: {before} -> {touched}");
    assert_eq!(private_bytes(std::process::id()).unwrap() / BYTES as u64, touched / BYTES as u64);
    drop(memory);
}

#[test]
fn only_the_private_lines_are_added_up() {
    let text = "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:  900 kB\nPrivate_Clean:  12 kB\nPrivate_Dirty:  30 kB\n\
                Private_Hugetlb:  2 kB\nShared_Dirty: 7 kB\n";
    assert_eq!(sum_private(text), 44 * 1024);
    assert_eq!(sum_private(""), 0);
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    let (soft, hard) = raise_nofile().unwrap();
    assert_eq!(soft, hard);
    assert_eq!(soft_nofile().unwrap(), soft);
}

#[test]
fn cpu_time_of_this_process_is_the_same_by_number() {
    let start = process_cpu(None).unwrap();
    while process_cpu(None).unwrap() - start < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    let (before, mine) = (process_cpu(None).unwrap(), process_cpu(Some(std::process::id())).unwrap());
    assert!(before <= mine && mine <= process_cpu(None).unwrap());
}

#[test]
fn a_process_that_is_not_there_is_an_error() {
    assert!(process_cpu(Some(u32::MAX)).is_err());
    assert!(process_cpu(Some(PID_MAX)).is_err());
    assert!(private_bytes(i32::MAX as u32).is_err());
}

#[test]
fn trimming_and_refusing_huge_pages_are_harmless() {
    trim_heap();
    disable_thp().unwrap();
}
