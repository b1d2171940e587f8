//! headland-tuning.
fn main() {}
