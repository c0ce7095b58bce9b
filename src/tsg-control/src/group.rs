//! What is set for a group: by an operator, on the key server.
//!
//! A setting that changes how packets are read (`cipher`, `encap`, `encap_port`, `protocol`) comes
//! into force with the next epoch; one that changes which packets are sealed or let in (`mode`,
//! `default_action`, `non_ip`, `fail`) with the next policy version; the rest at once.

use crate::policy::Action;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};
use tsg_esp::crypto::Suite;

/// How far a group is rolled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing is sealed; flows are reported so that an operator can make rules of them.
    Learn,
    /// Nothing is sealed, sealed packets are opened.
    ReceiveOnly,
    /// Sealed to machines that the map knows, in clear to the others; both are accepted.
    Migrate,
    /// What a rule encrypts is sealed, and accepted only sealed.
    Enforce,
}

/// What happens to matched traffic when there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fail {
    /// It is stopped.
    Closed,
    /// It goes in clear, with an alarm.
    Open,
}

/// What happens to frames that are neither IP nor on the list that always passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NonIp {
    /// They pass, never sealed.
    Pass,
    /// They are stopped.
    Drop,
    /// Those of these EtherTypes pass, the others are stopped.
    Only(Vec<u16>),
}

/// How a sealed packet is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encap {
    /// Right behind the IP header, under the group's protocol number.
    Protocol,
    /// In UDP, RFC 3948's framing, from and to the group's port.
    Udp,
}

/// Which cipher the group's epochs use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cipher {
    /// AES-256-GCM where every member has it in hardware, else ChaCha20-Poly1305.
    #[serde(rename = "auto")]
    Auto,
    /// RFC 7634.
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
    /// RFC 4106; members without the hardware stay outside.
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
}

/// All settings of a group. Durations are in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// How far the group is rolled out.
    pub mode: Mode,
    /// For packets that no rule matches.
    pub default_action: Action,
    /// For frames that are not IP.
    pub non_ip: NonIp,
    /// Carried by protocol number or in UDP.
    pub encap: Encap,
    /// UDP port of `encap udp`.
    pub encap_port: u16,
    /// IP protocol number of `encap protocol`.
    pub protocol: u8,
    /// The cipher of the group's epochs.
    pub cipher: Cipher,
    /// How old a sealed packet may be.
    pub replay_window: u32,
    /// How long a routine rekey or policy change waits for members that are slow to answer.
    pub activation_delay: u32,
    /// How long a revocation waits for them.
    pub revoke_delay: u32,
    /// How long an epoch serves.
    pub key_lifetime: u32,
    /// How long a gateway goes on beyond that without its key server; [`FOREVER`] is no end.
    pub island_time: u32,
    /// What happens without a key.
    pub fail: Fail,
    /// May a gateway's own rules let pass what the group seals?
    pub local_bypass: bool,
    /// May an operator at a gateway let pass in clear for a while what the group seals?
    pub timed_bypass: bool,
}

/// `island_time` without an end.
pub const FOREVER: u32 = u32::MAX;

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            default_action: Action::Bypass,
            non_ip: NonIp::Pass,
            encap: Encap::Protocol,
            encap_port: 4253,
            protocol: 253,
            cipher: Cipher::Auto,
            replay_window: 4,
            activation_delay: 15,
            revoke_delay: 5,
            key_lifetime: 86_400,
            island_time: 86_400,
            fail: Fail::Closed,
            local_bypass: false,
            timed_bypass: true,
        }
    }
}

/// A setting's name or value that cannot be, and what could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError(String);

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for SettingError {}

impl Settings {
    /// The names that [`Settings::set`] knows.
    pub const NAMES: [&'static str; 15] = [
        "mode",
        "default_action",
        "non_ip",
        "encap",
        "encap_port",
        "protocol",
        "cipher",
        "replay_window",
        "activation_delay",
        "revoke_delay",
        "key_lifetime",
        "island_time",
        "fail",
        "local_bypass",
        "timed_bypass",
    ];

