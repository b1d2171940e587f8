//! What is done with users, channels and members, whoever asks for it: REST or a relay.
//!
//! Owns the rules: whoever is not in a channel does not see it, members may add members and leave, only whoever made a group removes
//! others, a direct message has two members for good.

use super::standing::member_of;
use crate::http::Caller;
use crate::message;
use crate::model::{Channel, ChannelKind, Delivery, Id, Member};
use crate::problem::{Kind, Problem};
use crate::relays::names::Name;
use crate::state::Node;
use crate::store::Preferences;

pub use super::users::{rename_user, user, users};

/// Makes a group of the caller and others.
pub async fn make_group(
    node: &Node,
    caller: Caller,
    name: String,
    delivery: Delivery,
    others: &[Id],
) -> Result<Channel, Problem> {
    let now = node.clock.unix();
    let channel = Channel {
        id: node.numbers.next(now)?,
        workspace: caller.workspace,
        kind: ChannelKind::Group,
        name,
        delivery,
        created_by: caller.user,
        created_at: now,
    };
    let mut members = vec![caller.user];
    members.extend(others);
    members.sort_unstable();
    members.dedup();
    // First the stream: a channel that is seen can be posted to.
    message::open_stream(node, &channel).await?;
    let home = node.router.home(caller.workspace).await?;
    home.add_group(&channel, &members).await.map_err(|error| no_such_user(error.into()))?;
    for member in members {
        changed(node, &channel, member);
    }
    Ok(channel)
}

/// The direct message of the caller and another, or of the caller alone. Says whether it was made now.
pub async fn make_dm(node: &Node, caller: Caller, other: Id) -> Result<(Channel, bool), Problem> {
    let home = node.router.home(caller.workspace).await?;
    let found = home.user(caller.workspace, other).await?;
    found.ok_or_else(|| no_such_user(Problem::missing()))?;
    let now = node.clock.unix();
    let wanted = Channel {
        id: node.numbers.next(now)?,
        workspace: caller.workspace,
        kind: ChannelKind::Dm,
        name: String::new(),
        delivery: Delivery::Persist,
        created_by: caller.user,
        created_at: now,
    };
    let (channel, made) = home.open_dm(&wanted, other).await?;
    message::open_stream(node, &channel).await?;
    if made {
        changed(node, &channel, caller.user);
        changed(node, &channel, other);
    }
    Ok((channel, made))
}

/// A channel that the caller is in.
pub async fn channel(node: &Node, caller: Caller, channel: Id) -> Result<Channel, Problem> {
    // Its name may have changed: what may be a second old says only that the caller may see it.
    member_of(node, caller.workspace, channel, caller.user).await?;
    let home = node.router.home(caller.workspace).await?;
    home.channel(caller.workspace, channel).await?.ok_or_else(Problem::missing)
}

/// The channel behind a name on the bus, for whoever has to know no more than that it is there.
pub async fn channel_of(node: &Node, name: Name) -> Result<Channel, Problem> {
    let home = node.router.home(name.workspace).await?;
    home.channel(name.workspace, name.channel).await?.ok_or_else(Problem::missing)
}

/// The caller's channels after this one.
pub async fn channels(
    node: &Node,
    caller: Caller,
    after: Id,
    limit: usize,
) -> Result<Vec<(Channel, Member)>, Problem> {
    let home = node.router.home(caller.workspace).await?;
    Ok(home.memberships(caller.workspace, caller.user, after, limit).await?)
}

/// Calls a group something else; any member may.
pub async fn rename_channel(node: &Node, caller: Caller, id: Id, name: String) -> Result<Channel, Problem> {
    let known = member_of(node, caller.workspace, id, caller.user).await?;
    if known.kind == ChannelKind::Dm {
        return Err(fixed("a direct message has no name"));
    }
    let home = node.router.home(caller.workspace).await?;
    home.rename_channel(caller.workspace, id, &name).await?;
    channel(node, caller, id).await
}

