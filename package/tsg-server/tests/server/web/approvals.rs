//! Many gateways let in by a list of their fingerprints: command line, page, API, audit trail, hostile lists.

use super::{Browser, Got, Site};
use crate::gateway::TestGateway;
use serde_json::{Value, json};
use tsg_control::gateway::Standing;
use tsg_control::keys::PublicKey;

/// So many boxes that wait.
fn waiting(site: &Site, names: &[&str]) -> Vec<TestGateway> {
    let connect = |name: &&str| {
        let mut gateway = TestGateway::connect(&site.daemon, name, None);
        gateway.until("pending", |g| *g.machine.standing() == Standing::Pending);
        gateway
    };
    names.iter().map(connect).collect()
}

/// The fingerprint of a box that never came.
fn absent(number: u8) -> String {
    PublicKey([number; 32]).fingerprint().to_string()
}

fn state(site: &Site, gateway: &TestGateway) -> Value {
    site.daemon.ask(&["gateway", "show", &gateway.fingerprint()])["state"].clone()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

fn send(browser: &mut Browser<'_>, list: &str) -> Got {
    browser.post("/approvals", &[("group", "plant"), ("list", list)])
}

#[test]
fn a_list_on_the_command_line_lets_in_who_waits() {
    let site = Site::start();
    site.daemon.ask(&["group", "add", "plant"]);
    site.daemon.ask(&["group", "add", "other"]);
    let mut boxes = waiting(&site, &["press", "pump", "drive", "lost"]);
    let prints: Vec<_> = boxes.iter().map(TestGateway::fingerprint).collect();
    site.daemon.ask(&["gateway", "approve", &prints[3], "--group", "other"]);
    let file = site.daemon.place.path().join("boxes.csv");
    let never = absent(9);
    let text = format!(
        "# hall 3\r\n{},press\r\n\r\n{}  pump\r\n{never}\r\n{}\r\n",
        prints[0],
        prints[1].to_uppercase().replace('-', ":"),
        prints[3],
    );
    std::fs::write(&file, text).unwrap();
    let words = ["gateway", "approve-list", file.to_str().unwrap(), "--group", "plant"];
    let came = site.daemon.ask(&words);
    assert_eq!(names(&came["approved"]), ["press", "pump"], "{came}");
    assert_eq!(
        (names(&came["members"]), &came["members"][0]["group"]),
        (vec!["lost"], &json!("other"))
    );
    assert_eq!((&came["absent"], &came["revoked"]), (&json!([never]), &json!([])));
    assert_eq!(state(&site, &boxes[2]), "pending", "who is not listed waits");
    for gateway in &mut boxes[..2] {
        gateway.reconnected();
        gateway.until_member();
    }
    let audit = site.daemon.ask(&["audit"]);
    let line = |at: usize| {
        ["action", "object", "outcome"].map(|field| audit[at][field].as_str().unwrap().to_owned())
    };
    assert_eq!(line(0)[..2], ["gateway approve", "pump into plant, by a list"]);
    assert_eq!(line(1)[2], format!("done: {}", prints[0]));
    let [action, object, outcome] = line(2);
    assert_eq!(action, "gateway approve-list");
    assert!(object.starts_with(&format!("4 fingerprints into plant: {}", prints[0])), "{object}");
    assert!(object.ends_with(" …") && !object.contains(&prints[3]), "{object}");
    assert_eq!(outcome, "done: 2 let in, 1 has not asked yet, 1 was in before");

    // Who was thrown out stays out, and the rest of the list comes by standard input.
    site.daemon.ask(&["gateway", "revoke", "press", "--reason", "stolen"]);
    let list = format!("{}\n{}\n", prints[0], prints[2]);
    site.daemon.ask_with(&["gateway", "approve-list", "-", "--group", "plant"], &list);
    assert_eq!(
        (state(&site, &boxes[0]), state(&site, &boxes[2])),
        (json!("revoked"), json!("offline"))
    );
    let shown = site.daemon.command(&words);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("stays thrown out: approve it by itself"), "{shown}");
    assert!(
        shown.ends_with(
            "plant: 0 let in, 1 has not asked yet, 2 were in before, 1 stays thrown out\n"
        ),
        "{shown}"
    );

    // A bad line is named, and nobody is let in.
    let late = waiting(&site, &["late"]).pop().unwrap();
    std::fs::write(&file, format!("{}\npump\n", late.fingerprint())).unwrap();
    let refused = site.daemon.refused(&words);
    assert!(
        refused.contains("boxes.csv: line 2: \"pump\" is not a whole fingerprint"),
        "{refused}"
    );
    std::fs::write(&file, b"\xff\xfe1\0").unwrap();
    assert!(site.daemon.refused(&words).contains("cannot read"));
    assert_eq!(state(&site, &late), "pending");

    // It is on the disk.
    let site = Site::start_in(site.daemon.kill());
    assert_eq!(site.daemon.ask(&["group", "show", "plant"])["members"], 2);
}

