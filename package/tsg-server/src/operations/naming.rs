//! Which gateway an operator means: by name, fingerprint (or its first digits), or key.
//!
//! A gateway that waits chooses its own name, and its fingerprint's first digits can be aimed at.
//! So every gateway that a text could mean counts, and when there are several the operator is
//! asked for the whole fingerprint: that one means its owner, whatever others call themselves.

use super::{Refusal, RefusalKind};
use serde::{Deserialize, Serialize};
use std::fmt;
use tsg_control::keys::PublicKey;
use tsg_control::server::{GatewayLine, GatewayState};

/// How an operator names a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GatewayName(pub String);

/// Fewer digits of a fingerprint name nobody.
const FEWEST_DIGITS: usize = 4;

impl fmt::Display for GatewayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain: String = self.0.chars().filter(|c| !c.is_control()).take(60).collect();
        f.write_str(&plain)
    }
}

impl GatewayName {
    /// The one gateway that is meant.
    pub(super) fn find(&self, gateways: &[GatewayLine]) -> Result<GatewayLine, Refusal> {
        let mut owner = gateways.iter().filter(|g| fingerprint_is(&g.fingerprint, &self.0));
        if let Some(owner) = owner.next() {
            return Ok(owner.clone());
        }
        let meant: Vec<_> = gateways.iter().filter(|gateway| self.names(gateway)).collect();
        match meant.as_slice() {
            [one] => Ok((*one).clone()),
            [] => {
                let message = format!("no gateway is called {:?}: see `gateway list`", self.0);
                Err(Refusal::new(RefusalKind::NotFound, message))
            }
            several => Err(ambiguous(&self.0, several)),
        }
    }

    /// The key, when the text is one.
    pub(super) fn key(&self) -> Option<PublicKey> {
        self.0.parse().ok()
    }

    fn names(&self, gateway: &GatewayLine) -> bool {
        if let Some(key) = self.key() {
            return gateway.key == key;
        }
        gateway.name == self.0 || fingerprint_begins(&gateway.fingerprint, &self.0)
    }
}

fn ambiguous(text: &str, several: &[&GatewayLine]) -> Refusal {
    let shown = several.iter().take(4).map(|gateway| {
        let state = match gateway.state {
            GatewayState::Pending => "pending",
            GatewayState::Online => "online",
            GatewayState::Offline => "offline",
            GatewayState::Revoked => "revoked",
        };
        format!("{} ({:?}, {state})", gateway.fingerprint, gateway.name)
    });
    let list = shown.collect::<Vec<_>>().join(", ");
    Refusal::new(
        RefusalKind::Conflict,
        format!("{text:?} could be {} gateways: {list}; give the whole fingerprint", several.len()),
    )
}

/// Is `text`, dashes or not, the beginning of a fingerprint?
fn fingerprint_begins(fingerprint: &str, text: &str) -> bool {
    let digits = digits(text);
    let whole = fingerprint.replace('-', "");
    digits.is_some_and(|digits| digits.len() >= FEWEST_DIGITS && whole.starts_with(&digits))
}

/// Is `text`, dashes or not, this fingerprint?
pub(super) fn fingerprint_is(fingerprint: &str, text: &str) -> bool {
    digits(text).is_some_and(|digits| digits == fingerprint.replace('-', ""))
}

fn digits(text: &str) -> Option<String> {
    let plain = text.trim().replace(['-', ':', ' '], "").to_ascii_lowercase();
    let good = !plain.is_empty() && plain.bytes().all(|b| b.is_ascii_hexdigit());
    good.then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(key: u8, name: &str, state: GatewayState) -> GatewayLine {
        let key = PublicKey([key; 32]);
        GatewayLine {
            name: name.to_owned(),
            key,
            fingerprint: key.fingerprint().to_string(),
            state,
            alarms: Vec::new(),
            is_there: false,
        }
    }

    fn found(text: &str, gateways: &[GatewayLine]) -> Result<PublicKey, String> {
        let name = GatewayName(text.to_owned());
        name.find(gateways).map(|g| g.key).map_err(|refusal| refusal.message)
    }

    #[test]
    fn by_name_fingerprint_and_key() {
        let pump = gateway(1, "pump", GatewayState::Online);
        let all = [gateway(2, "press", GatewayState::Offline), pump.clone()];
        let print = pump.fingerprint.as_str();
        let z85 = zmq::z85_encode(&pump.key.0).unwrap();
        let bare = print.replace('-', "").to_uppercase();
        for text in ["pump", print, &print[..4], &bare, &z85, &pump.key.to_string()] {
            assert_eq!(found(text, &all), Ok(pump.key), "{text}");
        }
        for text in ["", "pum", "pumps", &print[..3], "-", "zzzz"] {
            assert!(found(text, &all).unwrap_err().contains("no gateway"), "{text}");
        }
    }

    #[test]
    fn a_stranger_cannot_pass_for_another() {
        let pump = gateway(1, "pump", GatewayState::Online);
        let namesake = gateway(2, "pump", GatewayState::Pending);
        let print_taker = gateway(3, &pump.fingerprint[..4], GatewayState::Pending);
        let error = found("pump", &[pump.clone(), namesake.clone()]).unwrap_err();
        assert!(error.contains(&namesake.fingerprint) && error.contains("pending"), "{error}");
        let error = found(&pump.fingerprint[..4], &[pump.clone(), print_taker]).unwrap_err();
        assert!(error.contains("2 gateways"), "{error}");
    }

    #[test]
    fn a_whole_fingerprint_means_its_owner() {
        let pump = gateway(1, "pump", GatewayState::Online);
        let taker = gateway(2, &pump.fingerprint, GatewayState::Pending);
        let bare = pump.fingerprint.replace('-', "");
        let bare_taker = gateway(3, &bare, GatewayState::Pending);
        let all = [taker, bare_taker, pump.clone()];
        assert_eq!(found(&pump.fingerprint, &all), Ok(pump.key));
        assert_eq!(found(&bare, &all), Ok(pump.key));
    }

    #[test]
    fn a_fingerprint_is_compared_whole() {
        let print = gateway(1, "", GatewayState::Pending).fingerprint;
        assert!(fingerprint_is(&print, &print.replace('-', ":").to_uppercase()));
        assert!(!fingerprint_is(&print, &print[..38]));
        assert!(!fingerprint_is(&print, ""));
    }
}
