//! Goal: the codec writes exactly the documented shapes and reads whatever says the same.
//! Method: each example of the protocol's description in both directions, then variations of it.

mod examples;
mod properties;
