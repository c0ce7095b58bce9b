//! The gate's questions in Rust, over the data path's own parser and matcher, for tests and fuzzers; and the
//! test that throws frames at both.

use super::program::Exit;
use crate::rules::{Plan, always, always_passes};
use tsg_control::group::{Carriage, Mode, NonIp};
use tsg_control::policy::{Action, Flow, Proto};
use tsg_esp::ip::{Outline, Upper, Version};

/// Does the gate stop this frame?
pub(super) fn stops(
    plans: &[&Plan],
    exit: &Exit,
    frame: &[u8],
    marked: bool,
    ingress: u32,
) -> bool {
    plans.iter().all(|plan| one_stops(plan, exit, frame, marked, ingress))
}

fn one_stops(plan: &Plan, exit: &Exit, frame: &[u8], marked: bool, ingress: u32) -> bool {
    let (towards_wan, crosses) = match exit {
        Exit::Wan { apart } => (true, ingress != 0 && !apart.contains(&ingress)),
        Exit::Lan { apart } => (false, ingress != 0 && !apart.contains(&ingress)),
    };
    let limit = match (marked, plan.holds_closed()) {
        (true, closed) if !(closed && plan.mode == Mode::Enforce && towards_wan) => return false,
        (false, _) if !crosses => return false,
        (_, true) => Action::Encrypt,
        (_, false) => Action::Drop,
    };
    let Some((ether_type, packet)) = ethernet(frame) else { return true };
    if !matches!(ether_type, 0x0800 | 0x86dd) {
        return !marked && !non_ip_passes(plan, ether_type, frame);
    }
    let policies = plan.effective();
    let worst = || policies.iter().map(super::policy::strictest).max() >= Some(limit);
    let outline = match Outline::parse(packet) {
        Ok(outline) if (outline.version == Version::V4) == (ether_type == 0x0800) => outline,
        _ => return worst(),
    };
    let sealed_stops = !towards_wan && limit == Action::Encrypt;
    if sealed(plan, &outline) {
        return sealed_stops;
    }
    if always_passes(&outline, &plan.servers) {
        return false;
    }
    let judged = match outline.quoted(packet) {
        Ok(Some(quoted)) if sealed(plan, &quoted) => return sealed_stops,
        Ok(quoted) => quoted.unwrap_or(outline),
        Err(_) => return worst(),
    };
    let flow = flow(&judged);
    policies.iter().map(|policy| policy.action(&flow)).max() >= Some(limit)
}

fn ethernet(frame: &[u8]) -> Option<(u16, &[u8])> {
    let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let mut at = 12;
    while matches!(word(at)?, 0x8100 | 0x88a8) && at < 20 {
        at += 4;
    }
    Some((word(at)?, &frame[at + 2..]))
}

fn non_ip_passes(plan: &Plan, ether_type: u16, frame: &[u8]) -> bool {
    let always = always::ETHER_TYPES.contains(&ether_type)
        || frame.starts_with(&[0x01, 0x80, 0xc2, 0, 0]) && frame[5] < 0x10;
    match &plan.non_ip {
        NonIp::Pass => true,
        NonIp::Drop => always,
        NonIp::Only(types) => always || types.contains(&ether_type),
    }
}

pub(crate) fn sealed(plan: &Plan, outline: &Outline) -> bool {
    let Some(upper) = outline.upper else { return false };
    plan.carriages.iter().any(|carriage| match *carriage {
        Carriage::Protocol(number) => upper.proto == number,
        Carriage::Udp(port) => upper.proto == 17 && upper.ports == Some((port, port)),
    })
}

pub(crate) fn flow(outline: &Outline) -> Flow {
    let Upper { proto, ports, .. } = match outline.upper {
        Some(upper) => upper,
        None => {
            return Flow { src: outline.src, dest: outline.dst, proto: None, ports: None };
        }
    };
    Flow { src: outline.src, dest: outline.dst, proto: Some(Proto(proto)), ports }
}

#[cfg(test)]
mod tests {
    use super::super::program::assemble;
    use super::super::sys;
    use super::*;
    use crate::attach::MARK;
    use crate::rules::frames;
    use core::cell::Cell;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    use tsg_control::group::Fail;
    use tsg_control::policy::Policy;

    const WAN: Exit = Exit::Wan { apart: Vec::new() };

