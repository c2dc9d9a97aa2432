//! `hark admin user`: who may log in.

use hark_sdk::{Access, Account, AccountRole};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::args::{AccountRoleChoice, NewPassword, UserVerb};
use crate::commands::account::new_password;
use crate::commands::with_client;
use crate::context::Context;
use crate::exit::Done;
use crate::output::{Mode, Output};
use crate::record::local_time;

/// Does what an admin wants with accounts.
pub(crate) async fn user(context: Context, verb: UserVerb, output: &mut Output) -> Done {
    match verb {
        UserVerb::Add { name, role, password } => add(context, &name, role, password, output).await,
        UserVerb::List => list(context, output).await,
        UserVerb::Disable { name } => access(context, &name, Access::Disabled, output).await,
        UserVerb::Enable { name } => access(context, &name, Access::Enabled, output).await,
        UserVerb::Passwd { name, password } => passwd(context, &name, password, output).await,
    }
}

async fn add(
    context: Context,
    name: &str,
    role: AccountRoleChoice,
    password: NewPassword,
    output: &mut Output,
) -> Done {
    let password = new_password(&context, password, name)?;
    let role = match role {
        AccountRoleChoice::User => AccountRole::USER,
        AccountRoleChoice::Admin => AccountRole::ADMIN,
    };
    with_client(context, async |client| Ok(client.admin().add_account(name, &password, role).await?)).await?;
    let json = serde_json::json!({"account": name, "role": role.to_string()});
    output.result(&json, format!("added {name}"))
}

async fn access(context: Context, name: &str, access: Access, output: &mut Output) -> Done {
    with_client(context, async |client| Ok(client.admin().set_access(name, access).await?)).await?;
    let (disabled, verb) = match access {
        Access::Disabled => (true, "disabled"),
        Access::Enabled => (false, "enabled"),
    };
    output.result(&serde_json::json!({"account": name, "disabled": disabled}), format!("{verb} {name}"))
}

async fn passwd(context: Context, name: &str, password: NewPassword, output: &mut Output) -> Done {
    let password = new_password(&context, password, name)?;
    with_client(context, async |client| Ok(client.admin().set_password(name, &password).await?)).await?;
    output.result(&serde_json::json!({"account": name}), format!("changed the password of {name}"))
}

/// The stable keys of an account.
#[derive(Debug, Serialize)]
struct AccountJson<'a> {
    account: &'a str,
    id: u64,
    display_name: &'a str,
    role: String,
    disabled: bool,
    created: u64,
}

async fn list(context: Context, output: &mut Output) -> Done {
    let accounts = with_client(context, async |client| Ok(client.admin().accounts().await?)).await?;
    if output.mode() == Mode::Json {
        return accounts.iter().try_for_each(|account| {
            output.json(&AccountJson {
                account: account.name.as_str(),
                id: account.account.0,
                display_name: account.display_name.as_str(),
                role: account.role.to_string(),
                disabled: account.disabled,
                created: account.created.0,
            })
        });
    }
    let zone = TimeZone::system();
    let rows: Vec<[String; 5]> = accounts.iter().map(|account| row(account, &zone)).collect();
    output.table(["ACCOUNT", "NAME", "ROLE", "STATE", "CREATED"], &rows)
}

fn row(account: &Account, zone: &TimeZone) -> [String; 5] {
    [
        account.name.to_string(),
        account.display_name.to_string(),
        account.role.to_string(),
        if account.disabled { "disabled".to_owned() } else { "enabled".to_owned() },
        local_time(account.created.0, zone, "%Y-%m-%d %H:%M"),
    ]
}
