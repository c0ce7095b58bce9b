//! A thread of an attach takes no memory for a packet, once the first packets of a flow are through.
#![allow(unsafe_code, reason = "an allocator that counts")]

use crate::lab::{At, Lab, kinds};
use crate::packets::{MODBUS, gateways};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Datagrams that are under way at once.
const BURST: usize = 40;

struct Counting;

static WATCHING: AtomicBool = AtomicBool::new(false);
static TAKEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: all of it is the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if WATCHED.try_with(Cell::get).unwrap_or(false) {
            TAKEN.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps to the same rules.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the same rules.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// From now on it counts what [watched](watch_this_one) threads take.
pub fn begin() {
    WATCHING.store(true, Ordering::Relaxed);
}

/// For a thread of an attach, in each of its batches.
pub fn watch_this_one() {
    WATCHED.set(WATCHING.load(Ordering::Relaxed));
}

pub fn taken() -> usize {
    TAKEN.load(Ordering::Relaxed)
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_packet_takes_no_memory() {
    for kind in kinds(&Lab::new()) {
        let lab = Lab::new();
        let mut pair = gateways(&lab, kind, MODBUS);
        let ends = [("10.9.0.1:502", "10.9.0.2:502"), ("[fd09::1]:502", "[fd09::2]:502")];
        let ends =
            ends.map(|(plc, hmi)| ((lab.udp(At::Plc, plc), plc), (lab.udp(At::Hmi, hmi), hmi)));
        let burst = |payload: &[u8]| {
            let mut room = [0; 100];
            for (one, other) in &ends {
                for ((from, _), (to, address)) in [(one, other), (other, one)] {
                    (0..BURST).for_each(|_| assert!(from.send_to(payload, address).is_ok()));
                    (0..BURST).for_each(|_| assert_eq!(to.recv(&mut room).unwrap(), payload.len()));
                }
            }
        };
        burst(b"the first");
        for gateway in &mut pair {
            gateway.tell("watch memory");
        }
        (0..50).for_each(|_| burst(b"a further one"));
        for gateway in &mut pair {
            assert_eq!(gateway.tell("memory"), "0", "{kind}");
        }
        burst(b"take memory");
        for gateway in &mut pair {
            assert_ne!(gateway.tell("memory"), "0", "{kind}: it counts");
        }
    }
}
