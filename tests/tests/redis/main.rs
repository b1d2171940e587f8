//! Against real Redis servers: that they start and fail over as tests of the bus need them to.
#![forbid(unsafe_code)]

mod servers;
