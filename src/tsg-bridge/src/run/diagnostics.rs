//! The answer to the key server's command `diagnostics`: the status, and of what `tsg bundle` collects as much as
//! can be read at once and fits into one message. The control thread waits for no program.

use serde_json::{Map, Value};
use tsg_bundle::machine;
use tsg_control::message::MAX_FRAME_TO_SERVER;

/// A longer answer would not be taken; the rest is room for what is around it.
const MOST: usize = MAX_FRAME_TO_SERVER - 1024;

/// What is left out when there is no room, one after the other.
const LEAST: [&str; 3] = ["machine", "machines", "alarms"];

pub(super) fn text(status: Value) -> String {
    fitting(status, machine::brief())
}

fn fitting(mut status: Value, machine: Vec<(&'static str, String)>) -> String {
    let Value::Object(fields) = &mut status else { return status.to_string() };
    let machine: Map<String, Value> =
        machine.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
    fields.insert("machine".to_owned(), machine.into());
    for least in LEAST {
        if status.to_string().len() > MOST {
            leave_out(&mut status, least);
        }
    }
    status.to_string()
}

fn leave_out(status: &mut Value, name: &str) {
    if let Value::Object(fields) = status {
        let instead = "too long for one message: run `tsg bundle` on the gateway";
        fields.insert(name.to_owned(), instead.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tsg_control::message::{Done, ToServer, encoded_len};

    #[test]
    fn it_fits_into_a_message() {
        let long = |length| "\"".repeat(length);
        for (machines, facts, expected) in
            [(10, 10, [true; 2]), (10, 60_000, [true, false]), (40_000, 10, [false; 2])]
        {
            let status = json!({ "state": "sealing", "machines": long(machines) });
            let text = fitting(status, vec![("kernel", long(facts))]);
            let read: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read["state"], "sealing");
            let kept =
                [read["machines"] == long(machines), read["machine"]["kernel"] == long(facts)];
            assert_eq!(kept, expected, "{machines} {facts}");
            let message = ToServer::Done(Done { command: u64::MAX, ok: true, text });
            assert!(encoded_len(&message) <= MAX_FRAME_TO_SERVER);
        }
    }

    #[test]
    fn it_says_what_the_machine_is() {
        let read: Value = serde_json::from_str(&text(json!({ "state": "idle" }))).unwrap();
        assert!(read["machine"]["kernel"].as_str().unwrap().starts_with("Linux version"));
        assert!(read["machine"]["interfaces"].as_str().unwrap().contains("lo:"));
    }
}