    #[test]
    #[ignore = "needs root: loads eBPF programs"]
    fn a_frame_that_ends_in_its_tags_is_stopped_whatever_the_policy() {
        let plan = Plan { policies: vec![Policy::default()], ..Plan::unknown(Fail::Open) };
        let program = sys::load(&assemble(&[&plan], &WAN).unwrap()).unwrap();
        let mut frame = vec![2; 12];
        for tags in [&[0x81, 0][..], &[0, 5, 0x81, 0], &[0, 6, 8]] {
            frame.extend(tags);
            assert_eq!(sys::run(&program, &frame, 0, 1).unwrap(), 2, "{frame:02x?}");
            assert!(stops(&[&plan], &WAN, &frame, false, 1));
        }
        frame.push(0);
        assert_eq!(sys::run(&program, &frame, 0, 1).unwrap(), u32::MAX, "{frame:02x?}");
    }

    /// Bytes behind the headers, and the field that says where they belong: not the last and no multiple of 8, beyond
    /// 65,535 bytes, and two that hosts accept.
    const FRAGMENTS: [(usize, u16, u16, bool); 5] = [
        (33, 0x2000, 1, true),
        (0, 0x2000, 1, true),
        (16, 0x1fff, 0xfff8, true),
        (32, 0x2000, 1, false),
        (33, 4, 32, false),
    ];

    #[test]
    #[ignore = "needs root: loads eBPF programs"]
    fn a_fragment_that_no_host_accepts_meets_the_strictest_rule() {
        // What all these are is bypassed; the strictest is for something else.
        let rules = ["drop proto=47", "bypass"].map(|rule| rule.parse().unwrap());
        let plan =
            Plan { policies: vec![Policy::new(rules.to_vec())], ..Plan::unknown(Fail::Open) };
        let program = sys::load(&assemble(&[&plan], &WAN).unwrap()).unwrap();
        for (len, v4_field, v6_field, stopped) in FRAGMENTS {
            let mut v4 = vec![2; 12];
            v4.extend([0x08, 0, 0x45, 0, 0, u8::try_from(20 + len).unwrap(), 0, 7]);
            v4.extend(v4_field.to_be_bytes());
            v4.extend([64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
            let mut v6 = vec![2; 12];
            v6.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, u8::try_from(8 + len).unwrap(), 44, 64]);
            v6.extend([0xfd; 32]);
            v6.extend([17, 0]);
            v6.extend(v6_field.to_be_bytes());
            v6.extend([0, 0, 0, 7]);
            for mut frame in [v4, v6] {
                frame.extend(vec![0; len]);
                let returned = sys::run(&program, &frame, 0, 1).unwrap();
                assert_eq!(returned == 2, stopped, "{frame:02x?}");
                assert_eq!(stops(&[&plan], &WAN, &frame, false, 1), stopped, "{frame:02x?}");
            }
        }
    }

    const CASES: u32 = 300;
    const FRAMES: usize = 60;

    #[test]
    #[ignore = "needs root: loads eBPF programs"]
    fn the_program_stops_what_the_matcher_stops() {
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        // The frames have come in by interface 1: not known, or one of the LAN ports.
        let exits = prop_oneof![
            3 => Just(WAN),
            1 => Just(Exit::Wan { apart: vec![1] }),
            3 => Just(Exit::Lan { apart: vec![7, 9] }),
            1 => Just(Exit::Lan { apart: vec![7, 1] }),
        ];
        let plans = prop::collection::vec(frames::plan(), 1..3);
        let shots = prop::collection::vec((frames::frame(), any::<bool>(), any::<bool>()), FRAMES);
        let (stopped, passed) = (Cell::new(0u32), Cell::new(0u32));
        let mut runner = TestRunner::new(config);
        let result = runner.run(&(plans, exits, shots), |(plans, exit, shots)| {
            let plans: Vec<&Plan> = plans.iter().collect();
            let code = assemble(&plans, &exit).unwrap();
            let program = sys::load(&code).unwrap_or_else(|error| panic!("{error}"));
            for (frame, marked, crossing) in shots {
                let mark = if marked { MARK | 5 } else { 5 };
                // Interface 1 is the loopback of every namespace; the kernel wants one that is there.
                let ingress = u32::from(crossing);
                let returned = sys::run(&program, &frame, mark, ingress)
                    .unwrap_or_else(|error| panic!("{error}"));
                let wanted = stops(&plans, &exit, &frame, marked, ingress);
                let counter = if wanted { &stopped } else { &passed };
                counter.set(counter.get() + 1);
                prop_assert_eq!(returned == 2, wanted, "{:02x?} marked {}", frame, marked);
                prop_assert!(matches!(returned, 2 | u32::MAX), "{}", returned);
            }
            Ok(())
        });
        let (stopped, passed) = (stopped.get(), passed.get());
        println!("{stopped} frames stopped, {passed} passed");
        if let Err(error) = result {
            panic!("{error}");
        }
        assert!(stopped > 1_000 && passed > 1_000, "the frames say too little");
    }
}
