//! Offloads of the gateway's ports: is what is wanted so, and does something stand in the gateway's way?

use std::io;

use anyhow::Result;

use super::report::Report;
use crate::{
    attach::Kind,
    config::Config,
    machine::Machine,
    offloads::{Feature, Settings, Wanted, Wish},
};

/// Asks how the features of a port stand. A parameter, so that a test's machine answers for itself.
pub(super) type Reader<'a> = &'a dyn Fn(&str) -> io::Result<Settings>;

/// `at_work` is the attach that runs, or that was chosen.
pub(super) fn check(
    config: &Config,
    at_work: Option<Kind>,
    machine: &Machine,
    reader: Reader<'_>,
    report: &mut Report<'_>,
) -> Result<()> {
    let wanted = Wanted::of(config);
    let mut all_well = !wanted.0.is_empty();
    for (port, features) in wanted.0.iter().filter(|(port, _)| machine.has_interface(port)) {
        let now = match reader(port) {
            Ok(now) => now,
            Err(error) => {
                all_well = false;
                let text = format!("{port}: its features cannot be read: {error}");
                report.warning("offloads", &text)?;
                continue;
            }
        };
        for (feature, wish) in features {
            let Wish::Must(on) = *wish else { continue };
            let Some(setting) = now.get(feature).filter(|setting| setting.on != on) else {
                continue;
            };
            all_well = false;
            let (is, name) = (if setting.on { "on" } else { "off" }, feature.name());
            let text = match (setting.fixed, feature) {
                (true, Feature::Lro) => format!(
                    "{port}: lro is on and its driver lets nobody change that: what the port joins cannot be \
                     passed on as it was; take another port"
                ),
                (true, _) => format!(
                    "{port}: {name} is {is} and fixed by its driver; remove `option {name}` of its `config port`"
                ),
                (false, _) => format!("{port}: {name} is {is}; run `tsg offloads`"),
            };
            report.warning("offloads", &text)?;
        }
        let list = Feature::RxGroList;
        let stay = features.get(&list).is_none_or(|wish| wish.on());
        let lists = stay && now.get(&list).is_some_and(|setting| setting.on);
        if lists && at_work == Some(Kind::Ingress) {
            all_well = false;
            let text = format!(
                "{port}: rx_gro_list is on: nothing is lost, but packets are joined to lists and cut again before \
                 the gateway has them; it is faster with `option rx_gro_list '0'` in a `config port` for {port}"
            );
            report.warning("offloads", &text)?;
        }
        let joining = Feature::RxUdpGroForwarding;
        let could_join = now.get(&joining).is_some_and(|setting| !setting.on && !setting.fixed);
        let is_wan = config.bridges.iter().any(|bridge| bridge.wan == *port);
        if could_join
            && is_wan
            && !features.contains_key(&joining)
            && at_work == Some(Kind::Ingress)
        {
            all_well = false;
            let text = format!(
                "{port}: rx_udp_gro_forwarding is off: nothing is lost, but with `encap udp` the gateway is faster with \
                 `option rx_udp_gro_forwarding '1'` in a `config port` for {port}"
            );
            report.warning("offloads", &text)?;
        }
    }
    if all_well {
        report.good("offloads", "are as the gateway needs and the configuration wants them")?;
    }
    Ok(())
}
