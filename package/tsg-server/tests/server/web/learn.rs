//! What gateways saw, on the pages and in the API: flows that become rules, tags, ports, drops.

use super::{Browser, Site};
use crate::daemon::PATIENCE;
use crate::gateway::{TestGateway, members};
use serde_json::{Value, json};
use std::time::Instant;
use tsg_control::message::{PortState, Report, SeenFlow, ToServer};

fn flow(client: u8, server: u8, proto: u8, port: u16, packets: u64) -> SeenFlow {
    SeenFlow {
        client: [192, 0, 2, client].into(),
        server: [192, 0, 2, server].into(),
        proto: Some(proto),
        port: (port > 0).then_some(port),
        packets,
        bytes: packets.saturating_mul(60),
        age: 5,
        in_clear: false,
        unreached: false,
    }
}

fn report(gateway: &TestGateway, flows: Vec<SeenFlow>) {
    let report = Report { process: gateway.process, flows, ..Report::default() };
    gateway.say(&ToServer::Report(report));
}

/// Until the server answers a command so.
fn wait(
    site: &Site,
    gateway: &mut TestGateway,
    words: &[&str],
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = site.daemon.ask(words);
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{words:?}: {answer:#}");
        gateway.turn();
    }
}

fn flows(answer: &Value) -> usize {
    answer["flows"].as_array().unwrap().len()
}

fn rules(site: &Site) -> (u64, usize) {
    let policy = site.daemon.ask(&["policy", "show", "plant"]);
    (policy["version"].as_u64().unwrap(), policy["rules"].as_array().unwrap().len())
}

/// The rows of an editor, as a browser would send them.
fn typed(page: &str) -> Vec<(String, String)> {
    let inside = page.split("<tbody>").nth(1).unwrap().split("</tbody>").next().unwrap();
    let mut fields = Vec::new();
    for row in inside.split("<tr>").skip(1) {
        let action = row.split("<option selected>").nth(1).unwrap().split('<').next().unwrap();
        fields.push(("action".to_owned(), action.to_owned()));
        for input in row.split("<input name=\"").skip(1) {
            let name = input.split('"').next().unwrap();
            let value = input.split("value=\"").nth(1).unwrap().split('"').next().unwrap();
            fields.push((name.to_owned(), value.to_owned()));
        }
    }
    fields
}

