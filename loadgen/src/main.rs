//! headland-loadgen.
fn main() {}