#[test]
fn a_list_on_the_page_is_for_operators_while_somebody_waits() {
    let site = Site::with_ann();
    site.add("olga", "operator");
    site.add("vic", "viewer");
    site.daemon.ask(&["group", "add", "plant"]);
    let mut olga = site.signed_in("olga");
    let form = "action=\"/approvals\"";
    assert!(!olga.page("/gateways").text.contains(form), "nobody waits");
    let mut boxes = waiting(&site, &["press", "pump <script>alert(1)</script>"]);
    let prints: Vec<_> = boxes.iter().map(TestGateway::fingerprint).collect();
    let page = olga.page("/gateways").text;
    assert!(page.contains(form) && page.contains("2 boxes wait."), "{page}");
    assert!(olga.page("/gateways?text=nobody").text.contains(form));
    assert!(!site.signed_in("vic").page("/gateways").text.contains(form));

    // What is wrong is said, and what was typed is still there.
    let typed = format!("{}\n<script>alert(2)</script>\n", prints[0]);
    let wrong = send(&mut olga, &typed);
    assert_eq!(wrong.status, 422);
    assert!(wrong.text.contains("Line 2: ") && wrong.text.contains(&prints[0]), "{}", wrong.text);
    assert!(wrong.text.contains("<option selected>plant</option>"), "{}", wrong.text);
    assert!(!wrong.text.contains("<script>alert"), "{}", wrong.text);
    let mut other = [("group", "none"), ("list", prints[0].as_str())];
    let none = olga.post("/approvals", &other);
    assert!(none.status == 404 && none.text.contains("There is no group"), "{}", none.text);
    other[1] = ("list", " \n# nothing\n");
    assert_eq!(olga.post("/approvals", &other).status, 404);
    assert_eq!(send(&mut olga, "").status, 422, "an empty list");
    let many = format!("{}\n", absent(1)).repeat(1_001);
    assert!(send(&mut olga, &many).text.contains("more than 1000 fingerprints"));
    let longest = "x".repeat(600_000);
    assert_eq!(send(&mut olga, &longest).status, 413);
    assert_eq!(boxes.iter().map(|one| state(&site, one)).collect::<Vec<_>>(), ["pending"; 2]);

    let list = format!("{} press 7\r\n{}\r\n{}\r\n", prints[0], prints[1], absent(9));
    let came = send(&mut olga, &list);
    assert_eq!(came.status, 200, "{}", came.text);
    assert!(came.text.contains("plant: 2 let in, 1 has not asked yet."), "{}", came.text);
    assert!(
        came.text.contains(&format!("/gateways/{}", prints[1])) && came.text.contains(&absent(9))
    );
    assert!(!came.text.contains("<script>alert") && !came.text.contains("Stay thrown out"));
    for gateway in &mut boxes {
        gateway.reconnected();
        gateway.until_member();
    }
    // Reloaded, it does no harm.
    let again = send(&mut olga, &list);
    assert!(
        again.text.contains("plant: 0 let in, 1 has not asked yet, 2 were in before."),
        "{}",
        again.text
    );
    assert!(!olga.page("/gateways").text.contains(form), "nobody waits any more");
}

#[test]
fn a_list_in_the_api_says_of_each_what_came_of_it() {
    let site = Site::start();
    site.daemon.ask(&["group", "add", "plant"]);
    let boxes = waiting(&site, &["press", "approve"]);
    let prints: Vec<_> = boxes.iter().map(TestGateway::fingerprint).collect();
    let (operator, viewer) = (site.program("operator"), site.program("viewer"));
    let path = "/api/v1/approvals";
    let list = json!({"group": "plant", "fingerprints": [prints[0], absent(3)]});
    assert_eq!(viewer.send("POST", path, None, &list).status, 403);
    let whole = &prints[0];
    let many = vec![whole.clone(); 1_001];
    for (wrong, status, told) in [
        (json!([whole, "pump"]), 422, "fingerprint 2: "),
        (json!([&whole[..9]]), 422, "is not a whole fingerprint"),
        (json!(["\u{1b}]0;x".repeat(5_000)]), 422, "fingerprint 1: "),
        (json!([format!("{whole},press")]), 422, "is not a whole fingerprint"),
        (json!([]), 422, "no fingerprint in the list"),
        (json!(many), 422, "at most 1000"),
        (json!([7]), 422, "expected a string"),
        (json!("x"), 422, "expected a sequence"),
    ] {
        let body = json!({"group": "plant", "fingerprints": wrong});
        let got = operator.send("POST", path, None, &body);
        assert_eq!(got.status, status, "{}", got.text);
        let detail = got.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(told) && detail.len() < 400, "{told}: {detail}");
    }
    assert_eq!(boxes.iter().map(|one| state(&site, one)).collect::<Vec<_>>(), ["pending"; 2]);
    let refused = site.daemon.ask(&["audit", "--text", "approve-list"]);
    assert!(refused.as_array().unwrap().len() >= 6, "what was refused is in the trail: {refused}");
    let came = operator.send("POST", path, None, &list);
    let approved = json!([{"name": "press", "fingerprint": whole, "group": "plant"}]);
    let expected =
        json!({"approved": approved, "members": [], "revoked": [], "absent": [absent(3)]});
    assert_eq!((came.status, came.json()), (200, expected));
    // A box that calls itself like a path takes nobody's place.
    let one = operator.get("/api/v1/gateways/approve");
    assert_eq!((one.status, &one.json()["state"]), (200, &json!("pending")));
}
