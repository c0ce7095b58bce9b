//! What a later version says, as far as this one can understand it (docs/protocol.md, section 2.6).
//!
//! Fields that are not known are ignored everywhere but in a policy's rules. Where a word is not known, what
//! happens depends on the place: a message is ignored, a command is answered that it cannot be done, an epoch cannot be
//! used, and a policy is not followed, since a part of it would be another policy. What is not understood is said in
//! words, for the log and for alarms. Nothing of an epoch's secret is buffered on the way.

use super::reader::Raw;
use super::{
    Command, CommandKind, DecodeError, Done, Envelope, Epoch, EpochKeys, GroupSettings, MAX_FRAME,
    MAX_FRAME_TO_SERVER, Map, Pending, PolicyVersion, Pulse, Reading, Refused, State, TekField,
    ToGateway, ToServer, Unknown, decode, parse,
};
use crate::group::{Carriage, Fail, Mode, NonIp};
use crate::policy::{Action, Policy, Rule};
use crate::timeline::Stage;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use tsg_esp::crypto::Suite;

/// Names of messages, as their senders' enums have them.
const TO_SERVER: [&str; 4] = ["register", "heartbeat", "report", "done"];
const TO_GATEWAY: [&str; 7] = ["pending", "refused", "unknown", "pulse", "state", "map", "command"];

/// A word that is not known is shown so far.
const MOST_SHOWN: usize = 40;

/// What the key server said, as this version understands it.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// The message, without what is not understood of it; none if nothing of it is left.
    pub message: Option<ToGateway>,
    /// What to answer, since it cannot be done.
    pub answer: Option<Done>,
    /// What is not understood, in words.
    pub unknown: Vec<String>,
}

/// Reads a gateway's frame.
///
/// # Errors
/// Too long, of another version, of a kind that is not known, or no message at all.
pub fn from_gateway(frame: &[u8]) -> Result<ToServer, DecodeError> {
    decode(frame, MAX_FRAME_TO_SERVER).map_err(|error| kind_or(error, frame, &TO_SERVER))
}

/// Reads the key server's frame.
///
/// # Errors
/// Too long, of another version, of a kind that is not known, or no message at all.
pub fn from_server(frame: &[u8]) -> Result<Heard, DecodeError> {
    let heard: AnyMessage =
        decode(frame, MAX_FRAME).map_err(|error| kind_or(error, frame, &TO_GATEWAY))?;
    let message = match heard {
        AnyMessage::Pending(message) => ToGateway::Pending(message),
        AnyMessage::Refused(message) => ToGateway::Refused(message),
        AnyMessage::Unknown(message) => ToGateway::Unknown(message),
        AnyMessage::Pulse(message) => ToGateway::Pulse(message),
        AnyMessage::Map(message) => ToGateway::Map(message),
        AnyMessage::State(state) => return Ok(state.understood()),
        AnyMessage::Command(command) => return Ok(command.understood()),
    };
    Ok(Heard { message: Some(message), answer: None, unknown: Vec::new() })
}

/// What could not be read is of a kind that this version does not know: that is no fault.
fn kind_or(error: DecodeError, frame: &[u8], known: &[&str]) -> DecodeError {
    if !matches!(error, DecodeError::Malformed(_)) {
        return error;
    }
    let named = parse::<Envelope<Named>>(frame).map(|envelope| envelope.body.into_keys().next());
    match named {
        Ok(Some(name)) if !known.contains(&name.as_str()) => DecodeError::Kind(shown(&name)),
        Ok(_) | Err(_) => error,
    }
}

fn shown(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(MOST_SHOWN).collect()
}

/// A message with its name, whatever is in it.
type Named = BTreeMap<String, IgnoredAny>;

/// A value that a later version may have others of.
enum Maybe<T> {
    Known(T),
    Word(String),
    Other,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Raw(value) = Raw::deserialize(deserializer)?;
        Ok(parse(value)
            .map(Self::Known)
            .or_else(|_| parse(value).map(Self::Word))
            .unwrap_or(Self::Other))
    }
}

