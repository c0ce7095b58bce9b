//! Whether the members of a group agree with each other and with the server.

use crate::checks::brief;
use crate::world::World;

impl World {
    /// 4: after a quiet time all members of a group agree. Gives who does not, and why.
    pub(crate) fn differences(&mut self) -> Result<(), String> {
        let (t, now) = (self.t, self.server_time());
        let server = self.server.as_ref().ok_or("no server")?;
        let groups = server.groups(now);
        for gateway in server.gateways(now) {
            let Some(member) = self.members.iter_mut().find(|member| member.key == gateway.key)
            else {
                continue;
            };
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
            let newest = group.epochs.last().map(|epoch| epoch.id);
            let revealed = server.reveal(&group.name).map_err(|error| error.to_string())?.pop();
            let tek = revealed.map(|epoch| *epoch.tek.expose());
            let agree = sealing.map(|view| (view.id, *view.tek.expose())) == newest.zip(tek)
                && sealing.is_some_and(|view| view.error < 500 && view.origin.is_some())
                && gateway.current
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
