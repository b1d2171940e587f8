//! TLS: rustls for the handshake, our own record layer afterwards.
