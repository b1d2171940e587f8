//! The whole edge as its users meet it: real programs as child processes, unmodified clients, real sockets.
//! Each test has a world of its own.
#![forbid(unsafe_code)]

mod admission;
mod channels;
mod config;
mod demo;
mod door;
mod echo;
mod features;
mod loss;
mod sandbox;
mod sdk;
mod session;
mod slow;
mod tls;
mod tokens;
mod transports;
mod up;
