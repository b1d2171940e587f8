//! headland-relay.
fn main() {}
