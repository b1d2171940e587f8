//! WebSocket framing (RFC 6455 §5-§8), both ends.
