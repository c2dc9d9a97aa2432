//! The administration of accounts.

use hark_protocol::{
    AccountAdd, AccountDisable, AccountId, AccountList, AccountPassword, AccountRole, AuthMethod, ErrorCode,
    Frame, Secret,
};

use crate::rig::{Login, PASSWORD, Rig, auth, the};

fn disable(name: &str, disabled: bool) -> AccountDisable {
    AccountDisable { name: name.parse().unwrap(), disabled }
}

fn set_password(name: &str, password: &str) -> AccountPassword {
    AccountPassword { name: name.parse().unwrap(), password: Secret::parse(password).unwrap() }
}

fn add(name: &str, role: AccountRole) -> AccountAdd {
    AccountAdd { name: name.parse().unwrap(), password: Secret::parse(PASSWORD).unwrap(), role }
}

async fn admin(rig: &Rig) -> crate::rig::Peer {
    rig.account_with_role("root", AccountRole::ADMIN);
    rig.login("root").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administration_is_for_admins() {
    let rig = Rig::start().await;
    rig.account("bob");
    let mut ann = rig.login("ann").await;
    let requests: [Frame; 4] = [
        add("eve", AccountRole::ADMIN).into(),
        AccountList { after: AccountId(0), limit: 0 }.into(),
        disable("bob", true).into(),
        set_password("bob", "another password").into(),
    ];
    for request in requests {
        assert_eq!(ann.refusal(request).await.code, ErrorCode::FORBIDDEN);
    }
    rig.login("bob").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_adds_and_lists_accounts() {
    let rig = Rig::start().await;
    let mut root = admin(&rig).await;
    the!(root.ask(add("ann", AccountRole::USER)).await, Ok);
    the!(root.ask(add("bob", AccountRole::ADMIN)).await, Ok);
    assert_eq!(root.refusal(add("ann", AccountRole::USER)).await.code, ErrorCode::NAME_TAKEN);
    assert_eq!(root.refusal(add("eve", AccountRole(9))).await.code, ErrorCode::UNSUPPORTED);
    let mut names = Vec::new();
    let mut after = AccountId(0);
    loop {
        let page = the!(root.ask(AccountList { after, limit: 2 }).await, Accounts);
        assert!(page.accounts.len() <= 2);
        names.extend(page.accounts.iter().map(|one| (one.name.to_string(), one.role)));
        after = page.accounts.last().unwrap().account;
        if !page.more {
            break;
        }
    }
    let [user, admin] = [AccountRole::USER, AccountRole::ADMIN];
    assert_eq!(names, [("root".into(), admin), ("ann".into(), user), ("bob".into(), admin)]);
    let mut bob = rig.greeted().await;
    let who = the!(bob.ask(auth(AuthMethod::PASSWORD, "bob", PASSWORD)).await, Authenticated);
    assert_eq!(who.role, AccountRole::ADMIN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_account_is_disconnected_and_stays_out_until_it_is_enabled() {
    let rig = Rig::start().await;
    let mut root = admin(&rig).await;
    let token = rig.device_token("bob");
    let mut bobs = vec![rig.login("bob").await, rig.login_by_token("bob", &token, Login::default()).await];
    let mut ann = rig.login("ann").await;
    assert_eq!(root.refusal(disable("root", true)).await.code, ErrorCode::FORBIDDEN);
    assert_eq!(root.refusal(disable("nobody", true)).await.code, ErrorCode::NOT_FOUND);
    the!(root.ask(disable("bob", true)).await, Ok);
    for bob in &mut bobs {
        assert_eq!(bob.end_by_error().await.code, ErrorCode::ACCOUNT_DISABLED);
    }
    for login in [auth(AuthMethod::PASSWORD, "bob", PASSWORD), auth(AuthMethod::DEVICE_TOKEN, "bob", &token)]
    {
        assert_eq!(rig.greeted().await.refusal(login).await.code, ErrorCode::AUTH_FAILED);
    }
    assert!(ann.barrier().await.is_empty(), "others are not disturbed");
    the!(root.ask(disable("bob", true)).await, Ok);
    the!(root.ask(disable("bob", false)).await, Ok);
    rig.login_by_token("bob", &token, Login::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_forgets_the_devices_and_leaves_connections_alone() {
    let rig = Rig::start().await;
    let token = rig.device_token("ann");
    let mut ann = rig.login_by_token("ann", &token, Login::default()).await;
    assert_eq!(ann.refusal(set_password("ann", "2short")).await.code, ErrorCode::MALFORMED);
    the!(ann.ask(set_password("ann", "battery stapler")).await, Ok);
    assert!(ann.barrier().await.is_empty());
    for login in [auth(AuthMethod::PASSWORD, "ann", PASSWORD), auth(AuthMethod::DEVICE_TOKEN, "ann", &token)]
    {
        assert_eq!(rig.greeted().await.refusal(login).await.code, ErrorCode::AUTH_FAILED);
    }
    let login = auth(AuthMethod::PASSWORD, "ann", "battery stapler");
    the!(rig.greeted().await.ask(login).await, Authenticated);

    let mut root = admin(&rig).await;
    the!(root.ask(set_password("ann", "set by an admin")).await, Ok);
    let login = auth(AuthMethod::PASSWORD, "ann", "set by an admin");
    the!(rig.greeted().await.ask(login).await, Authenticated);
    assert_eq!(root.refusal(set_password("nobody", PASSWORD)).await.code, ErrorCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_crosses_its_disabling_does_not_stay() {
    let rig = Rig::start().await;
    let mut root = admin(&rig).await;
    let token = rig.device_token("bob");
    for round in 0..200 {
        let mut bob = rig.greeted().await;
        let login = bob.send(auth(AuthMethod::DEVICE_TOKEN, "bob", &token)).await;
        the!(root.ask(disable("bob", true)).await, Ok);
        match bob.answer(login).await {
            Frame::Error(error) => assert_eq!(error.code, ErrorCode::AUTH_FAILED),
            Frame::Authenticated(_) => {
                assert_eq!(bob.end_by_error().await.code, ErrorCode::ACCOUNT_DISABLED, "round {round}");
            }
            other => panic!("{other:?}"),
        }
        the!(root.ask(disable("bob", false)).await, Ok);
    }
}
