//! What is told of the LAN side.

use crate::{Box, epoch};
use std::collections::BTreeSet;
use std::net::IpAddr;
use tsg_control::gateway::{MOST_FLOWS, MOST_MACHINES, Seen};
use tsg_control::group::{Fail, Mode, NonIp};
use tsg_control::message::{
    MAX_FRAME_TO_SERVER, PolicyVersion, PortState, Report, SeenFlow, ToGateway, ToServer, encode,
    from_gateway,
};
use tsg_control::policy::Policy;
use tsg_control::timeline::Stage;

/// A member of a group in this mode that has told of its start.
fn member(mode: Mode) -> Box {
    let mut this = Box::member(1_000);
    let mut state = this.state(0, 2, vec![epoch(1, Stage::Active)]);
    state.policies = vec![PolicyVersion {
        version: 1,
        stage: Stage::Active,
        policy: Policy::default(),
        mode,
        non_ip: NonIp::Pass,
        fail: Fail::Closed,
    }];
    this.hear(ToGateway::State(state.into()));
    this.wait(1_000);
    this.said();
    this
}

fn machine(number: u16) -> IpAddr {
    IpAddr::from([0xfd00, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, number])
}

fn flow(port: u16) -> SeenFlow {
    SeenFlow {
        client: machine(1),
        server: machine(2),
        proto: Some(6),
        port: Some(port),
        packets: u64::MAX,
        bytes: u64::MAX,
        age: u32::MAX,
        in_clear: true,
        unreached: true,
    }
}

fn seen(flows: u16) -> Seen {
    let port = PortState {
        name: "lan1".to_owned(),
        wan: false,
        up: true,
        mbits: Some(100),
        offloads: vec!["rx_udp_gro_forwarding".to_owned()],
    };
    Seen { flows: (1..=flows).map(|n| flow(40_000 + n)).collect(), ports: vec![port] }
}

/// The next report, and how long its frame is.
fn next_report(this: &mut Box) -> (Report, usize) {
    this.wait(60_000);
    let reports = this.said().into_iter().filter_map(|message| match message {
        ToServer::Report(report) => Some(report),
        ToServer::Register(_) | ToServer::Heartbeat(_) | ToServer::Done(_) => None,
    });
    let report = reports.last().expect("a report");
    let frame = encode(&ToServer::Report(report.clone()));
    assert_eq!(from_gateway(&frame), Ok(ToServer::Report(report.clone())));
    (report, frame.len())
}

#[test]
fn flows_are_told_in_a_group_that_wants_to_know_them_and_once() {
    for (mode, told) in
        [(Mode::Learn, 3), (Mode::ReceiveOnly, 0), (Mode::Migrate, 3), (Mode::Enforce, 0)]
    {
        let mut this = member(mode);
        assert!(!this.gateway.wants_seen(this.now + 2_000), "not due");
        assert!(this.gateway.wants_seen(this.now + 60_000));
        this.gateway.handle_seen(seen(3));
        assert!(!this.gateway.wants_seen(this.now + 60_000), "it knows");
        let (report, _) = next_report(&mut this);
        assert_eq!((report.flows.len(), report.ports.len()), (told, 1), "{mode:?}");
        let (report, _) = next_report(&mut this);
        assert_eq!((report.flows.len(), report.ports.len()), (0, 0), "{mode:?}");
    }
}

#[test]
fn a_report_fits_into_a_frame() {
    let mut this = member(Mode::Learn);
    this.gateway.handle_seen(seen(1_000));
    assert_eq!(next_report(&mut this).0.flows.len(), MOST_FLOWS);
    let machines: BTreeSet<_> = (0..1_000).map(machine).collect();
    let counters = (0..60).map(|n| (format!("drop_of_a_kind_{n}"), u64::MAX)).collect();
    this.gateway.handle_counters(counters, Vec::new());
    this.gateway.handle_machines(machines, this.now);
    this.gateway.handle_seen(seen(1_000));
    let (report, length) = next_report(&mut this);
    assert!(length <= MAX_FRAME_TO_SERVER, "{length}");
    assert_eq!(report.machines.len(), MOST_MACHINES);
    assert!(report.flows.len() > MOST_FLOWS / 2, "{}", report.flows.len());
    println!("{length} bytes, {} flows", report.flows.len());
}