fn save(ann: &mut Browser<'_>, base: u64, rows: &[(String, String)]) {
    let base = base.to_string();
    let mut fields = vec![("base", base.as_str()), ("do", "save")];
    fields.extend(rows.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let saved = ann.post("/groups/plant/policy", &fields);
    assert_eq!(saved.status, 303, "{}", saved.text);
}

#[test]
fn what_gateways_saw_becomes_rules() {
    let site = Site::with_ann();
    site.add("vic", "viewer");
    let mut plant = members(&site.daemon, "plant", &["press", "pump"]);
    let empty = site.signed_in("ann").page("/groups/plant/learn").text;
    assert!(empty.contains("gateways report only in <b>learn</b>"), "{empty}");
    site.daemon.ask(&["group", "set", "plant", "mode=learn"]);
    report(
        &plant[0],
        vec![flow(1, 7, 6, 502, 1_000), flow(1, 8, 6, 8_080, 3), flow(1, 8, 1, 0, 9)],
    );
    report(&plant[1], vec![flow(1, 7, 6, 502, 1_001), flow(1, 9, 6, 502, 4)]);
    let words = ["group", "flows", "plant"];
    let seen = wait(&site, &mut plant[0], &words, |answer| flows(answer) == 4);
    let first = &seen["flows"][0];
    assert_eq!((&first["client"], &first["server"]), (&json!("192.0.2.1"), &json!("192.0.2.7")));
    assert_eq!((&first["proto"], &first["port"]), (&json!("tcp"), &json!(502)));
    assert_eq!(first["packets"], 1_001, "both ends see the same packets");
    assert_eq!(first["gateways"], json!(["press", "pump"]));
    assert_eq!((&first["action"], &first["rule"]), (&json!("bypass"), &Value::Null));

    let mut ann = site.signed_in("ann");
    let page = ann.page("/groups/plant/learn").text;
    for text in ["Modbus/TCP, tcp 502", "tcp 8080", "icmp", "press, pump", "4 flows, 4 of them"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let link = "/groups/plant/policy?proto=tcp&#38;port=502&#38;server=192.0.2.7";
    assert!(page.contains(link), "{page}");
    // The link only fills the editor.
    let before = rules(&site);
    let one = ann.page("/groups/plant/policy?proto=tcp&port=502&server=192.0.2.7").text;
    assert!(one.contains("1 rule was added below"), "{one}");
    assert_eq!(rules(&site), before, "nothing is in force");
    save(&mut ann, before.0, &typed(&one));
    let rule = &site.daemon.ask(&["policy", "show", "plant"])["rules"][0];
    let expected = json!({"name": "modbus", "action": "encrypt", "proto": ["tcp"],
                          "dest_ip": ["192.0.2.7"], "dest_port": ["502"]});
    assert_eq!(*rule, expected);
    let page = ann.page("/groups/plant/learn").text;
    assert!(page.contains("sealed by modbus") && !page.contains(link), "{page}");
    let open = ann.page("/groups/plant/learn?show=open").text;
    assert!(open.contains("tcp 8080") && !open.contains("192.0.2.7"), "{open}");
    let again = ann.page("/groups/plant/policy?proto=tcp&port=502&server=192.0.2.7").text;
    assert!(again.contains("there are such rules already"), "{again}");

    // All the rest, but ping.
    let all = ann.page("/groups/plant/policy?learned=servers").text;
    assert!(all.contains("2 rules were added below"), "{all}");
    assert!(ann.page("/groups/plant/policy?learned=services").text.contains("2 rules were added"));
    save(&mut ann, before.0 + 1, &typed(&all));
    let policy = site.daemon.ask(&["policy", "show", "plant"]);
    assert_eq!(policy["rules"][1]["dest_ip"], json!(["192.0.2.9"]), "{policy}");
    assert_eq!(policy["rules"][2]["name"], "tcp-8080");

    // Who only looks sees it, too.
    let vic = site.signed_in("vic");
    let page = vic.page("/groups/plant/learn").text;
    assert!(page.contains("tcp 8080") && !page.contains("/groups/plant/policy?"), "{page}");
    assert_eq!(vic.get("/groups/plant/policy?learned=servers").status, 403);
    assert_eq!(vic.get("/groups/none/learn").status, 404);
    let api = site.program("viewer").get("/api/v1/groups/plant/flows").json();
    let judged: Vec<_> = api.as_array().unwrap().iter().map(|flow| flow["rule"].as_u64()).collect();
    assert_eq!(judged, [None, Some(1), Some(2), Some(3)]);
    let text = site.daemon.command(&words).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("encrypt (rule 1)") && text.contains("bypass (no rule)"), "{text}");
}

#[test]
fn a_gateway_that_lies_about_flows_fills_only_its_share() {
    let site = Site::with_ann();
    let mut plant = members(&site.daemon, "plant", &["honest", "liar"]);
    site.daemon.ask(&["group", "set", "plant", "mode=migrate"]);
    let told = SeenFlow { in_clear: true, ..flow(1, 7, 6, 502, 50) };
    report(
        &plant[0],
        vec![told, SeenFlow { client: [224, 0, 0, 1].into(), ..flow(1, 7, 6, 9, 1) }],
    );
    for round in 0..4_u16 {
        let made_up = (0..250).map(|n| flow(2, 3, 17, 1 + round * 250 + n, u64::MAX));
        report(&plant[1], made_up.collect());
    }
    let words = ["group", "flows", "plant"];
    let seen = wait(&site, &mut plant[0], &words, |answer| flows(answer) > 500);
    assert!(flows(&seen) <= 2_000);
    let all = seen["flows"].as_array().unwrap();
    let own: Vec<_> = all.iter().filter(|flow| flow["server"] == "192.0.2.7").collect();
    assert_eq!((own.len(), &own[0]["in_clear"]), (1, &json!(true)), "{own:?}");
    let ann = site.signed_in("ann");
    let first = ann.page("/groups/plant/learn").text;
    assert!(first.contains("rel=\"next\""));
    ann.page("/groups/plant/learn?page=3");
    ann.page("/groups/plant/learn?page=99999");
    // Who is thrown out has said nothing.
    site.daemon.ask(&["gateway", "revoke", "liar", "--reason", "lies"]);
    assert_eq!(flows(&site.daemon.ask(&words)), 1);
}

#[test]
fn tags_find_a_gateway_again() {
    let site = Site::with_ann();
    site.add("vic", "viewer");
    let _plant = members(&site.daemon, "plant", &["press", "pump"]);
    let mut ann = site.signed_in("ann");
    let told = |ann: &mut Browser<'_>, tags: &str| {
        let got = ann.post("/gateways/press/tag", &[("tags", tags)]);
        assert_eq!((got.status, got.header("location")), (303, "/gateways/press"));
        ann.page("/gateways/press").text
    };
    let page = told(&mut ann, "Hall-3, line.b hall-3");
    assert!(page.contains("is tagged hall-3 line.b"), "{page}");
    for (wrong, why) in [("<b>", "is no tag"), ("a b c d e f g h i", "at most 8 tags")] {
        let page = told(&mut ann, wrong);
        assert!(page.contains(why), "{page}");
    }
    let show = site.daemon.ask(&["gateway", "show", "press"]);
    assert_eq!(show["tags"], json!(["hall-3", "line.b"]));
    for (query, there) in [("tag=hall-3", true), ("tag=hall", false), ("text=hall", true)] {
        let list = ann.page(&format!("/gateways?{query}")).text;
        assert_eq!(list.contains(">press</a>"), there, "{query}: {list}");
        assert!(!list.contains(">pump</a>"), "{query}");
    }
    let operator = site.program("operator");
    let change = json!({"tags": ["a", "b"]});
    let got = operator.send("PATCH", "/api/v1/gateways/pump", None, &change);
    assert_eq!((got.status, &got.json()["tags"]), (200, &json!(["a", "b"])));
    let found = operator.get("/api/v1/gateways?tag=b").json();
    assert_eq!((&found["total"], &found["gateways"][0]["name"]), (&json!(1), &json!("pump")));
    let wrong = operator.send("PATCH", "/api/v1/gateways/pump", None, &json!({"tags": ["A"]}));
    assert_eq!(wrong.status, 422, "{}", wrong.text);
    // All of it, or nothing.
    for (part, status) in [
        (json!({"name": "press"}), 409),
        (json!({"name": "no name"}), 422),
        (json!({"tags": ["A"]}), 422),
        (json!({"pinned": ["192.0.2.300"]}), 422),
        (json!({"pinned": (0..257).map(|n| format!("2001:db8::{n:x}")).collect::<Vec<_>>()}), 422),
    ] {
        let mut change = json!({"name": "new", "tags": ["c"], "pinned": ["192.0.2.7"]});
        change.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        let wrong = operator.send("PATCH", "/api/v1/gateways/pump", None, &change);
        assert_eq!(wrong.status, status, "{}", wrong.text);
        let pump = operator.get("/api/v1/gateways/pump").json();
        assert_eq!((&pump["tags"], &pump["pinned"]), (&json!(["a", "b"]), &json!([])), "{part}");
    }
    let all = json!({"name": "new", "tags": ["c"], "pinned": ["192.0.2.7"]});
    let got = operator.send("PATCH", "/api/v1/gateways/pump", None, &all).json();
    assert_eq!(
        [&got["name"], &got["tags"], &got["pinned"]],
        [&json!("new"), &json!(["c"]), &json!(["192.0.2.7"])]
    );
    let audit = site.daemon.ask(&["audit"]);
    let lines = ["gateway rename", "gateway tag", "gateway pin"];
    for (line, action) in audit.as_array().unwrap().iter().zip(lines) {
        assert_eq!((&line["action"], &line["outcome"]), (&json!(action), &json!("done")));
    }
    operator.send("PATCH", "/api/v1/gateways/new", None, &json!({"name": "pump"}));
    let viewer = site.program("viewer");
    assert_eq!(viewer.send("PATCH", "/api/v1/gateways/pump", None, &change).status, 403);
    site.daemon.ask(&["gateway", "tag", "pump", "spare"]);
    let audit = site.daemon.ask(&["audit"]);
    assert_eq!(
        (&audit[0]["action"], &audit[0]["object"]),
        (&json!("gateway tag"), &json!("pump: spare"))
    );
    // They are on the disk.
    let site = Site::start_in(site.daemon.kill());
    assert_eq!(site.daemon.ask(&["gateway", "show", "pump"])["tags"], json!(["spare"]));
    site.daemon.ask(&["gateway", "tag", "pump"]);
    assert!(site.daemon.ask(&["gateway", "show", "pump"]).get("tags").is_none());
}

