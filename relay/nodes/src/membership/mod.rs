//! Users, channels, members: who there is, who is where, and what follows from it.

pub mod api;
mod service;
mod standing;
mod users;

pub use service::{
    add_member, channel, channel_of, channels, make_dm, make_group, mark, member, members, preferences,
    remove_member, rename_channel, rename_user, user, users,
};
pub(crate) use standing::member_of_lately;
pub use standing::{Standings, member_of, standing};
