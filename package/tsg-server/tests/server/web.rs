//! The pages and the API, as browsers and programs use them.

mod approvals;
mod learn;

use super::daemon::{Daemon, Pages, Place};
use super::gateway::TestGateway;
use super::receivers::WebServer;
use super::restore::{Pair, restore};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;
use tsg_control::gateway::Standing;
use tsg_control::token::Token;

pub(super) const PASSWORD: &str = "correct horse battery";

/// A server with pages, on loopback without TLS.
pub(super) struct Site {
    pub(super) daemon: Daemon,
    base: String,
    agent: ureq::Agent,
}

/// A browser.
pub(super) struct Browser<'a> {
    site: &'a Site,
    cookie: String,
}

pub(super) struct Got {
    pub(super) status: u16,
    pub(super) headers: ureq::http::HeaderMap,
    pub(super) text: String,
}

impl Got {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// What forms of this page have to bring along.
    pub(super) fn csrf(&self) -> &str {
        let at = self.text.find("name=\"csrf\" value=\"").expect("a page with a form") + 19;
        self.text[at..].split('"').next().unwrap()
    }
}

impl From<ureq::http::Response<ureq::Body>> for Got {
    fn from(answer: ureq::http::Response<ureq::Body>) -> Self {
        let (head, mut body) = answer.into_parts();
        let text = body.read_to_string().unwrap();
        let got = Self { status: head.status.as_u16(), headers: head.headers, text };
        assert!(
            got.header("content-security-policy").starts_with("default-src 'none'"),
            "{}",
            got.text
        );
        assert_eq!(got.header("x-content-type-options"), "nosniff");
        got
    }
}

impl Site {
    pub(super) fn start() -> Self {
        Self::start_in(Place::new())
    }

    pub(super) fn start_in(place: Place) -> Self {
        let mut daemon = Daemon::start_with(place, Pages::Plain);
        let line = daemon.wait_log("pages on http://");
        let base = line.split("pages on ").nth(1).unwrap().trim_end_matches('/').to_owned();
        let agent = ureq::Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .into();
        Self { daemon, base, agent }
    }

    /// Ended, and started anew.
    pub(super) fn restart(self) -> Self {
        Self::start_in(self.daemon.stop())
    }

    /// With an administrator, `ann`.
    pub(super) fn with_ann() -> Self {
        let site = Self::start();
        site.add("ann", "admin");
        site
    }

    pub(super) fn add(&self, name: &str, role: &str) {
        self.daemon.ask_with(&["user", "add", name, "--role", role], &format!("{PASSWORD}\n"));
    }

    pub(super) fn browser(&self) -> Browser<'_> {
        Browser { site: self, cookie: String::new() }
    }

    pub(super) fn signed_in(&self, name: &str) -> Browser<'_> {
        let mut browser = self.browser();
        let got = browser.post_raw("/login", &[("name", name), ("password", PASSWORD)]);
        assert_eq!((got.status, got.header("location")), (303, "/"), "{}", got.text);
        browser
    }

    pub(super) fn program(&self, role: &str) -> Program<'_> {
        let made = self.daemon.ask(&["api-token", "create", "test", "--role", role]);
        Program { site: self, token: made["token"].as_str().unwrap().to_owned() }
    }

    pub(super) fn setup_code(&mut self) -> String {
        self.daemon.wait_log("set-up code").rsplit(' ').next().unwrap().to_owned()
    }
}

impl Browser<'_> {
    pub(super) fn get(&self, path: &str) -> Got {
        let request = self.site.agent.get(format!("{}{path}", self.site.base));
        request.header("cookie", &self.cookie).call().unwrap().into()
    }

    /// A page that is there.
    pub(super) fn page(&self, path: &str) -> Got {
        let got = self.get(path);
        assert_eq!(got.status, 200, "{path}: {}", got.text);
        assert!(got.text.len() < 50_000, "{path} has {} bytes", got.text.len());
        got
    }

    pub(super) fn post_raw(&mut self, path: &str, fields: &[(&str, &str)]) -> Got {
        let request = self.site.agent.post(format!("{}{path}", self.site.base));
        let got: Got =
            request.header("cookie", &self.cookie).send_form(fields.to_vec()).unwrap().into();
        if let Some(cookie) = got.headers.get("set-cookie") {
            self.cookie = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        got
    }

    /// A form of a page of ours.
    pub(super) fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Got {
        let page = self.page("/account");
        let all: Vec<_> =
            [("csrf", page.csrf())].into_iter().chain(fields.iter().copied()).collect();
        self.post_raw(path, &all)
    }
}

