//! Codes of the client protocol: errors in replies, unsubscribe pushes, and disconnects (which are WebSocket close codes).

/// An error in a reply. `temporary` errors invite the SDK to try again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorCode {
    /// The number clients match on.
    pub code: u16,
    /// The text clients may show.
    pub message: &'static str,
    /// Whether the same command may succeed later.
    pub temporary: bool,
}

macro_rules! errors {
    ($($name:ident = $code:literal, $message:literal, $temporary:literal;)*) => {
        $(#[doc = concat!("`", stringify!($code), "`: ", $message, ".")]
        pub const $name: ErrorCode = ErrorCode { code: $code, message: $message, temporary: $temporary };)*

        /// The error of a number that crossed a link; an unknown one is [`INTERNAL`].
        pub const fn error(code: u16) -> ErrorCode {
            match code {
                $($code => $name,)*
                _ => INTERNAL,
            }
        }
    };
}

errors! {
    INTERNAL = 100, "internal server error", true;
    UNAUTHORIZED = 101, "unauthorized", false;
    UNKNOWN_CHANNEL = 102, "unknown channel", false;
    PERMISSION_DENIED = 103, "permission denied", false;
    METHOD_NOT_FOUND = 104, "method not found", false;
    ALREADY_SUBSCRIBED = 105, "already subscribed", false;
    LIMIT_EXCEEDED = 106, "limit exceeded", false;
    BAD_REQUEST = 107, "bad request", false;
    NOT_AVAILABLE = 108, "not available", false;
    TOKEN_EXPIRED = 109, "token expired", false;
    EXPIRED = 110, "expired", false;
    TOO_MANY_REQUESTS = 111, "too many requests", true;
    UNRECOVERABLE_POSITION = 112, "unrecoverable position", false;
}

/// From this number on, errors are the backends' own.
pub const BACKEND_ERRORS: u16 = 400;

/// A reason to end one subscription. Below 2500 the SDK stays unsubscribed; from 2500 it subscribes again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsubscribe<'a> {
    /// The number clients match on.
    pub code: u16,
    /// The text clients may show.
    pub reason: &'a str,
}

/// The server ended the subscription.
pub const UNSUBSCRIBED: Unsubscribe<'static> = Unsubscribe { code: 2000, reason: "server unsubscribe" };
/// Publications were lost and history cannot give them back.
pub const INSUFFICIENT_STATE: Unsubscribe<'static> = Unsubscribe { code: 2500, reason: "insufficient state" };

/// The subscription's time was over and it was not refreshed.
pub const SUBSCRIPTION_EXPIRED: Unsubscribe<'static> =
    Unsubscribe { code: 2501, reason: "subscription expired" };

/// A reason to close a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Close {
    /// WebSocket close code.
    pub code: u16,
    /// At most 123 bytes (RFC 6455 §5.5).
    pub reason: &'static str,
}

macro_rules! closes {
    ($($name:ident = $code:literal, $reason:literal;)*) => {
        $(#[doc = concat!("`", stringify!($code), "`: ", $reason, ".")]
        pub const $name: Close = Close { code: $code, reason: $reason };)*

        /// Every close this system can send, for metrics and documents.
        pub const CLOSES: &[Close] = &[$($name),*];
    };
}

/// The close of a number that crossed a link; an unknown one is [`FORCE_DISCONNECT`].
pub fn close(code: u16) -> Close {
    CLOSES.iter().copied().find(|close| close.code == code).unwrap_or(FORCE_DISCONNECT)
}

closes! {
    NORMAL = 1000, "";
    PROTOCOL_ERROR = 1002, "protocol error";
    UNSUPPORTED_DATA = 1003, "unsupported data";
    INVALID_PAYLOAD = 1007, "invalid payload data";
    MESSAGE_TOO_BIG = 1009, "message size limit exceeded";
    CONNECTION_CLOSED = 3000, "connection closed";
    SHUTDOWN = 3001, "shutdown";
    INTERNAL_ERROR = 3004, "internal server error";
    CONNECTION_EXPIRED = 3005, "connection expired";
    CLOSE_SUBSCRIPTION_EXPIRED = 3006, "subscription expired";
    SLOW = 3008, "slow";
    WRITE_ERROR = 3009, "write error";
    CLOSE_INSUFFICIENT_STATE = 3010, "insufficient state";
    FORCE_RECONNECT = 3011, "force reconnect";
    NO_PONG = 3012, "no pong";
    CLOSE_TOO_MANY_REQUESTS = 3013, "too many requests";
    INVALID_TOKEN = 3500, "invalid token";
    CLOSE_BAD_REQUEST = 3501, "bad request";
    STALE = 3502, "stale";
    FORCE_DISCONNECT = 3503, "force disconnect";
    CONNECTION_LIMIT = 3504, "connection limit";
    CHANNEL_LIMIT = 3505, "channel limit";
    INAPPROPRIATE_PROTOCOL = 3506, "inappropriate protocol";
    CLOSE_PERMISSION_DENIED = 3507, "permission denied";
    CLOSE_NOT_AVAILABLE = 3508, "not available";
    TOO_MANY_ERRORS = 3509, "too many errors";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_a_close_frame_and_codes_are_unique() {
        for (i, close) in CLOSES.iter().enumerate() {
            assert!(close.reason.len() <= 123);
            assert!(CLOSES[i + 1..].iter().all(|other| other.code != close.code));
        }
    }

    #[test]
    fn only_internal_and_too_many_requests_invite_a_retry() {
        let temporary: Vec<u16> = (0..200).map(error).filter(|e| e.temporary).map(|e| e.code).collect();
        assert!(temporary.iter().all(|code| matches!(code, 100 | 111)));
    }
}
