//! Orders: what changes something.

use super::naming::fingerprint_is;
use super::settings::settings_tag;
use super::view;
use super::{Answer, Approval, CreatedToken, Desk, Done, GatewayName, Refusal, RefusalKind};
use std::net::IpAddr;
use tsg_control::keys::PublicKey;
use tsg_control::message::CommandKind;
use tsg_control::policy::{Action, Policy, Rule};
use tsg_control::server::{GatewayLine, GatewayState, MOST_PINNED, OrderError};
use tsg_control::token::Token;

/// Tokens are good for at most this long, in seconds.
const LONGEST_TOKEN: u32 = 30 * 86_400;

type Ordered = Result<Answer, Refusal>;

impl From<OrderError> for Refusal {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::NotFound(text) => Self::new(RefusalKind::NotFound, text),
            OrderError::Conflict(text) => Self::new(RefusalKind::Conflict, text),
            OrderError::Invalid(text) => Self::new(RefusalKind::Invalid, text),
        }
    }
}

fn done(text: String) -> Ordered {
    Ok(Answer::Done(Done { done: text }))
}

fn invalid(text: String) -> Refusal {
    Refusal::new(RefusalKind::Invalid, text)
}

fn changed(text: &str) -> Refusal {
    Refusal::new(RefusalKind::Changed, text)
}

pub(super) fn approve(
    desk: &mut Desk<'_>,
    gateway: &GatewayName,
    group: &str,
    fingerprint: Option<&str>,
) -> Ordered {
    let key = to_approve(desk, gateway)?;
    let real = key.fingerprint().to_string();
    if let Some(expected) = fingerprint.filter(|expected| !fingerprint_is(&real, expected)) {
        let shown: String = expected.chars().take(60).collect();
        return Err(Refusal::new(
            RefusalKind::Conflict,
            format!("not approved: {gateway} has the fingerprint {real}, not {shown:?}"),
        ));
    }
    let name = desk.server.approve(key, group, desk.now / 1000, desk.now)?;
    Ok(Answer::Approved(Approval { name, fingerprint: real, group: group.to_owned() }))
}

/// A gateway that waits or was revoked; by its whole key also one that was never heard of.
fn to_approve(desk: &Desk<'_>, name: &GatewayName) -> Result<PublicKey, Refusal> {
    if let Some(key) = name.key() {
        return Ok(key);
    }
    let gateways = desk.server.lines(desk.now);
    let can_be: Vec<_> = gateways
        .iter()
        .filter(|gateway| matches!(gateway.state, GatewayState::Pending | GatewayState::Revoked))
        .cloned()
        .collect();
    match name.find(&can_be) {
        Ok(gateway) => Ok(gateway.key),
        // A member of that name makes the better message.
        Err(refusal) if refusal.kind == RefusalKind::NotFound => Ok(name.find(&gateways)?.key),
        Err(refusal) => Err(refusal),
    }
}

/// A gateway of any kind.
fn find(desk: &Desk<'_>, gateway: &GatewayName) -> Result<(PublicKey, String), Refusal> {
    Ok(named(gateway.find(&desk.server.lines(desk.now))?))
}

/// A gateway that was let in once: what one that waits calls itself is no obstacle.
fn find_known(desk: &Desk<'_>, gateway: &GatewayName) -> Result<(PublicKey, String), Refusal> {
    let mut known = desk.server.lines(desk.now);
    known.retain(|gateway| gateway.state != GatewayState::Pending);
    Ok(named(gateway.find(&known)?))
}

fn named(found: GatewayLine) -> (PublicKey, String) {
    let name = if found.name.is_empty() { found.fingerprint } else { found.name };
    (found.key, name)
}

pub(super) fn revoke(desk: &mut Desk<'_>, gateway: &GatewayName, reason: &str) -> Ordered {
    let (key, name) = find_known(desk, gateway)?;
    desk.server.revoke(key, reason, desk.now)?;
    done(format!("{name} is revoked, its group is given new keys"))
}

pub(super) fn rename(desk: &mut Desk<'_>, gateway: &GatewayName, new: &str) -> Ordered {
    let (key, name) = find_known(desk, gateway)?;
    desk.server.rename(key, new, desk.now)?;
    done(format!("{name} is called {new} now"))
}

pub(super) fn remove(desk: &mut Desk<'_>, gateway: &GatewayName) -> Ordered {
    let (key, name) = find(desk, gateway)?;
    desk.server.remove(key, desk.now)?;
    done(format!("{name} is removed"))
}

/// All that is given, or nothing.
pub(super) fn change(
    desk: &mut Desk<'_>,
    gateway: &GatewayName,
    name: Option<&str>,
    machines: Option<&[IpAddr]>,
    tags: Option<&[String]>,
) -> Ordered {
    let (key, called) = find_known(desk, gateway)?;
    let machines = machines.map(each_once);
    if machines.as_ref().is_some_and(|machines| machines.len() > MOST_PINNED) {
        return Err(invalid(format!("at most {MOST_PINNED} machines can be pinned")));
    }
    let gone = || Refusal::new(RefusalKind::NotFound, format!("there is no gateway {called}"));
    let before = desk.server.gateway(&key, desk.now).ok_or_else(gone)?.tags;
    if let Some(tags) = tags {
        desk.server.tag(key, tags.to_vec())?;
    }
    if let Some(name) = name
        && let Err(error) = desk.server.rename(key, name, desk.now)
    {
        // No gateway is told of tags, and what is durable is what they are at last.
        if tags.is_some() {
            desk.server.tag(key, before)?;
        }
        return Err(error.into());
    }
    if let Some(machines) = machines {
        desk.server.pin(key, machines, desk.now)?;
    }
    desk.server
        .gateway(&key, desk.now)
        .map(|changed| Answer::Gateway(Box::new(changed)))
        .ok_or_else(gone)
}