    /// Sets one setting from text, as an operator types it.
    ///
    /// # Errors
    /// The setting's name, its value and what is allowed.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let wrong = |wanted: &str| {
            let shown: String = value.chars().take(60).collect();
            SettingError(format!("{name}={shown:?}: {wanted}"))
        };
        let seconds = |low: u32, high: u32| {
            seconds(value).filter(|value| (low..=high).contains(value)).ok_or_else(|| {
                wrong(&format!("{low} to {high} seconds, such as 90, 90s, 15m, 24h"))
            })
        };
        match name {
            "mode" => {
                self.mode =
                    word(value).ok_or_else(|| wrong("learn, receive-only, migrate or enforce"))?;
            }
            "default_action" => {
                self.default_action = word(value)
                    .filter(|&action| action != Action::Encrypt)
                    .ok_or_else(|| wrong("bypass or drop"))?;
            }
            "non_ip" => {
                self.non_ip = value.parse().map_err(|NotNonIp| wrong(NON_IP))?;
            }
            "encap" => self.encap = word(value).ok_or_else(|| wrong("protocol or udp"))?,
            "encap_port" => {
                self.encap_port = value
                    .parse()
                    .ok()
                    .filter(|&port| port != 0)
                    .ok_or_else(|| wrong("a UDP port, 1 to 65535"))?;
            }
            "protocol" => {
                self.protocol = value
                    .parse()
                    .ok()
                    .filter(|number| [50, 253, 254].contains(number))
                    .ok_or_else(|| wrong("253 or 254 (RFC 3692), or 50 (ESP)"))?;
            }
            "cipher" => {
                self.cipher =
                    word(value).ok_or_else(|| wrong("auto, chacha20-poly1305 or aes-256-gcm"))?;
            }
            "replay_window" => self.replay_window = seconds(1, 3_600)?,
            "activation_delay" => self.activation_delay = seconds(1, 900)?,
            "revoke_delay" => self.revoke_delay = seconds(0, 60)?,
            "key_lifetime" => self.key_lifetime = seconds(60, 30 * 86_400)?,
            "island_time" if matches!(value, "infinite" | "forever") => self.island_time = FOREVER,
            "island_time" => self.island_time = seconds(0, 365 * 86_400)?,
            "fail" => self.fail = word(value).ok_or_else(|| wrong("closed or open"))?,
            "local_bypass" => self.local_bypass = yes(value).ok_or_else(|| wrong("yes or no"))?,
            "timed_bypass" => self.timed_bypass = yes(value).ok_or_else(|| wrong("yes or no"))?,
            _ => {
                let shown: String = name.chars().take(60).collect();
                return Err(SettingError(format!(
                    "{shown:?} is not a setting of a group; there are {}",
                    Self::NAMES.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// Whether the settings fit each other.
    ///
    /// # Errors
    /// Which do not, and what would.
    pub fn check(&self) -> Result<(), SettingError> {
        // Else an epoch could be over for members while the next one still waits for some.
        if self.activation_delay > self.key_lifetime / 4 {
            return Err(SettingError(format!(
                "activation_delay={} must not be more than a quarter of key_lifetime={}",
                self.activation_delay, self.key_lifetime
            )));
        }
        Ok(())
    }

    /// The form in which an epoch of this group carries its packets.
    pub const fn carriage(&self) -> Carriage {
        match self.encap {
            Encap::Protocol => Carriage::Protocol(self.protocol),
            Encap::Udp => Carriage::Udp(self.encap_port),
        }
    }

    /// The suite for a group whose members all can do `common`.
    pub fn suite(&self, all_have_aes: bool) -> Suite {
        match self.cipher {
            Cipher::ChaCha20Poly1305 => Suite::ChaCha20Poly1305,
            Cipher::Aes256Gcm => Suite::Aes256Gcm,
            Cipher::Auto if all_have_aes => Suite::Aes256Gcm,
            Cipher::Auto => Suite::ChaCha20Poly1305,
        }
    }
}

/// How the sealed packets of one epoch are carried: fixed for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Carriage {
    /// By this IP protocol number.
    Protocol(u8),
    /// In UDP from and to this port.
    Udp(u16),
}

/// A word of one of the enums above, through its serde names.
fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    use serde::de::{IntoDeserializer, value::Error};
    let text: serde::de::value::StrDeserializer<'_, Error> = text.into_deserializer();
    T::deserialize(text).ok()
}

fn yes(text: &str) -> Option<bool> {
    match text {
        "1" | "yes" | "on" | "true" => Some(true),
        "0" | "no" | "off" | "false" => Some(false),
        _ => None,
    }
}

/// `90`, `90s`, `15m`, `24h`, `7d` in seconds.
pub fn seconds(text: &str) -> Option<u32> {
    let (digits, unit) = match text.bytes().last()? {
        b's' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 60),
        b'h' => (&text[..text.len() - 1], 3_600),
        b'd' => (&text[..text.len() - 1], 86_400),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u32>().ok()?.checked_mul(unit)
}

const NON_IP: &str = "pass, drop, or EtherTypes such as 0x8892,0x88b8";

/// A text that is not a value of `non_ip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotNonIp;

impl fmt::Display for NotNonIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "non_ip is {NON_IP}")
    }
}

