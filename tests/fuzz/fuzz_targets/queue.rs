//! Datagrams of a netfilter queue: other people's packets in the kernel's envelope.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_bridge::attach::Tag;
use tsg_bridge::attach::fuzzing::read_queue;

const ROOM: usize = 64;

fuzz_target!(|datagram: &[u8]| {
    let mut buffer = vec![0xee; ROOM];
    buffer.extend_from_slice(datagram);
    buffer.extend([0xee; ROOM]);
    let range = ROOM..ROOM + datagram.len();
    let Some(queued) = read_queue(&mut buffer, range.clone()) else { return };
    let payload = &queued.payload;
    // Nothing that the kernel sent has a payload in it: it lies nowhere then.
    let inside = range.start <= payload.start && payload.end <= range.end;
    assert!(inside && payload.start <= payload.end, "{queued:?}");
    if let Some(link) = queued.link {
        let tags = link.vlans.tags();
        assert!(
            tags.len() <= 2
                && queued.inner.is_none_or(|inner| tags.contains(&inner) || tags.len() == 2)
        );
    }
    assert!(queued.inner.is_none() || payload.start >= range.start + 4);
    assert!(queued.inner.is_none_or(|inner| Tag::is_tpid(inner.tpid)));
    assert!(queued.ends.is_none_or(|_| payload.len() >= 20));
});
