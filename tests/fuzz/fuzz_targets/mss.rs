//! Clamping the MSS: at most the option and the checksum change, and the sum over the segment does
//! not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_esp::checksum::Sum;
use tsg_esp::ip::Outline;
use tsg_esp::mss::clamp;

fuzz_target!(|input: &[u8]| {
    let Some((max, packet)) = input.split_first_chunk() else { return };
    let max = u16::from_be_bytes(*max);
    let Ok(outline) = Outline::parse(packet) else { return };
    let mut clamped = packet.to_vec();
    let former = clamp(&mut clamped, &outline, max);
    let changed: Vec<usize> = (0..packet.len()).filter(|at| clamped[*at] != packet[*at]).collect();
    let Some(former) = former else {
        assert!(changed.is_empty());
        return;
    };
    assert!(former > max && changed.len() <= 4);
    let segment = outline.upper.expect("clamped without TCP").offset..outline.total_len;
    assert!(changed.iter().all(|at| segment.contains(at)));
    let sum = |packet: &[u8]| {
        let mut sum = Sum::new();
        sum.add(&packet[segment.clone()]);
        // The two zeros of one's complement are the same.
        sum.folded() % 0xffff
    };
    assert_eq!(sum(packet), sum(&clamped));
    assert_eq!(clamp(&mut clamped, &outline, max), None);
});
