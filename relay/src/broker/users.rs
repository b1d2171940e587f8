//! How many sessions a user may have, and which goes when there is one too many.

use wire::code::{self, ErrorCode};
use wire::link::ToShard;

use super::Broker;
use crate::LinkId;

impl Broker {
    /// A session begins, or (without a request) goes on after its link was lost, and then stays whatever the limits say.
    pub(super) fn arrive(&mut self, link: LinkId, request: Option<u32>, session: u64, user: &str) {
        let admitted = self.admit_session(link, request.is_some(), session, user);
        match (request, admitted) {
            (Some(request), Ok(())) => self.queue_message(link, &ToShard::Admitted { request }),
            (Some(request), Err(error)) => self.fail(link, request, error),
            (None, _) => {}
        }
    }

    fn admit_session(&mut self, link: LinkId, new: bool, session: u64, user: &str) -> Result<(), ErrorCode> {
        let client = &self.settings.client;
        let limit = client.user_connection_limit as usize;
        if new && client.single_connection {
            for (other, session) in self.users.of(user).to_vec() {
                self.users.depart((other, session));
                self.counters.sessions_replaced += 1;
                self.queue_message(
                    other,
                    &ToShard::Disconnect { session, code: code::CONNECTION_LIMIT.code },
                );
            }
        } else if new && limit > 0 && self.users.of(user).len() >= limit {
            self.counters.sessions_refused += 1;
            return Err(code::LIMIT_EXCEEDED);
        }
        if self.users.arrive((link, session), user) { Ok(()) } else { Err(code::TOO_MANY_REQUESTS) }
    }
}
