//! Our TLS over loopback sockets against implementations that are not ours and not rustls.

mod echo;
mod openssl;
mod python;
