//! Redis as the bus, against real servers: the promises of the port, and what becomes of them when servers fail.
#![forbid(unsafe_code)]

mod edge;
mod faults;
mod moves;
mod port;
mod servers;
