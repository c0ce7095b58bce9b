//! Where the box's own address goes when its ports become a gateway's.

use super::draft::Place;
use super::interfaces::{self, Interfaces};
use super::{Address, Files, Layout, Plan, Request, refuse};
use crate::uci::Package;
use anyhow::{Result, ensure};

/// The interface that is made if the box has none that could be taken over.
const INTERFACE: &str = "tsg";

impl Plan {
    /// Puts the box's address where the ports are now.
    pub(super) fn address(
        &mut self,
        files: &Files,
        request: &Request,
        layout: &Layout,
    ) -> Result<()> {
        let vlan = request.vlan.map(|vlan| format!(".{vlan}")).unwrap_or_default();
        let device = format!("{}{vlan}", layout.device);
        let found = Interfaces::find(&self.draft.network, request, layout)?;
        refuse::interfaces(files, request, &found, layout)?;
        let mut here: Vec<String> = Vec::new();
        match &request.address {
            Address::Keep => {
                for at in found.all() {
                    here.extend(self.name_of(at));
                    self.stand_on(at, &device);
                }
            }
            Address::None => {
                for at in found.all() {
                    self.switch_off(at);
                }
            }
            Address::Dhcp | Address::Fixed(_) => {
                let mut all = found.all();
                let at = match all.next() {
                    Some(at) => at,
                    None => self.new_interface()?,
                };
                here.extend(self.name_of(at));
                self.stand_on(at, &device);
                self.readdress(at, &request.address);
                for at in all {
                    self.switch_off(at);
                }
            }
        }
        if here.is_empty() {
            let other = interfaces::others(&self.draft.network, request, layout);
            ensure!(
                !other.is_empty(),
                "the box would have no address at all, and could not reach the key server; ask for one: \
                 `--address dhcp` or `--address 192.0.2.5/24`, or with `--vlan 10` beside it"
            );
            self.notes.push(format!(
                "the box has no address on these ports; the key server has to be reached through {}",
                other.join(", ")
            ));
        }
        self.warn_of_dhcp(&files.dhcp, &here);
        Ok(())
    }

    fn name_of(&self, at: usize) -> Option<String> {
        self.draft.network.sections[at].name.clone()
    }

    fn stand_on(&mut self, at: usize, device: &str) {
        self.draft.set(Place::Network, at, "device", device);
        // What OpenWrt before 21.02 called it.
        self.draft.delete(Place::Network, at, "ifname");
    }

    fn switch_off(&mut self, at: usize) {
        let name = self.name_of(at).unwrap_or_default();
        self.draft.set(Place::Network, at, "disabled", "1");
        self.notes.push(format!(
            "interface {name} is switched off, since its port is the gateway's now; its settings stay"
        ));
    }

    fn new_interface(&mut self) -> Result<usize> {
        self.notes.push(format!(
            "interface {INTERFACE} is new and in no zone of the firewall, which may refuse what comes to it (SSH, \
             LuCI): put it into one, such as `uci add_list firewall.@zone[0].network={INTERFACE}; uci commit firewall; \
             /etc/init.d/firewall reload`"
        ));
        self.draft.section(Place::Network, "interface", INTERFACE)
    }

    fn readdress(&mut self, at: usize, address: &Address) {
        let section = &self.draft.network.sections[at];
        let name = section.name.clone().unwrap_or_default();
        if let Some(before) = section.text("ipaddr").map(str::to_owned) {
            self.notes.push(format!("interface {name} had the address {before}"));
        }
        let (proto, option, text) = match address {
            Address::Fixed(text) if text.contains(':') => ("static", "ip6addr", Some(text)),
            Address::Fixed(text) => ("static", "ipaddr", Some(text)),
            Address::Dhcp | Address::Keep | Address::None => ("dhcp", "", None),
        };
        self.draft.set(Place::Network, at, "proto", proto);
        for old in
            ["ipaddr", "netmask", "broadcast", "ip6addr"].into_iter().filter(|old| *old != option)
        {
            self.draft.delete(Place::Network, at, old);
        }
        self.draft.delete(Place::Network, at, "disabled");
        let Some(text) = text else {
            self.draft.delete(Place::Network, at, "gateway");
            return;
        };
        self.draft.set(Place::Network, at, option, text);
        let gateway = self.draft.network.sections[at].text("gateway");
        self.notes.push(match gateway {
            Some(gateway) => format!("interface {name} still has the default gateway {gateway}"),
            None => format!(
                "interface {name} has no default gateway: the key server has to be in the same subnet, or set one: \
                 `uci set network.{name}.gateway=…`"
            ),
        });
    }

    /// A DHCP server in a plant network stops it.
    fn warn_of_dhcp(&mut self, dhcp: &Package, here: &[String]) {
        for section in dhcp.of_kind("dhcp") {
            let Some(interface) =
                section.text("interface").filter(|name| here.iter().any(|h| h == name))
            else {
                continue;
            };
            if matches!(section.text("ignore"), Some("1" | "on" | "true" | "yes" | "enabled")) {
                continue;
            }
            let label = section.name.as_deref().unwrap_or(interface);
            self.notes.push(format!(
                "BEFORE YOU APPLY THIS: the box's DHCP server answers on interface {interface}, which is in the plant \
                 network then; switch it off: `uci set dhcp.{label}.ignore=1; uci commit dhcp; /etc/init.d/dnsmasq \
                 restart; /etc/init.d/odhcpd restart`"
            ));
        }
    }
}