/// Members after this user.
pub async fn members(
    node: &Node,
    caller: Caller,
    channel: Id,
    after: Id,
    limit: usize,
) -> Result<Vec<Member>, Problem> {
    member_of(node, caller.workspace, channel, caller.user).await?;
    let home = node.router.home(caller.workspace).await?;
    Ok(home.members(caller.workspace, channel, after, limit).await?)
}

/// The caller's own membership.
pub async fn member(node: &Node, caller: Caller, channel: Id) -> Result<Member, Problem> {
    let home = node.router.home(caller.workspace).await?;
    let member = home.member(caller.workspace, channel, caller.user).await?;
    member.map(|member| node.marks.with(member)).ok_or_else(Problem::missing)
}

/// Makes a user a member of a group. Says whether that is new.
pub async fn add_member(
    node: &Node,
    caller: Caller,
    channel: Id,
    user: Id,
) -> Result<(Member, bool), Problem> {
    let known = member_of(node, caller.workspace, channel, caller.user).await?;
    let home = node.router.home(caller.workspace).await?;
    if let Some(member) = home.member(caller.workspace, channel, user).await? {
        return Ok((member, false));
    }
    if known.kind == ChannelKind::Dm {
        return Err(fixed("the members of a direct message are fixed"));
    }
    // What was said before is not new to whoever comes now.
    let top = message::position(node, &known).await?.top;
    let now = node.clock.unix();
    let added = home.add_member(caller.workspace, channel, user, now, top).await;
    let new = added.map_err(|error| no_such_user(error.into()))?;
    changed(node, &known, user);
    let member = home.member(caller.workspace, channel, user).await?;
    Ok((member.ok_or_else(Problem::missing)?, new))
}

/// Ends a membership: the caller's own, or, for whoever made the group, another's.
pub async fn remove_member(node: &Node, caller: Caller, channel: Id, user: Id) -> Result<(), Problem> {
    let known = member_of(node, caller.workspace, channel, caller.user).await?;
    if known.kind == ChannelKind::Dm {
        return Err(fixed("the members of a direct message are fixed"));
    }
    if user != caller.user && known.created_by != caller.user {
        return Err(Problem::new(Kind::Forbidden, "only whoever made the group removes others"));
    }
    let home = node.router.home(caller.workspace).await?;
    let removed = home.remove_member(caller.workspace, channel, user, node.clock.unix()).await?;
    changed(node, &known, user);
    if removed { Ok(()) } else { Err(Problem::missing()) }
}

/// Changes what the caller wants of a channel.
pub async fn preferences(
    node: &Node,
    caller: Caller,
    channel: Id,
    wanted: Preferences,
) -> Result<Member, Problem> {
    let home = node.router.home(caller.workspace).await?;
    let member = home.set_preferences(caller.workspace, channel, caller.user, wanted).await?;
    Ok(node.marks.with(member))
}

/// Moves the caller's marks forward, at most to the top, and tells the channel.
pub async fn mark(
    node: &Node,
    caller: Caller,
    channel: Id,
    offset: u64,
    read: bool,
) -> Result<Member, Problem> {
    let known = member_of(node, caller.workspace, channel, caller.user).await?;
    let offset = offset.min(message::position(node, &known).await?.top);
    let home = node.router.home(caller.workspace).await?;
    let member =
        home.mark(caller.workspace, channel, caller.user, if read { offset } else { 0 }, offset).await?;
    message::receipt(node, &known, caller.user, offset, read);
    Ok(node.marks.with(member))
}

/// What this node knew of the membership is over, and relays are to hear of it.
fn changed(node: &Node, channel: &Channel, user: Id) {
    node.standings.forget(channel.workspace, channel.id, user);
    node.dispatch.membership();
}

fn fixed(why: &str) -> Problem {
    Problem::new(Kind::Forbidden, why)
}

/// What is missing is not the address but a user that the request names.
fn no_such_user(problem: Problem) -> Problem {
    match problem.kind() {
        Kind::Missing => Problem::new(Kind::Missing, "there is no such user in the workspace"),
        _ => problem,
    }
}
