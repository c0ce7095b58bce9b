//! Signing in with a code of an app, and what becomes of it.

use super::web::{PASSWORD, Site};
use std::time::{SystemTime, UNIX_EPOCH};
use totp_rs::{Builder, Secret};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What the app shows at a time.
fn code(secret: &str, at: u64) -> String {
    let secret = Secret::try_from_base32(secret).unwrap();
    Builder::new().with_secret(secret).build().unwrap().generate(at).to_string()
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let at =
        text.find(before).unwrap_or_else(|| panic!("{before} is not in {text}")) + before.len();
    text[at..].split(after).next().unwrap()
}

#[test]
fn the_second_factor() {
    let site = Site::with_ann();
    let mut ann = site.signed_in("ann");
    let wrong = ann.post("/account/second-factor", &[("password", "another password")]);
    assert_eq!(wrong.status, 303);
    assert!(!ann.page("/account").text.contains("QR code"), "not without the password");
    ann.post("/account/second-factor", &[("password", PASSWORD)]);
    let page = ann.page("/account");
    assert!(page.text.contains("<svg role=\"img\" aria-label=\"The secret as a QR code\""));
    let secret = between(&page.text, "Or by hand: <code>", "</code>").replace(' ', "");
    let confirm = "/account/second-factor/confirm";
    ann.post(confirm, &[("code", "000000")]);
    assert!(ann.page("/account").text.contains("not the app"), "a wrong code confirms nothing");
    // Whoever was signed in elsewhere is not any more.
    let other = site.signed_in("ann");
    ann.post(confirm, &[("code", &code(&secret, now()))]);
    let page = ann.page("/account");
    assert!(
        page.text.contains("From now on you sign in with a code")
            && page.text.contains("Take it off")
    );
    assert_eq!(other.get("/").header("location"), "/login");

    // The password alone opens nothing; the code does, once.
    let mut browser = site.browser();
    let sign_in = [("name", "ann"), ("password", PASSWORD), ("to", "/gateways")];
    let asked = browser.post_raw("/login", &sign_in);
    assert!(asked.status == 200 && asked.text.contains("Code of your authenticator app"));
    assert!(asked.headers.get("set-cookie").is_none());
    assert_eq!(browser.get("/").header("location"), "/login");
    let ticket = between(&asked.text, "name=\"ticket\" value=\"", "\"").to_owned();
    let wrong = browser.post_raw("/login/code", &[("ticket", &ticket), ("code", "12 34 56")]);
    assert!(wrong.status == 401 && wrong.text.contains("wrong, or was used"), "{}", wrong.text);
    let at = now();
    let typed = [("ticket", ticket.as_str()), ("code", &code(&secret, at)), ("to", "/gateways")];
    let done = browser.post_raw("/login/code", &typed);
    assert_eq!((done.status, done.header("location")), (303, "/gateways"), "{}", done.text);
    browser.page("/gateways");
    let mut thief = site.browser();
    let asked = thief.post_raw("/login", &sign_in);
    let ticket = between(&asked.text, "name=\"ticket\" value=\"", "\"");
    let used = thief.post_raw("/login/code", &[("ticket", ticket), ("code", &code(&secret, at))]);
    assert_eq!(used.status, 401, "somebody looked over a shoulder");
    let old = thief.post_raw("/login/code", &[("ticket", "AAAA"), ("code", "123456")]);
    assert!(old.status == 401 && old.text.contains("sign in again"), "{}", old.text);

    // It survives a restart, and is nowhere shown.
    let site = site.restart();
    let users = site.daemon.ask(&["user", "list"]);
    assert_eq!(users[0]["second_factor"], true);
    let audit = site.daemon.ask(&["audit"]).to_string();
    assert!(audit.contains("ann: a second factor") && !audit.contains(&secret), "{audit}");
    assert!(!site.daemon.log().join("\n").contains(&secret));

    // Who has lost the app asks root.
    site.daemon.ask(&["user", "no-second-factor", "ann"]);
    let mut ann = site.signed_in("ann");
    // Or an administrator, for whom it is a button.
    site.add("ben", "viewer");
    assert!(ann.page("/people").text.contains("Second factor"));
    let off = ann.post("/people/ben/no-second-factor", &[]);
    assert_eq!((off.status, off.header("location")), (303, "/people"));
    let mut ben = site.signed_in("ben");
    ben.post("/people/ann/no-second-factor", &[]);
    assert!(ben.page("/account").text.contains("takes the role admin"));
}

#[test]
fn programs_take_it_off_and_never_on() {
    let site = Site::with_ann();
    let admin = site.program("admin");
    let path = "/api/v1/users/ann";
    let on = admin.send("PATCH", path, None, &serde_json::json!({ "second_factor": true }));
    assert_eq!(on.status, 422, "{}", on.text);
    // All of it or nothing.
    let both = serde_json::json!({ "role": "viewer", "password": "another long password" });
    assert_eq!(admin.send("PATCH", path, None, &both).status, 409);
    site.signed_in("ann");
    let off = admin.send("PATCH", path, None, &serde_json::json!({ "second_factor": false }));
    assert_eq!(off.status, 204, "{}", off.text);
}
