//! headland-gateway.
fn main() {}
