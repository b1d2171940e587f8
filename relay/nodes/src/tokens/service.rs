//! Registration and sign-in: names and passwords in, tokens out.

use aws_lc_rs::digest::{SHA256, digest};

use super::keys::random_text;
use crate::http::{Source, check};
use crate::limits::REFRESH_TOKEN_MAX;
use crate::model::{Id, User, Workspace};
use crate::problem::{Kind, Problem};
use crate::state::Node;
use crate::store::{Route, Session, StoreError};

/// Who signed in, and the tokens.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The tenant.
    pub workspace: Workspace,
    /// Who.
    pub user: User,
    /// Good at nodes and edges.
    pub access_token: String,
    /// Seconds.
    pub expires_in: u64,
    /// Good once, for the next ones.
    pub refresh_token: String,
}

/// A new user's name and password.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// As it is to be signed in with.
    pub name: String,
    /// In the clear.
    pub password: String,
    /// The name, where it is not given.
    pub display_name: Option<String>,
}

/// Makes a workspace with its first user.
pub async fn make_workspace(node: &Node, name: &str, newcomer: Newcomer) -> Result<SignedIn, Problem> {
    node.may_register()?;
    let name = check::name(name)?;
    let newcomer = checked(newcomer)?;
    let hash = node.hasher.hash(newcomer.password.clone()).await?;
    let workspace = new_workspace(node, name).await?;
    let user = add_user(node, workspace.id, newcomer, &hash).await?;
    signed_in(node, workspace, user).await
}

/// Makes a user of a workspace, which is made if it is not there, whether people may register or not: for the operator.
pub async fn enlist(node: &Node, workspace: &str, newcomer: Newcomer) -> Result<(Workspace, User), Problem> {
    let name = check::name(workspace)?;
    let newcomer = checked(newcomer)?;
    let hash = node.hasher.hash(newcomer.password.clone()).await?;
    let workspace = ensure_workspace(node, &name).await?;
    let user = add_user(node, workspace.id, newcomer, &hash).await?;
    Ok((workspace, user))
}

async fn new_workspace(node: &Node, name: String) -> Result<Workspace, Problem> {
    let now = node.clock.unix();
    let workspace = Workspace { id: node.numbers.next(now)?, name, created_at: now };
    let cluster = node.checked.clusters.first().map_or_else(String::new, |(name, _)| name.clone());
    let route = Route { workspace: workspace.clone(), cluster, moving_to: None };
    node.router.control().add_route(&route).await?;
    node.router.home(workspace.id).await?.add_workspace(&workspace).await?;
    Ok(workspace)
}

/// The workspace of this name; makes one, without users, if there is none.
pub async fn ensure_workspace(node: &Node, name: &str) -> Result<Workspace, Problem> {
    if let Some(known) = named(node, name).await? {
        return Ok(known);
    }
    match new_workspace(node, name.to_owned()).await {
        // Another node was faster.
        Err(problem) if problem.kind() == Kind::Exists => named(node, name).await?.ok_or(problem),
        made => made,
    }
}

/// Makes a user of a workspace.
pub async fn register(node: &Node, workspace: &str, newcomer: Newcomer) -> Result<SignedIn, Problem> {
    node.may_register()?;
    let newcomer = checked(newcomer)?;
    let workspace = named(node, &check::name(workspace)?).await?.ok_or_else(Problem::missing)?;
    let hash = node.hasher.hash(newcomer.password.clone()).await?;
    let user = add_user(node, workspace.id, newcomer, &hash).await?;
    signed_in(node, workspace, user).await
}

/// Signs a user in. Takes as long for one who does not exist.
pub async fn log_in(
    node: &Node,
    source: Source,
    (workspace, name): (&str, &str),
    password: String,
) -> Result<SignedIn, Problem> {
    let (workspace, name) = (check::name(workspace)?, check::name(name)?);
    let (account, now) = ((workspace, name), node.clock.now());
    let waits = [node.accounts.wait_s(&account, now), node.sources.wait_s(&source.0, now)];
    if let Some(seconds) = waits.into_iter().flatten().max() {
        return Err(Problem::new(Kind::TooMany, "").after(seconds));
    }
    let found = match named(node, &account.0).await? {
        Some(workspace) => {
            let home = node.router.home(workspace.id).await?;
            home.user_by_name(workspace.id, &account.1).await?.map(|(user, hash)| (workspace, user, hash))
        }
        None => None,
    };
    let hash = found.as_ref().map(|(.., hash)| hash.clone());
    // What no one can have chosen is not worth a different answer, but costs as much.
    let good = node.hasher.verify(password, hash).await?;
    match found {
        Some((workspace, user, _)) if good => signed_in(node, workspace, user).await,
        _ => {
            node.accounts.failed(&account, now);
            node.sources.failed(&source.0, now);
            Err(Problem::new(Kind::Credentials, ""))
        }
    }
}

/// Takes a refresh token, which is good no more, and gives new ones.
pub async fn refresh(node: &Node, token: &str) -> Result<SignedIn, Problem> {
    let refused =
        || Problem::new(Kind::Unauthorized, "the refresh token is over, or was used: sign in again");
    let workspace = workspace_of(token).ok_or_else(refused)?;
    let route = node.router.control().route(workspace).await?.ok_or_else(refused)?;
    let home = node.router.home(workspace).await?;
    let taken = home.take_session(workspace, &hash_of(token), node.clock.unix()).await?;
    let user = home.user(workspace, taken.ok_or_else(refused)?).await?.ok_or_else(refused)?;
    signed_in(node, route.workspace, user).await
}

async fn signed_in(node: &Node, workspace: Workspace, user: User) -> Result<SignedIn, Problem> {
    let now = node.clock.unix();
    let (access_token, expires_in) = node.keys.sign(workspace.id, user.id, now)?;
    let refresh_token = format!("{}.{}", workspace.id, random_text::<32>()?);
    let lifetime = node.checked.config.tokens.refresh_lifetime.as_millis();
    let ends_at = now.saturating_add(i64::try_from(lifetime).unwrap_or(i64::MAX));
    let session = Session { hash: hash_of(&refresh_token), user: user.id, ends_at };
    node.router.home(workspace.id).await?.add_session(workspace.id, &session).await?;
    Ok(SignedIn { workspace, user, access_token, expires_in, refresh_token })
}

async fn add_user(node: &Node, workspace: Id, newcomer: Newcomer, hash: &str) -> Result<User, Problem> {
    let now = node.clock.unix();
    let display_name = newcomer.display_name.unwrap_or_else(|| newcomer.name.clone());
    let user =
        User { id: node.numbers.next(now)?, workspace, name: newcomer.name, display_name, created_at: now };
    node.router.home(workspace).await?.add_user(&user, hash).await?;
    Ok(user)
}

async fn named(node: &Node, name: &str) -> Result<Option<Workspace>, StoreError> {
    Ok(node.router.control().route_by_name(name).await?.map(|route| route.workspace))
}

fn checked(newcomer: Newcomer) -> Result<Newcomer, Problem> {
    check::password(&newcomer.password)?;
    if let Some(name) = &newcomer.display_name {
        check::title(name)?;
    }
    Ok(Newcomer { name: check::name(&newcomer.name)?, ..newcomer })
}

/// A refresh token begins with its workspace, so that it is found without asking everywhere.
fn workspace_of(token: &str) -> Option<Id> {
    if token.len() > REFRESH_TOKEN_MAX {
        return None;
    }
    token.split_once('.')?.0.parse().ok()
}

fn hash_of(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}