/// A program with a token.
pub(super) struct Program<'a> {
    site: &'a Site,
    token: String,
}

impl Program<'_> {
    pub(super) fn get(&self, path: &str) -> Got {
        let request = self.site.agent.get(format!("{}{path}", self.site.base));
        request.header("authorization", format!("Bearer {}", self.token)).call().unwrap().into()
    }

    pub(super) fn send(&self, method: &str, path: &str, tag: Option<&str>, body: &Value) -> Got {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.site.base))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        self.site.agent.run(request.body(body.to_string()).unwrap()).unwrap().into()
    }
}

#[test]
fn who_forgets_the_s_of_https_is_told() {
    let mut daemon = Daemon::start_with(Place::new(), Pages::Tls);
    let line = daemon.wait_log("pages on https://");
    assert!(line.contains("certificate SHA-256 "), "{line}");
    let address = line.split("https://").nth(1).unwrap().split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut told = [0; 200];
    let length = stream.read(&mut told).unwrap();
    let told = String::from_utf8_lossy(&told[..length]);
    assert!(told.starts_with("HTTP/1.1 400 ") && told.contains("write https://"), "{told}");
}

#[test]
fn the_first_start() {
    let mut site = Site::start();
    let code = site.setup_code();
    let mut browser = site.browser();
    for path in ["/", "/gateways", "/login"] {
        assert_eq!(browser.get(path).header("location"), "/setup", "{path}");
    }
    let form = |code: &str, password: &str| {
        [("code", code), ("name", "ann"), ("password", password), ("again", password)]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
    };
    let send = |browser: &mut Browser<'_>, code: &str, password: &str| {
        let fields = form(code, password);
        browser.post_raw("/setup", &fields.each_ref().map(|(a, b)| (a.as_str(), b.as_str())))
    };
    let wrong = send(&mut browser, "AAAA-AAAA-AAAA", PASSWORD);
    assert!(wrong.status == 422 && wrong.text.contains("not the set-up code"), "{}", wrong.text);
    let wrong = send(&mut browser, &code, "too short");
    assert!(wrong.status == 422 && wrong.text.contains("at least 12 characters"), "{}", wrong.text);
    assert!(site.daemon.ask(&["user", "list"]).as_array().unwrap().is_empty());
    let made = send(&mut browser, &code.to_lowercase(), PASSWORD);
    assert_eq!((made.status, made.header("location")), (303, "/"));
    assert!(browser.page("/").text.contains("Overview"));
    // The code is worth nothing any more.
    let mut other = site.browser();
    assert_eq!(send(&mut other, &code, PASSWORD).header("location"), "/");
    assert_eq!(other.get("/").header("location"), "/login");
    let users = site.daemon.ask(&["user", "list"]);
    assert_eq!(
        (users[0]["name"].as_str(), users[0]["role"].as_str()),
        (Some("ann"), Some("admin"))
    );
    let audit = site.daemon.ask(&["audit"]);
    assert_eq!(audit[0]["who"], "set-up code (127.0.0.1)");
    assert!(
        !audit.to_string().contains("argon2") && !site.daemon.log().join("\n").contains(PASSWORD)
    );
}

#[test]
fn who_does_not_know_the_password_learns_nothing() {
    let site = Site::with_ann();
    let mut browser = site.browser();
    let tried = |browser: &mut Browser<'_>, name: &str| {
        browser.post_raw("/login", &[("name", name), ("password", "wrong wrong wrong")])
    };
    let (known, unknown) = (tried(&mut browser, "ann"), tried(&mut browser, "nobody"));
    assert_eq!((known.status, unknown.status), (401, 401));
    assert_eq!(known.text.replace("ann", "…"), unknown.text.replace("nobody", "…"));
    for _ in 0..3 {
        assert_eq!(tried(&mut browser, "nobody").status, 401);
    }
    let late = tried(&mut browser, "nobody");
    assert!(late.status == 429 && late.text.contains("wait"), "{}", late.text);
    // Somebody else from there still gets in.
    assert_eq!(site.signed_in("ann").page("/").status, 200);
}