impl<T> Maybe<T> {
    /// The value; else `unknown` has the name of the place, with the word that stands there.
    fn known(self, place: &str, unknown: &mut Vec<String>) -> Option<T> {
        match self {
            Self::Known(value) => return Some(value),
            Self::Word(word) => unknown.push(format!("{place} {:?}", shown(&word))),
            Self::Other => unknown.push(place.to_owned()),
        }
        None
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum AnyMessage {
    Pending(Pending),
    Refused(Refused),
    Unknown(Unknown),
    Pulse(Pulse),
    State(Box<AnyState>),
    Map(Map),
    Command(AnyCommand),
}

#[derive(Deserialize)]
struct AnyCommand {
    command: u64,
    kind: Maybe<CommandKind>,
}

impl AnyCommand {
    fn understood(self) -> Heard {
        let mut unknown = Vec::new();
        let command = self.command;
        if let Some(kind) = self.kind.known("the command", &mut unknown) {
            let message = Some(ToGateway::Command(Command { command, kind }));
            return Heard { message, answer: None, unknown };
        }
        let text =
            format!("this version of the gateway does not know {}; upgrade it", unknown.join(", "));
        let answer = Some(Done { command, ok: false, text });
        Heard { message: None, answer, unknown }
    }
}

#[derive(Deserialize)]
struct AnyState {
    #[serde(default)]
    request: u64,
    instance: u64,
    revision: u64,
    time: Reading,
    group: String,
    name: String,
    epochs: Vec<AnyEpoch>,
    policies: Vec<AnyPolicy>,
    settings: GroupSettings,
}

impl AnyState {
    fn understood(self) -> Heard {
        let mut unknown = Vec::new();
        let state = State {
            request: self.request,
            instance: self.instance,
            revision: self.revision,
            time: self.time,
            group: self.group,
            name: self.name,
            epochs: self.epochs.into_iter().map(|epoch| epoch.understood(&mut unknown)).collect(),
            policies: self
                .policies
                .into_iter()
                .filter_map(|policy| policy.understood(&mut unknown))
                .collect(),
            settings: self.settings,
        };
        Heard { message: Some(ToGateway::State(Box::new(state))), answer: None, unknown }
    }
}

#[derive(Deserialize)]
struct AnyEpoch {
    id: u64,
    stage: Maybe<Stage>,
    #[serde(default)]
    revokes: bool,
    #[serde(default)]
    keys: Option<AnyKeys>,
}

#[derive(Deserialize)]
struct AnyKeys {
    tek: TekField,
    suite: Maybe<KnownSuite>,
    carriage: Maybe<Carriage>,
    clock: u64,
    origin: u64,
    ends: u64,
    senders: Vec<u32>,
    highest_sender: u32,
}

#[derive(Deserialize)]
struct KnownSuite(#[serde(with = "super::suite")] Suite);

impl AnyEpoch {
    /// One that cannot be used is one without keys. A stage that is not known is none in which this version seals.
    fn understood(self, unknown: &mut Vec<String>) -> Epoch {
        let (id, mut words, mut stages) = (self.id, Vec::new(), Vec::new());
        let stage = self.stage.known("stage", &mut stages).unwrap_or(Stage::Prepared);
        let keys = self.keys.and_then(|keys| keys.understood(&mut words));
        unknown.extend(complaint(&format!("epoch {id} cannot be used"), &words));
        unknown.extend(complaint(&format!("epoch {id} counts as prepared"), &stages));
        Epoch { id, stage, revokes: self.revokes, keys }
    }
}

impl AnyKeys {
    fn understood(self, words: &mut Vec<String>) -> Option<EpochKeys> {
        let suite = self.suite.known("cipher", words);
        let carriage = self.carriage.known("carriage", words);
        Some(EpochKeys {
            tek: self.tek,
            suite: suite?.0,
            carriage: carriage?,
            clock: self.clock,
            origin: self.origin,
            ends: self.ends,
            senders: self.senders,
            highest_sender: self.highest_sender,
        })
    }
}

#[derive(Deserialize)]
struct AnyPolicy {
    version: u64,
    stage: Maybe<Stage>,
    policy: Maybe<AnyRules>,
    mode: Maybe<Mode>,
    non_ip: Maybe<NonIp>,
    fail: Maybe<Fail>,
}

/// As [`Policy`], but nothing in it may be ignored: a rule would match more than was meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyRules {
    #[serde(default)]
    rules: Vec<Maybe<Rule>>,
    #[serde(default)]
    default_action: Option<Maybe<Action>>,
}

impl AnyPolicy {
    /// Whole, or not at all.
    fn understood(self, unknown: &mut Vec<String>) -> Option<PolicyVersion> {
        let mut words = Vec::new();
        let stage = self.stage.known("stage", &mut words);
        let mode = self.mode.known("mode", &mut words);
        let non_ip = self.non_ip.known("non_ip", &mut words);
        let fail = self.fail.known("fail", &mut words);
        let rules = self.policy.known("what it has beside rules", &mut words);
        let policy = rules.and_then(|rules| rules.understood(&mut words));
        let what = format!("policy {} is not followed, the last one stays in force", self.version);
        unknown.extend(complaint(&what, &words));
        Some(PolicyVersion {
            version: self.version,
            stage: stage?,
            policy: policy?,
            mode: mode?,
            non_ip: non_ip?,
            fail: fail?,
        })
    }
}

impl AnyRules {
    fn understood(self, words: &mut Vec<String>) -> Option<Policy> {
        let count = self.rules.len();
        let numbered = self.rules.into_iter().enumerate();
        let rules: Vec<Rule> = numbered
            .filter_map(|(at, rule)| rule.known(&format!("something in rule {}", at + 1), words))
            .collect();
        let mut policy = Policy::new(rules);
        if let Some(action) = self.default_action {
            policy.default_action = action.known("default_action", words)?;
        }
        (policy.rules.len() == count).then_some(policy)
    }
}

fn complaint(what: &str, words: &[String]) -> Option<String> {
    let (first, more) = words.split_first()?;
    let more = if more.is_empty() { "" } else { " and more" };
    Some(format!("{what}: this version does not know {first}{more}; upgrade this gateway"))
}
