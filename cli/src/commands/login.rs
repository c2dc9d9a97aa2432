//! `hark register`, `hark login`, `hark logout`: how a login begins and ends.

use std::fs;

use hark_sdk::{Address, Client, ConnectErrorKind, Credentials};

use crate::commands::account::AccountJson;
use crate::context::Context;
use crate::exit::{Done, Failure, Outcome};
use crate::output::{Output, note};
use crate::secret;

/// Makes an account, logs in and keeps the login.
pub(crate) async fn register(
    context: Context,
    name: &str,
    token: Option<String>,
    display_name: &str,
    output: &mut Output,
) -> Done {
    let token = token.or_else(|| context.token_variable.clone()).ok_or_else(|| {
        Failure::usage("there is no registration token: pass --token or set HARK_TOKEN; the server printed one when it first started")
    })?;
    let server = context.server()?.clone();
    context.check_profile_is_free_for(&server, name)?;
    let context = context.settle_trust().await?;
    let variables = "HARK_PASSWORD or HARK_PASSWORD_FILE";
    let password = secret::new(context.password.as_ref(), name, variables)?;
    context.builder()?.register(&token, name, &password, display_name).await?;
    log_in(&context, &server, name, &password, output).await.map_err(|failure| match failure {
        Failure::Said { outcome, sentence } => Failure::Said {
            outcome,
            sentence: format!(
                "the account {name} was made, but the login failed: {sentence}; try `hark login {name}`"
            ),
        },
        quiet => quiet,
    })
}

/// Logs in and keeps the login.
pub(crate) async fn login(context: Context, name: Option<String>, output: &mut Output) -> Done {
    let name = match name {
        Some(name) => name,
        None => context.account()?.to_owned(),
    };
    let server = context.server()?.clone();
    context.check_profile_is_free_for(&server, &name)?;
    let context = context.settle_trust().await?;
    let password = secret::present(context.password.as_ref(), &name)?;
    log_in(&context, &server, &name, &password, output).await
}

/// Logs in as a new device, and keeps server, trust, name and token in the profile.
async fn log_in(
    context: &Context,
    server: &Address,
    name: &str,
    password: &str,
    output: &mut Output,
) -> Done {
    let client = new_device(context, name, password).await?;
    let profile_name = &context.profile_name;
    if let Err(error) = keep(context, server, name, &client) {
        // A login that nobody can find again must not stay behind.
        let _ = client.logout().await;
        return Err(error);
    }
    let json = AccountJson::new(&client, server, profile_name);
    client.close().await;
    note(format!("The login is kept in {}.", context.profiles.path(profile_name).display()));
    output.result(&json, format!("logged in as {name} on {server}"))
}

/// Logs in with a password as a device of this machine's name.
pub(super) async fn new_device(context: &Context, name: &str, password: &str) -> Done<Client> {
    let credentials = Credentials::password_for_device(name, password, &device_label())
        .map_err(|error| Failure::usage(format!("the login of {name:?} can not be used: {error}")))?;
    Ok(context.builder()?.credentials(credentials).connect().await?)
}

/// Writes the profile of a new login.
pub(super) fn keep(context: &Context, server: &Address, name: &str, client: &Client) -> Done {
    let token = client.device_token().ok_or_else(|| {
        Failure::new(Outcome::Refused, "the server gave no device token, so the login can not be kept")
    })?;
    let profile = context.profile_of(server, name, Some(token.expose().to_owned()));
    Ok(context.profiles.save(&context.profile_name, &profile)?)
}

/// What the server's lists of devices call this one: the program and the machine.
fn device_label() -> String {
    let host =
        fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| fs::read_to_string("/etc/hostname"));
    let host: String =
        host.unwrap_or_default().trim().chars().filter(char::is_ascii_graphic).take(48).collect();
    if host.is_empty() { "hark".to_owned() } else { format!("hark on {host}") }
}

/// Makes the server forget the device, then forgets the token.
pub(crate) async fn logout(context: Context, local: bool, output: &mut Output) -> Done {
    let server = context.server()?.clone();
    let name = context.account()?.to_owned();
    if context.token.is_none() {
        return Err(Failure::usage(format!(
            "{name} is not logged in on {server} in profile {}",
            context.profile_name
        )));
    }
    if !local {
        forget_device(&context).await?;
    }
    forget_token(&context)?;
    output.result(
        &serde_json::json!({"account": name, "server": server.to_string()}),
        format!("logged out {name} from {server}"),
    )
}

async fn forget_device(context: &Context) -> Done {
    let context = context.clone().settle_trust().await?;
    let (Some(name), Some(token)) = (&context.user, &context.token) else { return Ok(()) };
    let credentials = Credentials::device_token(name, token)
        .map_err(|error| Failure::usage(format!("the login of {name:?} can not be used: {error}")))?;
    match context.builder()?.credentials(credentials).connect().await {
        Ok(client) => Ok(client.logout().await?),
        Err(error) if *error.kind() == ConnectErrorKind::AuthFailed => {
            note("The server had forgotten this login already.");
            Ok(())
        }
        Err(error) => Err(match Failure::from(error) {
            Failure::Said { outcome, sentence } => Failure::Said {
                outcome,
                sentence: format!(
                    "{sentence}; the login is kept, or use `hark logout --local` to forget it here only"
                ),
            },
            quiet => quiet,
        }),
    }
}

/// Takes the token out of the profile. Server, trust and name stay, so that `hark login` asks for the password
/// only.
fn forget_token(context: &Context) -> Done {
    match &context.stored {
        Some(profile) if profile.token.is_some() && profile.token == context.token => {
            let profile = crate::profile::Profile { token: None, ..profile.clone() };
            Ok(context.profiles.save(&context.profile_name, &profile)?)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_labelled_with_something_the_protocol_takes() {
        let label = device_label();
        assert!(label.starts_with("hark") && label.len() <= 64, "{label}");
        assert!(Credentials::password_for_device("alice", "12345678", &label).is_ok());
    }
}
