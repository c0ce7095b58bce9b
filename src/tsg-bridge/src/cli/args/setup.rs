//! The arguments of `tsg setup`.

use super::{Found, UsageError};
use crate::cli::setup::{Setup, Wish};

impl Found {
    pub(super) fn setup(&mut self) -> Result<Setup, UsageError> {
        let wish = self.wish()?;
        let rollback = self.number("rollback")?;
        let apply = self.take("apply");
        let others = [
            ("undo", Setup::Undo),
            ("confirm", Setup::Confirm),
            ("expire", Setup::Expire),
            ("watch", Setup::Watch),
        ];
        let mut others = others.into_iter().filter(|(flag, _)| self.take(flag));
        let (other, another) = (others.next(), others.next());
        drop(others);
        let needs_apply = rollback.is_some() && !apply;
        if another.is_some() {
            return Err(UsageError("one of --undo and --confirm, not both".to_owned()));
        }
        match other {
            Some(_) if apply || rollback.is_some() || wish != Wish::default() => {
                Err(UsageError("--undo and --confirm go alone".to_owned()))
            }
            Some((_, other)) => Ok(other),
            None if needs_apply => Err(UsageError("--rollback goes with --apply".to_owned())),
            None if wish.lan.is_empty() || wish.wan.is_empty() => Err(UsageError(
                "`tsg setup` needs --lan PORT (for each port to the protected machines) and --wan PORT".to_owned(),
            )),
            None if apply => Ok(Setup::Apply(wish, rollback)),
            None => Ok(Setup::Show { wish, json: self.take("json") }),
        }
    }

    fn wish(&mut self) -> Result<Wish, UsageError> {
        let lan = self.values.extract_if(.., |(name, _)| name == "lan").map(|(_, port)| port);
        let mut wish = Wish { lan: lan.collect(), ..Wish::default() };
        wish.wan = self.value("wan").unwrap_or_default();
        wish.address = self.value("address");
        let vlan = self.number("vlan")?.map(u16::try_from).transpose();
        wish.vlan = vlan.map_err(|_| UsageError("--vlan is a number from 1 to 4094".to_owned()))?;
        wish.standalone = self.take("standalone");
        Ok(wish)
    }

    /// The last one of that name counts.
    pub(super) fn value(&mut self, wanted: &str) -> Option<String> {
        self.values.extract_if(.., |(name, _)| name == wanted).map(|(_, value)| value).last()
    }

    fn number(&mut self, name: &str) -> Result<Option<u32>, UsageError> {
        let number = self.value(name).map(|text| text.parse()).transpose();
        number.map_err(|_| UsageError(format!("--{name} is a number")))
    }
}
