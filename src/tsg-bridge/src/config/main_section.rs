//! `config tsg 'main'`.

use log::LevelFilter;
use tsg_control::{group::Fail, keys::PublicKey};

use super::{
    Config, Endpoint,
    endpoint::NotAnEndpoint,
    options::{Findings, Wrong, boolean, several, single},
};
use crate::uci::{Opt, Section};

/// How to get at packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// What the kernel can do best, found by trying.
    Auto,
    /// NFQUEUE, on nftables or iptables, found by trying.
    Nfqueue,
    /// NFQUEUE on nftables' bridge family.
    NfqueueNft,
    /// NFQUEUE on iptables with br_netfilter.
    NfqueueIptables,
    /// nftables ingress hooks on the ports, to a TAP.
    Ingress,
}

impl Attach {
    /// The word for it in UCI.
    pub fn name(self) -> &'static str {
        let known = ATTACHES.iter().find(|(_, attach)| *attach == self);
        known.map_or("auto", |(name, _)| name)
    }
}

/// What to do with a packet that is too big once sealed and must not be fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// Tell the sender by ICMP, as a router would.
    Icmp,
    /// Fragment all the same, for machines that ignore ICMP.
    Fragment,
}

const OPTIONS: [&str; 12] = [
    "enabled",
    "server",
    "server_key",
    "name",
    "attach",
    "oversize",
    "path_mtu",
    "cache_keys",
    "routed",
    "log_level",
    "fail",
    // For the init script, which shows on it how the gateway is.
    "led",
];

const KEY_FORM: &str = "the key server's public key, in base64 (44 characters) or Z85 (40)";
const MAX_SERVERS: usize = 16;
const MAX_NAME_BYTES: usize = 64;

/// IPv6 needs links that carry 1,280 bytes (RFC 8200 section 5); less than 576 no IPv4 host expects.
const MIN_PATH_MTU: u16 = 576;
const MAX_PATH_MTU: u16 = 9_216;

pub(super) fn read(section: &Section, config: &mut Config, found: &mut Findings<'_>) {
    let before = found.problems.len();
    found.each_option(section, &OPTIONS, |opt| set(opt, config));
    let keyless = config.server_key.is_none() && !found.failed_option(before, "server_key");
    if !config.servers.is_empty() && keyless {
        found.missing(
            "server_key",
            KEY_FORM,
            "Run `tsg-server key` on the key server and `uci set tsg.main.server_key=KEY; uci commit \
             tsg` here, or pipe a token of the key server into `tsg enrol`",
        );
    }
}

fn set(opt: &Opt, config: &mut Config) -> Result<(), Wrong> {
    match opt.name.as_str() {
        "enabled" => config.enabled = boolean(opt)?,
        "server" => config.servers = servers(opt)?,
        "server_key" => config.server_key = Some(server_key(opt)?),
        "name" => config.name = Some(name(opt)?),
        "attach" => config.attach = choice(opt, &ATTACHES)?,
        "oversize" => config.oversize = choice(opt, &OVERSIZES)?,
        "path_mtu" => config.path_mtu = Some(path_mtu(opt)?),
        "cache_keys" => config.cache_keys = boolean(opt)?,
        "routed" => config.routed = boolean(opt)?,
        "log_level" => config.log_level = choice(opt, &LOG_LEVELS)?,
        "fail" => config.fail = choice(opt, &FAILS)?,
        _ => {}
    }
    Ok(())
}

const ATTACHES: [(&str, Attach); 5] = [
    ("auto", Attach::Auto),
    ("nfqueue", Attach::Nfqueue),
    ("nfqueue-nft", Attach::NfqueueNft),
    ("nfqueue-iptables", Attach::NfqueueIptables),
    ("ingress", Attach::Ingress),
];

const OVERSIZES: [(&str, Oversize); 2] =
    [("icmp", Oversize::Icmp), ("fragment", Oversize::Fragment)];

const LOG_LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::Off),
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
    ("trace", LevelFilter::Trace),
];

const FAILS: [(&str, Fail); 2] = [("closed", Fail::Closed), ("open", Fail::Open)];

fn choice<T: Copy>(opt: &Opt, words: &[(&str, T)]) -> Result<T, Wrong> {
    let text = single(opt)?;
    let known = words.iter().find(|(word, _)| *word == text);
    known.map(|&(_, value)| value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
        Wrong::new(text, words.join(", "), "Write one of these words")
    })
}

fn servers(opt: &Opt) -> Result<Vec<Endpoint>, Wrong> {
    let mut servers = Vec::new();
    for text in several(opt) {
        let server: Endpoint = text.parse().map_err(|NotAnEndpoint| {
            Wrong::new(
                text,
                NotAnEndpoint.to_string(),
                "Write the key server's address like that, one `list server` for each address",
            )
        })?;
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    if servers.len() > MAX_SERVERS {
        let allowed = format!("at most {MAX_SERVERS} addresses");
        return Err(Wrong::new(&opt.value.texts().join(" "), allowed, "Remove some"));
    }
    Ok(servers)
}

fn server_key(opt: &Opt) -> Result<PublicKey, Wrong> {
    let text = single(opt)?;
    let key = text.parse::<PublicKey>().ok().filter(|key| key.0 != [0; 32]);
    key.ok_or_else(|| {
        Wrong::new(
            text,
            KEY_FORM,
            "Copy it again, whole, from `tsg-server key`, or pipe a token into `tsg enrol`",
        )
    })
}

fn name(opt: &Opt) -> Result<String, Wrong> {
    let text = single(opt)?.trim();
    if text.is_empty() || text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) {
        let allowed = format!("1 to {MAX_NAME_BYTES} bytes without control characters");
        return Err(Wrong::new(text, allowed, "Give the gateway a short name"));
    }
    Ok(text.to_owned())
}

fn path_mtu(opt: &Opt) -> Result<u16, Wrong> {
    let text = single(opt)?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let size =
        text.parse().ok().filter(|size| digits && (MIN_PATH_MTU..=MAX_PATH_MTU).contains(size));
    size.ok_or_else(|| {
        Wrong::new(
            text,
            format!("{MIN_PATH_MTU} to {MAX_PATH_MTU} (bytes)"),
            "Write the largest IP packet that the plant network carries, usually 1500, or remove it",
        )
    })
}