#[test]
fn a_form_that_is_not_ours_does_nothing() {
    let site = Site::with_ann();
    let mut browser = site.signed_in("ann");
    let fields = [("group", "plant")];
    assert_eq!(browser.post_raw("/groups", &fields).status, 403, "no token");
    assert_eq!(browser.post_raw("/groups", &[("csrf", "x"), fields[0]]).status, 403, "a wrong one");
    let other = site.signed_in("ann");
    let csrf = other.page("/account").csrf().to_owned();
    assert_eq!(
        browser.post_raw("/groups", &[("csrf", &csrf), fields[0]]).status,
        403,
        "of another session"
    );
    let own = browser.page("/account").csrf().to_owned();
    for (header, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let request =
            site.agent.post(format!("{}/groups", site.base)).header("cookie", &browser.cookie);
        let got: Got = request
            .header(header, value)
            .send_form([("csrf", own.as_str()), fields[0]])
            .unwrap()
            .into();
        assert_eq!(got.status, 403, "{header}");
    }
    assert!(site.daemon.ask(&["group", "list"]).as_array().unwrap().is_empty());
    assert_eq!(browser.post("/groups", &fields).status, 303);
    assert_eq!(site.daemon.ask(&["group", "list"])[0]["name"], "plant");
}

/// Where a form goes, what is in it, and the least role that may send it.
type Form = (&'static str, &'static [(&'static str, &'static str)], &'static str);

/// Every order that a page can give.
const ORDERS: [Form; 18] = [
    ("/alarms/test", &[], "admin"),
    (
        "/gateways/0000-0000-0000-0000-0000-0000-0000-0000/approve",
        &[("group", "plant"), ("compared", "x")],
        "operator",
    ),
    ("/approvals", &[("group", "plant"), ("list", "x")], "operator"),
    ("/gateways/pump/rename", &[("name", "pump2")], "operator"),
    ("/gateways/pump/pin", &[("machines", "192.0.2.9")], "operator"),
    ("/gateways/pump/tag", &[("tags", "hall-3")], "operator"),
    ("/gateways/pump/command", &[("command", "reload")], "operator"),
    (
        "/enrol",
        &[("group", "plant"), ("lifetime", "3600"), ("server", "tcp://192.0.2.1:5555")],
        "operator",
    ),
    ("/enrol/99/revoke", &[], "operator"),
    ("/gateways/pump/revoke", &[("reason", "lost")], "security-officer"),
    ("/gateways/pump/remove", &[], "security-officer"),
    ("/groups", &[("group", "other")], "security-officer"),
    ("/groups/plant/settings", &[("mode", "migrate")], "security-officer"),
    ("/groups/plant/policy", &[("do", "save"), ("base", "1")], "security-officer"),
    ("/groups/plant/rekey", &[], "security-officer"),
    ("/groups/plant/remove", &[], "security-officer"),
    ("/people", &[("name", "eve"), ("role", "admin"), ("password", PASSWORD)], "admin"),
    ("/people/tokens", &[("name", "eve"), ("role", "admin"), ("lifetime", "3600")], "admin"),
];

#[test]
fn nobody_may_more_than_their_role() {
    let site = Site::with_ann();
    site.daemon.ask(&["group", "add", "plant"]);
    let roles = ["viewer", "operator", "security-officer", "admin"];
    for role in &roles[..3] {
        site.add(role, role);
    }
    let mut tried = 0;
    for (index, role) in roles.iter().enumerate().take(3) {
        let mut browser = site.signed_in(role);
        for (path, fields, needed) in ORDERS {
            if roles.iter().position(|role| *role == needed).unwrap() <= index {
                continue;
            }
            let before = (site.daemon.ask(&["group", "list"]), site.daemon.ask(&["user", "list"]));
            let got = browser.post(path, fields);
            let told =
                if got.status == 303 { browser.get(got.header("location")).text } else { got.text };
            assert!(
                told.contains("his takes the role") || told.contains("It takes the role"),
                "{role}: {path}: {told}"
            );
            let after = (site.daemon.ask(&["group", "list"]), site.daemon.ask(&["user", "list"]));
            assert_eq!(before, after, "{role}: {path}");
            tried += 1;
        }
        let people = browser.get("/people");
        assert_eq!(people.status, 403, "{role}");
    }
    assert_eq!(tried, 18 + 10 + 3);
}

#[test]
fn an_operators_day() {
    let site = Site::with_ann();
    let mut ann = site.signed_in("ann");
    ann.post("/groups", &[("group", "plant")]);
    let mut gateway = TestGateway::connect(&site.daemon, "pump <script>alert(1)</script>", None);
    gateway.until("pending", |g| *g.machine.standing() == Standing::Pending);
    let print = gateway.fingerprint();
    assert!(
        ann.page("/").text.contains("waits</b>") || ann.page("/").text.contains("gateway waits")
    );
    let list = ann.page("/gateways?state=pending").text;
    assert!(
        list.contains(&format!("/gateways/{print}")) && !list.contains("<script>alert"),
        "{list}"
    );
    let one = ann.page(&format!("/gateways/{print}")).text;
    assert!(one.contains("Is it the box that you mean?") && !one.contains("<script>alert"));
    let path = format!("/gateways/{print}/approve");
    ann.post(&path, &[("group", "plant"), ("compared", "0000-0000-0000-0000-0000-0000-0000-0000")]);
    assert!(ann.page("/").text.contains("Not approved"));
    ann.post(&path, &[("group", "plant"), ("compared", &format!(" {} ", print.to_uppercase()))]);
    gateway.reconnected();
    gateway.until_member();
    ann.post(&format!("/gateways/{print}/rename"), &[("name", "pump-1")]);
    assert!(
        ann.page("/gateways?text=pump-1").text.contains("1 gateway<")
            || ann.page("/gateways?text=pump-1").text.contains("pump-1")
    );

    // A policy: typed, wrong, corrected, reviewed, in force.
    let typed = [
        ("base", "1"),
        ("action", "encrypt"),
        ("name", "modbus"),
        ("proto", "tcp"),
        ("dest_port", "5o2"),
    ];
    let review = [&typed[..], &[("do", "review")]].concat();
    let wrong = ann.post("/groups/plant/policy", &review);
    assert!(
        wrong.status == 422 && wrong.text.contains("&#34;5o2&#34; is not a port"),
        "{}",
        wrong.text
    );
    assert!(wrong.text.contains("name=\"name\" value=\"modbus\""), "what was typed is still there");
    let right = [&typed[..4], &[("dest_port", "502")]].concat();
    let seen = ann.post("/groups/plant/policy", &[&right[..], &[("do", "review")]].concat());
    assert!(seen.text.contains("encrypt name=modbus proto=tcp dest_port=502"), "{}", seen.text);
    let saved = ann.post("/groups/plant/policy", &[&right[..], &[("do", "save")]].concat());
    assert_eq!((saved.status, saved.header("location")), (303, "/groups/plant"), "{}", saved.text);
    let policy = site.daemon.ask(&["policy", "show", "plant"]);
    assert_eq!(policy["rules"][0]["name"], "modbus");
    // Whoever began before that loses nothing, and overwrites nothing.
    let late = ann.post("/groups/plant/policy", &[&right[..], &[("do", "save")]].concat());
    assert!(
        late.status == 409 && late.text.contains("Somebody else has changed the rules"),
        "{}",
        late.text
    );
    let again = ann.page("/groups/plant/policy?version=1");
    assert!(!again.text.contains("name=\"name\" value=\"modbus\""), "the rules of version 1");

    let page = ann.page("/groups/plant").text;
    let base = page.split("name=\"base\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let change = [("base", base), ("mode", "migrate"), ("fail", "closed")];
    ann.post("/groups/plant/settings", &change);
    assert_eq!(site.daemon.ask(&["group", "show", "plant"])["settings"]["mode"], "migrate");
    // A form that shows what was so before changes nothing back.
    ann.post("/groups/plant/settings", &[("base", base), ("mode", "enforce"), ("fail", "open")]);
    assert!(ann.page("/groups/plant").text.contains("Somebody else has changed the settings"));
    ann.post("/groups/plant/settings", &[("mode", "enforce")]);
    assert_eq!(site.daemon.ask(&["group", "show", "plant"])["settings"]["mode"], "migrate");
    ann.post("/groups/plant/rekey", &[]);
    ann.post(&format!("/gateways/{print}/revoke"), &[("reason", "stolen")]);
    assert!(ann.page(&format!("/gateways/{print}")).text.contains("Thrown out: stolen"));
    let audit = ann.page("/audit?verify=1").text;
    for action in
        ["gateway approve", "gateway rename", "policy set", "group set", "rekey", "gateway revoke"]
    {
        assert!(audit.contains(action), "{action}");
    }
    assert!(audit.contains("are as they were written") && audit.contains("ann (127.0.0.1)"));
    let lines = ann.get("/audit.jsonl?text=revoke");
    assert_eq!(lines.text.lines().count(), 1, "{}", lines.text);
    let csv = ann.get("/audit.csv").text;
    assert!(csv.starts_with("id,time,who,action,object,outcome,chain\r\n"), "{csv}");
    for path in
        ["/enrol", "/people", "/groups", "/groups/plant", "/groups/plant/history", "/account"]
    {
        ann.page(path);
    }
    assert_eq!(ann.get("/nowhere").status, 404);
    assert_eq!(ann.get("/groups/none").status, 404);
    ann.post("/logout", &[]);
    assert_eq!(ann.get("/").header("location"), "/login");
}

#[test]
fn what_came_of_an_order_is_told_to_who_looks() {
    let site = Site::with_ann();
    let mut ann = site.signed_in("ann");
    ann.post("/groups/none/rekey", &[]);
    // A page that renews itself may be quicker than the one that the order leads to.
    let request = site.agent.get(format!("{}/", site.base)).header("cookie", &ann.cookie);
    let renewed: Got = request.header("x-tsg-live", "1").call().unwrap().into();
    assert!(!renewed.text.contains("There is no group &#34;none"), "{}", renewed.text);
    assert!(ann.page("/").text.contains("There is no group &#34;none"));
    assert!(!ann.page("/").text.contains("There is no group &#34;none"), "once");
}

#[test]
fn a_token_of_the_page_lets_a_gateway_in() {
    let site = Site::with_ann();
    let mut ann = site.signed_in("ann");
    ann.post("/groups", &[("group", "plant")]);
    let address = site.daemon.endpoint.clone();
    let made =
        ann.post("/enrol", &[("group", "plant"), ("lifetime", "3600"), ("server", &address)]);
    let text = made.text.split("spellcheck=\"false\">").nth(1).unwrap().split('<').next().unwrap();
    let token = Token::decode(text).unwrap();
    assert!(made.text.contains("aria-label=\"The token as a QR code\""));
    TestGateway::connect(&site.daemon, "press", Some(token.secret)).until_member();
    assert!(!ann.page("/enrol").text.contains(text), "it is shown once");
}

#[test]
fn another_password_ends_all_other_sessions() {
    let site = Site::with_ann();
    let (mut here, there) = (site.signed_in("ann"), site.signed_in("ann"));
    let new = "another long password";
    let change = |old: &'static str| [("old", old), ("password", new), ("again", new)];
    here.post("/account", &change("not the old one"));
    assert!(here.page("/account").text.contains("is another one") && there.get("/").status == 200);
    assert_eq!(here.post("/account", &change(PASSWORD)).status, 303);
    assert_eq!(here.get("/").status, 200);
    assert_eq!(there.get("/").header("location"), "/login");
    let mut browser = site.browser();
    assert_eq!(browser.post_raw("/login", &[("name", "ann"), ("password", PASSWORD)]).status, 401);
    assert_eq!(browser.post_raw("/login", &[("name", "ann"), ("password", new)]).status, 303);
}

#[test]
fn accounts_survive_and_sessions_do_not() {
    let site = Site::with_ann();
    let ann = site.signed_in("ann");
    let token = site.program("viewer").token;
    let cookie = ann.cookie;
    let site = Site::start_in(site.daemon.kill());
    assert_eq!(Browser { site: &site, cookie }.get("/").header("location"), "/login");
    assert_eq!(site.signed_in("ann").page("/").status, 200);
    assert_eq!(Program { site: &site, token }.get("/api/v1/status").status, 200);
}

#[test]
fn the_api_says_what_it_can_and_what_is_wrong() {
    let site = Site::with_ann();
    let described: Got =
        site.agent.get(format!("{}/api/v1/openapi.json", site.base)).call().unwrap().into();
    let paths = described.json()["paths"].as_object().unwrap().clone();
    assert!(
        paths.len() >= 20 && paths.contains_key("/api/v1/groups/{group}/policy"),
        "{:?}",
        paths.keys()
    );
    let admin = site.program("admin");
    let stranger = Program { site: &site, token: "tsga_AAAA".to_owned() };
    let mut cases = 0;
    for (path, operations) in &paths {
        let path = path
            .replace("{group}", "none")
            .replace("{gateway}", "none")
            .replace("{user}", "none")
            .replace("{token}", "99")
            .replace("{command}", "99");
        for method in operations.as_object().unwrap().keys() {
            let got = stranger.send(&method.to_uppercase(), &path, None, &json!({}));
            assert_eq!(
                (got.status, got.header("content-type")),
                (401, "application/problem+json"),
                "{method} {path}"
            );
            assert_eq!(got.header("www-authenticate"), "Bearer");
            let got = admin.send(&method.to_uppercase(), &path, Some("\"x\""), &json!({"?": 1}));
            assert!(got.status < 500, "{method} {path}: {}", got.text);
            if got.status >= 400 {
                assert_eq!(
                    got.header("content-type"),
                    "application/problem+json",
                    "{method} {path}"
                );
                let problem = got.json();
                assert_eq!(problem["status"], got.status);
                assert!(!problem["detail"].as_str().unwrap().is_empty(), "{method} {path}");
            }
            cases += 1;
        }
    }
    println!("{cases} operations");
    assert_eq!(admin.get("/api/v1/none").status, 404);
    let got = admin.send("DELETE", "/api/v1/groups", None, &Value::Null);
    assert_eq!((got.status, got.header("content-type")), (405, "application/problem+json"));
    assert!(got.json()["detail"].as_str().unwrap().contains("DELETE"), "{}", got.text);
    assert_eq!(got.header("allow"), "GET,HEAD,POST");
    let elsewhere = site
        .agent
        .post(format!("{}/api/v1/groups", site.base))
        .header("sec-fetch-site", "cross-site")
        .send("{}")
        .unwrap();
    let got = Got::from(elsewhere);
    assert_eq!((got.status, got.header("content-type")), (403, "application/problem+json"));
    assert!(got.json()["detail"].as_str().unwrap().contains("not of this site"), "{}", got.text);
    assert_eq!(admin.send("POST", "/api/v1/groups", None, &json!("text")).status, 422);
}

#[test]
fn alarms_are_looked_at_by_all_and_tried_by_administrators() {
    let server = WebServer::start(&[], None);
    let url = format!("http://127.0.0.1:{}/hook", server.port());
    let place = Place::with(&["--alarm-after", "1", "--alarm-webhook", &url]);
    let site = Site::start_in(place);
    site.daemon.ask(&["group", "add", "plant"]);
    let key = tsg_control::keys::PublicKey([7; 32]).to_string();
    site.daemon.ask(&["gateway", "approve", &key, "--group", "plant"]);
    assert_eq!(server.next().json()["kind"], "silent");
    let (viewer, admin) = (site.program("viewer"), site.program("admin"));
    let found = viewer.get("/api/v1/alarms").json();
    let alarm = &found["alarms"][0];
    assert_eq!(
        (&alarm["kind"], &alarm["group"], &alarm["raised"]),
        (&json!("silent"), &json!("plant"), &json!(true))
    );
    let channel = &found["channels"][0];
    assert_eq!((&channel["channel"], &channel["failing"]), (&json!("webhook"), &Value::Null));
    assert_eq!(viewer.send("POST", "/api/v1/alarms/test", None, &Value::Null).status, 403);
    let tested = admin.send("POST", "/api/v1/alarms/test", None, &Value::Null).json();
    assert_eq!((&tested[0]["arrived"], &tested[0]["text"]), (&json!(true), &json!("HTTP 200 OK")));
    let metrics = viewer.get("/metrics").text;
    assert!(metrics.contains("tsg_notifications_sent_total{channel=\"webhook\"} "), "{metrics}");
    assert!(
        metrics.contains("tsg_notifications_failing_seconds{channel=\"webhook\"} 0\n"),
        "{metrics}"
    );
    site.add("ann", "admin");
    let mut ann = site.signed_in("ann");
    let page = ann.page("/alarms").text;
    assert!(
        page.contains("nothing was heard of it") && page.contains("Send a test alarm"),
        "{page}"
    );
    let got = ann.post("/alarms/test", &[]);
    assert_eq!((got.status, got.header("location")), (303, "/alarms"));
    assert!(ann.page("/alarms").text.contains("Webhook arrived: HTTP 200 OK"));
}

#[test]
fn an_edit_of_the_api_loses_nobodys_work() {
    let site = Site::with_ann();
    let officer = site.program("security-officer");
    assert_eq!(officer.send("POST", "/api/v1/groups", None, &json!({"name": "plant"})).status, 201);
    let rules = json!({"rules": [{"action": "encrypt", "proto": ["tcp"], "dest_port": ["502"]}]});
    let path = "/api/v1/groups/plant/policy";
    let tag = officer.get(path).header("etag").to_owned();
    assert_eq!(officer.send("PUT", path, None, &rules).status, 428);
    assert_eq!(officer.send("PUT", path, Some("\"99\""), &rules).status, 412);
    assert_eq!(officer.send("PUT", path, Some(&tag), &rules).status, 200);
    assert_eq!(
        officer.send("PUT", path, Some(&tag), &rules).status,
        412,
        "it is another version by now"
    );
    let wrong =
        json!({"rules": [{"action": "encrypt"}, {"action": "encrypt", "dest_port": ["x"]}]});
    let tag = officer.get(path).header("etag").to_owned();
    let got = officer.send("PUT", path, Some(&tag), &wrong);
    assert!(
        got.status == 422
            && got.json()["detail"].as_str().unwrap().starts_with("rules[1]: dest_port:"),
        "{}",
        got.text
    );
    let path = "/api/v1/groups/plant/settings";
    let tag = officer.get(path).header("etag").to_owned();
    let set = json!({"mode": "migrate"});
    assert_eq!(officer.send("PATCH", path, Some("\"0\""), &set).status, 412);
    let done = officer.send("PATCH", path, Some(&tag), &set);
    assert_eq!((done.status, &done.json()["mode"]), (200, &json!("migrate")));
    assert_eq!(officer.send("PATCH", path, Some(&tag), &set).status, 412);
    assert_eq!(officer.get("/api/v1/users").status, 403);
    let audit = site.daemon.ask(&["audit"]);
    assert!(
        audit[0]["who"].as_str().unwrap().starts_with("API token 1 test (127.0.0.1)"),
        "{audit}"
    );
}

#[test]
fn a_token_is_worth_what_its_role_is_and_no_longer_than_it_should() {
    let site = Site::with_ann();
    let viewer = site.program("viewer");
    assert_eq!(viewer.get("/api/v1/status").status, 200);
    assert_eq!(viewer.send("POST", "/api/v1/groups", None, &json!({"name": "plant"})).status, 403);
    let metrics = viewer.get("/metrics");
    assert!(
        metrics.text.contains("tsg_gateways{state=\"online\"} 0\n")
            && metrics.text.contains("# TYPE tsg_uptime_seconds gauge\n"),
        "{}",
        metrics.text
    );
    site.daemon.ask(&["api-token", "revoke", "1"]);
    assert_eq!(viewer.get("/api/v1/status").status, 401);
    for (path, text) in [("/healthz", "alive\n"), ("/readyz", "ready\n")] {
        let got: Got = site.agent.get(format!("{}{path}", site.base)).call().unwrap().into();
        assert_eq!((got.status, got.text.as_str()), (200, text));
    }
    assert!(!site.daemon.log().join("\n").contains(&viewer.token), "no token is logged");
}

/// A file that is no text, and what its name is to be.
fn file(answer: ureq::http::Response<ureq::Body>) -> (Vec<u8>, String) {
    assert_eq!(answer.status().as_u16(), 200);
    let named = answer.headers()["content-disposition"].to_str().unwrap().to_owned();
    (answer.into_body().read_to_vec().unwrap(), named)
}

#[test]
fn an_administrator_takes_a_backup_along() {
    let site = Site::with_ann();
    site.add("ben", "security-officer");
    let place = site.daemon.place.path().to_owned();
    let pair = Pair::new(&place, "identity");
    let body = json!({"recipients": [pair.recipient]});
    let refused = site.program("security-officer").send("POST", "/api/v1/backup", None, &body);
    assert_eq!(refused.status, 403, "{}", refused.text);
    let admin = site.program("admin");
    for (wrong, told) in [
        (json!({"recipients": []}), "is for somebody"),
        (json!({"recipients": ["x"]}), "no recipient"),
    ] {
        let refused = admin.send("POST", "/api/v1/backup", None, &wrong);
        assert!(refused.status == 422 && refused.text.contains(told), "{}", refused.text);
    }
    let request = ureq::http::Request::builder()
        .method("POST")
        .uri(format!("{}/api/v1/backup", site.base))
        .header("authorization", format!("Bearer {}", admin.token))
        .header("content-type", "application/json");
    let (by_api, named) = file(site.agent.run(request.body(body.to_string()).unwrap()).unwrap());
    assert!(
        named.starts_with("attachment; filename=\"tsg-server-2") && named.ends_with(".age\""),
        "{named}"
    );

    let mut ben = site.signed_in("ben");
    assert!(!ben.page("/").text.contains("/server") && ben.get("/server").status == 403);
    assert_eq!(ben.post("/server/backup", &[("recipients", &pair.recipient)]).status, 403);
    let mut ann = site.signed_in("ann");
    let page = ann.page("/server");
    assert!(page.text.contains("in clear") && page.text.contains("--seal-key"), "{}", page.text);
    assert!(
        ann.post("/server/backup", &[("recipients", "nobody")]).text.contains("is no recipient")
    );
    let fields = [("csrf", page.csrf()), ("recipients", pair.recipient.as_str())];
    let request = site.agent.post(format!("{}/server/backup", site.base));
    let (by_page, _) = file(request.header("cookie", &ann.cookie).send_form(fields).unwrap());

    for (backup, way) in [(by_api, "api"), (by_page, "page")] {
        let from = place.join(way);
        std::fs::write(&from, backup).unwrap();
        let said = restore(&from, &pair.file, &place.join(format!("{way}-data")), &[]).unwrap();
        assert!(said.contains("0 groups, 0 gateways, 2 users"), "{said}");
    }
    let trail = site.daemon.ask(&["audit", "--text", "backup"]);
    let begun: Vec<_> =
        trail.as_array().unwrap().iter().filter(|line| line["outcome"] == "begun").collect();
    assert_eq!(begun.len(), 2, "{trail}");
    assert!(
        begun[0]["who"].as_str().unwrap().starts_with("ann (")
            && begun[1]["who"].as_str().unwrap().starts_with("API token")
    );
}

#[test]
fn somebody_signs_in_after_a_restore() {
    let site = Site::with_ann();
    let place = site.daemon.place.path().to_owned();
    let pair = Pair::new(&place, "identity");
    let backup = place.join("backup.age");
    let words = ["backup", "--recipient", &pair.recipient, "--to", backup.to_str().unwrap()];
    assert!(site.daemon.command(&words).status.success());
    let place = site.daemon.kill();
    std::fs::remove_dir_all(place.data()).unwrap();
    restore(&backup, &pair.file, &place.data(), &[]).unwrap();
    let site = Site::start_in(place);
    assert!(site.signed_in("ann").page("/").text.contains("Overview"));
}
