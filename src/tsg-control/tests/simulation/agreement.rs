//! Whether the members of a group agree with each other and with the server.

use crate::checks::brief;
use crate::world::World;
use tsg_control::gateway::KeyView;
use tsg_control::server::EpochView;
use tsg_control::timeline::Stage;

impl World {
    /// 4: after a quiet time all members of a group agree. Gives who does not, and why.
    pub(crate) fn differences(&mut self) -> Result<(), String> {
        let (t, now) = (self.t, self.server_time());
        let server = self.server.as_ref().ok_or("no server")?;
        let groups = server.groups(now);
        let hostile = self.plan.hostile;
        for gateway in server.gateways(now) {
            let known = self.members.iter_mut().find(|member| member.key == gateway.key);
            let Some(member) = known.filter(|member| !member.is_hostile()) else { continue };
            let standing = format!("{:?}", member.gateway.standing());
            let expected = match (&gateway.reason, gateway.group.is_empty()) {
                (Some(_), _) => "Revoked",
                (None, true) => "Pending",
                (None, false) => "Member",
            };
            if !standing.starts_with(expected) {
                return Err(format!("box {} should be {expected} and is {standing}", member.index));
            }
            let Some(group) = groups.iter().find(|group| group.name == gateway.group) else {
                continue;
            };
            if gateway.reason.is_some() {
                continue;
            }
            member.look(t);
            let sealing = member.views.iter().find(|view| view.sealing);
            // A hostile member can have one epoch prepared after the other.
            let settled = |epoch: &&EpochView| !hostile || epoch.stage == Stage::Active;
            let newest = group.epochs.iter().rev().find(settled).map_or(0, |epoch| epoch.id);
            let revealed = server.reveal(&group.name).map_err(|error| error.to_string())?;
            let same = |view: &&KeyView| {
                view.id >= newest
                    && revealed
                        .iter()
                        .any(|epoch| epoch.id == view.id && epoch.tek.expose() == view.tek.expose())
            };
            let agree = sealing.as_ref().is_some_and(same)
                && sealing.is_some_and(|view| view.error < 500 && view.origin.is_some())
                && (hostile || gateway.current)
                && member.policy() == group.policy_version
                && group.policy_in_force == group.policy_version;
            if !agree {
                let has = brief(&member.views);
                return Err(format!(
                    "box {} differs: {has:?}, {standing}, policy {}; {gateway:?}; {group:?}",
                    member.index,
                    member.policy()
                ));
            }
        }
        Ok(())
    }
}