#[test]
fn ports_events_and_drops_are_shown() {
    let site = Site::with_ann();
    let mut plant = members(&site.daemon, "plant", &["press"]);
    let port = |name: &str, wan, up, mbits| PortState {
        name: name.to_owned(),
        wan,
        up,
        mbits,
        offloads: vec!["rx_udp_gro_forwarding".to_owned(), "<script>alert(1)</script>".to_owned()],
    };
    let say = |gateway: &TestGateway, stale: u64| {
        let counters = [("drop_stale", stale), ("drop_<script>", stale), ("sealed", 5)];
        gateway.say(&ToServer::Report(Report {
            process: gateway.process,
            counters: counters.map(|(name, count)| (name.to_owned(), count)).into(),
            ports: vec![port("lan1", false, true, Some(100)), port("eth0<", true, false, None)],
            ..Report::default()
        }));
    };
    // Its own first report is the one that the others are compared with.
    plant[0].until("reported", |gateway| !gateway.machine.wants_seen(gateway.now() + 30_000));
    say(&plant[0], 2);
    say(&plant[0], 9);
    let words = ["gateway", "show", "press"];
    let shown = wait(&site, &mut plant[0], &words, |answer| answer["recent"]["drop_stale"] == 9);
    assert_eq!(shown["ports"][0]["mbits"], 100);
    assert_eq!(shown["ports"][0]["offloads"][0], "rx_udp_gro_forwarding");
    let events: Vec<_> =
        shown["events"].as_array().unwrap().iter().map(|one| &one["text"]).collect();
    assert_eq!(events, [&json!("came online"), &json!("was let in")]);
    let ann = site.signed_in("ann");
    let page = ann.page("/gateways/press").text;
    for text in [
        "link, 100 Mbit/s",
        "no link",
        "the plant network",
        "sealed too long ago",
        "came online",
        "<td class=\"number\">9</td><td class=\"number\">9</td>",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let pages = [page, ann.page("/").text, ann.page("/groups/plant").text];
    assert!(
        pages.iter().all(|page| !page.contains("<script>") && page.contains("sealed too long"))
    );
    let traffic = site.program("viewer").get("/api/v1/traffic").json();
    assert_eq!(traffic["drops"]["plant"]["drop_stale"]["recent"], 9, "{traffic}");
    // The daemon of the box is started anew, and what is wrong with it is told.
    plant[0].restart(&site.daemon, None);
    plant[0].until_member();
    let shown = site.daemon.ask(&words);
    assert_eq!(shown["events"][0]["text"], "its daemon was started anew");
}
