//! The gate's program for hostile policies: it is one that a kernel takes, and it stops what the matcher stops.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_bridge::attach::MARK;
use tsg_bridge::gate::fuzzing::{program, stops};
use tsg_fuzz::ebpf::{Context, run};
use tsg_fuzz::plan_and_rest;

/// What the program returns to let a frame go on to the next filter, and to drop it.
const VERDICTS: [u64; 2] = [u32::MAX as u64, 2];

fuzz_target!(|input: &[u8]| {
    let Some((plan, rest)) = plan_and_rest(input) else { return };
    let Some((&how, frame)) = rest.split_first() else { return };
    let lan: &[u32] = if how & 1 == 0 { &[] } else { &[7, 9] };
    let (marked, ingress) = (how & 2 != 0, [0, 1, 7, 9][usize::from(how >> 2 & 3)]);
    let plans = [&plan];
    let Ok(program) = program(&plans, lan) else { return };
    let mark = if marked { MARK | 5 } else { 5 };
    let returned = run(&program, &Context { frame, mark, ingress });
    let stopped = stops(&plans, lan, frame, marked, ingress);
    assert_eq!(
        returned,
        VERDICTS[usize::from(stopped)],
        "{frame:02x?} marked {marked} from {ingress}: {plan:#?}"
    );
});
