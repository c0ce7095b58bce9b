//! No step of the packet path takes memory, once the first packet of a flow is through.
#![allow(unsafe_code, reason = "an allocator that counts")]

use packets::Step;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all of it is the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = TAKEN.try_with(|taken| taken.set(taken.get() + 1));
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

#[test]
fn no_step_takes_memory() {
    let steps = Step::all();
    assert!(steps.len() > 8);
    for mut step in steps {
        for _ in 0..10 {
            step.run();
        }
        let before = TAKEN.get();
        for _ in 0..1_000 {
            step.run();
        }
        assert_eq!(TAKEN.get() - before, 0, "{}", step.name);
    }
}

#[test]
fn what_takes_memory_is_counted() {
    let before = TAKEN.get();
    drop(std::hint::black_box(vec![1]));
    assert_eq!(TAKEN.get() - before, 1);
}