fn each_once(machines: &[IpAddr]) -> Vec<IpAddr> {
    let mut machines = machines.to_vec();
    machines.sort_unstable();
    machines.dedup();
    machines
}

pub(super) fn pin(desk: &mut Desk<'_>, gateway: &GatewayName, machines: &[IpAddr]) -> Ordered {
    let (key, name) = find_known(desk, gateway)?;
    let machines = each_once(machines);
    let count = machines.len();
    desk.server.pin(key, machines, desk.now)?;
    done(format!("{count} machines are pinned to {name}"))
}

pub(super) fn tag(desk: &mut Desk<'_>, gateway: &GatewayName, tags: &[String]) -> Ordered {
    let (key, name) = find_known(desk, gateway)?;
    let tags = desk.server.tag(key, tags.to_vec())?;
    done(match tags.is_empty() {
        true => format!("{name} has no tags now"),
        false => format!("{name} is tagged {}", tags.join(" ")),
    })
}

pub(super) fn command(desk: &mut Desk<'_>, gateway: &GatewayName, kind: &CommandKind) -> Ordered {
    let (key, _) = find_known(desk, gateway)?;
    let command = desk.server.command(key, kind.clone(), desk.now)?;
    desk.outcomes.expect(command, key);
    Ok(Answer::Commanded { command })
}

pub(super) fn add_group(desk: &mut Desk<'_>, group: &str) -> Ordered {
    desk.server.add_group(group, desk.now)?;
    done(format!("group {group} is there"))
}

pub(super) fn remove_group(desk: &mut Desk<'_>, group: &str) -> Ordered {
    desk.server.remove_group(group)?;
    done(format!("group {group} is removed"))
}

pub(super) fn set_group(
    desk: &mut Desk<'_>,
    group: &str,
    settings: &[(String, String)],
    base: Option<&str>,
) -> Ordered {
    if let Some(base) = base
        && base != settings_tag(&view::group(desk, group)?.settings)
    {
        return Err(changed(
            "somebody else has changed the settings meanwhile: look at them again",
        ));
    }
    desk.server.set_group(group, settings, desk.now)?;
    let list: Vec<_> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    done(format!("{group}: {}", list.join(" ")))
}

pub(super) fn set_policy(
    desk: &mut Desk<'_>,
    group: &str,
    rules: &[Rule],
    default_action: Option<Action>,
    base: Option<u64>,
) -> Ordered {
    let found = view::group(desk, group)?;
    if base.is_some_and(|base| base != found.policy_version) {
        return Err(changed("somebody else has changed the rules meanwhile: look at them again"));
    }
    let own = found.settings.default_action;
    if default_action.is_some_and(|given| given != own) {
        return Err(invalid(format!(
            "default_action is a setting of the group, and {own} there: change it with \
             `group set {group} default_action=…`"
        )));
    }
    let version = desk.server.set_policy(group, Policy::new(rules.to_vec()), desk.now)?;
    Ok(Answer::Accepted { version })
}

pub(super) fn check_policy(rules: &[Rule]) -> Ordered {
    Policy::new(rules.to_vec()).check().map_err(|error| invalid(error.to_string()))?;
    done(format!("{} rules, all of them good", rules.len()))
}

pub(super) fn create_token(
    desk: &mut Desk<'_>,
    group: &str,
    lifetime: u32,
    servers: &[String],
) -> Ordered {
    if !(1..=LONGEST_TOKEN).contains(&lifetime) {
        return Err(invalid("a token is good for 1 second to 30 days".to_owned()));
    }
    let servers = addresses(desk, servers)?;
    let expires = desk.now / 1000 + u64::from(lifetime);
    let (id, secret) = desk.server.create_token(group, expires)?;
    let server_key = desk.identity.public();
    let token = Token { servers, server_key, secret, expires, group: group.to_owned() };
    Ok(Answer::Token(CreatedToken {
        id,
        token: token.encode(),
        group: token.group,
        expires,
        servers: token.servers,
    }))
}

/// Where gateways will look for this server.
fn addresses(desk: &Desk<'_>, given: &[String]) -> Result<Vec<String>, Refusal> {
    if given.len() > 16 {
        return Err(invalid("a token holds at most 16 addresses".to_owned()));
    }
    for server in given {
        let port = server.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':'));
        let good = port.is_some_and(|(host, port)| {
            !host.is_empty()
                && host.len() <= 253
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]%_".contains(&b))
                && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if !good {
            let shown: String = server.chars().take(80).collect();
            return Err(invalid(format!("{shown:?} is no address such as tcp://192.0.2.10:5555")));
        }
    }
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    let listen = desk.running.listen;
    if ["tcp://0.0.0.0:", "tcp://[::]:", "tcp://*:"].iter().any(|any| listen.starts_with(any)) {
        return Err(invalid(
            "the server listens on all its addresses: say which one gateways use, such as \
             --server tcp://192.0.2.10:5555"
                .to_owned(),
        ));
    }
    Ok(vec![listen.to_owned()])
}

pub(super) fn revoke_token(desk: &mut Desk<'_>, id: u64) -> Ordered {
    desk.server.revoke_token(id)?;
    done(format!("token {id} is worthless now"))
}

pub(super) fn rekey(desk: &mut Desk<'_>, group: &str) -> Ordered {
    let epoch = desk.server.rekey(group, desk.now)?;
    Ok(Answer::Rekeying { epoch, in_force: false })
}