impl FromStr for NonIp {
    type Err = NotNonIp;

    fn from_str(text: &str) -> Result<Self, NotNonIp> {
        match text {
            "pass" => Ok(Self::Pass),
            "drop" => Ok(Self::Drop),
            _ => {
                let types: Option<Vec<u16>> = text.split([',', ' ']).map(ether_type).collect();
                types.filter(|list| list.len() <= 32).map(Self::Only).ok_or(NotNonIp)
            }
        }
    }
}

fn ether_type(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("0x").filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok().filter(|&number| number >= 0x0600)
}

impl fmt::Display for NonIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Drop => f.write_str("drop"),
            Self::Only(types) => {
                for (at, number) in types.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}0x{number:04x}")?;
                }
                Ok(())
            }
        }
    }
}

impl TryFrom<String> for NonIp {
    type Error = NotNonIp;

    fn try_from(text: String) -> Result<Self, NotNonIp> {
        text.parse()
    }
}

impl From<NonIp> for String {
    fn from(value: NonIp) -> Self {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_set_by_name() {
        let mut settings = Settings::default();
        for (name, value) in [
            ("mode", "receive-only"),
            ("default_action", "drop"),
            ("non_ip", "0x8892,0x88b8"),
            ("encap", "udp"),
            ("encap_port", "4500"),
            ("protocol", "50"),
            ("cipher", "aes-256-gcm"),
            ("replay_window", "1m"),
            ("activation_delay", "20"),
            ("revoke_delay", "0"),
            ("key_lifetime", "12h"),
            ("island_time", "infinite"),
            ("fail", "open"),
            ("local_bypass", "yes"),
            ("timed_bypass", "no"),
        ] {
            settings.set(name, value).unwrap();
        }
        assert_eq!(settings.mode, Mode::ReceiveOnly);
        assert_eq!(settings.non_ip, NonIp::Only(vec![0x8892, 0x88b8]));
        assert_eq!(settings.island_time, FOREVER);
        assert_eq!(settings.key_lifetime, 43_200);
        assert_eq!(settings.carriage(), Carriage::Udp(4500));
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
    }

    #[test]
    fn a_wrong_value_changes_nothing_and_is_named() {
        for name in Settings::NAMES {
            let mut settings = Settings::default();
            let error = settings.set(name, "-1 parrots").unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
            assert_eq!(settings, Settings::default());
        }
        let error = Settings::default().set("colour", "red").unwrap_err().to_string();
        assert!(error.contains("island_time"), "{error}");
        assert!(Settings::default().set("default_action", "encrypt").is_err());
    }
}
