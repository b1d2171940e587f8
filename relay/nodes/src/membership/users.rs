//! Users of a workspace, for one another.

use crate::http::Caller;
use crate::model::{Id, User};
use crate::problem::Problem;
use crate::state::Node;

/// A user of the caller's workspace.
pub async fn user(node: &Node, caller: Caller, user: Id) -> Result<User, Problem> {
    let home = node.router.home(caller.workspace).await?;
    home.user(caller.workspace, user).await?.ok_or_else(Problem::missing)
}

/// Users after this one.
pub async fn users(node: &Node, caller: Caller, after: Id, limit: usize) -> Result<Vec<User>, Problem> {
    Ok(node.router.home(caller.workspace).await?.users(caller.workspace, after, limit).await?)
}

/// Changes what others see of the caller.
pub async fn rename_user(node: &Node, caller: Caller, name: &str) -> Result<User, Problem> {
    let home = node.router.home(caller.workspace).await?;
    home.rename_user(caller.workspace, caller.user, name).await?;
    user(node, caller, caller.user).await
}
