//! `hark whoami`, `hark nick`, `hark passwd`: one's own account.

use hark_sdk::{Address, Client};
use serde::Serialize;

use crate::args::NewPassword;
use crate::commands::{login, with_client};
use crate::connect::{PATIENCE_S, Purpose, with_patience};
use crate::context::{Context, SecretSource};
use crate::exit::Done;
use crate::output::{Output, note};
use crate::profile::ProfileName;
use crate::secret;

/// Who is logged in where.
#[derive(Debug, Serialize)]
pub(super) struct AccountJson {
    account: String,
    id: u64,
    display_name: String,
    role: String,
    server: String,
    agent: String,
    profile: String,
}

impl AccountJson {
    /// What a connected client knows.
    pub(super) fn new(client: &Client, server: &Address, profile: &ProfileName) -> AccountJson {
        let account = client.account();
        AccountJson {
            account: account.name.to_string(),
            id: account.id.0,
            display_name: account.display_name,
            role: account.role.to_string(),
            server: server.to_string(),
            agent: client.welcome().agent,
            profile: profile.to_string(),
        }
    }
}

/// Asks the server who this is.
pub(crate) async fn whoami(context: Context, output: &mut Output) -> Done {
    let (server, profile) = (context.server()?.clone(), context.profile_name.clone());
    let json = with_client(context, async |client| Ok(AccountJson::new(client, &server, &profile))).await?;
    let shown = match json.display_name.as_str() {
        "" => String::new(),
        name if name == json.account => String::new(),
        name => format!(" ({name})"),
    };
    let line = format!("{}{shown} on {}, {}, {}", json.account, json.server, json.role, json.agent);
    output.result(&json, line)
}

/// Changes the name that people see.
pub(crate) async fn nick(context: Context, name: &str, output: &mut Output) -> Done {
    with_client(context, async |client| Ok(client.set_display_name(name).await?)).await?;
    let line =
        if name.is_empty() { "people see your account's name".into() } else { format!("people see {name}") };
    output.result(&serde_json::json!({"display_name": name}), line)
}

/// Sets one's own password. That ends every login, this one too, so it is made anew where it was kept.
pub(crate) async fn passwd(context: Context, password: NewPassword, output: &mut Output) -> Done {
    let name = context.account()?.to_owned();
    let server = context.server()?.clone();
    let password = new_password(&context, password, &name)?;
    let is_kept = context
        .stored
        .as_ref()
        .is_some_and(|profile| profile.token.is_some() && profile.token == context.token);
    let context = context.settle_trust().await?;
    let client = context.clone().connect(Purpose::Task).await?;
    let patience_s = context.patience_s.unwrap_or(PATIENCE_S);
    let change = async { Ok(client.admin().set_password(&name, &password).await?) };
    let changed = with_patience(&client, patience_s, change).await;
    client.close_within(super::LEAVE_WITHIN).await;
    changed?;
    output.result(&serde_json::json!({"account": name}), format!("changed the password of {name}"))?;
    output.flush()?;
    if is_kept {
        let client = login::new_device(&context, &name, &password).await?;
        login::keep(&context, &server, &name, &client)?;
        client.close().await;
        note("Every other login of this account has ended.");
    }
    Ok(())
}

/// A password that is to be set: from the named file, from the environment, or asked for.
pub(super) fn new_password(context: &Context, password: NewPassword, account: &str) -> Done<String> {
    let source = password.password_file.map(SecretSource::File).or_else(|| context.new_password.clone());
    let variables = "HARK_NEW_PASSWORD or HARK_NEW_PASSWORD_FILE, or pass --password-file";
    secret::new(source.as_ref(), account, variables)
}
